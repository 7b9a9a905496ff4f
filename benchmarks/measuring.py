"""What several benchmarks measure with: works timed in turns, and bootstrap intervals."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

import data
from sijo.evaluation.intervals import TAILS, Interval

Works = Mapping[str, Callable[[], object]]


def interval(value: float, drawn: Sequence[float] | np.ndarray) -> Interval:
    """A value, with the 95 % interval of the same in resamples."""
    low, high = np.quantile(drawn, TAILS)
    return Interval(float(value), float(low), float(high))


def mean(scores_N: np.ndarray, rows_RN: np.ndarray) -> Interval:
    """The mean of a score by row, with its interval over resamples of the rows."""
    return interval(scores_N.mean(), scores_N[rows_RN].mean(1))


def median_ratio(above: np.ndarray, below: np.ndarray, *, seed: int, resamples: int = 10_000) -> Interval:
    """The median over rounds of one time over another, with a 95 % bootstrap interval over the rounds."""
    ratios = above / below
    drawn = np.random.default_rng(seed).choice(ratios, size=(resamples, len(ratios)))
    return interval(np.median(ratios), np.median(drawn, axis=1))


def in_turns(
    works: Works, *, rounds: int, uncounted: int = 0
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Wall and processor seconds of each work in each round, all of them once a round, in order.

    uncounted  rounds before those, which warm up
    """
    wall, processor = ({name: np.zeros(uncounted + rounds) for name in works} for _ in range(2))
    for number in range(uncounted + rounds):
        for name, work in works.items():
            started, used = time.perf_counter(), time.process_time()
            work()
            wall[name][number] = time.perf_counter() - started
            processor[name][number] = time.process_time() - used
            data.say(f"round {number + 1} of {uncounted + rounds}: {name} {wall[name][number]:.2f} s")
    first, second = ({name: taken[uncounted:] for name, taken in clock.items()} for clock in (wall, processor))
    return first, second


def sijo_beside_peers(works: Works, amounts: Mapping[str, int], *, rounds: int, seed: int) -> dict[str, object]:
    """The speed of the work "sijo", and its ratio to that of each other one.

    amounts  how many of each unit, such as texts, a work reads
    """
    wall, _ = in_turns(works, rounds=rounds)
    figures: dict[str, object] = {}
    for name, seconds in wall.items():
        speeds = {f"{unit}_per_second": amount / statistics.median(seconds) for unit, amount in amounts.items()}
        figures[name] = {**speeds, "seconds": seconds.tolist()}
    for peer in works:
        if peer != "sijo":
            figures[f"times_{peer}"] = ratio = median_ratio(wall[peer], wall["sijo"], seed=seed)
            data.say(f"sijo's speed is {ratio} times that of {peer}")
    return figures
