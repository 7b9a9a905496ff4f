"""A loss as a sum and a count, to be divided once, by the count of the whole batch."""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

UNSEEN = -1e9
"""A score whose share is 0 in every precision, and whose difference to itself is 0 too."""


@dataclass(frozen=True)
class Tally:
    """A loss as a sum over targets.

    Means of uneven pieces cannot be averaged; sums and counts can. Pieces of a batch, and processes
    that share one, then give the gradient of the whole.
    """

    total: Tensor
    """() float: the sum of the losses of all targets."""
    count: int
    """The number of targets."""
    right: Tensor | None = None
    """() int64: how many were predicted correctly; None where nothing is right or wrong."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tally:
    """The negative log-probability of the targets, in float32.

    logits  (N, V) float
    targets (N,) int64

    >>> import torch
    >>> tally = cross_entropy(torch.tensor([[0.0, 0.0], [9.0, 0.0]]), torch.tensor([1, 0]))
    >>> round(float(tally.total), 4), tally.count, int(tally.right)     # ln 2, and next to nothing
    (0.6933, 2, 1)
    """
    total = F.cross_entropy(logits.float(), targets, reduction="sum")
    return Tally(total, len(targets), (logits.argmax(-1) == targets).sum())


def binary(logits: Tensor, targets: Tensor) -> Tally:
    """The same for yes or no: `logits` (N,) is the logit of yes, `targets` (N,) bool.

    >>> import torch
    >>> tally = binary(torch.tensor([0.0, -9.0]), torch.tensor([True, False]))
    >>> round(float(tally.total), 4), tally.count, int(tally.right)
    (0.6933, 2, 1)
    """
    total = F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="sum")
    return Tally(total, len(targets), ((logits > 0) == targets).sum())


def cosine_loss(ours: Tensor, theirs: Tensor) -> Tally:
    """1 - cos between vectors (N, D), row by row, in float32.

    >>> import torch
    >>> round(float(cosine_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])).total), 6)
    0.292893
    """
    return Tally((1 - F.cosine_similarity(ours.float(), theirs.float(), dim=-1)).sum(), len(ours))


def kl_divergence(wanted: Tensor, scores: Tensor) -> Tensor:
    """KL(softmax(wanted) || softmax(scores)) of each row, (…,) float32.

    wanted, scores  (…, K) float; where `wanted` is -inf there is no target

    >>> import torch
    >>> wanted, scores = torch.tensor([[3.0, 2, 1], [1, 0, -math.inf]]), torch.tensor([[1.0, 2, 3], [1, 0, -9]])
    >>> [round(value, 4) for value in kl_divergence(wanted, scores).tolist()]
    [1.1504, 0.0]
    """
    target_logs, logs = wanted.float().log_softmax(-1), scores.float().log_softmax(-1)
    terms: Tensor = target_logs.exp() * (target_logs - logs)
    return terms.masked_fill(target_logs == -math.inf, 0.0).sum(-1)
