"""What a few example texts of each label are worth to all-MiniLM-L6-v2, and how much they should weigh.

    python benchmarks/prototypes.py

A label's vector is unit(p + w m): p the mean of its phrases' unit vectors, m the mean of its examples'. k examples
of each label (half of its texts at most) are drawn 20 times and left out of what is labelled; accuracy is the mean
of the draws, with the least and the most. Sets: the 300 requests of examples/ (10 domains), BBC News (5) and TREC
questions (6, with and without definitions). w = 0 is no examples, w = inf examples alone; the scorer has its own w,
by the numbers of examples and of phrases. For both the mean probability of the best label is told too, at the
scorer's temperature, which was fitted without examples.
"""

from collections.abc import Mapping, Sequence

import numpy as np

import data
from sijo.files.tables import TextTable
from sijo.inference.outputs import unit
from sijo.zeroshot.calibration import MINILM
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.scorers.embedding import weight_of
from sijo.zeroshot.scorers.open import open_scorer

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, np.inf)
COUNTS = (1, 2, 5, 10)


def sets(args: object) -> dict[str, tuple[Sequence[str], Sequence[str], Mapping[str, Sequence[str]]]]:
    """Texts, their labels, and the labels with descriptions, of each set."""
    (block,) = TextTable(data.REQUESTS).blocks()
    domains = list(map(str, block.values("domain")))
    folder = args.data  # type: ignore[attr-defined]
    articles, topics = data.bbc(folder)
    questions, kinds, defined = data.trec(folder)
    return {
        "requests": (block.texts, domains, dict.fromkeys(sorted({*domains}), ())),
        "BBC News": (articles, topics, dict.fromkeys(data.NEWS.values(), ())),
        "TREC": (questions, kinds, dict.fromkeys(defined, ())),
        "TREC, defined": (questions, kinds, defined),
    }


def accuracies(
    texts: np.ndarray, gold: np.ndarray, phrases: np.ndarray, counts: Sequence[int], seed: int, draws: int
) -> dict[str, object]:
    """Accuracy by number of examples and weight: mean, least and most of the draws."""
    rows: dict[str, object] = {}
    for count in COUNTS:
        shares: dict[str, list[float]] = {}
        for draw in range(draws):
            random = np.random.default_rng([seed, count, draw])
            of_label = [np.flatnonzero(gold == label) for label in range(len(phrases))]
            chosen = [random.choice(own, min(count, len(own) // 2), replace=False) for own in of_label]
            rest = np.ones(len(texts), bool)
            rest[np.concatenate(chosen)] = False
            means = np.array([texts[places].mean(0) for places in chosen])
            own = np.array([[weight_of(len(places), count)] for places, count in zip(chosen, counts, strict=True)])
            for name, weight in [*((f"{weight:g}", weight) for weight in WEIGHTS), ("of the scorer", own)]:
                labels = unit(means if weight is np.inf else phrases + weight * means)
                cosines = texts[rest] @ labels.T
                shares.setdefault(name, []).append(float((cosines.argmax(-1) == gold[rest]).mean()))
                if name in ("0", "of the scorer"):
                    sure = float(MINILM.softmax(cosines).max(-1).mean())
                    shares.setdefault(f"{name}, mean probability", []).append(sure)
        for weight, values in shares.items():
            rows[f"{count} examples, weight {weight}"] = [float(np.mean(values)), min(values), max(values)]
    return rows


def main() -> None:
    """Measure every set, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("--draws", type=int, default=20, help="times the examples are drawn (20)")
    parser.add_argument("--texts", type=int, help="so many texts of each set, drawn at random (all)")
    args = parser.parse_args()
    scorer = open_scorer("embedding", "all-minilm-l6-v2")
    figures, sizes = {}, {}
    for name, (texts, labels, described) in sets(args).items():
        places = data.sample(range(len(texts)), args.texts, args.seed)
        vectors = unit(scorer.engine.encode([texts[place] for place in places]).vectors.astype(np.float64))
        gold = np.array([list(described).index(labels[place]) for place in places])
        phrases = [label.phrases(scorer.template) for label in LabelSet.of(described).labels]
        means = np.array([unit(scorer.engine.encode(own).vectors.astype(np.float64)).mean(0) for own in phrases])
        figures[name] = accuracies(vectors, gold, means, [len(own) for own in phrases], args.seed, args.draws)
        sizes[name] = len(places)
        for row, (mean, least, most) in figures[name].items():  # type: ignore[misc]
            data.say(f"{name}: {row}: {mean:.3f} ({least:.3f} to {most:.3f})")
    data.report(args, sizes, figures)


if __name__ == "__main__":
    main()
