// What the page says, in the language of the person: en.json and ko.json hold the same keys.

import { kept } from "./dom.js";

const KNOWN = ["en", "ko"];
let texts = {};
let code = "en";
let plurals = new Intl.PluralRules("en");

/** The language that is spoken: "en" or "ko". */
export const language = () => code;

/** The language to begin with: the one chosen before, else the browser's first that is known. */
export function firstLanguage() {
  const wished = [kept("language"), ...navigator.languages];
  return wished.map((one) => (one || "").slice(0, 2)).find((one) => KNOWN.includes(one)) || "en";
}

/** Speak a language: the whole page at once. */
export async function speak(wished) {
  const answer = await fetch(`page/${wished}.json`);
  texts = await answer.json();
  code = wished;
  plurals = new Intl.PluralRules(code);
  document.documentElement.lang = code;
  document.title = t("title");
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
  for (const element of document.querySelectorAll("[data-t-placeholder]")) element.placeholder = t(element.dataset.tPlaceholder);
}

/**
 * The words of a key, with {names} filled in; where they hold a bar, what is before it is for one and
 * what is behind it for other numbers of `n`.
 */
export function t(key, values = {}) {
  let words = texts[key];
  if (words === undefined) throw new Error(`no words for ${key}`);
  if (Array.isArray(words)) return words;
  const bar = words.indexOf("|");
  if (bar >= 0) words = plurals.select(values.n) === "one" ? words.slice(0, bar) : words.slice(bar + 1);
  return words.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return typeof value === "number" ? count(value) : String(value ?? whole);
  });
}

/** A number, as people of the language write it. */
export const count = (number) => number.toLocaleString(code);

/** A share of 1 in percent. */
export function percent(share, digits = 0) {
  return share.toLocaleString(code, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits });
}
