"""What names a model, what is taken from the Hub's cache as whole, and what is asked for."""

import huggingface_hub
import pytest

from sijo.checkpoints import locate
from sijo.errors import SettingError


def test_the_built_in_model_by_name(tmp_path, monkeypatch):
    # kills: a folder of the user's that is passed over; a revision that is
    monkeypatch.chdir(tmp_path)
    for name in (None, "sijo-small", "built-in"):
        assert locate.locate(name) == locate.BUILT_IN_FOLDER
        with pytest.raises(SettingError, match="no revision 'v1'"):
            locate.locate(name, revision="v1")
    for name in ("sijo-small", "built-in"):
        (tmp_path / name).mkdir()
        assert locate.locate(name).resolve() == tmp_path / name and not locate.is_built_in(name)
    assert locate.locate(None) == locate.BUILT_IN_FOLDER


def test_minilm_by_its_names(minilm, monkeypatch):
    # kills: a package that is installed and not used, a revision of the Hub's that its package stands for
    names = ("all-minilm-l6-v2", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")
    assert {locate.locate(name) for name in names} == {minilm.source}
    monkeypatch.setattr(locate, "from_hub", lambda repo, revision: (repo, revision))
    assert locate.locate("all-minilm-l6-v2", revision="main") == (names[2], "main")


@pytest.mark.parametrize(
    "held, whole",
    [(["onnx/model.onnx"], True), (["model.onnx"], True), ([], False), (["onnx/model.onnx_data"], False)],
)
def test_without_torch_a_network_for_it_must_be_there(tiny_copy, tmp_path, monkeypatch, held, whole):
    # kills: a folder in blocks that is asked for anew each time, or whose network is never fetched
    for name in held:
        (tiny_copy / name).parent.mkdir(exist_ok=True)
        (tiny_copy / name).write_bytes(b"")
    asked = []

    def fetched(repo, *, revision, allow_patterns, local_files_only=False):
        asked.append((local_files_only, {*allow_patterns}))
        return str(tiny_copy)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(locate, "find_spec", lambda name: None)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert locate.from_hub("org/name") == tiny_copy
    assert [local for local, _ in asked] == ([True] if whole else [True, False])
    assert all({"model.onnx", "onnx/model.onnx", "*.safetensors"} <= patterns for _, patterns in asked)
