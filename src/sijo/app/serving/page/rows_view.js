// The rows, a page at a time: texts with their scores, and the labels that a person gives them.

import { at, el, fill, say } from "./dom.js";
import { count, percent, t } from "./language.js";
import { NONE, folded } from "./project.js";
import { marked } from "./why.js";

export const PAGE = 50;
const SHOWN = 600; // characters of a text, until it is the current one
const MOST_SHOWN = 20_000;
const BARS = 3; // scores of a row that are shown, from SEEN on
const SEEN = 0.05;
const CURRENT_BARS = 6;
const KEYED = 9; // labels that have a number of their own

/** Shows the rows of a project that a filter lets through, in an order, and one of them as the current one. */
export class RowsView {
  /** why  asks which words decided a row, or null where the service does not tell */
  constructor(project) {
    this.project = project;
    this.why = null;
    this.order = [];
    this.page = 0;
    this.current = null; // a number of a row
    this.filter = "all";
    this.sort = "file";
    this.search = "";
    this.ten = new Set();
    this.cell = null; // what is right and what was answered, of a cell of the matrix
    const list = at("rows");
    list.addEventListener("focusin", (event) => this.choose(this.numberAt(event.target)));
    list.addEventListener("click", (event) => {
      const number = this.numberAt(event.target);
      if (number !== null && !event.target.closest("button, select, a")) this.focus(number);
    });
    at("page-before").addEventListener("click", () => this.turn(this.page - 1));
    at("page-after").addEventListener("click", () => this.turn(this.page + 1));
  }

  numberAt(element) {
    const row = element.closest("li.row");
    return row ? Number(row.dataset.number) : null;
  }

  /** The rows that are seen. */
  visible() {
    return this.order.slice(this.page * PAGE, (this.page + 1) * PAGE).map((number) => this.project.rows[number]);
  }

  /** Put the rows in order anew, by filter and sort as they are now. */
  arrange({ keepPage = false } = {}) {
    const { project } = this;
    const passes = this.passing();
    const sought = folded(this.search);
    let rows = project.rows.filter((row) => passes(row) && (!sought || folded(row.text).includes(sought)));
    const margin = (row) => row.answer?.margin ?? 2;
    const place = new Map(project.keys.map((key, number) => [key, number]));
    const label = (row) => place.get((project.markOf(row) ?? row.answer?.given ?? [])[0]) ?? project.keys.length;
    const by = {
      unsure: (one, two) => margin(one) - margin(two),
      sure: (one, two) => (two.answer?.margin ?? -1) - (one.answer?.margin ?? -1),
      label: (one, two) => label(one) - label(two),
    }[this.sort];
    if (by) rows = rows.slice().sort((one, two) => by(one, two) || one.number - two.number);
    this.order = rows.map((row) => row.number);
    const pages = Math.max(1, Math.ceil(this.order.length / PAGE));
    this.page = keepPage ? Math.min(this.page, pages - 1) : 0;
    this.render();
  }

  passing() {
    const { project } = this;
    const given = (row) => project.markOf(row) ?? row.answer?.given;
    const isNone = (row) => given(row) !== undefined && given(row).length === 0;
    if (this.filter.startsWith("label ")) {
      const key = Number(this.filter.slice(6));
      return (row) => Boolean(given(row)?.includes(key));
    }
    return {
      all: () => true,
      open: (row) => project.markOf(row) === null,
      marked: (row) => project.markOf(row) !== null,
      wrong: (row) => project.isWrong(row),
      none: isNone,
      unsure: (row) => row.answer !== null && row.answer.margin < 0.2,
      problem: (row) => Boolean(row.problem) || Boolean(row.answer?.truncated),
      ten: (row) => this.ten.has(row.number),
      cell: (row) => row.answer !== null && [project.truthOf(row), row.answer.given].every(
        (keys, side) => keys !== null && (keys[0] ?? NONE) === this.cell[side],
      ),
    }[this.filter];
  }

  /** Draw the page of rows. */
  render() {
    const { project } = this;
    const held = at("rows").contains(document.activeElement);
    const shown = this.visible();
    if (!shown.some((row) => row.number === this.current)) this.current = shown.length ? shown[0].number : null;
    fill(at("rows"), shown.map((row) => this.item(row)));
    if (held && this.current !== null) this.element(this.current).focus({ preventScroll: true });
    const pages = Math.max(1, Math.ceil(this.order.length / PAGE));
    at("rows-count").textContent = this.order.length === project.rows.length
      ? t("rows.count", { n: this.order.length })
      : t("rows.some", { n: this.order.length, all: project.rows.length });
    at("page-words").textContent = t("pages.words", { page: this.page + 1, pages });
    at("page-before").disabled = this.page === 0;
    at("page-after").disabled = this.page >= pages - 1;
    at("page-before").closest("nav").hidden = pages === 1;
  }

