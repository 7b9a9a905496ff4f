"""What `evaluate` measures, against scikit-learn and loops of plain numbers; its table and its plot."""

import io
import json
import math
import random
import subprocess
import sys
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console
from sklearn import metrics

from sijo.errors import SettingError, TextError
from sijo.evaluation.plots import plot
from sijo.evaluation.tables import table
from sijo.evaluation.zero_shot import evaluate


def sample(rows, labels, seed=0, *, unused=0, decimals=None):
    """Gold labels that avoid the last `unused`, and probabilities that lean towards them."""
    chance = np.random.default_rng(seed)
    names = [f"label {number}" for number in range(labels)]
    gold = chance.integers(labels - unused, size=rows)
    scores = chance.normal(size=(rows, labels))
    scores[np.arange(rows), gold] += 1.5
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    if decimals is not None:
        probabilities = probabilities.round(decimals)  # many rows of one confidence
    return [names[place] for place in gold], probabilities, names


def sure(confidences, right):
    """Rows over the labels yes and no in which `yes` always wins, with these confidences."""
    gold = ["yes" if hit else "no" for hit in right]
    return gold, np.array([[confidence, 1 - confidence] for confidence in confidences]), ["yes", "no"]


def plain_ece(confidences, right, bins):
    """Expected calibration error over bins of equal mass, from the definition, row by row, in fractions."""
    gaps = {}
    for confidence, hit in zip(confidences, right, strict=True):
        before = sum(other < confidence for other in confidences)
        same = sum(other == confidence for other in confidences)
        middle = (before + Fraction(same, 2)) / len(confidences)
        place = math.floor(middle * bins)
        gaps.setdefault(place, []).append(hit - Fraction(float(confidence)))
    shares = (Fraction(len(gap), len(confidences)) * abs(sum(gap) / len(gap)) for gap in gaps.values())
    return float(sum(shares))


# Point values


@pytest.mark.parametrize("seed", range(8))
def test_accuracy_macro_f1_and_confusion_are_those_of_scikit_learn(seed):
    """Catches labels left out of the mean, or the matrix turned: 2 of 6 labels are never gold, and of some rows
    none is predicted either."""
    gold, probabilities, names = sample(5 + 10 * seed, 6, seed, unused=2)
    predicted = [names[place] for place in probabilities.argmax(axis=1)]
    measured = evaluate(gold, probabilities, names, resamples=100)
    f1 = metrics.f1_score(gold, predicted, average="macro", zero_division=0)
    assert measured.macro_f1.value == pytest.approx(f1, abs=1e-12)
    assert measured.accuracy.value == pytest.approx(metrics.accuracy_score(gold, predicted), abs=1e-12)
    assert np.array_equal(measured.confusion, metrics.confusion_matrix(gold, predicted, labels=names))


def test_each_label_is_counted_as_plain_loops_count_it():
    """Catches precision and recall exchanged, and a label's numbers in another's row."""
    gold, probabilities, names = sample(90, 5, seed=3, unused=1)
    predicted = [names[place] for place in probabilities.argmax(axis=1)]
    measured = evaluate(gold, probabilities, names, resamples=100)
    assert [row.label for row in measured.classes] == names
    for row in measured.classes[:-1]:
        hits = sum(g == p == row.label for g, p in zip(gold, predicted, strict=True))
        assert (row.support, row.predicted) == (gold.count(row.label), predicted.count(row.label))
        assert row.precision.value == pytest.approx(hits / predicted.count(row.label))
        assert row.recall.value == pytest.approx(hits / gold.count(row.label))
        assert row.f1.value == pytest.approx(2 * hits / (gold.count(row.label) + predicted.count(row.label)))


def test_a_label_in_neither_column_has_no_f1_and_does_not_count_in_macro_f1():
    """Catches macro-F1 that counts as 0 what has no F1, in the value or in a resample."""
    measured = evaluate(*sure([0.9, 0.8], [1, 1]))
    assert (measured.macro_f1.value, measured.macro_f1.low, measured.macro_f1.high) == (1, 1, 1)
    assert measured.macro_f1_over == "labels in gold or predictions"
    assert (measured.classes[1].precision, measured.classes[1].recall, measured.classes[1].f1) == (None, None, None)


