"""Texts of some labels teach, and others are told by their words: the estimator, and the command over it."""

import csv
import json

import numpy as np
import pytest

from runs import REQUESTS
from sijo.errors import SettingError, TextError
from sijo.random import rng
from sijo.zeroshot.class_vectors.classifier import ClassVectorClassifier, chosen_on_held_out

pytestmark = pytest.mark.usefixtures("one_thread")
DOMAINS = ("banking", "home", "meta", "travel", "work")


def rows_of(names):
    with REQUESTS.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["domain"] in names]


@pytest.fixture
def files(write):
    """Requests: half of those of four domains teach, the others judge with those of two domains more."""
    unseen = ("kitchen and dining", "small talk")
    taught = [row for number, row in enumerate(rows_of(DOMAINS)) if number % 2]
    judged = [row for number, row in enumerate(rows_of(DOMAINS)) if not number % 2] + rows_of(unseen)
    names = {}
    for name, rows in (("seen", taught), ("all", judged)):
        text = "".join(json.dumps({"text": row["text"], "label": row["domain"]}) + "\n" for row in rows)
        names[name] = str(write(f"{name}.jsonl", text))
    return names


def test_held_out_classes_choose(monkeypatch):
    # kills: γ of the training rows, a held-out class that is learned from, settings that nothing chose
    random = np.random.default_rng(0)
    classes = random.normal(size=(10, 12))
    columns = np.repeat(np.arange(10), 12)
    texts = classes[columns] + 0.8 * random.normal(size=(120, 12))
    choice = chosen_on_held_out("eszsl", texts, columns, classes)
    assert choice.gamma != 0 and 0 < choice.ausuc < 1
    assert chosen_on_held_out("eszsl", texts, columns, classes) != choice  # another object
    again = chosen_on_held_out("eszsl", texts, columns, classes)
    assert (again.gamma, again.ausuc, again.method.settings) == (choice.gamma, choice.ausuc, choice.method.settings)
    assert choice.method._weights_DA.shape == (12, 12)
    with pytest.raises(SettingError, match="with 2 seen classes none can be held out"):
        chosen_on_held_out("eszsl", texts[:24], columns[:24], classes[:2])


def test_what_is_left_may_teach_dap_nothing():
    # kills: seen classes said to have the same attributes that have others, only since one of them is held out
    random = np.random.default_rng(0)
    columns = np.repeat(np.arange(5), 6)
    texts = random.normal(size=(5, 12))[columns] + 0.1 * random.normal(size=(30, 12))
    classes = np.zeros((5, 2))
    classes[rng(0, "held-out classes").permutation(5)[0]] = 1
    with pytest.raises(SettingError, match="the 4 seen classes left after holding some out"):
        chosen_on_held_out("dap", texts, columns, classes)
    assert chosen_on_held_out("dap", texts, columns, classes, seed=1).method.name == "dap"
    with pytest.raises(SettingError, match="the seen classes have the same attributes"):
        chosen_on_held_out("dap", texts, columns, np.zeros((5, 2)))


def test_auto_takes_the_better_one():
    # kills: the first of two, the worse, or one that cannot be
    random = np.random.default_rng(0)
    classes, mixing = random.normal(size=(20, 12)), random.normal(size=(12, 12))
    columns = np.repeat(np.arange(20), 12)
    noise = random.normal(size=(240, 12))
    assert chosen_on_held_out("auto", classes[columns] + noise, columns, classes).method.name == "cosine"
    turned = chosen_on_held_out("auto", classes[columns] @ mixing + noise, columns, classes)
    assert turned.method.name == "eszsl"
    assert turned.ausuc == chosen_on_held_out("eszsl", classes[columns] @ mixing + noise, columns, classes).ausuc
    fewer = chosen_on_held_out("auto", (classes[columns] @ mixing + noise)[:, :9], columns, classes)
    assert fewer.method.name == "eszsl"


def test_stacking_is_what_it_says(tiny_model):
    # kills: γ added to the unseen twice, taken from all, or forgotten by `with_labels`
    rows = rows_of(DOMAINS)
    texts, names = [row["text"] for row in rows], [row["domain"] for row in rows]
    labels = [*DOMAINS, "weather", "music"]
    made = ClassVectorClassifier(labels, model=tiny_model, method="conse", gamma=0.25).fit(texts, names)
    vectors = made.encoded(texts[:7])
    decided = made.decision_function(texts[:7])
    want = made.scores(vectors) - 0.25 * np.array([1] * 5 + [0] * 2)
    np.testing.assert_array_equal(decided, want)
    assert made.predict(texts[:7]).tolist() == [labels[place] for place in want.argmax(1)]
    other = made.with_labels(["music", "TRAVEL"])
    assert other.is_seen_.tolist() == [False, True] and other.classes_.tolist() == ["music", "TRAVEL"]
    np.testing.assert_allclose(other.decision_function(texts[:7]), decided[:, [6, 3]])
    assert made.get_params()["gamma"] == 0.25 and made.classes_.tolist() == labels


def test_attributes_take_the_place_of_words(tiny_model, write):
    # kills: words read beside attributes; a label without a row passed over
    table = write(
        "a.json",
        json.dumps({"Sea": {"wet": 1, "high": 0}, "hill": {"wet": 0, "high": 1}, "rain": {"wet": 1, "high": 1}}),
    )
    texts, names = ["the sea", "a hill", "the sea and the sun", "a hill of sun"], ["sea", "hill", "sea", "hill"]
    made = ClassVectorClassifier(
        ["sea", "hill", "rain"], model=tiny_model, method="conse", attributes=table, gamma=0
    )
    made.fit(texts, names)
    assert made.class_vectors_.tolist() == [[1, 0], [0, 1], [1, 1]]
    with pytest.raises(TextError, match="no row for 'snow'"):
        made.with_labels(["sea", "snow"])


