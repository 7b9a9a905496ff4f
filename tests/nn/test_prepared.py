"""The network made ready for reading alone, against the network itself. Each test names the fault it catches."""

from dataclasses import replace

import pytest
import torch

from battery import scramble
from sijo.errors import SettingError, TextError
from sijo.nn import packing as packing_module
from sijo.nn import prepared_attention, prepared_linear
from sijo.nn import window as window_module
from sijo.nn.architecture import (
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
from sijo.nn.head_specs import POOLER, ClassifierHeadSpec, LMHeadSpec
from sijo.nn.heads import Network
from sijo.nn.packing import packing, pieces, rounded
from sijo.nn.prepared import may_prepare, prepared
from sijo.nn.prepared_linear import BytesLinear, PreparedLinear

DEBERTA = {"distances": Disentangled(span=32, buckets=8, norm="layer_norm"), "norm": PostNorm(eps=1e-7)}
MODERN = {
    "rotary": Rotary(count=600, base=99.0, local_base=7.0),
    "window": Window(reach=5, pattern=("global", "local")),
    "feed_forward": "gated",
    "biases": (),
    "norm": PreNorm(eps=1e-5, final_eps=1e-5, first="none"),
}
NETWORKS = {
    "bert": {"positions": Learned(count=99), "token_types": 2},
    "albert": {
        "positions": Learned(count=99),
        "embedding_size": 5,
        "widening": "after_norm",
        "schedule": (0, 1, 0, 1),
        "activation": "gelu_new",
    },
    "distilbert": {"positions": Sinusoidal(count=99)},
    "roberta": {"positions": Learned(count=99, padding=1), "token_types": 1},
    "mpnet": {"positions": Learned(count=603, padding=2), "relative_bias": RelativeBias(buckets=8, span=30)},
    "deberta": DEBERTA,
    "deberta, narrow": DEBERTA | {"embedding_size": 7, "widening": "before_norm", "schedule": (0, 0, 1)},
    "deberta, v1": {"distances": Disentangled(span=5, projections="own", key_bias=False), "token_types": 2},
    "deberta, v1, longer than its span": {"distances": Disentangled(span=5, longest=40, projections="own")},
    "c2p alone": {"distances": Disentangled(span=16, terms=("c2p",))},
    "p2c alone": {"distances": Disentangled(span=16, terms=("p2c",))},
    "no term": {"distances": Disentangled(span=16, terms=()), "activation": "relu"},
    "convolution": DEBERTA | {"convolution": ConvolutionSpec(kernel=5, groups=4, activation="gelu")},
    "modernbert": MODERN,
    "modernbert, shared, after each addition": MODERN
    | {"norm": PostNorm(), "schedule": (0, 0, 1, 0), "biases": ("attention", "norm"), "activation": "silu"},
    "pre-norm": DEBERTA
    | {"norm": PreNorm(eps=1e-3, final_eps=1e-2), "activation": "silu", "positions": Learned(count=99)},
}
LENGTHS = [23, 1, 7, 40, 7, 2, 39]


def network(name="bert", heads=None, **changes):
    sizes = {"vocab_size": 31, "embedding_size": 16, "hidden_size": 16, "heads": 4, "intermediate_size": 24}
    values = sizes | {"schedule": (0, 1, 2)} | NETWORKS[name] | changes
    return scramble(Network(Architecture(**values), heads))


def batch(lengths=LENGTHS, width=None, types=False):
    width = max(lengths) if width is None else width
    chance = torch.Generator().manual_seed(len(lengths))
    ids = torch.randint(31, (len(lengths), width), generator=chance)
    keep = torch.arange(width) < torch.tensor(lengths)[:, None]
    return ids, keep, torch.randint(2, ids.shape, generator=chance) if types else None


def gap(one, other, keep):
    return (one - other)[keep].abs().max().item()


@pytest.fixture
def small_steps(monkeypatch):
    """Strips, pieces and groups so small that texts of some tokens fill several."""
    for module, name, value in (
        (prepared_attention, "SHORT", 7),
        (prepared_attention, "SHORT_PLAIN", 7),
        (prepared_attention, "TOGETHER", 500),
        (prepared_attention, "QUERIES", 16),
        (prepared_attention, "STRIP", 6),
        (packing_module, "PIECE", 20),
        (window_module, "TOGETHER", 6),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("packed", [True, False], ids=["laid out", "plain"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_reads_as_the_network_does(name, packed, small_steps, monkeypatch):
    """Kills: a distance mirrored, or one strip off; a scale left out or taken twice; a bias of one projection in
    another's place; the wrong norm, residual or activation; the convolution across rows; a layer out of order; rows
    mixed up between packed and unpacked; a matrix that is not laid out but used as if it were."""
    if not packed:
        monkeypatch.setattr(prepared_linear, "packs", lambda device, dtype: False)
    whole = network(name)
    ids, keep, types = batch(types=bool(whole.architecture.token_types))
    schedule = whole.architecture.schedule
    for depth in range(1, len(schedule) + 1):
        part = network(name, schedule=schedule[:depth])
        part.load_state_dict({k: v for k, v in whole.state_dict().items() if k in part.state_dict()})
        want = part(ids, keep, types).last_hidden_state
        got = prepared(part)(ids, keep, types).last_hidden_state
        assert gap(got, want, keep) < 1e-5, f"after layer {depth}"
        assert not got[~keep].any()


@pytest.mark.parametrize("name", ["bert", "mpnet", "deberta", "modernbert"])
@pytest.mark.parametrize("lengths", [[300], [1], [97, 130, 96, 1], [513, 40]], ids=str)
def test_real_steps_too(name, lengths):
    """Kills: steps that fit small tests alone; a last strip, or a last block of queries, left out."""
    changes = {"positions": Learned(count=600)} if name == "bert" else {}
    model = network(name, schedule=(0, 1) if name == "modernbert" else (0,), **changes)
    ids, keep, _ = batch(lengths)
    assert gap(prepared(model)(ids, keep).last_hidden_state, model(ids, keep).last_hidden_state, keep) < 1e-5


@pytest.mark.parametrize("precision, close", [("exact", 1e-6), ("bf16", 1e-6), ("int8", 1e-6)])
@pytest.mark.parametrize("name", ["bert", "mpnet", "deberta", "modernbert"])
def test_a_row_does_not_know_its_neighbours(name, precision, close):
    """Kills: a scale taken over the batch (a neighbour is a thousand times as large); padding that is read."""
    model = network(name)
    with torch.no_grad():
        model.transformer.embeddings.tokens.weight[7] *= 1000
        ids, keep, _ = batch()
        ids[ids == 7] = 8
        ids[3] = 7
        ready = prepared(model, precision=precision)
        together = ready(ids, keep).last_hidden_state
    for row, length in enumerate(LENGTHS):
        alone = ready(ids[row : row + 1, :length]).last_hidden_state[0]
        assert (together[row, :length] - alone).abs().max() < close * (1 + alone.abs().max())


def test_heads_answer_as_the_network_does():
    """Kills: a head that is left out, or reads packed states; the pooler among the answers; logits of
    several heads."""
    heads = {
        "tags": ClassifierHeadSpec(labels=4, reads="each"),
        "of the last": ClassifierHeadSpec(labels=2, reads="last"),
        "masked lm": LMHeadSpec(activation="gelu_new"),
        POOLER: ClassifierHeadSpec(dense="tanh", answers="vector"),
    }
    model = network("bert", heads)
    ids, keep, types = batch(types=True)
    want, got = model(ids, keep, types), prepared(model)(ids, keep, types)
    assert list(got.answers) == list(want.answers) and got.logits is None
    each = torch.stack([got.answers["tags"], want.answers["tags"]])[:, keep]
    assert (each[0] - each[1]).abs().max() < 1e-5
    for one, other in (
        (got.answers["of the last"], want.answers["of the last"]),
        (got.pooler_output, want.pooler_output),
    ):
        assert (one - other).abs().max() < 1e-5


def test_one_head_gives_the_logits():
    """Kills: logits left empty; the enhanced mask decoder given states without the layer before."""
    for name, head in (
        ("bert", ClassifierHeadSpec(labels=3, dense="tanh")),
        ("deberta", LMHeadSpec(activation="gelu", places=40)),
    ):
        model = network(name, {"head": head})
        ids, keep, _ = batch()
        got, want = prepared(model)(ids, keep).logits, model(ids, keep).logits
        each = keep if want.dim() == 3 else slice(None)
        assert (got[each] - want[each]).abs().max() < 1e-5


@pytest.mark.parametrize(
    "keep",
    [[[False, False], [True, True]], [[False, True], [True, True]]],
    ids=["an empty row", "padding on the left"],
)
def test_what_cannot_be_packed_goes_through_the_network(keep):
    """Kills: rows shifted to the left in silence; a softmax of nothing."""
    model, keep = network("deberta"), torch.tensor(keep)
    ids = torch.tensor([[3, 4], [5, 6]])
    with torch.inference_mode():
        want = model(ids, keep).last_hidden_state
    assert torch.equal(prepared(model)(ids, keep).last_hidden_state, want)


@pytest.mark.parametrize("name", ["deberta", "mpnet"])
def test_near_tokens_by_distance_are_not_prepared(name):
    """Kills: a window that is left out where distances are; int8 that is asked for, and not computed in."""
    model = network(name, window=Window(reach=3))
    assert not may_prepare(model.architecture) and may_prepare(network(name).architecture)
    for precision in ("exact", "int8"):
        with pytest.raises(SettingError, match="beside a window"):
            prepared(model, precision=precision)


def test_the_network_is_not_touched_and_nothing_is_left_behind():
    """Kills: weights scaled in place; buffers of one batch that the next one reads; a graph kept for a gradient."""
    model = network("deberta")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    ready = prepared(model)
    first = batch([40, 3])
    one = ready(*first).last_hidden_state
    copy = one.clone()
    ready(*batch([39, 39, 12]))
    assert torch.equal(one, copy) and torch.equal(ready(*first).last_hidden_state, copy)  # the same bits
    assert not one.requires_grad
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_weights_kept_in_half_are_read_in_float32():
    """Kills: products, norms or tables in the dtype that weights are saved in."""
    model = network("deberta", {"head": ClassifierHeadSpec(labels=3, dense="tanh")})
    ids, keep, _ = batch()
    half = network("deberta", {"head": ClassifierHeadSpec(labels=3, dense="tanh")}).bfloat16()
    model.load_state_dict(half.state_dict())  # the same numbers, as float32
    got, want = prepared(half)(ids, keep), model(ids, keep)
    assert gap(got.last_hidden_state, want.last_hidden_state, keep) < 0.2  # embeddings alone are bfloat16
    assert got.last_hidden_state.dtype == torch.float32 and got.logits is not None


def test_refusals():
    """Kills: a network that writes read as if it saw both sides; a text beyond the places read in silence."""
    with pytest.raises(SettingError, match="reads to the left"):
        prepared(network(reads="left"))
    with pytest.raises(TextError, match="100 tokens is longer than the 99 places"):
        prepared(network())(torch.zeros(1, 100, dtype=torch.int64))
    with pytest.raises(SettingError, match="no precision 'int3'"):
        prepared(network(), precision="int3")


def test_packing_by_hand():
    """Kills: rows that change order among equals; a group that ends one token early; filling counted as real."""
    keep = torch.arange(3) < torch.tensor([[2], [3], [2]])
    packed = packing((3, 3), keep, keep.device)
    assert packed.place_T.tolist() == [3, 4, 5, 0, 1, 6, 7] and packed.tokens == 7
    assert [(group.start, group.rows, group.length) for group in packed.groups] == [(0, 1, 3), (3, 2, 2)]
    states = packed.place_T[:, None].float()
    assert packed.unpack(states)[..., 0].tolist() == [[0, 1, 0], [3, 4, 5], [6, 7, 0]]
    long = packing((1, 33), None, keep.device)
    assert (len(long.place_T), long.tokens) == (36, 33)
    assert packing((0, 3), None, keep.device) is None


def test_few_sizes_of_pieces_occur():
    """Kills: a kernel of the processor's library for every number of tokens, each of which stays in memory."""
    sizes = {piece.stop - piece.start for tokens in range(1, 5000) for piece in pieces(rounded(tokens))}
    assert len(sizes) <= 72 and all(rounded(tokens) - tokens <= max(0, tokens / 8) for tokens in range(1, 5000))


@pytest.mark.parametrize("activation", ["linear", "gelu", "gelu_new", "relu", "silu", "tanh"])
@pytest.mark.parametrize("after", ["linear", "gelu", "relu"])
def test_bytes_stay_near_floats(activation, after):
    """Kills: the correction for the byte that stands for 0; a bias scaled with the states; a residual that is added
    before the activation; a byte that wraps round below 0."""
    chance = torch.Generator().manual_seed(0)
    weight = torch.randn(70, 96, generator=chance) / 10
    bias = torch.randn(70, generator=chance)
    states = torch.randn(9, 96, generator=chance) * torch.logspace(-3, 3, 9)[:, None]
    states[0] = 0
    if after != "linear":
        states = prepared_linear.ACTIVATIONS[after](states)
    added = torch.randn(9, 70, generator=chance)
    for more in (None, added):
        want = PreparedLinear(weight, bias, activation)(states, more)
        got = BytesLinear(weight, bias, activation, after=after)(states, more)
        near = 0.02 * (weight.norm(dim=1) * states.norm(dim=1, keepdim=True)) + 1e-3
        assert ((got - want).abs() <= near).all()


def test_bytes_do_not_overflow_without_vnni(monkeypatch):
    """Kills: two products of bytes that do not fit in sixteen bits, where the processor adds them there."""
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert 2 * 255 * prepared_linear.largest_byte() < 2**15
    states = torch.rand(4, 64) + 1
    got = BytesLinear(torch.ones(3, 64), None, after="relu")(states)
    assert (got - states.sum(1, keepdim=True)).abs().max() < 0.5


def test_what_is_not_finite_is_told():
    """Kills: NaN or infinity turned into a plausible byte."""
    states = torch.ones(3, 64)
    states[0, 5], states[1, 5] = torch.nan, torch.inf
    out = BytesLinear(torch.eye(64), torch.zeros(64))(states)
    assert out[:2].isfinite().all(1).tolist() == [False, False] and out[2].isfinite().all()
    assert not BytesLinear(torch.eye(64), None, after="relu")(states)[:2].isfinite().all()


def test_memory_is_linear_in_length():
    """Kills: scores or distances of all pairs of tokens kept at once."""
    model = prepared(network("deberta", schedule=(0,), hidden_size=8, embedding_size=8))
    largest = {}
    for length in (600, 2400):
        with torch.profiler.profile(profile_memory=True) as profiler:
            model(torch.zeros(1, length, dtype=torch.int64))
        largest[length] = max(event.cpu_memory_usage for event in profiler.events())
    assert largest[2400] < 6 * largest[600]


def test_depth_is_that_of_the_schedule():
    """Kills: a prepared network made of its blocks in order, where the schedule repeats them."""
    model = network("albert", schedule=(0, 1, 1, 0))
    ids, keep, _ = batch()
    want = model(ids, keep).last_hidden_state
    assert gap(prepared(model)(ids, keep).last_hidden_state, want, keep) < 1e-5
    straight = Network(replace(model.architecture, schedule=(0, 1))).eval()
    straight.load_state_dict(model.state_dict())
    assert gap(straight(ids, keep).last_hidden_state, want, keep) > 0.1
