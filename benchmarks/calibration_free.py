"""What calibration without labels is worth: macro-F1 and ECE of each method, with 95 % intervals.

    python benchmarks/calibration_free.py CLINC150_FOLDER [--part development|test] [--model FOLDER]

The folder holds CLINC150 as train.csv.gz, val.csv.gz and test.csv.gz (calibration.py). Sets: calibration_sets.py.
Of each, 512 texts at most are what a calibration is fitted to, half of the texts where there are fewer; up to 500
others, or --texts, are labelled. Texts are read to the model's first window, vectors are kept under --data.

  by method    macro-F1 and its difference to none (in brackets the paired bootstrap interval), ECE of 15 bins at
               the temperature that is fitted without labels, and at the model's own
  100 labels   ECE with temperature="fit" on 100 of the texts
  skewed       the same difference where one label has 60 % of the texts, that label in turn (at most eight)
  none         AUROC of the highest score for CLINC150's 1,000 out-of-scope test requests against 4,500 others,
               under its 150 intents and its 10 domains; what is lost and caught at a none score that was fitted to
               its validation part with none_risk=0.02, and at the scorer's own
  risk         how often label sets of 200 labelled texts hold the right label, over 100 splits

ECE is biased upward: a model that is calibrated exactly reads about 0.05 on 500 texts, and 0.02 on 3,000.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from calibration_sets import DEVELOPMENT, TEST, LabelledSet, drawn, requests
from measuring import interval

import data
from sijo.evaluation.metrics import confusion, macro_f1
from sijo.evaluation.zero_shot import evaluate
from sijo.zeroshot.calibrating.conformal import LabelSets
from sijo.zeroshot.calibrating.fitting import calibrated, fit_calibration
from sijo.zeroshot.calibrating.label_free import share_of_labels_in_use
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.scorer import Scorer

METHODS = ("none", "refine", "batch", "standardize", "prior", "estimate", "contextual", "dcpmi", "auto")
"""Those of `fit_calibration`; "estimate" is prior with estimated shares."""
FITTED, LABELLED, FEW = 512, 500, 100
SKEW = 0.6


def fitted_labeller(labeller: Labeller, texts: Sequence[str], method: str) -> tuple[Labeller, str]:
    """The labeller calibrated by a method, and what auto has taken."""
    shares = "estimate" if method == "estimate" else "equal"
    frozen = fit_calibration(labeller, texts, "prior" if method == "estimate" else method, shares=shares)  # type: ignore[arg-type]
    return calibrated(labeller, "none", None, frozen), frozen.method


def scores_of(labeller: Labeller, texts: Sequence[str]) -> np.ndarray:
    """Adjusted scores (n, L)."""
    return np.concatenate([scores for scores, _ in labeller.scored(texts)])


def f1_of(gold: np.ndarray, chosen: np.ndarray, labels: int) -> float:
    """Macro-F1 of columns (n,)."""
    return macro_f1(confusion(gold, chosen, labels))


def measured(rows: LabelledSet, scorer: Scorer, args: argparse.Namespace) -> dict[str, object]:
    """Each method on one set."""
    labels = rows.labels
    plain = Labeller(scorer, LabelChoice(), LabelSet.of(labels))
    half = min(FITTED, len(rows.texts) // 2)
    sample, texts, names = rows.texts[:half], rows.texts[half:], rows.gold[half:]
    gold = np.array([labels.index(name) for name in names])
    base = scores_of(plain, texts).argmax(1)
    resamples = np.random.default_rng(args.seed).integers(len(gold), size=(args.resamples, len(gold)))
    figures: dict[str, object] = {
        "texts": len(gold),
        "fitted to": half,
        "labels": len(labels),
        "largest share": round(float(np.bincount(gold).max() / len(gold)), 3),
        "labels in use": round(share_of_labels_in_use(scores_of(plain, sample)), 3),
    }
    for method in METHODS:
        labeller, taken = fitted_labeller(plain, sample, method)
        scores = scores_of(labeller, texts)
        chosen = scores.argmax(1)
        gains = [
            f1_of(gold[at], chosen[at], len(labels)) - f1_of(gold[at], base[at], len(labels)) for at in resamples
        ]
        gain = f1_of(gold, chosen, len(labels)) - f1_of(gold, base, len(labels))
        probabilities = labeller.calibration.softmax(scores)
        result = evaluate(names, probabilities, labels, resamples=args.resamples, seed=args.seed)
        own = evaluate(names, plain.calibration.softmax(scores), labels, resamples=100)
        figures[method] = {
            "macro_f1": result.macro_f1,
            "gain": interval(gain, gains),
            "ece": result.ece,
            "ece at the model's own temperature": round(own.ece.value, 4),
            "temperature": round(labeller.calibration.temperature, 4),
        } | ({"taken": taken} if method == "auto" else {})
        data.say(
            f"{rows.name:28} {method:12} F1 {result.macro_f1} gain {interval(gain, gains)} ECE {result.ece} "
            f"(T {labeller.calibration.temperature:.3f}; own {own.ece.value:.3f}) "
            f"{taken if method == 'auto' else ''}"
        )
    labeller, _ = fitted_labeller(plain, sample, "auto")
    few = [labels.index(name) for name in rows.gold[:FEW]]
    by_hand = Calibration.fit(scores_of(labeller, sample[:FEW]), np.array(few), origin="")
    result = evaluate(names, by_hand.softmax(scores_of(labeller, texts)), labels, resamples=args.resamples)
    figures["ece with 100 labels"] = result.ece
    figures["risk 0.1"] = coverage(labeller, rows, labels, args.seed)
    data.say(f"{rows.name:28} 100 labels: ECE {result.ece}; sets at a risk of 0.1: {figures['risk 0.1']}")
    return figures


def coverage(labeller: Labeller, rows: LabelledSet, labels: list[str], seed: int) -> dict[str, float]:
    """How often label sets hold the right label, and how often there is an answer, over 100 splits."""
    probabilities = labeller.calibration.softmax(scores_of(labeller, rows.texts))
    gold = np.array([labels.index(name) for name in rows.gold])
    held, answered, wrong = [], [], []
    rng = np.random.default_rng(seed)
    for _ in range(100):
        order = rng.permutation(len(gold))
        known, new = order[:200], order[200:]
        inside = LabelSets.fit(probabilities[known, gold[known]].tolist(), 0.1).holds(probabilities[new])
        held.append(inside[np.arange(len(new)), gold[new]].mean())
        alone = inside.sum(1) == 1
        answered.append(alone.mean())
        wrong.append((alone & (inside.argmax(1) != gold[new])).mean())
    names = ("held", "answered", "answered wrongly")
    return {name: round(float(np.mean(x)), 4) for name, x in zip(names, (held, answered, wrong), strict=True)}


def skewed(rows: LabelledSet, scorer: Scorer, seed: int) -> dict[str, float]:
    """The mean gain in macro-F1 where one label has most of the texts, over labels."""
    labels, rng = rows.labels, np.random.default_rng(seed)
    plain = Labeller(scorer, LabelChoice(), LabelSet.of(labels))
    gold = np.array([labels.index(name) for name in rows.gold])
    gains: dict[str, list[float]] = {method: [] for method in METHODS[1:]}
    for label in range(min(8, len(labels))):
        own, others = np.flatnonzero(gold == label), np.flatnonzero(gold != label)
        count = min(len(own), int(len(others) * SKEW / (1 - SKEW)))
        if len(own) / len(gold) > SKEW or count < 60:
            continue
        chosen = np.concatenate([own[:count], rng.permutation(others)[: int(count * (1 - SKEW) / SKEW)]])
        chosen = rng.permutation(chosen)
        sample, new = np.split(chosen, [len(chosen) // 2])
        texts, right = [rows.texts[at] for at in new], gold[new]
        base = f1_of(right, scores_of(plain, texts).argmax(1), len(labels))
        for method, each in gains.items():
            labeller, _ = fitted_labeller(plain, [rows.texts[at] for at in sample], method)
            each.append(f1_of(right, scores_of(labeller, texts).argmax(1), len(labels)) - base)
    return {method: round(float(np.mean(each)), 4) for method, each in gains.items() if each}


def out_of_scope(scorer: Scorer, clinc: Path) -> dict[str, object]:
    """How well the highest score tells requests in scope from others, and what a fitted none score gives up."""
    from sklearn.metrics import roc_auc_score

    others = [row["text"] for row in data.clinc(clinc / "test.csv.gz") if row["domain"] == "oos"]
    figures: dict[str, object] = {}
    for column in ("intent", "domain"):
        texts, gold = requests(clinc / "test.csv.gz", column)
        validation, _ = requests(clinc / "val.csv.gz", column)
        plain = Labeller(scorer, LabelChoice(none_label="other"), LabelSet.of(sorted(set(gold))))
        for method in ("none", "refine", "batch", "standardize"):
            labeller = calibrated(plain, "none", None, fit_calibration(plain, validation, method, none_risk=0.02))
            inside, outside = scores_of(labeller, texts), scores_of(labeller, others)
            out, best = np.repeat([0, 1], [len(inside), len(outside)]), np.concatenate([inside, outside])
            chances, none = labeller.calibration.softmax(best).max(1), labeller.calibration.none_score
            own = plain.calibration.none_score
            figures[f"{column}, {method}"] = found = {
                "auroc": round(float(roc_auc_score(out, -best.max(1))), 4),
                "auroc of the highest probability": round(float(roc_auc_score(out, -chances)), 4),
                "lost": round(float((inside.max(1) < none).mean()), 4),
                "caught": round(float((outside.max(1) < none).mean()), 4),
                "lost at the scorer's none score": round(float((inside.max(1) < own).mean()), 4),
                "caught at the scorer's none score": round(float((outside.max(1) < own).mean()), 4),
            }
            data.say(f"out of scope, {column}, {method}: {found}")
    return figures


def main() -> None:
    """Measure one part's sets and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("clinc", type=Path, help="where CLINC150 is")
    parser.add_argument("--part", choices=("development", "test"), default="test", help="which sets (test)")
    parser.add_argument(
        "--model", default="all-minilm-l6-v2", help="a folder or org/name; all-MiniLM-L6-v2 by default"
    )
    parser.add_argument("--texts", type=int, default=LABELLED, help=f"texts of each set, at most ({LABELLED})")
    parser.add_argument("--skewed", action="store_true", help="measure skewed samples too, which takes long")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples (1000)")
    args = parser.parse_args()
    packages = args.data.expanduser()
    scorer = open_scorer("auto", args.model, long_text="truncate", cache=packages / "calibration_free")
    figures: dict[str, object] = {}
    sets = DEVELOPMENT if args.part == "development" else TEST
    gains: dict[str, list[float]] = {method: [] for method in METHODS}
    for name in sets:
        rows = drawn(name, packages, args.clinc, FITTED + args.texts, args.seed)
        figures[name] = found = measured(rows, scorer, args)
        for method in METHODS:
            gains[method].append(found[method]["gain"].value)  # type: ignore[index]
        if args.skewed:
            figures[f"{name}, skewed"] = told = skewed(rows, scorer, args.seed)
            data.say(f"{name:28} skewed: {told}")
    figures["mean gain"] = {method: round(float(np.mean(each)), 4) for method, each in gains.items()}
    data.say(f"mean gain: {figures['mean gain']}")
    if args.part == "test":
        figures["out of scope"] = out_of_scope(scorer, args.clinc)
    data.report(args, {"sets": len(sets)}, figures)


if __name__ == "__main__":
    main()
