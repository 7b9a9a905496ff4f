// How good the answers are, where what is right is known: figures, and what was taken for what.

import { at, el, fill } from "./dom.js";
import { count, percent, t } from "./language.js";
import { measured } from "./measures.js";
import { NONE } from "./project.js";

const MOST = 30; // labels in the table

/** Draw figures and the matrix of a project; gone where nothing is known to be right. */
export function showMeasures(project, pick) {
  const known = project.rows.filter((row) => row.answer && !row.problem && project.isCurrent(row) && project.truthOf(row) !== null);
  at("measures").hidden = !known.length;
  if (!known.length) return;
  const { multi } = project;
  const none = (keys) => (keys.length || multi ? keys : [NONE]);
  const pairs = known.map((row) => [none(project.truthOf(row)), none(row.answer.given)]);
  const found = measured(pairs, project.named.map((label) => label.key));
  const hand = known.filter((row) => project.markOf(row) !== null).length;
  fill(at("figures"),
    el("dl", { class: "figures" },
      figure(t(multi ? "measures.exact" : "measures.accuracy"), percent(found.accuracy.share, 1),
        t("measures.interval", { low: percent(found.accuracy.low, 1), high: percent(found.accuracy.high, 1) })),
      figure(t("measures.f1"), found.macroF1 === null ? "–" : percent(found.macroF1, 1), t("measures.f1-lead")),
      figure(t("measures.rows"), count(found.rows), t("measures.sources", { file: found.rows - hand, hand }))),
    hand ? el("p", { class: "soft" }, t("measures.chosen")) : null);
  at("matrix-title").textContent = t(multi ? "matrix.labels" : "matrix.title");
  const name = (key) => (key === NONE ? project.noneName : String(key).startsWith("=") ? key.slice(1) : project.nameOf(key));
  const shown = found.labels.slice(0, MOST);
  fill(at("matrix"), multi ? null : matrix(found, shown, name, pick), perLabel(shown, name),
    found.labels.length > MOST ? el("p", { class: "soft" }, t("matrix.more", { n: found.labels.length - MOST })) : null);
}

function figure(name, number, note) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, number, el("small", {}, note)));
}

function matrix(found, shown, name, pick) {
  const most = shown.map((_, row) => Math.max(1, ...found.matrix[row]));
  return el("table", { class: "matrix" },
    el("caption", {}, t("matrix.caption")),
    el("thead", {}, el("tr", {}, el("td"), shown.map((label) => el("th", { scope: "col" }, el("span", {}, name(label.key)))))),
    el("tbody", {}, shown.map((right, row) => el("tr", {}, el("th", { scope: "row" }, name(right.key)),
      shown.map((answered, column) => {
        const number = found.matrix[row][column];
        const cell = el("td", { class: row === column ? "hit" : number ? "miss" : null }, number ? el("button", {
          type: "button", onclick: () => pick(right.key, answered.key),
        }, el("span", { "aria-hidden": "true" }, count(number)),
        el("span", { class: "unseen" }, t("matrix.cell", { n: number, right: name(right.key), answered: name(answered.key) }))) : "");
        cell.style.setProperty("--share", number / most[row]);
        return cell;
      })))));
}

function perLabel(shown, name) {
  const share = (number) => (number === null ? "–" : percent(number, 1));
  return el("table", { class: "per-label" },
    el("caption", {}, t("matrix.each")),
    el("thead", {}, el("tr", {}, ["matrix.label", "matrix.precision", "matrix.recall", "matrix.f1", "matrix.right"].map((key) => el("th", { scope: "col" }, t(key))))),
    el("tbody", {}, shown.map((label) => el("tr", {}, el("th", { scope: "row" }, name(label.key)),
      el("td", {}, share(label.precision)), el("td", {}, share(label.recall)), el("td", {}, share(label.f1)), el("td", {}, count(label.right))))));
}
