"""The curves of a run that learned to fit labels, as one picture: loss by step, and macro-F1 by kind of set.

python model/curves.py RUN_FOLDER PICTURE.svg
"""

import argparse
import json
from pathlib import Path
from statistics import fmean

import matplotlib.pyplot as plt

KINDS = {
    "topics": ("topics", "domains", "branches", "fields", "packages", "generated"),
    "intents": ("requests", "intents", "uses"),
    "emotions": ("emotions", "feelings"),
    "opinions": ("opinions", "films", "products", "editorials", "tweets", "reviews"),
}
"""Beginnings of the names of sets."""
SMOOTHED = 5
"""Lines of the journal that a point of the loss is the mean of."""


def lines(file: Path) -> list[dict]:
    """Those of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of the run")
    parser.add_argument("picture", type=Path, help="where it goes, .svg")
    args = parser.parse_args()
    journal, measured = lines(args.run / "metrics.jsonl"), lines(args.run / "evaluations.jsonl")
    plt.rcParams["svg.hashsalt"] = "sijo"
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    losses = [line["labels"] for line in journal]
    means = [fmean(losses[max(0, at - SMOOTHED) : at + 1]) for at in range(len(losses))]
    left.plot([line["step"] for line in journal], means, color="#1f6f8b")
    left.set(xlabel="step", ylabel="loss of a text", ylim=(0, None))
    for kind, beginnings in KINDS.items():
        values = [
            fmean(one["value"] for name, one in line["sets"].items() if name.startswith(beginnings))
            for line in measured
        ]
        right.plot([line["step"] for line in measured], values, marker="o", label=kind)
    right.set(xlabel="step", ylabel="macro-F1 of rows kept apart", ylim=(0, 1))
    right.legend(frameon=False, ncols=2, loc="lower right")
    figure.savefig(args.picture, metadata={"Date": None})


if __name__ == "__main__":
    main()
