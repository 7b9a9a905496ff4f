// What is asked and told in front of the page: the key of a service, and the keyboard's keys.

import { at, el, fill } from "./dom.js";
import { t } from "./language.js";

const KEYS = [
  ["J · ↓", "keys.next"], ["K · ↑", "keys.before"], ["1 – 9", "keys.label"], ["0", "none.name"], ["↵", "keys.accept"],
  ["⌫", "keys.clear"], ["U · Ctrl Z", "undo"], ["⇧ U", "redo"], ["W", "row.why"], ["N", "ten"],
  ["[ ]", "keys.pages"], ["/", "filter.search"], ["?", "help"],
];
let asking = null;

/** Fill the list of keys, in the language as it is. */
export function showKeys() {
  fill(at("help-keys"), KEYS.map(([key, words]) => el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, t(words)))));
}

/** Whether keys of one letter do something; who speaks to their computer may not want that. */
export const keysOn = () => at("keys-on").checked;

/** A key that a person types, null where they will not; asked once, however many requests wait for it. */
export function askKey(wrong) {
  asking ??= new Promise((resolve) => {
    const dialog = at("key-dialog");
    at("key-words").textContent = t(wrong ? "key.wrong" : "key.words");
    at("key").value = "";
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      asking = null;
      const key = at("key").value.trim();
      at("key").value = "";
      resolve(dialog.returnValue === "ok" && key ? key : null);
    }, { once: true });
    dialog.showModal();
    at("key").focus();
  });
  return asking;
}
