// Accuracy, F1 and the table of what was taken for what. Nothing of the page is known here.

/** A share with its 95 % Wilson interval. */
export function wilson(right, all) {
  if (!all) return null;
  const z = 1.959964;
  const share = right / all;
  const middle = (share + (z * z) / (2 * all)) / (1 + (z * z) / all);
  const half = (z / (1 + (z * z) / all)) * Math.sqrt((share * (1 - share)) / all + (z * z) / (4 * all * all));
  return { share, low: right ? middle - half : 0, high: right < all ? middle + half : 1 };
}

/**
 * How well answers fit the truth.
 *
 * pairs  of two lists of keys, what is right and what was answered, for each row; lists of one key where a row has
 *        one label
 * keys   of the labels, in their order; a key beyond them counts for accuracy and has a row of its own
 *
 * Returns accuracy (rows whose lists are alike) with its interval, macro-F1 over the labels that occur on either
 * side, precision, recall and F1 for each, and for lists of one key the confusion matrix: rows are what is right.
 */
export function measured(pairs, keys) {
  const all = [...keys];
  for (const [right, answered] of pairs) for (const key of [...right, ...answered]) if (!all.includes(key)) all.push(key);
  const place = new Map(all.map((key, number) => [key, number]));
  const counts = all.map(() => ({ right: 0, answered: 0, both: 0 }));
  const matrix = all.map(() => all.map(() => 0));
  let alike = 0;
  for (const [right, answered] of pairs) {
    const both = right.filter((key) => answered.includes(key));
    if (both.length === right.length && both.length === answered.length) alike += 1;
    for (const key of right) counts[place.get(key)].right += 1;
    for (const key of answered) counts[place.get(key)].answered += 1;
    for (const key of both) counts[place.get(key)].both += 1;
    if (right.length === 1 && answered.length === 1) matrix[place.get(right[0])][place.get(answered[0])] += 1;
  }
  const labels = all.map((key, number) => {
    const { right, answered, both } = counts[number];
    return {
      key,
      right,
      answered,
      precision: answered ? both / answered : null,
      recall: right ? both / right : null,
      f1: right + answered ? (2 * both) / (right + answered) : null,
    };
  });
  const present = labels.filter((label) => label.f1 !== null);
  return {
    rows: pairs.length,
    accuracy: wilson(alike, pairs.length),
    macroF1: present.length ? present.reduce((sum, label) => sum + label.f1, 0) / present.length : null,
    labels,
    matrix,
  };
}
