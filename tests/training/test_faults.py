"""A run when the system fails at any call, and checkpoints that were cut short or are another run's.

Each test names the fault it is to catch.
"""

import shutil
from itertools import count
from pathlib import Path

import pytest
import torch

from failing import FAULTS, fault
from runs import digest, small
from sijo.errors import CheckpointError, SettingError
from sijo.files.resumable import ResumableFolder
from sijo.jobs.prepare import CorpusSource
from sijo.jobs.pretrain import pretrain
from sijo.jobs.run_folder import take_run_folder
from sijo.tokenizers.native import intact
from sijo.training import state

FOUR = ("run.steps=4", "run.save_every=2", "run.log_every=1")


@pytest.fixture(scope="module")
def saved():
    """What a small checkpoint holds, and the one after it."""
    weights = {"table": torch.arange(600.0).view(20, 30), "bias": torch.ones(30)}
    old = state.Saved(2, {"loop": {"step": 2}}, weights, {"table.mean": torch.zeros(20, 30)}, {})
    moved = {name: tensor + 1 for name, tensor in weights.items()}
    return old, state.Saved(4, {"loop": {"step": 4}}, moved, {"table.mean": torch.ones(20, 30)}, moved)


def same(one, other):
    """Whether two checkpoints hold the same."""
    parts = [(getattr(one, name), getattr(other, name)) for name in state.TENSORS]
    equal = [a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in parts]
    return (one.step, one.fields) == (other.step, other.fields) and all(equal)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_checkpoint_that_fails_at_any_call(saved, tmp_path, kind):
    # kills: an old checkpoint cleared away before the new one is whole, a half one that is gone on from, litter
    old, new = saved
    for number in count(1):
        folder = tmp_path / f"{number}"
        state.save(folder, old, keep=1)
        with fault(number, FAULTS[kind]) as calls:
            try:
                state.save(folder, new, keep=1)
                raised = None
            except (OSError, MemoryError) as error:
                raised = error
        newest = state.newest(folder, tell=pytest.fail)
        assert same(newest, new) or (raised is not None and same(newest, old)), calls()
        if raised is not None:
            assert type(raised) is type(FAULTS[kind]())
        if newest.step == old.step:
            state.save(folder, new, keep=1)
        assert same(state.newest(folder, tell=pytest.fail), new), calls()
        assert {path.name for path in folder.iterdir()} <= {"step-00000002", "step-00000004"}, calls()
        if number > len(calls()):
            break
    assert {"fsync", "write", "mkdir", "rename"} <= set(calls())


def test_every_prefix_of_a_checkpoint_s_file_is_found(saved, tmp_path):
    # kills: weights, a state or a manifest that was copied in part, learned on from
    old, _ = saved
    for checkpoint in saved:
        state.save(tmp_path / "whole", checkpoint, keep=2)
    for file in sorted((tmp_path / "whole" / "step-00000004").iterdir()):
        content = file.read_bytes()
        size = len(content.rstrip())
        for length in {*range(min(size, 20)), *range(20, size, max(1, size // 20)), size - 1}:
            folder = tmp_path / "cut"
            shutil.copytree(tmp_path / "whole", folder)
            (folder / "step-00000004" / file.name).write_bytes(content[:length])
            told = []
            assert same(state.newest(folder, told.append), old), (file.name, length)
            assert len(told) == 1 and "is kept as step-00000004.damaged" in told[0]
            shutil.rmtree(folder)


@pytest.mark.timeout(900)  # 20 runs: 12 s on a machine with nothing else to do
def test_a_run_that_fails_at_many_calls_goes_on_to_the_same_bytes(run, tmp_path):
    # kills: a line of metrics twice or never, a checkpoint that a failed run spoiled, half a model exported, a run
    # that cannot be gone on with
    run("bert", tmp_path / "whole", *FOUR)
    for turn, number in enumerate(count(5, 19)):
        kind, out = list(FAULTS)[turn % 3], tmp_path / f"{number}"
        with fault(number, FAULTS[kind]) as calls:
            try:
                run("bert", out, *FOUR, resume=True)
                raised = None
            except (OSError, MemoryError) as error:
                raised = error
        if number > len(calls()):
            break
        assert type(raised) is type(FAULTS[kind]()), (number, calls()[number - 1])
        assert not (out / "model").exists() or state.steps(out / "checkpoints")[-1][0] == 4
        run("bert", out, *FOUR, resume=True)
        assert digest(out) == digest(tmp_path / "whole"), (kind, number, calls()[-1])
        assert (out / "model" / "model.safetensors").read_bytes() == (
            tmp_path / "whole" / "model" / "model.safetensors"
        ).read_bytes()
    assert turn >= 8


@pytest.mark.parametrize("other", [("run.seed=7",), ("data.length=24",)])
def test_a_checkpoint_of_another_run_is_refused(run, tmp_path, other):
    # kills: a checkpoint copied from a run with another seed, or other inputs, learned on from as if it were ours
    run("bert", tmp_path / "one", *FOUR)
    run("bert", tmp_path / "other", *FOUR, *other)
    checkpoints = tmp_path / "one" / "checkpoints"
    shutil.rmtree(checkpoints)
    shutil.copytree(tmp_path / "other" / "checkpoints", checkpoints)
    with pytest.raises(SettingError, match=r"step-00000004 is a checkpoint of another run, .* move it away"):
        run("bert", tmp_path / "one", *FOUR, resume=True)
    shutil.rmtree(checkpoints)
    run("bert", tmp_path / "one", *FOUR, "run.keep=1", resume=True)  # what may change is no other run


def test_a_checkpoint_of_a_run_over_other_texts_is_refused(run, prepared, tmp_path):
    # kills: a run that is told by its settings alone
    run("bert", tmp_path / "one", *FOUR)
    text = tmp_path / "other.txt"
    text.write_text("the old sea and the rain.\nthe sun was on the land.\n\n" * 3 + "a game of the team.\n" * 40)
    source = CorpusSource(sources=[str(text)], tokenizer=str(prepared("bert") / "tokenizer"))
    list(pretrain(small("bert", *FOUR), source, tmp_path / "other"))
    shutil.rmtree(tmp_path / "one" / "checkpoints")
    shutil.copytree(tmp_path / "other" / "checkpoints", tmp_path / "one" / "checkpoints")
    with pytest.raises(SettingError, match=r"step-00000004 is a checkpoint of another run"):
        run("bert", tmp_path / "one", *FOUR, resume=True)


def test_a_run_that_could_not_be_begun_is_let_go_of(tmp_path, monkeypatch):
    # kills: a folder that stays locked for as long as somebody keeps the error of a full disk
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ResumableFolder, "write_file", full)
    with pytest.raises(OSError, match="No space") as kept:
        take_run_folder(tmp_path / "run", small("bert"), "corpus.json", {}, resume=False)
    monkeypatch.undo()
    take_run_folder(tmp_path / "run", small("bert"), "corpus.json", {}, resume=False).close()
    assert kept.traceback


def test_an_error_of_the_system_is_no_damage():
    # kills: "copy it again" of a tokenizer where a disk failed or memory ran out
    for error in (OSError(5, "Input/output error"), MemoryError()):
        with pytest.raises(type(error)), intact(Path("tokenizer.json")):
            raise error
    with pytest.raises(CheckpointError, match="not whole"), intact(Path("tokenizer.json")):
        raise ValueError("cut short")
