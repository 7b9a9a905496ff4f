"""`sijo labels`: findings as a table or JSON lines, what a model reads, and files in another format."""

import json
import warnings

import pytest

from sijo.app import cli
from sijo.errors import SijoWarning
from sijo.zeroshot.label_files import read_labels


def command(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.run([*map(str, arguments)])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.toml"
    path.write_text(
        'labels = [{name = "sea", description = "salt water", examples = ["Waves broke."]}, "sun", "[red]tax"]',
        encoding="utf-8",
    )
    return path


def test_findings_are_told(capsys, labels, tmp_path):
    # kills: errors that leave exit code 0; a table in a pipe; markup in a label obeyed by the terminal
    code, out, err = command(capsys, "labels", "check", labels)
    kinds = [(json.loads(line)["severity"], json.loads(line)["kind"]) for line in out.splitlines()]
    assert (code, kinds) == (0, [("warning", "lopsided")] * 2)
    assert f"3 labels in {labels}: 2 warnings" in err
    code, out, _ = command(capsys, "labels", "check", labels, "--format", "table")
    assert code == 0 and "[red]tax" in out
    bad = tmp_path / "bad.csv"
    bad.write_text("label,threshold\nsea,0.5\nSea,7\n")
    code, out, err = command(capsys, "labels", "check", bad)
    assert code == 3 and [json.loads(line)["kind"] for line in out.splitlines()] == ["unusable"]
    assert "1 error\n" in err and "bad.csv cannot be used" in err
    good = tmp_path / "good.txt"
    good.write_text("sea\nbread\n")
    assert command(capsys, "labels", "check", good) == (0, "", f"2 labels in {good}: nothing to change\n")


def test_comments_in_a_text_are_told(capsys, tmp_path):
    # kills: a comment that wins rows in silence, with a command or in Python; a set of hashtags told to be comments
    path, tags, toml = (tmp_path / name for name in ("a.txt", "tags.txt", "a.toml"))
    path.write_text("# themes\nsea\nbread\n")
    tags.write_text("#sea\n#bread\n")
    toml.write_text('# themes\nlabels = ["#sea", "bread"]')
    code, out, _ = command(capsys, "labels", "check", path)
    findings = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [(one["kind"], one["labels"]) for one in findings if one["kind"] == "comment"] == [
        ("comment", ["# themes"])
    ]
    with pytest.warns(SijoWarning, match=r"a\.txt: the line '# themes' is read as a label, too; leave"):
        assert read_labels(path).names[0] == "# themes"
    rows = tmp_path / "rows.txt"
    rows.write_text("the sea\n")
    _, _, err = command(capsys, "classify", rows, "--labels-file", path)
    assert err.count("a.txt: the line '# themes' is read as a label, too") == 1
    for file in (tags, toml):
        assert "comment" not in command(capsys, "labels", "check", file)[1]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read_labels(file)


def test_options_are_read(capsys, labels):
    # kills: a template or a model that is asked for and not used
    code, _, err = command(capsys, "labels", "check", labels, "--hypothesis-template", "none")
    assert (code, "1 error" in err) == (3, True)
    code, out, _ = command(capsys, "labels", "show", labels, "--hypothesis-template", "On {}.")
    shown = json.loads(out)
    assert code == 0 and shown["digest"] == read_labels(labels).digest
    assert shown["labels"][0] == {
        "label": "sea",
        "sentences": ["On sea.", "salt water"],
        "descriptions": ["salt water"],
        "examples": ["Waves broke."],
    }
    assert command(capsys, "labels", "show", labels, "--model", "no/such", "--revision", "x")[0] in (1, 2)


def test_a_file_is_written_in_another_format(capsys, labels, tmp_path):
    # kills: a file replaced unasked; a set that comes back as another
    out = tmp_path / "labels.csv"
    assert command(capsys, "labels", "convert", labels, out) == (0, f"{out}\n", "")
    assert read_labels(out) == read_labels(labels)
    assert command(capsys, "labels", "convert", labels, out)[0] == 2
    assert command(capsys, "labels", "convert", labels, out, "--overwrite")[0] == 0
