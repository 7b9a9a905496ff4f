"""The files that once showed a fault show none, and the fuzzing itself finds a fault that is planted."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fuzz import process
from fuzz.process import Runner
from fuzz.targets import TARGETS, Target
from sijo.errors import TextError

HERE = Path(__file__).parent


def test_every_file_that_once_showed_a_fault(tmp_path):
    # kills: a fault that fuzzing found and that comes back
    run = [sys.executable, str(HERE / "run.py"), "--corpus"]
    ran = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-4000:]
    files = [f"{file.parent.name}/{file.name}" for file in sorted((HERE / "corpus").glob("*/*"))]
    assert files and [line.partition(":")[0] for line in ran.stdout.splitlines()] == files, ran.stdout


def test_each_file_of_the_corpus_belongs_to_a_target():
    # kills: a folder of the corpus that nothing runs, and a file that opens by another name than it had
    for file in (HERE / "corpus").glob("*/*"):
        assert TARGETS[file.parent.name].file.endswith(file.suffix), file
        assert file.stat().st_size < 50_000, file


def refusal():
    raise TextError("line 3 is not CSV; mend it")


PLANTED = {
    "hang": lambda: time.sleep(60),
    "killed: SIGSEGV": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exit 1: IndexError": [].pop,
    "exit 74: FileNotFoundError": lambda: Path("absent").read_bytes(),
    "memory": lambda: bytearray(8 << 30),
    "outside: open": lambda: Path("../outside/canary").read_bytes(),
    "outside: os.remove": lambda: Path("../outside/canary").unlink(),
    "outside: subprocess.Popen": lambda: subprocess.run(["true"], check=True),
    "trace": lambda: os.write(2, b"Traceback (most recent call last):\n"),
    "control character": lambda: os.write(2, b"\x1b[2J"),
    "long": lambda: os.write(2, b"x" * 100_000),
    None: refusal,
}


@pytest.mark.parametrize("fault", PLANTED)
def test_planted_faults_are_found(tmp_path, tiny_model, monkeypatch, fault):
    # kills: an executor that overlooks a kind of fault, takes a refusal for one, or ends with the first
    shutil.copytree(tiny_model, tmp_path / "seeds" / "bert")
    target = Target("planted", None, "", "planted.csv", (("inspect", "bert"),))
    monkeypatch.setattr(process, "parsed", lambda command: (PLANTED[fault], SimpleNamespace(args=(), kwargs={})))
    runner = Runner(tmp_path / "work", tmp_path / "seeds", seconds=2 if fault == "hang" else 30)
    for _ in range(2):
        (verdict,) = runner.verdicts(target, b"")
        found = verdict.fault
        assert found is None if fault is None else found.startswith(fault), verdict
    runner.close()
