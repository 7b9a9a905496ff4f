"""Curves of runs as SVG: each number of their metrics and timings, those of all runs in one drawing."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from markupsafe import Markup

from sijo.app.numbers import percent, three_digits, whole
from sijo.app.report.run_record import Curve, RunRecord, curve, title_of
from sijo.evaluation.runs import SHOWN as METRICS

Form = Callable[[float], str]
"""How a value is written."""

COLOURS = 6
"""How many runs one report can tell apart: `--run1` to `--run6` in the style sheet."""
INK, FAINT, *RUNS = (f"#a0b0{number:02x}" for number in range(2 + COLOURS))
"""Stand-ins that curves are drawn with; the style sheet's colours are put in their place."""
POINTS = 600
"""The most that a curve has; of a longer one the lowest and the highest of each stretch are kept."""
SMOOTHED = 40
"""A moving average reaches over one of so many parts of a run."""
KNOWN = ("step", "samples", "tokens", "lr", "gradient_norm", "loss")
"""The fields of a line of metrics besides the parts of the loss."""
SPEEDS: dict[str, tuple[str, Form]] = {
    "tokens_per_second": ("tokens a second", whole),
    "matmul_share": ("share of matmul peak", percent),
}
"""The speeds in a line of timings, with their titles."""


class CurveFigure(NamedTuple):
    """A drawing of a number that runs have logged."""

    title: str
    last: list[tuple[int, str]]
    """The number of each run that has a curve, and where its smoothed curve ends."""
    svg: Markup


def curve_figures(runs: Sequence[RunRecord]) -> list[CurveFigure]:
    """A drawing of each number that any of the runs has."""
    keys = dict.fromkeys(key for run in runs for line in run.metrics[-1:] for key in line if key not in KNOWN)
    rights = [key for key in keys if key.endswith("_right")]
    titles: dict[str, tuple[str, Form]] = {
        key: (f"loss, {title_of(key)}", three_digits) for key in keys if key not in rights
    }
    if len(titles) != 1:
        titles["loss"] = ("loss, weighted sum", three_digits)
    titles |= {key: (f"answered right, {title_of(key.removesuffix('_right'))}", percent) for key in rights}
    titles |= {"lr": ("learning rate", three_digits), "gradient_norm": ("gradient norm", three_digits)} | SPEEDS
    figures = list(evaluation_figures(runs))
    for key, (title, form) in titles.items():
        series = [curve(run.timings if key in SPEEDS else run.metrics, key) for run in runs]
        if any(steps for steps, _ in series):
            svg = drawing(series, form, from_zero=key in (*rights, *SPEEDS), smooth=key != "lr")
            ends = [(n, form(smoothed(values)[-1])) for n, (_, values) in enumerate(series, 1) if values]
            figures.append(CurveFigure(title, ends, svg))
    return figures


def evaluation_figures(runs: Sequence[RunRecord]) -> Iterator[CurveFigure]:
    """A drawing of each number that was measured on evaluation rows, but of those that are another one's twin."""
    keys = dict.fromkeys(key for run in runs for line in run.evaluations[-1:] for key in line)
    drawn: list[list[Curve]] = []
    for key in keys:
        series = [curve(run.evaluations, key) for run in runs]
        if key in ("step", "epoch") or not any(steps for steps, _ in series) or series in drawn:
            continue
        drawn.append(series)
        ends = [(n, three_digits(values[-1])) for n, (_, values) in enumerate(series, 1) if values]
        title = f"{METRICS.get(key, key.replace('_', ' '))}, evaluation rows"
        yield CurveFigure(title, ends, drawing(series, three_digits, from_zero=False, smooth=False))


def smoothed(values: Sequence[float]) -> list[float]:
    """A mean that looks both ways, with weights that fade over a fortieth of the run; at its end it looks back.

    >>> [round(value, 9) for value in smoothed([3.0, 3.0, 3.0])]
    [3.0, 3.0, 3.0]
    """
    keep = 1 - 1 / max(1.0, len(values) / SMOOTHED)

    def faded(numbers: Sequence[float]) -> list[float]:
        return list(accumulate(numbers, lambda total, value: keep * total + value))

    weights = faded([1.0] * len(values))
    sums = zip(faded(values), faded(values[::-1])[::-1], values, weights, weights[::-1], strict=True)
    return [(before + after - value) / (left + right - 1) for before, after, value, left, right in sums]


def thinned(steps: Sequence[float], values: Sequence[float]) -> Curve:
    """A curve of at most `POINTS`: of each stretch its lowest and its highest, in order, so that a spike stays.

    A single point is given twice: a line of no length, whose round ends are a dot.
    """
    if len(steps) == 1:
        return [*steps, *steps], [*values, *values]
    if len(steps) <= POINTS:
        return list(steps), list(values)
    stretches = POINTS // 2
    edges = [len(steps) * number // stretches for number in range(stretches + 1)]
    kept = []
    for start, end in pairwise(edges):
        inside = range(start, end)
        kept += sorted({min(inside, key=values.__getitem__), max(inside, key=values.__getitem__)})
    return [steps[place] for place in kept], [values[place] for place in kept]


def drawing(series: Sequence[Curve], form: Form, *, from_zero: bool, smooth: bool) -> Markup:
    """Curves as SVG in the page's colours: each number faint, their moving average, or they again, over it."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def draw(axes: Any) -> None:
        for (steps, values), colour in zip(series, RUNS, strict=False):
            like: Any = {"color": colour, "solid_capstyle": "round"}
            axes.plot(*thinned(steps, values), linewidth=0.9, alpha=0.3, **like)
            main = smoothed(values) if smooth else values
            axes.plot(*thinned(steps, main), linewidth=4 if len(steps) == 1 else 1.5, **like)
        if from_zero:
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}" if step % 1 == 0 else ""))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: form(value)))

    return svg(draw)


def svg(draw: Callable[[Any], None]) -> Markup:
    """What is drawn on matplotlib's axes, as SVG in the page's colours, whatever a person's own settings."""
    import matplotlib as mpl
    from matplotlib import style
    from matplotlib.figure import Figure  # not pyplot, which keeps state and may look for a screen

    fixed: Any = {"svg.fonttype": "none", "font.size": 8, "axes.edgecolor": FAINT, "grid.color": FAINT}
    fixed |= {"xtick.color": INK, "ytick.color": INK, "axes.labelcolor": INK}
    with style.context("default"), mpl.rc_context(fixed):
        figure = Figure(figsize=(4.2, 2.3), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.grid(axis="y", linewidth=0.6)
        axes.tick_params(length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        figure.savefig(out := io.StringIO(), format="svg", transparent=True)
    return themed(out.getvalue())


def themed(svg: str) -> Markup:
    """matplotlib's SVG as a part of the page: in its colours and type, with no size, date or random names."""
    svg = re.sub(r"<(metadata|defs)>.*?</\1>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' (?:xmlns(?::xlink)?|version|width|height|id|clip-path)="[^"]*"|font-family: [^;]*; ', "", svg)
    for colour, name in ((INK, "soft"), (FAINT, "line"), *((run, f"run{n}") for n, run in enumerate(RUNS, 1))):
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(svg)  # noqa: S704 (matplotlib's own, which escapes its words)
