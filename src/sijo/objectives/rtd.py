"""Replaced-token detection (`rtd`): which of these tokens were put in by a smaller network? (ELECTRA, section 2.)

A generator, a masked language model, replaces the masked tokens by sampling; the discriminator predicts of every
token whether it was replaced. Both learn at once, each from its own loss: no gradient flows through a sample.

Letters: B batch, L length, V tokens, E width of the tables.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sijo.errors import SettingError
from sijo.nn.heads import Network
from sijo.objectives.mlm import MaskedLM
from sijo.objectives.objective import TrainingObjective, head_input
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.settings import ObjectiveSettings, Sharing
from sijo.objectives.tally import Tally, binary
from sijo.objectives.token_loss import predict_targets
from sijo.random import rng
from sijo.tokenizers.tokenizer import Tokenizer


class OffsetTable(nn.Module):
    """A discriminator's table under gradient-disentangled sharing: E_D = stop_gradient(E_G) + E_delta.

    The masked loss alone updates E_G and the replaced loss alone E_delta, so that the two losses do not compete for
    one table. Source: DeBERTaV3 (He et al. 2021, arXiv:2111.09543), section 3.3.

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
    """Detect the tokens that a small masked model sampled in place of the real ones.

    Needs      two networks over one vocabulary, with the heads `mlm` and `rtd`
    Keeps      both; the discriminator is the model to use
    Parts      mlm: the generator's loss of each masked token; rtd: the discriminator's of each real
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
            if (ours := getattr(small, what)) != (theirs := getattr(large, what)):
                or_else = "" if what == "vocab_size" else ', or use objective.sharing="none"'
                raise SettingError(
                    f"generator.{what}={ours} and model.{what}={theirs} differ, so the two cannot read with one "
                    f"table; make them alike{or_else}"
                )
        self.generator = generator
        self.discriminator = discriminator
        self.masked = masked
        self.weights = {"mlm": 1.0, "rtd": weight}
        self.share = masked.share
        share_tables(generator, discriminator, sharing, started=started)

    @classmethod
    def build(
        cls,
        networks: Mapping[str, Network],
        settings: ObjectiveSettings,
        tokenizer: Tokenizer,
        counts: np.ndarray | None,
        started: bool,
    ) -> "ReplacedTokenDetection":
        """The objective of a run."""
        pair = networks["generator"], networks["discriminator"]
        masked = MaskedLM.build(settings, tokenizer, counts)
        return cls(*pair, masked, sharing=settings.sharing, weight=settings.weight, started=started)

    def pose(self, batch: PosedBatch, seed: int) -> PosedBatch:
        """Hide tokens, and draw the numbers by which the generator's tokens are sampled."""
        posed = self.masked.pose(batch, seed)
        width = posed.input_ids.shape[1]
        uniforms = [torch.from_numpy(rng(seed, "replace", *map(int, n)).random(width)) for n in posed.numbers]
        return replace(posed, uniforms=torch.stack(uniforms))

    def forward(self, posed: PosedBatch) -> dict[str, Tally]:
        """The generator's and the discriminator's tallies."""
        predicted, replaced, score_BL = self._read(posed)
        fake_BL = replaced != posed.targets  # a correct guess is a real token
        return {"mlm": predicted, "rtd": binary(score_BL[posed.keep], fake_BL[posed.keep])}

    def _read(self, posed: PosedBatch) -> tuple[Tally, Tensor, Tensor]:
        """The generator's tally, the ids (B, L) with its samples, and the discriminator's logits (B, L)."""
        assert posed.uniforms is not None
        head: Any = self.generator.head["mlm"]
        read = head_input(self.generator, posed, head, wanted=posed.target_mask)
        predicted = predict_targets(head, read, posed, posed.uniforms[posed.target_mask])
        assert predicted.drawn is not None
        replaced = posed.targets.clone()
        replaced[posed.target_mask] = predicted.drawn
        return predicted.tally, replaced, self.scores(replace(posed, input_ids=replaced))

    def counts(self, posed: PosedBatch) -> dict[str, int]:
        """The number of targets of each part, in a batch or a piece of one."""
        return {"mlm": int(posed.target_mask.sum()), "rtd": int(posed.keep.sum())}

    def scores(self, posed: PosedBatch) -> Tensor:
        """The discriminator's logits (B, L) that a token was replaced."""
        scores: Tensor = self.discriminator.head["rtd"](head_input(self.discriminator, posed))
        return scores

    def example(self, posed: PosedBatch) -> dict[str, Any]:
        """A text with the sampled tokens, and the probability of each that it was replaced."""
        _, shown, score_BL = self._read(posed)
        length = posed.lengths[0]
        text, truth, target_mask = (part[0, :length].tolist() for part in (shown, posed.targets, posed.target_mask))
        return {
            "objective": "rtd",
            "text": text,
            "asked": target_mask,
            "truth": truth,
            "guess": [token if is_target else None for token, is_target in zip(text, target_mask, strict=True)],
            "replaced": [token != real for token, real in zip(text, truth, strict=True)],
            "spotted": [round(probability, 4) for probability in score_BL.sigmoid()[0, :length].tolist()],
        }

    def networks(self) -> dict[str, Network]:
        """Both networks."""
        return {"generator": self.generator, "discriminator": self.discriminator}

    def merge(self) -> None:
        """Put a plain table in place of each with an offset, its sum."""
        embeddings = self.discriminator.transformer.embeddings
        for name, part in list(embeddings.named_children()):
            if isinstance(part, OffsetTable):
                rows, width = part.weight.shape
                setattr(embeddings, name, nn.Embedding(rows, width, _weight=part.weight.detach()))
