// Elements from JavaScript. Whatever a person or a file brought becomes text: nothing here reads markup.

/** An element; attributes whose name begins with "on" are listeners, null and false are left out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The element of an id. */
export const at = (id) => document.getElementById(id);

/** Give an element these children, and no others. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
}

/** Call `work` once, `wait` milliseconds after the last time it was asked for. */
export function debounced(work, wait) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), wait);
  };
}

/** Whether a person is writing there, so that letters are letters. */
export function writesIn(element) {
  return Boolean(element && element.closest && element.closest("input:not([type=checkbox]):not([type=radio]), textarea, select"));
}

/** Read out what has happened, to who does not see it. */
export function say(words) {
  at("said").textContent = words;
}

let hiding = 0;

/** Show words for a while at the foot of the page. */
export function toast(words) {
  const box = at("toast");
  box.textContent = words;
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (box.hidden = true), 6000);
}

/** What the browser keeps under a name; null where it keeps nothing, or is told to keep nothing. */
export function kept(name) {
  try {
    return localStorage.getItem(`sijo.${name}`);
  } catch {
    return null;
  }
}

/** Have the browser keep words under a name, where it may. */
export function keep(name, words) {
  try {
    localStorage.setItem(`sijo.${name}`, words);
  } catch {
    // it keeps nothing, and the page works without
  }
}

/** Have the browser save a file. */
export function download(name, content, kind) {
  const link = el("a", { href: URL.createObjectURL(new Blob([content], { type: kind })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
