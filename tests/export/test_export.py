"""A folder and its ONNX files: kept whole after a comparison, or not at all; opened by others."""

import hashlib
import json
import shutil
import sys

import numpy as np
import onnx
import pytest

from sijo.checkpoints.contents import inspect
from sijo.checkpoints.load import create, load
from sijo.checkpoints.save import save
from sijo.checkpoints.weight_files import weight_files
from sijo.checkpoints.weights_digest import weights_digest
from sijo.errors import CheckpointError, SettingError
from sijo.export import export as exporting
from sijo.export.card import HEADING, with_files
from sijo.export.compare import open_session
from sijo.export.export import MEASURED, export
from sijo.files.manifest import verify, write_manifest

TEXTS = ["the sea is new", "rain and sun", "a good game in the old land", "tax", "money and bread for the team"]


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def folder(tiny_model, tmp_path):
    """A copy of the tiny sentence encoder, to be changed."""
    return shutil.copytree(tiny_model, tmp_path / "model")


def test_a_folder_gets_its_file_whole(folder):
    """Catches weights that are not mapped, a manifest that does not list the file, and one that says too little."""
    before = digests(folder)
    exported = export(folder, texts=TEXTS)
    assert exported.file == folder / "onnx/model.onnx"
    assert {name: sha256 for name, sha256 in digests(folder).items() if name in before and name != "README.md"} == {
        name: sha256 for name, sha256 in before.items() if name not in ("README.md", "manifest.json")
    } | ({"manifest.json": digests(folder)["manifest.json"]} if "manifest.json" in before else {})
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    assert {"onnx/model.onnx", "onnx/model.onnx_data", MEASURED, "config.json"} <= listed.keys()
    proto = onnx.load(exported.file, load_external_data=False)
    said = {entry.key: entry.value for entry in proto.metadata_props}
    assert said.keys() == {"sijo.version", "sijo.precision", "sijo.head", "sijo.weights"}
    assert said["sijo.weights"] == weights_digest(weight_files(folder))
    assert exported.comparison.gap < 1e-5
    assert exported.comparison.agreement.value == 1
    assert HEADING in (folder / "README.md").read_text()
    assert "onnx/model.onnx" not in inspect(folder)[0]["never_opened"]


def test_a_saved_folder_gets_a_new_manifest(folder):
    """Catches the old manifest copied along, after which the folder would not open."""
    write_manifest(folder)
    export(folder, texts=TEXTS)
    verify(folder)
    assert "onnx/model.onnx" in json.loads((folder / "manifest.json").read_text())["files"]


def test_the_card_tells_what_was_measured(folder):
    """Catches numbers under one another's headings."""
    seen = export(folder, texts=TEXTS).comparison
    rows = [
        line.strip("| ").split(" | ") for line in (folder / "README.md").read_text().splitlines() if "| " in line
    ]
    told = dict(zip(rows[-3], rows[-1], strict=True))
    share = seen.agreement
    assert told == {
        "file": "`model.onnx`",
        "products": "float32",
        "head": "sentence vectors",
        "texts": "5",
        "largest difference": f"{seen.gap:.1e}",
        "same decision": f"{share.value:.2%}",
        "95 %": f"[{share.low:.2%}, {share.high:.2%}]",
        "times torch's speed": f"{seen.speed:.2f}",
    }
    assert seen.gap < 1e-5 < seen.speed and share.low < 0.9


def test_an_entailment_model_is_compared_on_pairs(tmp_path, tokenizer_of_tiny):
    """Catches decisions that were counted on texts which such a model is never given alone."""
    for labels, count in ((["entailment", "other"], 2 * len(TEXTS)), (["sea", "land"], len(TEXTS))):
        place = save(create_tiny("sequence-classification", tokenizer_of_tiny, labels), tmp_path / labels[0])
        assert export(place, texts=TEXTS).comparison.texts == count


def test_a_file_that_was_changed_is_found(folder):
    """Catches an ONNX file that may be exchanged in a folder whose manifest lists it, or added to it."""
    export(folder, texts=TEXTS)
    (folder / "onnx/model_int8.onnx").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model_int8\.onnx is not among the files"):
        verify(folder)
    (folder / "onnx/model_int8.onnx").unlink()
    (folder / "onnx/model.onnx_data").write_bytes(bytes((folder / "onnx/model.onnx_data").stat().st_size))
    with pytest.raises(CheckpointError, match=r"model\.onnx_data is not as it was saved"):
        verify(folder)


