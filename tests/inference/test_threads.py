"""How many threads compute: by what the machine, its container and its user allow."""

import os
import subprocess
import sys
from functools import partial

import pytest

from conftest import tiny_weights
from onnx_networks import write_onnx
from sijo.app.evaluation import runs
from sijo.errors import SettingError
from sijo.inference import threads, workers
from sijo.inference.encode import encode
from sijo.inference.threads import allowed_threads, thread_count, use_threads
from sijo.zeroshot.classifier import ZeroShotClassifier


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """`machine(processors, files, siblings)`: a system's root with those files, and processors that may be used."""

    def made(processors, files=None, *, siblings=None):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)), raising=False)
        for number, text in (siblings or {}).items():
            files = {**(files or {}), f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list": text}
        for name, text in (files or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text + "\n")
        return tmp_path

    return made


CGROUP, V2, V1 = "proc/self/cgroup", "sys/fs/cgroup", "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 8),
        ({CGROUP: "0::/", f"{V2}/cpu.max": "max 100000"}, 8),
        ({CGROUP: "0::/", f"{V2}/cpu.max": "200000 100000"}, 2),
        ({CGROUP: "0::/", f"{V2}/cpu.max": "150000 100000"}, 2),
        ({CGROUP: "0::/", f"{V2}/cpu.max": "10000 100000"}, 1),
        ({CGROUP: "0::/", f"{V2}/cpu.max": "9900000 100000"}, 8),
        ({CGROUP: "0::/a/b", f"{V2}/a/cpu.max": "300000 100000", f"{V2}/a/b/cpu.max": "max 100000"}, 3),
        ({CGROUP: "0::/a/b", f"{V2}/a/cpu.max": "500000 100000", f"{V2}/a/b/cpu.max": "400000 100000"}, 4),
        ({CGROUP: "0::/of/the/host", f"{V2}/cpu.max": "200000 100000"}, 2),
        ({CGROUP: "0::/../..", f"{V2}/cpu.max": "200000 100000"}, 2),
        ({CGROUP: "3:cpu,cpuacct:/x", f"{V1}/x/cpu.cfs_quota_us": "-1", f"{V1}/x/cpu.cfs_period_us": "100000"}, 8),
        (
            {CGROUP: "3:cpu,cpuacct:/x", f"{V1}/x/cpu.cfs_quota_us": "50000", f"{V1}/x/cpu.cfs_period_us": "25000"},
            2,
        ),
        (
            {CGROUP: "3:cpuset:/x\n1:cpu:/", f"{V2}/cpu/cpu.cfs_quota_us": "3", f"{V2}/cpu/cpu.cfs_period_us": "1"},
            3,
        ),
        ({CGROUP: "0::/", f"{V2}/cpu.max": "rubbish"}, 8),
        ({CGROUP: "0::/", f"{V2}/cpu.max": "100000 0"}, 8),
        ({CGROUP: "rubbish"}, 8),
    ],
)
def test_a_quota_is_obeyed(machine, files, count):
    # kills: eight threads that share one processor and wait for each other, for either version of control groups
    assert allowed_threads(machine(8, files)) == count


def test_a_core_counts_once(machine):
    # kills: two threads of one core that multiply matrices no faster than one
    siblings = {0: "0,4", 1: "1,5", 2: "2,6", 3: "3,7", 4: "0,4", 5: "1,5", 6: "2,6", 7: "3,7"}
    assert allowed_threads(machine(8, siblings=siblings)) == 4
    assert allowed_threads(machine(2, siblings=siblings)) == 2


def test_a_system_that_binds_no_process(machine, monkeypatch):
    # kills: an AttributeError on macOS and Windows
    root = machine(8)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert allowed_threads(root) == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert allowed_threads(root) == 1


@pytest.mark.parametrize(
    ("asked", "count"), [("3", 3), ("3,2", 3), ("", 8), ("0", 8), ("-1", 8), ("many", 8), ("9" * 40, 8), ("٣", 8)]
)
def test_who_starts_it_may_say(machine, monkeypatch, asked, count):
    # kills: what a cluster's scheduler asks for, ignored; and rubbish, obeyed
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    root = machine(8)
    assert thread_count(system=root) == count
    assert thread_count(2, system=root) == 2


@pytest.mark.parametrize("number", [0, -1, 4_097, 1.5, True, "2"])
def test_numbers_that_cannot_be(number):
    # kills: a library's own error, or a machine full of threads
    with pytest.raises(SettingError, match="--threads"):
        thread_count(number)


