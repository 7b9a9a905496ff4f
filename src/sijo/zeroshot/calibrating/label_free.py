"""Labels made comparable without labelled texts, by what unlabelled ones say of each label's scores.

A label that is worded generally lies near every text, and wins too often. What it scores on texts in general, its
background, tells by how much. Each method takes the scores s (n texts, L labels) of a background and gives one
`Adjustment`: frozen numbers for each label, so that a text's answer depends on that text alone.

    s'_y = (s_y - shift_y) scale_y + level

    balanced       shift_y = T (log m_y - log mean of m), m_y the mean probability of label y in the background
    standardised   shift_y, 1 / scale_y = mean and spread of s_y, by those of all labels on average
    matched_prior  shift_y = -T log w_y, with w under which the mean probability of each label is a given share

Scores stay where they are on the whole, so that the score of "none of these" keeps its meaning. All three change
which label is best; a temperature does not.

Letters: n texts, L labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from sijo.errors import SettingError
from sijo.zeroshot.calibration import Calibration, check_finite
from sijo.zeroshot.labels import Label

Rivals = Literal["labels", "labels and none", "none"]
"""What a label's probability is shared with: the others; the others and "none of these"; or that alone, where each
label is judged by itself."""
FEWEST = 32
"""Texts of a background at least. The mean of one text's scores is its own scores, and makes all labels alike."""
CLOSE = 1e-4
"""Difference between a mean probability and the share it is to be, at most."""


@dataclass(frozen=True, eq=False)
class Adjustment:
    """What is done to the scores of some labels.

    >>> Adjustment(np.array([0.5, 0.1]), np.ones(2), level=0.3).apply(np.array([[0.6, 0.4]])).round(9).tolist()
    [[0.4, 0.6]]
    """

    shift: np.ndarray
    """(L,) float64, taken from each label's score."""
    scale: np.ndarray
    """(L,) float64 above 0, by which the rest is multiplied."""
    level: float
    """Added to all."""

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Adjusted scores (n, L) float64; -inf stays so."""
        adjusted: np.ndarray = (scores - self.shift) * self.scale + self.level
        return adjusted

    def columns(self, places: Sequence[int]) -> "Adjustment":
        """That of some of the labels, in their order."""
        return Adjustment(self.shift[list(places)], self.scale[list(places)], self.level)


class Adjuster(Protocol):
    """What knows the adjustment of labels."""

    @property
    def method(self) -> str:
        """By which it was made."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of what decides it."""
        ...

    def adjustment(self, labels: Sequence[Label], template: str) -> Adjustment:
        """That of these labels, in their order, worded by that template; SettingError where it is not known."""
        ...


def balanced(scores: np.ndarray, numbers: Calibration, rivals: Rivals = "labels") -> Adjustment:
    """Each label's probability is divided by its mean over the background, and all are brought to 1 again.

    Of labels that are judged by themselves, the odds by the odds of the mean.

    numbers  temperature and none score, by which scores become probabilities
    rivals   what a label's probability is shared with

    With texts like those to be labelled this is batch calibration; with texts that say nothing, contextual
    calibration; with the template alone, DC-PMI.
    Source: Zhou et al. 2023 (arXiv:2309.17249), equation 4; Zhao et al. 2021 (arXiv:2102.09690), W = diag(p_cf)^-1;
    Holtzman et al. 2021 (arXiv:2104.08315).

    >>> logits = Calibration(temperature=1.0, none_score=0.0, origin="by hand")
    >>> rows = np.log([[0.9, 0.1], [0.7, 0.3]])
    >>> logits.softmax(balanced(rows, logits).apply(rows)).round(6).tolist()
    [[0.692308, 0.307692], [0.368421, 0.631579]]
    """
    from scipy.special import logsumexp

    logs = log_probabilities(scores, numbers, rivals)
    means = logsumexp(logs, axis=0)
    mean = logsumexp(means) - np.log(len(means))
    if rivals == "none":
        rest = logsumexp(logs - (scores - numbers.none_score) / numbers.temperature, axis=0)
        means, mean = means - rest, mean - logsumexp(rest) + np.log(len(rest))
    shift = numbers.temperature * (means - mean)
    return Adjustment(shift, np.ones_like(shift), 0.0)


def standardised(scores: np.ndarray) -> Adjustment:
    """Every label's scores get the same mean and the same spread, those of all labels on average.

    Raises SettingError for a label that scores the same on every text.

    >>> standardised(np.array([[0.8, 0.1], [0.4, 0.3]])).apply(np.array([[0.8, 0.1]])).round(9).tolist()
    [[0.55, 0.25]]
    """
    spread = scores.std(0)
    if not spread.all():
        raise SettingError(
            f"label {int(spread.argmin()) + 1} scores the same on all of {len(scores):,} texts, so its scores have "
            "no spread to be divided by; calibrate by batch"
        )
    means = scores.mean(0)
    return Adjustment(means, spread.mean() / spread, float(means.mean()))


