"""Label vectors drawn towards the texts that lie near them: what a sentence encoder learns from unlabelled texts.

A label's words say what somebody had in mind, the texts how people put it. Cosines s (n, L) of texts x with label
vectors v tell to which label each text may belong; the mean of those texts, weighted by how likely that is, joins
the label's vector:

    p = softmax(s / t)                     t half the spread of a text's cosines
    m_y = unit(sum over x of p_y(x) x)     the label's prototype
    v'_y = unit(v_y + m_y)

A label that most texts have keeps them, where methods that even labels out take them away.

Source: Ren et al. 2018 (arXiv:1803.00676), section 3.1, one step of soft k-means that begins at the classes'
prototypes. Theirs are means of labelled examples; here the labels' words stand in their place, and weigh as much as
the texts do.

Letters: n texts, L labels, D width of a vector.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sijo.errors import SettingError
from sijo.inference.outputs import unit
from sijo.zeroshot.calibration import Calibration

OF_THE_SPREAD = 0.5
"""Temperature, by the spread of a text's cosines: no encoder's cosines are as far apart as another's."""


@dataclass(frozen=True, eq=False)
class Refinement:
    """Labels and the texts they are drawn to."""

    texts_nD: np.ndarray
    """Unit vectors of texts such as will be labelled."""
    labels_LD: np.ndarray
    """Unit vectors of the labels."""
    none_score: float | None = None
    """The cosine of "none of these", where that is one of the answers: it takes its part of each text."""

    def __post_init__(self) -> None:
        """Raise SettingError for fewer than two labels, and where all labels are equally near to every text."""
        if len(self.labels_LD) < 2:
            raise SettingError(
                "to refine label vectors takes two labels that share the texts, and there is "
                f"{len(self.labels_LD)}; calibrate by batch, or leave calibrate= (--calibrate) out"
            )
        _ = self.temperature  # refused at birth, where there is none

    @cached_property
    def temperature(self) -> float:
        """By which cosines become shares."""
        return temperature_of(self.cosines)

    @cached_property
    def cosines(self) -> np.ndarray:
        """Of texts with labels as they are worded."""
        cosines: np.ndarray = self.texts_nD @ self.labels_LD.T
        return cosines

    @cached_property
    def belongs(self) -> np.ndarray:
        """How likely each text is each label's."""
        numbers = Calibration(self.temperature, self.none_score or 0.0, origin="")
        if self.none_score is None:
            return numbers.softmax(self.cosines)
        return numbers.with_none(self.cosines)[:, :-1]

    @cached_property
    def sums(self) -> np.ndarray:
        """Of each label's texts, weighted so."""
        sums: np.ndarray = self.belongs.T @ self.texts_nD
        return sums

    @property
    def prototypes(self) -> np.ndarray:
        """The unit vector of the texts that each label is likely to have.

        >>> texts = unit(np.array([[4.0, 1.0, 1.0], [5.0, 0.0, 1.0], [0.0, 1.0, 3.0]]))
        >>> Refinement(texts, np.eye(3)[[0, 2]]).prototypes.round(2).tolist()
        [[0.97, 0.12, 0.22], [0.05, 0.32, 0.95]]
        """
        return unit(self.sums)

    def scores_without_itself(self) -> np.ndarray:
        """What each text scores (n, L) with labels drawn to the others alone, as a text will that is yet to come.

        A text lies nearer to a prototype that it is a part of. With M the label's sum and p its part in it, what is
        left without it is m = M - p x, of which all that is needed are products:

            x m = x M - p,   v m = v M - p (v x),   |m|^2 = |M|^2 - 2 p (x M) + p^2
            s = (v x + x m / |m|) / |v + m / |m||
        """
        part_nL, cosines_nL = self.belongs, self.cosines
        along_nL = self.texts_nD @ self.sums.T
        squares_nL = (self.sums**2).sum(-1) - 2 * part_nL * along_nL + part_nL**2
        lengths_nL = np.sqrt(np.maximum(squares_nL, np.finfo(np.float64).tiny))
        text_nL = (along_nL - part_nL) / lengths_nL
        words_nL = ((self.labels_LD * self.sums).sum(-1) - part_nL * cosines_nL) / lengths_nL
        scores: np.ndarray = (cosines_nL + text_nL) / np.sqrt(2 + 2 * words_nL.clip(-1 + 1e-9, 1))
        return scores


def in_bytes(vectors: np.ndarray) -> np.ndarray:
    """The directions of vectors (L, D) in int8, the largest number of each at 127: ten thousand labels fit a file.

    >>> in_bytes(np.array([[0.6, -0.8], [0.0, 0.0]])).tolist()
    [[95, -127], [0, 0]]
    """
    largest = np.abs(vectors).max(-1, keepdims=True)
    return np.round(127 * vectors / np.where(largest > 0, largest, 1)).astype(np.int8)


def temperature_of(cosines_nL: np.ndarray) -> float:
    """Half the spread of a text's cosines about their mean; SettingError where there is none."""
    spread = float((cosines_nL - cosines_nL.mean(-1, keepdims=True)).std())
    if spread < np.finfo(np.float32).eps:
        raise SettingError(
            "all labels are equally near to every text, so there is nothing to be drawn to; name others"
        )
    return OF_THE_SPREAD * spread
