// What a person works on: texts, labels, what was answered, what was corrected. The rest of the page shows it.

import { wellFormed } from "./tables.js";

export const NONE = "none"; // the key of "none of these" among scores; those of labels are numbers
const NONE_NAMES = ["none of these", "해당 없음"]; // as files and models of either language have it
const MOST_STEPS = 1000;
const SHOWN = 10; // labels whose scores are kept, the best

/** A name as two are compared: SIJO and sijo are one, as are the ways to write 가. */
export const folded = (name) => name.normalize("NFKC").trim().toLowerCase().replace(/\s+/g, " ");

const isNone = (name) => NONE_NAMES.some((one) => folded(one) === folded(name));

/** A label's descriptions: a line each. */
export const descriptionsOf = (label) => label.description.split("\n").map((line) => wellFormed(line.trim())).filter(Boolean);

/** Texts with their labels, and the steps that lead back. Listeners of `change` are told what changed. */
export class Project extends EventTarget {
  constructor() {
    super();
    this.rows = [];
    this.labels = [];
    this.noneName = NONE_NAMES[0]; // as it is shown
    this.known = null; // labels that are all the model can choose among: `names`, and whether `multi_label`
    this.options = { none: false, multi: false, model: null, template: "", threshold: 0.5, noneThreshold: "" };
    this.table = { columns: [], rows: [], text: 0, gold: -1, name: "" };
    this.version = 0; // of all that an answer depends on
    this.saved = true;
    this.nextKey = 1;
    this.done = [];
    this.undone = [];
  }

  tell(what, detail) {
    this.dispatchEvent(new CustomEvent(what, { detail }));
  }

  // Texts

  /** Take a table's rows: `text` and `gold` are numbers of columns, gold -1 for none. */
  take(table, text, gold) {
    this.table = { ...table, text, gold };
    this.rows = table.rows.map((cells, number) => ({
      number,
      text: wellFormed(cells[text]),
      gold: gold < 0 ? null : cells[gold],
      mark: null, // keys of labels that a person gave; [] says that none fits, null that nothing is said
      answer: null,
      version: -1, // of the answer
      problem: "",
      why: null,
    }));
    this.done = [];
    this.undone = [];
    this.saved = true;
    this.tell("rows");
  }

  // What is asked: by the person, or as the model alone can do it

  get multi() {
    return this.known ? this.known.multi_label : this.options.multi;
  }

  get none() {
    return !this.multi && (this.known ? this.known.names.some((name) => this.keyOf(name) === NONE) : this.options.none);
  }

  /** Labels of the model's own, where it knows no others; "none of these" is not one of them. */
  get own() {
    return this.known ? this.known.names.filter((name) => !isNone(name)) : [];
  }

  // Labels

  addLabel(name = "", description = "") {
    const label = { key: this.nextKey, name, description };
    this.nextKey += 1;
    this.labels = [...this.labels, label];
    this.labelsChanged();
    return label;
  }

  setLabels(pairs) {
    this.labels = pairs.map(([name, description], place) => ({ key: this.nextKey + place, name, description }));
    this.nextKey += pairs.length;
    this.labelsChanged();
  }

  /** Take a label away; it may be undone, and then its marks are there again. */
  removeLabel(key) {
    const before = this.labels;
    this.step({
      redo: () => { this.labels = before.filter((label) => label.key !== key); this.labelsChanged(); },
      undo: () => { this.labels = before; this.labelsChanged(); },
    });
  }

  labelsChanged() {
    this.outdate();
    this.tell("labels");
  }

  /** Every answer is of another question from here on. */
  outdate() {
    const asked = JSON.stringify([this.choice, this.keys]);
    if (asked === this.asked) return;
    this.asked = asked;
    this.version += 1;
    this.tell("outdated");
  }

  /** Labels that have a name. */
  get named() {
    return this.labels.filter((label) => label.name.trim());
  }

  /** What is the matter with the labels: a key of a sentence and its values; null where nothing is. */
  get trouble() {
    const seen = new Map(this.none ? NONE_NAMES.map((name) => [folded(name), name]) : []);
    const own = this.known && new Set(this.known.names.map(folded));
    for (const label of this.named) {
      const name = folded(label.name);
      if (seen.has(name)) return ["labels.twice", { name: label.name.trim() }];
      seen.set(name, label.name);
      if (own && !own.has(name)) return ["labels.unknown", { name: label.name.trim() }];
    }
    if (!this.named.length) return ["labels.missing", {}];
    if (this.named.length === 1 && !this.none && !this.multi) return ["labels.alone", {}];
    return null;
  }

