"""T5's bias for distances against plain numbers and the released code. Each test names the fault it is to catch."""

import pytest
import torch

from battery import scramble
from reference.attention import bias_row
from sijo.errors import SettingError
from sijo.nn.architecture import Architecture, Disentangled, RelativeBias
from sijo.nn.relative_bias import RelativeBiasTable

SIZES = {"vocab_size": 31, "embedding_size": 12, "hidden_size": 12, "heads": 3, "intermediate_size": 10}


@pytest.mark.parametrize("buckets, span", [(32, 128), (8, 6), (4, 2), (6, 40), (32, 64), (10, 9)])
def test_rows_are_the_formula_s(buckets, span):
    # kills: sides turned round, a bucket that begins one distance late, buckets that stop before the span
    choice = RelativeBias(buckets=buckets, span=span)
    assert len(choice.rows) == 2 * span + 1
    assert choice.rows == tuple(bias_row(distance, 0, choice) for distance in range(-span, span + 1))
    assert bias_row(0, 600, choice) == choice.rows[0] and bias_row(600, 0, choice) == choice.rows[-1]


def test_rows_are_the_released_code_s():
    # kills: what formula and reference have in common that MPNet has not
    encoder = pytest.importorskip("transformers.models.mpnet.modeling_mpnet").MPNetEncoder
    distance = torch.arange(-600, 601)  # of keys from queries: j - i
    want = encoder.relative_position_bucket(distance, num_buckets=32).tolist()
    rows = RelativeBias().rows
    assert [rows[min(max(-d, -128), 128) + 128] for d in distance.tolist()] == want


@pytest.mark.parametrize("length", [1, 5, 40])
def test_every_score_gets_its_head_s_number(length):
    # kills: queries taken for keys; heads mixed up; distances past the span that read past the table
    choice = RelativeBias(buckets=8, span=9)
    table = scramble(RelativeBiasTable(Architecture(**SIZES, schedule=(0,)), choice).double())
    got, rows = table(torch.arange(length)[None]), table.rows.weight.tolist()
    assert got.shape == (1, 3, length, length)
    for i in range(length):
        for j in range(length):
            assert got[0, :, i, j].tolist() == rows[bias_row(i, j, choice)]


@pytest.mark.parametrize("fields", [{"buckets": 3}, {"buckets": 2}, {"buckets": 7}, {"span": 8}, {"span": 0}])
def test_settings_that_cannot_be(fields):
    # kills: a table with a side of no bucket, and a logarithm of 1 that is divided by
    with pytest.raises(SettingError):
        RelativeBias(**fields)


def test_one_way_to_tell_distances():
    # kills: a bias that is overwritten by the scores of distances, in silence
    with pytest.raises(SettingError, match="choose one of them"):
        Architecture(**SIZES, schedule=(0,), distances=Disentangled(span=9), relative_bias=RelativeBias())