def matched_prior(
    scores: np.ndarray, numbers: Calibration, rivals: Rivals = "labels", *, shares: np.ndarray | None = None
) -> Adjustment:
    """Weights w under which the mean probability of each label over the background is the share it is to have.

        mean over x of w_y p_y(x) / sum_z w_z p_z(x) = share_y

    They minimise the mean of log sum_y exp(s_y / T + b_y) less sum_y share_y b_y over b = log w, which is convex.
    Where none of these is a rival, its weight stays 1.

    shares  (L,) above 0; those of labels that exclude each other sum to 1, or to less where none of these is one.
            None for equal ones, which take together what the labels have without weights

    Raises SettingError for shares that cannot be.
    Source: Liusie et al. 2023 (arXiv:2309.04992), prior matching.

    >>> logits = Calibration(temperature=1.0, none_score=0.0, origin="by hand")
    >>> rows = np.log([[0.9, 0.1], [0.7, 0.3]])
    >>> matched = matched_prior(rows, logits)
    >>> float(np.exp(matched.shift[0] - matched.shift[1]).round(4))  # the square root of 21
    4.5826
    """
    from scipy.optimize import minimize

    if shares is None:
        means = np.exp(log_probabilities(scores, numbers, rivals)).mean(0)
        shares = np.full_like(means, means.mean())
    else:
        check_shares(shares, rivals)

    def value_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        moved = scores + numbers.temperature * weights
        logs = log_probabilities(moved, numbers, rivals)
        sums = moved / numbers.temperature - logs  # of a row alike for all labels, unless each stands alone
        value = sums.mean(0).sum() if rivals == "none" else sums[:, 0].mean()
        return float(value - shares @ weights), np.exp(logs).mean(0) - shares

    start = -balanced(scores, numbers, rivals).shift / numbers.temperature
    options = {"maxiter": 10_000, "maxfun": 20_000, "ftol": 0.0, "gtol": 1e-9}
    weights = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x
    if not np.abs(value_and_gradient(weights)[1]).max() < CLOSE:
        raise SettingError(
            f"no weights were found that give the labels the shares {shares.round(4).tolist()[:8]} at "
            f"temperature={numbers.temperature:g}; calibrate by batch, or raise the temperature"
        )
    if rivals == "labels":
        weights = weights - weights.mean()  # which changes no probability
    return Adjustment(-numbers.temperature * weights, np.ones_like(weights), 0.0)


def log_probabilities(scores: np.ndarray, numbers: Calibration, rivals: Rivals) -> np.ndarray:
    """The logarithm (n, L) of each label's probability, exact where a probability rounds to 0."""
    from scipy.special import logsumexp

    raised, none = scores / numbers.temperature, numbers.none_score / numbers.temperature
    if rivals == "none":
        return raised - np.logaddexp(raised, none)
    sums = logsumexp(raised, axis=-1, keepdims=True)
    logs: np.ndarray = raised - (sums if rivals == "labels" else np.logaddexp(sums, none))
    return logs


def check_shares(shares: np.ndarray, rivals: Rivals) -> None:
    """Raise SettingError for shares of labels that are none, or do not sum to what they must.

    >>> check_shares(np.array([0.5, 0.6]), "labels")
    Traceback (most recent call last):
    sijo.errors.SettingError: the labels' shares [0.5, 0.6] sum to 1.1; those of labels that exclude each other \
sum to 1
    """
    total, given = float(shares.sum()), shares.round(4).tolist()[:8]
    if not ((shares > 0) & (shares < 1)).all():
        raise SettingError(f"the labels' shares {given} must each lie above 0 and below 1")
    if rivals == "labels and none" and total >= 1:
        raise SettingError(f"the labels' shares {given} sum to {total:g}, and leave nothing for none of these")
    if rivals == "labels" and abs(total - 1) > 1e-6:
        raise SettingError(
            f"the labels' shares {given} sum to {total:g}; those of labels that exclude each other sum to 1"
        )


def check_background(scores: np.ndarray, fewest: int = FEWEST) -> None:
    """Raise SettingError for too few texts, or a score that is not finite.

    >>> check_background(np.zeros((1, 3)))
    Traceback (most recent call last):
    sijo.errors.SettingError: calibration needs at least 32 texts and has 1: fewer say more of themselves than of \
the labels. Give more, or leave calibrate= (--calibrate) out
    """
    if len(scores) < fewest:
        raise SettingError(
            f"calibration needs at least {fewest} texts and has {len(scores)}: fewer say more of themselves than "
            "of the labels. Give more, or leave calibrate= (--calibrate) out"
        )
    check_finite(scores)


