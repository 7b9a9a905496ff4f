// The page: what is written, asked and shown, put together.

import { askKey, showKeys } from "./dialogs.js";
import { at, debounced, download, el, fill, keep, kept, say, toast } from "./dom.js";
import { listenForKeys } from "./keys.js";
import { count, firstLanguage, language, percent, speak, t } from "./language.js";
import { LabelsView } from "./labels_view.js";
import { Learning } from "./learning.js";
import { LoadView } from "./load_view.js";
import { showMeasures } from "./matrix_view.js";
import { Project, folded } from "./project.js";
import { RowsView } from "./rows_view.js";
import { Scoring, problemOf } from "./scoring.js";
import { Service } from "./service.js";
import { writeCsv, writeJsonLines } from "./tables.js";
import { readWhy } from "./why.js";

const FILTERS = ["all", "open", "marked", "unsure", "none", "wrong", "problem"];
const SORTS = ["file", "unsure", "sure", "label"];
const TEN = 10;
const MOST_LABELS = 60; // that are taken of a column

const project = new Project();
const service = new Service(askKey);
const labels = new LabelsView(project);
const loading = new LoadView(project);
const rows = new RowsView(project);
const learning = new Learning(project, service);
const scoring = new Scoring(project, service, () => rows.visible());
const scoreSoon = debounced(() => scoring.state.running || scoring.start(), 350);
const summarySoon = debounced(showSummary, 150);

// What changes, and what shows it

project.addEventListener("rows", () => {
  at("intro").hidden = true;
  at("rows-panel").hidden = false;
  Object.assign(rows, { filter: "all", current: null, search: "", ten: new Set(), cell: null });
  at("search").value = "";
  if (!project.named.length) takeGoldLabels();
  rows.arrange();
  showSummary();
  showSteps();
  say(at("rows-count").textContent);
  scoring.start();
});
project.addEventListener("labels", () => {
  rows.render();
  summarySoon();
  keepLabels();
});
project.addEventListener("outdated", () => {
  scoring.stop();
  for (const row of document.querySelectorAll("#rows .row")) row.classList.add("old");
  summarySoon();
  scoreSoon();
});
project.addEventListener("scored", ({ detail }) => {
  for (const row of detail) rows.refresh(row);
  summarySoon();
});
project.addEventListener("complete", () => {
  const untouched = !at("rows").contains(document.activeElement);
  if (untouched && (rows.sort !== "file" || rows.filter !== "all")) rows.arrange({ keepPage: true });
  say(t("progress.done", { n: project.rows.length }));
});
project.addEventListener("scoring", showProgress);
project.addEventListener("mark", ({ detail }) => {
  rows.refresh(detail);
  summarySoon();
});
project.addEventListener("steps", showSteps);
rows.onturn = () => scoring.state.running || scoring.start();

function showSummary() {
  showProgress();
  showShares();
  showFilters();
  showLearning();
  showMeasures(project, (right, answered) => {
    Object.assign(rows, { filter: "cell", cell: [right, answered] });
    showFilters();
    rows.arrange();
    rows.move(0);
  });
  const trouble = project.rows.length ? project.trouble : null;
  at("labels-trouble").textContent = trouble ? t(...trouble) : "";
  const unlike = project.own.filter((name) => project.keyOf(name) === undefined).length;
  at("labels-own").hidden = !project.own.length || (!unlike && project.named.length === project.own.length);
  at("labels-own").textContent = t("labels.own", { n: project.own.length });
  const names = goldNames();
  at("labels-gold").hidden = !names.some((name) => project.keyOf(name) === undefined);
  at("labels-gold").textContent = t("labels.gold", { n: names.length });
}

function showProgress() {
  const { running, problem } = scoring.state;
  const all = project.rows.length;
  const done = project.rows.filter((row) => project.isCurrent(row)).length;
  at("progress").value = all ? done / all : 0;
  at("progress").hidden = !running;
  at("again").hidden = !problem;
  at("progress-words").className = problem ? "trouble" : "soft";
  const words = problem || (running ? t("progress.words", { n: done, all }) : "");
  if (at("progress-words").textContent !== words) at("progress-words").textContent = words;
  at("progress-box").hidden = !words;
}

