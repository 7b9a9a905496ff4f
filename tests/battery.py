"""What every architecture must pass: made-up configs of each family, and the checks that all of them go through.

A family is a row of `sijo.models.FAMILIES`; its configs are drawn here by `SETTINGS`, and a family without an
entry there fails. The public model of a config, with every weight set, is the truth; where there is no public
model (mixes, DeBERTa's own heads) it is the plain numbers in `reference/`. Numbers are compared after every
layer, at real tokens.

    python tests/battery.py      prints the largest gap of each family
"""

import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from reference import network as plain
from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import Model, load
from sijo.checkpoints.names import NameTable
from sijo.checkpoints.save import save
from sijo.models import FAMILIES
from sijo.models.family import HEADS, Layout
from sijo.models.mix import plainest
from sijo.nn.architecture import (
    BIAS_PLACES,
    Architecture,
    ConvolutionSpec,
    Disentangled,
    Learned,
    PostNorm,
    PreNorm,
    RelativeBias,
    Rotary,
    Sinusoidal,
    Window,
)
from sijo.nn.decoder import shifted
from sijo.nn.encoder_decoder import EncoderDecoder
from sijo.nn.head_specs import OPEN_LABELS, POOLER, LMHeadSpec, OnePassHeadSpec

FLOAT_GAP, DOUBLE_GAP = 1e-4, 1e-9
SHORT = (1, 2, 4, 5, 7, 9)
"""Lengths in tokens of the cases that are computed in plain numbers."""
BENDS = ("gelu", "gelu_new", "relu")
EPS = (1e-12, 1e-7, 1e-5, 1e-2)
# buckets and span; more than one span fits one number of buckets
BUCKETS = ((0, 7), (0, 33), (8, 32), (16, 64), (32, 128), (6, 19), (64, 256), (256, 512), (4, 7))


def scramble(model, size=0.3):
    """Set every weight: near 1 in norms and near 0 elsewhere, by `size`.

    Fresh biases are all 0 and fresh norms all 1, so untouched they hide a swap.
    """
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=chance, dtype=torch.float64) * size
            weight.copy_(noise + (weight.dim() == 1 and name.endswith("weight")))
    return model.eval()


class Chance:
    """Seeded draws. Choices are dealt as from a shuffled deck: all come up before one comes back."""

    def __init__(self, seed: str) -> None:
        self.seed, self.others = seed, dict[str, Chance]()
        self.random = random.Random(seed)
        self.decks: dict[str, list[Any]] = {}
        self.dealt: dict[str, list[Any]] = defaultdict(list)

    def deal(self, name: str, values: tuple[Any, ...]) -> Any:
        deck = self.decks.setdefault(name, [])
        if not deck:
            deck.extend(values)
            self.random.shuffle(deck)
        self.dealt[name].append(deck.pop())
        return self.dealt[name][-1]

    def beside(self, name: str) -> "Chance":
        """Draws of their own, which leave the others as they were."""
        return self.others.setdefault(name, Chance(f"{self.seed} {name}"))

    def between(self, low: int, high: int) -> int:
        return self.random.randint(low, high)


# ---------------------------------------------------------------------- configs


def bert(chance: Chance, length: int) -> dict[str, Any]:
    heads = chance.deal("heads", (1, 2, 3, 4, 5))
    return {
        "vocab_size": chance.between(61, 131),
        "hidden_size": heads * chance.deal("width of a head", (5, 7, 8, 9)) if heads > 1 else 11,
        "num_attention_heads": heads,
        "num_hidden_layers": chance.deal("layers", (1, 2, 3, 4)),
        "intermediate_size": chance.between(11, 67),
        "max_position_embeddings": length + chance.deal("spare places", (0, 1, 9)),
        "type_vocab_size": chance.deal("segments", (1, 2, 3)),
        "hidden_act": chance.deal("activation", BENDS),
        "layer_norm_eps": chance.deal("eps", EPS),
        "hidden_dropout_prob": chance.deal("dropout", (0.0, 0.1, 0.5)),
        "attention_probs_dropout_prob": 0.1,
    }


def narrow(chance: Chance, fields: dict[str, Any]) -> int:
    """The width of the tables: that of the hidden states, less, or more."""
    hidden = fields["hidden_size"]
    return chance.deal("table", (hidden, max(hidden - 3, 8) if hidden != 11 else 8, hidden + 3))


def roberta(chance: Chance, length: int) -> dict[str, Any]:
    fields, pad = bert(chance, length), chance.deal("row of padding", (1, 0, 1, 3))
    return fields | {
        "max_position_embeddings": fields["max_position_embeddings"] + pad + 1,
        "pad_token_id": pad,
        "classifier_dropout": chance.deal("classifier dropout", (None, 0.2)),
    }


def mpnet(chance: Chance, length: int) -> dict[str, Any]:
    fields = bert(chance, length)
    del fields["type_vocab_size"]
    return fields | {"max_position_embeddings": fields["max_position_embeddings"] + 2, "pad_token_id": 1}


def albert(chance: Chance, length: int) -> dict[str, Any]:
    fields = bert(chance, length)
    groups = chance.deal("groups", (1, 2, 3))
    return fields | {
        "embedding_size": narrow(chance, fields),
        "num_hidden_groups": groups,
        "num_hidden_layers": groups * chance.deal("layers of a group", (1, 2)),
        "inner_group_num": chance.deal("inner", (1, 2, 3)),
        "classifier_dropout_prob": 0.1,
    }


def electra(chance: Chance, length: int) -> dict[str, Any]:
    fields = bert(chance, length)
    return fields | {
        "embedding_size": narrow(chance, fields),
        "classifier_dropout": chance.deal("classifier dropout", (None, 0.2)),
        "summary_activation": chance.deal("summary", ("gelu", "tanh", "relu")),
    }


