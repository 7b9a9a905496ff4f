"""Logistic regression by many columns at once: of classes that exclude each other, or of attributes that do not.

Letters: n texts, D width of a vector, K columns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEPS = 300
"""Of accelerated gradient descent, at most."""
STILL = 1e-5
"""A step that moves no weight by more than this, as a share of the largest, is the last."""


@dataclass(frozen=True)
class LinearModel:
    """Weights of each column, over vectors from which their mean is taken."""

    mean_D: Floats
    weights_DK: Floats
    bias_K: Floats

    def logits(self, vectors_nD: Floats) -> Floats:
        """(n, K) float64."""
        logits: Floats = (vectors_nD - self.mean_D) @ self.weights_DK + self.bias_K
        return logits


def logistic(vectors_nD: Floats, targets_nK: Floats, *, exclusive: bool, strength: float) -> LinearModel:
    """The weights that minimise mean cross-entropy + strength / 2 times their squares.

    targets_nK  1 where a column holds of a text, else 0; one of each row where `exclusive`
    exclusive   a softmax over the columns; else a sigmoid for each
    strength    above 0

    By accelerated gradient descent with the step that the largest eigenvalue of the vectors' covariance allows,
    which needs no search; the same bits from run to run. Source: Nesterov 2004, Introductory Lectures on Convex
    Optimization, section 2.2, for strongly convex functions.

    >>> model = logistic(np.array([[1.0], [-1.0]]), np.array([[1.0], [0.0]]), exclusive=False, strength=0.01)
    >>> bool(model.logits(np.array([[0.5]]))[0, 0] > 1)
    True
    """
    count = len(vectors_nD)
    mean_D = vectors_nD.mean(0)
    inputs_nE = np.column_stack([vectors_nD - mean_D, np.ones(count)]).astype(np.float32)
    targets = targets_nK.astype(np.float32)
    width, columns = inputs_nE.shape[1], targets.shape[1]
    penalty_E = np.full((width, 1), strength, np.float32)
    penalty_E[-1] = strength / 100  # the bias is hardly held, and yet has an end where a column never changes
    curvature = 0.5 if exclusive else 0.25
    largest = curvature * float(np.linalg.eigvalsh(inputs_nE.T @ inputs_nE / count)[-1]) + strength
    root = np.sqrt(largest / strength)
    momentum = np.float32((root - 1) / (root + 1))
    weights: np.ndarray = np.zeros((width, columns), np.float32)
    ahead = weights
    for _ in range(STEPS):
        wrong_nK = _chances(inputs_nE @ ahead, exclusive) - targets
        moved = ahead - np.float32(1 / largest) * (inputs_nE.T @ wrong_nK / np.float32(count) + penalty_E * ahead)
        ahead = moved + momentum * (moved - weights)
        still = float(np.abs(moved - weights).max()) <= STILL * float(np.abs(moved).max())
        weights = moved
        if still:
            break
    settled = weights.astype(np.float64)
    return LinearModel(mean_D, settled[:-1], settled[-1])


def _chances(logits_nK: np.ndarray, exclusive: bool) -> np.ndarray:
    """What the logits say, as probabilities."""
    if not exclusive:
        return sigmoid(logits_nK)
    raised = np.exp(logits_nK - logits_nK.max(1, keepdims=True))
    shares: np.ndarray = raised / raised.sum(1, keepdims=True)
    return shares


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), without overflow.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    small = np.exp(-np.abs(logits))
    chances: np.ndarray = np.where(logits >= 0, 1, small) / (1 + small)
    return chances


def softmax(logits_nK: np.ndarray) -> np.ndarray:
    """Of each row the shares, which add up to 1."""
    return _chances(logits_nK, True)
