"""From scores to probabilities: two numbers, and where they came from.

A scorer's raw scores s (n texts, L labels) rank well and mean little: cosines lie close together.
Here "none of these" is a rival with the constant score s0, and T says how much a difference counts:

    one of the labels              p_y = exp(s_y / T) / sum_z exp(s_z / T)
    one of the labels, or none     the same, with s0 among the z
    each label by itself           p_y = exp(s_y / T) / (exp(s_y / T) + exp(s0 / T))

So none wins exactly where every label scores below s0, and a label alone is even odds at s0.

A sentence encoder may carry its own numbers in its folder, in `zero_shot_calibration.json`.
"""

import math
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from sijo.errors import CheckpointError, SettingError
from sijo.files.atomic import whole_file
from sijo.files.json_files import json_text, read_object
from sijo.files.paths import present

OWN = "zero_shot_calibration.json"
"""The file of a model's folder with what its cosines of texts and labels mean."""
LARGEST_TEMPERATURE = 100.0
"""Of cosines: above it all labels are as probable as each other, to a hundredth."""
MOST_ERRORS = 10.0
"""Of the scale: with less than a tenth of disagreements, all would be wrong."""
REQUIRED = {"temperature", "none_score", "origin"}
"""What such a file must hold."""
LONGEST_ORIGIN = 2_000
"""Characters."""


@dataclass(frozen=True)
class Calibration:
    """How one scorer's scores become probabilities.

    >>> c = Calibration(temperature=0.5, none_score=0.0, origin="by hand")
    >>> c.softmax(np.array([[0.5, 0.0]])).round(3).tolist()
    [[0.731, 0.269]]
    """

    temperature: float
    """Difference of score that multiplies the odds by e."""
    none_score: float
    """The score of "none of these"."""
    origin: str
    """The text and method the numbers were fitted with."""
    error_scale: float = 2.0
    """a, where labels in two wordings disagree about a share d of texts and a d^b of them are expected to be wrong.
    Two errors a disagreement is what encoders of several kinds do (benchmarks/calibration_free.py)."""
    error_power: float = 1.0
    """b: 1 where errors and disagreements grow together; less for one that learned to read wordings alike."""

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        for name, most in (("error_scale", MOST_ERRORS), ("error_power", 1.0)):
            if not 0 < (value := getattr(self, name)) <= most:
                raise SettingError(f"{name}={value} must be above 0, and {most:g} at most")
        if not math.isfinite(self.none_score):
            raise SettingError(f"none_score={self.none_score} is no score; a cosine lies between -1 and 1")

    def softmax(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities (n, L) that sum to 1 in each row; NaN in a row whose scores are not finite."""
        with np.errstate(over="ignore", invalid="ignore"):  # a difference beyond any number leaves a share of 0
            raised = np.exp((scores - scores.max(-1, keepdims=True)) / self.temperature)
        shares: np.ndarray = raised / raised.sum(-1, keepdims=True)
        return shares

    def with_none(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities (n, L + 1); the last column is none of the labels."""
        return self.softmax(self._beside_none(scores))

    def each(self, scores: np.ndarray) -> np.ndarray:
        """Probability (n, L) of each label by itself."""
        pairs = np.stack([scores, np.full_like(scores, self.none_score)], axis=-1)
        return self.softmax(pairs)[..., 0]

    def log_odds(self, scores: np.ndarray) -> np.ndarray:
        """The logarithm of p / (1 - p), (n, L), for the p of `softmax`, exact where p is rounded to 0 or 1.

        It is how far a label leads all others together, so with two labels the one leads by what the other lags.

        >>> Calibration(0.5, 0.0, "by hand").log_odds(np.array([[900.0, 0.0], [1.0, 1.0]])).tolist()
        [[1800.0, -1800.0], [0.0, 0.0]]
        """
        scaled = scores / self.temperature
        rows, best = np.arange(len(scaled)), scaled.argmax(-1)
        highest = scaled[rows, best]
        raised = np.exp(scaled - highest[:, None])
        raised[rows, best] = 0.0
        odds: np.ndarray = scaled - (highest[:, None] + np.log1p(raised.sum(-1, keepdims=True) - raised))
        scaled[rows, best] = -np.inf
        second = scaled.max(-1)  # beside the best, what is left of 1 may be rounded away
        odds[rows, best] = highest - second - np.log(np.exp(scaled - second[:, None]).sum(-1))
        return odds

    def log_odds_with_none(self, scores: np.ndarray) -> np.ndarray:
        """The same for the p of `with_none`, (n, L + 1)."""
        return self.log_odds(self._beside_none(scores))

    def log_odds_of_each(self, scores: np.ndarray) -> np.ndarray:
        """The same for the p of `each`, (n, L)."""
        odds: np.ndarray = (scores - self.none_score) / self.temperature
        return odds

    def _beside_none(self, scores: np.ndarray) -> np.ndarray:
        return np.concatenate([scores, np.full((len(scores), 1), self.none_score)], axis=-1)

    @classmethod
    def fit(cls, scores: np.ndarray, gold: np.ndarray, *, origin: str) -> "Calibration":
        """Fit both numbers on labelled texts.

        The temperature minimises the mean negative log-likelihood of the gold label. The none score is
        where a logistic regression on single (text, label) pairs, right and wrong ones weighted
        alike, gives even odds.

        scores  (n, L) float
        gold    (n,) the column of each text's label
        origin  what the texts are, for the record

        Raises SettingError for fewer than two texts or labels, a score that is not finite, and scores that are all
        the same.
        """
        from scipy.optimize import minimize_scalar
        from sklearn.linear_model import LogisticRegression

        if len(scores) < 2 or scores.shape[1] < 2:
            raise SettingError(
                f"{len(scores)} texts and {scores.shape[1]} labels are too few to fit a temperature; "
                "give at least two of each"
            )
        check_finite(scores)
        if scores.min() == scores.max():
            raise SettingError("all of these scores are the same, so no temperature is better than another")
        rows = np.arange(len(scores))
        spread = float(scores.std()) or 1.0

        def loss(log_temperature: float) -> float:
            trial = cls(float(np.exp(log_temperature)) * spread, 0.0, origin)
            return float(-np.log(trial.softmax(scores)[rows, gold] + 1e-300).mean())

        best = minimize_scalar(loss, bounds=(np.log(1e-2), np.log(1e2)), method="bounded")
        right = gold[:, None] == np.arange(scores.shape[1])
        line = LogisticRegression(C=1e6, class_weight="balanced")
        line.fit(scores.reshape(-1, 1) / spread, right.ravel())
        even = float(-line.intercept_[0] / line.coef_[0, 0]) * spread
        return cls(float(np.exp(best.x)) * spread, even, origin)


def check_finite(scores: np.ndarray) -> None:
    """Raise SettingError for the first text whose scores (n, L) are NaN or infinite."""
    if not (finite := np.isfinite(scores).all(-1)).all():
        raise SettingError(
            f"the scores of text {int(finite.argmin()) + 1:,} are NaN or infinite, and nothing can be fitted "
            "to them; leave it out, or use another model"
        )


def check_temperature(temperature: float) -> None:
    """Raise SettingError for a temperature that no score can be divided by: it lies above 0, by a normal number."""
    if not sys.float_info.min <= temperature < math.inf:
        why = "must be finite" if temperature > 1 else "is too near to 0 to divide by"
        why = why if temperature > 0 else "must be above 0"
        raise SettingError(f"temperature={temperature} {why}; all-MiniLM-L6-v2's is 0.0655")


def own_calibration(folder: Path | None) -> Calibration | None:
    """What a sentence encoder carries of its own; None where it carries nothing, or was not opened from a folder.

    Raises CheckpointError for a file that does not hold temperature, none_score and origin, and at most error_scale
    and error_power beside them.
    """
    file = None if folder is None else present(folder, OWN)
    if file is None:
        return None
    content = read_object(file)
    try:
        known = {field.name for field in fields(Calibration)}
        numbers = {name: value for name, value in content.items() if name != "origin"}
        if not REQUIRED <= content.keys() <= known or not isinstance(content["origin"], str):
            raise SettingError("it holds other things than " + ", ".join(sorted(known)))
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in numbers.values()):
            raise SettingError("one of its numbers is none")
        floats = {name: float(value) for name, value in numbers.items()}
        return must_be_of_cosines(Calibration(**floats, origin=content["origin"]))
    except OverflowError:
        raise CheckpointError(f"{file} is no calibration (a number is too large); copy it again") from None
    except SettingError as error:
        raise CheckpointError(f"{file} is no calibration ({error}); copy it again, or write it anew") from None


