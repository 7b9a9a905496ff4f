"""The container: its Dockerfile, and its command where nothing can be written and nobody runs it.

`make container` builds it, or where there is no Docker runs its steps: `tests/container/test_image.py`.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from itertools import chain
from pathlib import Path

import pytest

import dockerfile
from dockerfile import ROOT, ask, child, ends, served

ENTRY = [sys.executable, "-c", "from sijo.app.cli import main; main()"]


def test_the_dockerfile_is_sound():
    # kills: a step that hadolint knows to be a fault
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed here; the extra `test` brings it")
    ran = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_what_the_image_promises():
    # kills: root, a shell before the command that swallows SIGTERM, a health check that needs a key, torch
    last = dockerfile.instructions("last")
    told = dict(last)
    assert int(told["USER"].partition(":")[0]) > 0
    assert "sh" not in dockerfile.command() and told["STOPSIGNAL"] == "SIGTERM"
    assert "/health" in told["HEALTHCHECK"] and [name for name, _ in last].count("USER") == 1
    assert not [rest for name, rest in last if name == "RUN"]  # nothing is installed beside what was built
    steps = " ".join(rest for name, rest in dockerfile.instructions("build") if name == "RUN")
    assert "--constraint constraints.txt" in steps and "[serve]" in steps and "torch" not in steps
    copied = [rest.split()[:-1] for name, rest in dockerfile.instructions("build") if name == "COPY"]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(chain.from_iterable(copied)) == sorted(allowed)
    assert all((ROOT / name).exists() for name in allowed)
    project = (ROOT / "pyproject.toml").read_text()
    for name in re.findall(r"(?:readme|license-files) = (.*)", project):  # a wheel cannot be built without
        assert {*json.loads(f"[{name.strip('[]')}]")} <= {*allowed}


def test_the_command_where_nothing_can_be_written(tmp_path):
    # kills: a cache, a home or a name of a user that serving needs; process 1 that does not hear SIGTERM, or drops
    # what was asked
    with served(tmp_path, ENTRY, PYTHONPATH=os.pathsep.join(sys.path), HOME="/nonexistent") as (process, port):
        assert ask(port, "/health", key="") is not None
        health = dict(dockerfile.instructions("last"))["HEALTHCHECK"]
        check = json.loads(health[health.index("[") :])
        check = [sys.executable, *(word.replace(":8000", f":{port}") for word in check[1:])]
        assert subprocess.run(check, check=False).returncode == 0
        first = ask(port, "/classify", {"texts": ["a late goal"], "labels": ["football", "cooking"]})
        assert first["rows"][0]["label"] == "football"
        # of several batches, so that some wait
        others = [f"number {n} of those that wait for the late train to Seoul in the rain" for n in range(400)]
        body = {"texts": ["a late goal", "세금이 올랐다", *others], "labels": ["football", "경제"]}
        answers = []
        asking = threading.Thread(target=lambda: answers.append(ask(port, "/classify", body)))
        asking.start()
        while ask(port, "/metrics", plain=True).partition("\nsijo_queue_tokens ")[2].startswith("0.0"):
            assert asking.is_alive()  # until it waits its turn: it has come then
        number = child(process)
        os.kill(number, signal.SIGTERM)
        asking.join(30)
        ends(number)
        assert [row["label"] for row in answers[0]["rows"][:2]] == ["football", "경제"]


def test_the_example_of_compose_asks_for_no_more_than_it_needs():
    # kills: an example that others copy, with root or a writable file system in it
    import yaml

    service = yaml.safe_load((ROOT / "examples/compose.yaml").read_text())["services"]["sijo"]
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"] and "privileged" not in service
    assert service["ports"] == ["127.0.0.1:8000:8000"] and "tmpfs" not in service
