"""What holds in every precision: rows by themselves, any shape, weights stored once."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from battery import scramble
from onnx_sessions import answers, opened, parts
from sijo.checkpoints.blocks import quantized_blocks
from sijo.checkpoints.load import create
from sijo.checkpoints.vectors.steps import UnitLengthStep
from sijo.export.calibrate import input_ranges
from sijo.export.graph import GraphBuilder
from sijo.export.network import onnx_model
from sijo.export.quantize import BlockProducts
from sijo.nn.architecture import Architecture, Disentangled, Learned
from sijo.nn.encoder_decoder import DecoderSpec, EncoderDecoder
from sijo.nn.head_specs import POOLING_MODES
from sijo.nn.pooling import pool
from sijo.processor import adds_bytes_exactly

PRECISIONS = ("float32", "int8", "int4", "measured")
"""measured: 8 bits, by scales that were measured."""
PLAIN = Architecture(
    vocab_size=99,
    embedding_size=24,
    hidden_size=40,
    heads=4,
    intermediate_size=72,
    schedule=(0, 1),
    positions=Learned(count=64),
    token_types=2,
    widening="after_norm",
)
APART = replace(
    PLAIN,
    positions=None,
    token_types=0,
    widening="before_norm",
    distances=Disentangled(span=16, buckets=8, norm="layer_norm"),
)
BEHIND = EncoderDecoder(
    vocab_size=99,
    embedding_size=40,
    hidden_size=40,
    heads=5,
    intermediate_size=128,
    schedule=(0,),
    positions=Learned(count=66),
    first_place=2,
    decoder=DecoderSpec(schedule=(0, 1), heads=2, intermediate_size=48, start=2, end=3),
)
CHANCE = np.random.default_rng(0)
IDS = CHANCE.integers(1, 99, (5, 23))


def made(architecture):
    return scramble(create(architecture))


def session_of(model, precision):
    if precision != "measured":
        return opened(parts(model), precision=precision)
    batch = {"input_ids": IDS, "attention_mask": np.ones_like(IDS), "token_type_ids": np.zeros_like(IDS)}
    return opened(parts(model), precision="int8", ranges=input_ranges(model, [batch]))


@pytest.fixture(scope="module", params=[PLAIN, APART, BEHIND], ids=["words", "distances", "decoder"])
def model(request):
    return made(request.param)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_row_does_not_change_with_its_neighbours(model, precision):
    """Catches one scale for the states of all rows, which makes a row's answer depend on the rows beside it."""
    session = session_of(model, precision)
    alone = answers(session, IDS[:1])["sentence_embedding"][0]
    for others in (IDS[1:3], IDS[1:5]):
        beside = answers(session, np.concatenate([IDS[:1], others]))["sentence_embedding"][0]
        assert np.abs(alone - beside).max() < 1e-6


@pytest.mark.parametrize("precision", PRECISIONS)
def test_padding_changes_nothing(model, precision):
    """Catches padding that is read, by its keys or as part of a block's scale."""
    session = session_of(model, precision)
    short = answers(session, IDS[:2, :9])
    ids, keep = IDS[:2].copy(), np.ones((2, 23), np.int64)
    keep[:, 9:] = 0
    long = answers(session, ids, keep)
    assert np.abs(short["last_hidden_state"] - long["last_hidden_state"][:, :9]).max() < 2e-5
    assert np.abs(short["sentence_embedding"] - long["sentence_embedding"]).max() < 2e-5


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rounding_is_small(model, precision):
    """Catches a scale, a zero point or a bias of the wrong product: what is left is then another network."""
    if precision == "measured" and not adds_bytes_exactly():
        pytest.skip("this processor's sums of bytes saturate")
    with torch.inference_mode():
        want = model(torch.from_numpy(IDS)).last_hidden_state.numpy()
    got = answers(session_of(model, precision), IDS)["last_hidden_state"]
    off = np.linalg.norm(got - want) / np.linalg.norm(want)
    assert off < {"float32": 1e-5, "int8": 0.03, "int4": 0.35, "measured": 0.04}[precision]


