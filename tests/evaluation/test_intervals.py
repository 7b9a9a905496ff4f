"""The bootstrap beside the normal approximation, and where a value has no interval."""

import json
import math

import numpy as np
import pytest

from sijo.evaluation.intervals import intervals


def test_an_interval_is_of_rows_drawn_again():
    # kills: an interval of the mean's own noise, rows drawn without repetition, the same draw for each
    right = np.random.default_rng(7).random(200) < 0.7
    accuracy = intervals({"accuracy": lambda rows: float(right[rows].mean())}, 200)["accuracy"]
    half = 1.96 * math.sqrt(accuracy.value * (1 - accuracy.value) / 200)
    assert accuracy.value == right.mean()
    assert accuracy.high - accuracy.value == pytest.approx(half, rel=0.25)
    assert accuracy.value - accuracy.low == pytest.approx(half, rel=0.25)


def test_resamples_without_a_value_are_passed_over():
    # kills: one NaN that makes both ends NaN; NaN written to JSON
    rare = np.array([True] + [False] * 5)
    metrics = {
        "rare": lambda rows: 0.5 if rare[rows].any() else math.nan,
        "never": lambda rows: math.nan,
    }
    measured = intervals(metrics, 6, resamples=200)
    assert measured["rare"].to_dict() == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert json.dumps(measured["never"].to_dict(), allow_nan=False) == '{"value": null, "low": null, "high": null}'
