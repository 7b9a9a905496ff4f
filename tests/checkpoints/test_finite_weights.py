"""Weights that are NaN or infinite: no door lets them in, or out. Each test names the fault it kills."""

import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import sijo
from sijo.checkpoints.contents import inspect
from sijo.checkpoints.conversion.convert import convert
from sijo.checkpoints.weights import not_finite
from sijo.errors import CheckpointError, SettingError
from sijo.nn.architecture import Architecture, Learned

BAD = [math.nan, math.inf, -math.inf]
PLACES = [
    "embeddings.word_embeddings.weight",
    "embeddings.LayerNorm.bias",
    "encoder.layer.1.attention.self.query.weight",
    "encoder.layer.0.output.dense.bias",
    "pooler.dense.weight",
]


def spoil(folder, name, value, dtype=None):
    """Put a value into the last place of a folder's tensor, once all are of that dtype."""
    weights = load_file(folder / "model.safetensors")
    if dtype is not None:
        weights = {name: tensor.to(dtype) for name, tensor in weights.items()}
    weights[name].view(-1)[-1] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", PLACES)
def test_a_weight_that_is_no_number_is_refused_by_name(tiny_copy, name, value):
    # kills: a label, or a vector, that comes of NaN; a tensor that the check leaves out
    with pytest.raises(CheckpointError, match=rf"1 of the .* numbers of .*{name} are NaN or infinite"):
        sijo.load(spoil(tiny_copy, name, value))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_in_every_precision_of_a_file(tiny_copy, dtype):
    # kills: a check of float32 alone, which a file in half precision passes by
    spoil(tiny_copy, PLACES[2], math.nan, dtype)
    for asked in ("float32", "bfloat16", "float16"):
        with pytest.raises(CheckpointError, match=PLACES[2]):
            sijo.load(tiny_copy, dtype=asked)


@pytest.mark.parametrize("value", [7e4, -1e30, 3.4e38])
def test_a_weight_beyond_the_dtype_that_is_asked_for(tiny_copy, value):
    # kills: a finite weight that the cast makes infinite, without a word
    spoil(tiny_copy, PLACES[3], value)
    with pytest.raises(SettingError, match=r'beyond float16, .* use dtype="float32" or "bfloat16"'):
        sijo.load(tiny_copy, dtype="float16")
    sijo.load(tiny_copy)  # it is a number all the same


def test_other_casts_that_overflow(tiny_copy):
    # kills: bfloat16 taken to have all of float32's range; float64 beyond what sijo computes in
    spoil(tiny_copy, PLACES[3], 3.4e38)
    with pytest.raises(SettingError, match=r'beyond bfloat16, .* use dtype="float32" \(--precision exact\)'):
        sijo.load(tiny_copy, dtype="bfloat16")
    spoil(tiny_copy, PLACES[3], 1e300, torch.float64)
    with pytest.raises(CheckpointError, match="beyond float32"):
        sijo.load(tiny_copy)


def test_a_head_counts_when_it_is_opened_and_a_tied_table_is_told_as_it_is(tmp_path):
    # kills: a head's weights left out; NaN, which never equals itself, taken for an output table of its own
    size = Architecture(
        **{"vocab_size": 30, "embedding_size": 8, "hidden_size": 8, "heads": 2, "intermediate_size": 8},
        schedule=(0,),
        positions=Learned(count=16),
        token_types=2,
    )
    folder = sijo.save(sijo.create(size, "mlm"), tmp_path / "model")
    (folder / "manifest.json").unlink()
    weights = load_file(folder / "model.safetensors")
    table = next(name for name in weights if name.endswith("word_embeddings.weight"))
    bias = next(name for name in weights if name.startswith("cls.") and name.endswith("dense.bias"))
    spoil(folder, bias, math.nan)
    sijo.load(folder)  # the encoder alone is sound
    with pytest.raises(CheckpointError, match=bias):
        sijo.load(folder, "mlm")
    weights[table].view(-1)[0] = math.nan
    weights["cls.predictions.decoder.weight"] = weights[table].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="are NaN or infinite"):
        sijo.load(folder, "mlm")


def test_what_inspects_converts_and_trains_opens_by_the_same_door(sijo_cli, tiny_copy, tmp_path, write):
    # kills: a command that reads weights past the check; a folder that is left though it is no model
    spoil(tiny_copy, PLACES[0], math.nan)
    contents, _, error = inspect(tiny_copy)
    assert isinstance(error, CheckpointError) and PLACES[0] in contents["would_not_load"]["encoder"]
    with pytest.raises(CheckpointError, match=PLACES[0]):
        convert(tiny_copy, tmp_path / "new")
    pickle = tmp_path / "old"
    shutil.copytree(tiny_copy, pickle)
    torch.save(load_file(pickle / "model.safetensors"), pickle / "pytorch_model.bin")
    (pickle / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=PLACES[0]):
        convert(pickle, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    rows = write("rows.csv", "text,label\n" + "the sea,a\nthe land,b\n" * 8)
    for command in (
        ("inspect", tiny_copy),
        ("classify", rows, "--column", "text", "--labels", "sea,land", "--model", tiny_copy),
        ("evaluate", "--data", rows, "--model", tiny_copy),
        ("convert", tiny_copy, tmp_path / "new"),
        ("finetune", "--model", tiny_copy, "--train", rows, "--out", tmp_path / "run"),
    ):
        sijo_cli(*command).must_say(5, PLACES[0], "NaN or infinite")


@pytest.mark.parametrize("value", BAD)
def test_nothing_is_saved_that_would_not_open(tiny_model, tmp_path, value):
    # kills: a diverged model exported as if it were one
    model = sijo.load(tiny_model)
    own = dict(model.state_dict())
    name = next(name for name in own if name.endswith("query.weight"))
    spoilt = own[name].clone()
    spoilt[0, 0] = value
    with pytest.raises(SettingError, match=r"query\.weight are NaN or infinite"):
        sijo.save(model, tmp_path / "new", tensors=own | {name: spoilt})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("deviation", [math.nan, math.inf, -1.0])
def test_no_weights_are_drawn_that_are_no_numbers(deviation):
    # kills: a fresh model of NaN
    with pytest.raises(SettingError, match="initializer_range"):
        Architecture(
            vocab_size=9,
            embedding_size=4,
            hidden_size=4,
            heads=2,
            intermediate_size=4,
            schedule=(0,),
            initializer_range=deviation,
        )


def test_counted_however_a_tensor_lies():
    # kills: an empty tensor, integers, a view with gaps, or a sum that overflows though each number is finite
    assert not_finite(torch.zeros(0)) == not_finite(torch.tensor([2**40])) == not_finite(torch.tensor(1.0)) == 0
    assert not_finite(torch.full((9,), 3e38)) == not_finite(torch.full((9,), 6e4).half()) == 0
    table = torch.zeros(4, 4)
    table[:, 3] = math.nan
    assert not_finite(table[:, ::2]) == 0 and not_finite(table.T) == 4
