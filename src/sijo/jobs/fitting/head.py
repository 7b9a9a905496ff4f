"""A linear head from a few labels: logistic regression that begins at the zero-shot answer.

With unit vectors x of texts, v of labels, and the mean m and spread r of the texts' vectors,

    z(x)       = (x - m) / r                                 what is learned from
    prior_y(x) = (x v_y - mean over labels of x v) / t       the zero-shot answer, in units of the cosines' spread t
    logit_y(x) = s prior_y(x) + w_y z(x) + c_y
    loss       = sum over labelled texts of -log softmax(logit)_right  +  k/2 sum over y of (|w_y|^2 + 100 c_y^2)

which is a Gaussian prior on the whole head whose mean is the zero-shot head times s. As k grows the answer becomes
the zero-shot one; as labels become many they outweigh both. Biases are held a hundred times as tight: how often a
label was given among a few texts says little of how often it is right. The softmax of the loss is over labels that
some text has. One that none has would keep its zero-shot logit and lose its texts to the others, which learned to
claim them: so texts without a label stand in for it (`stand_ins`). Where several labels may fit, each has a sigmoid
in place of the softmax, and the prior is the cosine above the none score.

s and k are `DEFAULT` unless another pair of `CANDIDATES` is better in cross-validation by more than one standard
error of the difference: a dozen texts cannot tell thirty settings apart, and the pair that they would choose was
worse on texts that are yet to come (docs/fitting.md). All is linear in x, so that one matrix and one bias remain.

Source: the maximum a posteriori of a multinomial logistic regression (Bishop 2006, section 4.3.4) with a mean other
than zero; the rule of one standard error is Breiman et al. 1984, section 3.4.3.

Letters: n texts, L labels, D width of a vector, R rank of the texts' vectors.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sijo.evaluation.intervals import Interval, share_interval
from sijo.random import rng

FOLDS = 5
MOST_TRIED = 1_500
"""Texts that are cross-validated on, at most."""
FEWEST = 8
"""Labels of a class, in the middle one of all classes, from which cross-validation chooses: below it a fold has
classes with a text or two, and what suits them suits none."""
MOST_SIGMOIDS = 50
"""Of labels that are each judged by itself, on how many a strength is chosen: their losses just add up."""
LOSS_TOLERANCE, MOST_STEPS = 1e-3, 200
SCALES = np.geomspace(0.2, 5.0, 17)
"""Of all logits: what makes probabilities as sure as they are right on texts held out."""
Beside = tuple[np.ndarray, np.ndarray]
"""Unit vectors, and bool which labels each has."""
BIAS = 0.1
"""What stands in for the 1 that a bias is multiplied by; its square says how tight biases are held."""
SOLID = 1e-9
"""A singular value below this share of the largest is none."""


class Strength(NamedTuple):
    """How much the zero-shot answer weighs, and how far labels may move it."""

    prior: float
    """s."""
    penalty: float
    """k."""


DEFAULT = Strength(0.25, 0.2)
ZERO_SHOT = Strength(1.0, float("inf"))
"""Nothing is learned."""
CANDIDATES = (
    *(Strength(prior, penalty) for prior in (0.0, 0.1, 0.25, 0.5) for penalty in (1.0, 0.2, 0.05, 0.01)),
    ZERO_SHOT,
)


@dataclass(frozen=True, kw_only=True)
class Prior:
    """The zero-shot answer as a linear head, and what is known of all texts, labelled or not."""

    weight_LD: np.ndarray
    bias_L: np.ndarray
    mean_D: np.ndarray
    """m."""
    spread: float
    """r: the root of the mean square of |x - m|."""

    @classmethod
    def of(
        cls, labels_LD: np.ndarray, texts_nD: np.ndarray, *, multi_label: bool = False, none_score: float = 0.0
    ) -> "Prior":
        """From unit vectors of labels and of texts.

        none_score  the cosine from which a label fits, where several may

        >>> prior = Prior.of(np.eye(2), np.array([[1.0, 0.0], [0.0, 1.0]]))
        >>> prior.weight_LD.tolist(), round(prior.spread, 3)
        ([[1.0, -1.0], [-1.0, 1.0]], 0.707)
        """
        cosines_nL = texts_nD @ labels_LD.T
        centred = labels_LD if multi_label else labels_LD - labels_LD.mean(0)
        moved = cosines_nL - (none_score if multi_label else cosines_nL.mean(-1, keepdims=True))
        half = np.sqrt((moved**2).mean()) or 1.0
        mean_D = texts_nD.mean(0)
        return cls(
            weight_LD=centred / half,
            bias_L=np.full(len(labels_LD), -none_score / half if multi_label else 0.0),
            mean_D=mean_D,
            spread=float(np.sqrt(((texts_nD - mean_D) ** 2).sum(-1).mean())) or 1.0,
        )

    def logits(self, texts_nD: np.ndarray) -> np.ndarray:
        """Of texts, (n, L)."""
        logits: np.ndarray = texts_nD @ self.weight_LD.T + self.bias_L
        return logits


@dataclass(frozen=True, kw_only=True)
class FittedHead:
    """A head, and how it came about."""

    weight_LD: np.ndarray
    bias_L: np.ndarray
    strength: Strength
    scale: float
    """That all logits were multiplied by."""
    held_out: Interval | None
    """Share of the labelled texts that are answered right by a head fitted to the others; of several labels, those
    whose labels are all right. None where there are too few."""
    tried: int
    """How many texts were held out in turn."""
    chosen: bool
    """Whether cross-validation had a say in the strength."""

    def logits(self, texts_nD: np.ndarray) -> np.ndarray:
        """Of unit vectors of texts, (n, L)."""
        logits: np.ndarray = texts_nD @ self.weight_LD.T + self.bias_L
        return logits


def fit_head(
    texts_nD: np.ndarray,
    right_nL: np.ndarray,
    prior: Prior,
    *,
    multi_label: bool = False,
    seed: int = 0,
    beside: Beside | None = None,
    judged: tuple[np.ndarray, np.ndarray] | None = None,
) -> FittedHead:
    """The head of some labelled texts.

    texts_nD  unit vectors, float64
    right_nL  bool, one label a text, or with `multi_label` any number
    prior     where it begins
    seed      decides the folds
    beside    vectors and labels that are learned from and never held out, as `stand_ins` gives them
    judged    logits of texts held out, by a head that did not see them, and what is right of these, where the
              vectors themselves were learned from all the texts: then nothing is chosen by them, and they say how
              good it is

    >>> texts = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> right = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], bool)
    >>> head = fit_head(texts, right, Prior.of(np.eye(2), texts))
    >>> head.logits(texts).argmax(-1).tolist(), head.strength == DEFAULT
    ([0, 0, 1, 1], True)
    """
    strength, chosen, counts_L = DEFAULT, False, right_nL.sum(0)
    if judged is None and (counts_L >= 2).any():
        places = _some_of_each(right_nL, MOST_TRIED, seed)
        chosen = bool(np.median(counts_L[counts_L > 0]) >= FEWEST)
        problem = _Problem(texts_nD[places], right_nL[places], prior, multi_label=multi_label, beside=beside)
        folds_n = folds(right_nL[places], FOLDS, seed)
        strength, held_nL = _chosen(problem, folds_n, CANDIDATES if chosen else (DEFAULT,))
        judged = held_nL, right_nL[places]
    scale, held_out = 1.0, None
    if judged is not None and len(judged[0]):
        scale, _ = _scaled_losses(*judged, multi_label=multi_label)
        held_out = share_right(*judged, multi_label=multi_label)
    whole = _Problem(texts_nD, right_nL, prior, multi_label=multi_label, beside=beside)
    weight_LR, bias_L = whole.solved(strength)
    moved_LD = weight_LR @ whole.basis_RD / prior.spread
    return FittedHead(
        weight_LD=scale * (strength.prior * prior.weight_LD + moved_LD),
        bias_L=scale * (strength.prior * prior.bias_L + bias_L - moved_LD @ prior.mean_D),
        strength=strength,
        scale=scale,
        held_out=held_out,
        tried=0 if judged is None else len(judged[0]),
        chosen=chosen,
    )


def stand_ins(right_nL: np.ndarray, prior: Prior, labels_LD: np.ndarray, others_mD: np.ndarray) -> Beside:
    """Vectors and labels for classes that no text has, without which the others would take their texts.

    Those texts without a label of which the zero-shot answer is surest that they have such a class, as many as the
    middle class has labels; where it finds none, the vector of the class's own words.

    right_nL   bool, of the labelled texts
    labels_LD  unit vectors of the labels
    others_mD  unit vectors of texts without a label

    >>> prior = Prior.of(np.eye(2), np.eye(2))
    >>> vectors, right = stand_ins(np.array([[True, False]]), prior, np.eye(2), np.array([[0.6, 0.8], [0.0, 1.0]]))
    >>> vectors.tolist(), right.tolist()
    ([[0.0, 1.0]], [[False, True]])
    """
    counts_L = right_nL.sum(0)
    middle = int(np.median(counts_L[counts_L > 0]))
    logits_mL = prior.logits(others_mD)
    first_two_m2 = np.sort(logits_mL, axis=-1)[:, -2:]
    leads_m, guesses_m = first_two_m2[:, 1] - first_two_m2[:, 0], logits_mL.argmax(-1)
    vectors, rows = [labels_LD[:0]], [right_nL[:0]]
    for label in np.flatnonzero(counts_L == 0):
        found = np.flatnonzero(guesses_m == label)
        surest = others_mD[found[np.argsort(-leads_m[found], kind="stable")[:middle]]]
        own = surest if len(surest) else labels_LD[[label]]
        vectors.append(own)
        rows.append(np.eye(len(counts_L), dtype=bool)[[label] * len(own)])
    return np.concatenate(vectors), np.concatenate(rows)


class _Problem:
    """Labelled texts, and behind them what stands beside, in the coordinates of their own span, where the best
    weights lie."""

    def __init__(
        self,
        texts_nD: np.ndarray,
        right_nL: np.ndarray,
        prior: Prior,
        *,
        multi_label: bool,
        beside: Beside | None = None,
    ) -> None:
        self.texts, self.multi_label = len(texts_nD), multi_label
        if beside is not None:
            texts_nD, right_nL = np.concatenate([texts_nD, beside[0]]), np.concatenate([right_nL, beside[1]])
        self.right_nL = right_nL
        self.prior_nL = prior.logits(texts_nD)
        scaled_nD = (texts_nD - prior.mean_D) / prior.spread
        left, values, right = np.linalg.svd(scaled_nD, full_matrices=False)
        rank = max(1, int((values > SOLID * values[0]).sum()))
        self.z_nR: np.ndarray = left[:, :rank] * values[:rank]
        self.basis_RD: np.ndarray = right[:rank]

    def of_labels(self, places: np.ndarray) -> "_Problem":
        """The same with some of the labels alone."""
        some = copy(self)
        some.right_nL, some.prior_nL = self.right_nL[:, places], self.prior_nL[:, places]
        return some

    def solved(
        self, strength: Strength, rows: np.ndarray | None = None, begin: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best weights (L, R) and biases (L,) over some rows, all by default; 0 for labels that none has.

        begin  where the search begins
        """
        from scipy.optimize import minimize

        chosen = slice(None) if rows is None else rows
        z_nR, right_nL, prior_nL = self.z_nR[chosen], self.right_nL[chosen], self.prior_nL[chosen]
        weight_LR, bias_L = np.zeros((right_nL.shape[1], z_nR.shape[1])), np.zeros(right_nL.shape[1])
        seen = np.flatnonzero(right_nL.any(0))
        if not len(seen) or np.isinf(strength.penalty):
            return weight_LR, bias_L
        inputs = np.hstack([z_nR, np.full((len(z_nR), 1), BIAS)])
        fixed, wanted = strength.prior * prior_nL[:, seen], right_nL[:, seen].astype(np.float64)
        loss_of = _sigmoid_loss if self.multi_label else _softmax_loss

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weights = flat.reshape(len(seen), -1)
            value, gradient_nS = loss_of(fixed + inputs @ weights.T, wanted)
            return (
                value + strength.penalty / 2 * float((weights**2).sum()),
                (gradient_nS.T @ inputs + strength.penalty * weights).ravel(),
            )

        start = np.zeros((len(seen), inputs.shape[1]))
        if begin is not None:
            start = np.hstack([begin[0], begin[1][:, None] / BIAS])[seen]
        options = {"maxiter": MOST_STEPS, "gtol": LOSS_TOLERANCE}
        best = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(start.shape)
        weight_LR[seen], bias_L[seen] = best[:, :-1], BIAS * best[:, -1]
        return weight_LR, bias_L

    def held_out_logits(self, strengths: Sequence[Strength], folds_n: np.ndarray) -> list[np.ndarray]:
        """Of each strength the logits (n, L) of each text by a head that was fitted to the other folds."""
        logits = [strength.prior * self.prior_nL for strength in strengths]
        folds_n = np.concatenate([folds_n, np.full(len(self.right_nL) - self.texts, -1)])
        for fold in range(folds_n.max() + 1):
            rows, out, begin = folds_n != fold, folds_n == fold, None
            for strength, logits_nL in zip(strengths, logits, strict=True):
                weight_LR, bias_L = begin = self.solved(strength, rows, begin)
                logits_nL[out] += self.z_nR[out] @ weight_LR.T + bias_L
        return [logits_nL[: self.texts] for logits_nL in logits]