function showShares() {
  const counts = new Map(project.keys.map((key) => [key, 0]));
  let none = 0;
  for (const row of project.rows) {
    const given = project.markOf(row) ?? row.answer?.given;
    if (given && !given.length) none += 1;
    for (const key of given ?? []) counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const share = (filter, name, number) => {
    const button = el("button", {
      type: "button", class: "share-button", "aria-pressed": String(rows.filter === filter),
      onclick: () => setFilter(rows.filter === filter ? "all" : filter),
    }, el("span", { class: "name" }, name), el("b", {}, `${count(number)} · ${percent(number / project.rows.length)}`));
    button.style.setProperty("--share", number / Math.max(1, project.rows.length));
    return button;
  };
  const held = at("shares").contains(document.activeElement) ? [...at("shares").children].indexOf(document.activeElement) : -1;
  fill(at("shares"), project.named.map((label) => share(`label ${label.key}`, label.name.trim(), counts.get(label.key) ?? 0)),
    none || project.none ? share("none", project.noneName, none) : null);
  if (held >= 0) at("shares").children[held]?.focus();
}

function setFilter(filter) {
  rows.filter = filter;
  showFilters();
  showShares();
  rows.arrange();
  if (!scoring.state.running && !scoring.state.problem) scoring.start();
}

function showFilters() {
  const { filter } = rows;
  if (filter.startsWith("label ") && !project.named.some((label) => `label ${label.key}` === filter)) rows.filter = "all";
  const extra = ["ten", "cell"].filter((name) => rows.filter === name);
  fill(at("filter"),
    [...FILTERS, ...extra].map((name) => el("option", { value: name }, t(`filter.${name}`))),
    el("optgroup", { label: t("filter.by-label") }, project.named.map((label) => el("option", { value: `label ${label.key}` }, label.name.trim()))));
  at("filter").value = rows.filter;
}

function showSteps() {
  at("undo").disabled = !project.done.length;
  at("redo").disabled = !project.undone.length;
}

// What a person asks for

function step(back) {
  const done = back ? project.undo() : project.redo();
  if (!done) return;
  say(t(back ? "said.undo" : "said.redo"));
  if (done.row) rows.focus(done.row.number);
}

async function tenNext() {
  let chosen = leastSure();
  if (learning.suggests) {
    try {
      chosen = await learning.next(TEN);
    } catch (error) {
      toast(problemOf(error).problem);
    }
  }
  if (!chosen.length) return toast(t("ten.nothing"));
  Object.assign(rows, { ten: new Set(chosen.map((row) => row.number)), sort: "unsure", search: "" });
  at("sort").value = "unsure";
  at("search").value = "";
  setFilter("ten");
  toast(t("ten.words", { n: rows.ten.size }));
  return rows.order.length && rows.focus(rows.order[0]);
}

/** Rows whose answers are the least sure, each text once. */
function leastSure() {
  const seen = new Set();
  return project.rows
    .filter((row) => row.answer && !row.answer.empty && project.isCurrent(row) && project.markOf(row) === null)
    .sort((one, two) => one.answer.margin - two.answer.margin)
    .filter((row) => !seen.has(folded(row.text)) && seen.add(folded(row.text)))
    .slice(0, TEN);
}

async function fit() {
  const twice = learning.contradiction;
  if (twice) return toast(t("fit.twice", twice));
  at("fit").setAttribute("aria-disabled", "true"); // not disabled: the focus would be lost
  at("fit").textContent = t("fit.running");
  try {
    const { model, accuracy, texts } = await learning.fit();
    await service.openModels();
    showModels();
    at("model").value = model;
    await takeModel();
    const told = accuracy && { share: percent(accuracy.value), low: percent(accuracy.low), high: percent(accuracy.high) };
    toast(t(accuracy ? "fit.done" : "fit.ready", { n: texts, ...told }));
  } catch (error) {
    toast(problemOf(error).problem);
  }
  at("fit").removeAttribute("aria-disabled");
  return showLearning();
}

function showLearning() {
  const length = learning.fits ? learning.taught.length : 0;
  at("fit").hidden = length < 2;
  if (!isLearning()) at("fit").textContent = t("fit", { n: length });
  at("save-model").hidden = !learning.gives;
}

const isLearning = () => at("fit").getAttribute("aria-disabled") === "true";

async function saveModel() {
  try {
    download(`${learning.info.model_id}.zip`, await learning.archive(), "application/zip");
  } catch (error) {
    toast(problemOf(error).problem);
  }
}

function showModels() {
  fill(at("model"), service.models.map((name) => el("option", { value: name }, name)));
  at("model-box").hidden = service.models.length < 2;
}

/** Ask the model that is chosen from here on. */
async function takeModel() {
  const { value, selectedIndex } = at("model");
  const info = await service.info(value);
  if (at("model").value !== value) return; // another by now
  learning.info = info;
  project.known = info.trained_labels;
  project.options.model = selectedIndex > 0 ? value : null; // the first is asked without a name
  rows.why = info.kinds.includes("labels") && service.takes("/explain", ["texts", "labels"]) ? why : null;
  if (project.known && !project.named.length) takeOwnLabels();
  showOptions();
  project.labelsChanged();
}

/** Labels that the model knows, with the descriptions that they have here. */
function takeOwnLabels() {
  project.setLabels(project.own.map((name) => [name, described().get(folded(name)) ?? ""]));
}

const described = () => new Map(project.named.map((label) => [folded(label.name), label.description]));

async function why(row) {
  if (row.why) {
    row.why = null;
    return rows.refresh(row);
  }
  const asked = { asking: true };
  row.why = asked;
  rows.refresh(row);
  let found;
  try {
    const asks = { texts: [row.text], ...project.choice, top_k: 1 };
    const answer = await service.ask("explain", service.only("/explain", asks));
    found = readWhy(row.text, answer.rows[0]);
    found.label = project.nameOf(project.keyOf(found.label)) ?? found.label;
  } catch (error) {
    found = { problem: problemOf(error).problem };
  }
  if (row.why !== asked) return undefined; // closed, or of another question by now
  row.why = found;
  return rows.refresh(row);
}

function goldNames() {
  const names = new Map();
  for (const row of project.rows) {
    if (row.gold === null) continue;
    for (const name of project.multi ? row.gold.split("|") : [row.gold]) {
      if (name.trim() && !names.has(folded(name)) && names.size <= MOST_LABELS) names.set(folded(name), name.trim());
    }
  }
  return names.size > MOST_LABELS ? [] : [...names.values()];
}

function takeGoldLabels() {
  const names = goldNames().filter((name) => project.keyOf(name) !== "none");
  if (names.length) project.setLabels(names.map((name) => [name, described().get(folded(name)) ?? ""]));
}

function save(kind) {
  const { columns, rows: cells } = project.labelledTable();
  const name = `${(project.table.name || "texts").replace(/\.[^.]*$/, "")}-labelled`;
  if (kind === "csv") download(`${name}.csv`, writeCsv(columns, cells), "text/csv;charset=utf-8");
  else download(`${name}.jsonl`, writeJsonLines(columns, cells), "application/jsonl");
  project.saved = true;
  toast(t("save.done", { n: cells.length }));
}

function example() {
  project.setLabels(t("example.labels"));
  project.options.none = true;
  showOptions();
  project.outdate();
  loading.open({ name: "", text: t("example.rows").map((cells) => cells.join("\t")).join("\n") });
}

// Settings, kept by the browser; texts never are

function keepLabels() {
  const { none, multi, template, threshold, noneThreshold } = project.options;
  const labels = project.labels.map((label) => [label.name, label.description]);
  keep("labels", JSON.stringify({ labels, options: { none, multi, template, threshold, noneThreshold } }));
}

function restoreLabels() {
  try {
    const before = JSON.parse(kept("labels"));
    Object.assign(project.options, before.options);
    project.setLabels(before.labels);
  } catch {
    project.setLabels([["", ""], ["", ""]]); // a first visit, or what another version kept
  }
  const { template, threshold, noneThreshold } = project.options;
  Object.assign(at("template"), { value: template });
  Object.assign(at("threshold"), { value: threshold });
  Object.assign(at("none-threshold"), { value: noneThreshold });
  showOptions();
}

function showOptions() {
  const known = Boolean(project.known);
  Object.assign(at("multi"), { checked: project.multi, disabled: known });
  Object.assign(at("none"), { checked: known ? project.none : project.options.none, disabled: known || project.multi });
  at("known-lead").hidden = !known;
  at("template").disabled = known;
  at("threshold-box").hidden = !project.multi;
  at("none-threshold-box").hidden = known || !project.none;
}

function option(id, name, read) {
  at(id).addEventListener(at(id).type === "checkbox" ? "change" : "input", () => {
    const value = read(at(id));
    at(id).setAttribute("aria-invalid", String(value === undefined));
    const problem = document.getElementById(`${id}-problem`);
    if (problem) problem.hidden = value !== undefined;
    if (value === undefined) return;
    project.options[name] = value;
    showOptions();
    project.labelsChanged();
  });
}

const isDark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function showTheme() {
  at("theme").textContent = t(isDark() ? "theme.light" : "theme.dark");
}

async function speakNow(wished) {
  await speak(wished);
  project.noneName = t("none.name");
  const other = language() === "ko" ? ["English", "en"] : ["한국어", "ko"];
  fill(at("language"), el("span", { lang: other[1] }, other[0]));
  showTheme();
  showKeys();
  fill(at("sort"), SORTS.map((name) => el("option", { value: name }, t(`sort.${name}`))));
  at("sort").value = rows.sort;
  labels.render(true);
  loading.summary();
  if (project.rows.length) {
    rows.render();
    showSummary();
  }
}

function listen() {
  const on = (id, work) => at(id).addEventListener("click", work);
  on("language", () => {
    const wished = language() === "ko" ? "en" : "ko";
    keep("language", wished);
    speakNow(wished);
  });
  on("theme", () => {
    const wished = isDark() ? "light" : "dark";
    keep("theme", wished);
    document.documentElement.dataset.theme = wished;
    showTheme();
  });
  on("help-button", () => at("help-dialog").showModal());
  on("example", example);
  on("labels-gold", takeGoldLabels);
  on("labels-own", takeOwnLabels);
  on("undo", () => step(true));
  on("redo", () => step(false));
  on("ten", tenNext);
  on("again", () => scoring.start());
  on("save-csv", () => save("csv"));
  on("save-jsonl", () => save("jsonl"));
  at("search").addEventListener("input", debounced(() => {
    rows.search = at("search").value;
    rows.arrange();
  }, 200));
  at("filter").addEventListener("change", () => setFilter(at("filter").value));
  at("sort").addEventListener("change", () => {
    rows.sort = at("sort").value;
    rows.arrange();
  });
  option("none", "none", (field) => field.checked);
  option("multi", "multi", (field) => field.checked);
  option("template", "template", (field) => (field.value.includes("{}") || !field.value.trim() ? field.value : undefined));
  option("threshold", "threshold", (field) => (field.value !== "" && field.validity.valid ? Number(field.value) : undefined));
  option("none-threshold", "noneThreshold", (field) => (field.validity.badInput ? undefined : field.value));
  at("model").addEventListener("change", () => takeModel().catch((error) => toast(problemOf(error).problem)));
  on("fit", () => isLearning() || fit());
  on("save-model", saveModel);
  listenForKeys(rows, { step, tenNext, why: (row) => rows.why && why(row) });
  addEventListener("beforeunload", (event) => project.saved || event.preventDefault());
}

async function open() {
  try {
    await service.open();
    showModels();
    await takeModel();
  } catch (error) {
    at("notice").textContent = problemOf(error).problem;
    at("notice").hidden = false;
    return;
  }
  showLearning();
}

await speakNow(firstLanguage());
restoreLabels();
listen();
document.documentElement.dataset.ready = "true";
performance.mark("sijo-ready");
await open();
