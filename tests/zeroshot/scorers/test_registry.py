"""The registry of scorers: light, true to the classes, and the only place where one is registered."""

import inspect
import json
import subprocess
import sys

import pytest

import sijo
from sijo.zeroshot.scorers.open import scorer_class
from sijo.zeroshot.scorers.registry import SCORERS, ScorerRow

TOY = '''
import numpy as np

from sijo.inference.outputs import ReadCounts
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.scorers.scorer import Scorer


class LetterScorer(Scorer):
    """The label with the most letters fits every text."""

    name = "toy"
    template = "{}"
    calibration = Calibration(temperature=1.0, none_score=0.0, origin="counted")

    def score(self, request):
        letters = [float(sum(map(str.isalpha, label.name))) for label in request.labels]
        tokens = np.array([len(text.split()) for text in request.texts])
        reading = ReadCounts(tokens, np.ones(len(tokens), int), np.zeros(len(tokens), bool))
        return np.tile(letters, (len(tokens), 1)), reading
'''
ROW = ScorerRow(place="letters.LetterScorer", help="by the letters of a label")
COMMAND = f"""
from sijo.zeroshot.scorers.registry import SCORERS, ScorerRow

SCORERS["toy"] = ScorerRow(place={ROW.place!r}, help={ROW.help!r})
from sijo.app.cli import main

main()
"""


@pytest.fixture
def toy(tmp_path):
    """The folder with the toy scorer's one file."""
    (tmp_path / "letters.py").write_text(TOY)
    return tmp_path


def test_a_scorer_is_one_class_and_one_row(toy, tiny_model, monkeypatch):
    # kills: a list of scorers or of their constructors beside the registry; auto that takes what nobody named
    monkeypatch.setitem(SCORERS, "toy", ROW)
    monkeypatch.syspath_prepend(toy)
    texts, labels = ["the sea", "rain"], ["sea", "harbour", "oil, gas"]
    clf = sijo.ZeroShotClassifier(labels, tiny_model, scorer="toy", cache=toy / "cache")
    assert clf.predict(texts).tolist() == ["harbour", "harbour"]
    assert clf.classify(texts, [["sea", "tax"], ["rain", "weather"]])[1].label == "weather"
    auto = sijo.ZeroShotClassifier(labels, tiny_model)
    assert auto._scorer().name == "embedding"


def test_the_command_line_knows_a_scorer_by_its_row(toy, tiny_model):
    # kills: choices or help of --scorer written down in the command
    def run(*arguments, stdin=""):
        command = [sys.executable, "-c", COMMAND, "classify", *map(str, arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True, cwd=toy).stdout

    shown = " ".join(run("--help").replace("│", " ").split())
    assert "one_pass, toy" in shown and ROW.help in shown
    ran = run("--model", tiny_model, "--scorer", "toy", "--labels", "sea,harbour", stdin="the sea\nrain\n")
    assert [json.loads(line)["label"] for line in ran.splitlines()] == ["harbour", "harbour"]


@pytest.mark.parametrize("name", SCORERS)
def test_a_row_is_true_to_its_class(name):
    # kills: a class that moved, a name or an option that differs from the row's
    scorer = scorer_class(name)
    assert scorer.name == name
    assert tuple(inspect.signature(scorer.__init__).parameters)[2:] == SCORERS[name].options


def test_the_registry_waits_for_nothing():
    # kills: torch or numpy imported by the registry, a second before `sijo classify --help`
    code = "import sys, sijo.zeroshot.scorers.registry; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
