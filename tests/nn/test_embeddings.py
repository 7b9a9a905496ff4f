"""From ids to the first hidden states, against plain numbers. Each test names the fault it is to catch."""

import math

import pytest
import torch

from battery import scramble
from reference import embeddings as plain
from sijo.nn.architecture import Architecture, Disentangled, Learned, Sinusoidal
from sijo.nn.embeddings import Embeddings
from sijo.nn.transformer import start

POSITIONS = [None, Learned(count=9), Sinusoidal(count=9), Sinusoidal(count=9, layout="halves")]
WIDENINGS = [(12, None), (12, "after_norm"), (5, "after_norm"), (5, "before_norm"), (17, "before_norm")]


def architecture(**changes):
    sizes = {"vocab_size": 31, "embedding_size": 12, "hidden_size": 12, "heads": 3, "intermediate_size": 10}
    return Architecture(**(sizes | {"schedule": (0,)} | changes))


def scrambled(part):
    """Every weight set, in double precision."""
    return scramble(part.double(), 1.0)


@pytest.mark.parametrize("positions", POSITIONS, ids=str)
@pytest.mark.parametrize("size, widening", WIDENINGS)
@pytest.mark.parametrize("entry", ["norm", "scale"])
@pytest.mark.parametrize("apart", [None, Disentangled(span=4)], ids=["", "distances"])
def test_embeddings_match_the_formula(positions, size, widening, entry, apart):
    # kills: a table left out, a projection on the wrong side of the norm or with the wrong bias, a table of
    # waves that is computed anew over what was loaded, a scale after the places, padding that is not zeroed
    a = architecture(
        embedding_size=size, widening=widening, positions=positions, entry=entry, distances=apart, token_types=3
    )
    part = scrambled(Embeddings(a))
    ids, keep, types = [3, 0, 30, 7], [True, True, True, False], [0, 2, 1, 0]
    got = part(torch.tensor([ids]), torch.tensor([types]), None, torch.tensor([keep]))
    weights = {f"embeddings.{name}": tensor.tolist() for name, tensor in part.state_dict().items()}
    want = plain.embed(a, weights, ids, keep, types)
    torch.testing.assert_close(got, got.new_tensor([want]), rtol=0, atol=1e-12)
    assert ("embeddings.norm.weight" in weights) == (entry == "norm")
    if widening == "after_norm" and entry == "norm":
        assert len(weights["embeddings.norm.weight"]) == size


def test_padding_is_exactly_nothing_to_a_network_of_distances():
    # kills: a norm whose bias fills padding in, which a convolution would read
    a = architecture(distances=Disentangled(span=4), embedding_size=5, widening="before_norm")
    got = scrambled(Embeddings(a))(torch.tensor([[4, 5, 6]]), None, None, torch.tensor([[True, False, False]]))
    assert got[0, 0].all() and not got[0, 1:].any()


def test_waves_of_the_two_layouts():
    # kills: sines and cosines by turns where CTRL has halves, or the other way round
    sines, cosines = (0.84147098, 0.09983342, 0.00999983, 0.001), (0.54030231, 0.99500417, 0.99995, 0.9999995)
    by_turns = [number for pair in zip(sines, cosines, strict=True) for number in pair]
    fifth = [-0.95892427, 0.47942554, 0.04997917, 0.00499998, 0.28366219, 0.87758256, 0.99875026, 0.9999875]
    for layout, places in (
        ("halves", [[0, 0, 0, 0, 1, 1, 1, 1], [*sines, *cosines], None, None, None, fifth]),
        ("interleaved", [[0, 1] * 4, by_turns]),
    ):
        a = architecture(
            embedding_size=8, hidden_size=8, heads=2, positions=Sinusoidal(count=9, layout=layout), entry="scale"
        )
        part = Embeddings(a).eval()
        start(part, std=0.02)
        with torch.no_grad():
            part.tokens.weight.zero_()
        got = part(torch.ones(1, 9, dtype=torch.int64), None, None, None)[0]
        for place, want in enumerate(places):
            if want is not None:
                torch.testing.assert_close(got[place], torch.tensor(want, dtype=torch.float32), rtol=0, atol=1e-7)
                assert plain.wave(place, 8, layout) == pytest.approx(want, abs=1e-7)


def test_tokens_are_scaled_by_the_root_of_the_width_before_places():
    # kills: places that are scaled as well, and a scale by the width
    a = architecture(
        hidden_size=1280, embedding_size=1280, heads=16, positions=Sinusoidal(count=4, layout="halves")
    )
    part = scrambled(Embeddings(Architecture(**(vars(a) | {"entry": "scale"}))))
    got = part(torch.tensor([[5]]), None, None, None)[0, 0]
    want = 35.77708764 * part.tokens.weight[5]
    want[640:] += 1
    torch.testing.assert_close(got, want, rtol=0, atol=1e-6)
    assert math.isclose(math.sqrt(1280), 35.77708764, abs_tol=1e-8)


def test_a_stored_table_of_waves_is_not_trained():
    # kills: waves that drift, and waves in double precision rounded otherwise than DistilBERT's
    part = Embeddings(architecture(positions=Sinusoidal(count=700)))
    start(part, std=0.02)
    assert [name for name, weight in part.named_parameters() if not weight.requires_grad] == ["places.weight"]
    want = torch.tensor([plain.wave(place, 12, "interleaved") for place in (0, 1, 511, 699)])
    assert torch.equal(part.places.weight[[0, 1, 511, 699]], want)
    with torch.device("meta"):
        assert not Embeddings(part.architecture).places.weight.requires_grad


def test_given_places_are_read():
    # kills: position_ids that are accepted and ignored
    for positions in POSITIONS[1:]:
        part = scrambled(Embeddings(architecture(positions=positions)))
        ids = torch.tensor([[4, 5, 6]])
        moved = part(ids, None, torch.tensor([[6, 7, 8]]), None)
        assert torch.equal(part(ids, None, torch.tensor([[0, 1, 2]]), None), part(ids, None, None, None))
        assert not torch.isclose(moved, part(ids, None, None, None)).all(-1).any()


@pytest.mark.parametrize("places", [[0, 7, 511], [512, 3, 600]], ids=["all kept", "one beyond"])
def test_waves_that_are_kept_are_those_that_are_computed(places):
    # kills: a row of the kept table that is another place's, a place beyond it, a table in single precision
    part = scrambled(Embeddings(architecture(entry="scale", positions=Sinusoidal(count=700, layout="halves"))))
    got = part(torch.zeros(1, 3, dtype=torch.int64), None, torch.tensor([places]), None)[0]
    for place, found in zip(places, got, strict=True):
        want = part(torch.zeros(1, place + 1, dtype=torch.int64), None, None, None)[0, -1]
        torch.testing.assert_close(found, want, rtol=0, atol=1e-13)
