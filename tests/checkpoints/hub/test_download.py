"""What comes from the Hub, whole or not at all; against a stand-in of the Hub."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

import sijo
from hub_stand_in import READS, WRITES, digest, running
from sijo.checkpoints.blocks import tensor_entries
from sijo.checkpoints.hub.download import download
from sijo.checkpoints.hub.push import push
from sijo.checkpoints.hub.travelling import travels
from sijo.checkpoints.locate import BUILT_IN_FOLDER, locate
from sijo.errors import CheckpointError
from sijo.files.manifest import verify


@pytest.fixture
def pushed(hub, tiny_model, tmp_path):
    """A model that sijo pushed as team/model; its folder."""
    folder = sijo.save(sijo.load(tiny_model), tmp_path / "pushed")
    push(folder, "team/model")
    hub.asked.clear()
    return folder


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_comes_back_as_it_went(hub, pushed, sijo_cli, tmp_path):
    # kills: a file that is not fetched, a cache full of links in place of a folder of one's own
    ran = sijo_cli("download", "team/model", "--out", tmp_path / "mine")
    assert (ran.code, ran.out.decode()) == (0, f"{tmp_path / 'mine'}\n"), ran.err
    there = hub.files("team/model")
    assert content(tmp_path / "mine") == {name: there[name] for name in there.keys() - {".gitattributes"}}
    assert all(
        there[name] == each for name, each in content(pushed).items() if name != "manifest.json"
    )  # a card more
    assert not [path for path in (tmp_path / "mine").rglob("*") if path.is_symlink()]
    assert sijo.load(tmp_path / "mine").fingerprint == sijo.load(pushed).fingerprint
    verify(tmp_path / "mine")
    ran = sijo_cli("download", "team/model", "--out", tmp_path / "mine")
    ran.must_say(2, "exists already")


def test_what_is_in_the_cache_needs_no_network(hub, pushed, sijo_cli, monkeypatch):
    # kills: a model by its name that is asked for anew, or that HF_HUB_OFFLINE cannot find
    folder = download("team/model")
    assert folder.is_relative_to(hub_cache()) and verify(folder) is not None
    hub.asked.clear()
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert locate("team/model") == folder
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert download("team/model") == folder
    ran = sijo_cli("classify", "--model", "team/model", "--labels", "sea,land", stdin=b"the sea\n")
    assert ran.code == 0, ran.err
    sijo_cli("download", "team/other").must_say(2, "HF_HUB_OFFLINE")
    assert hub.asked == []


def hub_cache():
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE


def test_a_revision(hub, pushed, tmp_path):
    # kills: the main branch in place of the one that was asked for
    first = hub.repos["team/model"].branches["main"]
    hub.put("team/model", {**hub.files("team/model"), "README.md": b"# second\n"})
    assert "second" in (download("team/model") / "README.md").read_text()
    assert "second" not in (download("team/model", revision=first) / "README.md").read_text()
    hub.put("team/model", {**hub.files("team/model"), "README.md": b"# third\n"}, branch="v3")
    out = download("team/model", revision="v3", out=tmp_path / "v3")
    assert "third" in (out / "README.md").read_text()


def test_of_others_only_what_sijo_reads(hub, tiny_model):
    # kills: a gigabyte of other frameworks' weights, and a file with code
    files = content(tiny_model)
    hub.put("else/model", files | {"pytorch_model.bin": b"x", "modeling.py": b"x", "tf_model.h5": b"x"})
    folder = download("else/model")
    assert content(folder).keys() == files.keys()
    assert not [line for line in hub.asked if "pytorch_model.bin" in line or ".py" in line]


@pytest.mark.parametrize("out", [True, False], ids=["into a folder", "into the cache"])
def test_a_download_that_breaks_off_leaves_nothing_half(hub, pushed, tmp_path, sijo_cli, monkeypatch, out):
    # kills: a folder without its weights, or a cache that passes for a model; a second try that begins anew
    import huggingface_hub.file_download as library

    monkeypatch.setattr(library.time, "sleep", lambda seconds: None)
    weights = (pushed / "model.safetensors").read_bytes()
    hub.cut = {digest(weights): len(weights) // 2}
    arguments = ("download", "team/model", *(("--out", tmp_path / "mine") if out else ()))
    ran = sijo_cli(*arguments)
    ran.must_say(1, "team/model was not downloaded")
    assert ran.out == b"" and not list(tmp_path.glob("*mine*"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    sijo_cli("classify", "--model", "team/model", "--labels", "a,b", stdin=b"x\n").must_say(2, "Hub's cache")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    hub.cut = {}
    hub.asked.clear()
    ran = sijo_cli(*arguments)
    assert ran.code == 0, ran.err
    assert sijo.load(ran.out.decode().strip()).fingerprint == sijo.load(pushed).fingerprint
    assert len([line for line in hub.asked if line.startswith("GET /large")]) == 1
    assert not [line for line in hub.asked if line.startswith("GET /team") and "manifest" not in line]  # were whole


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_download_that_is_killed(hub, pushed, tmp_path, number):
    # kills: a folder that stands before all of it is there
    hub.stalls = digest((pushed / "model.safetensors").read_bytes())
    told = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    with begun("download", "team/model", "--out", tmp_path / "mine", **told) as process:
        assert hub.stalled.wait(120)
        process.send_signal(number)
        hub.goes_on.set()
        out, err = process.communicate()
    assert process.returncode in (143, -9), err
    assert (out, [path for path in tmp_path.iterdir() if "mine" in path.name]) == ("", [])


@pytest.mark.parametrize("damage", ["a byte", "a file more", "a file less", "no weights", "cut in the tree"])
def test_damage_on_the_way_is_found(hub, pushed, tmp_path, damage):
    # kills: a manifest that comes along and is not looked at
    files = dict(hub.files("team/model"))
    match damage:
        case "a byte":
            files["model.safetensors"] = files["model.safetensors"][:-1] + b"\x55"
        case "a file more":
            files["extra.safetensors"] = files["model.safetensors"]
        case "a file less":
            del files["tokenizer.json"]
        case "no weights":
            files = {"config.json": files["config.json"]}
        case _:
            listed = json.loads(files["manifest.json"])
            listed["files"]["../../outside.json"] = {"bytes": 1, "sha256": "0" * 64}
            files["manifest.json"] = json.dumps(listed).encode()
    hub.put("team/model", files)
    with pytest.raises((CheckpointError, sijo.SijoError)) as caught:
        download("team/model", out=tmp_path / "mine")
    assert caught.value.exit_code in (4, 5)
    assert not (tmp_path / "mine").exists()


def test_what_cannot_be_had_is_told(hub, pushed, sijo_cli, monkeypatch):
    # kills: forty lines of a library's trace, and a token among them
    hub.put("team/secret", {}, private=True)
    sijo_cli("download", "team/model", "--revision", "v9").must_say(2, "no such revision")
    monkeypatch.setenv("HF_TOKEN", "hf_nobodynobody")
    ran = sijo_cli("download", "team/secret")
    ran.must_say(2, "none of that name", "HF_TOKEN")
    assert "hf_nobody" not in ran.err
    for name in ("absent", "a/b/c", "a--b/c..d"):
        assert sijo_cli("download", name).code == 2
    monkeypatch.setenv("HF_TOKEN", READS)
    hub.refuse = {"/api/models": (500, "it is on fire")}
    sijo_cli("download", "team/model").must_say(1, "on fire")


def test_files_of_every_kind_of_model_travel():
    # kills: a kind of folder that comes back without a part of it
    assert all(travels(name) for name in content(BUILT_IN_FOLDER))
    assert tensor_entries(BUILT_IN_FOLDER)
    for name in (
        "0_Transformer/model.safetensors",
        "adapter_model.safetensors",
        "onnx/model_int8.onnx_data",
        "LICENSE",
    ):
        assert travels(name), name


ASKED = """
import os, sys
from sijo.app import cli
sys.argv = ["sijo", *sys.argv[1:]]
cli.main()
"""


def begun(*arguments, **environment):
    """The command in a process of its own, which knows no more of the Hub than it is told."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "XDG_"))}
    command = [sys.executable, "-c", ASKED, *map(str, arguments)]
    return subprocess.Popen(command, env=kept | environment, stdout=-1, stderr=-1, text=True)