def test_what_divides_by_no_rows_is_undefined_and_what_does_not_is_zero():
    """Catches 0 / 0 shown as 0: `no` is gold once and never given."""
    no = evaluate(*sure([0.9, 0.8, 0.7], [1, 1, 0])).classes[1]
    assert no.precision is None
    assert (no.recall.value, no.f1.value) == (0, 0)


def test_labels_that_were_given_replace_the_most_probable_but_leave_calibration_alone():
    """Catches `predicted` ignored, and ECE that pairs one label's probability with another's success."""
    gold, probabilities, names = sure([0.9, 0.9, 0.6, 0.6], [1, 0, 1, 1])
    measured = evaluate(gold, probabilities, names, predicted=gold, bins=2)
    assert measured.accuracy.value == 1
    assert measured.ece.value == pytest.approx(0.4)


# Calibration


def test_ece_by_hand():
    """(0.6 against 1, 0.9 against 0.5): half of 0.4 and half of 0.4. Catches a sum without shares."""
    assert evaluate(*sure([0.9, 0.9, 0.6, 0.6], [1, 0, 1, 1]), bins=2).ece.value == pytest.approx(0.4)


def test_bins_hold_equal_counts_not_equal_widths():
    """(0.65 against 0.5, 0.85 against 1): 0.15. Bins of width 0.5 would give |0.75 - 0.75| = 0."""
    assert evaluate(*sure([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1]), bins=2).ece.value == pytest.approx(0.15)


@pytest.mark.parametrize(
    "rows, decimals, bins",
    [(1, None, 15), (7, None, 15), (60, None, 15), (83, None, 4), (61, 1, 15), (83, 2, 4), (50, 0, 3)],
)
def test_ece_matches_the_formula_in_plain_numbers(rows, decimals, bins):
    """Catches ties split between bins, an edge one row off, and more bins than rows."""
    gold, probabilities, names = sample(rows, 3, seed=rows, decimals=decimals)
    right = [names[place] == label for place, label in zip(probabilities.argmax(axis=1), gold, strict=True)]
    measured = evaluate(gold, probabilities, names, bins=bins, resamples=100)
    assert measured.ece.value == pytest.approx(plain_ece(probabilities.max(axis=1), right, bins), abs=1e-12)
    from_bins = (bin.count * abs(bin.accuracy.value - bin.confidence) for bin in measured.reliability)
    assert sum(from_bins) / rows == pytest.approx(measured.ece.value)
    assert sum(bin.count for bin in measured.reliability) == rows


def test_bins_of_distinct_confidences_differ_by_at_most_one_row():
    """Catches a last bin that takes the remainder: 1,000 rows in 15 bins are 66 or 67 each."""
    measured = evaluate(*sample(1000, 4), resamples=100)
    assert {bin.count for bin in measured.reliability} == {66, 67}
    confidences = [bin.confidence for bin in measured.reliability]
    assert confidences == sorted(confidences)


@pytest.mark.parametrize("decimals", [None, 1])
def test_the_order_of_rows_changes_nothing(decimals):
    """Catches ties placed by row number, and draws that depend on row numbers."""
    gold, probabilities, names = sample(200, 4, decimals=decimals)
    order = random.Random(0).sample(range(200), 200)
    shuffled = evaluate([gold[row] for row in order], probabilities[order], names, resamples=200)
    assert shuffled == evaluate(gold, probabilities, names, resamples=200)


# Intervals


def test_the_interval_of_accuracy_agrees_with_wilson():
    """Catches tails of the wrong size, and resamples of another number of rows."""
    rows, hits, z = 400, 300, 1.959964
    data = sure(np.linspace(0.6, 0.9, rows), [row < hits for row in range(rows)])
    measured = evaluate(*data, resamples=2500).accuracy
    share = hits / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    assert measured.value == share
    assert (measured.low, measured.high) == pytest.approx((centre - half, centre + half), abs=0.005)


