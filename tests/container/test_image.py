"""The image: built and run where a Docker daemon is at hand; else its steps are run here, and its command after.

`make container` runs this, in minutes; `make test` runs `tests/test_container.py`. Skips say which was not done.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dockerfile import KEY, ROOT, ask, child, ends, instructions, served

MOST_BYTES = 800_000_000
BASE_BYTES = 130_000_000
"""What python:3.13-slim-trixie takes, rounded up; where it is not pulled, it is not measured."""
TEXTS = {"texts": ["a late goal", "세금이 올랐다"], "labels": ["football", "경제"]}


def docker():
    """Whether there is a daemon that answers."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


@pytest.fixture(scope="module")
def built():
    if not docker():
        pytest.skip("no Docker daemon: the image is not built, its steps are run in a bare environment instead")
    subprocess.run(["docker", "build", "--tag", "sijo-test", str(ROOT)], check=True)
    return "sijo-test"


def test_the_image_built_and_run(built, tmp_path):
    # kills: a file that .dockerignore left out; an image that is too large; root, or a file that must be written
    size = int(subprocess.check_output(["docker", "image", "inspect", "--format", "{{.Size}}", built]))
    assert size < MOST_BYTES, f"{size:,} bytes"
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{KEY}\n")
    tmp_path.chmod(0o755)
    limits = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "12345:0"]
    there = ["--publish", "127.0.0.1::8000", "--volume", f"{keys}:/run/secrets/sijo-keys:ro"]
    name = subprocess.check_output(["docker", "run", "--detach", *limits, *there, built], text=True).strip()
    try:
        port = int(subprocess.check_output(["docker", "port", name, "8000"], text=True).rpartition(":")[2])
        until_it_answers(port)
        assert [row["label"] for row in ask(port, "/classify", TEXTS)["rows"]] == TEXTS["labels"]
        check = ["docker", "inspect", "--format", "{{.State.Health.Status}}", name]
        end = time.monotonic() + 60
        while subprocess.check_output(check, text=True).strip() != "healthy":
            assert time.monotonic() < end
            time.sleep(1)
        subprocess.run(["docker", "stop", "--time", "20", name], check=True)
        code = subprocess.check_output(["docker", "inspect", "--format", "{{.State.ExitCode}}", name], text=True)
        assert code.strip() == "143"
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=False)


def until_it_answers(port, *, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            return ask(port, "/health", key="")
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)


def test_the_steps_in_a_bare_environment(tmp_path, capsys):
    # kills: a step that fails, what is too large, a part that was thrown away and is needed
    if docker():
        pytest.skip("there is a Docker daemon: the image itself is built and run")
    folder, opt = tmp_path / "build", tmp_path / "opt/sijo"
    folder.mkdir()
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    kept = ("PIP_", "SSL_", "HTTP", "http", "REQUESTS_")
    environment |= {name: value for name, value in os.environ.items() if name.startswith(kept)}
    for name, rest in instructions("build"):
        if name == "COPY":
            *sources, target = rest.split()
            for source in sources:
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / source, folder / target)
        elif name == "RUN":
            step = rest.replace("/opt/sijo", str(opt))
            subprocess.run(["sh", "-ec", step], cwd=folder, env=environment, check=True)
    size = sum(path.lstat().st_size for path in opt.rglob("*") if not path.is_symlink() and path.is_file())
    with capsys.disabled():
        print(
            f"\nthe steps install {size / 1e6:.0f} MB; with the base image about {(size + BASE_BYTES) / 1e6:.0f} MB"
        )
    assert size + BASE_BYTES < MOST_BYTES
    assert not list(opt.glob("lib/*/site-packages/torch")) and list(opt.rglob("model_blocks.safetensors"))
    with served(tmp_path, [str(opt / "bin/sijo")], HOME="/nonexistent") as (process, port):
        assert [row["label"] for row in ask(port, "/classify", TEXTS)["rows"]] == TEXTS["labels"]
        number = child(process)
        os.kill(number, signal.SIGTERM)
        ends(number)
