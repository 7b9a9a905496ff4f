"""What is taken from the Hub's cache as whole, and what is asked for."""

import huggingface_hub
import pytest

from sijo.checkpoints import locate


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