def test_intervals_agree_with_rows_redrawn_one_by_one():
    """Catches labels resampled apart from each other, and precision's interval under recall's name."""
    gold, probabilities, names = sample(250, 3, seed=5)
    gold_rows = np.array([names.index(label) for label in gold])
    gold_rows[gold_rows == 2] = np.where(np.arange((gold_rows == 2).sum()) % 3, 1, 2)  # uneven, so they differ
    predicted = probabilities.argmax(axis=1)
    measured = evaluate([names[place] for place in gold_rows], probabilities, names)
    chance, macro, by_class = random.Random(1), [], []
    for _ in range(800):
        drawn = chance.choices(range(250), k=250)
        turned = np.zeros((3, 3))
        np.add.at(turned, (predicted[drawn], gold_rows[drawn]), 1)
        precision, recall = (turned.diagonal() / turned.sum(axis=axis) for axis in (1, 0))
        by_class.append((precision, recall, 2 * precision * recall / (precision + recall)))
        macro.append(by_class[-1][2].mean())
    want = np.quantile(by_class, (0.025, 0.975), axis=0)
    assert (measured.macro_f1.low, measured.macro_f1.high) == pytest.approx(
        np.quantile(macro, (0.025, 0.975)), abs=0.015
    )
    for place, row in enumerate(measured.classes):
        for kind, interval in enumerate((row.precision, row.recall, row.f1)):
            assert (interval.low, interval.high) == pytest.approx(want[:, kind, place], abs=0.03)


def test_the_interval_of_ece_makes_up_for_its_bias():
    """Catches plain percentiles, which lie above the truth: here it is 0, as calibration is perfect."""
    reached = []
    for seed in range(15):
        chance = np.random.default_rng(seed)
        confidences = chance.uniform(0.5, 1, size=400)
        ece = evaluate(*sure(confidences, chance.random(400) < confidences), resamples=100).ece
        assert 0 <= ece.low <= ece.value <= ece.high
        reached.append(ece.low < 0.02)
    assert ece.value > 0.02  # the bias upward that the docstring tells of
    assert sum(reached) > 9


def test_the_seed_decides():
    """Catches draws from the clock, and a seed that is not used."""
    data = sample(120, 3)
    first = evaluate(*data, seed=1, resamples=200)
    assert first == evaluate(*data, seed=1, resamples=200)
    other = evaluate(*data, seed=2, resamples=200)
    assert (first.accuracy.low, first.ece.low) != (other.accuracy.low, other.ece.low)


def test_memory_does_not_grow_with_resamples():
    """Catches all resamples drawn at once: 200 of 20,000 rows would be 32 MB in one array."""
    data = sample(20_000, 3)
    evaluate(*sample(10, 3), resamples=100)  # scikit-learn is loaded
    tracemalloc.start()
    evaluate(*data, resamples=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


# The record


def test_the_record_is_strict_json():
    """Catches NaN, tuples and numpy numbers: the record comes back from JSON as it went in."""
    measured = evaluate(*sample(40, 5, unused=2), resamples=100)
    record = measured.to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["classes"][4]["recall"] is None
    assert record["accuracy"] == vars(measured.accuracy)
    assert record["confidence_level"] == 0.95
    assert evaluate(*sure([0.9], [1])).to_dict()["classes"][1]["f1"] is None


# Refusals


def test_a_gold_label_that_is_not_among_the_labels_is_named_with_its_row():
    """Catches such rows counted as wrong, or dropped, in silence."""
    with pytest.raises(TextError, match=r"row 2: gold label 'sprot' .* 2 labels; did you mean 'sport'\?"):
        evaluate(["sport", "sprot"], np.full((2, 2), 0.5), ["sport", "politics"])


def test_no_rows_are_refused():
    """Catches a mean of nothing."""
    with pytest.raises(TextError, match="no rows"):
        evaluate([], np.empty((0, 2)), ["a", "b"])


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"probabilities": np.full((3, 2), 0.5)}, r"shape \(3, 2\), but 2 rows and 2 labels need \(2, 2\)"),
        ({"probabilities": np.array([[0.5, 0.5], [3.0, -1.0]])}, "row 2 .* not scores"),
        ({"probabilities": np.array([[np.nan, 0.5], [0.5, 0.5]])}, "row 1 of the probabilities"),
        ({"labels": ["a", "a"]}, "repeat 'a'"),
        ({"labels": ["a"]}, "with 1 labels there is nothing to choose"),
        ({"predicted": ["a"]}, "1 predicted labels for 2"),
        ({"predicted": ["a", "c"]}, "'c' is not one of labels"),
        ({"resamples": 99}, "at least 100"),
        ({"bins": 0}, "at least 1 bin"),
        ({"seed": -1}, "not negative"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, complaint):
    """Catches a wrong number where there should be a sentence."""
    arguments = {"gold": ["a", "b"], "probabilities": np.full((2, 2), 0.5), "labels": ["a", "b"]} | change
    with pytest.raises(SettingError, match=complaint):
        evaluate(**arguments)


