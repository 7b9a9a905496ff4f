"""Letters of labels in a picture: in a font that has them, or told of; with matplotlib's own fonts alone, whatever
the machine has."""

import unicodedata
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.font_manager import fontManager, get_font

from sijo.errors import SijoWarning
from sijo.evaluation import plots
from sijo.evaluation.fonts import NO_LETTERS, families_for
from sijo.evaluation.plots import plot
from sijo.evaluation.zero_shot import evaluate


@pytest.fixture
def own_fonts(monkeypatch):
    """The letters of each of matplotlib's own upright fonts, by name; there are no others."""
    own = [entry for entry in fontManager.ttflist if Path(entry.fname).is_relative_to(mpl.get_data_path())]
    monkeypatch.setattr(fontManager, "ttflist", own)
    files = {entry.name: entry.fname for entry in own if entry.style == "normal" and entry.weight == 400}
    return {name: {chr(code) for code in get_font(file).get_charmap()} for name, file in files.items()}


def test_letters_that_the_usual_font_lacks_are_drawn_in_another(tmp_path, own_fonts):
    # kills: boxes where an installed font has the letter, or fonts opened and named for nothing
    others = [own for name, own in own_fonts.items() if name != "STIXGeneral" and not name.startswith(NO_LETTERS)]
    odd = min(letter for letter in own_fonts["STIXGeneral"].difference(*others) if letter.isalpha())
    assert families_for(["sea", "é"]) == ["sans-serif"]
    assert families_for(["sea", odd]) == ["sans-serif", "STIXGeneral"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot(evaluate([odd], np.eye(2)[:1], [odd, "sea"], resamples=100), tmp_path / "a.png")


@pytest.mark.usefixtures("own_fonts")
def test_letters_that_no_font_has_are_told_once(tmp_path):
    # kills: a warning a letter, with paths of the machine; boxes without a word; frames taken for letters; the
    # letters of a syllable apart, as Macs write them
    names = ["배송", unicodedata.normalize("NFD", "결제")]
    measured = evaluate(names, np.eye(2), names, resamples=100)
    with pytest.warns(SijoWarning, match=r"has 4 of .*letters \(결배송제\), as in '배송'.*--report") as told:
        plot(measured, tmp_path / "그림.png")
    assert len(told) == 1


def test_wide_letters_stand_upright_before_they_run_into_each_other(tmp_path, monkeypatch):
    # kills: Hangul measured as narrow as digits
    monkeypatch.setattr(plots, "families_for", lambda names: ["sans-serif"])
    turned, draw = {}, Axes.set_xticks

    def set_xticks(axes, ticks, labels=None, **look):
        turned[labels[0][0]] = look["rotation"]
        return draw(axes, ticks, labels, **look)

    monkeypatch.setattr(Axes, "set_xticks", set_xticks)
    for letter in "가a":
        names = [letter * 5 + str(number) for number in range(8)]
        plot(evaluate(names, np.eye(8), names, resamples=100), tmp_path / "a.svg")
    assert turned == {"가": 90, "a": 0}
