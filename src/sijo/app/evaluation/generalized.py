"""`sijo evaluate --task generalized-zero-shot`: labels with labelled texts, and without, told from each other."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sijo.app.evaluation.gold_rows import GoldRows, gold_rows
from sijo.app.evaluation.settings import EvaluateSettings
from sijo.app.results import Screen, print_json, print_shown, wants_json
from sijo.errors import SettingError, warn
from sijo.evaluation.generalized import GeneralizedEvaluation, evaluate_generalized
from sijo.evaluation.run_tables import WordTable, markdown
from sijo.files.atomic import whole_file
from sijo.names import folded
from sijo.version import __version__
from sijo.zeroshot.labels import LabelSet

if TYPE_CHECKING:
    from sijo.zeroshot.class_vectors.classifier import ClassVectorClassifier

HEARD = {
    *("task", "data", "train", "methods", "attributes", "models", "model", "text_column", "label_column"),
    *("labels", "labels_file", "labels_files", "labels_separator", "hypothesis_template", "seed", "resamples"),
    *("format", "predictions", "report", "plot", "quiet", "threads"),
    *("delimiter", "no_header", "encoding", "sheet", "longest_row", "input_format"),
}
"""Settings that have a part in it; others must be left out."""


def run_generalized(settings: EvaluateSettings) -> None:
    """Fit each method on the seen labels' texts, and show how well it tells all labels apart."""
    _check(settings)
    from sijo.zeroshot.class_vectors.attributes import read_attributes
    from sijo.zeroshot.class_vectors.classifier import ClassVectorClassifier
    from sijo.zeroshot.class_vectors.methods import METHODS

    own = replace(settings, labels_file=settings.labels_files[0] if settings.labels_files else None)
    given, train = own.label_set(), settings.train
    assert train is not None
    taught, judged = (_rows(own, source, given) for source in (train, settings.data[0]))
    table = None if settings.attributes is None else read_attributes(settings.attributes)
    labels = _labels(taught, judged) if given is None else given.leaves()
    methods = settings.methods or [name for name in METHODS if table is None or name != "cosine"]
    model = next(iter(settings.models), None)
    vectors: dict[str, np.ndarray] = {}
    fitted: dict[str, ClassVectorClassifier] = {}
    faults: dict[str, SettingError] = {}
    opened: ClassVectorClassifier | None = None
    for name in methods:
        classifier = ClassVectorClassifier(
            labels,
            model=model,
            method=name,
            attributes=table,
            template=settings.hypothesis_template,
            seed=settings.seed,
        )
        if opened is not None:
            classifier.take_scorer(opened)
        else:
            opened = classifier
            vectors = {"train": classifier.encoded(taught.texts), "data": classifier.encoded(judged.texts)}
        names = [name for (name,) in taught.gold]
        try:
            fitted[name] = classifier.fit_vectors(vectors["train"], names)
        except SettingError as error:
            faults[name] = error
    if not fitted:
        raise next(iter(faults.values()))
    for name, fault in faults.items():
        warn(f"{name} is not measured: {fault}")
    places = next(iter(fitted.values())).places([name for (name,) in judged.gold])
    evaluations = {
        name: evaluate_generalized(
            places,
            classifier.scores(vectors["data"]),
            classifier.is_seen_,
            gamma=classifier.gamma_,
            resamples=settings.resamples,
            seed=settings.seed,
        )
        for name, classifier in fitted.items()
    }
    _show(settings, fitted, evaluations)
    if settings.predictions is not None:
        _write_predictions(settings.predictions, judged, fitted, vectors["data"])


