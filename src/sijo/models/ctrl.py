"""CTRL (Keskar et al. 2019, arXiv:1909.05858): it reads to the left and writes under a control code.

Positions are waves with all sines before all cosines, tokens are multiplied by the root of the
width, LayerNorm stands before each part, and the output is the table of tokens with a bias.
"""

from collections.abc import Mapping
from typing import ClassVar

from sijo.models.family import Config, DropoutShare, Eps, Family, Layers, Layout, Names, Size, per_block
from sijo.nn.architecture import Architecture, DropoutRates, PreNorm, Sinusoidal
from sijo.nn.head_specs import ClassifierHeadSpec, HeadSpec, LMHeadSpec
from sijo.tokenizers.style import CTRL_TOKENS, TokenizerStyle

INNER_EPS = 1e-6
"""Of the norms inside a layer, whatever the config says: `layer_norm_epsilon` is the last one's alone."""


class CtrlConfig(Config):
    """What a CTRL's config.json says."""

    what = "CTRL"
    plain: ClassVar[Names] = {
        "vocab_size": "vocab_size",
        "n_embd": "hidden_size",
        "n_layer": "layers",
        "n_head": "heads",
        "dff": "intermediate_size",
        "resid_pdrop": "dropout.hidden",
        "embd_pdrop": "dropout.embeddings",
        "initializer_range": "initializer_range",
    }
    aliases: ClassVar[Names] = {
        "max_position_embeddings": "n_positions",
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

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


NAMES: Names = {
    "embeddings.tokens": "w",
    "blocks.{n}.attention.query": "h.{n}.multi_head_attention.Wq",
    "blocks.{n}.attention.key": "h.{n}.multi_head_attention.Wk",
    "blocks.{n}.attention.value": "h.{n}.multi_head_attention.Wv",
    "blocks.{n}.attention.out": "h.{n}.multi_head_attention.dense",
    "blocks.{n}.attention_norm": "h.{n}.layernorm1",
    "blocks.{n}.widen": "h.{n}.ffn.0",
    "blocks.{n}.narrow": "h.{n}.ffn.2",
    "blocks.{n}.output_norm": "h.{n}.layernorm2",
    "final_norm": "layernorm",
}

WORD_PAIRS = TokenizerStyle(name="ctrl", kind="bpe", special=CTRL_TOKENS, last=("<unk>", "\n"), strips_mask=True)

FAMILY = Family(
    model_type="ctrl",
    stem="CTRL",
    config=CtrlConfig,
    prefix="transformer.",
    roots=("w", "h", "layernorm", "pos_encoding"),
    names=lambda config: per_block(NAMES, config.n_layer),
    layouts=lambda config: (
        Layout(
            "lm",
            lambda config: LMHeadSpec(),
            {"bias": "lm_head.bias"},
            copies={"lm_head.weight": "transformer.w.weight"},
        ),
        Layout(
            "sequence-classification",
            lambda config: ClassifierHeadSpec(labels=len(config.labels), reads="last", bias=False),
            {"out": "classifier"},
        ),
    ),
    left_behind=("pos_encoding",),
    sizes={"ctrl": {"n_positions": 50_000}, "ctrl-36-layers": {"n_positions": 50_000, "n_layer": 36}},
    tokenizers=(WORD_PAIRS,),
    vocabularies={"vocab.json": WORD_PAIRS},
)