def distilbert(chance: Chance, length: int) -> dict[str, Any]:
    like = bert(chance, length)
    return {
        "vocab_size": like["vocab_size"],
        "dim": like["hidden_size"],
        "n_heads": like["num_attention_heads"],
        "n_layers": like["num_hidden_layers"],
        "hidden_dim": like["intermediate_size"],
        "max_position_embeddings": like["max_position_embeddings"],
        "activation": like["hidden_act"],
        "sinusoidal_pos_embds": chance.deal("waves", (False, True)),
        "qa_dropout": 0.3,
    }


def ctrl(chance: Chance, length: int) -> dict[str, Any]:
    like = bert(chance, length)
    return {
        "vocab_size": like["vocab_size"],
        "n_embd": like["hidden_size"],
        "n_head": like["num_attention_heads"],
        "n_layer": like["num_hidden_layers"],
        "dff": like["intermediate_size"],
        "n_positions": like["max_position_embeddings"],
        "layer_norm_epsilon": like["layer_norm_eps"],
        "pad_token_id": 0,
    }


def deberta(chance: Chance, length: int) -> dict[str, Any]:
    fields = bert(chance, length)
    biased = chance.deal("places in the input", (False, True, False))
    span = chance.deal("span", (4, 9, 33, 600))
    return fields | {
        "embedding_size": narrow(chance, fields),
        "type_vocab_size": chance.deal("segments, or none", (0, 2, 3)),
        "relative_attention": True,
        "position_biased_input": biased,
        "max_position_embeddings": fields["max_position_embeddings"] if biased else span,
        "max_relative_positions": chance.deal("span by itself", (-1, span)),
        "pos_att_type": chance.deal("terms", ("c2p|p2c", ["p2c", "c2p"], "c2p", ["p2c"], [], None)),
        "pooler_hidden_act": chance.deal("pooler", ("gelu", "tanh")),
        "cls_dropout": 0.2,
    }


def deberta_v2(chance: Chance, length: int) -> dict[str, Any]:
    fields = deberta(chance, length)
    buckets, span = chance.deal("buckets", BUCKETS)
    groups = tuple(n for n in (1, 2, 3, 5) if fields["hidden_size"] % n == 0)
    small, large = {"conv_kernel_size": 3, "conv_act": "gelu"}, {"conv_kernel_size": 5}
    convolution = dict(chance.deal("convolution", ({}, small, large)))
    if convolution:
        convolution |= {"conv_groups": groups[chance.between(0, len(groups) - 1)]}
    if not buckets and fields["max_relative_positions"] == -1:
        span = fields["max_position_embeddings"]
    elif buckets and not fields["position_biased_input"]:
        fields["max_position_embeddings"] = span
    return (
        fields
        | {
            "position_buckets": buckets or chance.deal("no buckets", (-1, 0)),
            "max_relative_positions": span,
            "share_att_key": chance.deal("shared", (True, False)),
            "norm_rel_ebd": chance.deal("norm of distances", ("layer_norm", "none")),
        }
        | convolution
    )


def modernbert(chance: Chance, length: int) -> dict[str, Any]:
    """In the form of the first released code, or in that of the newest."""
    heads, layers = chance.deal("heads", (1, 2, 3, 5)), chance.deal("layers", (2, 3, 4, 5))
    kinds = ("full_attention", "sliding_attention")
    bases = chance.deal("bases", ((160_000.0, 10_000.0), (80.0, 7.0), (10_000.0, 500.0)))
    pattern = chance.deal("pattern", ((0, 1), (1, 0), (1,), (0, 0, 1), (0,)))
    form: dict[str, Any] = {"global_rope_theta": bases[0], "local_rope_theta": bases[1]}
    form |= {"global_attn_every_n_layers": chance.deal("every", (1, 2, 3))}
    if chance.deal("form", (True, False)):
        types = [kinds[pattern[layer % len(pattern)]] for layer in range(layers)]
        rotary = {kinds[n]: {"rope_type": "default", "rope_theta": base} for n, base in enumerate(bases)}
        form = {"rope_parameters": rotary, "layer_types": types}
    return form | {
        "vocab_size": chance.between(61, 131),
        "hidden_size": heads * chance.deal("width of a head", (4, 6, 8, 10)) if heads > 1 else 12,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "intermediate_size": chance.between(11, 67),
        "max_position_embeddings": length + chance.deal("spare places", (0, 1, 9)),
        "local_attention": chance.deal("window", (2, 5, 8, 16, 128)),
        "hidden_activation": chance.deal("activation", BENDS),
        "norm_eps": chance.deal("eps", (1e-7, 1e-5, 1e-2)),
        **{
            f"{part}_bias": chance.deal(f"{part} bias", (False, True, False))
            for part in ("norm", "attention", "mlp")
        },
        "classifier_bias": chance.deal("classifier bias", (False, True)),
        "classifier_pooling": chance.deal("pooling", ("cls", "mean")),
        "classifier_activation": chance.deal("classifier", ("gelu", "silu", "relu")),
        "mlp_dropout": chance.deal("dropout", (0.0, 0.1)),
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0),
    }


def modern_parts(chance: Chance, a: Architecture) -> Architecture:
    """The same with some of ModernBERT's parts, which a mix may have one by one."""
    rotary = chance.deal("rotary", (Rotary(count=1, base=50.0, local_base=7.0), None, Rotary(count=1)))
    if rotary is not None:
        wide = 8 * a.heads
        a = replace(a, hidden_size=wide, embedding_size=a.embedding_size if a.widening else wide, distances=None)
    if chance.deal("bare first", (True, False, False)):
        norm = PreNorm(eps=a.norm.eps, final_eps=1e-3, first="none")
        a = replace(a, schedule=tuple(range(a.blocks)), norm=norm)
    reach, pattern = chance.deal(
        "window", ((1, ("local",)), (3, ("global", "local")), (2, ("local", "global")), (0, ()))
    )
    return replace(
        a,
        rotary=rotary,
        window=Window(reach=reach, pattern=pattern) if reach else None,
        feed_forward=chance.deal("feed-forward", ("plain", "gated")),
        biases=chance.deal(
            "biases", (BIAS_PLACES, (), ("norm",), ("attention", "feed_forward"), ("feed_forward",))
        ),
    )


