"""Rounding the weights of a network that writes to eight bits, unless that changes its distributions.

The measure is how far its distributions over the next token move: the mean Kullback-Leibler divergence from those
of the same weights in float32. On text as the network itself would write it, that is the rise of the logarithm of
its perplexity.

Letters: L tokens, D width, V tokens of the vocabulary.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from sijo.errors import SettingError, TextError
from sijo.nn.decoder import single_stack
from sijo.nn.heads import LMHead, Network
from sijo.nn.int8 import Int8Linear, Int8Table, parts
from sijo.nn.transformer import Transformer

MOST = math.log(1.01)
"""Nats a token by which distributions may move: 1 % of perplexity."""
LONGEST = 256
"""Tokens of a text that are looked at."""
AT_ONCE = 16
"""Places whose distributions are held together."""
PROBE = (
    "It was late in the year, and the last ferry had left an hour before. The man at the window of the harbour "
    "office wrote something in his book, looked up and shook his head. There would be no more ships until Monday, "
    "he said; the price of a room had gone up as well, but his sister had one over the bakery, for three nights at "
    "40 pounds. In 1998 the town had 4,200 people and a school. I asked him what had happened since. Nothing, he "
    "said, and that was the trouble."
)
"""What is read where no other text is given; written for this, so that no model has learned it."""


@dataclass(frozen=True)
class Moved:
    """What rounding has done to a network, on some tokens."""

    divergence: float
    """Mean over the places of KL(float32 || int8), in nats."""
    before: float
    """Perplexity of the tokens in float32."""
    after: float
    """Perplexity with rounded weights."""
    tokens: int
    """How many were read."""


@torch.no_grad()
def to_int8(network: Network, ids_L: Tensor) -> Moved:
    """Round the matrices of a network with an lm head, in place and one at a time; all else becomes float32.

    network  of any floating dtype; its states in float32 are computed first, one block at a time
    ids_L    (L,) int64, the tokens on which it is tried

    Raises SettingError when the divergence is above log 1.01, and TextError for fewer than 2 tokens.
    """
    if len(ids_L) < 2:
        raise TextError(f"weights of 8 bits are tried on a text of 2 tokens or more, and this has {len(ids_L)}")
    transformer = single_stack(network.transformer, "weights of 8 bits are for one stack that writes")
    table = transformer.embeddings.tokens.weight
    exact_LD = in_float32(transformer, ids_L)
    _round(transformer)
    transformer.embeddings.tokens = Int8Table(table)  # type: ignore[assignment]
    for rest in network.parameters():
        rest.data = rest.data.float()
    moved = _moved(network, ids_L, exact_LD, table)
    if not moved.divergence <= MOST:
        raise SettingError(
            f"with weights of 8 bits this model says other things: on {moved.tokens} tokens its distributions move "
            f"by {moved.divergence:.4f} nats a token (perplexity {moved.before:.2f} becomes {moved.after:.2f}), "
            f'and {MOST:.4f} is allowed; use dtype="bfloat16", or a probe that is more like what it is to write'
        )
    return moved


def in_float32(transformer: Transformer, ids_L: Tensor) -> Tensor:
    """The last states (L, D) of a text in float32, of a network of any dtype: a block is cast at a time."""
    known, rows_L = torch.unique(ids_L, return_inverse=True)
    embeddings = transformer.embeddings
    cast = _floats(embeddings, {"tokens.weight": embeddings.tokens.weight[known]})
    hidden_BLD = functional_call(embeddings, cast, (rows_L[None], None, None, None))
    views = transformer.views(None, hidden_BLD)
    for number, seen in zip(transformer.architecture.schedule, views, strict=True):
        block = transformer.blocks[number]
        hidden_BLD = functional_call(block, _floats(block), (hidden_BLD, seen))
    if transformer.final_norm is not None:
        hidden_BLD = functional_call(transformer.final_norm, _floats(transformer.final_norm), (hidden_BLD,))
    last_LD: Tensor = hidden_BLD[0]
    return last_LD


def _floats(module: nn.Module, replaced: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in (module.state_dict() | (replaced or {})).items()}


def _round(module: nn.Module) -> None:
    """Replace every linear map by one of int8 integers."""
    for name, part in module.named_children():
        if isinstance(part, nn.Linear):
            setattr(module, name, Int8Linear(part))
        else:
            _round(part)


def _moved(network: Network, ids_L: Tensor, exact_LD: Tensor, table: Tensor) -> Moved:
    """Compare a rounded network with its states and its table before."""
    head: LMHead = network.head["lm"]  # type: ignore[assignment]
    states_LD = network.transformer(ids_L[None]).last_hidden_state[0]
    divergence = before = after = 0.0
    for start in range(0, len(ids_L), AT_ONCE):
        at = slice(start, start + AT_ONCE)
        transformed = head.transformed(exact_LD[at])
        logits = torch.cat([F.linear(transformed, table[rows].float()) for rows in parts(table)], 1) + head.bias
        exact_LV = logits.log_softmax(-1)
        rounded_LV = head.decode(states_LD[at], network.transformer).log_softmax(-1)
        divergence += float((exact_LV.exp() * (exact_LV - rounded_LV)).sum())
        next_L = ids_L[start + 1 : start + 1 + AT_ONCE]
        before += float(F.nll_loss(exact_LV[: len(next_L)], next_L, reduction="sum"))
        after += float(F.nll_loss(rounded_LV[: len(next_L)], next_L, reduction="sum"))
    pairs = len(ids_L) - 1
    return Moved(divergence / len(ids_L), _perplexity(before / pairs), _perplexity(after / pairs), len(ids_L))


def _perplexity(nats: float) -> float:
    return math.exp(nats) if nats < 700 else math.inf
