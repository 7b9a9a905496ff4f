"""A fault of each kind that cost others dearly is planted, and a check of the battery must turn red.

A fault is data: a module, a line of it, and what stands there in its place; or a row of a table. If the line is
gone, plant the fault in what took its place.
"""

import importlib
import inspect
import types
from dataclasses import dataclass

import pytest
import torch
from torch.nn import functional as F

import battery
from battery import cases
from sijo.errors import CheckpointError
from sijo.models import bert, deberta, electra
from sijo.nn import transformer

pytest.importorskip("transformers")


def functions(module):
    """Every function and method that a module itself defines, by its full name."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, types.FunctionType):
            yield name, value
        elif isinstance(value, type):
            for inner, method in vars(value).items():
                if isinstance(method, types.FunctionType) and method.__module__ == module.__name__:
                    yield f"{name}.{inner}", method


def plant(monkeypatch, module_name, old, new):
    """Put `new` in place of `old` in a module, for all who already hold its functions."""
    module = importlib.import_module(module_name)
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"{old!r} is {source.count(old)} times in {module_name}; plant the fault anew"
    spoiled = types.ModuleType(module_name)
    spoiled.__file__ = module.__file__
    code = compile(source.replace(old, new), module.__file__, "exec")
    exec(code, spoiled.__dict__)
    theirs = dict(functions(spoiled))
    changed = [
        (ours, theirs[name].__code__)
        for name, ours in functions(module)
        if name in theirs and ours.__code__ != theirs[name].__code__
    ]
    assert changed, f"{old!r} is in no function"
    for ours, spoiled_code in changed:
        monkeypatch.setattr(ours, "__code__", spoiled_code)


@dataclass
class Fault:
    """What is planted, in which family it must show, and in which check."""

    name: str
    family: str
    module: str
    old: str
    new: str
    check: str = "parity"

    def __str__(self):
        return f"{self.name} ({self.family}, {self.check})"


DISTANCES, ATTENTION, EMBEDDINGS = "sijo.nn.distances", "sijo.nn.attention", "sijo.nn.embeddings"
TRANSFORMER, HEADS, NAMES, ALBERT = (
    "sijo.nn.transformer",
    "sijo.nn.heads",
    "sijo.checkpoints.names",
    "sijo.models.albert",
)
MODERN, ROTARY, WINDOW = "modernbert", "sijo.nn.rotary", "sijo.nn.window"
FAULTS = [
    Fault(
        "disentangled attention left out",
        "deberta-v2",
        ATTENTION,
        "if self.distances is not None and",
        "if False and",
    ),
    Fault(
        "disentangled attention left out", "deberta", ATTENTION, "if self.distances is not None and", "if False and"
    ),
    Fault(
        "j - i in the p2c term",
        "deberta-v2",
        DISTANCES,
        "qr_HPC.roll(1, dims=-2).flip(-2)",
        "qr_HPC",
    ),
    Fault(
        "j - i in the p2c term",
        "deberta",
        DISTANCES,
        "qr_HPC.roll(1, dims=-2).flip(-2)",
        "qr_HPC",
    ),
    Fault(
        "distances mirrored in both",
        "deberta-v2",
        DISTANCES,
        "bucket + distances.rows // 2",
        "distances.rows // 2 - bucket",
    ),
    Fault("query's map for keys", "deberta-v2", DISTANCES, "(self.key or key)", "(self.query or query)"),
    Fault("no buckets", "deberta-v2", DISTANCES, "if not buckets:", "if True:"),
    Fault("a floor for the ceiling", "deberta-v2", DISTANCES, "(steps - 1e-9).ceil()", "steps.floor()"),
    Fault(
        "the table not normed",
        "deberta-v2",
        DISTANCES,
        "rows_PD if self.norm is None else self.norm(rows_PD)",
        "rows_PD",
    ),
    Fault(
        "scale of one product",
        "deberta",
        ATTENTION,
        "products = 1 + (len(apart.terms) if apart else 0)",
        "products = 1",
    ),
    Fault("padded keys read", "deberta-v2", ATTENTION, "keep_BL is not None", "False"),
    Fault("padded keys read", "bert", ATTENTION, "keep_BL is not None", "False", "padding"),
    Fault("the next token read", "ctrl", ATTENTION, ".triu(1)", ".triu(2)"),
    Fault(
        "interleaved for halves",
        "ctrl",
        EMBEDDINGS,
        "torch.cat(waves(position_ids, self.architecture.embedding_size), dim=-1)",
        "torch.stack(waves(position_ids, self.architecture.embedding_size), -1).flatten(-2)",
    ),
    Fault("no scale of tokens", "ctrl", EMBEDDINGS, 'if a.entry == "norm" else', "if True else"),
    Fault(
        "waves computed over what was loaded",
        "distilbert",
        EMBEDDINGS,
        "        if self.places is not None:\n",
        "        if self.places is not None and not isinstance(self.architecture.positions, Sinusoidal):\n",
    ),
    Fault(
        "projection before the norm",
        "albert",
        EMBEDDINGS,
        'before = self.architecture.widening == "before_norm"',
        'before = self.architecture.widening == "after_norm"',
    ),
    Fault("segments left out", "bert", EMBEDDINGS, "if alike else token_type_ids", ""),
    Fault(
        "a row for padding of each place",
        "roberta",
        EMBEDDINGS,
        "counted.cumsum(-1) * counted",
        "counted.cumsum(-1)",
    ),
    Fault(
        "places from the row of padding",
        "roberta",
        EMBEDDINGS,
        "position_ids + (positions.first",
        "position_ids + (0",
    ),
    Fault(
        "bias mirrored",
        "mpnet",
        "sijo.nn.relative_bias",
        "places_BL[:, :, None] - places_BL[:, None]",
        "places_BL[:, None] - places_BL[:, :, None]",
    ),
    Fault("bias left out", "mpnet", TRANSFORMER, "if self.relative_bias is not None:", "if False:"),
    Fault(
        "padding embedded",
        "deberta-v2",
        EMBEDDINGS,
        "self.architecture.distances is not None and keep_BL is not None",
        "False",
        "embeddings",
    ),
    Fault(
        "convolution over the first layer",
        "deberta-v2",
        TRANSFORMER,
        "self.convolution(embedded_BLD, ",
        "self.convolution(hidden_BLD, ",
    ),
    Fault(
        "convolution left out",
        "deberta-v2",
        TRANSFORMER,
        "if layer == 0 and self.convolution is not None",
        "if False",
    ),
    Fault(
        "convolution after every layer",
        "deberta-v2",
        TRANSFORMER,
        "if layer == 0 and self.convolution is not None",
        "if self.convolution is not None",
    ),
    Fault("final norm left out", "ctrl", TRANSFORMER, "if self.final_norm is not None", "if False"),
    Fault(
        "norm after, not before",
        "ctrl",
        TRANSFORMER,
        "self.norm_first = isinstance(a.norm, PreNorm)",
        "self.norm_first = False",
    ),
    Fault(
        "eps of a norm not the config's",
        "bert",
        TRANSFORMER,
        "self.output_norm = layer_norm(a, a.hidden_size)",
        "self.output_norm = layer_norm(a, a.hidden_size, 1e-12)",
    ),
    Fault(
        "layers out of order",
        "albert",
        TRANSFORMER,
        "zip(self.architecture.schedule, views, strict=True)",
        "zip(self.architecture.schedule[::-1], views, strict=True)",
    ),
    Fault(
        "groups take turns", "albert", ALBERT, "layer * groups // layers * inner + i", "layer % groups * inner + i"
    ),
    Fault("missing group index", "albert", "sijo.models.family", "group=n // group", "group=0"),
    Fault(
        "naive thirds of in_proj",
        "deberta",
        NAMES,
        "reshape(heads, parts, rows // (heads * parts), *fused.shape[1:]).unbind(1)",
        "reshape(parts, heads, rows // (heads * parts), *fused.shape[1:]).unbind(0)",
    ),
    Fault(
        "in_proj written in thirds",
        "deberta",
        NAMES,
        "for part in parts], 1).flatten(0, 2)",
        "for part in parts], 0).flatten(0, 2)",
        "round trip",
    ),
    Fault(
        "pooler without activation", "bert", HEADS, 'ACTIVATIONS[head.dense or "linear"]', 'ACTIVATIONS["linear"]'
    ),
    Fault("no norm with the first token", "deberta-v2", HEADS, "states = self.norm(states)", "pass"),
    Fault(
        "the last place for the last token",
        "ctrl",
        HEADS,
        "[torch.arange(len(hidden_BLD), device=hidden_BLD.device), last_B]",
        "[:, -1]",
    ),
    Fault("mask decoder runs once", "deberta-v2", HEADS, "for _ in range(2):", "for _ in range(1):"),
    Fault(
        "mask decoder reads the last states",
        "deberta-v2",
        HEADS,
        "head_input.output.hidden_states[-2]",
        "head_input.output.hidden_states[-1]",
    ),
    Fault(
        "a detached table of distances",
        "deberta-v2",
        DISTANCES,
        "self.rows(table_rows(self.distances, distance_P))",
        "self.rows(table_rows(self.distances, distance_P)).detach()",
        "gradients",
    ),
    Fault(
        "a detached tied table",
        "bert",
        HEADS,
        "tokens.weight, self.bias)",
        "tokens.weight.detach(), self.bias)",
        "gradients",
    ),
    Fault(
        "channels paired by turns",
        MODERN,
        ROTARY,
        "states.chunk(2, dim=-1)",
        "(states[..., ::2], states[..., 1::2])",
    ),
    Fault("one base for all", MODERN, WINDOW, '"local": rotary.local_base or rotary.base', '"local": rotary.base'),
    Fault("a window one token short", MODERN, WINDOW, ".abs() > reach)", ".abs() >= reach)"),
    Fault(
        "layers counted from 1",
        MODERN,
        "sijo.nn.architecture",
        "self.pattern[layer %",
        "self.pattern[(layer + 1) %",
    ),
    Fault(
        "the gate bent",
        MODERN,
        "sijo.nn.feed_forward",
        "activation(first) * gate[0] if gate",
        "activation(gate[0]) * first if gate",
    ),
    Fault(
        "matrices taken apart by heads",
        MODERN,
        NAMES,
        'architecture.heads if whose.fused_by == "heads" else 1',
        "architecture.heads",
    ),
    Fault("a head's norm left out", MODERN, HEADS, "self.dense_norm(self.activation(", "(self.activation("),
    Fault("a mean of padding too", MODERN, HEADS, 'head_input.keep, "mean"', 'None, "mean"'),
    Fault(
        "a dead weight",
        "bert",
        TRANSFORMER,
        "self.attention_norm(query_BLD + read_BLD)",
        "self.attention_norm(query_BLD + read_BLD.detach())",
        "learning",
    ),
    Fault(
        "rows that see each other",
        "bert",
        TRANSFORMER,
        "states = [embedded_BLD]",
        "hidden_BLD = hidden_BLD + hidden_BLD[:1]; states = [embedded_BLD]",
        "order",
    ),
]


def check_embeddings(truth):
    """The public model's embeddings are nothing at padding."""
    batch = truth.case.batch()
    got = truth.open()(*batch.values(), output_hidden_states=True).hidden_states[0]
    keep = batch["attention_mask"].flatten(0, -2)
    battery.gap_between("padding", got[~keep], torch.zeros_like(got[~keep]), 0.0)


