"""`sijo fit`: a table with a few labels in, a model that `sijo classify` opens out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sijo.app.label_names import named_labels, tell_form
from sijo.app.options import TEXT_COLUMN, ComputeOptions, call_with
from sijo.app.progress import RowProgress
from sijo.app.results import print_json, print_line, print_table, wants_json
from sijo.app.table_job import TableOptions
from sijo.errors import SettingError, warn

if TYPE_CHECKING:
    from sijo.evaluation.intervals import Interval
    from sijo.jobs.fitting.few_labels import FewLabels
    from sijo.jobs.fitting.fit import FittedModel
    from sijo.zeroshot.labels import LabelSet
    from sijo.zeroshot.scorers.embedding import EmbeddingScorer

MOST_SHOWN = 40
"""Labels in a table."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LabelledTable(ComputeOptions, TableOptions):
    """A table with labels in some of its rows, and the encoder that reads it."""

    labels_column: Annotated[str | None, Parameter(alias="--label-column")] = None
    """The column with the labels of the rows that have one; cells of the others are empty."""
    column: Annotated[str | None, TEXT_COLUMN] = None
    """The column with the text: "text", or the only one, by default."""
    labels: str | None = None
    """What there is to choose from, as "business,sport,tech", where no row has some of it yet; the labels that
    occur by default."""
    labels_file: Path | None = None
    """The same from a file, with descriptions and more: see sijo labels."""
    labels_separator: str | None = None
    """What stands between labels, in --labels and in cells: semicolons by default, or commas where are none."""
    multi_label: bool = False
    """A text may have several labels, or none: cells hold a list, or names with semicolons or commas between, and
    [] says that none fits."""
    model: str | None = None
    """A sentence encoder's folder or org/name; without it the built-in one."""
    revision: str | None = None
    """Branch, tag or commit of an org/name model."""
    hypothesis_template: str | None = None
    """The sentence a label's name is put in; that of sijo classify by default."""
    prompt: str | None = None
    """What stands before each text, of encoders that know prompts; the encoder's own by default."""
    cache: Path | None = None
    """A folder that keeps vectors between runs, so that more labels on the same texts take seconds."""
    seed: int = 0
    """Decides which texts are held out together, and which of many without a label are read."""
    format: Literal["table", "json"] | None = None
    """A table for people, or one JSON object; by default json in a pipe."""
    quiet: Annotated[bool, Parameter(alias="-q")] = False
    """No progress."""

    def label_set(self) -> "LabelSet | None":
        """What there is to choose from, where that was said."""
        return named_labels(self.labels, self.labels_file, self.labels_separator, self.say)

    @contextmanager
    def opened(self, file: str) -> Iterator[tuple["EmbeddingScorer", RowProgress]]:
        """The encoder, ready to compare vectors, and the display that tells how much of a file it has read."""
        from sijo.zeroshot.scorers.embedding import EmbeddingScorer
        from sijo.zeroshot.scorers.open import open_scorer

        if self.precision == "auto":
            raise SettingError("--precision auto is for texts that are labelled; name one, such as exact or int8")
        with self.progress([file]) as progress:
            progress.begin("opening the model")
            scorer = call_with(open_scorer, self, name="embedding")
            assert isinstance(scorer, EmbeddingScorer)
            if scorer.caution is not None:
                warn(scorer.caution)
            scorer.engine.told = partial(progress.within, what="texts")
            progress.begin("reading")
            yield scorer, progress

    def read(self, sources: Sequence[str], *, must: bool = True) -> tuple[list[str], list[object], str]:
        """All texts of a table, the cells beside them, and the name of the text column.

        must  whether the column of the labels has to be named
        """
        if self.labels_column is None and must:
            raise SettingError("name the column with the labels: --labels-column topic")
        table = self.table(sources, self.column)
        texts, cells, lacking = list[str](), list[object](), 0
        for block in table.blocks():  # texts that somebody labels by hand fit in memory
            texts += block.texts
            if self.labels_column is None:
                cells += [None] * len(block.texts)
                continue
            try:
                cells += block.values(self.labels_column)
            except SettingError:  # JSON Lines of which no record here has the key, as another may
                lacking += len(block.texts)
                if lacking == len(texts) and block.kind != "jsonl":
                    raise
                cells += [None] * len(block.texts)
        return texts, cells, table.column

    def some(self, texts: Sequence[str], cells: Sequence[object], labels: "LabelSet | None" = None) -> "FewLabels":
        """What they say, checked.

        labels  what there is to choose from, where that was read before
        """
        from sijo.jobs.fitting.few_labels import few_labels

        tell_form(cells, f"column {self.labels_column!r}", self.say)
        return few_labels(
            texts,
            cells,
            column=self.labels_column or "",
            labels=labels or self.label_set(),
            multi_label=self.multi_label,
            separator=self.labels_separator,
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FitSettings(LabelledTable):
    """What a head is fitted to, and where the model goes."""

    out: Annotated[Path | None, Parameter(alias="-o")] = None
    """The folder to write: the encoder's files, the head, a card. It appears whole or not at all."""
    overwrite: bool = False
    """Replace a model that is there."""
    contrastive: bool = False
    """Train the encoder too, on pairs of texts, before the head is fitted: minutes, and torch."""


def run(file: str, /, *, settings: FitSettings = FitSettings()) -> None:
    """Fit a classifier to a few labelled rows: from twenty labels to a model, in seconds.

    FILE is a .csv, .tsv, .jsonl, .json, .parquet or .xlsx with a text in each row and a label in some. The head
    begins at what the labels' names say, and moves as far as labels give reason to, measured on rows held out. Rows
    without a label take part, too: labels are drawn to texts near them.

    The folder is opened as any model is: by sijo classify, predict and evaluate, and in Python.

        sijo fit mail.csv --labels-column topic --out models/mail

        sijo classify new.csv --model models/mail

    Label more where it helps most, as sijo suggest tells, and fit again.
    """
    if settings.out is None:
        raise SettingError("name the folder that the model is written to: --out models/topics")
    settings.take_threads()
    from sijo.data.labelled_rows import ColumnNames
    from sijo.files.atomic import must_be_free
    from sijo.jobs.fitting.few_labels import told_of
    from sijo.jobs.fitting.fit import fit_few

    must_be_free(settings.out, overwrite=settings.overwrite)  # refused before the texts are read
    texts, cells, column = settings.read([file])
    some = settings.some(texts, cells)
    with settings.opened(file) as (scorer, progress):
        fitted = fit_few(
            some,
            scorer,
            template=settings.hypothesis_template,
            seed=settings.seed,
            contrastive=settings.contrastive,
            told=partial(progress.within, what="training"),
        )
    columns = ColumnNames(text=column, label=settings.labels_column)
    fitted.save(settings.out, columns=columns, data=Path(file).name, overwrite=settings.overwrite)
    for line in told_of(some):
        settings.say(line)
    _show(fitted, settings)
    if fitted.advice is not None:
        settings.say(fitted.advice)


def _show(fitted: "FittedModel", settings: FitSettings) -> None:
    """What it was fitted to, and how good it is."""
    head, some = fitted.head, fitted.some
    if wants_json(settings.format):
        print_json(_record(fitted) | {"model": str(settings.out)})
        return
    rows = [[label, f"{count:,}"] for label, count in list(some.counts.items())[:MOST_SHOWN]]
    rows += [[f"and {len(some.counts) - MOST_SHOWN:,} more", ""]] * (len(some.counts) > MOST_SHOWN)
    print_table(("label", "texts"), rows, note=f"{len(some.texts):,} labelled texts, {fitted.unlabelled:,} without")
    measured = [] if fitted.zero_shot is None else [["zero-shot", f"{fitted.zero_shot}", f"{len(some.texts):,}"]]
    if head.held_out is not None:
        measured.append(["fitted", f"{head.held_out}", f"{head.tried:,}"])
    print_table(("accuracy", "on texts held out, 95 %", "texts"), measured)
    print_line(settings.out)


def _record(fitted: "FittedModel") -> dict[str, Any]:
    def told(interval: "Interval | None") -> dict[str, float | None] | None:
        return None if interval is None else interval.to_dict()

    head = fitted.head
    return {
        "labels": fitted.some.counts,
        "labelled": len(fitted.some.texts),
        "unlabelled": fitted.unlabelled,
        "accuracy": told(head.held_out),
        "zero_shot_accuracy": told(fitted.zero_shot),
        "held_out": head.tried,
        "seconds": round(fitted.seconds, 3),
        **fitted.settings,
    }
