"""`sijo evaluate`: texts whose labels are known in, how well they were labelled out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.text import Text

from sijo.app.label_settings import LabelSettings
from sijo.app.options import call_with
from sijo.app.progress import RowProgress
from sijo.app.results import print_json, print_shown, wants_json
from sijo.errors import SettingError, TextError, nearest, warn
from sijo.names import apart, cautions, folded, list_in, name_of
from sijo.version import __version__

if TYPE_CHECKING:
    from sijo.evaluation.zero_shot import Evaluation
    from sijo.files.tables import RowBlock
    from sijo.zeroshot.labeller import Labeller


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(LabelSettings):
    """What is measured, on what, and how it is shown."""

    task: Literal["zero-shot"] = "zero-shot"
    """What the model is asked to do."""
    data: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """The file with texts and their labels: .csv, .tsv, .jsonl or .parquet, or - for standard input."""
    text_column: str = "text"
    """The column with the text."""
    label_column: str = "label"
    """The column with the right label; its values are the labels unless --labels or --labels-file names them, or
    the model was trained on its own."""
    format: Literal["table", "json"] | None = None
    """Tables for people, or one JSON object; by default json in a pipe."""
    plot: Path | None = None
    """A .png, .svg or .pdf to draw the confusion matrix and the reliability curve in."""
    resamples: int = 1000
    """Bootstrap resamples behind each interval."""
    seed: int = 0
    """Where the resamples start from."""


def run(*, settings: EvaluateSettings = EvaluateSettings()) -> None:
    """Measure how well a model labels texts whose labels are known, with 95 % intervals.

    Prints accuracy, macro-F1, calibration error (ECE), a line for each label and the confusion
    matrix; as one JSON object in a pipe or with --format json.

        sijo evaluate --data examples/requests.csv --text-column text --label-column domain

    Give --labels-file to put a description beside each label.
    """
    if settings.data is None:
        raise SettingError("name the file with texts and their labels: --data FILE")
    if settings.risk is not None:
        raise SettingError(
            "--risk leaves texts without a label, and what is measured here is one label for each; leave it out"
        )
    import numpy as np

    from sijo.evaluation.plots import check, plot
    from sijo.evaluation.zero_shot import check_resamples, evaluate
    from sijo.inference.outputs import NotFiniteError
    from sijo.inference.precision import FIRST_TEXTS

    check_resamples(settings.resamples, settings.seed)
    if settings.plot is not None:
        check(settings.plot)  # refused before an hour's work, not after it
    table = settings.table(settings.data, settings.text_column)
    blocks = list(table.blocks())  # texts that somebody labelled by hand fit in memory
    gold = [label for block in blocks for label in _gold(block, settings.label_column)]
    labels = settings.label_set()
    spelled, twice = _spellings(gold)
    none = folded(settings.none_label or "")
    texts = [text for block in blocks for text in block.texts[:FIRST_TEXTS]][:FIRST_TEXTS]
    labeller = settings.opened(
        labels,
        lambda _: (texts, None),
        lambda most: [text for block in blocks for text in block.texts][:most],
        column=settings.text_column,
        otherwise=sorted(name for key, name in spelled.items() if key != none),
    )
    if labeller.choice.multi_label:
        raise SettingError(
            "the model was trained to judge each label by itself, and may give a text several or none; what is "
            "measured here is one label a text. Use a model that chooses one"
        )
    assert labeller.labels is not None
    names = [*labeller.labels.names, settings.none_label] if settings.none_label else list(labeller.labels.names)
    if labels is None and labeller.scorer.known is None:  # the file's own
        if twice is not None:
            raise twice
        for caution in cautions(gold, "what is measured here is one label a text"):
            warn(caution)
    _check_gold(gold, names)  # before the texts are read, not after
    probabilities, cut = [], 0
    with RowProgress(shown=not settings.quiet) as progress:
        try:
            for group, reading in labeller.judged(text for block in blocks for text in block.texts):
                probabilities.append(group)
                cut += int(reading.truncated.sum())
                progress.add(len(group), sum(map(len, probabilities)) / len(gold))
        except NotFiniteError as error:
            raise error.after(0, "row") from None
    all_NL = np.concatenate(probabilities)
    measured = call_with(evaluate, settings, gold=gold, probabilities=all_NL, labels=names)
    _print(measured, labeller, cut, settings, progress)
    if settings.plot is not None:
        plot(measured, settings.plot)


def _gold(block: "RowBlock", column: str) -> list[str]:
    """The right labels of a block, refused where one or its text is missing."""
    names = []
    for place, value in enumerate(block.values(column)):
        name, row = name_of(value), block.first_row + place + 1
        if name is None or list_in(name) is not None:
            raise TextError(
                f"row {row}: the column {column!r} holds {value!r}, not a label; leave out rows whose label is not "
                "known"
            )
        if not block.texts[place].strip():
            raise TextError(f"row {row} has no text to label; leave it out of the measurement")
        names.append(name)
    return names


def _spellings(gold: list[str]) -> tuple[dict[str, str], TextError | None]:
    """The first spelling of each label, by what all share; and what is wrong where one has two."""
    first: dict[str, tuple[str, int]] = {}
    twice: TextError | None = None
    for row, label in enumerate(gold, start=1):
        other, earlier = first.setdefault(folded(label), (label, row))
        if other != label and twice is None:
            shown = apart(label, other)
            twice = TextError(
                f"row {row}: the label {shown[0]} is the label {shown[1]} of row {earlier}, spelled otherwise; "
                "spell it alike in all rows, or say how by --labels"
            )
    return {key: label for key, (label, _) in first.items()}, twice


def _check_gold(gold: list[str], names: list[str]) -> None:
    """Tell of right labels in another spelling than the labels to choose from; refuse one that is none of these."""
    spelled, known = {folded(name): name for name in names}, {*names}
    for row, label in enumerate(gold, start=1):
        if label in known:
            continue
        known.add(label)
        if folded(label) not in spelled:
            raise TextError(
                f"row {row}: the label {label!r} is not one of the {len(names)} labels"
                f"{nearest(label, names)}. Mend the row, or add the label"
            )
        one, other = apart(label, spelled[folded(label)])
        warn(f"row {row}: the label {one} is read as {other}, as the labels to choose from spell it")


def _print(
    evaluation: "Evaluation", labeller: "Labeller", cut: int, settings: EvaluateSettings, progress: RowProgress
) -> None:
    calibration, scorer = labeller.calibration, labeller.scorer
    if wants_json(settings.format):
        about = {
            "task": settings.task,
            "data": settings.data,
            "model": str(scorer.engine.model.source),
            "scorer": scorer.name,
            **{name: value for name, value in scorer.settings.items() if name == "prompt"},
            "texts_cut": cut,
            "temperature": calibration.temperature,
            "none_score": calibration.none_score,
            "calibration": calibration.origin,
            "rows_per_second": round(progress.rows_per_second, 1),
            "sijo": __version__,
        }
        print_json(about | evaluation.to_dict())
        return
    from sijo.evaluation.tables import table

    print_shown(table(evaluation))
    if cut:
        print_shown(f"\n{cut:,} of the texts are longer than the model, and were read in part.")
    speed = f"{progress.seconds:.1f} s, {progress.rows_per_second:,.0f} rows/s"
    fitted = f"Temperature {calibration.temperature:g}, from: {calibration.origin}"
    print_shown(Text(f"\n{speed}. {fitted}", style="dim"))
