"""Ways beside each other: the paired bootstrap against loops of plain numbers, means over sets, tables of words."""

import io
import json
import random

import numpy as np
import pytest
from rich.console import Console
from sklearn import metrics

from sijo.errors import SettingError
from sijo.evaluation.comparison import Draws, draws, two_sided
from sijo.evaluation.run_tables import WordTable, data_set_table, evaluation_tables, markdown, word_tables
from sijo.evaluation.runs import Answers, ImpossibleRun, RunSummary, Way, found_way, numbers_of, results
from sijo.evaluation.tables import tables
from sijo.evaluation.zero_shot import evaluate

NAMES = ["a", "b", "c"]
FIRST, SECOND = Way("m1", "embedding", "none"), Way("m2", "embedding", "none")


def answers(rows, seed, skill, gold_seed=0):
    """Gold labels, and guesses of which so many are right."""
    gold = np.random.default_rng(gold_seed).integers(3, size=rows)
    chance = np.random.default_rng(100 + seed)
    given = np.where(chance.random(rows) < skill, gold, chance.integers(3, size=rows))
    return gold, given


def measured(gold, given):
    """The numbers of a table."""
    return numbers_of(evaluate([NAMES[g] for g in gold], np.eye(3)[given], NAMES, resamples=100))


def run(data, way, gold, given, **more):
    """A run's summary, measured from its answers."""
    numbers = {
        "data": data,
        "way": way,
        "rows": len(gold),
        "numbers": measured(gold, given) if "numbers" not in more else {},
        "seconds": 2.0,
        "read": len(gold) + 3,
        "kept": 0,
        "answers": Answers(gold_NC=gold[:, None], given_NC=given[:, None], classes=3, several=False),
    }
    return RunSummary(**numbers | more)


def macro(gold, given):
    return metrics.f1_score(gold, given, average="macro", zero_division=0)


# --- the paired bootstrap


def test_the_difference_is_that_of_rows_redrawn_for_both():
    # kills: ways resampled apart, by which what is hard for both widens the interval of their difference
    gold, ours = answers(300, 1, 0.6)
    theirs = ours.copy()
    theirs[:12] = (gold[:12] + 1) % 3  # the second is the first with 12 rows spoiled
    beside = results([run("d", FIRST, gold, ours), run("d", SECOND, gold, theirs)], resamples=800)
    [comparison] = beside.comparisons
    assert comparison.way == SECOND and comparison.baseline == FIRST
    difference = comparison.gap.difference
    assert difference.value == pytest.approx(macro(gold, theirs) - macro(gold, ours), abs=1e-12)
    chance, want = random.Random(3), []
    for _ in range(500):
        drawn = chance.choices(range(300), k=300)
        want.append(macro(gold[drawn], theirs[drawn]) - macro(gold[drawn], ours[drawn]))
    low, high = np.quantile(want, (0.025, 0.975))
    assert (difference.low, difference.high) == pytest.approx((low, high), abs=0.006)
    apart = beside.runs[0].numbers["macro_f1"]
    assert difference.high - difference.low < 0.6 * (apart.high - apart.low)


def test_p_by_hand():
    # kills: a one-sided p, a p of 0, ties counted on neither side
    assert two_sided(np.array([0.1] * 98 + [-0.1])) == pytest.approx(2 * 2 / 100)
    assert two_sided(np.array([-0.1] * 98 + [0.1])) == pytest.approx(2 * 2 / 100)
    assert two_sided(np.full(99, 0.1)) == pytest.approx(2 / 100)
    assert two_sided(np.array([0.1, 0.0, 0.0])) == 1.0


def test_p_is_small_for_a_real_difference_and_spread_out_for_none():
    # kills: a p that says little of whether there is a difference
    gold, good = answers(300, 1, 0.8)
    _, bad = answers(300, 2, 0.3)
    [real] = results([run("d", FIRST, gold, good), run("d", SECOND, gold, bad)], resamples=200).comparisons
    assert real.gap.p < 0.011 and real.gap.difference.high < 0
    ps = []
    for seed in range(20):
        gold, one = answers(200, 10 + seed, 0.6, gold_seed=seed)
        _, other = answers(200, 50 + seed, 0.6, gold_seed=seed)
        both = [run("d", FIRST, gold, one, numbers={}), run("d", SECOND, gold, other, numbers={})]
        [none] = results(both, resamples=200).comparisons
        ps.append(none.gap.p)
    assert sum(p < 0.05 for p in ps) <= 4 and sum(p > 0.5 for p in ps) >= 4


