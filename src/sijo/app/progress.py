"""How far a long piece of work has come, told on standard error: how much, how fast, time left.

A person at a terminal sees a bar; a log gets a line now and then, so that it stays readable.
"""

import sys
import time
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from sijo.training.step import Step

EVERY_SECONDS = 10.0
BAR = 20
"""Columns: the words beside it are what one reads."""


class ProgressReport:
    """Says how far something has come while it is entered.

    shown  False for no word at all
    bar    False where results themselves scroll by on the same terminal
    """

    doing = "reading"
    """What is going on before the first word."""

    def __init__(self, *, shown: bool = True, bar: bool = True) -> None:
        self.seconds = 0.0
        self._shown = shown
        self._bar = bar
        self._live: Any = None

    def __enter__(self) -> Self:
        self._started = self._told = time.perf_counter()
        self._first_share: float | None = 0.0
        if self._shown and self._bar and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (BarColumn(BAR), TextColumn("{task.description}"))
            self._live = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._live.add_task(self.doing, total=None)
            self._live.start()
        return self

    def skip(self, share: float | None) -> None:
        """What was there up to this share is no work of this run."""
        self._first_share = share

    def say(self, sentence: str) -> None:
        """Tell something beside, above the bar where there is one."""
        if self._live is not None:
            self._live.console.print(sentence, markup=False, highlight=False)
        elif self._shown:
            print(sentence, file=sys.stderr, flush=True)  # noqa: T201

    def _tell(self, words: str, share: float | None) -> None:
        """Show the words and the time left; `share` of the work is done, None where that is not known."""
        said = f"{words}{self._left(share)}"
        if self._live is not None:
            total = None if share is None else 1.0
            self._live.update(self._task, description=said, completed=share or 0.0, total=total)
        elif self._shown and time.perf_counter() - self._told >= EVERY_SECONDS:
            self._told = time.perf_counter()
            print(said, file=sys.stderr, flush=True)  # noqa: T201

    def _left(self, share: float | None) -> str:
        if share is None or self._first_share is None or share <= self._first_share:
            return ""
        seconds = self.seconds * (1 - share) / (share - self._first_share)
        if seconds < 1:
            return ""
        whole = round(seconds)
        clock = (
            f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"
            if whole >= 3600
            else (f"{whole // 60}:{whole % 60:02}")
        )
        return f", {clock} left"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._started
        if self._live is not None:
            self._live.stop()


class RowProgress(ProgressReport):
    """Counts rows."""

    rows = 0

    def add(self, rows: int, share: float | None) -> None:
        """Some more rows are done; `share` of the input is read, None where that is not known."""
        self.rows += rows
        self.seconds = time.perf_counter() - self._started
        self._tell(f"{self.rows:,} rows, {self.rows_per_second:,.0f} rows/s", share)

    @property
    def rows_per_second(self) -> float:
        """Rows done by this run over the seconds it took."""
        return self.rows / max(self.seconds, 1e-9)


class RunProgress(ProgressReport):
    """Follows a run in training."""

    doing = "preparing"
    _last = -1

    def follow(self, steps: "Generator[Step, None, bool]") -> bool:
        """Iterate over a run's steps and show each; returns whether the run is finished."""
        while True:
            try:
                self.add(next(steps))
            except StopIteration as end:
                return bool(end.value)

    def add(self, step: "Step") -> None:
        """A step is done."""
        now = time.perf_counter()
        if not 0 <= self._last < step.number:  # a corpus was prepared until now, or another run begins
            self._started = now
            self.skip(step.share)
        self._last = step.number
        self.seconds = now - self._started
        if step.speed is None:  # another process tells
            return
        losses = " ".join(f"{part} {loss:.3g}" for part, loss in step.losses.items())
        rate = f"{step.speed.tokens_per_second:,.0f} tokens/s, {step.speed.matmul_share:.0%} of peak"
        self._tell(f"step {step.number:,}/{step.steps:,} ({step.share:.0%}), {losses}, {rate}", step.share)
