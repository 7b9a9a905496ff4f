"""CTRL (Keskar et al. 2019, arXiv:1909.05858): it reads to the left and writes under a control code.

Positions are waves with all sines before all cosines, tokens are multiplied by the root of the
width, LayerNorm stands before each part, and the output is the table of tokens with a bias.
"""

from collections.abc import Mapping
from typing import ClassVar

from sijo.models.family import (
    Config,
    DropoutShare,
    Eps,
    HeadMaker,
    Layers,
    Names,
    Size,
    published_family,
    read_facts,
)
from sijo.nn.architecture import Architecture, DropoutRates, PreNorm, Sinusoidal
from sijo.nn.head_specs import ClassifierHeadSpec, HeadSpec, LMHeadSpec

FACTS = read_facts("ctrl")
INNER_EPS = 1e-6
"""Of the norms inside a layer, whatever the config says: `layer_norm_epsilon` is the last one's alone."""


class CtrlConfig(Config):
    """What a CTRL's config.json says."""

    what = "CTRL"
    plain: ClassVar[Names] = FACTS["plain"]
    aliases: ClassVar[Names] = FACTS["aliases"]

    vocab_size: Size = 246_534
    n_positions: Size = 256
    n_embd: Size = 1280
    dff: Size = 8192
    n_layer: Layers = 48
    n_head: Size = 16
    resid_pdrop: DropoutShare = 0.1
    embd_pdrop: DropoutShare = 0.1
    layer_norm_epsilon: Eps = 1e-6

    def architecture(self) -> Architecture:
        drop = self.resid_pdrop
        return Architecture(
            **self.same(),
            positions=Sinusoidal(count=self.n_positions, layout="halves"),
            reads="left",
            entry="scale",
            activation="relu",
            norm=PreNorm(eps=INNER_EPS, final_eps=self.layer_norm_epsilon),
            dropout=DropoutRates(embeddings=self.embd_pdrop, attention=0.0, attention_output=drop, hidden=drop),
        )

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        norm = architecture.norm
        return super().fields(architecture, heads) | {
            "n_positions": architecture.places or 256,
            "layer_norm_epsilon": norm.final_eps if isinstance(norm, PreNorm) else norm.eps,
        }


MAKERS: dict[str, HeadMaker] = {
    "lm": lambda config: LMHeadSpec(),
    "sequence-classification": lambda config: ClassifierHeadSpec(
        labels=len(config.labels), reads="last", bias=False
    ),
}
FAMILY = published_family(CtrlConfig, FACTS, MAKERS)
