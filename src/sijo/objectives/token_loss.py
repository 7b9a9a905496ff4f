"""The loss of predicted tokens, without all their logits at once.

A vocabulary is wide: 300 targets over 128,000 tokens are 150 MB of logits, and the plain way writes them, their
logarithms, their gradients and, to sample from them, their sums in double precision. Here the table of tokens is
read in pieces, and what is made of a piece's logits is made while a cache holds them. The gradient is formed in the
same pass, so nothing as wide as the vocabulary is kept for later but the gradient of the table itself.

Letters: N targets, V tokens, E width of the table, P tokens of a piece, C pieces.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sijo.nn.heads import HeadInput, LMHead
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.tally import Tally

PIECE = 2**21
"""Logits of a piece: 8 MB, which a processor's cache holds."""
NARROWEST = 512
"""Tokens of a piece at least, or its products would be slow."""
KEPT = 2**26
"""Logits up to which those of all pieces are kept (256 MB) rather than computed a second time for the gradient."""


@dataclass(frozen=True)
class Predicted:
    """What came of a batch's targets."""

    tally: Tally
    """Their cross entropy."""
    drawn: Tensor | None = None
    """(N,) int64: a token sampled from each target's softmax, where uniform draws were given."""


def predict_targets(
    head: LMHead, head_input: HeadInput, posed: PosedBatch, uniforms: Tensor | None = None
) -> Predicted:
    """The cross entropy of a posed batch's targets, in float32, and a sample of each where `uniforms` are given.

    uniforms  (N,) float64 in [0, 1), one draw for each target
    """
    states_NE = head.transformed(head.states(head_input)[posed.target_mask])
    weight_VE = head_input.transformer.embeddings.tokens.weight
    total, right, drawn = token_loss(states_NE, weight_VE, head.bias, posed.targets[posed.target_mask], uniforms)
    return Predicted(Tally(total, len(states_NE), right), drawn)


