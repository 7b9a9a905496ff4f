"""How often sijo's labels are right, beside the same encoder run by hand in `transformers`.

Two label sets that the encoder was never trained on, each text with one right label:

  BBC News         2,225 whole articles; business, entertainment, politics, sport, technology
                   (the folders' names, but "sport" for sports and "technology" for tech)
  TREC             5,381 distinct questions; abbreviation, description, entity, human, location, number

and these ways to label them:

  sijo             ZeroShotClassifier with the label words, nothing else set
  definitions      the same (TREC only), each label with the data set's own definitions beside it
  words by hand    transformers: first 256 tokens, mean pooling, cosine to the bare label words
  template by hand the same, the label words in sijo's sentence, "This is about {}."

Accuracy and macro-F1 with 95 % bootstrap intervals, and the differences with paired ones: both ways are
measured on the same resampled texts, and above zero the way named first is better. ECE is for sijo
alone, since a cosine is no probability.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from measuring import interval
from throughput import Peer

import data
import sijo
from sijo.evaluation.intervals import Interval
from sijo.evaluation.metrics import confusion, macro_f1
from sijo.evaluation.zero_shot import evaluate
from sijo.zeroshot.calibration import MINILM
from sijo.zeroshot.classifier import ZeroShotClassifier
from sijo.zeroshot.scorers.embedding import EmbeddingScorer

PAIRS = (
    ("sijo", "words by hand"),
    ("sijo", "template by hand"),
    ("definitions", "sijo"),
    ("definitions", "words by hand"),
)


def by_sijo(
    texts: Sequence[str], labels: Sequence[str] | Mapping[str, Sequence[str]], model: sijo.Model
) -> tuple[np.ndarray, int]:
    """Probabilities (n, L) in the order of the labels, and how many texts were read in several windows."""
    rows = ZeroShotClassifier(labels, model).classify(texts)
    scores = [dict(zip(row.labels, row.scores, strict=True)) for row in rows]
    return np.array([[row[label] for label in labels] for row in scores]), sum(row.windows > 1 for row in rows)


def paired(
    gold: np.ndarray, ours: np.ndarray, theirs: np.ndarray, *, labels: int, resamples: int, seed: int
) -> dict[str, Interval]:
    """Accuracy and macro-F1 of ours minus theirs, all three (n,) columns of labels."""

    def measures(chosen: np.ndarray, rows: np.ndarray) -> np.ndarray:
        counts_LL = confusion(gold[rows], chosen[rows], labels)
        return np.array([counts_LL.trace() / len(rows), macro_f1(counts_LL)])

    def gap(rows: np.ndarray) -> np.ndarray:
        return measures(ours, rows) - measures(theirs, rows)

    rng = np.random.default_rng(seed)
    values = gap(np.arange(len(gold)))
    drawn = np.array([gap(rng.integers(len(gold), size=len(gold))) for _ in range(resamples)])
    return {name: interval(values[i], drawn[:, i]) for i, name in enumerate(("accuracy", "macro_f1"))}


def compare(
    gold: Sequence[str], labels: Sequence[str], ways: Mapping[str, np.ndarray], *, resamples: int, seed: int
) -> dict[str, object]:
    """Every way's figures, and the differences between PAIRS of them; `ways` are probabilities (n, L)."""
    figures: dict[str, object] = {}
    gold_N = np.array([labels.index(label) for label in gold])
    chosen = {way: probabilities.argmax(1) for way, probabilities in ways.items()}
    for way, probabilities in ways.items():
        result = evaluate(gold, probabilities, labels, resamples=resamples, seed=seed)
        measures = {"accuracy": result.accuracy, "macro_f1": result.macro_f1}
        if "hand" not in way:
            measures["ece"] = result.ece
        figures[way] = measures
        data.say(f"  {way:<17}" + "   ".join(f"{name} {value}" for name, value in measures.items()))
    for ours, theirs in PAIRS:
        if ours in ways and theirs in ways:
            gap = paired(gold_N, chosen[ours], chosen[theirs], labels=len(labels), resamples=resamples, seed=seed)
            figures[f"{ours} minus {theirs}"] = gap
            data.say(f"  {ours} minus {theirs}: " + "   ".join(f"{name} {value}" for name, value in gap.items()))
    return figures


def main() -> None:
    """Label both data sets in every way, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("--articles", type=int, help="so many BBC articles, drawn at random (all)")
    parser.add_argument("--questions", type=int, help="so many TREC questions, drawn at random (all)")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples (1000)")
    args = parser.parse_args()
    articles = data.sample(list(zip(*data.bbc(args.data), strict=True)), args.articles, args.seed)
    questions, kinds, definitions = data.trec(args.data)
    labelled = data.sample(list(zip(questions, kinds, strict=True)), args.questions, args.seed)
    model = sijo.load("all-minilm-l6-v2")
    peer = Peer(model.source)

    figures: dict[str, object] = {}
    sizes: dict[str, object] = {}
    for name, rows, labels, described in (
        ("BBC News", articles, list(data.NEWS.values()), None),
        ("TREC", labelled, list(data.QUESTIONS.values()), definitions),
    ):
        data.say(f"{name}: {len(rows):,} texts, {len(labels)} labels")
        texts, gold = map(list, zip(*rows, strict=True))
        ways = {}
        ways["sijo"], windowed = by_sijo(texts, labels, model)
        if described is not None:
            ways["definitions"], _ = by_sijo(texts, described, model)
        vectors = peer.encode(texts, by_length=True)
        for way, template in (("words by hand", "{}"), ("template by hand", EmbeddingScorer.template)):
            cosines = vectors @ peer.encode([template.replace("{}", label) for label in labels]).T
            ways[way] = MINILM.softmax(cosines.astype(np.float64))  # keeps their order, so the label too
        figures[name] = compare(gold, labels, ways, resamples=args.resamples, seed=args.seed)
        sizes[name] = {"texts": len(texts), "labels": labels, "longer_than_the_model": windowed}
    data.report(args, sizes, figures)


if __name__ == "__main__":
    main()
