"""The public benchmarks that no Hub was there for: their code, on small sets of the same form."""

import json
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import public

HYPOTHESES = ["This is about the sea.", "This is about the land.", "This is about money."]
TEXTS = [
    ("a boat on the waves", 0),
    ("a farm and its fields", 1),
    ("the bank lent him a sum", 2),
    ("the tide comes in", 0),
]


def pairs(texts=TEXTS, hypotheses=HYPOTHESES):
    """Rows as the Hub has them."""
    rows = [
        {"text": text, "hypothesis": hypothesis, "labels": int(number == right), "label_text": str(number)}
        for text, right in texts
        for number, hypothesis in enumerate(hypotheses)
    ]
    return datasets.Dataset.from_list(rows)


@pytest.fixture
def of_the_hub(monkeypatch):
    """`load_dataset` gives these rows, whichever set of BTZSC is asked for."""
    asked = []

    def load(path, name, split, **_):
        asked.append((path, name, split))
        return pairs()

    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked


def test_pairs_become_texts_and_labels():
    # kills: the right label of another text; a set whose pairs stand otherwise, measured all the same
    assert public.grouped(pairs()) == ([text for text, _ in TEXTS], HYPOTHESES, [0, 1, 2, 0])
    rows = pairs().to_list()
    first = [each for at in range(0, 12, 3) for each in sorted(rows[at : at + 3], key=lambda row: -row["labels"])]
    assert public.grouped(datasets.Dataset.from_list(first)).right == [0, 1, 2, 0]  # each group in its own order
    spoilt = [rows[1:], rows[:1], [*rows[:3], *rows[4:6], rows[4]], [{**row, "labels": 0} for row in rows]]
    spoilt += [[*rows[:2], {**rows[2], "text": "another"}]]
    for wrong in spoilt:
        with pytest.raises(ValueError, match=r"are no groups|are not one text"):
            public.grouped(datasets.Dataset.from_list(wrong))


def test_btzsc_is_measured_and_goes_on_where_it_was(of_the_hub, tmp_path, monkeypatch, capsys):
    # kills: a figure without its interval, a set measured twice, an option that does nothing
    out = tmp_path / "runs/btzsc.jsonl"
    for sets in (["agnews"], ["agnews", "imdb"]):
        monkeypatch.setattr(sys, "argv", ["public.py", "btzsc", "--out", str(out), "--sets", *sets])
        public.main()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["set"], row["task"]) for row in rows] == [("agnews", "topic"), ("imdb", "sentiment")]
    assert of_the_hub == [("btzsc/btzsc", name, "test") for name in ("agnews", "imdb")]
    assert all((row["texts"], row["labels"]) == (4, 3) for row in rows)
    for name in ("accuracy", "macro_f1"):
        assert 0 <= rows[0][name]["low"] <= rows[0][name]["value"] <= rows[0][name]["high"] <= 1
    assert rows[0]["accuracy"]["value"] == 1.0, rows  # the built-in model knows these
    assert capsys.readouterr().out.count("\n") == 2


def test_the_groups_are_the_sets_of_the_paper():
    # kills: a set that is forgotten, or counted in two groups
    names = [name for group in public.SETS.values() for name in group.split()]
    assert (len(names), len({*names})) == (22, 22)


def test_as_its_own_package_counts():
    # kills: another macro-F1 than the benchmark's own
    metrics = pytest.importorskip("btzsc.metrics", reason="btzsc is not installed: its counting is not compared")
    right, told = np.array([0, 1, 2, 0, 1]), np.array([0, 1, 1, 2, 1])
    counted = metrics.compute_metrics(told, right)
    mine = {name: metric(np.arange(5)) for name, metric in public.classified(right, told, 3).items()}
    assert all(abs(mine[name] - counted[name]) < 1e-12 for name in ("accuracy", "macro_f1"))


def test_mteb_runs_a_task_over_a_set_of_ours(monkeypatch):
    # kills: an encoder that MTEB's package does not take
    mteb = pytest.importorskip("mteb", reason="mteb is not installed: its tasks are not run")
    from mteb.abstasks.classification import AbsTaskClassification

    words = [("the waves of the sea", 0), ("fields and farms", 1)] * 10
    rows = [{"text": f"{text} {number}", "label": label} for number, (text, label) in enumerate(words)]

    class Fake(AbsTaskClassification):
        metadata = mteb.get_task("Banking77Classification").metadata.model_copy(
            update={"name": "FakeClassification"}
        )
        n_experiments = 2
        data_loaded = True

        def load_data(self, **_):
            sets = {split: datasets.Dataset.from_list(rows) for split in ("train", "test")}
            self.dataset = datasets.DatasetDict(sets)

    task = Fake()
    task.load_data()
    told = public.by_mteb(None, task)
    assert (told["set"], told["measure"], told["score"]) == ("FakeClassification", "accuracy", 1.0)
