"""How far a long piece of work has come, told on standard error: how much, how fast, time left.

A person at a terminal sees a bar; a log gets a line now and then, so that it stays readable.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from sijo.app.again import resuming
from sijo.app.numbers import clock, rows_in_words, speed_in_words
from sijo.app.results import Screen, tell

if TYPE_CHECKING:
    from sijo.training.step import Step

EVERY_SECONDS = 10.0
"""Between two lines of a log."""
BAR = 20
"""Columns of the bar, which leaves room for the words beside it."""
FIRST_SECONDS = 2.0
"""Before the first of them: shorter work is not worth a line."""
SPEED_SECONDS = 600.0
"""Over which the speed is taken from which a bar tells the time left."""


class ProgressReport:
    """Shows how far a piece of work has come, as a context.

    shown  False for no output at all
    bar    False where results themselves scroll by on the same terminal
    """

    doing = "reading"
    """What a bar says before any work is done."""

    def __init__(self, *, shown: bool = True, bar: bool = True) -> None:
        self.seconds = 0.0
        self.shown = shown
        self._bar = bar
        self._live: Any = None
        self._soon: threading.Timer | None = None

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        self._last_line = self._started - EVERY_SECONDS + FIRST_SECONDS
        self._first_share: float | None = 0.0
        if self.shown and self._bar and sys.stderr.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._live = Progress(
                BarColumn(BAR),
                TextColumn("{task.description}", markup=False),
                TimeRemainingColumn(compact=True),
                console=Screen(stderr=True),
                get_time=time.perf_counter,
                speed_estimate_period=SPEED_SECONDS,
                transient=True,
            )
            self._task = self._live.add_task(self.doing, total=None)
            self._live.start()
        return self

    def begin(self, words: str) -> None:
        """What is done from here on, where time counts from; told at once at a terminal, else if it takes long."""
        self._settle()
        self._started = time.perf_counter()
        if self._live is not None:
            self._live.update(self._task, description=words)
        elif self.shown:
            self._soon = threading.Timer(FIRST_SECONDS, tell, [words])
            self._soon.daemon = True
            self._soon.start()

    def hide(self) -> None:
        """Take the bar away: results follow on the same terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _settle(self) -> None:
        """What was begun need not be told any more."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    def skip(self, share: float | None) -> None:
        """Up to this share the work had been done before, so it says nothing of the speed."""
        self._first_share = share

    def say(self, sentence: str) -> None:
        """Print a sentence, above the bar where there is one."""
        if self._live is not None:
            self._live.console.print(sentence)
        elif self.shown:
            tell(sentence)

    def _show(self, words: str, share: float | None, *, last: bool = False) -> None:
        """Show the words and the time left; `share` of the work is done, None where that is not known. The last of
        them stand in no log: a summary follows."""
        self._settle()
        if self._live is not None:
            total = None if share is None else 1.0
            self._live.update(self._task, description=words, completed=share or 0.0, total=total)
        elif self.shown and not last and time.perf_counter() - self._last_line >= EVERY_SECONDS:
            self._last_line = time.perf_counter()
            tell(f"{words}{self._left(share)}")

    def _left(self, share: float | None) -> str:
        """The time left in a log, by the speed of this run so far."""
        if share is None or self._first_share is None or share <= self._first_share:
            return ""
        seconds = self.seconds * (1 - share) / (share - self._first_share)
        return f", {clock(seconds)} left" if seconds >= 1 else ""

    def __exit__(self, *error: object) -> None:
        self._settle()
        self.seconds = time.perf_counter() - self._started
        if self._live is not None:
            self._live.stop()


class RowProgress(ProgressReport):
    """Counts rows."""

    rows = 0
    """Those done by this run."""
    kept = 0
    """Those that were done before it."""
    total: int | None = None
    """All that there are, where somebody knows."""
    _asked = 0
    """Rows of all blocks so far that are done or at work."""
    _block = _inside = 0.0
    """Rows of the block at work, and how many of them its inputs so far stand for."""
    _shares: tuple[float | None, float | None] = (None, None)
    """Of the input before the block at work, and with it."""

    def keep(self, rows: int, share: float | None) -> None:
        """Rows had been done before; `share` of the input is behind them."""
        self.kept += rows
        self._asked += rows
        self._shares = (share, share)
        self.skip(self._share_at(self.kept, share))

    def work(self, rows: int, share: float | None) -> None:
        """A block of so many rows is at work; with it `share` of the input is read."""
        if self.rows:
            self._tell(self.rows, self._shares[1])
        self._asked += rows
        self._block, self._inside, self._shares = rows, 0.0, (self._shares[1] or 0.0, share)

    def within(self, done: int, of: int, what: str = "the first rows") -> None:
        """So many inputs of those at work are read: texts or windows of a block's rows, or before any, of `what`.

        Where a block is read by several calls, as labels are before texts, an input stands for a row at most.
        """
        if not self._asked:
            if not self.rows:
                self._show(f"{what}: {done / of:.0%}", None)
            return
        inside = self._inside + done / of * min(of, self._block - self._inside)
        if done == of:
            self._inside = inside
        before, behind = self._shares
        share = None
        if before is not None and behind is not None:
            share = before + (behind - before) * inside / max(self._block, 1)
        self.seconds = time.perf_counter() - self._started
        self._tell(self.rows + int(inside), share)

    def add(self, rows: int, share: float | None) -> None:
        """Count more rows; `share` of the input is read, None where that is not known."""
        self.rows += rows
        self._block = self._inside = 0.0
        self.seconds = time.perf_counter() - self._started
        done = self.kept + self.rows
        self._tell(self.rows, share, last=done == self._asked and done >= (self.total or 0))

    def _tell(self, rows: int, share: float | None, *, last: bool = False) -> None:
        """Show that so many rows are done by this run."""
        done = self.kept + rows
        words = rows_in_words(done) if self.total is None else f"{done:,} of {rows_in_words(self.total)}"
        if rows:
            words += f", {speed_in_words(rows, self.seconds)}"
        self._show(words, self._share_at(done, share), last=last)

    def _share_at(self, rows: int, share: float | None) -> float | None:
        return share if not self.total else min(rows / self.total, 1.0)

    @property
    def speed(self) -> str:
        """How many rows a second this run did, in words."""
        return speed_in_words(self.rows, self.seconds)


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
        self._show(f"step {step.number:,}/{step.steps:,} ({step.share:.0%}), {losses}, {rate}", step.share)


def follow_run(run: "Callable[..., Generator[Step, None, bool]]", out: Path, *, shown: bool) -> None:
    """Make a run in the folder `out` and show its steps; if it was asked to stop, end as the signal would end it.

    run  from `stop`, asked before every step, and `tell`, where words go, to the steps
    """
    with asked_to_stop() as signals, RunProgress(shown=shown) as progress:
        finished = progress.follow(run(stop=lambda: bool(signals), tell=progress.say))
    if signals and not finished:
        if shown:
            tell(f"saved in {out}; this goes on: {resuming()}")
        if signals == [signal.SIGINT]:
            raise KeyboardInterrupt
        signal.raise_signal(signals[0])


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """SIGINT and SIGTERM become a wish to stop, noted in the list; the second one ends at once."""
    signals: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def wish(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        restore()

    for number in handlers:
        signal.signal(number, wish)
    try:
        yield signals
    finally:
        restore()
