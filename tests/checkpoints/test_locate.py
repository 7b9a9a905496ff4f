"""What names a model, what is taken from the Hub's cache as whole, and what is asked for."""

import huggingface_hub
import pytest

from hub_stand_in import WRITES
from sijo.checkpoints import locate
from sijo.errors import SettingError, SijoError


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


OLD = "distilbert-base-uncased-finetuned-sst-2-english"


def test_an_old_name_is_its_present_owner_s(hub, tiny_model, tmp_path, monkeypatch):
    # kills: a name of old code that is taken for a folder's; one that another may register and be loaded by; a name
    # that is nearly one; a folder of that name, or what old code kept under it, that is passed over
    files = {name: (tiny_model / name).read_bytes() for name in ("config.json", "model.safetensors")}
    hub.put(f"distilbert/{OLD}", files)
    hub.put(f"somebody/{OLD}", {})
    folder = locate.locate(OLD)
    assert (folder / "config.json").read_bytes() == files["config.json"] and "distilbert" in str(folder)
    assert not [asked for asked in hub.asked if "somebody" in asked]
    hints = {OLD[:-1]: OLD, "bert-base-uncase": "bert-base-uncased", "sijo-smal": "sijo-small"}
    hints |= {"deberta-base": "microsoft/deberta-base", "modernbert-base": "answerdotai/ModernBERT-base"}
    for wrong, hint in hints.items():
        with pytest.raises(SettingError, match=f"there is no folder {wrong}; did you mean '{hint}'"):
            locate.locate(wrong)
    with pytest.raises(SettingError, match=r"there is no folder nothing; name a folder .* as org/name"):
        locate.locate("nothing")
    monkeypatch.chdir(tmp_path)
    (tmp_path / OLD).mkdir()
    assert locate.locate(OLD).resolve() == tmp_path / OLD


def test_what_old_code_downloaded_is_found_without_network(hub, tiny_model, tmp_path, monkeypatch):
    # kills: a name in the cache as `transformers` keeps it, which is not looked for
    snapshot = tmp_path / "cache/models--roberta-base/snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text("0" * 40)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert locate.locate("roberta-base") == locate.locate("FacebookAI/roberta-base") == snapshot
    with pytest.raises(SettingError, match="FacebookAI/roberta-large is not in the Hub's cache"):
        locate.locate("roberta-large")
    assert hub.asked == []


def test_why_the_hub_gave_nothing(hub, monkeypatch, refused):
    # kills: a name that is blamed where there is no network or the Hub is ill, another exit for it than download's,
    # and a token that is told
    inspect = ("inspect", "team/model")
    refused(2, ["there is no folder team/model", "none of that name"], *inspect)
    hub.put("team/model", {})
    refused(2, "no such revision", *inspect, "--revision", "v9")
    hub.refuse = {"/api/models": (500, f"it is on fire, {WRITES}")}
    for command in ("inspect", "download"):
        assert WRITES not in refused(1, "on fire", command, "team/model").err
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")
    for command in ("inspect", "download"):
        refused(1, "was not reached", command, "team/model")
    with pytest.raises(SijoError, match="Without a network sijo opens folders, and with HF_HUB_OFFLINE=1"):
        locate.locate("team/model")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for command in ("inspect", "download"):
        assert "name a local folder" not in refused(2, ["cache", "unset it once"], command, "team/model").err
