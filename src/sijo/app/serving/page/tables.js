// Tables from bytes and back: encodings, CSV, TSV and JSON Lines. Nothing of the page is known here.

export const MOST_BYTES = 64 * 2 ** 20;
export const ENCODINGS = ["utf-8", "euc-kr", "utf-16le", "utf-16be", "shift_jis", "gb18030", "windows-1252"];
export const FORMATS = ["lines", "csv", "tsv", "jsonl"];
const FORMULA = /^[=+\-@\t\r\n＝＋－＠]/;
const NUMBER = /^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$/;
const MARKS = [["utf-8", [0xef, 0xbb, 0xbf]], ["utf-16le", [0xff, 0xfe]], ["utf-16be", [0xfe, 0xff]]];
const TEXT_NAMES = ["text", "texts", "sentence", "document", "content", "message", "body", "review", "utterance", "question",
  "title", "텍스트", "문장", "본문", "내용", "리뷰", "질문", "제목", "글", "발화"];
const GOLD_NAMES = ["sijo_checked", "gold", "label", "labels", "category", "class", "topic", "domain", "intent", "sentiment", "target",
  "정답", "라벨", "레이블", "분류", "범주", "카테고리", "주제", "의도", "감정"];

/** Why something cannot be read; `key` names the sentence, `values` what stands in it. */
export class TableError extends Error {
  constructor(key, values = {}) {
    super(key);
    this.key = key;
    this.values = values;
  }
}

/**
 * Text of bytes, and the encoding it was in. A byte order mark says which; else it is UTF-8, else CP949 (which
 * browsers call euc-kr) where all of it can be read so. Code pages that read anything are never guessed at.
 */
export function decode(bytes, encoding = "auto") {
  if (bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3) throw new TableError("error.workbook");
  const mark = MARKS.find(([, start]) => start.every((byte, place) => bytes[place] === byte));
  const tries = encoding !== "auto" ? [encoding] : mark ? [mark[0]] : ["utf-8", "euc-kr"];
  for (const name of tries) {
    try {
      const text = new TextDecoder(name, { fatal: encoding === "auto" }).decode(bytes);
      if (encoding === "auto" && text.includes("\0")) break;
      return { text: wellFormed(text), encoding: name };
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
  }
  throw new TableError("error.encoding");
}

/** Text without half characters, which no service can be sent. */
export function wellFormed(text) {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}

/** How a text is likely meant: by the end of a file's name; else by how it begins. */
export function formatOf(text, name = "") {
  const ending = name.toLowerCase().split(".").pop();
  if (ending === "csv") return "csv";
  if (ending === "tsv" || ending === "tab") return "tsv";
  if (["jsonl", "ndjson", "json"].includes(ending)) return "jsonl";
  const lines = text.split(/\r\n|\n|\r/, 50).filter((line) => line.trim());
  if (!ending || name === "") {
    if (lines.length && lines.every((line) => /^\s*\{.*\}\s*$/.test(line))) return "jsonl";
    const tabs = lines.map((line) => line.split("\t").length);
    if (lines.length > 1 && tabs[0] > 1 && tabs.every((one) => one === tabs[0])) return "tsv";
  }
  return "lines";
}

/** The records of a text as CSV: quotes may hold delimiters, line ends and doubled quotes. */
export function parseDelimited(text, delimiter) {
  const records = [];
  let record = [];
  let place = 0;
  while (place < text.length) {
    let cell = "";
    if (text[place] === '"') {
      const begun = records.length + 1;
      for (place += 1; ; place += 2) {
        const end = text.indexOf('"', place);
        if (end < 0) throw new TableError("error.quote", { n: begun });
        cell += text.slice(place, end);
        place = end;
        if (text[end + 1] !== '"') break;
        cell += '"';
      }
      place += 1;
    }
    const begin = place;
    while (place < text.length && text[place] !== delimiter && text[place] !== "\n" && text[place] !== "\r") place += 1;
    record.push(cell + text.slice(begin, place));
    const end = text[place];
    if (end === delimiter) {
      place += 1;
      if (place < text.length) continue;
      record.push("");
    } else {
      place += end === "\r" && text[place + 1] === "\n" ? 2 : 1;
    }
    if (record.length > 1 || record[0].trim()) records.push(record);
    record = [];
  }
  return records;
}

/** The delimiter that divides the first records most evenly; a comma where none does. */
export function delimiterOf(text) {
  const start = text.slice(0, 20_000);
  let best = [",", 0];
  for (const delimiter of [",", ";", "\t", "|"]) {
    let records;
    try {
      records = parseDelimited(start, delimiter).slice(0, 20);
    } catch (error) {
      if (!(error instanceof TableError)) throw error;
      continue; // a quote that the cut left open
    }
    const widths = records.map((record) => record.length);
    const even = widths.filter((width) => width === widths[0]).length / Math.max(1, widths.length);
    if (widths[0] > 1 && even > best[1]) best = [delimiter, even];
  }
  return best[0];
}

/**
 * A table: names of columns, and rows of as many cells.
 *
 * header  whether the first record names the columns; of CSV and TSV alone
 */
export function parseTable(text, format, header = true) {
  if (text.startsWith("\ufeff")) text = text.slice(1);
  if (format === "lines") {
    return { columns: ["text"], rows: text.split(/\r\n|\n|\r/).filter((line) => line.trim()).map((line) => [line.trim()]) };
  }
  if (format === "jsonl") return tableOfJson(text);
  let delimiter = "\t";
  if (format === "csv") {
    const said = /^sep=(.)(?:\r\n|\n|\r)/.exec(text);
    if (said) text = text.slice(said[0].length);
    delimiter = said ? said[1] : delimiterOf(text);
  }
  const records = parseDelimited(text, delimiter);
  const width = records.reduce((most, record) => Math.max(most, record.length), 0);
  const names = header && records.length ? records.shift() : [];
  const columns = uniqueNames(Array.from({ length: width }, (_, place) => (names[place] || "").trim() || `column ${place + 1}`));
  return { columns, rows: records.map((record) => columns.map((_, place) => record[place] ?? "")) };
}

function uniqueNames(names) {
  const seen = new Map();
  return names.map((name) => {
    const before = seen.get(name) || 0;
    seen.set(name, before + 1);
    return before ? `${name} (${before + 1})` : name;
  });
}

function tableOfJson(text) {
  const values = text.trimStart().startsWith("[") ? jsonList(text) : jsonLines(text);
  const columns = new Map();
  for (const value of values) {
    for (const name of value && typeof value === "object" && !Array.isArray(value) ? Object.keys(value) : ["text"]) {
      if (!columns.has(name)) columns.set(name, columns.size);
    }
  }
  const names = [...columns.keys()];
  const rows = values.map((value) => {
    if (!value || typeof value !== "object" || Array.isArray(value)) return names.map((name) => (name === "text" ? cellOf(value) : ""));
    return names.map((name) => (Object.hasOwn(value, name) ? cellOf(value[name]) : ""));
  });
  return { columns: names, rows };
}

function jsonList(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new TableError("error.json", { n: 1 });
  }
}