  element(number) {
    return at("rows").querySelector(`li[data-number="${number}"]`);
  }

  /** Draw a row anew, where it is seen; the focus stays where it was. */
  refresh(row) {
    const before = this.element(row.number);
    if (!before) return;
    const focused = before.contains(document.activeElement) ? document.activeElement : null;
    const within = focused && focused !== before ? focused.dataset.key : null;
    const after = this.item(row);
    before.replaceWith(after);
    if (!focused) return;
    const same = within ? [...after.querySelectorAll("[data-key]")].find((one) => one.dataset.key === within) : null;
    (same || after).focus({ preventScroll: true });
  }

  /** Make a row the current one. */
  choose(number) {
    if (number === null || number === this.current) return;
    const before = this.project.rows[this.current];
    this.current = number;
    if (before) this.refresh(before);
    this.refresh(this.project.rows[number]);
  }

  /** Go to a row, on whatever page it is. */
  focus(number) {
    const place = this.order.indexOf(number);
    if (place < 0) return;
    if (Math.floor(place / PAGE) !== this.page) {
      this.page = Math.floor(place / PAGE);
      this.current = number;
      this.render();
      this.onturn?.();
    }
    this.choose(number);
    const element = this.element(number);
    element.focus({ preventScroll: true });
    element.scrollIntoView({ block: "nearest" });
  }

  /** Go so many rows on, or back. */
  move(by) {
    if (!this.order.length) return;
    const place = this.order.indexOf(this.current);
    const held = at("rows").contains(document.activeElement);
    const next = place < 0 || !held ? Math.max(0, place) : place + by; // the first step leads to where one is
    this.focus(this.order[Math.min(this.order.length - 1, Math.max(0, next))]);
  }

  turn(page) {
    this.page = page;
    this.current = null;
    this.render();
    at("rows-panel").scrollIntoView({ block: "start" });
    if (this.current !== null) this.element(this.current).focus({ preventScroll: true });
    this.onturn?.();
  }

  /** Give the current row a label, or take it back where it has that one alone. */
  give(key) {
    const { project } = this;
    const row = project.rows[this.current];
    if (!row) return;
    const before = project.markOf(row);
    let keys;
    if (key === NONE) keys = before && !before.length ? null : [];
    else if (project.multi) {
      const start = before ?? row.answer?.given ?? [];
      keys = start.includes(key) ? start.filter((one) => one !== key) : [...start, key];
    } else keys = before?.[0] === key ? null : [key];
    project.mark(row, keys);
    say(t("said.mark", { n: row.number + 1, labels: keys === null ? t("said.nothing") : this.names(keys) }));
    if (keys !== null && !project.multi) this.move(1);
  }

  /** Say that the current row's answer is right. */
  accept() {
    const row = this.project.rows[this.current];
    if (!row?.answer) return;
    this.project.mark(row, row.answer.given);
    say(t("said.mark", { n: row.number + 1, labels: this.names(row.answer.given) }));
    this.move(1);
  }

  clear() {
    const row = this.project.rows[this.current];
    if (row && row.mark !== null) this.project.mark(row, null);
  }

  names(keys) {
    return keys.length ? keys.map((key) => this.nameOf(key)).join(", ") : this.project.noneName;
  }

  nameOf(key) {
    return String(key).startsWith("=") ? key.slice(1) : this.project.nameOf(key) ?? "?";
  }

  // A row

  item(row) {
    const current = row.number === this.current;
    const old = !this.project.isCurrent(row);
    return el("li", {
      class: `row${current ? " current" : ""}${old ? " old" : ""}`, tabindex: current ? "0" : "-1", "data-number": row.number,
      "aria-current": current ? "true" : null,
    },
    el("div", { class: "row-text" },
      el("span", { class: "number" }, count(row.number + 1)),
      this.text(row, current)),
    el("div", { class: "row-scores" }, this.bars(row, current), this.truth(row)),
    current ? this.chips(row) : null,
    current && row.why ? this.whyOf(row) : null);
  }

  text(row, current) {
    if (!row.text.trim()) return el("p", { class: "text soft" }, t("row.empty"));
    const most = current ? MOST_SHOWN : SHOWN;
    const words = current && row.why?.effects ? marked(row) : [row.text.slice(0, most)];
    return el("p", { class: "text", dir: "auto", lang: /[가-힣]/.test(row.text.slice(0, SHOWN)) ? "ko" : null }, words, row.text.length > most ? "…" : null);
  }

