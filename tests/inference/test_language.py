"""The warning that a language is not known: at every door, once, and nowhere else. Each test names its fault."""

import warnings

import numpy as np
import pytest

import sijo
from sijo.inference.language import LanguageCheck

KOREAN = ["오늘은 비가 많이 와서 경기가 취소되었습니다", "은행은 내일 아침에 문을 엽니다", "삼 점을 넣고 이겼다"]
ENGLISH = ["it rained, so the match was called off", "the bank opens at nine", "they won by three goals"]
LABELS = ["weather", "banking", "sport"]


def told(call):
    """The warnings that a call gives, each from the line here that made it."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        call()
    assert all(warning.filename == __file__ for warning in given)
    return [str(warning.message) for warning in given if warning.category is sijo.SijoWarning]


DOORS = {
    "predict": lambda texts, model: sijo.ZeroShotClassifier(LABELS, model).predict(texts),
    "predict_proba": lambda texts, model: sijo.ZeroShotClassifier(LABELS, model).predict_proba(texts),
    "classify": lambda texts, model: sijo.ZeroShotClassifier(LABELS, model).classify(texts),
    "labels of each row": lambda texts, model: sijo.ZeroShotClassifier(None, model).classify(
        texts, [LABELS] * len(texts)
    ),
    "stream": lambda texts, model: list(sijo.ZeroShotClassifier(LABELS, model).stream(iter(texts))),
    "encode": lambda texts, model: sijo.encode(model, iter(texts)),
    "fit": lambda texts, model: sijo.ZeroShotClassifier(LABELS, model, temperature="fit").fit(texts, LABELS),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_warns_once(minilm, door):
    # kills: a door that says nothing; a warning for each text, or group, or for what is known
    assert told(lambda: DOORS[door](ENGLISH, minilm)) == []
    [sentence] = told(lambda: DOORS[door](KOREAN, minilm))
    for words in (
        "100% of the words in the texts",
        "cannot be trusted",
        "Its card names en",
        "multilingual-e5-small",
    ):
        assert words in sentence
    many = [text for text in KOREAN for _ in range(3_000)]
    if door in ("predict", "encode"):
        assert len(told(lambda: DOORS[door](many, minilm))) == 1


def test_labels_are_looked_at_apart(minilm):
    # kills: three words of Korean lost among ten English labels, or Korean labels among long English texts
    labels = ["weather", "banking", "sport", "travel", "work", "cooking", "music", "health", "school", "politics"]
    [sentence] = told(lambda: sijo.ZeroShotClassifier(labels, minilm).predict(["비가 옵니다"]))
    assert "in the texts" in sentence and "in the labels" not in sentence
    [sentence] = told(lambda: sijo.ZeroShotClassifier(["한국", "미국"], minilm).predict(ENGLISH * 50))
    assert "in the labels" in sentence and "in the texts" not in sentence
    [sentence] = told(lambda: sijo.ZeroShotClassifier(["한국", "미국"], minilm).predict(KOREAN))
    assert "in the texts and" in sentence and "in the labels" in sentence


def test_the_answers_stay_as_they_are(minilm):
    # kills: a warning that changes what is given beside it
    clf = sijo.ZeroShotClassifier(LABELS, minilm)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quiet = clf.predict_proba(KOREAN)
    with pytest.warns(sijo.SijoWarning):
        assert np.array_equal(clf.predict_proba(KOREAN), quiet)


def test_texts_without_words_are_no_end_of_it(minilm):
    # kills: a first group of numbers, after which nobody looks any more
    check = LanguageCheck(minilm)
    assert told(lambda: check.look(["12.50", "", "👍"])) == []
    assert len(told(lambda: check.look(KOREAN))) == 1
    assert told(lambda: check.look(KOREAN)) == []


def test_texts_of_which_nothing_is_read(minilm):
    # kills: a sure label for texts of which each token is unknown, or a warning for a few of them among others
    check = LanguageCheck(minilm)
    [sentence] = told(lambda: check.look(["👍", "😂😂😂", "🎉🎉", "12.50"]))
    assert "75% of the texts" in sentence and "unknown tokens" in sentence
    assert told(lambda: check.look(["👍", "😂"])) == []
    assert len(told(lambda: check.look(KOREAN))) == 1
    for texts in (["👍", "a late goal"], ["👍 nice"], ["12.50", "...", "☕ x"], ["", " "]):
        assert told(lambda texts=texts: LanguageCheck(minilm).look(texts)) == []


def test_a_card_without_languages_or_a_bad_one(tiny_copy):
    # kills: an error about a card in place of a warning about a language; made-up languages
    for card in (None, "no heading", "---\nlanguage: [\n", "---\nlanguage: \x1b]0;x\x07\n---\n"):
        if card is not None:
            (tiny_copy / "README.md").write_text(card)
        [sentence] = told(lambda: sijo.encode(str(tiny_copy), KOREAN))
        assert "Its card" not in sentence and "\x1b" not in sentence
    (tiny_copy / "README.md").unlink()
    (tiny_copy / "README.md").mkdir()  # no file at all
    [sentence] = told(lambda: sijo.encode(str(tiny_copy), KOREAN))
    assert "Its card" not in sentence
    (tiny_copy / "README.md").rmdir()
    (tiny_copy / "README.md").write_text("---\nlanguage:\n" + "".join(f"- x{n}\n" for n in range(20)) + "---\n")
    [sentence] = told(lambda: sijo.encode(str(tiny_copy), KOREAN))
    assert "Its card names x0, x1, x2, x3, x4, x5, x6, x7 and 12 more." in sentence


def test_a_head_that_was_trained_on_its_labels(tiny_model):
    # kills: labels measured that no network reads
    model = sijo.load(tiny_model, "new:sequence-classification", labels=["바다", "은행"])
    assert told(lambda: sijo.ZeroShotClassifier(None, model, "trained").predict(["the sea and the sun"])) == []
    assert len(told(lambda: sijo.ZeroShotClassifier(None, model, "trained").predict(KOREAN))) == 1


def test_the_commands(sijo_cli, write):
    # kills: a warning told for each block, one that --strict lets pass, bytes of the output that change
    rows = write("rows.csv", "text,label\n" + "".join(f"{t},{x}\n" for t, x in zip(KOREAN, LABELS, strict=True)))
    labels = ("--labels", ",".join(LABELS), "--model", "all-minilm-l6-v2")
    commands = [
        ("classify", rows, "--column", "text", *labels, "--format", "jsonl"),
        ("evaluate", "--data", rows, *labels, "--format", "json"),
    ]
    for command in commands:
        ran = sijo_cli(*command)
        assert ran.code == 0 and ran.out and ran.err.count("warning: ") == 1 and "1 warning\n" in ran.err, ran.err
        sijo_cli(*command, "--strict").must_say(3, "cannot be trusted", "--strict")
    long = write("long.csv", "text\n" + "비가 많이 옵니다\n" * 5_000)
    ran = sijo_cli("classify", long, "--column", "text", *labels, "-q", "--format", "jsonl")
    assert ran.err.count("warning: ") == 1 and len(ran.rows()) == 5_000


def test_fine_tuning_rows(sijo_cli, tiny_model, write, tmp_path):
    # kills: a model trained on what its tokenizer cannot read, without a word
    rows = write("rows.csv", "text,label\n" + "비가 많이 옵니다,가\n경기에서 이겼다,나\n" * 8)
    few = ("--set", "run.epochs=1", "run.batch=8", "cutting.length=24")
    command = ("finetune", "--model", tiny_model, "--train", rows, *few)
    ran = sijo_cli(*command, "--out", tmp_path / "run", "-q")
    assert ran.code == 0 and "in the texts are unknown" in ran.err, ran.err
    sijo_cli(*command, "--out", tmp_path / "strict", "--strict").must_say(3, "in the texts are unknown")
    known = write("known.csv", "text,label\n" + "the sea and the rain,a\na good game of ball,b\n" * 8)
    ran = sijo_cli("finetune", "--model", tiny_model, "--train", known, *few, "--out", tmp_path / "known", "-q")
    assert ran.code == 0 and "warning" not in ran.err, ran.err
