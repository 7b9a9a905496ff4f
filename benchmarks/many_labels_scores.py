"""Scores of all labels by several scorers, for many_labels.py: computed once, part by part, and kept.

Letters: n texts, L labels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import data
from sijo.inference.backends.backend import Precision
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import Labels, LabelSet
from sijo.zeroshot.scorers.open import open_scorer

PART = 25
"""Texts by a cross-encoder that are kept together."""


def labeller_of(model: Path | str | None, labels: Labels, precision: Precision = "exact") -> Labeller:
    """The scorer that suits a model, over some labels."""
    return Labeller(open_scorer("auto", model, precision=precision), LabelChoice(), LabelSet.of(labels))


def scores_of(
    folder: Path,
    name: str,
    model: Path | str | None,
    texts: Sequence[str],
    labels: Labels,
    precision: Precision = "exact",
) -> np.ndarray:
    """(n, L) float64, from a folder where they are there.

    name  of the scorer and the set, under which they are kept
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts, labeller = [], None
    for start in range(0, len(texts), PART):
        file = folder / f"{name}-{start}.npy"
        if not file.exists():
            labeller = labeller or labeller_of(model, labels, precision)
            found = np.concatenate([scores for scores, _ in labeller.scored(texts[start : start + PART])])
            np.save(file, found)
            if start % (8 * PART) == 0:
                data.say(f"{name}: {start + len(found)} of {len(texts)}")
        parts.append(np.load(file))
    return np.concatenate(parts)