  bars(row, current) {
    if (row.problem) return el("p", { class: "trouble" }, row.problem);
    if (!row.answer) return el("p", { class: "soft waiting" }, t("row.waiting"));
    if (row.answer.empty) return el("p", { class: "soft" }, t("row.no-words"));
    const { keys, scores, given } = row.answer;
    const list = keys.map((key, place) => [key, scores[place]]).filter(([key, score], place) => (
      this.nameOf(key) !== "?" && (current ? place < CURRENT_BARS : place < BARS && (place === 0 || score >= SEEN))
    ));
    return el("ul", { class: "bars" }, list.map(([key, score]) => {
      const fits = given.includes(key) || (key === NONE && !given.length);
      const bar = el("span", { class: "bar", "aria-hidden": "true" });
      bar.style.setProperty("--share", score);
      return el("li", { class: fits ? "fits" : null }, el("span", { class: "name" }, this.nameOf(key)), bar,
        el("span", { class: "share" }, percent(score)));
    }));
  }

  /** What is known to be right, and whether the answer is. */
  truth(row) {
    const mark = this.project.markOf(row);
    const truth = this.project.truthOf(row);
    const notes = [];
    if (truth !== null) {
      const wrong = this.project.isWrong(row);
      const key = mark !== null ? "row.mark" : "row.gold";
      notes.push(el("span", { class: `truth ${wrong ? "wrong" : "right"}${mark !== null ? " hand" : ""}` },
        el("span", { "aria-hidden": "true" }, wrong ? "✗ " : "✓ "), t(key, { labels: this.names(truth) }),
        wrong ? el("span", { class: "unseen" }, ` (${t("row.wrong")})`) : null));
    }
    if (row.answer?.truncated) notes.push(el("span", { class: "soft" }, t("row.truncated")));
    return notes.length ? el("p", { class: "notes" }, notes) : null;
  }

  chips(row) {
    const { project } = this;
    const mark = project.markOf(row);
    const chip = (key, name, cap) => el("button", {
      type: "button", class: "chip", "data-key": `give ${key}`,
      "aria-pressed": String(key === NONE ? mark !== null && !mark.length : Boolean(mark?.includes(key))),
      onclick: () => this.give(key),
    }, el("span", { class: "keycap", "aria-hidden": "true" }, cap), name);
    const labels = project.named;
    const rest = labels.slice(KEYED);
    return el("div", { class: "chips", role: "group", "aria-label": t("row.give", { n: row.number + 1 }) },
      labels.slice(0, KEYED).map((label, place) => chip(label.key, label.name.trim(), String(place + 1))),
      rest.length ? el("select", {
        class: "chip", "data-key": "others", "aria-label": t("row.others"),
        onchange: (event) => event.target.value && this.give(Number(event.target.value)),
      }, el("option", { value: "" }, t("row.others")), rest.map((label) => el("option", { value: label.key, selected: Boolean(mark?.includes(label.key)) }, label.name.trim()))) : null,
      chip(NONE, project.noneName, "0"),
      row.answer && mark === null ? el("button", { type: "button", class: "chip quiet", "data-key": "accept", onclick: () => this.accept() }, el("span", { class: "keycap", "aria-hidden": "true" }, "↵"), t("row.accept")) : null,
      mark !== null ? el("button", { type: "button", class: "chip quiet", "data-key": "clear", onclick: () => this.clear() }, el("span", { class: "keycap", "aria-hidden": "true" }, "⌫"), t("row.clear")) : null,
      this.why && row.answer && !row.answer.empty ? el("button", { type: "button", class: "chip quiet", "data-key": "why", "aria-expanded": String(Boolean(row.why)), onclick: () => this.why(row) }, el("span", { class: "keycap", "aria-hidden": "true" }, "W"), t("row.why")) : null);
  }

  whyOf(row) {
    const { why } = row;
    if (why.asking) return el("p", { class: "why soft", role: "status" }, t("why.asking"));
    if (why.problem) return el("p", { class: "why trouble", role: "status" }, why.problem);
    const names = (list) => list.map((part) => part.text).join(", ") || t("why.nothing");
    return el("div", { class: "why", role: "status" },
      el("p", {}, el("b", {}, t("why.for", { label: why.label })), " ", names(why.best)),
      el("p", {}, el("b", {}, t("why.against", { label: why.label })), " ", names(why.worst)),
      el("p", { class: "soft" }, t("why.lead")));
  }
}
