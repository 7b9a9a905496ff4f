"""Distances, buckets and disentangled attention against plain numbers. Each test names the fault it is to catch."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch

from battery import scramble
from reference import attention as plain
from sijo.errors import SettingError
from sijo.nn.architecture import Architecture, Disentangled
from sijo.nn.attention import SelfAttention, View, view
from sijo.nn.distances import DistanceScores, DistanceTable, distance_bucket, skew
from sijo.nn.transformer import Transformer

TERMS = [(), ("c2p",), ("p2c",), ("c2p", "p2c")]
# value: how many distances have it, of each setting, from the released code
TABLES = {
    (8, 32): {5: 3, 6: 8, 7: 16},
    (16, 64): {9: 2, 10: 4, 11: 5, 12: 7, 13: 8, 14: 12, 15: 17},
    (32, 128): dict(zip(range(17, 32), (2, 3, 3, 3, 4, 5, 6, 6, 7, 8, 10, 10, 13, 14, 17), strict=True)),
}
SUMS = {(8, 32): 185, (16, 64): 760, (32, 128): 3074, (256, 512): 87_297}
ANCHORS = {
    **dict.fromkeys(range(255, 258), 192),
    **{129: 129, 130: 130, 131: 131, 132: 131, 133: 132, 134: 133, 135: 133, 136: 134, 137: 135, 138: 135},
    **{139: 136, 140: 137, 141: 137, 142: 138, 143: 139, 144: 139, 150: 143, 160: 149, 180: 160, 192: 166},
    **{200: 169, 220: 178, 240: 186, 250: 190, 254: 191, 258: 193, 259: 193, 260: 194, 261: 194, 280: 200},
    **{300: 207, 320: 213, 350: 221, 384: 229, 400: 233, 420: 238, 450: 244, 480: 250, 499: 253, 500: 254},
    **{504: 254, 505: 254, 506: 255, 511: 255},
}


def architecture(distances, **changes):
    sizes = {"vocab_size": 31, "embedding_size": 12, "hidden_size": 12, "heads": 3, "intermediate_size": 10}
    return Architecture(**(sizes | {"schedule": (0, 0), "distances": distances} | changes))


def scrambled(part, size=0.7):
    """Every weight set, in double precision."""
    return scramble(part.double(), size)


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def maps(attention):
    """The linear maps of an attention part as plain numbers."""
    return {
        name: (m.weight.tolist(), None if m.bias is None else m.bias.tolist())
        for name, m in attention.named_modules()
        if isinstance(m, torch.nn.Linear)
    }


def of(buckets, span, distances):
    return distance_bucket(torch.tensor(list(distances)), buckets=buckets, span=span).tolist()


def test_buckets_are_those_of_the_released_code():
    # kills: a floor for the ceiling, a half taken one too far, a logarithm of the wrong span
    assert of(256, 512, range(129)) == list(range(129))
    assert of(256, 512, ANCHORS) == list(ANCHORS.values())
    for (buckets, span), runs in TABLES.items():
        got = of(buckets, span, range(span))
        assert got[: buckets // 2 + 1] == list(range(buckets // 2 + 1))
        assert {value: got.count(value) for value in range(buckets // 2 + 1, buckets)} == runs
    for (buckets, span), total in SUMS.items():
        assert sum(of(buckets, span, range(span))) == total
    assert set(of(256, 512, range(512))) == set(range(256))


@pytest.mark.parametrize("buckets", [0, 2, 3, 4, 5, 8, 9, 18, 20, 26, 32, 64])
def test_buckets_are_exact_at_every_setting(buckets):
    # kills: a logarithm that comes out a hair above a whole number and falls into the next bucket (18 and 26
    # among 101, or the last of 70 into a row past the table), and no end to the distances
    for span in {buckets // 2 + 2, buckets // 2 + 5, 17, 26, 65, 70, 81, 101, 129}:
        if span <= buckets // 2 + 1:
            continue
        reach = range(-3 * span, 3 * span)
        got = of(buckets, span, reach)
        assert got == [plain.bucket(r, buckets, span) for r in reach]
        assert got == sorted(got)
        assert of(buckets, span, [-r for r in reach]) == [-bucket for bucket in got]
        assert max(got) < (buckets or span)


def test_one_bucket_is_refused():
    # kills: a division by zero in the first forward pass
    with pytest.raises(SettingError, match="buckets=1"):
        Disentangled(span=9, buckets=1)


@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_the_view_of_scores_by_distance_is_the_gather(length):
    # kills: a row stride that is one off, and distances in the wrong order
    whole = draw(3, 3, length, 2 * length)
    for scores in (whole, whole[1:], whole.transpose(0, 1)):
        got = skew(scores)
        for i, j in product(range(length), repeat=2):
            assert torch.equal(got[..., i, j], scores[..., i, length - 1 - i + j])


@pytest.mark.parametrize("part", [lambda one: one, lambda one: one[1:], lambda one: one.transpose(-1, -2)])
def test_the_gradient_goes_back_by_the_same_view(part):
    # kills: a gradient that lands one score off, where the scores begin later in memory or lie another way
    scores = draw(2, 8, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda one: skew(part(one)[..., :4, :]), scores)


@pytest.mark.parametrize("projections", ["shared", "own"])
@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize(
    "buckets, span, length, longest",
    [
        *((0, 9, 6, None), (0, 4, 9, None), (4, 7, 11, None), (8, 9, 5, None), (6, 5, 1, None)),
        *((0, 4, 9, 9), (0, 4, 4, 9), (0, 4, 5, 6), (0, 4, 7, 5), (0, 4, 9, 4), (0, 9, 11, 5), (4, 5, 9, 9)),
    ],
)
def test_scores_match_the_formula_pair_by_pair(projections, terms, buckets, span, length, longest):
    # kills: distance mirrored in one term, the query's map used for keys, a scale that forgets a term, the
    # words' map where distances have their own, heads that share a slice, a table too short for the input, and
    # far keys to the right on row 1 where training put them on row 0, or on row 0 where nothing trained it
    apart = Disentangled(
        span=span,
        buckets=buckets,
        terms=terms,
        projections=projections,
        key_bias=length % 2 == 0,
        longest=longest,
    )
    a = architecture(apart)
    part, table = scrambled(SelfAttention(a)), scrambled(DistanceTable(a, apart))
    hidden, asking = draw(1, length, 12), draw(1, length, 12, seed=2)
    keep = [place % 4 != 2 for place in range(length)]
    seen = view(a, torch.tensor([keep]), hidden)
    got = part(asking, hidden, View(seen.unseen, seen.bias, table(length)))
    may = [[x and y for y in keep] for x in keep]
    rows = table.rows.weight.tolist()
    want = plain.attention(asking[0].tolist(), hidden[0].tolist(), maps(part), 3, may, rows, apart)
    torch.testing.assert_close(got, draw(1).new_tensor([want]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", [1, 5, 8, 9, 40])
@pytest.mark.parametrize("buckets", [0, 4])
def test_the_row_before_the_first_distance_is_never_trained(buckets, length):
    # kills: distances beyond the span that land on row 0, where no training at the usual lengths goes
    a = architecture(Disentangled(span=8, buckets=buckets), token_types=0)
    model = scrambled(Transformer(a))
    ids = torch.randint(31, (2, length), generator=torch.Generator().manual_seed(3))
    model(ids).last_hidden_state.pow(3).sum().backward()
    gradient = model.distances.rows.weight.grad
    assert not gradient[0].any()
    if length > 8:  # at these, every other row is reached
        assert gradient[1:].any(1).all()


def test_the_row_before_the_first_distance_is_trained_where_inputs_are_longer_than_the_span():
    # kills: row 0 that training never reaches although the released code reads it, or reached within the span
    model = scrambled(Transformer(architecture(Disentangled(span=8, longest=9), token_types=0)))
    for length, reached in ((8, False), (9, True), (40, True)):
        model.zero_grad()
        model(torch.arange(length)[None] % 31).last_hidden_state.pow(3).sum().backward()
        assert bool(model.distances.rows.weight.grad[0].any()) == reached


@pytest.mark.parametrize("terms", TERMS)
def test_products_share_the_root_of_their_number(terms):
    # kills: 1/sqrt(d) where there are three products, or sqrt(3d) where there is one
    apart = Disentangled(span=9, terms=terms)
    a = architecture(apart)
    part, table = scrambled(SelfAttention(a)), scrambled(DistanceTable(a, apart))
    with torch.no_grad():
        table.rows.weight.zero_()
        part.query.bias.zero_()
        part.key.bias.zero_()
    hidden = draw(1, 5, 12)
    read = part(hidden, hidden, View(distances=table(5)))
    q, k, v = (m(hidden).unflatten(-1, (3, 4)).transpose(1, 2) for m in (part.query, part.key, part.value))
    share = (q @ k.transpose(-1, -2) / math.sqrt(4 * (1 + len(terms)))).softmax(-1)
    torch.testing.assert_close(read, part.out((share @ v).transpose(1, 2).flatten(2)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("terms", TERMS)
def test_order_matters_only_through_distances(terms):
    # kills: a term that is computed and not added, and places that come in some other way
    model = scrambled(Transformer(architecture(Disentangled(span=9, terms=terms))))
    ids = torch.arange(1, 8)[None]
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    with torch.inference_mode():
        moved = model(ids[:, order]).last_hidden_state
        gap = (moved - model(ids).last_hidden_state[:, order]).abs().max().item()
    assert gap < 1e-12 if not terms else gap > 1e-3


def test_a_table_is_normed_before_it_is_projected():
    # kills: a norm after the projection, or none
    apart = Disentangled(span=4, norm="layer_norm")
    table = scrambled(DistanceTable(architecture(apart), apart))
    rows = table.norm(table.rows.weight)
    assert torch.equal(table(3), rows[[6, 5, 4, 3, 2, 1]])


def test_a_projection_that_no_term_needs_is_not_there():
    # kills: weights that never get a gradient
    for terms in TERMS:
        part = DistanceScores(architecture(None), Disentangled(span=4, terms=terms, projections="own"))
        assert (part.key is not None, part.query is not None) == ("c2p" in terms, "p2c" in terms)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size, near", [(1.0, True), (60.0, False)])
def test_scores_of_ten_thousand_in_half_precision(dtype, size, near):
    # kills: sums of three products that pass 65,504 and turn into NaN, and a row without a key that does
    apart = Disentangled(span=16, buckets=8)
    a = architecture(apart, hidden_size=24, embedding_size=24)
    part, table = (scrambled(m(*x), 0.4).to(dtype) for m, x in ((SelfAttention, (a,)), (DistanceTable, (a, apart))))
    hidden = (draw(2, 20, 24) * size).to(dtype)
    with torch.no_grad():
        table.rows.weight.mul_(size)
    keep = torch.arange(20) < torch.tensor([[13], [0]])  # a padded row, and one that is padding alone
    seen = view(a, keep, hidden)
    wide = view(a, keep, hidden.float())
    with torch.inference_mode():
        got = part(hidden, hidden, View(seen.unseen, seen.bias, table(20)))
        full_part, full_table = part.float(), table.float()
        want = full_part(hidden.float(), hidden.float(), View(wide.unseen, wide.bias, full_table(20)))
        q, k = (m(hidden.float()).unflatten(-1, (3, 8)).transpose(1, 2) for m in (full_part.query, full_part.key))
        top = (q @ k.transpose(-1, -2)).abs().max().item() / math.sqrt(24)
    assert torch.isfinite(got).all()
    assert (top > 1e4) != near
    if near:
        limit = {torch.float16: 0.01, torch.bfloat16: 0.1}[dtype]
        assert (got.float() - want)[keep].abs().max().item() < limit * want.abs().max().item()


def test_no_place_means_no_limit_to_the_input():
    # kills: a limit taken from the span of distances
    a = architecture(Disentangled(span=4, buckets=4))
    assert a.places is None and replace(a, distances=None).places is None
    assert Transformer(a)(torch.ones(1, 30, dtype=torch.int64)).last_hidden_state.shape == (1, 30, 12)
