"""Replaced-token detection (`rtd`): which of these tokens were put in by a smaller network? (ELECTRA, section 2.)

A generator, a masked language model, fills the blanks by sampling; the discriminator says of every
token whether it stood there. Both learn at once, each from its own loss: nothing flows through a sample.

Letters: B batch, L length, N tokens asked for, V tokens, E width of the tables.
"""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sijo.errors import SettingError
from sijo.nn.heads import Network
from sijo.objectives.joint import TrainingObjective, head_input
from sijo.objectives.mlm import MaskedLM
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.tally import Tally, binary, cross_entropy
from sijo.random import rng

Sharing = Literal["tied", "none", "gdes"]


class OffsetTable(nn.Module):
    """A discriminator's table under gradient-disentangled sharing: E_D = stop_gradient(E_G) + E_delta.

    The masked loss moves E_G and the replaced loss E_delta, each alone, so that the two do not pull
    one table apart. Source: DeBERTaV3 (He et al. 2021, arXiv:2111.09543), section 3.3.

    base   the generator's table
    start  what the discriminator's is at first, (V, E); None for the generator's

    >>> table = nn.Embedding(5, 2)
    >>> bool((OffsetTable(table)(torch.tensor([3])) == table(torch.tensor([3]))).all())
    True
    """

    def __init__(self, base: nn.Embedding, start: Tensor | None = None) -> None:
        super().__init__()
        self.base = (base,)  # in a tuple, so that torch does not register it: it is the generator's
        delta = torch.zeros_like(base.weight) if start is None else start.detach() - base.weight.detach()
        self.delta = nn.Parameter(delta)

    @property
    def weight(self) -> Tensor:
        """The merged table (V, E), as it is exported."""
        return self.base[0].weight.detach() + self.delta

    def forward(self, input_ids: Tensor) -> Tensor:
        """Rows of the merged table; the sum is formed for these rows alone."""
        return F.embedding(input_ids, self.base[0].weight.detach()) + F.embedding(input_ids, self.delta)


def share_tables(generator: Network, discriminator: Network, sharing: Sharing, *, started: bool = False) -> None:
    """Let a discriminator use its generator's tables.

    sharing  "tied": one table of tokens, places and segments, and one norm over their sum, with both
             gradients (ELECTRA); "gdes": tables of tokens and places with an offset (DeBERTaV3); "none"
    started  whether the discriminator's tables hold something learned. Under "gdes" its offset then begins as the
             difference, which the released code forgets when it continues from published weights (docs/deberta.md)
    """
    small, large = generator.transformer.embeddings, discriminator.transformer.embeddings
    for name in ("tokens", "places", "segments", "norm") if sharing == "tied" else ("tokens", "places"):
        ours, theirs = getattr(small, name), getattr(large, name)
        alike = ours is not None and theirs is not None and ours.weight.shape == theirs.weight.shape
        if sharing == "none" or not alike or not ours.weight.requires_grad:
            continue
        kept = theirs.weight if started else None
        setattr(large, name, ours if sharing == "tied" else OffsetTable(ours, kept))


class ReplacedTokenDetection(TrainingObjective):
    """Spot the tokens that a small masked model guessed in place of the real ones.

    Needs      two networks over one vocabulary, with the heads `mlm` and `rtd`
    Keeps      both; the discriminator is what one is after
    Parts      mlm: the generator's loss of each token asked for; rtd: the discriminator's of each real
               token, special ones included
    Neighbours `MaskedLM` for the generator alone
    Source     Clark et al. 2020 (arXiv:2003.10555), section 2; `sharing="gdes"` is DeBERTaV3's
    """

    def __init__(
        self,
        generator: Network,
        discriminator: Network,
        masked: MaskedLM,
        *,
        sharing: Sharing = "tied",
        weight: float = 50.0,
        started: bool = False,
    ) -> None:
        """weight   of the discriminator's loss beside the generator's: 50 in both papers
        started  as for `share_tables`"""
        super().__init__()
        small, large = generator.architecture, discriminator.architecture
        for what in ("vocab_size", "embedding_size") if sharing != "none" else ("vocab_size",):
            one, other = getattr(small, what), getattr(large, what)
            if one != other:
                or_else = "" if what == "vocab_size" else ', or use objective.sharing="none"'
                raise SettingError(
                    f"generator.{what}={one} and model.{what}={other} differ, so the two cannot read with one "
                    f"table; make them alike{or_else}"
                )
        self.generator = generator
        self.discriminator = discriminator
        self.masked = masked
        self.weights = {"mlm": 1.0, "rtd": weight}
        self.asked = masked.masking.share
        share_tables(generator, discriminator, sharing, started=started)

    def pose(self, question: PosedBatch, seed: int) -> PosedBatch:
        """Hide tokens, and throw the dice for what is put in their place."""
        posed = self.masked.pose(question, seed)
        width = posed.input_ids.shape[1]
        dice = [torch.from_numpy(rng(seed, "replace", *map(int, n)).random(width)) for n in posed.numbers]
        return replace(posed, dice=torch.stack(dice))

    def forward(self, question: PosedBatch) -> dict[str, Tally]:
        """The generator's and the discriminator's tallies."""
        head = self.generator.head["mlm"]
        logits = self.masked.logits(head, head_input(self.generator, question, head), question)  # type: ignore[arg-type]
        replaced = self.put_in(question, logits.detach())
        fake_BL = replaced != question.truth  # a lucky guess is a real token
        score_BL = self.scores(replace(question, input_ids=replaced))
        return {
            "mlm": cross_entropy(logits, question.truth[question.asked]),
            "rtd": binary(score_BL[question.keep], fake_BL[question.keep]),
        }

    def put_in(self, question: PosedBatch, logits: Tensor) -> Tensor:
        """The ids (B, L) that the discriminator reads: for each token asked for, one draw from logits (N, V)."""
        assert question.dice is not None
        ids = question.truth.clone()
        ids[question.asked] = sample_tokens(logits, question.dice[question.asked])
        return ids

    def counts(self, question: PosedBatch) -> dict[str, int]:
        """How much each part is asked, in a batch or a piece of one."""
        return {"mlm": int(question.asked.sum()), "rtd": int(question.keep.sum())}

    def scores(self, question: PosedBatch) -> Tensor:
        """The discriminator's logits (B, L) that a token was put in."""
        scores: Tensor = self.discriminator.head["rtd"](head_input(self.discriminator, question))
        return scores

    def networks(self) -> dict[str, dict[str, Tensor]]:
        """What is worth keeping: the weights of both networks by their own names, tables merged."""
        kept = {"generator": self.generator.state_dict(), "discriminator": self.discriminator.state_dict()}
        for name, part in self.discriminator.named_modules():
            if isinstance(part, OffsetTable):
                del kept["discriminator"][f"{name}.delta"]
                kept["discriminator"][f"{name}.weight"] = part.weight
        return kept


def sample_tokens(logits: Tensor, dice: Tensor) -> Tensor:
    """One token from each row's softmax, by a throw in [0, 1).

    logits  (N, V) float
    dice    (N,) float64

    Returns (N,) int64. In float64: the sum of 128,000 probabilities in float32 may end short of a throw.

    >>> logits, uniforms = torch.tensor([[0.0, 0.0], [0.0, 9.0]]), torch.tensor([0.2, 0.2])
    >>> sample_tokens(logits, uniforms.double()).tolist()
    [0, 1]
    """
    edges = logits.double().softmax(-1).cumsum(-1)
    throw = dice.to(edges.device, torch.float64)[:, None] * edges[:, -1:]  # the last edge may be 1 - 1e-16
    return torch.searchsorted(edges, throw, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
