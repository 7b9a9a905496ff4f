"""What the sets of model/ are called: names and sentences that a mixture can use, whatever rows there are."""

import tomllib
from pathlib import Path

import pytest

from sijo.names import folded
from sijo.zeroshot.templates import Template, language_of

MODEL = Path(__file__).parents[1] / "model"
NAMES = tomllib.loads((MODEL / "names.toml").read_text(encoding="utf-8"))
TEMPLATES = tomllib.loads((MODEL / "templates.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("table", NAMES)
def test_every_label_is_named_in_both_languages(table: str) -> None:
    for code, names in NAMES[table].items():
        languages = {language_of(name) or "en" for name in names}
        assert languages == {"en", "ko"}, f"{code} is named in {languages} alone"


@pytest.mark.parametrize("table", NAMES)
def test_no_name_is_of_two_labels(table: str) -> None:
    first: dict[str, str] = {}
    for code, names in NAMES[table].items():
        for name in {folded(name) for name in (code.replace("_", " "), *names)}:
            assert first.setdefault(name, code) == code, f"{name!r} is of {first[name]} and {code}"


@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_sentence_can_be_filled_in_as_many_ways_in_each_language(kind: str) -> None:
    sentences = TEMPLATES[kind]
    assert set(sentences) == {"en", "ko"}
    assert len(set(sentences["en"])) == len(sentences["en"]) == len(sentences["ko"]) == len(set(sentences["ko"]))
    for texts in sentences.values():
        for text in texts:
            assert "joy" in Template(text).fill("joy")