def test_the_order_of_rows_changes_no_comparison():
    # kills: draws that depend on row numbers
    gold, ours = answers(120, 1, 0.6)
    _, theirs = answers(120, 2, 0.5)
    order = np.random.default_rng(5).permutation(120)
    first = results([run("d", FIRST, gold, ours), run("d", SECOND, gold, theirs)], resamples=100)
    again = results(
        [run("d", FIRST, gold[order], ours[order]), run("d", SECOND, gold[order], theirs[order])], resamples=100
    )
    assert first.comparisons == again.comparisons


def test_sets_of_as_many_rows_are_drawn_apart():
    # kills: the same rows drawn of every set, by which the mean over sets is as uncertain as one set
    gold, ours = answers(200, 1, 0.6)
    runs = [run(f"d{number}", FIRST, gold, ours) for number in range(4)]
    beside = results(runs, resamples=400)
    [mean] = beside.means
    whole, single = mean.numbers["macro_f1"], beside.runs[0].numbers["macro_f1"]
    assert whole.value == pytest.approx(single.value)
    assert whole.high - whole.low == pytest.approx((single.high - single.low) / 2, rel=0.25)


def test_a_metric_that_is_undefined_in_a_resample_is_passed_over():
    # kills: NaN as an end of an interval
    both = Draws(value_S=np.array([0.5, 0.4]), drawn_RS=np.array([[0.5, np.nan], [0.6, 0.4], [0.4, 0.4]]))
    assert np.isfinite(both.gap(0, 1).difference.low)
    assert draws([{"x": lambda rows: 1.0}], np.zeros((5, 1)), names=["x"], resamples=100, seed=0)["x"].value_S == 1


# --- several sets and ways


def test_means_and_comparisons_are_over_the_sets_that_both_could_label():
    # kills: a mean over sets that a way never saw, or a way compared on fewer sets without a word
    gold, ours = answers(90, 1, 0.7)
    _, theirs = answers(90, 2, 0.5)
    runs = [run("x", FIRST, gold, ours), run("x", SECOND, gold, theirs), run("y", FIRST, gold, theirs)]
    runs += [run("z", FIRST, gold, ours), run("z", SECOND, gold, ours)]
    beside = results(runs, [ImpossibleRun("y", SECOND, "no such label")], resamples=100)
    assert [(mean.way, mean.sets, mean.rows) for mean in beside.means] == [
        (FIRST, ("x", "y", "z"), 270),
        (SECOND, ("x", "z"), 180),
    ]
    want = np.mean([macro(gold, ours), macro(gold, theirs), macro(gold, ours)])
    assert beside.means[0].numbers["macro_f1"].value == pytest.approx(want)
    ece = np.mean([one.numbers["ece"].value for one in beside.runs if one.way == SECOND])
    assert beside.means[1].numbers["ece"].value == pytest.approx(ece)
    assert [comparison.sets for comparison in beside.comparisons] == [("x",), ("z",), ("x", "z")]
    assert beside.comparisons[1].gap.p == 1.0
    words = markdown(list(word_tables(beside)))
    assert "mean of 2 of 3" in words and "no such label" in words


def test_a_baseline_is_found_by_words():
    # kills: the first way in silence for a baseline that was mistyped
    gold, ours = answers(60, 1, 0.7)
    runs = [run("x", FIRST, gold, ours), run("x", SECOND, gold, ours)]
    assert results(runs, baseline="m2 none", resamples=100).comparisons[0].way == FIRST
    assert found_way([FIRST, SECOND], str(SECOND)) == SECOND
    assert found_way([FIRST, SECOND], "m3") is None and found_way([FIRST], " , ") is None
    with pytest.raises(SettingError, match=r"baseline='m3' is none of .*m1, embedding, none; m2"):
        results(runs, baseline="m3", resamples=100)
    assert results([], [ImpossibleRun("y", SECOND, "why")]).runs == ()


def test_several_labels_are_compared_by_their_macro_f1():
    # kills: sets of labels read as one class a row
    chance = np.random.default_rng(0)
    gold = chance.integers(2, size=(80, 3))
    given = np.where(chance.random((80, 3)) < 0.8, gold, 1 - gold)
    right = Answers(gold_NC=gold, given_NC=gold, classes=3, several=True)
    worse = Answers(gold_NC=gold, given_NC=given, classes=3, several=True)
    about = {"data": "x", "rows": 80, "numbers": {}, "seconds": 1.0, "read": 80, "kept": 0}
    runs = [RunSummary(way=FIRST, answers=right, **about), RunSummary(way=SECOND, answers=worse, **about)]
    [comparison] = results(runs, resamples=100).comparisons
    want = metrics.f1_score(gold, given, average="macro") - 1
    assert comparison.gap.difference.value == pytest.approx(want)
    assert json.loads(json.dumps(comparison.to_dict(), allow_nan=False))["data"] == "x"


