// The service: how its routes are asked. A key is kept for as long as the tab is open, and sent nowhere else.

export const PIECE = 200; // texts in one request, at most
const PIECE_BYTES = 200_000; // of their texts, about
const TRIES = 6;

/** A refusal of the service, in its own words. */
export class Refused extends Error {
  constructor(status, reason, kind = "") {
    super(reason);
    this.status = status;
    this.late = status === 503 && kind === "overloaded"; // it took too long, and would again
  }
}

/** The service that gave this page. */
export class Service {
  /** askKey  gives a key that a person typed, or null */
  constructor(askKey) {
    this.askKey = askKey;
    this.key = keptKey();
    this.routes = {};
  }

  /** What the service is: its models by name, and the routes that it has. */
  async open() {
    const description = await this.ask("openapi.json");
    this.routes = description.paths;
    this.shapes = description.components?.schemas || {};
    await this.openModels();
  }

  async openModels() {
    this.models = (await this.ask("v1/models")).data.map((model) => model.id);
  }

  /** Whether there is a route that takes all of these fields. */
  takes(path, fields) {
    const content = this.routes[path]?.post?.requestBody?.content?.["application/json"];
    const shape = content && this.shapes[(content.schema.$ref || "").split("/").pop()];
    return Boolean(shape) && fields.every((field) => field in (shape.properties || {}));
  }

  /** Those fields of a request that a route knows. */
  only(path, body) {
    return Object.fromEntries(Object.entries(body).filter(([field]) => this.takes(path, [field])));
  }

  /** What a model is; null names the first. */
  info(model) {
    return this.ask(model ? `info?model=${encodeURIComponent(model)}` : "info");
  }

  /**
   * What a route answers, as JSON. A busy service is asked again when it says; where a key is needed, the person is.
   * Throws Refused, and AbortError where `signal` says so.
   */
  async ask(path, body, signal) {
    return (await this.answer(path, body, signal)).json();
  }

  /** The file of a route. */
  async file(path) {
    return (await this.answer(path)).blob();
  }

  async answer(path, body, signal) {
    for (let tried = 1; ; tried += 1) {
      const headers = { accept: "application/json" };
      const { key } = this;
      if (key) headers.authorization = `Bearer ${key}`;
      if (body) headers["content-type"] = "application/json";
      const answer = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
      if (answer.ok) return answer;
      if (answer.status === 401) {
        if (key === this.key) { // else another request has asked for it meanwhile
          const given = await this.askKey(Boolean(key));
          if (given === null) throw new Refused(401, "");
          this.key = given;
          keepKey(given);
        }
        continue;
      }
      const refused = await refusalOf(answer);
      if (refused.late || (answer.status !== 429 && answer.status !== 503) || tried >= TRIES) throw refused;
      const wait = Math.min(10, Number(answer.headers.get("retry-after")) || 1) * 1000;
      await pause(wait, signal);
    }
  }

  /**
   * Answers for texts, one each: a row of /classify, or a Refused where a text alone is refused.
   *
   * choice  what else the request says: labels, none_label and so on
   */
  async classify(texts, choice, signal) {
    try {
      return (await this.ask("classify", { texts, ...choice }, signal)).rows;
    } catch (error) {
      if (!(error instanceof Refused) || !(error.status === 413 || (error.late && texts.length > 1))) throw error;
      if (texts.length === 1) return [error];
      const half = texts.length >> 1; // too much at once
      return [...(await this.classify(texts.slice(0, half), choice, signal)), ...(await this.classify(texts.slice(half), choice, signal))];
    }
  }
}

/** How many of these texts go into one request. */
export function pieceOf(texts) {
  let bytes = 0;
  let size = 0;
  while (size < texts.length && size < PIECE && (size === 0 || bytes + texts[size].length * 3 <= PIECE_BYTES)) {
    bytes += texts[size].length * 3;
    size += 1;
  }
  return size;
}

function keptKey() {
  try {
    return sessionStorage.getItem("sijo.key");
  } catch {
    return null;
  }
}

function keepKey(key) {
  try {
    sessionStorage.setItem("sijo.key", key);
  } catch {
    // it is known until the page is loaded anew
  }
}

async function refusalOf(answer) {
  try {
    const { error, error_type: kind } = await answer.json();
    return new Refused(answer.status, typeof error === "string" ? error : error.message, kind);
  } catch {
    return new Refused(answer.status, `HTTP ${answer.status}`);
  }
}

function pause(wait, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, wait);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("outdated", "AbortError"));
    }, { once: true });
  });
}
