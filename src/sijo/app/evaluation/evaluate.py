"""`sijo evaluate`: texts whose labels are known in, how well they were labelled out."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sijo.app.evaluation.gold_rows import GoldRows, gold_rows, label_columns_of
from sijo.app.evaluation.settings import EvaluateSettings
from sijo.app.label_names import tell_form
from sijo.app.label_settings import check_sources
from sijo.app.progress import RowProgress
from sijo.app.table_job import check_output
from sijo.errors import SettingError


def run(sources: Sequence[str], settings: EvaluateSettings) -> None:
    """Measure what the settings say on `sources`, and on the data that they name besides."""
    check_sources(sources, settings.labels)
    settings = replace(settings, data=(*sources, *settings.data))
    if not settings.data:
        raise SettingError("name the file with texts and their labels: sijo evaluate FILE, or --data FILE")
    settings.take_threads()
    if settings.task == "generalized-zero-shot":
        from sijo.app.evaluation.generalized import run_generalized

        run_generalized(settings)
        return
    for option, value in (
        ("train", settings.train),
        ("method", settings.methods),
        ("attributes", settings.attributes),
    ):
        if value:
            raise SettingError(f"--{option} is for --task generalized-zero-shot; say so, or leave it out")
    from sijo.app.evaluation.output import check_outputs, show
    from sijo.app.evaluation.runs import finished_runs

    if settings.reads_few:
        settings.many_labels()  # refused before a model is opened
    runs_asked = len(settings.data) * len(settings.ways) * len(settings.calibration_names)
    check_output(None, resume=False, overwrite=False, workers=settings.workers)
    check_outputs(settings, runs=runs_asked)  # refused before an hour's work, not after it
    sets = read_sets(settings)
    with ExitStack() as stack:
        if settings.cache is None and runs_asked > 1:
            folder = stack.enter_context(TemporaryDirectory(prefix="sijo-"))
            settings = replace(settings, cache=Path(folder))  # what one run reads, another need not
        progress = RowProgress(shown=not settings.quiet)
        runs, impossible = finished_runs(settings, sets, progress)
    show(runs, impossible, settings, progress, asked=runs_asked)


def read_sets(settings: EvaluateSettings) -> list[GoldRows]:
    """All data, read before a model is opened; what is wrong with it is told now."""
    files = settings.labels_files
    if len(files) not in (0, 1, len(settings.data)):
        raise SettingError(
            f"{len(files)} labels files (--labels-file) for {len(settings.data)} files of data; give one for all, "
            "or one for each, in the same order"
        )
    columns = label_columns_of(settings.label_columns, settings.labels_separator)
    sets = []
    for number, source in enumerate(settings.data):
        own = replace(settings, labels_file=files[number % len(files)] if files else None)
        told = replace(own, quiet=own.quiet or number >= max(1, len(files)))  # of the same names once
        rows = gold_rows(
            own.table([source], own.text_column),
            source,
            own.label_column,
            multi_label=bool(own.multi_label),
            label_columns=columns,
            separator=own.labels_separator,
            labels=told.label_set(),
        )
        tell_form([rows.other_form], source, own.say)
        sets.append(rows)
    return sets