def estimated_prior(probabilities: np.ndarray, *, each: float = 1.0, steps: int = 100) -> np.ndarray:
    """The share (L,) of each label among the texts, by expectation and maximisation from equal shares.

        pi_y <- (n mean over x of p_y pi_y / (sum_z p_z pi_z) + a) / (n + a L)

    each   a, texts that every label is given beforehand. With none, a label that starts lower than the others ends
           at 0 where probabilities are too sure or texts few
    steps  at most

    Source: Saerens, Latinne and Decaestecker 2002; a > 0 is a Dirichlet prior on the shares.

    >>> rows = np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6]])
    >>> [estimated_prior(rows, each=0.0, steps=steps).round(6).tolist() for steps in (1, 2)]
    [[0.666667, 0.333333], [0.780775, 0.219225]]
    """
    count, labels = probabilities.shape
    prior = np.full(labels, 1 / labels)
    for _ in range(steps):
        weighted = probabilities * prior
        shares = (weighted / weighted.sum(-1, keepdims=True)).mean(0)
        before, prior = prior, (count * shares + each) / (count + each * labels)
        if np.abs(prior - before).max() < 1e-9:
            break
    return prior


def share_of_labels_in_use(scores: np.ndarray) -> float:
    """How evenly texts fall to labels: 1 where each is the best of as many, 1 / L where one is the best of all.

    It is 1 / L over the chance that two texts, not the same, have the same best label, so few texts lower
    nothing; they may raise it above 1.

    >>> share_of_labels_in_use(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    1.5
    """
    count, labels = scores.shape
    won = np.bincount(scores.argmax(-1), minlength=labels)
    return float(count * (count - 1) / (labels * max(1, int((won * (won - 1)).sum()))))


def disagreement(scores: np.ndarray, others: np.ndarray) -> float:
    """The share of texts whose best label is another once labels are worded otherwise, by scores (n, L) of both.

    >>> disagreement(np.array([[0.4, 0.2], [0.1, 0.3]]), np.array([[0.3, 0.2], [0.4, 0.3]]))
    0.5
    """
    return float((scores.argmax(-1) != others.argmax(-1)).mean())


def expected_errors(apart: float, bare: float | None = None, *, scale: float = 2.0, power: float = 1.0) -> float:
    """The share of texts that get a wrong label, by the shares on which wordings of the labels disagree: a d^b.

    apart  once the labels stand in another sentence; of a method that makes wordings alike, the mean of before and
           after
    bare   once they have no descriptions and examples, if they have any: these say the same in every sentence, and
           names alone say less than what is used; d is then half of the mean of the two shares
    scale  a, of the scorer's `Calibration`
    power  b

    >>> expected_errors(0.1), expected_errors(0.1, 0.4), round(expected_errors(0.04, scale=1.2, power=0.5), 3)
    (0.2, 0.25, 0.24)
    """
    errors: float = scale * (apart if bare is None else (apart + bare) / 4) ** power
    return errors


def agreeing_temperature(scores: np.ndarray, errors: float) -> float:
    """The temperature at which mean confidence is what two wordings of the labels make expect, with no gold label.

    Where a text is labelled otherwise once the labels are worded otherwise, one of the two is wrong. Confidence,
    the mean of the largest probability, is brought to what `expected_errors` leave: never below a tenth of the way
    from chance to certainty.

    scores  (n, L), of the labels as they are worded
    errors  the share of texts that are expected to get a wrong label

    >>> scores = np.array([[0.4, 0.2], [0.1, 0.3], [0.5, 0.3]])
    >>> agreeing_temperature(scores, 0.0) < agreeing_temperature(scores, 0.3)
    True
    """
    labels = scores.shape[1]
    chance = 1 / labels
    expected = min(max(1 - errors, chance + 0.1 * (1 - chance)), 1 - 1 / (len(scores) + 1))
    spread = float(scores.std()) or 1.0
    low, high = np.log(1e-3 * spread), np.log(1e3 * spread)
    for _ in range(60):  # confidence falls as the temperature rises
        middle = (low + high) / 2
        trial = Calibration(temperature=float(np.exp(middle)), none_score=0.0, origin="")
        low, high = (middle, high) if trial.softmax(scores).max(-1).mean() > expected else (low, middle)
    return float(np.exp((low + high) / 2))