def write_calibration(folder: Path, calibration: Calibration) -> Path:
    """Put into a sentence encoder's folder what its cosines mean; returns the file, whole or not there.

    Write it before the folder's manifest is made.

    calibration  as `Calibration.fit` gives it, of cosines of texts and labels by the model's own prompt

    Raises SettingError for numbers that are none of cosines.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_calibration(folder, Calibration(0.05, 0.8, "twelve sets in two languages")).name
    'zero_shot_calibration.json'
    >>> own_calibration(folder) == Calibration(0.05, 0.8, "twelve sets in two languages")
    True
    """
    content = json_text(asdict(must_be_of_cosines(calibration)))
    file = folder / OWN
    with whole_file(file) as out:
        out.write(content.encode())
    return file


def must_be_of_cosines(calibration: Calibration) -> Calibration:
    """The same; SettingError for a temperature or a none score that no cosines have, and an origin without end."""
    for name, largest in (("temperature", LARGEST_TEMPERATURE), ("none_score", 1.0)):
        if not abs(value := getattr(calibration, name)) <= largest:
            raise SettingError(f"{name}={value} is beyond what cosines have, which is at most {largest:g}")
    if not 0 < len(calibration.origin) <= LONGEST_ORIGIN:
        raise SettingError(
            f"its origin has {len(calibration.origin):,} characters, and a sentence has 1 to {LONGEST_ORIGIN:,}"
        )
    return calibration


MINILM = Calibration(
    temperature=0.0655,
    none_score=0.1612,
    origin=(
        "all-MiniLM-L6-v2 on CLINC150's 15,000 in-scope training requests, each under the 10 domain names and "
        "under 10 intents, template 'This is about {}.' (benchmarks/calibration.py)"
    ),
)
"""Where an encoder starts that carries none of its own, since another's is better than none: fit it with
`ZeroShotClassifier(temperature="fit")` on a few hundred labelled texts."""

LOGITS = Calibration(
    temperature=1.0, none_score=0.0, origin="not fitted: the model's own logits, as it was trained"
)
"""That of a head whose softmax or sigmoid is its probability."""
