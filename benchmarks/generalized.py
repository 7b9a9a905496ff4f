"""Do texts of some labels help labels that have none? Generalised zero-shot learning on CLINC150.

    python benchmarks/generalized.py --clinc FOLDER [--model M] [--splits 3] [--vectors FILE]

Of the 150 intents 30 are drawn as unseen (by `random.Random(seed).sample`, seeds 0, 1, 2, …); train.csv.gz of the
other 120 teaches, and test.csv.gz judges among all 150. Four methods of `zeroshot/class_vectors`: plain cosine
(nothing is learned but gamma), ConSE, ESZSL and DAP, which takes the vectors of labels for attributes, each above
its mean or not. Settings and gamma are chosen on held-out seen intents. Reported beside accuracy of seen and unseen
intents, H and AUSUC: H without stacking (gamma 0), and accuracy of unseen intents among the unseen alone. The
built-in encoder has learned from CLINC150's training part by intent, so no intent is new to it; all-minilm-l6-v2
has not.
"""

import random
import time
from collections import Counter
from itertools import compress
from pathlib import Path

import numpy as np

import data
from sijo.evaluation.generalized import evaluate_generalized
from sijo.zeroshot.class_vectors.classifier import ClassVectorClassifier
from sijo.zeroshot.class_vectors.methods import METHODS

UNSEEN = 30


def rows_of(file: Path) -> tuple[list[str], list[str]]:
    """Texts and intents within scope."""
    rows = [row for row in data.clinc(file) if row["domain"] != "oos"]
    return [row["text"] for row in rows], [row["intent"].replace("_", " ") for row in rows]


def main() -> None:
    """Measure each method on each split."""
    parser = data.parser(__doc__)
    parser.add_argument("--clinc", type=Path, required=True, help="the folder of CLINC150's train and test.csv.gz")
    parser.add_argument("--model", help="a sentence encoder; the built-in one")
    parser.add_argument("--splits", type=int, default=3, help="draws of unseen intents (3)")
    parser.add_argument(
        "--per-intent", type=int, default=100, help="training texts of each intent, the first (100)"
    )
    parser.add_argument("--vectors", type=Path, help="a .npz that keeps the vectors of texts between runs")
    args = parser.parse_args()
    (texts, intents), (asked, gold) = (rows_of(args.clinc / f"{part}.csv.gz") for part in ("train", "test"))
    counts: Counter[str] = Counter()
    kept = [counts.update([intent]) or counts[intent] <= args.per_intent for intent in intents]
    texts, intents = (list(compress(column, kept)) for column in (texts, intents))
    labels = sorted({*gold})
    encoder = ClassVectorClassifier(labels, model=args.model)
    if args.vectors is not None and args.vectors.is_file():
        known = np.load(args.vectors)
        train, test = known["train"], known["test"]
    else:
        train, test = encoder.encoded(texts), encoder.encoded(asked)
        if args.vectors is not None:
            np.savez(args.vectors, train=train, test=test)
    figures: dict[str, dict[str, object]] = {}
    for split in range(args.seed, args.seed + args.splits):
        unseen = {*random.Random(split).sample(labels, UNSEEN)}
        taught = [place for place, intent in enumerate(intents) if intent not in unseen]
        for name in METHODS:
            classifier = ClassVectorClassifier(labels, model=args.model, method=name, seed=split)
            classifier.take_scorer(encoder)
            started = time.perf_counter()
            classifier.fit_vectors(train[taught], [intents[place] for place in taught])
            seconds = time.perf_counter() - started
            scores, seen = classifier.scores(test), classifier.is_seen_
            places = classifier.places(gold)
            at, plain = (
                evaluate_generalized(places, scores, seen, gamma=gamma) for gamma in (classifier.gamma_, 0.0)
            )
            of_unseen = np.flatnonzero(~seen[places])
            alone = np.where(seen, -np.inf, scores[of_unseen]).argmax(1) == places[of_unseen]
            record = at.to_dict() | {
                "settings": classifier.settings_,
                "harmonic_mean_without_stacking": plain.harmonic_mean.to_dict(),
                "unseen_among_unseen": float(alone.mean()),
                "seconds": round(seconds, 1),
            }
            del record["curve"]
            figures[f"split {split}, {name}"] = record
            data.say(
                f"split {split} {name:6} seen {at.seen} unseen {at.unseen} H {at.harmonic_mean} AUSUC {at.ausuc} "
                f"H at 0 {plain.harmonic_mean.value:.3f}, unseen alone {alone.mean():.3f}, {seconds:.1f} s, "
                f"{classifier.settings_}"
            )
    data.report(args, {"train": len(texts), "test": len(asked), "intents": len(labels), "unseen": UNSEEN}, figures)


if __name__ == "__main__":
    main()