def _log_softmax(logits_nL: np.ndarray) -> np.ndarray:
    below_nL = logits_nL - logits_nL.max(-1, keepdims=True)
    logs_nL: np.ndarray = below_nL - np.log(np.exp(below_nL).sum(-1, keepdims=True))
    return logs_nL


def _softmax_loss(logits_nS: np.ndarray, wanted_nS: np.ndarray) -> tuple[float, np.ndarray]:
    """The summed cross-entropy, and its gradient by the logits."""
    logs_nS = _log_softmax(logits_nS)
    return -float((logs_nS * wanted_nS).sum()), np.exp(logs_nS) - wanted_nS


def _sigmoid_loss(logits_nS: np.ndarray, wanted_nS: np.ndarray) -> tuple[float, np.ndarray]:
    """The same where each label is judged by itself."""
    from scipy.special import expit

    signs_nS = 2 * wanted_nS - 1
    return float(np.logaddexp(0, -signs_nS * logits_nS).sum()), expit(logits_nS) - wanted_nS


def _chosen(problem: _Problem, folds_n: np.ndarray, candidates: Sequence[Strength]) -> tuple[Strength, np.ndarray]:
    """The strength that is taken, and its logits of texts held out: `DEFAULT`, or what is better by more than a
    standard error."""
    counts_L, judged = problem.right_nL.sum(0), problem
    some = problem.multi_label and len(candidates) > 1 and (counts_L > 0).sum() > MOST_SIGMOIDS
    if some:  # of each share of the texts about as many
        seen = np.argsort(counts_L, kind="stable")[(counts_L == 0).sum() :]
        judged = problem.of_labels(seen[np.linspace(0, len(seen) - 1, MOST_SIGMOIDS).astype(np.int64)])
    logits = dict(zip(candidates, judged.held_out_logits(candidates, folds_n), strict=True))
    losses = {
        strength: _scaled_losses(own, judged.right_nL[: judged.texts], multi_label=judged.multi_label)[1]
        for strength, own in logits.items()
    }
    best = min(losses, key=lambda strength: float(losses[strength].mean()))
    gains_n = losses[DEFAULT] - losses[best]
    error = gains_n.std(ddof=1) / np.sqrt(len(gains_n))
    strength = best if gains_n.mean() > error else DEFAULT
    return strength, problem.held_out_logits([strength], folds_n)[0] if some else logits[strength]


