"""Runs as processes: killed at any instant, stopped by a signal, and shared among two.

Each test names the fault it is to catch.
"""

import json
import os
import random
import signal
import socket
import time
from pathlib import Path

import pytest

from runs import digest, small
from sijo.training.state import steps


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """`arguments(name, out, *changes)` gives the command line of a small run over a prepared corpus."""

    def make(place, name, out, *changes):
        settings = tmp_path_factory.mktemp("settings") / "settings.json"
        settings.write_text(json.dumps(small(name, *changes).to_json()))
        corpus = ("--corpus", place / "corpus", "--tokenizer", place / "tokenizer")
        return ("pretrain", settings, *corpus, "--out", out, "--resume", "--quiet")

    return make


@pytest.fixture
def begin(start, arguments, prepared):
    """`begin(name, out, *changes)` starts a run in a process of its own."""

    def begin(name, out, *changes, **environment):
        return start(*arguments(prepared(name), name, out, *changes), OMP_NUM_THREADS="1", **environment)

    return begin


def test_kill_9_at_twenty_instants_then_resume(begin, until, tmp_path):
    # kills: a checkpoint that is taken for whole and is not, a step done twice or left out, metrics doubled, a lock
    # that stays, litter that piles up
    changes = ("run.steps=60", "run.save_every=3", "model.dropout.hidden=0.1", "run.average=0.9")
    assert begin("electra", tmp_path / "whole", *changes).wait().code == 0
    want, chance, out = digest(tmp_path / "whole"), random.Random(7), tmp_path / "run"
    checkpoints, killed, saving = out / "checkpoints", 0, 0
    while killed < 20:
        process = begin("electra", out, *changes)
        begun = len(steps(checkpoints)) and steps(checkpoints)[-1][0]
        if killed % 3 == 0:  # in the middle of a save
            until(lambda: any(checkpoints.glob(".step-*.part")) or ended(process), seconds=60)  # noqa: B023
            time.sleep(chance.uniform(0, 0.004))
            saving += any(checkpoints.glob(".step-*.part"))
        else:
            until(
                lambda least=begun: (
                    ended(process)  # noqa: B023
                    or (steps(checkpoints) and steps(checkpoints)[-1][0] > least)
                ),
                seconds=60,
            )
            time.sleep(chance.uniform(0, 0.06))
        os.kill(process.pid, signal.SIGKILL)
        killed += process.wait().code == -signal.SIGKILL
        if (out / "model").exists() or (out / "discriminator").exists():
            assert digest(out) == want  # it was done before it could be killed: once more from the start
            for path in sorted(out.rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
    ran = begin("electra", out, *changes).wait()
    assert ran.code == 0, ran.err
    assert digest(out) == want
    assert saving >= 4
    assert not list(checkpoints.glob(".step-*.part"))


def ended(process):
    """Whether a process is dead, though nobody has waited for it yet."""
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("sent, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_leaves(begin, until, tmp_path, sent, code):
    # kills: work lost to Ctrl-C or a scheduler, an exit code that says "done", a model made of half a run
    changes = ("run.steps=200", "run.save_every=1000")
    out = tmp_path / "run"
    process = begin("bert", out, *changes)
    until(lambda: (out / "metrics.jsonl").exists() and (out / "metrics.jsonl").stat().st_size > 300, seconds=60)
    os.kill(process.pid, sent)
    ran = process.wait()
    ran.must_say(code)
    [(step, _)] = steps(out / "checkpoints")
    assert 0 < step < 200 and not (out / "model").exists()
    assert begin("bert", out, *changes).wait().code == 0
    assert begin("bert", tmp_path / "whole", *changes).wait().code == 0
    assert digest(out) == digest(tmp_path / "whole")


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.fixture
def two(begin):
    """`two(name, out, *changes)` starts two processes of one run."""

    def two(name, out, *changes, other=()):
        meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port()}
        return [
            begin(name, out, *changes, *(other if rank else ()), RANK=str(rank), LOCAL_RANK=str(rank), **meeting)
            for rank in range(2)
        ]

    return two


def finished(processes):
    for process in processes:
        ran = process.wait()
        assert ran.code == 0, ran.err


def read(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["electra", "albert", "deberta-v3", "deberta"])
def test_two_processes_are_one(begin, two, tmp_path, name):
    # kills: another order of samples, losses averaged per process, a gradient of half the batch, a piece that is
    # read by nobody where their number is odd, a shared block or table whose gradient is added up twice
    changes = ("run.steps=6", "run.micro_tokens=64")
    assert begin(name, tmp_path / "one", *changes).wait().code == 0
    finished(two(name, tmp_path / "ddp", *changes))
    finished(two(name, tmp_path / "fsdp", *changes, "run.strategy=fsdp"))
    assert digest(tmp_path / "ddp") == digest(tmp_path / "fsdp")
    for one, other in zip(read(tmp_path / "one"), read(tmp_path / "ddp"), strict=True):
        assert one == pytest.approx(other, abs=1e-6, rel=1e-6)


def test_two_go_on_as_one_and_one_as_two(begin, two, tmp_path):
    # kills: a checkpoint that only as many processes can read, shards saved in place of whole tensors
    half, whole = ("run.steps=8", "run.save_every=4"), "electra"
    assert begin(whole, tmp_path / "one", *half).wait().code == 0
    for strategy in ("ddp", "fsdp"):
        for first, second in ((1, 2), (2, 1)):
            out = tmp_path / f"{strategy}-{first}-{second}"
            for processes, stop in ((first, True), (second, False)):
                changes = (*half, f"run.strategy={strategy}")
                if processes == 2:
                    finished(two(whole, out, *changes))
                else:
                    assert begin(whole, out, *changes).wait().code == 0
                if stop:  # as if it had been killed after the first checkpoint
                    last = out / "checkpoints" / "step-00000008"
                    for file in last.iterdir():
                        file.unlink()
                    last.rmdir()
            for one, other in zip(read(tmp_path / "one"), read(out), strict=True):
                assert one == pytest.approx(other, abs=1e-6, rel=1e-6)


def test_a_process_that_falls_silent_is_named(two, until, tmp_path):
    # kills: a run that waits for ever, an error that says "connection reset" and no more, the last checkpoint lost
    out = tmp_path / "run"
    processes = two("bert", out, "run.steps=5000", "run.save_every=5", "run.timeout=3s")
    until(lambda: len(steps(out / "checkpoints")) >= 2, seconds=60)
    os.kill(processes[1].pid, signal.SIGSTOP)
    ran = processes[0].wait()
    os.kill(processes[1].pid, signal.SIGKILL)
    processes[1].wait()
    ran.must_say(1, "process 1 of 2 did not answer")
    assert steps(out / "checkpoints")


def test_processes_that_do_not_agree_are_told(two, tmp_path):
    # kills: two halves of two different runs
    for process in two("bert", tmp_path / "run", other=("schedule.peak=0.5",)):
        process.wait().must_say(2, "process 1 of 2 has settings or weights other than process 0")


def test_a_full_disk_is_heard_of_by_all(two, small_disk):
    # kills: the others waiting at the next step for one that has failed
    disk = small_disk("1m")
    first, second = two(
        "bert", disk / "run", "run.steps=400", "run.keep=400", "run.save_every=2", "run.timeout=20s"
    )
    first.wait().must_say(74, "No space left on device")
    second.wait().must_say(1, "process 0 failed", "No space")
