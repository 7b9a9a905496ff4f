"""The recipe of `make ctrl` (model/ctrl.py) on a few lines of made text: tables, commands, what it refuses."""

import json
import lzma
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[1] / "model"
WORDS = ["sea", "whale", "ship", "wind", "wave", "sail", "mast", "rope", "deck", "hull", "captain", "gull"]
FILMS = range(1, 41)


@pytest.fixture(scope="module")
def ctrl():
    spec = spec_from_file_location("ctrl", MODEL / "ctrl.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def settings():
    """Those of ctrl.toml, in small."""
    settings = tomllib.loads((MODEL / "ctrl.toml").read_text(encoding="utf-8"))
    settings["bytes"] = 3_000
    settings["tokenizer"] |= {"vocab_size": 300, "max_length": 32}
    return settings


@pytest.fixture
def english(tmp_path, settings):
    """A folder like that of benchmarks/english.py: forty documents a source."""
    folder = tmp_path / "english"
    folder.mkdir()
    (folder / "names.json").write_text("{}")
    for place, name in enumerate(settings["english"].values()):
        documents = [f"{name} {' '.join(WORDS[(place + n * k) % 12] for k in range(21))} {n}." for n in range(40)]
        (folder / f"{name}.txt").write_text("\n\n".join(documents) + "\n")
    return folder


@pytest.fixture
def nsmc(tmp_path):
    """Reviews of forty films, one of each rating; all films have one text in common."""
    file = tmp_path / "reviews.tsv.xz"
    rows = [f'{film}\t{rating}\t영화 {film}번은 {rating}점짜리 "영화' for film in FILMS for rating in range(1, 11)]
    rows += [f"{film}\t10\t모두가 하는 같은 말입니다" for film in FILMS] + ["1\t1\t짧다"]
    file.write_bytes(lzma.compress("\n".join(["movie\trating\ttext", *rows, ""]).encode()))
    return file


def documents(file):
    return file.read_text(encoding="utf-8").strip().split("\n\n")


def test_texts_of_each_code_are_of_like_size_and_what_is_apart_is_apart(ctrl, settings, english, nsmc, tmp_path):
    """Catches a text on both sides, a rating under another's code, a quote that swallows lines, a short review."""
    folder = tmp_path / "out"
    codes = ctrl.texts(folder, english, nsmc, settings)
    assert codes == [*settings["english"], *settings["ratings"]] and len(settings["english"]) == 10
    known = {text for code in codes for text in documents(folder / "texts" / f"{code}.txt")}
    for code in codes:
        learned, apart = (documents(folder / part / f"{code}.txt") for part in ("texts", "held-out"))
        assert 2_000 < sum(len(text.encode()) for text in learned) <= 3_000
        assert apart and not known & {*apart}
        for text in learned + apart if code in settings["ratings"] else ():
            if text != "모두가 하는 같은 말입니다":
                film, rating = (int(word) for word in text.replace("번은", "").replace("점짜리", "").split()[1:3])
                assert rating in settings["ratings"][code] and (film % settings["films"] == 0) is (text in apart)


def test_texts_are_written_once_and_never_of_something_else(ctrl, settings, english, nsmc, tmp_path, capsys):
    """Catches a second call that writes anew, and one that goes on with texts of other settings."""
    folder = tmp_path / "out"
    codes = ctrl.texts(folder, english, None, settings)
    assert codes == [*settings["english"]] and "no Korean reviews" in capsys.readouterr().err
    times = {file: file.stat().st_mtime_ns for file in folder.rglob("*.txt")}
    assert ctrl.texts(folder, tmp_path / "gone", None, settings) == codes
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.txt")} == times
    with pytest.raises(SystemExit, match=r"\(ratings, which come with --nsmc\); ask for the same"):
        ctrl.texts(folder, english, nsmc, settings)
    with pytest.raises(SystemExit, match=r"other settings \(bytes\)"):
        ctrl.texts(folder, english, None, settings | {"bytes": 2_000})


def test_a_table_of_something_else_is_refused(ctrl, settings, english, tmp_path):
    """Catches a KeyError where a sentence should be."""
    table = tmp_path / "reviews.tsv"
    table.write_text("id\tdocument\tlabel\n1\t좋다\t1\n")
    with pytest.raises(SystemExit, match="no column 'movie'; give NSMC's table"):
        ctrl.texts(tmp_path / "out", english, table, settings)


def test_its_commands_train_a_model_that_writes_and_attributes(
    ctrl, settings, english, nsmc, tmp_path, monkeypatch, sijo_cli
):
    """Catches an option or a setting that sijo no longer has, a code without a token, and a step done twice."""
    ran = []

    def sijo(words):
        ran.append(words[0])
        return sijo_cli(*words).code

    file, folder = tmp_path / "ctrl.toml", tmp_path / "out"
    text = (MODEL / "ctrl.toml").read_text(encoding="utf-8").replace("bytes = 1_800_000", "bytes = 3_000")
    file.write_text(text.replace("vocab_size = 8_192", "vocab_size = 300"))
    changes = ["run.steps=2", "run.batch=4", "model.schedule=[0]"]
    words = [str(folder), "--nsmc", str(nsmc), "--english", str(english), "--settings", str(file)]
    monkeypatch.setattr(sys, "argv", ["ctrl.py", *words, "--set", *changes])
    monkeypatch.setattr(ctrl, "sijo", sijo)
    for _ in range(2):
        ctrl.main()
        assert ran == ["tokenizer", "pretrain"]
    listed = sijo_cli("generate", "--model", folder / "run" / "model", "--codes").out.decode()
    assert all(code in listed for code in [*settings["english"], *settings["ratings"]])
    made = json.loads((folder / "run" / "settings.json").read_text(encoding="utf-8"))
    assert (made["run"]["steps"], made["run"]["batch"], made["data"]["length"]) == (2, 4, 128)
    for arguments in ctrl.to_try(folder / "run" / "model", [*settings["english"], *settings["ratings"]])[::4]:
        assert sijo_cli(*ctrl.shlex.split(arguments)).code == 0
