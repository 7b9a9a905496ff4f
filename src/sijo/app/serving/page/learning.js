// Learning from corrections, where the service can: rows to label next, and a model fitted to the labelled ones.
//
// POST /suggest  texts, gold, labels, count, multi_label, model -> {rows: [{row: number of a text, from 0}]}
// POST /fit      texts, gold, labels, multi_label, model -> {model: name, texts, accuracy: {value, low, high} or null}
// GET  /models/{name}/archive -> the model's folder in one file
// `gold` has a list of names for each text, null where nobody knows.

import { NONE } from "./project.js";
import { wellFormed } from "./tables.js";

const ARCHIVE = "/models/{name}/archive";
const SPARE = 10_000; // bytes of a request besides its texts, and labels

/** What the service's /suggest and /fit are asked about a project. */
export class Learning {
  constructor(project, service) {
    this.project = project;
    this.service = service;
    this.info = null; // what the model is that is asked
  }

  get suggests() {
    return this.service.takes("/suggest", ["texts", "gold", "labels", "count"]) && this.vectors;
  }

  get fits() {
    return this.service.takes("/fit", ["texts", "gold", "labels"]) && this.vectors;
  }

  /** Whether the model gives vectors, which a head is fitted to. */
  get vectors() {
    return Boolean(this.info?.kinds.includes("vectors"));
  }

  get gives() {
    return Boolean(this.info?.fitted_here && this.service.routes[ARCHIVE]?.get);
  }

  /** Names that are right for a row; null where nobody knows, or where they are no labels. "None of these" is learned as a label is. */
  goldOf(row) {
    const { project } = this;
    const truth = project.truthOf(row);
    if (truth === null || !row.text.trim()) return null;
    const keys = truth.length || project.multi ? truth : [NONE];
    const names = keys.map((key) => project.nameOf(key));
    return names.includes(undefined) ? null : names.map(wellFormed);
  }

  /** Rows to learn from, each text once: those that a person checked, then those of the file, as many as are taken. */
  get taught() {
    const { project } = this;
    const known = project.rows.filter((row) => this.goldOf(row) !== null);
    const byHand = (row) => project.markOf(row) !== null;
    const once = new Map();
    for (const row of [...known.filter(byHand), ...known.filter((row) => !byHand(row))]) {
      const text = row.text.trim();
      if (!once.has(text)) once.set(text, row);
    }
    const rows = [...once.values()];
    const most = Math.min(this.info.max_client_batch_size, Math.floor(this.info.max_fitted_scores / Math.max(1, project.named.length)));
    const hand = rows.filter(byHand).slice(0, most);
    const rest = rows.filter((row) => !byHand(row));
    const room = Math.min(rest.length, most - hand.length);
    return [...hand, ...Array.from({ length: room }, (_, place) => rest[Math.floor((place * rest.length) / room)])];
  }

  /** Numbers of two rows of one text to which a person gave different labels; null where there are none. */
  get contradiction() {
    const seen = new Map();
    for (const row of this.project.rows) {
      const names = this.project.markOf(row) && this.goldOf(row);
      if (!names) continue;
      const own = [row.number + 1, [...names].sort().join("\n")];
      const [number, other] = seen.get(row.text.trim()) ?? own;
      if (other !== own[1]) return { one: number, other: own[0] };
      seen.set(row.text.trim(), own);
    }
    return null;
  }

  /** A request about rows whose labels are known and, as far as there is room, others: those that the model is least sure of first. */
  about(taught, more) {
    const { project, info } = this;
    const done = new Set(taught.map((row) => row.text.trim())).add("");
    const open = project.rows.filter((row) => !done.has(row.text.trim()) && project.truthOf(row) === null);
    open.sort((one, two) => (one.answer?.margin ?? 0) - (two.answer?.margin ?? 0));
    const texts = [];
    const gold = [];
    const rows = [];
    const measure = new TextEncoder();
    const bytesOf = (value) => measure.encode(JSON.stringify(value)).length + 1;
    let labels = { ...project.described };
    let room = Math.min(info.max_request_bytes, info.max_request_tokens * 4) - SPARE - bytesOf(labels);
    for (const row of [...taught, ...open]) {
      const names = rows.length < taught.length ? this.goldOf(row) : null;
      room -= bytesOf(row.text) + bytesOf(names) + 4;
      if (room < 0 || rows.length >= info.max_client_batch_size) break;
      texts.push(row.text);
      gold.push(names);
      rows.push(row);
    }
    if (!project.multi && gold.some((names) => names?.includes(project.noneName))) labels[project.noneName] ??= "";
    const model = project.options.model ? { model: project.options.model } : {};
    if (!Object.keys(labels).length) labels = undefined;
    return { rows, body: { texts, gold, labels, multi_label: project.multi, ...model, ...more } };
  }

  /** The rows to label next. */
  async next(count) {
    const { rows, body } = this.about(this.taught.slice(0, this.info.max_client_batch_size >> 1), { count });
    const answer = await this.service.ask("suggest", this.service.only("/suggest", body));
    return answer.rows.map((one) => rows[one.row]);
  }

  /** Have a model fitted to what is known; it is one of the service's from then on. */
  fit() {
    return this.service.ask("fit", this.service.only("/fit", this.about(this.taught, {}).body));
  }

  archive() {
    return this.service.file(ARCHIVE.slice(1).replace("{name}", encodeURIComponent(this.info.model_id)));
  }
}
