"""An evaluation as a picture: what is mistaken for what, and what confidence is good for."""

import os
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width, normalize

import numpy as np

from sijo.errors import SettingError
from sijo.evaluation.fonts import families_for
from sijo.evaluation.generalized import GeneralizedEvaluation
from sijo.evaluation.zero_shot import Evaluation
from sijo.files.atomic import whole_file
from sijo.names import INVISIBLE
from sijo.texts import printable

FORMATS = (".png", ".svg", ".pdf")
LONGEST = 24  # characters of a label that are shown
DIGIT = 0.64  # width of a digit of DejaVu Sans, matplotlib's font, as a share of its size
WIDE = 1.0
"""The same of a letter that is as wide as high, as Hangul is."""


def check(path: str | os.PathLike[str]) -> None:
    """Raises SettingError when a plot could not be drawn or written there, before there is one."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise SettingError(f"cannot draw {path.name!r}: its suffix must be one of {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise SettingError(f"cannot draw {path}: there is no folder {path.parent}")
    if find_spec("matplotlib") is None:
        raise SettingError('drawing needs matplotlib: pip install "sijo[plot]"')


def plot(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Writes the confusion matrix, reliability and risk by coverage to a PNG, SVG or PDF, whole or not at all.

    Colour is the share of a row's gold label; the number is the count of rows, shown while it fits its
    cell. A grey row has no gold label. Above the diagonal of the curve a model is better than it
    says, below it says too much; the stems under it count the rows of each bin. The lowest curve is the share of
    errors among the surest rows, for each share of the rows.

    Raises SettingError for another suffix, a path that cannot be written, or no matplotlib.
    """
    check(path)
    from matplotlib.figure import Figure  # not pyplot, which keeps state and may look for a screen

    path = Path(path)
    side = min(max(4.2, 0.13 * len(evaluation.labels) + 2.5), 14)  # inches, of the matrix
    height = max(side + 1.8, 8.6)
    figure = Figure(figsize=(side + 7.2, height), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=(side + 2.2, 5))
    left, right = halves
    _confusion(left.subplots(), evaluation, side)
    empty = max(0.01, height - 8.5)  # below the curves, which would be drawn out by a tall matrix
    grid = right.add_gridspec(4, 1, height_ratios=(4.4, 1.3, 2.8, empty))
    curve = right.add_subplot(grid[0])
    _reliability(curve, right.add_subplot(grid[1], sharex=curve), evaluation)
    _risk_coverage(right.add_subplot(grid[2]), evaluation)

    _save(figure, path)


def plot_generalized(evaluations: Mapping[str, GeneralizedEvaluation], path: str | os.PathLike[str]) -> None:
    """Writes the accuracy of seen labels against that of unseen ones, a curve a method; errors as for `plot`.

    The dot is where the chosen γ stands; the area under a curve is its AUSUC.
    """
    check(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5.4), layout="constrained")
    axes: Any = figure.subplots()
    for name, one in evaluations.items():
        (line,) = axes.plot(*zip(*one.curve, strict=True), label=f"{name}: AUSUC {one.ausuc.value:.3f}")
        axes.plot(one.unseen.value, one.seen.value, marker="o", color=line.get_color())
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="accuracy of unseen labels", ylabel="accuracy of seen labels")
    axes.legend(loc="lower left", frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, Path(path))


def _save(figure: Any, path: Path) -> None:
    try:
        with whole_file(path) as out, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # `families_for` tells of them once
            figure.savefig(out, format=path.suffix[1:].lower(), dpi=150)
    except OSError as error:
        raise SettingError(f"cannot write {path}: {error.strerror or error}") from error


def _confusion(axes: Any, evaluation: Evaluation, side: float) -> None:
    from matplotlib.colors import PowerNorm

    counts_LL = np.array(evaluation.confusion)
    support_L = counts_LL.sum(axis=1, keepdims=True)
    share_LL = np.divide(counts_LL, support_L, out=np.full(counts_LL.shape, np.nan), where=support_L > 0)
    labels = [normalize("NFC", INVISIBLE.sub("", printable(label))) for label in evaluation.labels]
    names = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in labels]
    cell = side * 72 / len(names)  # points
    font = min(9.0, 0.8 * cell)

    axes.set_facecolor("0.9")
    scale = PowerNorm(0.5, vmin=0, vmax=1)  # so that a confusion of a few per cent is seen
    image = axes.imshow(share_LL, cmap="Blues", norm=scale, interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, label="share of the gold label")
    upright = font * max(map(_width, names)) > cell  # names side by side would run into each other
    places = range(len(names))
    look = {"fontsize": font, "fontfamily": families_for(names), "parse_math": False}
    axes.set_xticks(places, names, rotation=90 if upright else 0, **look)
    axes.set_yticks(places, names, **look)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted", ylabel="gold", anchor="N")
    axes.set_title(f"Accuracy {evaluation.accuracy} on {evaluation.rows:,} rows", fontsize=11)

    number_font = min(10.0, 0.8 * cell / (DIGIT * len(str(counts_LL.max()))))
    if number_font >= 4.5:
        for gold, predicted in zip(*np.nonzero(counts_LL), strict=True):
            colour = "white" if scale(share_LL[gold, predicted]) > 0.6 else "black"
            number = axes.text(predicted, gold, counts_LL[gold, predicted], ha="center", va="center", color=colour)
            number.set(fontsize=number_font, in_layout=False)  # measuring thousands of texts takes seconds


def _width(name: str) -> float:
    """How wide a name is, as a multiple of the size of its letters."""
    return sum(WIDE if east_asian_width(letter) in "WF" else DIGIT for letter in name)


def _reliability(curve: Any, stems: Any, evaluation: Evaluation) -> None:
    confidence = [group.confidence for group in evaluation.reliability]
    accuracy = [group.accuracy for group in evaluation.reliability]
    counts = [group.count for group in evaluation.reliability]

    curve.plot((0, 1), (0, 1), color="0.6", linestyle="--", linewidth=1, label="calibrated")
    low, high = [interval.low for interval in accuracy], [interval.high for interval in accuracy]
    curve.vlines(confidence, low, high, color="tab:blue", alpha=0.4, linewidth=2, label="95 % interval")
    values = [interval.value for interval in accuracy]
    curve.plot(confidence, values, color="tab:blue", marker="o", markersize=4, label="bins of equal mass")
    curve.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="accuracy")
    curve.tick_params(labelbottom=False)
    curve.legend(loc="best", frameon=False, fontsize=9)
    curve.set_title(f"ECE {evaluation.ece}", fontsize=11)

    stems.vlines(confidence, 0, counts, color="tab:blue", linewidth=3)
    stems.set(ylim=(0, 1.15 * max(counts)), xlabel="confidence", ylabel="rows")
    for axes in (curve, stems):
        axes.spines[["top", "right"]].set_visible(False)


def _risk_coverage(axes: Any, evaluation: Evaluation) -> None:
    risk = evaluation.risk_coverage
    axes.plot(*zip(*risk.curve, strict=True), color="tab:blue")
    axes.set(xlim=(0, 1.02), ylim=(0, None), xlabel="share of rows answered, the surest first", ylabel="errors")
    axes.set_title(f"AURC {risk.aurc}", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