def token_loss(
    states_NE: Tensor, weight_VE: Tensor, bias_V: Tensor, targets_N: Tensor, uniforms_N: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The sum of cross entropies of `states · weightᵀ + bias`, how many are right, and a sample of each row.

    states_NE   float; the products are taken in autocast's dtype, the rest in float32
    weight_VE   the table of tokens
    bias_V      a number for each token
    targets_N   int64
    uniforms_N  float64 in [0, 1), or None for no sample. A sample is the token in whose share of the distribution,
                laid end to end, the draw falls; no gradient flows through it

    Returns () float32, () int64, and (N,) int64 or None.

    >>> states, weight = torch.eye(2), torch.tensor([[9.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    >>> total, right, drawn = token_loss(
    ...     states, weight, torch.zeros(3), torch.tensor([0, 0]), torch.tensor([0.5, 0.9]).double()
    ... )
    >>> round(float(total), 4), int(right), drawn.tolist()        # next to nothing, and ln 3
    (1.0989, 2, [0, 2])
    """
    kind = states_NE.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states_NE.dtype
    with torch.autocast(kind, enabled=False):
        total, right, drawn = _TokenLoss.apply(  # type: ignore[no-untyped-call]
            states_NE, weight_VE, bias_V, targets_N, uniforms_N, dtype
        )
    return total, right, None if uniforms_N is None else drawn


class _TokenLoss(torch.autograd.Function):
    """`token_loss`; its gradient of a total of 1 is formed at once, and scaled when the total's is known."""

    @staticmethod
    def forward(
        ctx: Any,
        states_NE: Tensor,
        weight_VE: Tensor,
        bias_V: Tensor,
        targets_N: Tensor,
        uniforms_N: Tensor | None,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor]:
        learns = any(ctx.needs_input_grad[:3])
        pieces = _Pieces(
            states_NE.to(dtype), weight_VE.to(dtype), bias_V.float(), again=learns or uniforms_N is not None
        )
        own_N = (states_NE.to(dtype).float() * weight_VE[targets_N].to(dtype).float()).sum(1) + bias_V[targets_N]
        total = (pieces.log_sums_N - own_N).sum()
        right = (pieces.guesses_N == targets_N).sum()
        drawn_N = targets_N if uniforms_N is None else pieces.drawn(uniforms_N)
        if learns:
            ctx.gradients = pieces.gradients(targets_N, table=ctx.needs_input_grad[1])
            ctx.dtypes = states_NE.dtype, weight_VE.dtype, bias_V.dtype
        ctx.mark_non_differentiable(right, drawn_N)
        return total, right, drawn_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # scaled in place, so they serve once
        if gradients is None:
            raise RuntimeError(
                "the gradient of token_loss was taken before, and is formed anew by a forward pass alone"
            )
        scaled = (
            None if part is None else part.mul_(scale).to(dtype)
            for part, dtype in zip(gradients, ctx.dtypes, strict=True)
        )
        return (*scaled, None, None, None)


class _Pieces:
    """The softmax of each row, a piece of the vocabulary at a time.

    again  whether pieces will be asked for a second time
    """

    def __init__(self, states_NE: Tensor, weight_VE: Tensor, bias_V: Tensor, *, again: bool) -> None:
        self.states_NE, self.weight_VE, self.bias_V = states_NE, weight_VE, bias_V
        rows, tokens = len(states_NE), len(weight_VE)
        width = max(NARROWEST, PIECE // max(rows, 1))
        self.ranges = [slice(first, min(first + width, tokens)) for first in range(0, tokens, width)]
        keeps = again and rows * tokens <= KEPT
        kept, tops, guesses, sums = [], [], [], []
        for part in self.ranges:
            logits_NP = self._logits(part)
            top_N, guess_N = logits_NP.max(1)
            powers_NP = logits_NP.sub_(top_N[:, None]).exp_()
            kept.append(powers_NP if keeps else None)
            tops.append(top_N)
            guesses.append(guess_N + part.start)
            sums.append(powers_NP.sum(1))
        self._kept, tops_NC, sums_NC = kept, torch.stack(tops, 1), torch.stack(sums, 1)
        best_N, place_N = tops_NC.max(1)
        self.guesses_N = torch.stack(guesses, 1).gather(1, place_N[:, None])[:, 0]
        """The likeliest token of each row."""
        scales_NC = (tops_NC - best_N[:, None]).exp_()
        whole_N = (sums_NC * scales_NC).sum(1)
        self.log_sums_N = best_N + whole_N.log()
        """The logarithm of the sum of the exponentials of each row's logits."""
        self._factors_NC = scales_NC / whole_N[:, None]
        self._shares_NC = sums_NC.double() * self._factors_NC

    def _logits(self, part: slice) -> Tensor:
        if self.states_NE.dtype == torch.float32:
            return torch.addmm(self.bias_V[part], self.states_NE, self.weight_VE[part].T)
        return torch.mm(self.states_NE, self.weight_VE[part].T).float().add_(self.bias_V[part])

    def _shares(self, number: int, rows_M: Tensor | None = None) -> Tensor:
        """The softmax (M, P) of some rows, or of all, over one piece; what was kept of all is used up."""
        powers_NP, factors_N = self._kept[number], self._factors_NC[:, number]
        if powers_NP is not None:
            if rows_M is not None:
                return powers_NP[rows_M] * factors_N[rows_M, None]
            self._kept[number] = None
            return powers_NP.mul_(factors_N[:, None])
        shares_NP = self._logits(self.ranges[number]).sub_(self.log_sums_N[:, None]).exp_()
        return shares_NP if rows_M is None else shares_NP[rows_M]

    def drawn(self, uniforms_N: Tensor) -> Tensor:
        """A token of each row by a uniform draw, (N,) int64.

        The sums are of double precision: over 128,000 tokens those of float32 may end short of a draw.
        """
        edges_NC = self._shares_NC.cumsum(1)
        points_N = uniforms_N.to(edges_NC.device, torch.float64) * edges_NC[:, -1]  # the last edge may be 1 - 1e-8
        piece_N = torch.searchsorted(edges_NC, points_N[:, None], right=True)[:, 0].clamp_(max=len(self.ranges) - 1)
        drawn_N = torch.empty_like(piece_N)
        for number, part in enumerate(self.ranges):
            rows_M = (piece_N == number).nonzero()[:, 0]
            if len(rows_M):
                inner_MP = self._shares(number, rows_M).double().cumsum(1)
                before_M = edges_NC[rows_M, number] - self._shares_NC[rows_M, number]
                found_M = torch.searchsorted(inner_MP, (points_N[rows_M] - before_M)[:, None], right=True)[:, 0]
                drawn_N[rows_M] = found_M.clamp_(max=part.stop - part.start - 1) + part.start
        return drawn_N

    def gradients(self, targets_N: Tensor, *, table: bool) -> tuple[Tensor, Tensor | None, Tensor]:
        """Of the sum of all losses: by the states (N, E), by the table (V, E) where it learns, by the bias (V,)."""
        dtype = self.states_NE.dtype
        by_states_NE = torch.zeros_like(self.states_NE, dtype=torch.float32)
        by_weight_VE = torch.empty_like(self.weight_VE, memory_format=torch.contiguous_format) if table else None
        by_bias_V = torch.empty_like(self.bias_V)
        for number, part in enumerate(self.ranges):
            wrong_NP = self._shares(number)
            here_M = ((targets_N >= part.start) & (targets_N < part.stop)).nonzero()[:, 0]
            wrong_NP[here_M, targets_N[here_M] - part.start] -= 1
            torch.sum(wrong_NP, 0, out=by_bias_V[part])
            low_NP = wrong_NP.to(dtype)
            if by_weight_VE is not None:
                torch.mm(low_NP.T, self.states_NE, out=by_weight_VE[part])
            if dtype == torch.float32:
                by_states_NE.addmm_(low_NP, self.weight_VE[part])
            else:
                by_states_NE += torch.mm(low_NP, self.weight_VE[part])
        return by_states_NE, by_weight_VE, by_bias_V
