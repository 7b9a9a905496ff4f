"""`sijo suggest`: a table with a few labels, or none yet, in; the rows to label next out."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Column
from rich.text import Text

from sijo.app.fitting.fit import LabelledTable
from sijo.app.results import print_beside_texts, print_json, wants_json
from sijo.errors import SettingError
from sijo.names import folded, is_blank

if TYPE_CHECKING:
    from sijo.jobs.fitting.few_labels import FewLabels
    from sijo.jobs.fitting.suggest import Suggestion


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SuggestSettings(LabelledTable):
    """How many rows are suggested, and where they go."""

    rows: int = 10
    """How many rows to suggest."""
    output: Annotated[Path | None, Parameter(alias="-o")] = None
    """A .csv, .tsv, .jsonl, .parquet or .xlsx to write them to, with an empty column for the labels, in place of
    printing them; it appears whole or not at all."""
    overwrite: bool = False
    """Replace an output that is there, with whatever labels were written into it."""

    def known(self, texts: Sequence[str], cells: Sequence[object]) -> "FewLabels | None":
        """The labels there are; None where neither two labels occur nor any are named."""
        from sijo.jobs.fitting.few_labels import none_yet

        labels = self.label_set()
        given = [cell for cell in cells if not is_blank(cell)]
        if not given and labels is not None:
            return none_yet(labels, texts, multi_label=self.multi_label)
        if labels is None and len({folded(str(cell)) for cell in given}) < 2:
            return None
        return self.some(texts, cells, labels)


def run(file: str, /, *, settings: SuggestSettings = SuggestSettings()) -> None:
    """Tell which rows to label next, ten at a time: those that teach a classifier most.

    FILE is a table as sijo fit takes it, whose label column may be empty, or not there yet. Suggested are rows that
    the present model is unsure of, of as many kinds as there are rows to suggest: the model is a head fitted to the
    labels so far, or before there are any what the labels' names say (--labels). A row that is labelled, or that
    holds the text of one, is never suggested, and the same table gives the same rows.

        sijo suggest mail.csv --labels "invoice,delivery,complaint"

        sijo suggest mail.csv --labels-column topic --output next.csv
    """
    if settings.output is not None:
        from sijo.files.row_writers import format_of

        format_of(settings.output)  # refused before the texts are read
        if settings.output.exists() and not settings.overwrite:
            raise SettingError(
                f"output {settings.output} exists, and labels may have been written into it; pass --overwrite to "
                "replace it, or name another"
            )
    settings.take_threads()
    from sijo.jobs.fitting.suggest import suggest

    texts, cells, column = settings.read([file], must=False)
    some = settings.known(texts, cells)
    with settings.opened(file) as (scorer, _):
        suggestions = suggest(
            texts,
            scorer,
            labelled=[not is_blank(cell) for cell in cells],
            some=some,
            template=settings.hypothesis_template,
            count=settings.rows,
            seed=settings.seed,
        )
    if some is None:
        settings.say("no labels are known yet, so rows of different kinds are suggested; name labels by --labels")
    if settings.output is not None:
        _write(suggestions, settings.output, column, settings.labels_column or "label")
        settings.say(f"{len(suggestions)} rows to label in {settings.output}")
    elif wants_json(settings.format):
        print_json(*(asdict(one) for one in suggestions))
    else:
        _print(suggestions)


def _print(suggestions: Sequence["Suggestion"]) -> None:
    """For people, a line each."""
    rows = [[Text(f"{one.row:,}"), Text(one.label or "–"), Text(f"{one.uncertainty:.3f}")] for one in suggestions]
    columns = [Column("row", justify="right"), Column("now", max_width=24, no_wrap=True), Column("unsure")]
    print_beside_texts(columns, rows, [" ".join(one.text.split()) for one in suggestions], headings=True)


def _write(suggestions: Sequence["Suggestion"], path: Path, column: str, labels_column: str) -> None:
    """A table of them, to be filled in."""
    import pyarrow as pa

    from sijo.files.atomic import whole_file
    from sijo.files.row_writers import WRITERS, ColumnPlan, OutputRows, format_of

    rows = pa.table({"row": pa.array([one.row for one in suggestions], pa.int64())})
    own = {
        column: pa.array([one.text for one in suggestions], pa.string()),
        labels_column: pa.array([""] * len(suggestions), pa.string()),
        "now": pa.array([one.label for one in suggestions], pa.string()),
        "uncertainty": pa.array([one.uncertainty for one in suggestions], pa.float64()),
    }
    piece = OutputRows(rows, pa.table(own), "parquet")
    with whole_file(path) as out, closing(WRITERS[format_of(path)](out, ColumnPlan.of([piece]))) as writer:
        writer.write(piece)