def gliclass(chance: Chance, length: int) -> dict[str, Any]:
    """Over an encoder of another family, whose config is drawn as that one's are."""
    encoder = chance.deal("encoder", ("deberta-v2", "electra", "modernbert"))  # no pooler, which is no part of it
    inner = SETTINGS[encoder](chance.beside(encoder), max(length, 4))
    pooling = chance.deal("text", ("first", "avg", "max", "last"))
    scorer = chance.deal("scorer", ("simple", "mlp", "mlp"))
    vocabulary = inner["vocab_size"]
    return {
        "encoder_config": {"model_type": encoder, **inner},
        "encoder_model": "made up",
        "vocab_size": vocabulary + chance.deal("rows more", (0, 3)),
        "class_token_index": vocabulary - 3,
        "text_token_index": vocabulary - 2,
        "hidden_size": chance.between(9, 40) if scorer == "simple" else inner["hidden_size"],
        "scorer_type": scorer,
        "pooling_strategy": pooling,
        "class_token_pooling": chance.deal("label", ("first", "average")),
        "extract_text_features": pooling == "first" and chance.deal("from the mark", (True, False)),
        "normalize_features": chance.deal("unit", (True, False, False)),
        "logit_scale_init_value": 1.5,
        "prompt_first": chance.deal("prompt first", (True, False)),
        "projector_hidden_act": chance.deal("projector", BENDS),
        "scorer_mlp_hidden_size": 17,
    }


def mix(chance: Chance, length: int) -> dict[str, Any]:
    """An architecture that nobody published, out of all there is to choose from."""
    like = bert(chance, length)
    hidden, blocks = like["hidden_size"], like["num_hidden_layers"]
    table = narrow(chance, like)
    widenings = ("after_norm", "before_norm") if table != hidden else (None, "after_norm", "before_norm")
    places = like["max_position_embeddings"]
    buckets, span = chance.deal("buckets", BUCKETS[:6])
    apart = Disentangled(
        span=span,
        buckets=buckets,
        terms=chance.deal("terms", ((), ("c2p",), ("p2c",), ("c2p", "p2c"))),
        projections=chance.deal("projections", ("shared", "own")),
        norm=chance.deal("norm of distances", ("layer_norm", "none")),
        key_bias=chance.deal("key bias", (True, False)),
    )
    eps = like["layer_norm_eps"]
    architecture = Architecture(
        vocab_size=like["vocab_size"],
        embedding_size=table,
        hidden_size=hidden,
        heads=like["num_attention_heads"],
        intermediate_size=like["intermediate_size"],
        schedule=chance.deal(
            "schedule",
            (tuple(range(blocks)), (0,) * (blocks + 1), (*range(blocks), *range(blocks)[::-1]), (0, 0, 1, 0)),
        ),
        positions=chance.deal(
            "positions",
            (
                None,
                Learned(count=1),
                Sinusoidal(count=1, layout="interleaved"),
                Sinusoidal(count=1, layout="halves"),
                Learned(count=4, padding=2),
            ),
        ),
        distances=(far := (chance.deal("distances", (True, False, True)) and apart) or None),
        relative_bias=None if far else chance.deal("bias", (RelativeBias(buckets=8, span=6), None, RelativeBias())),
        token_types=chance.deal("segments, or none", (0, 2, 3)),
        reads=chance.deal("reads", ("both_sides", "left")),
        entry=chance.deal("entry", ("norm", "scale")),
        widening=widenings[chance.between(0, len(widenings) - 1)],
        convolution=chance.deal(
            "convolution", (None, ConvolutionSpec(), ConvolutionSpec(kernel=5, activation="relu"))
        ),
        activation=chance.deal("bend", ("gelu", "gelu_new", "relu", "silu", "tanh", "linear")),
        norm=chance.deal("norm", (PostNorm(eps=eps), PreNorm(eps=eps, final_eps=1e-3))),
    )
    modern = chance.beside("modern parts")
    if modern.deal("modern", (True, False)):
        architecture = modern_parts(modern, architecture)
    if architecture.rotary is not None:
        architecture = replace(architecture, rotary=replace(architecture.rotary, count=places))
    if architecture.positions is not None:
        more = architecture.positions.count - 1
        architecture = replace(architecture, positions=replace(architecture.positions, count=places + more))
    return {"network": asdict(architecture)}


def bart(chance: Chance, length: int) -> dict[str, Any]:
    like, second = bert(chance, length), chance.deal("heads of the decoder", (1, 2, 3))
    heads = like["num_attention_heads"]
    width = heads * second * chance.deal("width of a part", (3, 4)) if like["hidden_size"] != 11 else 12
    return {
        "vocab_size": like["vocab_size"],
        "d_model": width,
        "encoder_layers": like["num_hidden_layers"],
        "encoder_attention_heads": heads,
        "encoder_ffn_dim": like["intermediate_size"],
        "decoder_layers": chance.deal("layers of the decoder", (1, 2, 3)),
        "decoder_attention_heads": second,
        "decoder_ffn_dim": chance.between(11, 67),
        "max_position_embeddings": like["max_position_embeddings"],
        "activation_function": like["hidden_act"],
        "scale_embedding": chance.deal("scale", (False, True)),
        "decoder_start_token_id": chance.deal("start", (2, 5, 3)),
        "eos_token_id": chance.deal("end", (2, 7)),
        "pad_token_id": 0,
        "dropout": like["hidden_dropout_prob"],
        "activation_dropout": chance.deal("inner dropout", (0.0, 0.1)),
        "classifier_dropout": chance.deal("classifier dropout", (0.0, 0.2)),
    }


SETTINGS: dict[str, Callable[[Chance, int], dict[str, Any]]] = {
    "bert": bert,
    "albert": albert,
    "distilbert": distilbert,
    "electra": electra,
    "deberta": deberta,
    "deberta-v2": deberta_v2,
    "ctrl": ctrl,
    "roberta": roberta,
    "xlm-roberta": roberta,
    "camembert": roberta,
    "bart": bart,
    "mpnet": mpnet,
    "modernbert": modernbert,
    "GLiClass": gliclass,
    "sijo": mix,
}
"""How a config of each family is drawn, for inputs of a given length."""


