// Which words decided: the answer of the service's /explain, and the text with its words marked.

const STRONGEST = 5;

/**
 * What an answer of /explain says of a row's text.
 *
 * explained  a row of the answer: `parts` with `start` and `end`, counted in characters as Python does, and `spoken`,
 *            whether it is more than punctuation; and for the most probable label first `evidence` with `label` and
 *            as many `effects` as there are parts
 */
export function readWhy(text, explained) {
  const places = placesOf(text);
  const parts = explained.parts.map((part) => ({ start: places(part.start), end: places(part.end) }));
  const [{ label, effects }] = explained.evidence;
  if (effects.length !== parts.length) throw new TypeError("as many effects as parts");
  const ranked = parts
    .map((part, place) => ({ text: text.slice(part.start, part.end), effect: effects[place] }))
    .filter((_, place) => explained.parts[place].spoken);
  return {
    label,
    parts,
    effects,
    best: ranked.filter((part) => part.effect > 0).sort((one, two) => two.effect - one.effect).slice(0, STRONGEST),
    worst: ranked.filter((part) => part.effect < 0).sort((one, two) => one.effect - two.effect).slice(0, STRONGEST),
  };
}

/** Python counts an emoji as one character, JavaScript as two: from its numbers to ours. */
function placesOf(text) {
  if (!/[\ud800-\udfff]/.test(text)) return (place) => place;
  const starts = [];
  let place = 0;
  for (const character of text) {
    starts.push(place);
    place += character.length;
  }
  return (number) => starts[number] ?? text.length;
}

/** A text's pieces, those that spoke for or against the label as elements. */
export function marked(row) {
  const { parts, effects } = row.why;
  const most = Math.max(...effects.map(Math.abs), 1e-9);
  const pieces = [];
  let place = 0;
  parts.forEach((part, number) => {
    if (part.start > place) pieces.push(row.text.slice(place, part.start));
    const word = document.createElement("mark");
    word.className = effects[number] >= 0 ? "for" : "against";
    word.style.setProperty("--strength", (Math.abs(effects[number]) / most).toFixed(3));
    word.textContent = row.text.slice(part.start, part.end);
    pieces.push(word);
    place = part.end;
  });
  pieces.push(row.text.slice(place));
  return pieces;
}
