"""How far a long run has come, told on standard error: rows, rows a second, time left.

A person at a terminal sees a bar; a log gets a line now and then, so that it stays readable.
"""

import sys
import time
from types import TracebackType
from typing import Any, Self

EVERY_SECONDS = 10.0


class Progress:
    """Counts rows while it is entered.

    shown  False for no word at all
    bar    False where rows themselves scroll by on the same terminal
    """

    def __init__(self, *, shown: bool = True, bar: bool = True) -> None:
        self.rows = 0
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

            columns = (BarColumn(), TextColumn("{task.description}"))
            self._live = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._live.add_task("reading", total=None)
            self._live.start()
        return self

    def skip(self, share: float | None) -> None:
        """Rows up to this share of the input were there from an earlier run: no work of this one."""
        self._first_share = share

    def add(self, rows: int, share: float | None) -> None:
        """Some more rows are done; `share` of the input is read, None where that is not known."""
        self.rows += rows
        now = time.perf_counter()
        self.seconds = now - self._started
        said = f"{self.rows:,} rows, {self.rows_per_second:,.0f} rows/s{self._left(share)}"
        if self._live is not None:
            total = None if share is None else 1.0
            self._live.update(self._task, description=said, completed=share or 0.0, total=total)
        elif self._shown and now - self._told >= EVERY_SECONDS:
            self._told = now
            print(said, file=sys.stderr, flush=True)  # noqa: T201

    @property
    def rows_per_second(self) -> float:
        """Rows done by this run over the seconds it took."""
        return self.rows / max(self.seconds, 1e-9)

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