def test_a_softmax_that_rounds_past_one_is_no_fault():
    """Catches a check stricter than float32."""
    evaluate(["a"], np.array([[1.0000001, 0]], dtype=np.float32), ["a", "b"], resamples=100)


def test_importing_it_waits_for_nothing():
    """Catches scikit-learn, matplotlib or rich at the top, a second before `--help`."""
    heavy = {"sklearn", "matplotlib", "rich", "torch"}
    code = f"import sys, sijo.evaluation.plots; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# The table


def printed(measured, width):
    console = Console(width=width, file=io.StringIO())
    console.print(table(measured))
    return console.file.getvalue()


@pytest.mark.parametrize("labels", [2, 5, 12, 13, 50])
def test_the_table_keeps_every_number_whole_in_80_columns(labels):
    """Catches intervals cut short to make room for labels."""
    gold, probabilities, names = sample(3000, labels)
    long = [f"{name}, which is quite a long name" for name in names]
    gold = [long[names.index(label)] for label in gold]
    measured = evaluate(gold, probabilities, long, resamples=100)
    text = printed(measured, 80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for interval in (measured.accuracy, measured.macro_f1, measured.ece, *(row.f1 for row in measured.classes)):
        assert str(interval) in text
    assert "3,000 rows" in text


def test_few_labels_show_the_matrix_and_many_the_commonest_confusions():
    """Catches a matrix of 13 columns, and confusions that are not the commonest or are no confusions."""
    few = evaluate(*sample(300, 12), resamples=100)
    assert "commonest" not in printed(few, 80)
    gold, probabilities, names = sample(0, 13)
    gold = ["label 3"] * 9 + ["label 0"] * 2
    probabilities = np.eye(13)[[7] * 6 + [3] * 3 + [1, 2]]
    lines = printed(evaluate(gold, probabilities, names, resamples=100), 80).splitlines()
    start = next(row for row, line in enumerate(lines) if "3 commonest of 3" in line)
    assert lines[start + 2].split() == ["label", "3", "label", "7", "6", "67%"]


def test_a_label_in_brackets_is_not_markup():
    """Catches labels given to rich as markup, which swallows them."""
    assert "[bold]" in printed(evaluate(["[bold]"], np.eye(2)[:1], ["[bold]", "[/]"], resamples=100), 80)


# The plot


@pytest.mark.parametrize("name, start", [("a.png", b"\x89PNG\r\n\x1a\n"), ("a.SVG", b"<?xml"), ("a.pdf", b"%PDF")])
def test_the_suffix_decides_the_format_and_nothing_else_is_left(tmp_path, name, start):
    """Catches a PNG under another name, a part left beside it, and dollar signs read as a formula."""
    plot(evaluate(["$x^$"], np.eye(2)[:1], ["$x^$", "_" * 200], resamples=100), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_failing_write_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    """Catches writing in place, and litter."""

    def full(self, target, **_):
        target.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(SettingError, match=r"cannot write .*a\.png: No space left"):
        plot(evaluate(*sample(20, 2), resamples=100), tmp_path / "a.png")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.png", b"old")]


def test_a_folder_that_is_not_there_and_a_suffix_nobody_draws_are_refused(tmp_path):
    """Catches a stack trace for a mistyped path."""
    measured = evaluate(*sample(20, 2), resamples=100)
    with pytest.raises(SettingError, match=r"there is no folder .*absent"):
        plot(measured, tmp_path / "absent" / "a.png")
    with pytest.raises(SettingError, match=r"a\.gif.*\.png, \.svg, \.pdf"):
        plot(measured, tmp_path / "a.gif")


def test_without_matplotlib_the_remedy_is_named(tmp_path, monkeypatch):
    """Catches an ImportError where a person needs one line to install."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SettingError, match=r'pip install "sijo\[plot\]"'):
        plot(evaluate(*sample(20, 2), resamples=100), tmp_path / "a.png")
