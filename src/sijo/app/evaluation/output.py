"""What `sijo evaluate` leaves: JSON or tables on standard output, a file of each row's answer, a report, a plot."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from sijo.app.calibrating import check_calibration
from sijo.app.evaluation.runs import FinishedRun, shown_names
from sijo.app.evaluation.settings import BUILT_IN, EvaluateSettings
from sijo.app.progress import RowProgress
from sijo.app.results import Screen, print_json, print_shown, wants_json
from sijo.errors import SettingError, warn
from sijo.evaluation.run_tables import WordTable, evaluation_tables, markdown, word_tables
from sijo.evaluation.runs import ImpossibleRun, Results, Way, found_way, results
from sijo.files.atomic import whole_file
from sijo.version import __version__
from sijo.zeroshot.scorers.registry import SCORERS

if TYPE_CHECKING:
    import pyarrow as pa

REPORTS = (".md", ".html", ".htm")


def check_outputs(settings: EvaluateSettings, *, runs: int) -> None:
    """Raise SettingError for what could not be measured or written, before there is anything to write.

    runs  how many are asked for
    """
    from sijo.evaluation.zero_shot import check_resamples

    check_resamples(settings.resamples, settings.seed)
    if settings.baseline is not None:
        _check_baseline(settings)
    _check_calibrations(settings, runs)
    if settings.plot is not None:
        from sijo.evaluation.plots import check

        check(settings.plot)
        if runs > 1:
            raise SettingError(
                f"--plot draws one run, and {runs} are asked for; --report FILE.html draws all of them"
            )
        if settings.multi_label or settings.label_columns:
            raise SettingError(
                "--plot draws what is mistaken for what where a text has one label; with --multi-label leave it out"
            )
    if settings.predictions is not None:
        from sijo.files.row_writers import format_of

        format_of(settings.predictions)
        if os.path.realpath(settings.predictions) in map(os.path.realpath, settings.data):
            raise SettingError(
                f"--predictions {settings.predictions} is the data that is measured, whose place they would take; "
                "name another file"
            )
        _must_have_folder(settings.predictions, "--predictions")
    if settings.report is not None:
        if settings.report.suffix.lower() not in REPORTS:
            raise SettingError(f"--report {settings.report} must end in one of {', '.join(REPORTS)}")
        _must_have_folder(settings.report, "--report")
        if settings.report.suffix.lower() != ".md":
            from sijo.app.report.page import must_draw

            must_draw()


def _check_calibrations(settings: EvaluateSettings, runs: int) -> None:
    for how in settings.calibration_names:
        check_calibration(replace(settings, calibrate=how))
    if settings.risk is not None:
        raise SettingError(
            "--risk lets a text go without a label, and what is measured here is the label of every text; leave it "
            "out: risk and coverage tell what is gained by answering less"
        )
    if settings.calibration is not None and runs > 1:
        raise SettingError(
            f"--calibration {settings.calibration} is of one model, scorer and set of labels, and {runs} runs are "
            "asked for; leave it out, or measure one"
        )


def _check_baseline(settings: EvaluateSettings) -> None:
    """Raise SettingError for a baseline that none of the ways can be, whatever scorer suits a model."""
    models = shown_names([way.model or BUILT_IN for way in settings.ways])
    ways = [
        Way(model, scorer, how)
        for model, way in zip(models, settings.ways, strict=True)
        for scorer in (SCORERS if way.scorer == "auto" else [way.scorer])
        for how in settings.calibration_names
    ]
    if settings.baseline is not None and not found_way(ways, settings.baseline):
        raise SettingError(
            f"--baseline {settings.baseline!r} is none of the ways that are measured; name its model, scorer and "
            f"calibration by words of {', '.join(dict.fromkeys(models))}; {', '.join(SCORERS)}; "
            f"{', '.join(settings.calibration_names)}"
        )


def _must_have_folder(path: Path, option: str) -> None:
    if not path.parent.is_dir():
        raise SettingError(f"{option} {path} cannot be written: there is no folder {path.parent}")


def show(
    runs: Sequence[FinishedRun],
    impossible: Sequence[ImpossibleRun],
    settings: EvaluateSettings,
    progress: RowProgress,
    *,
    asked: int,
) -> None:
    """Print the results, and write the files that are asked for.

    asked  how many runs were; of one alone the record is an object, of several a list of them
    """
    ways = [run.summary.way for run in runs]
    baseline = settings.baseline
    if baseline is not None and not found_way(ways, baseline):
        warn(f"--baseline {baseline!r} names no way that was possible; others are compared with {ways[0]}")
        baseline = None
    beside = results(
        [run.summary for run in runs],
        impossible,
        baseline=baseline,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    alone = asked == 1
    if wants_json(settings.format):
        print_json(runs[0].record if alone else record_of(runs, beside))
    elif alone:
        _print_run(runs[0], progress)
    else:
        from sijo.evaluation.tables import tables

        print_shown(tables(list(word_tables(beside)), width=Screen().width))
    if settings.predictions is not None:
        write_predictions(runs, settings.predictions, named=not alone)
    if settings.report is not None:
        write_report(runs, beside, settings.report, texts=settings.report_texts)
    if settings.plot is not None:
        from sijo.evaluation.plots import plot
        from sijo.evaluation.zero_shot import Evaluation

        evaluation = runs[0].measured.evaluation
        assert isinstance(evaluation, Evaluation)  # as was checked
        plot(evaluation, settings.plot)


def record_of(runs: Sequence[FinishedRun], beside: Results) -> dict[str, Any]:
    """Several runs, for JSON."""
    return {
        "task": runs[0].about["task"],
        "runs": [run.record for run in runs],
        "means": [
            {
                "way": str(mean.way),
                "data": list(mean.sets),
                "rows": mean.rows,
                **{name: value.to_dict() for name, value in mean.numbers.items()},
            }
            for mean in beside.means
        ],
        "comparisons": [comparison.to_dict() for comparison in beside.comparisons],
        "impossible": [{"data": run.data, "way": str(run.way), "why": run.why} for run in beside.impossible],
        "sijo": __version__,
    }


def _print_run(run: FinishedRun, progress: RowProgress) -> None:
    from sijo.evaluation.tables import table

    print_shown(table(run.measured.evaluation))
    if run.texts_cut:
        print_shown(f"\n{run.texts_cut:,} of the texts are longer than the model, and were read in part.")
    speed = f"{progress.seconds:.1f} s, {progress.speed}"
    fitted = f"Temperature {run.about['temperature']:g}, from: {run.about['calibration']}"
    print_shown(Text(f"\n{speed}. {fitted}", style="dim"))


def write_predictions(runs: Sequence[FinishedRun], path: Path, *, named: bool) -> None:
    """Write a row for each text of each run, whole or not at all.

    named  say of which run each row is
    """
    from sijo.files.row_writers import WRITERS, ColumnPlan, OutputRows, format_of

    pieces = [OutputRows(*answer_rows(run, named=named), "parquet") for run in runs]
    with whole_file(path) as out, closing(WRITERS[format_of(path)](out, ColumnPlan.of(pieces))) as writer:
        for piece in pieces:
            writer.write(piece)


def answer_rows(run: FinishedRun, *, named: bool) -> tuple["pa.Table", "pa.Table"]:
    """A run's texts, and what is right of them and was given: with the label's probability and its lead.

    Of one label a text the lead is over the next; of several each label has its probability, and its lead over its
    threshold.
    """
    import pyarrow as pa

    summary, measured, rows = run.summary, run.measured, run.rows
    count = len(rows.texts)
    names = np.array(measured.names, dtype=object)
    about: dict[str, Any] = {"data": summary.data, **summary.way._asdict()} if named else {}
    columns = {name: pa.array([value] * count, pa.string()) for name, value in about.items()}
    columns |= {"row": pa.array(rows.numbers, pa.int64()), "text": pa.array(rows.texts, pa.string())}
    given, chances = measured.answers.given_NC, measured.probabilities
    if measured.answers.several:
        many = pa.list_(pa.string())
        places = [np.flatnonzero(row) for row in given]
        places = [own[np.argsort(-chances[row, own], kind="stable")] for row, own in enumerate(places)]
        scores = [chances[row, own].tolist() for row, own in enumerate(places)]
        leads = chances - np.array(measured.thresholds)
        margins = [leads[row, own].tolist() for row, own in enumerate(places)]
        added = {
            "gold": pa.array([list(gold) for gold in rows.gold], many),
            "labels": pa.array([names[own].tolist() for own in places], many),
            "scores": pa.array(scores, pa.list_(pa.float64())),
            "margins": pa.array(margins, pa.list_(pa.float64())),
        }
    else:
        top = np.sort(chances, axis=1)
        added = {
            "gold": pa.array(names[measured.answers.gold_NC[:, 0]], pa.string()),
            "label": pa.array(names[given[:, 0]], pa.string()),
            "score": pa.array(chances.max(1), pa.float64()),
            "margin": pa.array(top[:, -1] - top[:, -2], pa.float64()),
        }
    added["right"] = pa.array((given == measured.answers.gold_NC).all(1), pa.bool_())
    return pa.table(columns), pa.table(added)


def write_report(runs: Sequence[FinishedRun], beside: Results, path: Path, *, texts: bool) -> None:
    """Write everything to one file, whole or not at all: as Markdown, or as a page with its drawings in it.

    texts  show some of the rows in the page
    """
    if path.suffix.lower() == ".md":
        text = markdown(list(report_tables(runs, beside)))
    else:
        from sijo.app.report.evaluation import evaluation_page

        text = evaluation_page(runs, beside, texts=texts)
    with whole_file(path) as out:
        out.write(text.encode("utf-8", "replace"))  # half of a surrogate pair is no letter


def report_tables(runs: Sequence[FinishedRun], beside: Results) -> Iterator[WordTable]:
    """The tables of all runs, and where there is one run alone its own."""
    yield from word_tables(beside)
    if len(runs) == 1:
        yield from evaluation_tables(runs[0].measured.evaluation)