# --- tables of words

HOSTILE = "<img src=x>|`[a](b)`*_#\n\x1b[31m"


def test_names_in_markdown_stand_for_themselves():
    # kills: a label that is a tag, a link, a new cell or a new line of the table
    table = WordTable(title=HOSTILE, headings=("data", "n"), rows=[[HOSTILE, "1"], ["네", "[0.1, 0.2]"]], note="n")
    text = markdown([table])
    assert text.splitlines()[0].startswith("## \\<img src=x\\>\\|\\`\\[a\\](b)\\`\\*\\_\\#")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and "\x1b" not in text and "<img" not in text.replace("\\<img", "")
    assert rows[1] == "| --- | ---: |" and rows[3] == "| 네 | [0.1, 0.2] |"
    assert text.endswith("\nn\n")


def test_names_that_all_rows_share_stand_in_the_title():
    # kills: columns of one word each, a column left out in which rows differ
    gold, ours = answers(60, 1, 0.7)
    [runs, comparisons] = word_tables(
        results([run("x", FIRST, gold, ours), run("x", SECOND, gold, ours, kept=5)], resamples=100)
    )
    assert runs.title == "Runs: embedding, none" and runs.headings[:3] == ("data", "model", "n")
    assert [row[1] for row in runs.rows] == ["m1", "m2"] and runs.names == 2
    speeds = [row[runs.headings.index("texts/s")] for row in runs.rows]
    assert speeds == ["30", "–"]  # 60 texts in 2 s; with some kept from another run it says nothing of the network
    assert comparisons.headings[:3] == ("data", "model", "difference [95 %]")
    assert comparisons.rows[0][:2] == ["x", "m2"]
    assert comparisons.rows[0][-1] == "1.000"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_narrow_terminal_loses_no_column(width):
    # kills: numbers cut, or columns that fall off the right edge
    gold, ours = answers(60, 1, 0.7)
    words = list(word_tables(results([run("x", FIRST, gold, ours), run("y", SECOND, gold, ours)], resamples=100)))
    screen = Console(width=width, file=io.StringIO())
    screen.print(tables(words, width=width))
    shown = screen.file.getvalue()
    assert "…" not in shown and max(map(len, shown.splitlines())) <= width
    for table in words:
        for heading in table.headings[table.names :]:
            assert heading in shown
        for row in table.rows:
            assert all(cell in shown for cell in row[table.names :])


def test_ways_by_data_set():
    # kills: a number under another set's heading, a mean over fewer sets beside one over all
    gold, ours = answers(60, 1, 0.7)
    _, theirs = answers(60, 2, 0.4)
    runs = [run("x|", FIRST, gold, ours), run("x|", SECOND, gold, theirs), run("y", FIRST, gold, theirs)]
    table = data_set_table(results(runs, resamples=100))
    assert table.headings == ("model", "x|", "y", "mean", "mean, less the baseline's")
    one, other = macro(gold, ours), macro(gold, theirs)
    assert table.rows[0] == ["m1", f"{one:.3f}", f"{other:.3f}", f"{(one + other) / 2:.3f}", "–"]
    assert table.rows[1] == ["m2", f"{other:.3f}", "–", "–", "–"]
    assert markdown([table]).splitlines()[2] == "| model | x\\| | y | mean | mean, less the baseline's |"
    full = results([*runs, run("y", SECOND, gold, ours)], resamples=100)
    assert data_set_table(full).rows[1][-1].startswith("+0.000 [") and "p 1.000" not in data_set_table(full).rows[0]


def test_a_reason_is_told_once():
    # kills: the same sentence for each data set and calibration
    why = "m2 has no head. Train one"
    ways = [Way("m2", "trained", how) for how in ("none", "batch")]
    [table] = word_tables(results([], [ImpossibleRun(data, way, why) for data in ("x", "y") for way in ways]))
    assert table.rows == [["x, y", "m2", "trained", "none, batch", "m2 has no head"]]


def test_one_evaluation_has_all_its_numbers():
    # kills: a number that is measured and not told
    chances = np.array([[0.2, 0.1, 0.7], [0.5, 0, 0.5], [0.8, 0.1, 0.1], [0.3, 0.3, 0.4]])
    overall, each = evaluation_tables(evaluate(["c", "c", "a", "b"], chances, NAMES, none_label="c", resamples=100))
    assert [row[0] for row in overall.rows][-2:] == ["none AUROC", "none FPR at 95 % recall"]
    assert len(overall.rows) == 8 and [row[0] for row in each.rows] == NAMES
