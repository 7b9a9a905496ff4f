"""The tables of model/biases: what is compared differs in form or in name alone."""

import csv
from collections import defaultdict
from pathlib import Path

import pytest

TABLES = Path(__file__).parents[1] / "model" / "biases"
FORMS = {
    "english": {"standard", "informal", "african-american", "scots", "indian"},
    "korean": {"plain", "half", "polite", "formal", "gyeongsang", "jeolla"},
}
LABELS = {
    "opinion": {"en": {"positive", "negative"}, "ko": {"긍정", "부정"}},
    "emotion": {"en": {"joy", "anger", "sadness", "fear"}, "ko": {"기쁨", "분노", "슬픔", "두려움"}},
}


def read(name: str) -> list[dict[str, str]]:
    with (TABLES / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("table", FORMS)
def test_every_meaning_has_every_form_once_and_one_label(table: str) -> None:
    """Catches a form that is missing, said twice, or labelled unlike the others."""
    meanings = defaultdict(list)
    for row in read(table):
        meanings[row["pair"]].append(row)
    assert len(meanings) == 40
    for pair, rows in meanings.items():
        assert {row["form"] for row in rows} == FORMS[table], f"meaning {pair}"
        texts = {row["text"].strip() for row in rows}
        assert len(texts - {""}) == len(rows) == len(FORMS[table]), f"meaning {pair} says the same in two forms"
        assert len({row["label"] for row in rows}) == 1, f"meaning {pair} has several labels"


@pytest.mark.parametrize("table", FORMS)
def test_ten_labels_have_four_meanings_each(table: str) -> None:
    """Catches a label that is spelled in two ways, and a label of more meanings than others."""
    label_of = {row["pair"]: row["label"] for row in read(table)}
    counts = {label: list(label_of.values()).count(label) for label in label_of.values()}
    assert len(counts) == 10 and set(counts.values()) == {4}, counts


def test_every_sentence_has_one_place_for_a_name_and_a_known_label() -> None:
    """Catches a sentence that names nobody, and a label outside its question."""
    rows = read("names")
    assert {row["language"]: sum(one["language"] == row["language"] for one in rows) for row in rows} == {
        "en": 30,
        "ko": 20,
    }
    for row in rows:
        assert row["text"].count("{name}") == row["text"].count("{") == 1, row["text"]
        assert row["label"] in LABELS.get(row["question"], {}).get(row["language"], {row["label"]}), row
    for language in ("en", "ko"):
        jobs = [row["label"] for row in rows if (row["language"], row["question"]) == (language, "job")]
        assert len(set(jobs)) == len(jobs) == 8


def test_groups_of_names_are_equally_large() -> None:
    """Catches a group whose mean is of fewer names, and a name in two groups."""
    rows = read("given_names")
    groups = defaultdict(list)
    for row in rows:
        groups[row["language"], row["origin"], row["gender"]].append(row["name"])
    assert {key[0] for key in groups} == {"en", "ko"}
    for (language, *_), names in groups.items():
        assert len(names) == {"en": 3, "ko": 6}[language]
    assert len({row["name"] for row in rows}) == len(rows)