CHECKS = {
    "parity": ("public", lambda truth, place: battery.check_parity(truth)),
    "padding": ("lesson", lambda truth, place: battery.check_padding(truth)),
    "order": ("lesson", lambda truth, place: battery.check_order(truth)),
    "gradients": ("lesson", lambda truth, place: battery.check_gradients(truth)),
    "learning": ("lesson", lambda truth, place: battery.check_every_weight_learns(truth)),
    "round trip": ("lesson", battery.check_round_trip),
    "embeddings": ("lesson", lambda truth, place: check_embeddings(truth)),
}


def red(shelf, family, check, spoil):
    """The first case of a family at which a check fails once something is spoilt; None where none does."""
    series, run = CHECKS[check]
    made = [case for case in cases(family, series) if check != "gradients" or case.is_public]
    truths = [shelf.truth(case) for case in made]
    spoil()
    for truth in truths:
        try:
            run(truth, shelf.place())
        except AssertionError as error:
            return str(error)
        except (RuntimeError, CheckpointError):  # shapes that do not fit: red as well, but the numbers shall tell
            continue
    return None


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_planted_fault_turns_the_battery_red(shelf, monkeypatch, fault):
    # kills: a battery that is blind to the fault named
    said = red(shelf, fault.family, fault.check, lambda: plant(monkeypatch, fault.module, fault.old, fault.new))
    assert said is not None, f"{fault} goes unseen"


