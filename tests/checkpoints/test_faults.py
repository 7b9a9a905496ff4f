"""A model's folder when its disk is full or fails while it is saved, and files of it that were cut short.

Each test names the fault it is to catch.
"""

import json
import shutil
from itertools import count

import pytest

import sijo
from failing import FAULTS, fault
from sijo.errors import CheckpointError, RefusedError
from sijo.export.blocks import export_blocks
from sijo.files.manifest import verify


def content(folder):
    """Every file of a folder with its bytes, but for the manifest."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("replaces", [False, True])
def test_a_save_that_fails_at_any_call(tiny_model, tmp_path, replaces, kind):
    # kills: an old model lost before the new one is whole, half a model under its name, litter that fills the disk,
    # an error that hides the system's
    model = sijo.load(tiny_model)
    changed = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    sijo.save(model, tmp_path / "old")
    sijo.save(model, tmp_path / "new", tensors=changed)
    old, new = (content(tmp_path / name) for name in ("old", "new"))
    for number in count(1):
        place = tmp_path / f"{number}"
        if replaces:
            shutil.copytree(tmp_path / "old", place / "model")
        place.mkdir(exist_ok=True)
        with fault(number, FAULTS[kind]) as calls:
            try:
                sijo.save(model, place / "model", tensors=changed, overwrite=replaces)
                raised = None
            except (OSError, MemoryError) as error:
                raised = error
        left = content(place / "model") if (place / "model").exists() else None
        if raised is None:
            assert left == new
        else:
            assert type(raised) is type(FAULTS[kind]()), calls()
            assert left in ([old, new] if replaces else [None, new]), calls()
        if left is not None:
            verify(place / "model")
        sijo.save(model, place / "model", tensors=changed, overwrite=True)
        assert content(place / "model") == new
        assert [path.name for path in place.iterdir()] == ["model"], calls()
        if number > len(calls()):
            break
    assert {"fsync", "write", "mkdir", "rename", "open"} <= set(calls()), calls()


def prefixes(size, *, most=120):
    """Lengths that a file of that size can be cut to: all of a short one; of a long one the first, and a spread."""
    return [*range(min(size, most // 2)), *range(most // 2, size, max(1, size // (most // 2)))]


@pytest.fixture(scope="module")
def folders(tiny_model, tmp_path_factory):
    """A model as sijo saves it, as others do, and without a manifest in several files of weights, and in blocks."""
    place = tmp_path_factory.mktemp("whole")
    model = sijo.load(tiny_model)
    sijo.save(model, place / "saved")
    shutil.copytree(tiny_model, place / "published")
    sijo.save(model, place / "shards", shard_bytes=8_000)
    (place / "shards" / "manifest.json").unlink()
    export_blocks(tiny_model, out=place / "blocks", bits=4, texts=["the old sea"], keep_anyway=True)
    (place / "blocks" / "manifest.json").unlink()
    return place


CUT = [
    ("saved", "config.json"),
    ("saved", "manifest.json"),
    ("saved", "tokenizer.json"),
    ("saved", "model.safetensors"),
    ("saved", "1_Pooling/config.json"),
    ("published", "config.json"),
    ("published", "tokenizer.json"),
    ("published", "model.safetensors"),
    ("published", "modules.json"),
    ("published", "1_Pooling/config.json"),
    ("published", "sentence_bert_config.json"),
    ("shards", "model.safetensors.index.json"),
    ("shards", "model-00001-of-*.safetensors"),
    ("blocks", "model_blocks.safetensors"),
    ("blocks", "model.onnx"),
]


@pytest.mark.parametrize("folder, name", CUT)
def test_every_prefix_of_a_file_is_refused(folders, tmp_path, folder, name):
    # kills: a file that was copied in part and answers otherwise than the whole, or ends in a stack trace
    shutil.copytree(folders / folder, tmp_path / "cut")
    [file] = (tmp_path / "cut").glob(name)
    whole = file.read_bytes()
    want = sijo.encode(str(tmp_path / "cut"), ["the old sea"])
    meaning = json.loads(whole) if file.suffix == ".json" else None
    for length in prefixes(len(whole.rstrip() if meaning is not None else whole)):
        file.unlink()
        file.write_bytes(whole[:length])
        with pytest.raises((CheckpointError, RefusedError)) as caught:
            sijo.encode(str(tmp_path / "cut"), ["the old sea"])
        assert caught.value.exit_code in (4, 5)
        assert len(str(caught.value)) < 600, length
    file.write_bytes(whole)
    assert (sijo.encode(str(tmp_path / "cut"), ["the old sea"]) == want).all()
