"""The texts that a calibration is fitted to, scored once under both wordings of the labels.

Letters: n texts, L labels, D width of a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from sijo.errors import SettingError
from sijo.inference.outputs import Encoded, NotFiniteError, unit
from sijo.zeroshot.labeller import Labeller
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.scorer import ScoreRequest


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Texts with tokens, and what a scorer says of them."""

    scores: np.ndarray
    """(n, L) float64."""
    others: tuple[np.ndarray, ...]
    """(n, L) float64 each, of the labels' other `wordings`."""
    vectors: np.ndarray | None
    """(n, D) float64 unit vectors; None where the scorer is no sentence encoder's."""
    kept: np.ndarray
    """(all texts,) bool, which of them have tokens: the n."""

    @classmethod
    def of(cls, labeller: Labeller, texts: Sequence[str]) -> "Sample":
        """Read texts by a labeller that is not calibrated; SettingError where none has words."""
        scorer, labels, template = labeller.scorer, labeller.own.labels, labeller.template
        others = wordings(labeller)
        labeller.look(texts)
        scores, tokens, vectors = [], [], []
        for start in range(0, len(texts), scorer.rows):
            part = texts[start : start + scorer.rows]
            try:
                found, reading = scorer.score(
                    ScoreRequest(part, [*labels, *chain(*others)], template, labeller.choice.absolute)
                )
            except NotFiniteError as error:
                raise error.after(start) from None
            scores.append(found)
            tokens.append(reading.tokens)
            if isinstance(reading, Encoded):
                vectors.append(reading.vectors)
        if not scores:
            raise SettingError("there are no texts to fit a calibration to; call fit(texts) with some")
        kept = np.concatenate(tokens) > 0
        if not kept.any():
            raise SettingError("none of the texts to fit a calibration to has words; give others")
        both = np.concatenate(scores)[kept]
        return cls(
            scores=both[:, : len(labels)],
            others=tuple(np.split(both[:, len(labels) :], len(others), axis=1)) if others else (),
            vectors=unit(np.concatenate(vectors)[kept].astype(np.float64)) if vectors else None,
            kept=kept,
        )


def wordings(labeller: Labeller) -> list[list[Label]]:
    """The labels in another sentence each, and, where they have descriptions or examples, by their names alone.

    None where it does not matter how they agree.
    """
    scorer, labels = labeller.scorer, labeller.own.labels
    second = scorer.second_template
    if second is None or labeller.choice.rivals == "none" or len(labels) < 2:
        return []
    others = [
        replace(label, template=scorer.template if (label.template or labeller.template) == second else second)
        for label in labels
    ]
    bare = [replace(label, descriptions=(), examples=()) for label in labels]
    return [others] if bare == list(labels) else [others, bare]