def test_bad_input(tiny_model):
    # kills: one label learned from, a label in two cases counted twice, an unknown method
    with pytest.raises(TextError, match="all texts have the label 'sea'"):
        ClassVectorClassifier(["sea", "sun"], model=tiny_model).fit(["a", "b"], ["sea", "sea"])
    with pytest.raises(SettingError, match="Sea"):
        ClassVectorClassifier(model=tiny_model).fit(["a", "b"], ["sea", "Sea"])
    with pytest.raises(TextError, match="row 2: there is no label 'son'"):
        ClassVectorClassifier(["sea", "sun"], model=tiny_model).fit(["a", "b"], ["sea", "son"])
    with pytest.raises(SettingError, match="no method 'eszls'; did you mean 'eszsl'"):
        ClassVectorClassifier(["sea"], model=tiny_model, method="eszls").fit(["a"], ["sea"])
    with pytest.raises(SettingError, match='must be a number, such as 0, or "held-out"'):
        ClassVectorClassifier(model=tiny_model, gamma="best").fit(["a", "b"], ["sea", "sun"])


def test_the_command(sijo_cli, files, tiny_model, tmp_path):
    # kills: seen labels that are those of the data, predictions of another method, γ left out of them
    answers, drawn = tmp_path / "answers.jsonl", tmp_path / "curve.svg"
    told = tmp_path / "told.md"
    ran = sijo_cli(
        *("evaluate", "--task", "generalized-zero-shot", "--train", files["seen"], "--data", files["all"]),
        *("--model", tiny_model, "--resamples", "100", "--format", "json"),
        *("--predictions", answers, "--plot", drawn, "--report", told),
    )
    assert ran.code == 0, ran.err
    methods = json.loads(ran.out)["methods"]
    assert list(methods) == ["cosine", "conse", "eszsl", "dap"]
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    for name, one in methods.items():
        assert (one["seen_classes"], one["unseen_classes"]) == (5, 2)
        own = [row for row in rows if row["method"] == name]
        assert len(own) == one["rows"]
        for kind, seen in (("seen", True), ("unseen", False)):
            means = [
                np.mean([row["right"] for row in own if row["gold"] == label])
                for label in {row["gold"] for row in own if row["seen"] is seen}
            ]
            assert one[kind]["value"] == pytest.approx(np.mean(means))
    assert drawn.is_file() and told.read_text().count("\n| ") == 6


def test_a_method_that_learns_nothing_leaves_the_others(sijo_cli, files, tiny_model, write):
    # kills: all methods lost since one of them cannot be fitted, an encoder that is the lost one's
    taught = list(dict.fromkeys(row["domain"] for number, row in enumerate(rows_of(DOMAINS)) if number % 2))
    alone = taught[rng(0, "held-out classes").permutation(len(taught))[0]]
    every = dict.fromkeys([*taught, "kitchen and dining", "small talk"])
    told = write("told.csv", "label,a\n" + "".join(f"{name},{int(name == alone)}\n" for name in every))
    made = ("evaluate", "--task", "generalized-zero-shot", "--train", files["seen"], "--data", files["all"])
    made = (*made, "--model", tiny_model, "--resamples", "100", "--format", "json", "--attributes", told)
    ran = sijo_cli(*made, "--method", "dap", "--method", "eszsl")
    assert ran.code == 0, ran.err
    assert list(json.loads(ran.out)["methods"]) == ["eszsl"]
    assert "dap is not measured: the 4 seen classes left" in " ".join(ran.err.split())
    ran = sijo_cli(*made, "--method", "dap")
    assert ran.code == 2 and "seen classes left after holding some out" in " ".join(ran.err.split())


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        (("--train", None), 2, "needs --train FILE"),
        (("--calibrate", "batch"), 2, "--calibrate has no part in --task generalized-zero-shot"),
        (("--multi-label",), 2, "--multi-label has no part in"),
        (("--attributes", "holes.csv"), 3, "class 'travel', attribute 'b' is empty"),
        (("--attributes", "few.csv"), 3, "no row for"),
        (("--report", "x.html"), 2, "let it end in .md"),
        (("--data", "seen"), 3, "every row is of a seen class"),
    ],
)
def test_what_the_command_refuses(sijo_cli, files, tiny_model, tmp_path, changes, code, words):
    (tmp_path / "holes.csv").write_text("label,a,b\ntravel,1,\nwork,0,1\n")
    (tmp_path / "few.csv").write_text("label,a,b\ntravel,1,0\nwork,0,1\n")
    options = {"--train": files["seen"], "--data": files["all"], "--model": tiny_model, "--resamples": "100"}
    name, value = (*changes, "")[:2]
    if name in ("--train", "--data"):
        options[name] = files.get(value)
        changes = ()
    elif value.endswith(".csv"):
        changes = (name, tmp_path / value)
    given = [part for pair in options.items() if pair[1] for part in pair]
    ran = sijo_cli("evaluate", "--task", "generalized-zero-shot", *given, *changes)
    assert ran.code == code and words in ran.err.replace("\n", " "), ran.err
    ran = sijo_cli("evaluate", "--data", files["all"], "--train", files["seen"], "--model", tiny_model)
    assert ran.code == 2 and "--train is for --task generalized-zero-shot" in ran.err
