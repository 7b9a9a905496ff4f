// Asks for answers, piece by piece: the rows that are seen first. What is outdated is given up.

import { t } from "./language.js";
import { Refused, pieceOf } from "./service.js";

/** Keeps the rows of a project answered. Tells the project `scored` after each piece and `scoring` of its state. */
export class Scoring {
  /** visible  gives the rows that are seen */
  constructor(project, service, visible) {
    this.project = project;
    this.service = service;
    this.visible = visible;
    this.controller = null;
    this.state = { running: false, problem: "", labels: false };
  }

  /** Give up what is under way. */
  stop() {
    this.controller?.abort();
    this.controller = null;
    this.set({ running: false });
  }

  set(state) {
    this.state = { ...this.state, ...state };
    this.project.tell("scoring");
  }

  /** Answer all rows that have no answer to the question as it is now. */
  async start() {
    this.stop();
    const project = this.project;
    if (!project.rows.length || project.trouble) return this.set({ problem: "" });
    const controller = new AbortController();
    this.controller = controller;
    this.set({ running: true, problem: "", labels: false });
    try {
      let from = 0;
      for (;;) {
        let waiting = this.visible().filter((row) => !project.isCurrent(row));
        if (!waiting.length) {
          while (from < project.rows.length && project.isCurrent(project.rows[from])) from += 1;
          waiting = project.rows.slice(from, from + 400).filter((row) => !project.isCurrent(row));
        }
        if (!waiting.length) break;
        await this.piece(waiting, controller.signal);
      }
      this.set({ running: false });
      project.tell("complete");
    } catch (error) {
      if (error.name === "AbortError" || this.controller !== controller) return undefined;
      this.set({ running: false, ...problemOf(error) });
    }
    return undefined;
  }

  async piece(waiting, signal) {
    const project = this.project;
    const rows = waiting.slice(0, pieceOf(waiting.map((row) => row.text)));
    const answers = await this.service.classify(rows.map((row) => row.text), project.choice, signal);
    if (signal.aborted) throw new DOMException("outdated", "AbortError");
    rows.forEach((row, place) => project.answered(row, answers[place]));
    project.tell("scored", rows);
  }
}

/** What to say of an error, and whether the labels are what is refused. */
export function problemOf(error) {
  if (!(error instanceof Refused)) return { problem: t("problem.away"), labels: false };
  if (error.status === 401) return { problem: t("problem.key"), labels: false };
  const known = { 429: "problem.busy", 503: "problem.busy" }[error.status];
  return { problem: t(known || "problem.refused", { reason: error.message }), labels: error.status === 422 };
}