def _scaled_losses(logits_nL: np.ndarray, right_nL: np.ndarray, *, multi_label: bool) -> tuple[float, np.ndarray]:
    """The scale of logits at which texts lose least, and what each loses there (n,).

    For the scale, each text is taken to be something else once in n + 2 times, which is Laplace's rule of
    succession: n texts that are all answered right make nobody surer than that.
    """
    doubt, others = 1 / (len(right_nL) + 2), max(1, right_nL.shape[1] - 1)

    def losses(scale: float, doubt: float) -> np.ndarray:
        if multi_label:
            shares_nL = np.where(right_nL, 1 - doubt, doubt)
            logits = scale * logits_nL
            return np.asarray((np.logaddexp(0, logits) - shares_nL * logits).sum(-1))
        shares_nL = np.where(right_nL, 1 - doubt, doubt / others)
        return np.asarray(-(shares_nL * _log_softmax(scale * logits_nL)).sum(-1))

    scale = min(SCALES, key=lambda scale: float(losses(scale, doubt).mean()))
    return float(scale), losses(scale, 0.0)


def share_right(logits_nL: np.ndarray, right_nL: np.ndarray, *, multi_label: bool) -> Interval:
    """The share of texts that are answered right; of several labels, whose labels are all right."""
    answers_nL = logits_nL > 0
    if not multi_label:
        answers_nL = np.arange(logits_nL.shape[1]) == logits_nL.argmax(-1)[:, None]
    return share_interval(int((answers_nL == right_nL).all(-1).sum()), len(right_nL))