@dataclass(frozen=True)
class Series:
    """What kind of cases are drawn."""

    lengths: tuple[int, ...]
    """In tokens."""
    paddings: tuple[str, ...] = ("right", "left", "none")
    labels: tuple[int, ...] = (1, 2, 3, 5)
    cases: int = 1
    """How many of a family at the least; every way of every head comes up in any event."""
    public: bool = True
    """Whether the truth is the public model, where there is one."""


SERIES = {
    "public": Series(lengths=(1, 2, 3, 5, 9, 17, 40, 64, 101, 130, 257, 513, 600), cases=12),
    "plain": Series(lengths=SHORT, public=False),
    "lesson": Series(lengths=(9, 12, 17), paddings=("right",), labels=(2, 3, 5)),
}
"""Against the public models at all lengths; against plain numbers; and such as every weight can learn from."""
FOLDS = {"deberta": 2, "deberta-v2": 2, "modernbert": 2, "GLiClass": 4, "sijo": 2}
"""How many times the usual number of cases a family needs, for all it has to choose from."""


# ---------------------------------------------------------------------- cases


@dataclass(frozen=True)
class Case:
    """A config, one way in which a head of its family is published, and a batch."""

    model_type: str
    series: str
    number: int
    fields: dict[str, Any] = field(hash=False, compare=False)
    layout: Layout | None = field(hash=False, compare=False)
    length: int = field(compare=False)
    """Of the longest row, in tokens."""
    padding: str = field(compare=False)
    is_public: bool = field(compare=False)
    """Whether transformers has such a model."""

    def __str__(self) -> str:
        head = self.layout.name if self.layout else "no head"
        return (
            f"{self.model_type}, {self.series} {self.number}: {head}, {self.length} tokens, padding {self.padding}"
        )

    @property
    def family(self):
        return FAMILIES[self.model_type]

    @cached_property
    def config(self):
        return self.family.config.read(self.fields)

    def public(self):
        """The public model with every weight set, or None where there is none of this kind."""
        if not self.is_public:
            return None
        public = public_class(self.model_type, self.layout, self.config)
        return scramble(public(public.config_class(**deepcopy(self.fields))))

    @property
    def one_pass(self) -> OnePassHeadSpec | None:
        """The head that looks for marks, if there is one."""
        head = None if self.layout is None else self.layout.head(self.config)
        return head if isinstance(head, OnePassHeadSpec) else None

    def batch(self) -> dict[str, Tensor | None]:
        """Ids, which of them are real (None: all), and segments. Padding holds ids as well."""
        chance = torch.Generator().manual_seed(self.number)
        rows = 1 if self.length > 200 else 3
        shape = (rows, 2) if self.layout is not None and self.layout.name == "multiple-choice" else (rows,)
        real = torch.randint(1, self.length + 1, shape, generator=chance)
        real.view(-1)[0] = self.length if rows > 1 else max(self.length - 3, 1)
        places = torch.arange(self.length)
        keep = places < real[..., None] if self.padding == "right" else places >= self.length - real[..., None]
        architecture = self.config.architecture()
        ids = torch.randint(1, architecture.vocab_size, (*shape, self.length), generator=chance)
        types = torch.randint(max(architecture.token_types, 1), ids.shape, generator=chance)
        if (pad := row_of_padding(architecture)) is not None and (self.series == "lesson" or self.number % 2):
            ids[ids == pad] = (
                architecture.vocab_size - 1
            )  # elsewhere real tokens have its id too, and padding others
            ids = ids.masked_fill(~keep & (self.padding != "none"), pad)
        if isinstance(architecture, EncoderDecoder):  # one end in each row, where its public classifier reads
            ids = ids.where(ids != architecture.decoder.end, architecture.decoder.end + 1)
            last = (keep * places).amax(-1, keepdim=True)
            last = torch.full_like(last, self.length - 1) if self.padding == "none" else last
            ids = ids.scatter(-1, last, architecture.decoder.end)
        if (head := self.one_pass) is not None:
            for row, own in zip(ids, torch.ones_like(keep) if self.padding == "none" else keep, strict=True):
                mark(row, own.nonzero()[:, 0], head)
        if self.padding == "none":
            return {"input_ids": ids, "attention_mask": None, "token_type_ids": types}
        if self.model_type == "ctrl":
            ids = ids * keep  # whose public classifier finds the last token by the padding's id
        return {"input_ids": ids, "attention_mask": keep, "token_type_ids": types}


def row_of_padding(architecture: Architecture) -> int | None:
    """The id of padding, where places are counted from its row on."""
    return architecture.positions.padding if isinstance(architecture.positions, Learned) else None


