"""`sijo report`: a run in training, or several beside each other, as one HTML file to look at and to send.

Curves, cost, settings, and texts with what the networks made of them; of fine-tuning how good it is, label by
label, with rows right and wrong. The file needs nothing but itself: no script, no font, no address. What comes from
a run's files is escaped by the template, `report.html.j2`; only the drawings are markup. A run under way or
interrupted is drawn as far as it has come.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from markupsafe import Markup

from sijo.app.numbers import duration, short_count, whole
from sijo.app.report.curves import COLOURS, FAINT, RUNS, SPEEDS, Form, curve_figures, svg
from sijo.app.report.page import must_draw, rendered
from sijo.app.report.run_record import JsonLines, RunRecord, curve, read_run
from sijo.app.report.run_results import RunResults, run_results
from sijo.app.report.texts import example_texts
from sijo.app.results import print_line
from sijo.errors import SettingError
from sijo.files.atomic import whole_file
from sijo.files.json_lines import json_leaves
from sijo.version import __version__

LONGEST = 160
"""How many letters of a setting are shown at most."""


def run(folders: Sequence[Path], out: Path | None, *, texts: bool = True) -> None:
    """Draw the report of these runs, and print where it is.

    texts  show texts of the data, which whoever is given the file can read
    """
    if not folders:
        raise SettingError("name the folder of a run: sijo report RUN")
    if len(folders) > COLOURS:
        raise SettingError(f"{len(folders)} runs in one report could not be told apart; name at most {COLOURS}")
    if len(folders) > 1 and out is None:
        raise SettingError("a report of several runs needs a place of its own: --out FILE.html")
    out = out or folders[0] / "report.html"
    if out.suffix.lower() not in (".html", ".htm"):
        raise SettingError(f"--out {out} must end in .html, for that is what is written")
    must_draw()
    alike = len({folder.resolve().name for folder in folders}) < len(folders)
    runs = [read_run(folder, str(folder) if alike else folder.resolve().name) for folder in folders]
    if not out.parent.is_dir():
        raise SettingError(f"--out {out} cannot be written: there is no folder {out.parent}")
    text = page(runs, texts=texts)
    with whole_file(out) as file:
        file.write(text.encode("utf-8", "replace"))  # half of a surrogate pair is no letter
    print_line(out)


def page(runs: Sequence[RunRecord], *, texts: bool = True) -> str:
    """The whole file."""
    found = [run_results(run.folder, texts=texts) for run in runs]
    results = [(run, own) for run, own in zip(runs, found, strict=True) if own is not None]
    shown = [
        (run, list(summary(run, own)), example_texts(run) if texts else [])
        for run, own in zip(runs, found, strict=True)
    ]
    return rendered(
        "report.html.j2",
        runs=shown,
        results=[(run, own, numbers_drawn(own.points)) for run, own in results],
        figures=curve_figures(runs),
        settings=settings_tables(runs),
        texts=any(own for *_, own in shown) or any(own.shows_texts for _, own in results),
        version=__version__,
    )


def numbers_drawn(points: Sequence[tuple[float, float]]) -> Markup | None:
    """Of rows with a number each: what was given by what is gold; on the dashed line they are the same."""
    if not points:
        return None

    def draw(axes: Any) -> None:
        gold, given = zip(*points, strict=True)
        ends = min(*gold, *given), max(*gold, *given)
        axes.plot(ends, ends, color=FAINT, linestyle="--", linewidth=1)
        for x, y in points:  # a dot: matplotlib's own are drawn by reference
            axes.plot((x, x), (y, y), color=RUNS[0], linewidth=3, alpha=0.4, solid_capstyle="round")
        axes.set(xlabel="gold", ylabel="given")

    return svg(draw)


def summary(run: RunRecord, found: RunResults | None) -> Iterator[tuple[str, str]]:
    """What a run has come to, and what it took, with titles."""
    if found is not None and found.headline is not None:
        yield found.headline
    totals: tuple[tuple[str, JsonLines, str, Form], ...] = (
        ("steps", run.metrics, "step", whole),
        ("samples", run.metrics, "samples", short_count),
        ("tokens", run.metrics, "tokens", short_count),
        ("time", run.timings, "seconds", duration),
    )
    for title, lines, key, form in totals:
        if values := curve(lines, key)[1]:
            yield title, form(values[-1])
    for key, (title, form) in SPEEDS.items():
        if values := curve(run.timings, key)[1]:
            yield title, form(median(values))
    for network, count in run.parameters.items():
        yield "parameters" if len(run.parameters) == 1 else f"parameters, {network}", short_count(count)


def settings_tables(runs: Sequence[RunRecord]) -> dict[str, list[tuple[str, list[str], bool]]]:
    """Every setting by its group: its name there, its value in each run, and whether runs differ in it."""
    leaves = [
        {path: setting_words(value) for path, value in json_leaves(run.settings) if value != {}} for run in runs
    ]
    groups: dict[str, list[tuple[str, list[str], bool]]] = {}
    for path in dict.fromkeys(path for settings in leaves for path in settings):
        values = [settings.get(path, "–") for settings in leaves]
        group, dot, name = path.partition(".")
        groups.setdefault(group if dot else "", []).append((name or group, values, len(set(values)) > 1))
    return groups


def setting_words(value: Any) -> str:
    """The value of a setting, cut where it is very long."""
    words = ", ".join(map(str, value)) if isinstance(value, list) else "–" if value is None else str(value)
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