  /** What /classify is asked besides the texts. */
  get choice() {
    const { model, template, threshold, noneThreshold } = this.options;
    const choice = { top_k: SHOWN, labels: this.described };
    if (model) choice.model = model;
    if (this.multi) choice.threshold = threshold;
    if (this.known) { // which reads names alone, and has its own way of choosing
      choice.labels = [...Object.keys(choice.labels), ...this.known.names.filter((name) => this.keyOf(name) === NONE)];
      return choice;
    }
    choice.multi_label = this.multi;
    if (template.trim()) choice.hypothesis_template = template.trim();
    if (this.none) choice.none_label = NONE_NAMES[0];
    if (choice.none_label && noneThreshold !== "") choice.none_threshold = Number(noneThreshold);
    return choice;
  }

  /** Labels as the service is told them: a description or several by each name. */
  get described() {
    return Object.fromEntries(this.named.map((label) => {
      const words = descriptionsOf(label);
      return [wellFormed(label.name.trim()), words.length > 1 ? words : words[0] || ""];
    }));
  }

  /** The key of a label by its name; undefined where there is none. */
  keyOf(name) {
    const plain = folded(name);
    const label = this.named.find((one) => folded(one.name) === plain);
    if (label) return label.key;
    return isNone(name) ? NONE : undefined;
  }

  nameOf(key) {
    return key === NONE ? this.noneName : this.labels.find((label) => label.key === key)?.name.trim();
  }

  /** Keys in the order in which they are shown; none last. */
  get keys() {
    const keys = this.named.map((label) => label.key);
    return this.none ? [...keys, NONE] : keys;
  }

  // Answers

  /** Note the answer for a row, by keys instead of names. */
  answered(row, answer) {
    row.version = this.version;
    row.why = null;
    if (answer instanceof Error) {
      row.answer = null;
      row.problem = answer.message;
      return;
    }
    row.problem = "";
    row.answer = {
      keys: answer.labels.map((name) => this.keyOf(name)),
      scores: answer.scores,
      margin: answer.margin,
      given: answer.fitting.map((name) => this.keyOf(name)).filter((key) => key !== undefined && key !== NONE),
      truncated: answer.truncated,
      empty: answer.tokens === 0,
    };
  }

  isCurrent(row) {
    return row.version === this.version;
  }

  // What is right

  /** Keys that a row's gold cell names; null where it says nothing. Names that are no label stay names. */
  goldOf(row) {
    if (row.gold === null || !row.gold.trim()) return null;
    const names = this.multi ? row.gold.split("|").filter((name) => name.trim()) : [row.gold];
    return names.map((name) => this.keyOf(name) ?? `=${name.trim()}`).filter((key) => key !== NONE);
  }

  /** Keys that a person gave a row and that are still there; null for nothing. */
  markOf(row) {
    if (row.mark === null) return null;
    const kept = row.mark.filter((key) => this.nameOf(key) !== undefined);
    return kept.length || !row.mark.length ? kept : null;
  }

  /** What is right, as far as that is known: the person's word, else the file's. */
  truthOf(row) {
    return this.markOf(row) ?? this.goldOf(row);
  }

  /** Whether the answer is known to be wrong. */
  isWrong(row) {
    const truth = this.truthOf(row);
    if (truth === null || !row.answer) return false;
    return truth.length !== row.answer.given.length || truth.some((key) => !row.answer.given.includes(key));
  }

  // Steps

  /** Give a row labels by hand: keys, [] for none of them, null to take the word back. */
  mark(row, keys) {
    const before = row.mark;
    const set = (mark) => {
      row.mark = mark;
      this.saved = false;
      this.tell("mark", row);
    };
    this.step({ row, redo: () => set(keys), undo: () => set(before) });
  }

  step(step) {
    step.redo();
    this.done.push(step);
    if (this.done.length > MOST_STEPS) this.done.shift();
    this.undone = [];
    this.tell("steps");
  }

  /** Take the last step back; returns it, or undefined where there is none. */
  undo() {
    const step = this.done.pop();
    if (!step) return undefined;
    step.undo();
    this.undone.push(step);
    this.tell("steps");
    return step;
  }

  redo() {
    const step = this.undone.pop();
    if (!step) return undefined;
    step.redo();
    this.done.push(step);
    this.tell("steps");
    return step;
  }

  // The table

  /** Columns and rows to take away: those of the file, and what is known of each row now. */
  labelledTable() {
    const own = this.table.columns.map((name, place) => [name, place]).filter(([name]) => !/^sijo_(label|checked|predicted|score)$/.test(name));
    const joined = (keys) => (keys === null ? "" : keys.map((key) => this.nameOf(key)).join("|") || this.noneName);
    return {
      columns: [...own.map(([name]) => name), "sijo_label", "sijo_checked", "sijo_predicted", "sijo_score"],
      rows: this.rows.map((row) => {
        const current = this.isCurrent(row) && row.answer && !row.answer.empty;
        const score = current && row.answer.scores.length ? Number(row.answer.scores[0].toPrecision(6)) : "";
        const cells = own.map(([, place]) => this.table.rows[row.number][place]);
        return [...cells, joined(this.markOf(row) ?? (current ? row.answer.given : null)), joined(this.markOf(row)), joined(current ? row.answer.given : null), score];
      }),
    };
  }
}