def folds(right_nL: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A fold for each text (n,), so that the texts of each label are dealt out evenly; a function of the seed.

    Texts of several labels go by the rarest of them.

    >>> sorted(folds(np.eye(2, dtype=bool)[[0, 0, 1, 1]], 2, seed=0)[:2].tolist())
    [0, 1]
    """
    places = _in_turn(right_nL, seed)
    folds_n = np.empty(len(places), np.int64)
    folds_n[places] = np.arange(len(places)) % min(count, len(places))
    return folds_n


def _some_of_each(right_nL: np.ndarray, most: int, seed: int) -> np.ndarray:
    """The places of so many texts at most, of each label about the same share."""
    places, step = _in_turn(right_nL, seed), max(1.0, len(right_nL) / most)
    return np.sort(places[np.arange(0, len(places), step).astype(np.int64)])


def _in_turn(right_nL: np.ndarray, seed: int) -> np.ndarray:
    """Places in which texts of one label, by the rarest that each has, stand together, in an order by chance."""
    counts_L = right_nL.sum(0)
    rarest_n = np.where(right_nL, counts_L, len(right_nL) + 1).argmin(-1)
    drawn_n = rng(seed, "folds").permutation(len(right_nL))
    places: np.ndarray = np.lexsort((drawn_n, rarest_n))
    return places