def mark(ids: Tensor, places: Tensor, head: OnePassHeadSpec) -> None:
    """Put up to three labels of one token or two among the real places (n,) of a row (L,), and then a text."""
    labels = max(min(3, (len(places) - 2) // 2), 0)
    ids[places[(ids[places] == head.label_mark) | (ids[places] == head.text_mark)]] = 1
    ids[places[1 : 1 + 2 * labels : 2]] = head.label_mark
    ids[places[1 + 2 * labels : 2 + 2 * labels]] = head.text_mark


def layouts(model_type: str, config) -> tuple[Layout | None, ...]:
    """Every way in which a head of this config may be published, and no head."""
    if model_type == "sijo":
        equal = config.architecture().hidden_size == config.architecture().embedding_size
        return (None, *(plainest(head, config) for head in HEADS if head != "lm" or equal))
    ways = tuple(layout for layout in FAMILIES[model_type].layouts(config) if layout.name != POOLER)
    return ways if FAMILIES[model_type].needs else (None, *ways)


def public_class(model_type: str, layout: Layout | None, config):
    """The class in transformers of a checkpoint with this head, or None; its DeBERTa has no mask decoder."""
    import transformers

    if model_type == "GLiClass":
        from gliclass_peer import GLiClassModel

        return GLiClassModel
    head = None if layout is None else layout.head(config)
    if isinstance(head, LMHeadSpec) and head.places:
        return None
    return getattr(transformers, FAMILIES[model_type].published([] if layout is None else [layout.name]), None)


@cache
def cases(model_type: str, series: str) -> tuple[Case, ...]:
    """The battery's cases of a family, always the same ones."""
    if model_type not in SETTINGS:
        raise AssertionError(
            f"{model_type} is a row of FAMILIES; say in battery.SETTINGS how its configs are drawn"
        )
    kind, chance, made = SERIES[series], Chance(f"{model_type} {series}"), list[Case]()
    public = kind.public and model_type != "sijo"
    for number in count():
        length = chance.deal("length", kind.lengths if public else SHORT if series != "lesson" else (9,))
        fields = SETTINGS[model_type](chance, length)
        ways = layouts(model_type, FAMILIES[model_type].config.read(fields))
        layout = ways[chance.deal("head", tuple(range(len(ways)))) % len(ways)]
        fields |= settings_of(layout, fields, chance, kind)
        config = FAMILIES[model_type].config.read(fields)
        if layout is not None and not layout.when(config):
            layout = next(way for way in ways if way and way.name == layout.name and way.when(config))
        told = public and public_class(model_type, layout, config) is not None
        if public and not told:
            length = 9 if series == "lesson" else chance.deal("short length", SHORT)
        padding = chance.deal("padding", kind.paddings)
        made.append(Case(model_type, series, number, fields, layout, length, padding, told))
        if number + 1 >= kind.cases * FOLDS.get(model_type, 1) and not chance.decks["head"]:
            return tuple(made)
    raise AssertionError


def settings_of(layout: Layout | None, fields: dict[str, Any], chance: Chance, kind: Series) -> dict[str, Any]:
    """What the config says for a head's sake."""
    if "network" in fields or "encoder_config" in fields:
        return {}
    two = layout is not None and layout.name in ("question-answering", "sop")  # transformers insists
    said = dict(layout.says) if layout else {}
    if layout is not None and layout.names.get("dense", "").startswith("lm_predictions"):
        said |= {"embedding_size": fields["hidden_size"]}
    if layout is not None and "places" in layout.names:
        said |= {"position_biased_input": False}
        said |= {"max_position_embeddings": max(fields["max_position_embeddings"], 600)}
    labels = 2 if two else chance.deal("labels", kind.labels)
    if "decoder_layers" in fields and labels == 2 and not two:  # transformers reads two without names as three
        return said | {"id2label": {"0": "no", "1": "yes"}}
    return said | {"num_labels": labels}


# ---------------------------------------------------------------------- the truth


@dataclass(frozen=True)
class Truth:
    """A saved checkpoint, and what it must answer."""

    case: Case
    folder: Path
    states: tuple[Tensor, ...]
    """(B, L, D) after the embeddings and each layer."""
    answers: dict[str, Tensor]
    model: Any
    """The public model, or ours where there is none."""

    @property
    def public(self) -> bool:
        return not isinstance(self.model, Model)

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that the folder must hold."""
        return tuple(name for name in self.answers if name != POOLER)

    def open(self, **settings) -> Model:
        return load(self.folder, head=self.heads or None, **settings)


class Shelf:
    """Truths, each made once and kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truths: dict[Case, Truth] = {}
        self.fresh = count()

    def place(self) -> Path:
        """A folder that is not there yet."""
        return self.folder / f"copy-{next(self.fresh)}"

    def truth(self, case: Case) -> Truth:
        if case not in self.truths:
            self.truths[case] = self._make(case)
        return self.truths[case]

    def _make(self, case: Case) -> Truth:
        folder = self.folder / f"{case.model_type}-{case.series}-{case.number}"
        model = case.public()
        if model is None:
            names = {} if case.layout is None else {case.layout.name: case.layout}
            model = scramble(Model(case.family, case.fields, names))
            save(model, folder)
            return Truth(case, folder, *plain_numbers(case, model), model)
        if first_row_unused(case):
            sound_first_row(model)
        model.save_pretrained(folder)
        return Truth(case, folder, *public_numbers(case, model), model)


def first_row_unused(case: Case) -> bool:
    """Whether no distance has row 0, in training as here."""
    apart = case.config.architecture().distances
    return apart is not None and (apart.buckets > 0 or (apart.longest or 0) <= apart.span)


def sound_first_row(model) -> None:
    """Make a public DeBERTa's far keys to the right look up what those one nearer do.

    Past its span transformers lands them on row 0 of the table, which no input of the usual length reaches or
    trains; to the left they share the last row. Not where the span is shorter than such inputs, and nothing limits
    the distances before: there row 0 is trained, and read here too.
    """
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("rel_embeddings.weight") and len(weight) > 1:
                weight[0] = weight[1]


def public_batch(case: Case) -> dict[str, Tensor]:
    """The batch as the public model takes it."""
    given = {name: tensor.long() for name, tensor in case.batch().items() if tensor is not None}
    if case.model_type in ("ctrl", "distilbert", "modernbert", "mpnet", "bart"):  # CTRL would read tokens
        del given["token_type_ids"]
    if case.model_type == "modernbert":  # whose multiple choice cannot take a mean without a mask
        given.setdefault("attention_mask", torch.ones_like(given["input_ids"]))
    if case.model_type == "bart" and case.padding == "left":  # which its public decoder would read
        a, keep = case.config.architecture(), case.batch()["attention_mask"]
        given["decoder_input_ids"] = shifted(given["input_ids"], keep, a.decoder.start)
        given["decoder_attention_mask"] = keep.long()
    return given


def public_states(output) -> tuple[Tensor, ...]:
    """After the embeddings and each layer; of two stacks the encoder's first."""
    if "decoder_hidden_states" in output:
        return (*output.encoder_hidden_states, *output.decoder_hidden_states)
    return output.hidden_states


def public_numbers(case: Case, model) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """What the public model makes of the batch."""
    with torch.inference_mode():
        output = model(**public_batch(case), output_hidden_states=True)
    return public_states(output), public_answers(case, output)


def public_answers(case: Case, output) -> dict[str, Tensor]:
    """By the names that sijo has for heads."""
    if case.layout is None:
        return {POOLER: output.pooler_output} if output.get("pooler_output") is not None else {}
    if "sop_logits" in output:
        return {"mlm": output.prediction_logits, "sop": output.sop_logits}
    if "start_logits" in output:
        return {case.layout.name: torch.stack([output.start_logits, output.end_logits], -1)}
    return {case.layout.name: output.logits}


def plain_numbers(case: Case, model: Model) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """What the formulas make of the batch, in double precision."""
    batch = case.batch()
    ids, types = (batch[name].flatten(0, -2).tolist() for name in ("input_ids", "token_type_ids"))
    keep = batch["attention_mask"]
    keep = [[True] * case.length] * len(ids) if keep is None else keep.flatten(0, -2).tolist()
    architecture = model.architecture
    weights = {name: tensor.tolist() for name, tensor in model.transformer.state_dict().items()}
    rows = [plain.read(architecture, weights, *row) for row in zip(ids, keep, types, strict=True)]
    answers = {}
    for name, head in model.head_values.items():
        own = {
            full.removeprefix(f"{name}."): tensor.tolist()
            for full, tensor in model.head.state_dict().items()
            if full.startswith(f"{name}.")
        }
        told = [
            plain.answer(head, architecture, weights, own, states, real, row)
            for states, real, row in zip(rows, keep, ids, strict=True)
        ]
        if head.kind == "labels":
            told = [row + [0.0] * (max(map(len, told)) - len(row)) for row in told]
        answers[name] = torch.tensor(told, dtype=torch.float64)
        if batch["input_ids"].dim() == 3:
            answers[name] = answers[name].view(batch["input_ids"].shape[:2])
    states = tuple(torch.tensor(layer, dtype=torch.float64) for layer in zip(*rows, strict=True))
    return states, answers


# ---------------------------------------------------------------------- checks


def gap_between(what: str, got: Tensor, want: Tensor, limit: float) -> float:
    """The largest difference; AssertionError with the place where there is more than `limit`, or a NaN."""
    assert got.shape == want.shape, f"{what}: {tuple(got.shape)}, not {tuple(want.shape)}"
    assert torch.isfinite(got).all(), f"{what}: not a number"
    gap = (got - want).abs().max().item() if got.numel() else 0.0
    assert gap <= limit, f"{what}: off by {gap:.1e}"
    return gap


def real(tensor: Tensor, keep: Tensor | None, *, each: bool) -> Tensor:
    """The part of states or answers that padding has no say in."""
    return tensor if keep is None or not each else tensor[keep.flatten(0, -2)]


def each_token(model: Model, head: str) -> bool:
    """Whether a head answers for each token."""
    value = model.head_values[head]
    return isinstance(value, LMHeadSpec) or getattr(value, "reads", "").startswith("each")


def reads_padding(model: Model, head: str, keep: Tensor | None) -> bool:
    """Whether a head reads the first token where that is padding, which nobody would ask for."""
    value = model.head_values[head]
    first = getattr(value, "reads", None) in ("first", "each_with_first")
    return first and keep is not None and not keep[..., 0].all()


def check_parity(truth: Truth) -> float:
    """The numbers of the truth from the same folder, after every layer and of every head. Gives the largest gap."""
    case, batch = truth.case, truth.case.batch()
    heads = tuple(name for name in describe(truth.folder).heads if name in truth.heads)
    assert heads == truth.heads, f"{case}: the folder holds {describe(truth.folder).heads}, not {truth.heads}"
    ours = truth.open()
    limit = FLOAT_GAP
    if not truth.public:
        ours, limit = ours.double(), DOUBLE_GAP
    with torch.inference_mode():
        got = ours(*batch.values(), output_hidden_states=True)
    keep = batch["attention_mask"]
    depths = (len(got.hidden_states), len(truth.states))
    assert depths[0] == depths[1], f"{case}: {depths[0]} hidden states, not {depths[1]}"
    largest = 0.0
    for depth, (mine, theirs) in enumerate(zip(got.hidden_states, truth.states, strict=True)):
        kept = (real(tensor, keep, each=True) for tensor in (mine, theirs))
        largest = max(largest, gap_between(f"{case}, after layer {depth}", *kept, limit))
    told = dict(got.answers) | ({} if got.pooler_output is None else {POOLER: got.pooler_output})
    assert set(told) == set(truth.answers), f"{case}: answers of {set(told)}, not of {set(truth.answers)}"
    for head, want in truth.answers.items():
        if reads_padding(ours, head, keep):
            continue
        kept = (real(tensor, keep, each=each_token(ours, head)) for tensor in (told[head], want))
        largest = max(largest, gap_between(f"{case}, {head}", *kept, limit))
    assert len(told) != 1 or POOLER in told or torch.equal(got.logits, next(iter(told.values())))
    return largest


def loss_of(case: Case, last: Tensor, answers: dict[str, Tensor], keep: Tensor | None) -> Tensor:
    """Cross-entropy of made-up targets: for each real token, or each row; of states alone, some product."""
    chance = torch.Generator().manual_seed(1)
    total = last.new_zeros(())
    if not answers or POOLER in answers:
        for states in (real(last, keep, each=True), *answers.values()):
            total = total + (states * torch.randn(states.shape, generator=chance)).sum() / len(states)
        return total
    for head, answer in answers.items():
        tokens = answer.shape[: last.dim() - 1] == last.shape[:-1] and head not in ("sop", "multiple-choice")
        tokens = tokens and head != "sequence-classification"
        logits = real(answer, keep, each=tokens)
        logits = logits.flatten(0, -2) if logits.dim() > 2 else logits
        if head in ("rtd", OPEN_LABELS):
            target = torch.randint(2, logits.shape, generator=chance).to(logits.dtype)
            total = total + F.binary_cross_entropy_with_logits(logits, target)
        else:
            target = torch.randint(logits.shape[-1], logits.shape[:-1], generator=chance)
            total = total + F.cross_entropy(logits, target)
    return total


def gradients(truth: Truth) -> dict[str, Tensor | None]:
    """Of each of our weights by our names, in double precision."""
    ours = truth.open().double()
    batch = truth.case.batch()
    output = ours(*batch.values())
    told = dict(output.answers) | ({} if output.pooler_output is None else {POOLER: output.pooler_output})
    loss_of(truth.case, output.last_hidden_state, told, batch["attention_mask"]).backward()
    return {name: weight.grad for name, weight in ours.named_parameters() if weight.requires_grad}


def check_gradients(truth: Truth) -> float:
    """The public model's gradients of the same loss, for every weight. Gives the largest gap, as a share.

    The share is of the weight's largest entry; below a millionth of the model's largest it is of that,
    since what softmax is blind to (a bias of all keys) has only rounding for a gradient.
    """
    case = truth.case
    theirs = type(truth.model).from_pretrained(truth.folder).double().eval()
    output = theirs(**public_batch(case), output_hidden_states=True)
    answers = public_answers(case, output)
    loss_of(case, public_states(output)[-1], answers, case.batch()["attention_mask"]).backward()
    prefix = "" if case.layout else case.family.prefix
    copies = case.layout.copies if case.layout else {}  # under whose name torch may list a tensor that is shared
    named = ((prefix + name, weight.grad) for name, weight in theirs.named_parameters())
    wanted = {copies.get(name, name): grad for name, grad in named}
    for name, want in wanted.items():
        if name.endswith("rel_embeddings.weight") and want is not None and first_row_unused(case):
            want[1] += want[0]  # see sound_first_row
            want[0] = 0

    ours = truth.open()
    tensors = ours.state_dict()
    mine = gradients(truth)
    table = NameTable(ours.family, ours.family.config.read(ours.config), ours.layouts, tensors)
    zeros = {name: torch.zeros_like(tensor, dtype=torch.float64) for name, tensor in tensors.items()}
    got = table.to_theirs({name: mine[name] if mine.get(name) is not None else zeros[name] for name in zeros})
    assert set(got) == set(wanted), f"{case}: {set(got) ^ set(wanted)} on one side alone"
    top = max(want.abs().max().item() for want in wanted.values() if want is not None)
    largest = 0.0
    for name in set(got) - {table.names[name] for name in set(tensors) - set(mine)}:  # what ours does not train
        want = torch.zeros_like(got[name]) if wanted[name] is None else wanted[name]
        scale = max(want.abs().max().item(), 1e-6 * top)
        largest = max(
            largest, gap_between(f"{case}, gradient of {name}", got[name] / scale, want / scale, FLOAT_GAP)
        )
    return largest


def check_padding(truth: Truth) -> float:
    """The same numbers alone as beside padding on either side; no NaN for a row that is all padding."""
    case, ours = truth.case, truth.open().double()
    a = ours.architecture
    longest = min(a.places or 12, 12)
    chance = torch.Generator().manual_seed(2)
    ids, pad = torch.randint(1, a.vocab_size, (longest,), generator=chance), row_of_padding(a)
    if pad is not None:
        ids[ids == pad] = a.vocab_size - 1
    types = torch.randint(max(a.token_types, 1), (longest,), generator=chance)
    if case.one_pass is not None:
        mark(ids, torch.arange(longest), case.one_pass)
    largest = 0.0
    for real_tokens in {1, longest // 2 + 1, longest}:
        if isinstance(a, EncoderDecoder):
            ids[real_tokens - 1] = a.decoder.end
        with torch.inference_mode():
            alone = ours(ids[None, :real_tokens], None, types[None, :real_tokens], True)
        for side in ("right", "left"):
            keep = torch.zeros(3, longest, dtype=torch.bool)
            keep[0, slice(real_tokens) if side == "right" else slice(longest - real_tokens, longest)] = True
            keep[1] = True
            padded = torch.randint(1, a.vocab_size, keep.shape, generator=chance)
            if isinstance(a, EncoderDecoder):
                padded[1, -1] = a.decoder.end
            padded[0, keep[0]] = ids[:real_tokens]
            kinds = torch.zeros_like(padded)
            kinds[0, keep[0]] = types[:real_tokens]
            places = (keep.cumsum(1) - 1).clamp(min=0)
            if pad is not None:  # whose ids alone tell the places
                padded, places = padded.masked_fill(~keep, pad), None
            with torch.inference_mode():
                beside = ours(padded, keep, kinds, True, places)
            for depth, (one, two) in enumerate(zip(alone.hidden_states, beside.hidden_states, strict=True)):
                what = f"{case}, {real_tokens} tokens padded {side}, after layer {depth}"
                largest = max(largest, gap_between(what, two[0, keep[0]], one[0], DOUBLE_GAP))
                assert torch.isfinite(two).all(), f"{what}: padding became no number"
            for head, answer in alone.answers.items():
                each = each_token(ours, head)
                if reads_padding(ours, head, keep[:1]):
                    continue
                if side == "left" and hasattr(ours.head[head], "places"):
                    continue  # the mask decoder counts places from the first column
                other = beside.answers[head]
                if head == OPEN_LABELS:  # other rows may have more labels
                    other = other[:, : answer.shape[1]]
                got, want = (other[0, keep[0]], answer[0]) if each else (other[0], answer[0])
                largest = max(largest, gap_between(f"{case}, {head} padded {side}", got, want, DOUBLE_GAP))
                assert torch.isfinite(other).all(), f"{case}, {head}: a row of padding became no number"
    return largest


def check_order(truth: Truth) -> float:
    """The same numbers in whatever order the rows of a batch come."""
    case, batch, ours = truth.case, truth.case.batch(), truth.open().double()
    turned = {name: None if tensor is None else tensor.flip(0) for name, tensor in batch.items()}
    with torch.inference_mode():
        one, two = ours(*batch.values()), ours(*turned.values())
    pairs = [(one.last_hidden_state, two.last_hidden_state)] if batch["input_ids"].dim() == 2 else []
    pairs += [(answer, two.answers[head]) for head, answer in one.answers.items()]
    return max((gap_between(f"{case}, turned round", a, b.flip(0), DOUBLE_GAP) for a, b in pairs), default=0.0)


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """What the file, or files, of weights hold, read by the library of the format."""
    from safetensors.torch import load_file

    return {
        name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()
    }


def check_round_trip(truth: Truth, folder: Path) -> None:
    """Public, ours, public again: every tensor under the same name with the same bits; and nothing left over."""
    case, ours = truth.case, truth.open()
    assert ours.unused == (), f"{case}: does not use {ours.unused}"
    save(ours, folder)
    before, after = tensors_of(truth.folder), tensors_of(folder)
    assert set(before) == set(after), f"{case}: {set(before) ^ set(after)} on one side alone"
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) and tensor.dtype == after[name].dtype, f"{case}: {name} has changed"
    again = load(folder, head=truth.heads or None)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), f"{case}: {name} has changed"
    with torch.inference_mode():
        batch = case.batch()
        # copies: where weights mapped from a file begin in memory may move the last bit
        one, two = (deepcopy(model)(*batch.values()) for model in (ours, again))
    assert torch.equal(one.last_hidden_state, two.last_hidden_state)
    assert all(torch.equal(answer, two.answers[head]) for head, answer in one.answers.items())
    said = json.loads((folder / "config.json").read_text())
    assert said["model_type"] == case.model_type, f"{case}: saved as {said['model_type']}"
    if truth.public:
        reopened, told = type(truth.model).from_pretrained(folder, output_loading_info=True)
        assert not any(told.values()), f"{case}: transformers says {told}"
        theirs = truth.model.state_dict()
        for name, tensor in reopened.state_dict().items():
            assert torch.equal(tensor, theirs[name]), f"{case}: {name} has changed for transformers"


def check_names(truth: Truth) -> None:
    """Our names to the published ones and back, bit for bit, one to one."""
    ours = truth.open()
    tensors = ours.state_dict()
    table = NameTable(ours.family, ours.family.config.read(ours.config), ours.layouts, tensors)
    theirs = table.to_theirs(tensors)
    back = table.to_ours(theirs)
    assert set(back) == set(tensors), f"{truth.case}: {set(back) ^ set(tensors)} on one side alone"
    for name, tensor in tensors.items():
        assert torch.equal(back[name], tensor), f"{truth.case}: {name} is not itself again"
    assert sum(tensor.numel() for tensor in theirs.values()) == sum(tensor.numel() for tensor in tensors.values())


def without_gradient(truth: Truth) -> dict[str, str]:
    """The weights of a case that cannot get a gradient, and why."""
    model = truth.open()
    a, apart = model.architecture, model.architecture.distances
    heads = list(model.head_values.values())
    decoded = any(isinstance(head, LMHeadSpec) and head.places for head in heads)
    alone = a.reads == "left" and all(getattr(head, "reads", None) == "first" for head in heads)
    reasons = {}
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            reasons[name] = "waves are stored, not trained"
        elif (
            heads
            and alone
            and any(part in name for part in ("attention.query", "attention.key", "distances", "relative_bias"))
        ):
            reasons[name] = "the first token reads itself alone, whatever the scores"
        elif (
            name.endswith(("attention.key.bias", "cross.key.bias"))
            and not (apart and "p2c" in apart.terms)
            and (a.rotary is None or "cross" in name)
        ):
            reasons[name] = "softmax is blind to what all keys share"
        elif name.endswith("attention.distances.key.bias"):
            reasons[name] = "softmax is blind to what all distances share"
        elif name.startswith("transformer.distances.") and not apart.terms:
            reasons[name] = "no term reads the table of distances"
        elif name == f"head.{OPEN_LABELS}.scale" and model.head_values[OPEN_LABELS].vectors == "plain":
            reasons[name] = "only scores of unit vectors are multiplied by it"
        elif name == "head.multiple-choice.out.bias":
            reasons[name] = "every choice has the same"
        elif name.startswith("transformer.convolution.") and decoded and a.layers == 1:
            reasons[name] = "the mask decoder reads what comes before the last layer, here the first"
    return reasons


def check_every_weight_learns(truth: Truth) -> dict[str, str]:
    """A gradient for every weight, but for those that cannot have one. Gives these, with the reason."""
    excused = without_gradient(truth)
    got = gradients(truth)
    top = max(grad.abs().max().item() for grad in got.values() if grad is not None)
    for name, grad in got.items():
        learns = grad is not None and grad.abs().max().item() > 1e-12 * top
        how = f"{'a' if learns else 'no'} gradient; {excused.get(name, 'there is no excuse')}"
        assert learns == (name not in excused), f"{truth.case}: {name} gets {how}"
    return excused


def check_meta(case: Case) -> None:
    """Is built without memory, and with as many numbers as with."""
    names = {} if case.layout is None else {case.layout.name: case.layout}
    with torch.device("meta"):
        model = Model(case.family, case.fields, names)
    assert all(weight.is_meta for weight in model.parameters())
    real_one = Model(case.family, case.fields, names)
    assert {name: weight.shape for name, weight in model.state_dict().items()} == {
        name: weight.shape for name, weight in real_one.state_dict().items()
    }


def main() -> None:
    """The largest gaps, family by family."""
    with tempfile.TemporaryDirectory() as place:
        shelf = Shelf(Path(place))
        for model_type in FAMILIES:
            gaps: dict[bool, list[float]] = {True: [], False: []}
            for case in cases(model_type, "public") + cases(model_type, "plain"):
                gaps[case.is_public].append(check_parity(shelf.truth(case)))
            learned = [check_gradients(shelf.truth(case)) for case in cases(model_type, "lesson") if case.is_public]
            print(
                f"{model_type:12} {len(gaps[True]):3} public, largest gap {max(gaps[True], default=0):.1e};"
                f" {len(gaps[False]):3} in plain numbers, {max(gaps[False], default=0):.1e};"
                f" {len(learned):3} with gradients, {max(learned, default=0):.1e}"
            )


if __name__ == "__main__":
    main()