def test_one_session_reads_any_shape(model):
    """Catches a shape that was fixed when the graph was written, as of one token, or past the span."""
    session = opened(parts(model))
    for rows, length in ((1, 1), (3, 2), (2, 17), (1, 64), (4, 5), (1, 1)):
        ids = CHANCE.integers(1, 99, (rows, length))
        with torch.inference_mode():
            want = model(torch.from_numpy(ids)).last_hidden_state.numpy()
        assert np.abs(answers(session, ids)["last_hidden_state"] - want).max() < 2e-5


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_products_of_few_bits_are_those_of_their_weights(bits, rows):
    """Catches a runtime that multiplies a single row otherwise, as asymmetric ones of 4 bits on some machines."""
    weight = CHANCE.normal(0, 1, (48, 96)).astype(np.float32)
    graph = GraphBuilder()
    x = graph.input("x", np.float32, ("rows", 96))
    graph.output("y", BlockProducts(graph, {"a.weight": weight}, bits=bits).whole("a", x), np.float32, ("rows", 48))
    session = onnxruntime.InferenceSession(
        graph.model("one").SerializeToString(), providers=["CPUExecutionProvider"]
    )
    numbers, scales = quantized_blocks(weight, bits=bits, block=32)
    if bits == 4:
        numbers = np.stack([numbers & 15, numbers >> 4], -1).reshape(48, 3, 32)
    rounded = ((numbers.astype(np.float32) - (128 if bits == 8 else 8)) * scales[..., None]).reshape(48, 96)
    assert (np.abs(rounded - weight).reshape(48, 3, 32) <= 1.01 * np.abs(scales[..., None])).all()
    states = CHANCE.normal(0, 1, (rows, 96)).astype(np.float32)
    got, want = session.run(None, {"x": states})[0], states @ rounded.T
    assert np.abs(got - want).max() < 0.02 * np.abs(want).max()  # states are rounded to 8 bits


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("mode", [*POOLING_MODES, ("max", "mean")])
def test_pooling_is_that_of_the_network(mode, normalized):
    """Catches a mode that counts padding, or takes the last place for the last token."""
    model = made(PLAIN)
    keep = np.arange(23) < np.array([[23], [9], [1]])
    session = opened(replace(parts(model), pooling=mode, steps=(UnitLengthStep(),) * normalized))
    got = answers(session, IDS[:3], keep)["sentence_embedding"]
    with torch.inference_mode():
        hidden = model(torch.from_numpy(IDS[:3]), torch.from_numpy(keep)).last_hidden_state
        want = pool(hidden, torch.from_numpy(keep), mode)
        want = torch.nn.functional.normalize(want, dim=-1) if normalized else want
    assert np.abs(got - want.numpy()).max() < 2e-5


@pytest.mark.parametrize("precision", PRECISIONS[:3])
def test_shared_weights_are_stored_once(precision):
    """Catches a file of ALBERT with twelve times the weights."""
    once = onnx_model(parts(made(replace(PLAIN, schedule=(0,)))), {}, precision=precision)
    often = onnx_model(parts(made(replace(PLAIN, schedule=(0,) * 6))), {}, precision=precision)
    assert [entry.name for entry in once.graph.initializer] == [entry.name for entry in often.graph.initializer]


def test_nothing_stored_grows_with_the_length():
    """Catches a table of every pair of places, or of each distance for all lengths there may be."""
    for span in (16, 1024):
        proto = onnx_model(
            parts(made(replace(APART, distances=Disentangled(span=span, buckets=8, norm="layer_norm")))), {}
        )
        sizes = {entry.name: onnx.numpy_helper.to_array(entry).size for entry in proto.graph.initializer}
        assert sizes["distances.bucket"] == 2 * span + 1  # a row number for each distance
        assert max(sizes.values()) <= max(99 * 24, 72 * 40, 2 * span + 1)
