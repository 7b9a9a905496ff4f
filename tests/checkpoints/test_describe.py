"""What a folder is, told without torch, is what `load` makes of it."""

import json
import subprocess
import sys

import pytest

import sijo
from sijo.checkpoints.describe import FolderDescription, describe
from sijo.checkpoints.save import save
from sijo.errors import CheckpointError, RefusedError

SCRIPT = """
import json, sys
import sijo.models
from sijo.checkpoints.describe import describe
folder = describe(sys.argv[1])
told = folder.family.model_type, folder.architecture.layers, folder.heads, folder.labels, folder.sentence.max_length
print(json.dumps([*told, folder.tokenizer.max_length, "torch" in sys.modules]))
"""


def test_a_folder_is_described_without_torch(tiny_model):
    # kills: a specification that stands beside its network, and a header read through torch
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tiny_model)], capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout) == ["bert", 2, [], ["LABEL_0", "LABEL_1"], 32, 32, False]


@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 1_000])
def test_it_says_what_load_makes_of_the_folder(tiny_model, tmp_path, shard_bytes):
    # kills: heads told by config.json alone, the first shard taken for all, labels of another order
    labelled = sijo.load(tiny_model, "new:sequence-classification", labels=["sea", "land", "air"])
    folder = save(labelled, tmp_path / "labelled", shard_bytes=shard_bytes)
    described, model = describe(folder), sijo.load(folder)
    assert described.heads == model.heads == ("sequence-classification",)
    assert described.labels == model.labels == ("sea", "land", "air")
    assert described.architecture == model.architecture
    assert described.sentence == model.sentence
    assert described.tokenizer.fingerprint == model.tokenizer.fingerprint


def test_labels_of_a_fresh_head(tiny_model):
    # kills: columns named in a config that is then read without them
    described = FolderDescription(tiny_model, ["sea", "land", "air"])
    assert described.labels == ("sea", "land", "air")
    assert described.fields["label2id"] == {"sea": 0, "land": 1, "air": 2}


def test_files_are_checked_though_only_names_are_asked_for(tiny_copy):
    # kills: a pickle's, a part's or a lying file's names believed, since nothing of it is loaded
    file = tiny_copy / "model.safetensors"
    whole = file.read_bytes()
    for content, kind, word in (
        (b"\x80\x04\x95" + b"\xff" * 30, RefusedError, "is a pickle under a safetensors name"),
        (whole[:-4], CheckpointError, "damaged or cut short"),
    ):
        file.write_bytes(content)
        with pytest.raises(kind, match=word) as told:
            _ = describe(tiny_copy).heads
        with pytest.raises(kind) as loaded:
            sijo.load(tiny_copy)
        assert str(told.value) == str(loaded.value)
    file.rename(tiny_copy / "model.bin")
    with pytest.raises(RefusedError, match="a pickle, which can run code"):
        _ = describe(tiny_copy).heads
