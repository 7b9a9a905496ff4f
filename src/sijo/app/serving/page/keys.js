// The keyboard: letters and digits do something where nobody writes.

import { keysOn } from "./dialogs.js";
import { at, writesIn } from "./dom.js";
import { NONE } from "./project.js";

/** Listen for keys; `step`, `tenNext` and `why` are what the page does besides moving and labelling. */
export function listenForKeys(rows, { step, tenNext, why }) {
  const { project } = rows;
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || document.querySelector("dialog[open]") || writesIn(event.target)) return;
    const letter = letterOf(event);
    if (event.ctrlKey || event.metaKey) {
      if (letter !== "z" && letter !== "y") return;
      event.preventDefault();
      step(letter === "z" && !event.shiftKey);
      return;
    }
    if (!keysOn() || event.isComposing) return;
    if (event.key === "?") at("help-dialog").showModal();
    else if (project.rows.length && pressed(event, letter)) event.preventDefault();
  });

  /** Whether the key did something. */
  function pressed(event, letter) {
    const inRows = at("rows").contains(event.target);
    const onRow = event.target.matches?.("li.row");
    const actions = {
      j: () => rows.move(1),
      k: () => rows.move(-1),
      u: () => step(!event.shiftKey),
      n: tenNext,
      "/": () => at("search").focus(),
      "[": () => rows.page > 0 && rows.turn(rows.page - 1),
      "]": () => at("page-after").disabled || rows.turn(rows.page + 1),
    };
    if (inRows) {
      const row = project.rows[rows.current];
      Object.assign(actions, {
        w: () => row?.answer && !row.answer.empty && why(row),
        ArrowDown: () => rows.move(1),
        ArrowUp: () => rows.move(-1),
        Backspace: () => rows.clear(),
        Delete: () => rows.clear(),
      });
      if (onRow) actions.Enter = () => rows.accept();
      if (/^[1-9]$/.test(letter)) {
        const label = project.named[Number(letter) - 1];
        if (label) actions[letter] = () => rows.give(label.key);
      }
      actions[0] = () => rows.give(NONE);
    }
    const action = actions[letter] ?? actions[event.key];
    if (!action) return false;
    action();
    return true;
  }
}

/** The letter, digit or sign of a key; that of the key's place where it writes another script, as Korean does. */
function letterOf(event) {
  if (/^[\x20-\x7e]$/.test(event.key)) return event.key.toLowerCase();
  const place = /^(?:Key([A-Z])|(?:Digit|Numpad)(\d))$/.exec(event.code);
  return place ? (place[1] ?? place[2]).toLowerCase() : event.key;
}
