"""The built-in model where nothing but the base installation is."""

import json
import subprocess
import sys

from without_torch_commands import commands

MOST_MEMORY = 200
"""MB, of a command that labels one short text."""
ONE_TEXT = """
import io, json, pathlib, sys
sys.stdin = io.TextIOWrapper(io.BytesIO(b"will it rain tomorrow\\n"))
from sijo.app import cli
code = cli.run(["classify", "--labels", "weather,football", "--quiet"])
status = pathlib.Path("/proc/self/status")  # VmHWM begins anew with each program, as ru_maxrss does not
peak = [line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line] if status.exists() else [0]
print(json.dumps([code, "torch" in sys.modules, "pandas" in sys.modules, int(peak[0]) / 1e3]))
"""


def test_every_command_for_texts_has_a_model(tmp_path):
    # kills: a default that needs a package or a network besides sijo itself
    (tmp_path / "rows.csv").write_text("text,label\nwill it rain tomorrow,weather\n비밀번호를 바꿔 줘,banking\n")
    rows, labels = tmp_path / "rows.csv", ["--labels", "weather,banking"]
    lines = [
        ["classify", rows, *labels],
        ["classify", rows, *labels, "--model", "sijo-small"],
        ["encode", rows, "--column", "text", "--output", tmp_path / "vectors.npy"],
        ["evaluate", "--data", rows, "--label-column", "label", *labels, "--format", "json"],
        ["inspect", "--format", "json"],
    ]
    ended = commands(*lines)
    assert [run.code for run in ended] == [0] * len(lines), ended
    assert [json.loads(line)["label"] for line in ended[0].out.splitlines()] == ["weather", "banking"]
    assert json.loads(ended[-1].out)["backend"]["auto"]["exact"] == "onnx"


def test_a_first_answer_imports_no_torch_and_takes_little_memory():
    # kills: an import of torch, where it is installed, that costs two seconds; weights held twice
    ran = subprocess.run([sys.executable, "-c", ONE_TEXT], capture_output=True, text=True, check=True)
    answer, told = ran.stdout.splitlines()
    code, torch, pandas, peak = json.loads(told)
    assert code == 0 and json.loads(answer)["label"] == "weather" and not torch
    assert pandas or peak <= MOST_MEMORY  # Arrow imports pandas where there is any
