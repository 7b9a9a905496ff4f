"""Label sets as values: what edits them, what tells two apart, and files that say all of it."""

import json
import time
from dataclasses import replace

import pytest

from sijo.errors import SettingError, TextError
from sijo.zeroshot.label_files import read_labels, write_labels
from sijo.zeroshot.labels import Label, LabelSet

FULL = LabelSet(
    (
        Label("경제", ("금리, 물가와 주식", "세금"), examples=("한국은행이 금리를 올렸다",), threshold=0.6),
        Label("증시", parent="경제"),
        Label('say "hi"\n\\ \x7f', ("=SUM(A1)",)),
    ),
    templates=(("ko", "이 글은 {}{을/를} 다룬다."), ("en", "On {}.")),
    language="ko",
)


def test_edits_give_another_set_and_leave_the_old():
    # kills: an edit in place; a digest that forgets a field, order or templates; a rename that orphans children
    before = FULL.digest
    edited = FULL.add("건강").remove("건강").rename("경제", "시장").rename("시장", "경제")
    assert edited == FULL and edited.digest == FULL.digest == before
    assert FULL.rename("경제", "시장").labels[1].parent == "시장"
    others = [
        replace(FULL, language=None),
        replace(FULL, templates=FULL.templates[:1]),
        replace(FULL, labels=FULL.labels[::-1]),
        *(
            replace(FULL, labels=(replace(FULL.labels[0], **change), *FULL.labels[1:]))
            for change in ({"threshold": 0.5}, {"examples": ()}, {"descriptions": ("세금",)})
        ),
    ]
    assert len({before, *(other.digest for other in others)}) == len(others) + 1


def test_edits_that_cannot_be():
    # kills: a parent removed under its part, a label added twice in another spelling, an unknown name passed over
    for edit, message in [
        (lambda: FULL.remove("경제"), "parent of '증시' is '경제'"),
        (lambda: FULL.add("  경제 "), "given twice"),
        (lambda: FULL.remove("경재"), "no label '경재'"),
        (lambda: FULL.rename("증시", "경제"), "given twice"),
        (lambda: LabelSet.of(["a"]).remove("a"), "no labels"),
    ]:
        with pytest.raises(SettingError, match=message):
            edit()


def test_what_was_given_before_is_taken_as_it_was():
    # kills: lists, mappings and sets read in another way than before; a set that loses what it holds on the way
    assert LabelSet.of(["a", "b"]) == LabelSet.of({"a": (), "b": None}) == LabelSet.of([Label("a"), "b"])
    assert LabelSet.of({"a": "x", "b": ["y", ""]}).labels == (Label("a", ("x",)), Label("b", ("y",)))
    assert LabelSet.of(FULL) is FULL
    with pytest.raises(SettingError, match="label 2 of 2 is None"):
        LabelSet.of(["a", None])


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_what_is_written_is_read_again(tmp_path, suffix):
    # kills: a quote, a line end or a control sign that TOML reads otherwise; a field that one format drops
    assert read_labels(write_labels(FULL, tmp_path / f"l{suffix}")) == FULL


def test_formats_that_hold_less_say_so(tmp_path):
    # kills: templates, thresholds or a name with a line end lost on the way to a CSV or a text
    plain = LabelSet(FULL.labels[:2])
    assert read_labels(write_labels(plain, tmp_path / "l.csv")) == plain
    assert read_labels(write_labels(LabelSet.of(["a", "b"]), tmp_path / "l.txt")) == LabelSet.of(["a", "b"])
    for labels, name in [(FULL, "l.csv"), (plain, "l.txt"), (LabelSet.of(["a", "b\nc"]), "l.txt"), (plain, "l.md")]:
        with pytest.raises(SettingError, match=r"says more|cannot hold|is \.txt"):
            write_labels(labels, tmp_path / f"other-{name}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.csv", "l.txt"]


TOML = """
language = "ko"
[templates]
ko = "{}{은/는} 이 글의 주제다."
[labels."경제"]
description = "돈"
threshold = 1
[labels."증시"]
parent = "경제"
examples = ["코스피가 올랐다", ""]
"""


