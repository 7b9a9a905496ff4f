"""Commands in a process that cannot import torch, for the tests without it."""

import json
import subprocess
import sys
from typing import NamedTuple

RUN = """
import contextlib, io, json, sys
sys.modules["torch"] = None  # as if it were not installed
from sijo.app import cli
for arguments in json.loads(sys.argv[1]):
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    sys.stdin = io.TextIOWrapper(io.BytesIO(b"rain in the land\\n"))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(arguments)
    out.flush()
    print(json.dumps([code, out.buffer.getvalue().decode(), err.getvalue()]), file=sys.__stdout__)
"""


class Ended(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


def commands(*lines):
    """Run commands, one after another, in one process without torch."""
    told = json.dumps([[str(argument) for argument in line] for line in lines])
    ran = subprocess.run([sys.executable, "-c", RUN, told], capture_output=True, text=True, check=False)
    ended = [Ended(*json.loads(line)) for line in ran.stdout.splitlines()]
    assert len(ended) == len(lines), ran.stderr
    return ended
