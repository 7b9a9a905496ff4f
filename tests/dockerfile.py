"""The Dockerfile read, and its container as far as a machine without Docker has one."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOBODY = 65_532
KEY = "a-key-of-the-test-1234"
SHUT = """
import os, subprocess, sys
mounts = [line.split()[1] for line in open("/proc/self/mounts")]
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
for place in mounts:  # all that is mounted, as far as the kernel lets it be
    if not place.startswith(("/proc", "/dev", "/sys")):
        subprocess.run(["mount", "-o", "remount,bind,ro", place], stderr=subprocess.DEVNULL)
nobody = ["--reuid", USER, "--regid", USER, "--clear-groups"]
os.execvp("setpriv", ["setpriv", *nobody, "--no-new-privs", "--bounding-set", "-all", *sys.argv[1:]])
""".replace("USER", f'"{NOBODY}"')
"""Run as root in a mount namespace of its own: what follows can write nothing and is nobody, as in a container."""


def instructions(stage):
    """The instructions of a stage of the Dockerfile, in order, each as its name and the rest."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    stages, current = {}, None
    for line in filter(None, lines):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            current = stages.setdefault(rest.partition(" AS ")[2] or "last", [])
        elif current is not None:
            current.append((name, rest.strip()))
    return stages[stage]


def environment():
    """What the last stage puts into the environment."""
    words = [word for name, rest in instructions("last") if name == "ENV" for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in words)


def command():
    """ENTRYPOINT and CMD."""
    told = dict(instructions("last"))
    return [*json.loads(told["ENTRYPOINT"]), *json.loads(told["CMD"])]


def can_be_shut():
    """Whether this is Linux, as root, with a mount namespace to be had."""
    try:
        ran = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "setpriv", "true"], capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return ran.returncode == 0


def ask(port, path, body=None, *, key=KEY, plain=False):
    """What the service answers."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode() if plain else json.load(answer)


@contextmanager
def served(tmp_path, sijo, **beside):
    """The container's command, with `sijo` for its entry, on a free port: as process 1 of its own, as nobody, where
    nothing can be written, if this machine lets it; gives the process and its port.
    """
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{KEY}\n")
    for folder in (tmp_path, *tmp_path.parents):  # nobody must find the keys
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    given = {"--port": "0", "--api-key-file": str(keys)}
    entry, *rest = command()
    assert entry == "sijo"
    arguments = [given.get(before, word) for before, word in zip(["", *rest], rest, strict=False)]
    shut = (
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", sys.executable, "-c", SHUT]
        if can_be_shut()
        else []
    )
    told = {name: value for name, value in environment().items() if name != "PATH"} | beside
    process = subprocess.Popen(
        [*shut, *sijo, *arguments],
        env={"PATH": os.environ["PATH"], **told},
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"http://[^:]+:(\d+)", line):
                yield process, int(found[1])
                break
        else:
            pytest.fail("".join(lines))
    finally:
        process.kill()
        process.wait()


def child(process):
    """The process that is number 1 of its namespace, or the process itself."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(found[0]) if found and can_be_shut() else process.pid


def ends(number, *, seconds=20):
    """Wait until a process is gone."""
    end = time.monotonic() + seconds
    while Path(f"/proc/{number}").exists() and "State:\tZ" not in Path(f"/proc/{number}/status").read_text():
        assert time.monotonic() < end, "it did not end"
        time.sleep(0.01)
