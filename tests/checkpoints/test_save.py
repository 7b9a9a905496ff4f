"""Weights that are written in place of the model's own."""

import json

import pytest
import torch

import sijo
from sijo.checkpoints.save import save
from sijo.errors import SettingError
from sijo.files.folders import digests


@pytest.fixture
def model(tiny_model):
    return sijo.load(tiny_model, "new:sequence-classification", labels=["sea", "land"])


def test_other_weights_are_written_in_place_of_the_models(model, tmp_path):
    # kills: the model's own weights written, a head's left out, the dtype of the model told
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mean = {name: (tensor / 2).bfloat16() for name, tensor in reversed(own.items())}
    save(model, tmp_path / "mean", tensors=mean)
    again = sijo.load(tmp_path / "mean", "sequence-classification", dtype="bfloat16")
    assert again.state_dict().keys() == mean.keys()
    for name, tensor in again.state_dict().items():
        torch.testing.assert_close(tensor, mean[name], rtol=0, atol=0)
    assert json.loads((tmp_path / "mean/config.json").read_text())["dtype"] == "bfloat16"
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, own[name]), f"{name} was changed"


def test_the_models_own_weights_give_the_same_bytes(model, tmp_path):
    # kills: tensors in the order that they are handed over
    save(model, tmp_path / "own")
    save(model, tmp_path / "same", tensors=dict(reversed(model.state_dict().items())))
    assert digests(tmp_path / "own") == digests(tmp_path / "same")


def test_weights_that_do_not_fit_are_named(model, tmp_path):
    # kills: a tensor of the model's written where one was forgotten, and one that nobody will read
    own = dict(model.state_dict())
    name = "transformer.blocks.1.widen.bias"
    for tensors in (
        {other: tensor for other, tensor in own.items() if other != name},
        own | {name: own[name][:-1]},
        own | {name: own[name][None]},
    ):
        with pytest.raises(SettingError, match=name):
            save(model, tmp_path / "none", tensors=tensors)
    with pytest.raises(SettingError, match="average is"):
        save(model, tmp_path / "none", tensors=own | {"average": torch.ones(2)})
    assert not (tmp_path / "none").exists()