def _check(settings: EvaluateSettings) -> None:
    """Raise SettingError for what has no part in it, or could not be written, before anything is read."""
    for field in fields(settings):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if field.name not in HEARD and getattr(settings, field.name) != default:
            option = field.name.removesuffix("s" if isinstance(default, tuple) else "").replace("_", "-")
            option = "calibrate" if field.name == "calibrations" else option
            raise SettingError(f"--{option} has no part in --task generalized-zero-shot; leave it out")
    if settings.train is None or len(settings.data) != 1 or len(settings.models) > 1:
        raise SettingError(
            "generalized-zero-shot needs --train FILE, whose labels are the seen ones, one --data FILE with "
            "texts of these and of others, and at most one --model"
        )
    if len(settings.labels_files) > 1:
        raise SettingError("generalized-zero-shot is of one set of labels; give one --labels-file")
    if settings.report is not None and settings.report.suffix.lower() != ".md":
        raise SettingError(f"--report {settings.report} of generalized-zero-shot is Markdown; let it end in .md")
    if settings.plot is not None:
        from sijo.evaluation.plots import check

        check(settings.plot)
    if settings.predictions is not None:
        from sijo.files.row_writers import format_of

        format_of(settings.predictions)
    for path in (settings.predictions, settings.report):
        if path is not None and not path.parent.is_dir():
            raise SettingError(f"{path} cannot be written: there is no folder {path.parent}")


def _rows(settings: EvaluateSettings, source: str, labels: LabelSet | None) -> GoldRows:
    table = settings.table([source], settings.text_column)
    return gold_rows(table, source, settings.label_column, labels=labels)


def _labels(taught: GoldRows, judged: GoldRows) -> LabelSet:
    """Those that occur, the seen ones first; each as it is spelled first, with a warning for another spelling."""
    first: dict[str, str] = {}
    for (name,) in [*taught.gold, *judged.gold]:
        other = first.setdefault(folded(name), name)
        if other != name:
            warn(f"the label {name!r} is read as {other!r}, which differs from it in case or blanks alone")
    return LabelSet.of(list(first.values()))


def _show(
    settings: EvaluateSettings,
    fitted: Mapping[str, "ClassVectorClassifier"],
    evaluations: Mapping[str, GeneralizedEvaluation],
) -> None:
    """Print the results, and write the report and the drawing that are asked for."""
    if wants_json(settings.format):
        methods = {
            name: {"settings": fitted[name].settings_} | evaluation.to_dict()
            for name, evaluation in evaluations.items()
        }
        print_json({"task": settings.task, "methods": methods, "sijo": __version__})
    else:
        from sijo.evaluation.tables import tables

        print_shown(tables([word_table(evaluations)], width=Screen().width))
    if settings.report is not None:
        with whole_file(settings.report) as out:
            out.write(markdown([word_table(evaluations)]).encode())
    if settings.plot is not None:
        from sijo.evaluation.plots import plot_generalized

        plot_generalized(evaluations, settings.plot)


def word_table(evaluations: Mapping[str, GeneralizedEvaluation]) -> WordTable:
    """A row for each method."""
    first = next(iter(evaluations.values()))
    rows = [
        [name, *map(str, (one.seen, one.unseen, one.harmonic_mean, one.ausuc)), f"{one.gamma:.3g}"]
        for name, one in evaluations.items()
    ]
    return WordTable(
        title=f"{first.seen_classes} seen labels and {first.unseen_classes} unseen ones, {first.rows:,} rows",
        headings=("method", "seen", "unseen", "H", "AUSUC", "gamma"),
        rows=rows,
        note="accuracies over all labels, averaged over those of a kind, at the gamma that held-out seen labels "
        "chose; 95 % intervals",
    )


def _write_predictions(
    path: Path, rows: GoldRows, fitted: Mapping[str, "ClassVectorClassifier"], vectors: np.ndarray
) -> None:
    """Write a row for each text and method, whole or not at all."""
    import pyarrow as pa

    from sijo.files.row_writers import WRITERS, ColumnPlan, OutputRows, format_of

    pieces = []
    for name, classifier in fitted.items():
        given = classifier.decided(vectors).argmax(1)
        gold = classifier.places([label for (label,) in rows.gold])
        count = len(rows.texts)
        before = {"method": [name] * count, "row": list(range(1, count + 1)), "text": rows.texts}
        behind = {
            "gold": classifier.classes_[gold].tolist(),
            "seen": classifier.is_seen_[gold].tolist(),
            "label": classifier.classes_[given].tolist(),
            "right": (given == gold).tolist(),
        }
        pieces.append(OutputRows(pa.table(before), pa.table(behind), "parquet"))
    with whole_file(path) as out, closing(WRITERS[format_of(path)](out, ColumnPlan.of(pieces))) as writer:
        for piece in pieces:
            writer.write(piece)