def run(*arguments, **environment):
    process = begun(*arguments, **environment)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_the_environment_is_heard(pushed, tmp_path):
    # kills: HF_ENDPOINT, HF_HOME, HF_TOKEN or HF_HUB_OFFLINE that the command line does not hear; telemetry
    with running() as hub:
        hub.put("team/secret", content(pushed), private=True)
        home = tmp_path / "home"
        told = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        assert run("download", "team/secret", **told).returncode == 2  # who may see it is asked
        assert hub.asked
        ran = run("download", "team/secret", HF_TOKEN=READS, **told)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.startswith(str(home / "hub/models--team--secret"))
        assert all(agent.startswith("sijo/") and "torch" not in agent for agent in hub.agents), hub.agents
        assert {line.split()[1].split("/")[1] for line in hub.asked} <= {"api", "team", "large"}
        assert not [line for line in hub.asked if "/api/" in line and "/api/models/team" not in line], hub.asked
        hub.asked.clear()
        ran = run("download", "team/secret", HF_HUB_OFFLINE="1", **told)
        assert (ran.returncode, hub.asked) == (0, []), ran.stderr
        (home / "token").write_text(WRITES)  # as hf auth login leaves it
        ran = run("push", pushed, "team/new", **told)
        assert (ran.returncode, ran.stdout) == (0, f"{hub.url}/team/new\n"), ran.stderr
        assert WRITES not in ran.stdout + ran.stderr
