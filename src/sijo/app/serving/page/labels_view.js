// The labels as fields that can be written in.

import { at, download, el, fill } from "./dom.js";
import { t } from "./language.js";
import { descriptionsOf } from "./project.js";
import { decode, formatOf, parseTable } from "./tables.js";

/** Shows the labels of a project and takes what is written. */
export class LabelsView {
  constructor(project) {
    this.project = project;
    this.shown = "";
    project.addEventListener("labels", () => this.render());
    at("label-add").addEventListener("click", () => {
      const label = project.addLabel();
      at(`label-${label.key}`).focus();
    });
    at("labels-save").addEventListener("click", () => this.save());
    at("labels-file").addEventListener("change", async (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) this.read(new Uint8Array(await file.arrayBuffer()), file.name);
    });
  }

  /** Draw the fields anew where there are others; those that are written in stay. */
  render(always = false) {
    const shown = this.project.labels.map((label) => label.key).join();
    if (shown === this.shown && !always) return;
    this.shown = shown;
    fill(at("labels"), this.project.labels.map((label, place) => this.field(label, place)));
  }

  field(label, place) {
    const { project } = this;
    const name = label.name.trim() || t("labels.number", { n: place + 1 });
    return el("li", { class: "label" },
      el("span", { class: "keycap", "aria-hidden": "true" }, place < 9 ? String(place + 1) : "·"),
      el("input", {
        id: `label-${label.key}`, value: label.name, placeholder: t("labels.name"), autocomplete: "off", maxlength: "200",
        "aria-label": t("labels.name-of", { n: place + 1 }),
        oninput: (event) => { label.name = event.target.value; project.labelsChanged(); },
        onpaste: (event) => this.paste(event, label),
        onkeydown: (event) => { if (event.key === "Enter" && !event.isComposing) this.after(place); },
      }),
      el("button", {
        type: "button", class: "quiet remove", "aria-label": t("labels.remove", { name }), title: t("labels.remove", { name }),
        onclick: () => { project.removeLabel(label.key); (at("labels").querySelectorAll("input")[Math.max(0, place - 1)] || at("label-add")).focus(); },
      }, "×"),
      el("textarea", {
        rows: "1", placeholder: t("labels.description"), maxlength: "2000", "aria-label": t("labels.description-of", { n: place + 1 }),
        oninput: (event) => { label.description = event.target.value; project.labelsChanged(); },
      }, label.description));
  }

  after(place) {
    const next = at("labels").querySelectorAll("input")[place + 1];
    if (next) next.focus();
    else at("label-add").click();
  }

  /** Several lines in a name's field are several labels: a name, then a tab or a colon and a description. */
  paste(event, label) {
    const lines = event.clipboardData.getData("text/plain").split(/\r\n|\n|\r/).filter((line) => line.trim());
    if (lines.length < 2) return;
    event.preventDefault();
    const pairs = lines.map((line) => {
      const [, name, description] = /^([^\t:]*)[\t:]?(.*)$/s.exec(line);
      return [name.trim().slice(0, 200), description.trim()];
    });
    const kept = this.project.labels.filter((one) => one !== label || one.name.trim());
    this.project.setLabels([...kept.map((one) => [one.name, one.description]), ...pairs]);
  }

  save() {
    const labels = this.project.named.map((label) => {
      const words = descriptionsOf(label);
      return { label: label.name.trim(), ...(words.length ? { description: words.length > 1 ? words : words[0] } : {}) };
    });
    download("labels.json", `${JSON.stringify(labels, null, 2)}\n`, "application/json");
  }

  /** Labels of a file: those that this page gave, a list or an object in JSON, a CSV, or a name a line. */
  read(bytes, name) {
    let pairs = [];
    try {
      const { text } = decode(bytes);
      if (formatOf(text, name) === "csv") pairs = parseTable(text, "csv").rows.map(([label, ...words]) => [label, words.filter(Boolean).join("\n")]);
      else if (/^\s*[[{]/.test(text)) pairs = pairsOf(JSON.parse(text));
      else pairs = parseTable(text, "lines").rows.map(([line]) => [line, ""]);
    } catch {
      pairs = [];
    }
    pairs = pairs.filter(([label]) => typeof label === "string" && label.trim());
    if (pairs.length) this.project.setLabels(pairs);
    else at("labels-trouble").textContent = t("labels.unread", { name });
  }
}

function pairsOf(value) {
  if (value && !Array.isArray(value) && Array.isArray(value.labels)) value = value.labels;
  if (!Array.isArray(value)) return Object.entries(value).map(([name, description]) => [name, wordsOf(description)]);
  return value.map((one) => (typeof one === "string" ? [one, ""] : [one.label ?? one.name, wordsOf(one.description ?? one.descriptions)]));
}

function wordsOf(description) {
  if (Array.isArray(description)) return description.join("\n");
  return typeof description === "string" ? description : "";
}
