"""Whether a model labels alike what differs in dialect, in politeness or in a name alone.

    python model/biases.py MODEL_FOLDER [--output FILE]

The tables of model/biases were written for this, by hand (CC0):

  korean.csv       40 meanings, each in six forms: plain written, half-speech, polite, formal, Gyeongsang, Jeolla
  english.csv      40 meanings, each in standard English, informal, African-American, Scots and Indian English
  names.csv        sentences with a place for a name, and the label they have whoever is named
  given_names.csv  names, with the origin and gender they are mostly read as

The label names stand in the model's own sentence for their language, and nothing is calibrated. A meaning is one of
ten topics whatever its form, and a sentence keeps its label whoever is named: what moves is the model's doing. The
tables are small: only gaps of some 0.15 between two forms show. Forms were written by one hand, not recorded from
speakers.
"""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))  # what the benchmarks share

import numpy as np  # noqa: E402

import data  # noqa: E402
import sijo  # noqa: E402
from sijo.evaluation.intervals import intervals, share_interval  # noqa: E402

TABLES = HERE / "biases"
FORMS = {
    "english": ("standard", "informal", "african-american", "scots", "indian"),
    "korean": ("plain", "half", "polite", "formal", "gyeongsang", "jeolla"),
}
"""Of each table, the one that others are compared with first."""
POSITIVE = {"en": "positive", "ko": "긍정"}
"""The good one of the two opinions."""
SHUFFLES = 2000
"""How often names are dealt out to groups anew."""
Figures = dict[str, Any]


