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

import numpy as np

from sijo.errors import SettingError
from sijo.inference.outputs import unit
from sijo.zeroshot.calibration import Calibration

OF_THE_SPREAD = 0.5
"""Temperature, by the spread of a text's cosines: no encoder's cosines are as far apart as another's."""


def prototypes_of(texts_nD: np.ndarray, labels_LD: np.ndarray, none_score: float | None = None) -> np.ndarray:
    """The unit vector (L, D) float64 of the texts that each label is likely to have.

    texts_nD    unit vectors of texts such as will be labelled
    labels_LD   unit vectors of the labels
    none_score  the cosine of "none of these", where that is one of the answers: it takes its part of each text

    Raises SettingError for fewer than two labels, and where all labels are equally near to every text.

    >>> texts = unit(np.array([[4.0, 1.0, 1.0], [5.0, 0.0, 1.0], [0.0, 1.0, 3.0]]))
    >>> prototypes_of(texts, np.eye(3)[[0, 2]]).round(2).tolist()
    [[0.97, 0.12, 0.22], [0.05, 0.32, 0.95]]
    """
    if len(labels_LD) < 2:
        raise SettingError(
            f"to refine label vectors takes two labels that share the texts, and there is {len(labels_LD)}; "
            "calibrate by batch, or leave calibrate= (--calibrate) out"
        )
    cosines_nL = texts_nD @ labels_LD.T
    calibration = Calibration(temperature_of(cosines_nL), 0.0 if none_score is None else none_score, origin="")
    if none_score is None:
        belongs_nL = calibration.softmax(cosines_nL)
    else:
        belongs_nL = calibration.with_none(cosines_nL)[:, :-1]
    # a label that no text is near has a mean of length 0, and stays what it was
    return unit(belongs_nL.T @ texts_nD)


def temperature_of(cosines_nL: np.ndarray) -> float:
    """Half the spread of a text's cosines about their mean; SettingError where there is none."""
    spread = float((cosines_nL - cosines_nL.mean(-1, keepdims=True)).std())
    if spread < np.finfo(np.float32).eps:
        raise SettingError(
            "all labels are equally near to every text, so there is nothing to be drawn to; name others"
        )
    return OF_THE_SPREAD * spread