def swap(monkeypatch, table, one, two):
    """Two entries of a map of names exchanged."""
    first, second = table[one], table[two]
    monkeypatch.setitem(table, one, second)
    monkeypatch.setitem(table, two, first)


@pytest.mark.parametrize(
    "family, table, one, two",
    [
        ("bert", bert.FACTS["names"], "blocks.{n}.attention_norm", "blocks.{n}.output_norm"),
        ("electra", electra.FACTS["names"], "blocks.{n}.attention.query", "blocks.{n}.attention.key"),
        ("deberta", deberta.V1["names"], "blocks.{n}.attention_norm", "blocks.{n}.output_norm"),
        (
            "deberta-v2",
            deberta.V2["names"],
            "blocks.{n}.attention.distances.key",
            "blocks.{n}.attention.distances.query",
        ),
        ("deberta-v2", deberta.V2["names"], "embeddings.norm", "distances.norm"),
    ],
)
def test_two_names_exchanged_turn_the_battery_red(shelf, monkeypatch, family, table, one, two):
    # kills: a parity test on fresh weights, to which two exchanged norms make no difference
    assert red(shelf, family, "parity", lambda: swap(monkeypatch, table, one, two)) is not None


@pytest.mark.parametrize("family", ["bert", "albert", "electra", "distilbert", "deberta", "deberta-v2"])
def test_the_other_gelu_turns_the_battery_red(shelf, monkeypatch, family):
    # kills: an activation that is close enough to pass: the two differ by 5e-4 at the most
    assert red(shelf, family, "parity", lambda: monkeypatch.setitem(transformer.ACTIVATIONS, "gelu_new", F.gelu))


def test_on_fresh_weights_the_same_faults_hide(monkeypatch, tmp_path):
    # kills: the thought that moving every weight first is a needless rite
    import transformers

    settings = transformers.BertConfig(
        vocab_size=61, hidden_size=28, num_hidden_layers=2, num_attention_heads=4, intermediate_size=36
    )
    torch.manual_seed(0)
    public = transformers.BertModel(settings).eval()
    public.save_pretrained(tmp_path)
    ids = torch.arange(9)[None]
    with torch.inference_mode():
        want = public(ids).last_hidden_state
        swap(monkeypatch, bert.FACTS["names"], "blocks.{n}.attention_norm", "blocks.{n}.output_norm")
        fresh = battery.load(tmp_path)(ids).last_hidden_state
    assert (fresh - want).abs().max().item() < 1e-5


def test_the_battery_is_green_without_a_fault(shelf, tmp_path):
    # kills: a check that is red whatever one does
    for number, (series, run) in enumerate(CHECKS.values()):
        run(shelf.truth(cases("deberta-v2", series)[0]), tmp_path / str(number))
