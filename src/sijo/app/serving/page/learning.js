// Learning from corrections, where the service can: rows to label next, and a model fitted to the labelled ones.
//
// POST /suggest  texts, gold, labels, count, multi_label, model -> {rows: [{row: number of a text, from 0}]}
// POST /fit      texts, gold, labels, multi_label, model -> {model: name, accuracy: {value, low, high} or null}
// GET  /models/{name}/archive -> the model's folder in one file
// `gold` has a list of names for each text, null where nobody knows.

import { descriptionsOf } from "./project.js";

const ARCHIVE = "/models/{name}/archive";

/** What the service's /suggest and /fit are asked about a project. */
export class Learning {
  constructor(project, service) {
    this.project = project;
    this.service = service;
    this.model = null; // that was fitted last
  }

  get suggests() {
    return this.service.takes("/suggest", ["texts", "gold", "labels", "count"]);
  }

  get fits() {
    return this.service.takes("/fit", ["texts", "gold", "labels"]);
  }

  get gives() {
    return Boolean(this.model && this.service.routes[ARCHIVE]?.get);
  }

  /** Rows whose labels are known. */
  get known() {
    return this.project.rows.filter((row) => this.goldOf(row) !== null);
  }

  goldOf(row) {
    const truth = this.project.truthOf(row);
    if (truth === null || (!truth.length && !this.project.options.multi)) return null;
    const names = truth.map((key) => this.project.nameOf(key));
    return names.includes(undefined) ? null : names;
  }

  /** A request about these rows. */
  about(rows, more) {
    const { project } = this;
    return {
      texts: rows.map((row) => row.text),
      gold: rows.map((row) => this.goldOf(row)),
      labels: Object.fromEntries(project.named.map((label) => [label.name.trim(), descriptionsOf(label)])),
      multi_label: project.options.multi,
      ...more,
    };
  }

  /** As many rows as one request may hold: all whose labels are known, then the least sure. */
  async next(count) {
    const { max_client_batch_size: most } = await this.service.info(null);
    const open = this.project.rows.filter((row) => this.goldOf(row) === null && row.text.trim());
    open.sort((one, two) => (one.answer?.margin ?? 0) - (two.answer?.margin ?? 0));
    const rows = [...this.known.slice(0, most >> 1), ...open].slice(0, most);
    const answer = await this.service.ask("suggest", this.service.only("/suggest", this.about(rows, { count })));
    return answer.rows.map((one) => rows[one.row]);
  }

  /** Have a model fitted to what is known; it is one of the service's from then on. */
  async fit() {
    const answer = await this.service.ask("fit", this.service.only("/fit", this.about(this.known, {})));
    this.model = answer.model;
    return answer;
  }

  archive() {
    return this.service.file(ARCHIVE.slice(1).replace("{name}", encodeURIComponent(this.model)));
  }
}