def test_a_file_says_it_in_three_ways(tmp_path):
    # kills: a table of labels read as one label; a field under its plural alone; an empty example kept
    (tmp_path / "l.toml").write_text(TOML, encoding="utf-8")
    labels = read_labels(tmp_path / "l.toml")
    economy, stocks = (
        Label("경제", ("돈",), threshold=1),
        Label("증시", examples=("코스피가 올랐다",), parent="경제"),
    )
    assert labels == LabelSet((economy, stocks), (("ko", "{}{은/는} 이 글의 주제다."),), "ko")
    (tmp_path / "l.csv").write_text(
        "label,Description,example,parent,threshold\n경제,돈,,,1\n증시,,코스피가 올랐다,경제,\n", encoding="utf-8"
    )
    assert read_labels(tmp_path / "l.csv").labels == labels.labels
    (tmp_path / "l.json").write_text(
        json.dumps({"경제": {"description": "돈", "threshold": 1}, "증시": stocks.record}, ensure_ascii=False)
    )
    assert read_labels(tmp_path / "l.json").labels == labels.labels


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.toml", "labels = [", "is not TOML"),
        ("l.toml", "[labels.경제]", "not plain ASCII stands in double quotes"),
        ("l.toml", 'label = ["a"]', "did you mean 'labels'"),
        ("l.toml", 'labels = "a, b"', "holds no labels"),
        ("l.toml", 'labels = ["a"]\ntemplates = "{}"', "for templates"),
        ("l.toml", 'labels = ["a", "A"]', "l.toml: the label 'A' is given twice"),
        ("l.toml", 'labels = ["a", 1979-05-27]', "label 2 of 2 is"),
        ("l.toml", 'labels = ["a"]\n[templates]\nen = "no slot"', "needs the two characters"),
        ("l.toml", 'labels = ["a"]\nlanguage = "Klingon!"', "no code of one"),
        ("l.toml", 'labels = ["a"]\nlanguage = "tlh"', "no template"),
        ("l.json", '[{"label": "a", "treshold": 0.5}]', "did you mean 'threshold'"),
        ("l.json", '[{"label": "a", "threshold": 1.5}]', "l.json: the threshold of 'a' is 1.5"),
        ("l.json", '[{"label": "a", "threshold": true}]', "no probability"),
        ("l.json", '[{"label": "a", "threshold": NaN}]', "no probability"),
        ("l.json", '[{"label": "a", "threshold": "0.5"}]', "no probability"),
        ("l.json", '[{"label": "a", "parent": "b"}]', "which is no label"),
        ("l.json", '[{"label": "a", "parent": "a"}]', r"lead back to it \(a in a\)"),
        ("l.json", '[{"label": "a", "parent": "b"}, {"label": "b", "parent": "a"}]', "lead back to it"),
        ("l.json", '[{"label": "a", "parent": 3}]', "give the name of another label"),
        ("l.json", '[{"label": "a", "description": "x", "descriptions": ["y"]}]', "give one of them"),
        ("l.json", '[{"label": "a", "parent": "b", "parent": "c"}]', "twice"),
        ("l.json", '[{"label": "a", "examples": [1]}]', "an? example of 'a'|the example of 'a' is"),
        ("l.json", json.dumps([{"label": "a", "examples": ["x" * 20_001]}]), "20,001 characters"),
        ("l.json", '{"labels": ["a"], "templates": []}', "for templates"),
        ("l.csv", "label,treshold\na,0.5\n", "did you mean 'threshold'"),
        ("l.csv", "label,description\na,salt, water\n", "has 3 cells"),
        ("l.csv", "label,threshold\na,half\n", "the threshold of 'a' is 'half'"),
        ("l.csv", "label,parent,parent\na,b,c\n", "column 'parent' twice"),
    ],
)
def test_files_that_make_no_set(tmp_path, name, content, message):
    # kills: any of these read as something that nobody wrote; an error that does not name the file
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises((SettingError, TextError), match=message) as told:
        read_labels(tmp_path / name)
    assert name in str(told.value)


def test_the_template_is_chosen_by_language():
    # kills: one language's sentence for a label in another; a choice made by the labels beside it
    own = {"ko": "ko {}"}

    def sentences(labels):
        return [label.phrases("en {}")[0] for label in labels.worded(own).labels]

    mixed = LabelSet.of(["경제", "sport"])
    assert sentences(mixed) == ["ko 경제", "en sport"]
    assert sentences(mixed.add("건강"))[:2] == sentences(mixed)
    assert sentences(replace(mixed, language="en")) == ["en 경제", "en sport"]
    assert sentences(replace(mixed, language="ko")) == ["ko 경제", "ko sport"]
    german = replace(mixed, templates=(("de", "de {}"),))
    assert sentences(german) == ["ko 경제", "de sport"]
    assert sentences(replace(german, language="de")) == ["de 경제", "de sport"]
    two = replace(german, templates=(*german.templates, ("fr", "fr {}"), ("ko", "mine {}")))
    with pytest.raises(SettingError, match="may be in de or in fr"):
        two.worded(own)
    assert sentences(replace(two.remove("sport"))) == ["mine 경제"]


def test_ten_thousand_labels_are_read_in_linear_time(tmp_path):
    # kills: a search through all labels for each one; the larger set may take 6 times as long as the one of a fifth
    def seconds(count: int) -> float:
        labels = LabelSet(tuple(
            Label(f"label {i:05}", ("in other words",), parent=f"label {i // 10:05}" if i else None)
            for i in range(count)
        ))  # fmt: skip
        path = write_labels(labels, tmp_path / f"{count}.json")
        started = time.process_time()
        again = read_labels(path)
        assert again == labels and len(again.leaves().labels) == count - (count + 9) // 10
        return time.process_time() - started

    seconds(500)
    # 5 times the labels; 25 times where it is quadratic. The best of three: a collector of garbage may come between
    assert min(seconds(10_000) for _ in range(3)) < 12 * seconds(2_000) + 0.5
