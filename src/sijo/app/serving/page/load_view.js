// Texts come in: pasted, chosen or dropped; and how a table is read may be said otherwise.

import { at, el, fill } from "./dom.js";
import { t } from "./language.js";
import { ENCODINGS, FORMATS, MOST_BYTES, TableError, decode, formatOf, goldColumn, parseTable, textColumn, wellFormed } from "./tables.js";

const LARGE = 20_000; // characters that, pasted, are taken at once

/** Reads tables into a project. */
export class LoadView {
  constructor(project) {
    this.project = project;
    this.source = null; // name, and bytes or text
    at("paste-take").addEventListener("click", () => this.open({ name: "", text: at("paste").value }));
    at("paste").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("paste-take").click();
    });
    at("paste").addEventListener("paste", (event) => { // a field of ten thousand lines takes a browser long to lay out
      const text = event.clipboardData.getData("text/plain");
      if (text.length < LARGE || at("paste").value.trim()) return;
      event.preventDefault();
      this.open({ name: "", text });
    });
    at("file").addEventListener("change", (event) => {
      this.file(event.target.files[0]);
      event.target.value = "";
    });
    at("texts-other").addEventListener("click", () => {
      at("entry").hidden = !at("entry").hidden;
      if (!at("entry").hidden) at("paste").focus();
    });
    for (const id of ["format", "encoding", "header"]) at(id).addEventListener("change", () => this.read({ anew: id !== "encoding" }));
    for (const id of ["text-column", "gold-column"]) at(id).addEventListener("change", () => this.take());
    this.listenForDrops();
  }

  listenForDrops() {
    let depth = 0;
    const holds = (event) => [...(event.dataTransfer?.types || [])].some((type) => type === "Files" || type === "text/plain");
    const over = (by) => {
      depth = Math.max(0, depth + by);
      at("drop").hidden = depth === 0;
    };
    addEventListener("dragenter", (event) => holds(event) && over(1));
    addEventListener("dragleave", (event) => holds(event) && over(-1));
    addEventListener("dragover", (event) => holds(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      depth = 0;
      at("drop").hidden = true;
      const [file] = event.dataTransfer.files;
      if (!file && event.target.closest("input, textarea")) return;
      event.preventDefault();
      if (file) this.file(file);
      else this.open({ name: "", text: event.dataTransfer.getData("text/plain") });
    });
  }

  async file(file) {
    if (!file) return;
    if (file.size > MOST_BYTES) this.fail(new TableError("error.large", { most: MOST_BYTES / 2 ** 20 }));
    else this.open({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) });
  }

  /** Take texts from somewhere; what was there is asked about where it would be lost. */
  open(source) {
    if (!this.project.saved && !confirm(t("texts.lose"))) return;
    this.source = source;
    at("encoding").value = "auto";
    at("header").checked = true;
    at("format").value = "";
    this.read({ anew: true });
  }

  /** Read the source again, as the fields say. */
  read({ anew }) {
    const { source } = this;
    at("texts-trouble").textContent = "";
    try {
      const wished = at("encoding").value || "auto";
      const read = source.bytes ? decode(source.bytes, wished) : { text: wellFormed(source.text), encoding: "" };
      const format = at("format").value || formatOf(read.text, source.name);
      const table = { ...parseTable(read.text, format, at("header").checked), name: source.name };
      if (!table.rows.length) throw new TableError("error.nothing");
      const chosen = [at("text-column").selectedIndex, at("gold-column").selectedIndex - 1];
      const same = !anew && this.table?.columns.length === table.columns.length;
      this.table = table;
      this.how = { format, encoding: read.encoding };
      const text = same ? chosen[0] : textColumn(table);
      this.fields(text, same ? chosen[1] : goldColumn(table, text));
      this.take();
    } catch (error) {
      if (!(error instanceof TableError)) throw error;
      this.fail(error);
    }
  }

  fail(error) {
    at("texts-trouble").textContent = t(error.key, error.values);
    if (this.source?.bytes && error.key === "error.encoding") { // so that it can be said
      at("loaded").hidden = false;
      at("reading").open = true;
      this.selects();
    }
  }

  selects() {
    const encoding = at("encoding").value || "auto";
    fill(at("format"), FORMATS.map((format) => el("option", { value: format }, t(`format.${format}`))));
    fill(at("encoding"), ["auto", ...ENCODINGS].map((name) => el("option", { value: name }, t(`encoding.${name}`))));
    at("encoding").value = encoding;
    at("encoding").closest("label").hidden = !this.source?.bytes;
    if (this.how) at("format").value = this.how.format;
    at("header-box").hidden = !["csv", "tsv"].includes(at("format").value);
  }

  fields(text, gold) {
    const { columns } = this.table;
    this.selects();
    const options = columns.map((name, place) => el("option", { value: place }, name.slice(0, 80)));
    fill(at("text-column"), options);
    fill(at("gold-column"), el("option", { value: -1 }, t("read.no-gold")), options.map((option) => option.cloneNode(true)));
    at("text-column").value = text;
    at("gold-column").value = gold;
    for (const id of ["text-column", "gold-column"]) at(id).closest("label").hidden = columns.length === 1;
  }

  take() {
    const [text, gold] = [Number(at("text-column").value), Number(at("gold-column").value)];
    this.project.take(this.table, text, gold === text ? -1 : gold);
    at("entry").hidden = true;
    at("paste").value = "";
    this.summary();
  }

  /** Say what was read; in the language as it is now. */
  summary() {
    if (!this.how || !this.project.rows.length) return;
    const { name } = this.project.table;
    at("loaded").hidden = false;
    at("texts-other").hidden = false;
    const encoding = this.how.encoding ? ` · ${t(`encoding.${this.how.encoding}`)}` : "";
    at("loaded-summary").textContent = (name ? t("texts.from", { n: this.project.rows.length, name }) : t("texts.count", { n: this.project.rows.length })) + encoding;
    const { columns } = this.table;
    if (columns.length) this.fields(Number(at("text-column").value), Number(at("gold-column").value));
  }
}
