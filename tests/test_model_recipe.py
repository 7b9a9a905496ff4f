"""The recipe of sijo-small: what judges does not teach, weights half way, and a card that is true."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import sijo
from sijo.files.manifest import verify, write_manifest
from sijo.jobs.open_labels.mixture import read_mixture
from sijo.jobs.open_labels.recast import read_set

MODEL = Path(__file__).parents[1] / "model"
BENCHMARKS = MODEL.parent / "benchmarks"


@pytest.fixture(autouse=True)
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(MODEL))


LONG = "The council will build twelve hundred flats on the site of the old gasworks, a third of them for families."
KOREAN = "시의회는 옛 가스 공장 자리에 아파트 천이백 채를 짓기로 했고 그 가운데 삼 분의 일은 저소득층 몫이다."
LIKE = {
    LONG: ("exact", "news"),
    f"  {LONG.upper().replace(',', ' -')} ": ("exact", "news"),
    LONG.replace("twelve", "thirteen"): ("near", "news"),
    KOREAN.replace("천이백", "천오백"): ("near", "korean"),
    "The council will not build anything where the old gasworks stood.": None,
    "A third of families live in flats.": None,
    "?!": None,
}


@pytest.mark.parametrize("text", LIKE)
def test_rows_that_judge_are_found_though_a_word_differs(text):
    # kills: copies that differ in capitals or a word, and texts that only speak of the same
    from duplicates import Judges

    assert Judges({"news": [LONG], "korean": [KOREAN]}).like(text) == LIKE[text]


def test_between_weights_are_the_mean_and_untrained_ones_the_same(tiny_copy, tmp_path):
    # kills: lower layers that leave their grid of 4 bits, and a share that is counted from the other end
    before, after = sijo.load(tiny_copy), sijo.load(tiny_copy)
    moved = dict(after.named_parameters())["transformer.blocks.0.attention.query.weight"]
    with torch.no_grad():
        moved.data = moved.data + 1
    sijo.save(after, tmp_path / "after")
    command = [
        sys.executable,
        MODEL / "between.py",
        tiny_copy,
        tmp_path / "after",
        tmp_path / "out",
        "--share",
        "0.25",
    ]
    subprocess.run(command, check=True)
    old, new = before.state_dict(), sijo.load(tmp_path / "out").state_dict()
    for name, weight in new.items():
        if name.endswith("blocks.0.attention.query.weight"):
            assert torch.allclose(weight, old[name] + 0.25)
        else:
            assert torch.equal(weight, old[name]), name


def test_every_set_that_teaches_has_a_licence():
    # kills: a set that is learned from and told of nowhere
    from card import sets
    from sets import SETS

    listed = {table for one in sets({}) for table in one["tables"]}
    assert {one.file for one in SETS} <= listed
    assert all(one["licence"] and "SA" not in one["licence"] for one in sets({}) if "teaches" in one["role"])


def test_a_card_says_how_many_rows_teach():
    # kills: rows that were left out counted among those that taught
    from card import left

    assert left({"rows": 100, "near to BBC News": 3, "exact to NSMC": 2}) == 95


def test_a_card_is_whole_and_so_is_the_folder_with_it(tiny_copy, tmp_path):
    # kills: stages without a name, and a manifest that lists what the folder was before the card
    model = tmp_path / "sijo-small"
    shutil.copytree(tiny_copy, model)
    write_manifest(model)
    told = {
        "sets/counts.json": {"teaching": {"wordnet.csv": {"rows": 100, "near to BBC News": 3}}},
        "labels/settings.json": {"run": {"steps": 7}},
        "stages.jsonl": {"stage": "labels", "seconds": 96},
    }
    for name, content in told.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content) + "\n")
    subprocess.run([sys.executable, MODEL / "card.py", tmp_path], check=True)
    card = (model / "README.md").read_text(encoding="utf-8")
    assert (
        "\n| labels | 1.6 |\n| all | 2 |\n" in card and "\n7 steps" in card and "3 nearly equal rows of 100" in card
    )
    assert "|  |" not in card
    verify(model)


def test_lines_are_taught_by_the_words_that_the_teacher_finds(tmp_path, monkeypatch, minilm):
    # kills: texts of sources that nobody may learn from, words that the sources do not use, a word of another line,
    # a mixture without the teacher or in which the table is not found
    import lines

    english, sets = tmp_path / "english", tmp_path / "sets"
    english.mkdir(), sets.mkdir()
    for name in lines.SOURCES:
        (english / f"{name}.txt").write_text(
            "The ships left the harbour for open waters.\n" + "Ocean of tax.\n" * 30
        )
    (english / "dialogue.txt").write_text("What are you doing here, of all the places?\n" * 30)
    (english / "wordnet.txt").write_text(
        "ocean: much water\ntax: a levy\nplaces: some\nship's: of a ship\nof: of\n"
    )
    texts = {
        "nouns": "a compulsory contribution to the revenue of the state",
        "packages": "program that shows the depth of water at sea",
        "requests": "how much do I owe the government this year",
    }
    for name, text in texts.items():
        (sets / f"{name}.csv").write_text(f"text,other\n{text},x\n")
    (sets / "mixture.toml").write_text('[[sets]]\nfile = "nouns.csv"\nlabel = "other"\n')
    (tmp_path / "all-MiniLM-L6-v2").symlink_to(minilm.source)
    monkeypatch.setattr(
        sys,
        "argv",
        ["lines.py", f"--data={tmp_path}", str(sets), str(sets / "mixture.toml"), f"--english={english}"],
    )
    lines.main()
    rows = dict(line.rsplit(",", 1) for line in (sets / "lines.csv").read_text().splitlines()[1:])
    assert {text.strip('"'): word for text, word in rows.items()} == {
        texts["nouns"]: "tax",
        texts["packages"]: "ocean",
        texts["requests"]: "tax",
        "The ships left the harbour for open waters.": "ocean",
    }
    entry = read_mixture(sets / "mixture.toml")[1]
    assert Path(entry.teacher).samefile(minilm.source) and len(read_set(entry).rows) == 4