def read(name: str) -> list[dict[str, str]]:
    """The rows of a table, by its name without the ending."""
    with (TABLES / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def probabilities(folder: Path, labels: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """What the model gives each text for each label, (texts, labels)."""
    return sijo.ZeroShotClassifier(labels=list(labels), model=folder).predict_proba(texts)


def forms(folder: Path, table: str, seed: int) -> Figures:
    """How often each form of the same meanings is labelled right, and how often all forms alike.

    A form's `accuracy` has Wilson's interval; `beside_first` is its accuracy less that of the first form, and
    `as_first` the share of meanings labelled as in the first form, right or wrong.
    """
    rows = read(table)
    names = FORMS[table]
    labels = sorted({row["label"] for row in rows})
    texts = {(row["pair"], row["form"]): row["text"] for row in rows}
    gold_of = {row["pair"]: labels.index(row["label"]) for row in rows}
    asked = [texts[pair, form] for pair in gold_of for form in names]
    given_PF = probabilities(folder, labels, asked).argmax(axis=1).reshape(len(gold_of), len(names))
    right_PF = given_PF == np.array(list(gold_of.values()))[:, None]
    meanings = len(gold_of)

    def share(alike: np.ndarray) -> Figures:
        return share_interval(int(alike.sum()), meanings).to_dict()

    gaps = right_PF.astype(float) - right_PF[:, :1]
    beside = intervals(
        {form: lambda drawn, at=at: gaps[drawn, at].mean() for at, form in enumerate(names)}, meanings, seed=seed
    )
    return {
        "meanings": meanings,
        "labels": len(labels),
        "forms": {
            form: {
                "accuracy": share(right_PF[:, at]),
                "beside_first": beside[form].to_dict(),
                "as_first": share(given_PF[:, at] == given_PF[:, 0]),
            }
            for at, form in enumerate(names)
        },
        "labelled_alike": share((given_PF == given_PF[:, :1]).all(axis=1)),
    }


def gap(value_N: np.ndarray, groups: Sequence[str], seed: int) -> Figures:
    """The mean of each group of names, and between which two it differs most.

    `by_chance` is the difference that 95 of 100 do not exceed where the same names are dealt to the groups at
    random: a larger one is of the groups, not of single names.
    """
    kinds, place_N = np.unique(groups, return_inverse=True)

    def means(places: np.ndarray) -> np.ndarray:
        return np.bincount(places, weights=value_N) / np.bincount(places)

    random = np.random.default_rng(seed)
    of_groups = means(place_N)
    shuffled = [np.ptp(means(random.permutation(place_N))) for _ in range(SHUFFLES)]
    return {
        "means": dict(zip(kinds.tolist(), of_groups.tolist(), strict=True)),
        "largest": float(np.ptp(of_groups)),
        "highest": str(kinds[of_groups.argmax()]),
        "lowest": str(kinds[of_groups.argmin()]),
        "by_chance": float(np.quantile(shuffled, 0.95)),
    }


def names(folder: Path, language: str, seed: int) -> Figures:
    """What a name changes: labels of sentences, and how good an opinion is taken to be.

    For each question `changed` is the share of sentences that do not get the same label with every name,
    `other_label` the share of (sentence, name) that get another than most names, and `accuracy` that of all.
    """
    people = [row for row in read("given_names") if row["language"] == language]
    rows = [row for row in read("names") if row["language"] == language]
    figures: Figures = {"names": len(people), "questions": {}}
    for question in dict.fromkeys(row["question"] for row in rows):
        chosen = [row for row in rows if row["question"] == question]
        labels = sorted({row["label"] for row in chosen})
        texts = [row["text"].format(name=person["name"]) for row in chosen for person in people]
        fits_SNL = probabilities(folder, labels, texts).reshape(len(chosen), len(people), len(labels))
        given_SN = fits_SNL.argmax(axis=2)
        usual_S = np.array([np.bincount(given_N).argmax() for given_N in given_SN])
        gold_S = np.array([labels.index(row["label"]) for row in chosen])
        changed = (given_SN != usual_S[:, None]).any(axis=1)
        figures["questions"][question] = {
            "sentences": len(chosen),
            "accuracy": float((given_SN == gold_S[:, None]).mean()),
            "changed": share_interval(int(changed.sum()), len(chosen)).to_dict(),
            "other_label": float((given_SN != usual_S[:, None]).mean()),
        }
        if question == "opinion":
            positive_N = fits_SNL[:, :, labels.index(POSITIVE[language])].mean(axis=0)
            for how in ("origin", "gender"):
                figures[f"positive_by_{how}"] = gap(positive_N, [person[how] for person in people], seed)
    return figures


def biases(folder: Path, seed: int = 0) -> Figures:
    """Everything that is looked for, of the model in a folder."""
    return {
        "forms": {table: forms(folder, table, seed) for table in FORMS},
        "names": {language: names(folder, language, seed) for language in POSITIVE},
    }


def markdown(figures: Mapping[str, Any]) -> str:
    """The figures as two tables for a card: forms of the same meanings, and names."""
    lines = ["| texts | form | accuracy | labelled as the first form |", "| --- | --- | --- | --- |"]
    for table, found in figures["forms"].items():
        for form, measured in found["forms"].items():
            shares = f"{spread(measured['accuracy'])} | {measured['as_first']['value']:.2f}"
            lines.append(f"| {table} | {form} | {shares} |")
        lines.append(f"| {table} | all forms alike | | {spread(found['labelled_alike'])} |")
    lines += ["", "| names | sentences whose label changes | positive: largest gap | by chance |"]
    lines.append("| --- | --- | --- | --- |")
    for language, found in figures["names"].items():
        changed = [
            f"{question} {round(one['changed']['value'] * one['sentences'])} of {one['sentences']}"
            for question, one in found["questions"].items()
        ]
        for how in ("origin", "gender"):
            one = found[f"positive_by_{how}"]
            between = f"{one['largest']:.3f} ({one['highest']} over {one['lowest']})"
            lines.append(f"| {language}, by {how} | {', '.join(changed)} | {between} | {one['by_chance']:.3f} |")
    return "\n".join(lines) + "\n"


def spread(interval: Mapping[str, float]) -> str:
    """A value and its interval, in two digits."""
    return f"{interval['value']:.2f} [{interval['low']:.2f}, {interval['high']:.2f}]"


def main() -> None:
    """Measure, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("model", type=Path, help="the folder of the model")
    args = parser.parse_args()
    figures = biases(args.model, args.seed)
    data.say(markdown(figures))
    data.report(args, {name: len(read(name)) for name in (*FORMS, "names", "given_names")}, figures)


if __name__ == "__main__":
    main()
