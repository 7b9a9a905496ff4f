"""What works without torch, and what the rest says."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from without_torch_commands import RUN, commands

NEEDS = "needs torch, which is not installed: pip install 'sijo[torch]'"


def names():
    """Every command."""
    from sijo.app.cli import app

    return [name for name in app if not name.startswith("-")]


def test_every_help():
    # kills: a command whose help imports torch
    lines = [["--help"], ["--version"], *([name, "--help"] for name in names())]
    for line, ended in zip(lines, commands(*lines), strict=True):
        assert ended.code == 0 and ended.out, (line, ended)


def test_inspect(onnx_folder, torch_folder):
    # kills: a folder that cannot even be looked at; a backend in its description that would not run here
    first, second = commands(
        ["inspect", onnx_folder, "--format", "json"], ["inspect", torch_folder, "--format", "table"]
    )
    contents = json.loads(first.out)
    assert first.code == 0 and contents["onnx"]["exact"]["file"] == "onnx/model.onnx"
    assert contents["backend"]["auto"]["exact"] == "onnx" and contents["layers"] == 2
    assert second.code == 0 and "pip install 'sijo[torch]'" in " ".join(second.out.split())


def test_texts_are_labelled_encoded_and_measured(onnx_folder, tmp_path):
    # kills: an import of torch on the way of a command that needs none
    with (tmp_path / "rows.csv").open("w", newline="") as out:
        csv.writer(out).writerows([["text", "label"], ["the team in the rain", "game"], ["bread and salt", "bank"]])
    rows, labels = tmp_path / "rows.csv", ["--labels", "game,bank", "--model", onnx_folder]
    ended = commands(
        ["classify", rows, *labels],
        ["classify", rows, *labels, "--output", tmp_path / "labelled.parquet"],
        ["encode", rows, "--column", "text", "--model", onnx_folder, "--output", tmp_path / "vectors.npy"],
        ["evaluate", "--data", rows, "--label-column", "label", *labels[2:], "--format", "json"],
    )
    assert [run.code for run in ended] == [0, 0, 0, 0], ended
    assert [json.loads(line)["label"] for line in ended[0].out.splitlines()]
    assert np.load(tmp_path / "vectors.npy").shape == (2, 16)


def test_what_needs_torch_says_so(onnx_folder, torch_folder, tmp_path):
    # kills: a trace of imports, or a sentence that names no command
    (tmp_path / "rows.csv").write_text("text,label\nrain,a\nsun,b\n")
    rows = tmp_path / "rows.csv"
    lines = [
        ["generate", "--model", torch_folder, "--prompt", "rain"],
        ["attribute", "--model", torch_folder, "rain"],
        ["pretrain", "electra-tiny", "--corpus", rows, "--out", tmp_path / "pretrained"],
        ["distill", "--teacher", torch_folder, "--corpus", rows, "--out", tmp_path / "distilled"],
        ["finetune", "--model", torch_folder, "--train", rows, "--eval", rows, "--out", tmp_path / "tuned"],
        ["convert", torch_folder, tmp_path / "converted"],
        ["export", torch_folder, "--to", "onnx"],
    ]
    for line, ended in zip(lines, commands(*lines), strict=True):
        told = ended.err.strip().splitlines()
        assert ended.code == 2 and told[-1].startswith("sijo: "), (line, ended)
        assert "which is not installed: pip install 'sijo[" in told[-1] and "Traceback" not in ended.err, ended
    opened, asked = commands(
        ["classify", "--labels", "sea,land", "--model", torch_folder],
        ["classify", "--labels", "sea,land", "--model", onnx_folder, "--backend", "torch"],
    )
    for ended in (opened, asked):
        assert ended.code == 2 and "pip install 'sijo[torch]'" in ended.err, ended
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv"]


@pytest.mark.parametrize("name", ["load", "create", "save", "generate", "attribute", "Model"])
def test_names_of_the_library_that_need_torch(name):
    # kills: a name that fails with a trace of imports
    program = f"import sys; sys.modules['torch'] = None\nimport sijo\ntry: sijo.{name}\n"
    program += "except sijo.SijoError as error: print(error)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == f"this {NEEDS}"


def test_refusals_are_the_same(onnx_folder, tmp_path):
    # kills: an error of the user's that is hidden behind torch's absence
    lines = [
        (2, ["classify", "--labels", "sea", "--model", onnx_folder, "--backend", "x"]),
        (2, ["classify", "--model", onnx_folder]),
        (2, ["inspect", tmp_path / "absent"]),
        (5, ["inspect", tmp_path]),
        (2, ["nothing"]),
    ]
    for (code, line), ended in zip(lines, commands(*(line for _, line in lines)), strict=True):
        assert ended.code == code and ended.err.strip().splitlines()[-1].startswith("sijo: "), (line, ended)


def test_sklearn_and_arrow_wait(onnx_folder):
    # kills: half a second and 100 MB for every command
    program = RUN.replace("for arguments", "sys.modules['sklearn'] = None\nfor arguments") + (
        "\nlate = {'jinja2'} if 'pandas' in sys.modules else {'pyarrow.compute', 'pyarrow.parquet', 'jinja2'}"
        "\nassert not late & sys.modules.keys(), 'imported'\n"  # Arrow imports pandas where there is any
    )
    line = json.dumps([["classify", "--labels", "sea,land", "--model", str(onnx_folder)]])
    ran = subprocess.run([sys.executable, "-c", program, line], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)[0] == 0, ran.stdout
