"""`--dry-run` of `sijo classify` and `sijo predict`: what a run would be, as a table or JSON."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sijo.app.numbers import duration, file_size
from sijo.app.progress import RowProgress
from sijo.app.results import print_json, print_table, wants_json

if TYPE_CHECKING:
    from sijo.checkpoints.describe import DescribedModel
    from sijo.files.inputs.joined_tables import JoinedTables
    from sijo.files.tables import RowBlock, TextTable
    from sijo.inference.dry_run import DryRun
    from sijo.zeroshot.labeller import Labeller


class DryRunSettings(Protocol):
    """What is asked of a run."""

    @property
    def output(self) -> Path | None:
        """The file that it would write; None for standard output."""
        ...

    @property
    def format(self) -> str | None:
        """How rows would be printed."""
        ...

    @property
    def workers(self) -> int:
        """Processes that would share the rows."""
        ...


def show_classify(
    table: "TextTable | JoinedTables",
    labeller: "Labeller",
    answer: "Callable[[RowBlock], object]",
    settings: DryRunSettings,
    progress: RowProgress,
) -> None:
    """Show what a run of `sijo classify` would be."""
    tokenizer, room = labeller.scorer.engine.model.tokenizer, labeller.room

    def measured(block: "RowBlock") -> tuple[Sequence[int], Sequence[bool]]:
        tokens = list(map(len, tokenizer.ids(block.texts)))
        return tokens, [room is not None and count > room for count in tokens]

    show(table, labeller.scorer.engine.model, labeller.rows, measured, answer, settings, progress)


def show(
    table: "TextTable | JoinedTables",
    model: "DescribedModel",
    rows: int,
    measured: "Callable[[RowBlock], tuple[Sequence[int], Sequence[bool]]]",
    answer: "Callable[[RowBlock], object]",
    settings: DryRunSettings,
    progress: RowProgress,
) -> None:
    """Show what a run would be; arguments as of `sijo.inference.dry_run.dry_run`.

    rows  of a block, at most
    """
    from sijo.inference.dry_run import TIMED_ROWS, dry_run

    progress.begin("reading")
    run = dry_run(
        model,
        table.first_block(TIMED_ROWS),
        table.blocks(rows=rows),
        measured,
        answer,
        lambda block: progress.add(len(block.texts), table.share()),
    )
    progress.hide()
    run = replace(run, estimated_seconds=run.estimated_seconds / settings.workers)
    state = _state_of(settings.output)
    if wants_json("json" if settings.format not in (None, "table") else settings.format):
        print_json(
            asdict(run) | {"output": None if settings.output is None else str(settings.output), "state": state}
        )
        return
    print_table(
        ("what", "how much"),
        _lines(run, settings.output, state),
        note="time and memory are estimates, by the first rows on this machine as it is now; nothing was written",
    )


def _lines(run: "DryRun", output: Path | None, state: str) -> list[tuple[str, str]]:
    """The lines of the table."""
    scripts: Any = [f"{name} {share:.0%}" for name, share in run.scripts.items()]
    known = f"the model's card names {', '.join(run.model_languages[:8])}" if run.model_languages else ""
    unread = f"{run.unread_words:.0%} of the words are unknown to the model's tokenizer"
    return [
        ("rows", f"{run.rows:,}"),
        ("without text", f"{run.empty:,}"),
        (
            "tokens",
            f"{run.tokens:,}; a row has {run.tokens_mean:.1f}, 95 of 100 rows up to {run.tokens_p95:,}, and the "
            f"longest {run.tokens_most:,}",
        ),
        ("would be cut", f"{run.truncated:,} rows"),
        ("languages", "; ".join(filter(None, (", ".join(scripts), unread, known)))),
        ("time, about", duration(run.estimated_seconds)),
        ("memory, about", file_size(run.estimated_memory)),
        ("output", "standard output" if output is None else f"{output}: {state}"),
    ]


def _state_of(output: Path | None) -> str:
    """What there is where the output would be."""
    if output is None:
        return "rows are printed"
    if output.with_name(f".{output.name}.sijo-run").exists():
        return "a run was begun; --resume goes on with it, --overwrite starts over"
    return "is there; --overwrite replaces it" if output.exists() else "a new file"