def test_every_library_takes_the_number():
    # kills: torch and onnxruntime with as many threads each as there are cores
    program = (
        "import os, torch\nfrom sijo.inference.threads import use_threads\nuse_threads(1)\n"
        "assert torch.get_num_threads() == 1\n"
        "names = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'RAYON_NUM_THREADS')\n"
        "assert {os.environ[name] for name in names} == {'1'}"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert set(threads.READ_BY_LIBRARIES) >= {"OMP_NUM_THREADS", "RAYON_NUM_THREADS"} and use_threads


@pytest.fixture
def seen(monkeypatch):
    """The threads of each network that reads: of torch while it does, of onnxruntime as its session was made."""
    import torch

    from sijo.inference.backends import onnx_backend, torch_backend

    numbers = []

    def pooled(*arguments):
        numbers.append(torch.get_num_threads())
        return pool(*arguments)

    def made(source, count):
        numbers.append(count)
        return new_session(source, count)

    pool, new_session = torch_backend.pool, onnx_backend.new_session
    monkeypatch.setattr(torch_backend, "pool", pooled)
    monkeypatch.setattr(onnx_backend, "new_session", made)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield numbers
    torch.set_num_threads(before)


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_every_engine_computes_with_its_own_number(tiny_copy, seen, backend):
    # kills: a number that one library does not hear of, or that one engine leaves to the next
    import torch

    write_onnx(tiny_copy, tiny_weights())
    encode(tiny_copy, ["the sea"], backend=backend, threads=3)
    classifier = ZeroShotClassifier(["sea", "land"], tiny_copy, backend=backend, threads=2)
    classifier.predict(["the sea"])
    assert (seen[0], seen[-1], torch.get_num_threads()) == (3, 2, 1)
    classifier.set_params(threads=4).predict(["the sea"])
    encode(tiny_copy, ["the sea"], backend=backend)
    assert {*seen} == {3, 2, 4, 1} and seen[-1] == 1
    with pytest.raises(SettingError, match="threads=0"):
        encode(tiny_copy, ["the sea"], backend=backend, threads=0)


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_the_number_of_a_run(tiny_copy, seen, sijo_cli, tmp_path, monkeypatch, backend):
    # kills: an option that nobody reads; a run that goes on with other threads, and so with other bytes
    for name in threads.READ_BY_LIBRARIES:
        monkeypatch.setenv(name, "1")  # so that what a command sets is undone
    write_onnx(tiny_copy, tiny_weights())
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\nthe sea,sea\nrain on land,land\n")
    about = ["--model", tiny_copy, "--backend", backend]
    labels = ["--labels", "sea,land"]
    lines = {
        "classify": ["classify", rows, *labels, *about, "-o", tmp_path / "out.csv"],
        "encode": ["encode", rows, "--column", "text", *about, "-o", tmp_path / "out.npy"],
        "evaluate": ["evaluate", "--data", rows, *labels, *about],
    }
    for name, line in lines.items():
        seen.clear()
        assert sijo_cli(*line, "--threads", 3).code == 0, name
        assert {*seen} == {3}, name
    for name in ("classify", "encode"):
        sijo_cli(*lines[name], "--resume", "--threads", 2).must_say(2, "threads", "3", "2")
        assert sijo_cli(*lines[name], "--resume", "--threads", 3).code == 0
    sijo_cli(*lines["evaluate"], "--threads", 0).must_say(2, "threads=0 (--threads)")


def opening_threads(opens):
    """What the settings say that a process opens its model by: those of the innermost call."""
    held = [opening_threads(part) for part in opens.args if isinstance(part, partial)]
    return held[-1] if held else opens.args[0].threads


@pytest.mark.parametrize("command", ["classify", "encode", "evaluate"])
def test_a_process_is_told_no_number_but_its_share(tiny_model, seen, sijo_cli, tmp_path, monkeypatch, command):
    # kills: every one of several processes that computes with all of --threads
    for name in threads.READ_BY_LIBRARIES:
        monkeypatch.setenv(name, "1")  # so that what a command sets is undone
    handed = []

    class Here:
        """The work of a pool, done by this process."""

        def __init__(self, opens, workers):
            handed.append((opening_threads(opens), workers))
            self.answer = opens()

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def each(self, items):
            return ((item, self.answer(item)) for item in items)

    monkeypatch.setattr(workers, "WorkerPool", Here)
    monkeypatch.setattr(runs, "WorkerPool", Here)
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\nthe sea,sea\nrain on land,land\n")
    line = {
        "classify": ["classify", rows, "--labels", "sea,land"],
        "encode": ["encode", rows, "--column", "text"],
        "evaluate": ["evaluate", "--data", rows],
    }[command]
    assert sijo_cli(*line, "--model", tiny_model, "--threads", 4, "--workers", 2).code == 0
    assert handed == [(None, 2)]
