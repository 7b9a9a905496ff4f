"""What goes to the Hub, what stays, and what is told when it does not go; against a stand-in of the Hub."""

import inspect
import json
import shutil

import pytest

import sijo
from hub_stand_in import READS, WRITES, digest
from sijo.checkpoints.card import Card
from sijo.checkpoints.hub.push import push, push_model
from sijo.errors import CheckpointError, SettingError
from sijo.files.manifest import verify, write_manifest

TOKENS = (WRITES, READS)


@pytest.fixture
def saved(tiny_model, tmp_path):
    """A folder as `sijo.save` writes it, with a card."""
    card = Card(title="시조", task="sentence-similarity", licence="apache-2.0", languages=("ko", "no"))
    return sijo.save(sijo.load(tiny_model), tmp_path / "model", card=card)


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_goes_as_it_is(hub, saved, sijo_cli):
    # kills: a file forgotten, changed or sent in a second commit; a manifest that no longer is true
    ran = sijo_cli("push", saved, "team/model", "--message", "first\n\nof many")
    assert (ran.code, ran.out.decode()) == (0, f"{hub.url}/team/model\n"), ran.err
    assert {**hub.files("team/model"), ".gitattributes": b""} == content(saved) | {".gitattributes": b""}
    repo = hub.repos["team/model"]
    assert (repo.messages, repo.private) == (["by hand", "first"], False)
    assert digest((saved / "model.safetensors").read_bytes()) in hub.large  # as large files go
    again = push(saved, "team/model")
    assert again.commit == repo.branches["main"] and not again.left and not again.deleted
    assert not any(token in ran.err for token in TOKENS)


def test_only_what_the_manifest_lists_and_is_a_model(hub, saved, sijo_cli):
    # kills: an upload of whatever lies in the folder: caches, states of optimizers, notes
    (saved / "optimizer.safetensors").write_bytes(b"moments")
    (saved / "results.json").write_text("{}")
    write_manifest(saved)  # lists both
    beside = (".cache/huggingface/token", "notes/secret.md", "optimizer.pt", ".env", "training_args.bin", "LICENSE")
    for name in beside:
        (saved / name).parent.mkdir(parents=True, exist_ok=True)
        (saved / name).write_text("mine")
    ran = sijo_cli("push", saved, "team/model")
    assert ran.code == 0, ran.err
    there = hub.files("team/model")
    stayed = {*beside, "optimizer.safetensors", "results.json"} - {"LICENSE"}
    assert there.keys() - {".gitattributes"} == content(saved).keys() - stayed
    assert {line.rpartition(": ")[2] for line in ran.err.splitlines() if "not pushed" in line} == stayed
    listed = json.loads(there["manifest.json"])["files"]
    assert {name: entry["sha256"] for name, entry in listed.items()} == {
        name: digest(there[name]) for name in there.keys() - {"manifest.json", ".gitattributes"}
    }


def test_what_an_earlier_model_left_there_is_no_part_of_this_one(hub, saved, sijo_cli):
    # kills: an index of shards beside new weights; a file of theirs that is none of ours, deleted
    old = {"model.safetensors.index.json": b"{}", "onnx/model.onnx": b"old", "pytorch_model.bin": b"old"}
    hub.put("team/model", old | {"photo.png": b"x", ".gitignore": b"*.safetensors\nconfig.json\n"})
    ran = sijo_cli("push", saved, "team/model")
    assert ran.code == 0, ran.err
    there = hub.files("team/model")
    assert {"pytorch_model.bin", "photo.png", ".gitignore", *content(saved)} == there.keys()
    assert ran.err.count("deleted there") == 2


def test_a_branch_and_a_private_model(hub, saved, refused):
    # kills: --private that a public model laughs at; a branch that starts from nothing
    push(saved, "team/mine", private=True)
    assert hub.repos["team/mine"].private
    push(saved, "team/mine", private=True, revision="v2")
    assert hub.files("team/mine", "v2") == hub.files("team/mine")
    hub.put("team/open", {})
    refused(2, ["everybody sees it", "--private"], "push", saved, "team/open", "--private")
    assert hub.repos["team/open"].messages == ["by hand"]


def test_without_a_token_nothing_is_asked(hub, saved, refused, monkeypatch):
    # kills: an upload that fails at its end; a token that lands in a log
    monkeypatch.delenv("HF_TOKEN")
    refused(2, ["no", "HF_TOKEN", "hf auth login"], "push", saved, "team/model")
    monkeypatch.setenv("HF_TOKEN", WRITES)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(2, "HF_HUB_OFFLINE", "push", saved, "team/model")
    for name in ("model", "a/b/c", "team/..", "", "team/model\n"):
        refused(2, "org/name" if name == "model" else "no model on the Hub", "push", saved, name)
    assert hub.asked == []


@pytest.mark.parametrize("fault", ["reads alone", "no such token", "echoed", "echoed late"])
def test_a_token_is_never_told(hub, saved, refused, monkeypatch, fault):
    # kills: an error of the server's, token and all, on a screen that others see
    if fault.startswith("echoed"):
        part = "repos/create" if fault == "echoed" else "/commit/"
        hub.refuse = {part: (403 if fault == "echoed" else 500, "Authorization: Bearer {token} is not enough")}
        code, words = (2, "token") if fault == "echoed" else (1, "(the token)")
    else:
        monkeypatch.setenv("HF_TOKEN", READS if fault == "reads alone" else "hf_nobodynobody")
        code, words = 2, "token"
        hub.put("team/model", {})
    ran = refused(code, [words, "was not pushed to team/model"], "push", saved, "team/model")
    assert not any(token in ran.err for token in (*TOKENS, "hf_nobodynobody")), ran.err


