"""The model in the package: its folder is whole, small and verified, and it answers unless told otherwise."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

import sijo
from sijo.checkpoints.blocks import is_in_blocks
from sijo.checkpoints.conversion.convert import convert
from sijo.checkpoints.describe import describe
from sijo.checkpoints.locate import locate
from sijo.checkpoints.weight_files import BLOCK_WEIGHTS
from sijo.errors import CheckpointError
from sijo.files.manifest import MANIFEST, verify
from sijo.inference.backends.registry import backends_of
from sijo.zeroshot.calibrating.background import VECTORS, own_background
from sijo.zeroshot.calibration import OWN, own_calibration
from sijo.zeroshot.scorers.open import open_scorer

EXAMPLES = Path(__file__).parents[2] / "examples"
READ = ("config.json", "tokenizer.json", BLOCK_WEIGHTS, "modules.json", "1_Pooling/config.json", OWN, VECTORS)
"""What is read of it whatever runs it."""
MOST_BYTES = 25_000_000


def requests(name):
    """Texts of an example, and what they are."""
    with (EXAMPLES / name).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["domain"] for row in rows]


@pytest.fixture(scope="module")
def korean():
    return requests("requests.ko.csv")


def test_the_folder_is_whole_small_and_stored_once():
    # kills: weights twice, a file that the manifest does not list, a card that names no language or licence
    folder = locate(None)
    seal, described = verify(folder), describe(None)
    assert seal is not None and {*READ, "model.onnx", MANIFEST} <= {*seal.files}
    assert is_in_blocks(folder) and not list(folder.rglob("model.safetensors"))
    assert sum(file.stat().st_size for file in folder.rglob("*")) <= MOST_BYTES
    assert {"en", "ko"} <= {*(described.languages or ())}
    assert "\nlicense: " in (folder / "README.md").read_text(encoding="utf-8")


def test_it_is_a_sentence_encoder_with_a_prompt_and_numbers_of_its_own():
    # kills: a prompt lost on the way, all-MiniLM's temperature, a background of another width
    scorer = open_scorer("auto", None)
    assert scorer.name == "embedding" and scorer.caution is None
    assert scorer.engine.before == describe(None).sentence.prompt(None) == "query: "
    assert scorer.calibration == own_calibration(locate(None)) is not None
    background = own_background(scorer)
    assert background is not None and len(background) >= 256


def test_onnxruntime_runs_it_on_the_processor():
    # kills: two seconds for torch, where it is installed, before a first answer
    assert backends_of(describe(None))["exact"] == "onnx"
    assert open_scorer("auto", "sijo-small", device="cpu").engine.backend.name == "onnx"


def test_both_backends_decide_alike(korean):
    # kills: another network, table or pooling in one of them
    texts, domains = korean
    names = list(dict.fromkeys(domains))
    by_onnx, by_torch = (
        sijo.ZeroShotClassifier(names, backend=backend).predict_proba(texts) for backend in ("onnx", "torch")
    )
    assert np.abs(by_onnx - by_torch).max() < 1e-3
    assert (by_onnx.argmax(1) == by_torch.argmax(1)).mean() >= 0.995


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize("name", [*READ, "model.onnx"])
def test_a_changed_file_is_refused_by_both_backends(tmp_path, backend, name):
    # kills: a file that one of the two opens without its SHA-256
    folder = Path(shutil.copytree(locate(None), tmp_path / "spoiled"))
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="is not as it was saved"):
        own_background(open_scorer("embedding", folder, backend=backend))
    if backend == "torch":
        with pytest.raises(CheckpointError, match="is not as it was saved"):
            sijo.load(folder)


def test_labels_in_korean_stand_in_a_korean_sentence(korean):
    # kills: a default that puts 은행 into "This is about 은행."
    texts, domains = korean
    names = list(dict.fromkeys(domains))
    own = sijo.ZeroShotClassifier(names)
    told = sijo.ZeroShotClassifier(names, hypothesis_template="이 글은 {}{을/를} 다룬다.")
    assert np.array_equal(own.predict_proba(texts[:9]), told.predict_proba(texts[:9]))


def test_it_reads_both_languages(korean):
    # kills: a model that is little better than chance, 0.1, in one of them
    for texts, domains in (requests("requests.csv"), korean):
        names = list(dict.fromkeys(domains))
        right = sijo.ZeroShotClassifier(names).predict(texts) == np.array(domains)
        assert right.mean() >= 0.3


def test_others_open_what_convert_makes_of_it(tmp_path):
    # kills: a folder that only sijo reads, and nobody can turn into another
    folder = convert("sijo-small", tmp_path / "plain")
    assert (folder / "model.safetensors").is_file() and not is_in_blocks(folder)
    texts = ["will it rain tomorrow", "비밀번호를 바꿔 줘"]
    assert np.abs(sijo.encode(folder, texts) - sijo.encode(None, texts)).max() <= 1e-4


def test_one_text_alone_is_calibrated():
    # kills: a background that is not found, or is of another prompt
    clf = sijo.ZeroShotClassifier(["weather", "football", "banking"], calibrate="batch")
    assert clf.predict(["will it rain tomorrow"]).tolist() == ["weather"]