function jsonLines(text) {
  const values = [];
  text.split(/\r\n|\n|\r/).forEach((line, number) => {
    if (!line.trim()) return;
    try {
      values.push(JSON.parse(line));
    } catch {
      throw new TableError("error.json", { n: number + 1 });
    }
  });
  return values;
}

function cellOf(value) {
  if (typeof value === "string") return wellFormed(value);
  if (value === null || value === undefined) return "";
  if (Array.isArray(value) && value.every((one) => typeof one === "string")) return wellFormed(value.join("|"));
  return wellFormed(typeof value === "object" ? JSON.stringify(value) : String(value));
}

/** The column that holds the texts, by its name or by how long its cells are. */
export function textColumn(table) {
  const named = byName(table.columns, TEXT_NAMES);
  if (named >= 0) return named;
  const some = table.rows.slice(0, 200);
  const lengths = table.columns.map((_, place) => some.reduce((sum, row) => sum + row[place].length, 0));
  return lengths.indexOf(Math.max(...lengths));
}

/** The column that holds the right labels, by its name, and because they repeat; -1 where there is none. */
export function goldColumn(table, text) {
  const named = byName(table.columns.map((name, place) => (place === text ? "" : name)), GOLD_NAMES);
  if (named < 0) return -1;
  const cells = table.rows.slice(0, 2000).map((row) => row[named]).filter(Boolean);
  return cells.length && new Set(cells).size <= Math.max(20, cells.length / 2) ? named : -1;
}

function byName(columns, names) {
  const plain = columns.map((name) => name.normalize("NFC").trim().toLowerCase());
  for (const name of names) if (plain.includes(name)) return plain.indexOf(name);
  return -1;
}

/** A cell that no spreadsheet takes for a formula; numbers stay as they are. */
export function safeCell(cell) {
  return FORMULA.test(cell) && !NUMBER.test(cell) ? `'${cell}` : cell;
}

/** CSV that spreadsheets open: with a byte order mark, by which they know that it is UTF-8. */
export function writeCsv(columns, rows) {
  const line = (cells) => cells.map((cell) => {
    const safe = safeCell(String(cell ?? ""));
    return /[",\r\n]/.test(safe) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe;
  }).join(",");
  return `\ufeff${[columns, ...rows].map(line).join("\r\n")}\r\n`;
}

/** JSON Lines: an object a row. */
export function writeJsonLines(columns, rows) {
  return rows.map((cells) => `${JSON.stringify(Object.fromEntries(columns.map((name, place) => [name, cells[place]])))}\n`).join("");
}