def test_folders_that_are_no_model_of_ours(hub, saved, tiny_copy, tmp_path, refused):
    # kills: a whole run with its checkpoints on the Hub, and a folder that nobody vouched for
    run = tmp_path / "run"
    (run / "checkpoints/step-2").mkdir(parents=True)
    (run / "checkpoints/step-2/state.json").write_text("{}")
    shutil.copytree(saved, run / "model")
    refused(2, [f"did you mean {run / 'model'}?"], "push", run, "team/model")
    refused(2, "no config.json", "push", run / "checkpoints/step-2", "team/model")
    refused(2, ["no manifest.json", "sijo convert"], "push", tiny_copy, "team/model")
    refused(2, "there is no folder", "push", tmp_path / "absent", "team/model")
    refused(2, "there is no folder", "push", saved / "config.json", "team/model")
    (saved / "extra.safetensors").write_bytes(b"")
    refused(5, "extra.safetensors", "push", saved, "team/model")
    (saved / "extra.safetensors").unlink()
    with (saved / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    refused(5, "model.safetensors is not as it was saved", "push", saved, "team/model")
    (saved / "model.safetensors").unlink()
    (saved / "model.safetensors").symlink_to(tiny_copy / "model.safetensors")
    refused(4, "model.safetensors", "push", saved, "team/model")
    assert hub.asked == []


def test_a_file_that_changes_while_it_is_sent(hub, saved, monkeypatch):
    # kills: bytes on the Hub that are not those of the manifest beside them
    from sijo.checkpoints.hub import push as module

    monkeypatch.setattr(module, "READ_WHOLE", 100)  # so that weights are sent by their path
    real = module._additions

    def changed(folder, *others):
        additions = real(folder, *others)
        weights = saved / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
        return [type(addition)(addition.path_in_repo, addition.path_or_fileobj) for addition in additions]

    push(saved, "team/whole")
    assert hub.files("team/whole")["model.safetensors"] == (saved / "model.safetensors").read_bytes()
    monkeypatch.setattr(module, "_additions", changed)
    with pytest.raises(CheckpointError, match="changed while it was sent"):
        push(saved, "team/model")
    assert hub.files("team/model").keys() == {".gitattributes"}


def test_of_two_who_push_at_once_the_second_is_told(hub, saved, refused):
    # kills: a commit on top of one that nobody has seen
    hub.before_commit = lambda repo: repo.commit("main", {}, "theirs")
    refused(1, ["somebody else changed it", "do it again"], "push", saved, "team/model")
    assert hub.repos["team/model"].messages == ["by hand", "theirs"]


@pytest.mark.parametrize("trouble", ["/preupload/", "info/lfs", "/large/", "/commit/"])
def test_a_push_that_fails_half_way_leaves_what_was_there(hub, saved, refused, monkeypatch, trouble):
    # kills: half a model on the main branch, and a second push that a first one stands in the way of
    import huggingface_hub.utils._http as http

    monkeypatch.setattr(http.time, "sleep", lambda seconds: None)
    hub.put("team/model", {"config.json": b"{}"})
    hub.refuse = {trouble: (500, "it is on fire")}
    ran = refused(1, "was not pushed to team/model", "push", saved, "team/model")
    assert hub.files("team/model") == {"config.json": b"{}"} and "--debug" not in ran.err
    hub.refuse = {}
    push(saved, "team/model")
    assert hub.files("team/model") == content(saved)


def test_a_card_is_made_where_there_is_none_and_the_hub_takes_it(hub, tiny_model, saved, tmp_path):
    # kills: a model page without library or task; a heading that the Hub refuses after an hour of upload
    bare = sijo.save(sijo.load(tiny_model), tmp_path / "bare")
    assert not (bare / "README.md").exists()
    push(bare, "team/bare")
    card = hub.files("team/bare")["README.md"].decode()
    assert "library_name: sijo\npipeline_tag: sentence-similarity\n" in card and "# bare" in card
    push(saved, "team/model")
    heading = hub.files("team/model")["README.md"].decode().split("---")[1]
    assert "license: apache-2.0\n" in heading and 'language: ["ko", "no"]\n' in heading
    (saved / "README.md").write_text("---\nlicense: nonsense-1.0\n---\n# mine\n")
    with pytest.raises(SettingError, match=r'does not take its card.*"license" must be.*mend README\.md'):
        push(saved, "team/model")
    (saved / "README.md").write_text("---\nlicense: mit\n---\n# mine\n")  # people may edit it
    push(saved, "team/model")
    there = hub.files("team/model")
    assert there["README.md"].endswith(b"# mine\n")
    assert json.loads(there["manifest.json"])["files"]["README.md"]["sha256"] == digest(there["README.md"])
    verify(saved)


def test_a_model_in_memory(hub, tiny_model, tmp_path):
    # kills: a method that saves beside the user's files, or other weights than those in memory; an argument that
    # nobody can find
    model = sijo.load(tiny_model)
    for name in list(inspect.signature(push_model).parameters)[2:]:
        assert f"`{name}=" in type(model).push_to_hub.__doc__
    done = model.push_to_hub("team/model", private=True, message="from Python", card=Card(title="tiny"))
    assert (done.url, hub.repos["team/model"].private) == (f"{hub.url}/team/model", True)
    for name, entry in hub.files("team/model").items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(entry)
    vectors, again = (sijo.encode(one, ["the sea", "bread"]) for one in (model, tmp_path / "copy"))
    assert (vectors == again).all() and "# tiny" in (tmp_path / "copy/README.md").read_text()
