"""Label sets that hold the right label as often as is stated, and abstention with a stated risk.

Split conformal prediction: of n texts whose labels are known, kept apart from whatever was fitted, the
probabilities that their right labels got say how low a right label may lie. A new text gets every label above
that, and an answer where that is one label alone.

**What is assumed: exchangeability.** The n texts and the new one come in an order that says nothing, as texts drawn
alike from one source do. Where the new ones are of another kind, or later, or their labels are given otherwise, no
number here holds. What is stated is a mean over draws of the n texts and the new one, not a promise for each text
or each label.

Letters: n texts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sijo.errors import SettingError


@dataclass(frozen=True)
class LabelSets:
    """From which probability on a label is in a text's set.

    >>> LabelSets(risk=0.1, least=0.3).holds(np.array([[0.6, 0.4], [0.8, 0.2], [0.3, 0.7]])).tolist()
    [[True, True], [True, False], [True, True]]
    """

    risk: float
    """The share of texts, at most, whose set does not hold the right label; so at most that share is given a wrong
    one."""
    least: float
    """The probability from which a label is in."""

    def holds(self, probabilities: np.ndarray) -> np.ndarray:
        """Which labels (n, L) are in each text's set: none, one or several. One alone is an answer."""
        inside: np.ndarray = probabilities >= self.least
        return inside

    @classmethod
    def fit(cls, gold_probabilities: Sequence[float], risk: float) -> "LabelSets":
        """By the probabilities (n,) that right labels got.

        With 1 - p as a text's score the threshold is the ceil((n + 1)(1 - risk))-th smallest of n, so that a new
        text's set holds its right label with probability at least 1 - risk, and without ties at most 1 - risk + 1
        / (n + 1).

        Raises SettingError for a risk that is no share above 0, and for too few texts: n below 1 / risk - 1.
        Source: Vovk, Gammerman and Shafer 2005; Angelopoulos and Bates 2021 (arXiv:2107.07511), section 1.

        >>> LabelSets.fit([0.9, 0.8, 0.7, 0.2], risk=0.4).least  # the third of four may be lost, not the fourth
        0.7
        """
        check_risk(risk)
        count = len(gold_probabilities)
        rank = math.ceil((count + 1) * (1 - risk) - 1e-9)
        if rank > count:
            raise SettingError(
                f"a risk of {risk:g} needs at least {math.ceil(1 / risk - 1 - 1e-9):,} labelled texts kept apart, "
                f"and there are {count:,}; give more, or allow a greater risk"
            )
        return cls(risk, sorted(gold_probabilities, reverse=True)[rank - 1])


def none_score_at(best_scores: np.ndarray, risk: float) -> float:
    """The none score below which at most that share of texts in scope lie.

    It is the floor((n + 1) risk)-th smallest of the best scores (n,) of n texts in scope, so that a new one of
    their kind has a lower best score, and is called none, with probability at most risk. As of label sets, what is
    assumed is exchangeability.

    Raises SettingError for a risk that is no share, and for too few texts: n below 1 / risk - 1.

    >>> none_score_at(np.array([0.5, 0.2, 0.4, 0.3]), risk=0.4)
    0.3
    """
    check_risk(risk, "none_risk")
    rank = math.floor((len(best_scores) + 1) * risk + 1e-9)
    if rank == 0:
        raise SettingError(
            f"none_risk={risk:g} needs at least {math.ceil(1 / risk - 1 - 1e-9):,} texts in scope, and there are "
            f"{len(best_scores):,}; give more, or allow a greater risk"
        )
    return float(np.sort(best_scores)[rank - 1])


def check_risk(risk: float, name: str = "risk") -> None:
    """Raise SettingError for a risk that is none.

    >>> check_risk(5)
    Traceback (most recent call last):
    sijo.errors.SettingError: risk=5 is no share of texts; give a number above 0 and below 1, such as 0.05
    """
    if not 0 < risk < 1:
        raise SettingError(f"{name}={risk:g} is no share of texts; give a number above 0 and below 1, such as 0.05")