def test_the_same_model_gives_the_same_file(folder, tmp_path):
    """Catches names or orders that change from run to run."""
    one, other = (export(folder, texts=TEXTS, out=tmp_path / name).file for name in ("one", "other"))
    for end in ("", "_data"):
        assert one.with_name(one.name + end).read_bytes() == other.with_name(other.name + end).read_bytes()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_what_is_not_as_good_leaves_no_trace(folder, precision, monkeypatch):
    """Catches a file that is written before it is compared, and a comparison that nobody heeds."""
    before = digests(folder)
    planted = exporting.onnx_model

    def wrong(parts, *args, **kwargs):
        name = "blocks.1.attention.value.weight"
        return planted(
            type(parts)(**{**vars(parts), "weights": {**parts.weights, name: -2 * parts.weights[name]}}),
            *args,
            **kwargs,
        )

    monkeypatch.setattr(exporting, "onnx_model", wrong)
    monkeypatch.setattr(exporting, "ALIKE", 1.01)
    with pytest.raises(SettingError, match="not kept"):
        export(folder, precision=precision, texts=TEXTS)
    assert digests(folder) == before
    if precision == "int8":
        assert export(folder, precision=precision, texts=TEXTS, keep_anyway=True).file.is_file()


def test_heads_answer_in_their_file(tmp_path, tokenizer_of_tiny):
    """Catches a folder of a classifier whose file gives vectors, and one of a tagger that judges whole texts."""
    for head, dims in (("sequence-classification", 2), ("token-classification", 3)):
        model = create_tiny(head, tokenizer_of_tiny, ["sea", "land", "tax"])
        place = save(model, tmp_path / head)
        exported = export(place, texts=TEXTS)
        assert exported.head == head
        session = open_session(exported.file, 1)
        shapes = {entry.name: entry.shape for entry in session.get_outputs()}
        assert len(shapes["logits"]) == dims
        assert "sentence_embedding" not in shapes
        with pytest.raises(SettingError, match="no ONNX file can have a mlm head"):
            export(place, head="mlm", texts=TEXTS)


def create_tiny(head, tokenizer, labels):
    from sijo.nn.architecture import Architecture, Learned

    a = Architecture(
        vocab_size=tokenizer.vocab_size,
        embedding_size=16,
        hidden_size=16,
        heads=2,
        intermediate_size=32,
        schedule=(0, 1),
        positions=Learned(count=64),
        token_types=2,
    )
    return create(a, head, labels=labels, tokenizer=tokenizer)


@pytest.fixture
def tokenizer_of_tiny(tiny_model):
    return load(tiny_model).tokenizer


def test_without_onnx_one_sentence_says_what_to_install(folder, monkeypatch):
    """Catches a stack trace where a package is missing."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SettingError, match=r"pip install 'sijo\[export\]'"):
        export(folder)


def test_names_are_those_that_others_look_for(folder):
    """Catches an input or output of another name than sentence-transformers and optimum read, in onnxruntime."""
    exported = export(folder, texts=TEXTS)
    session = open_session(exported.file, 1)
    assert {entry.name for entry in session.get_inputs()} <= {"input_ids", "attention_mask", "token_type_ids"}
    names = [entry.name for entry in session.get_outputs()]
    assert names[0] == "last_hidden_state"
    model = load(folder)
    ids = np.array([model.tokenizer.windows([TEXTS[0]])[0][0]])
    feed = {
        name.name: np.ones_like(ids) if name.name == "attention_mask" else ids * (name.name == "input_ids")
        for name in session.get_inputs()
    }
    got = dict(zip(names, session.run(None, feed), strict=True))
    mean = got["last_hidden_state"].mean(1)
    if model.sentence.normalized:
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    assert np.abs(got["sentence_embedding"] - mean).max() < 1e-5


def test_a_card_keeps_what_others_wrote():
    """Catches a card that loses its other parts, or gets a second table with a second export."""
    card = "# Mine\n\nWords.\n\n## ONNX files\n\nold\n\n## Licences\n\nmit\n"
    twice = with_files(with_files(card, {}), {})
    assert twice.count(HEADING) == 1
    assert "old" not in twice
    assert twice.startswith("# Mine\n\nWords.\n")
    assert "## Licences\n\nmit" in twice
