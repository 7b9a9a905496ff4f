"""Several processes that share the work, in order, where one does not fill the machine.

Each process is started afresh (a fork would lack the threads of torch and onnxruntime), opens what it needs and
answers one item after another. Weights that are mapped from a file are in memory once for all of them. The process
that asks gives out items, takes answers in the order of the items, and computes nothing; when it goes, in
whatever way, the others see their pipe closed and go too.

What the items and answers are is up to the caller; both must be fit for `pickle`.
"""

import os
import pickle
import signal
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.context import SpawnProcess
from queue import Queue
from threading import Thread
from typing import Any, Generic, NoReturn, Self, TypeVar

from sijo.errors import SettingError, SijoError, SijoWarning, warn
from sijo.inference.threads import READ_BY_LIBRARIES, thread_count, use_threads

Item = TypeVar("Item")
Answer = TypeVar("Answer")
SPAWN = get_context("spawn")
AHEAD = 2
"""Items that a process has at a time: the one it answers, and the next."""
SECONDS_TO_GO = 5.0
"""Until a process that does not go by itself is ended."""


@dataclass(frozen=True)
class Reply:
    """What came of an item."""

    number: int
    """Of the item, in the order in which they were given out."""
    content: Any
    """The answer, or the error."""
    warnings: tuple[str, ...]
    """What a person should know besides."""
    story: str | None = None
    """Of an error, as Python tells it; None for an answer."""

    def given(self) -> Any:
        """The answer, with its warnings given here; raises the error, if it is one."""
        for sentence in self.warnings:
            warn(sentence)
        if self.story is not None:
            self.content.add_note(self.story)
            raise self.content
        return self.content


@dataclass
class Worker:
    """A process as the one that asks sees it."""

    process: SpawnProcess
    pipe: connection.Connection
    held: int = 0
    """Items that it has."""


class WorkerPool(Generic[Item, Answer]):
    """Processes that answer items, as a context.

    opens    called in each process, gives what answers an item
    workers  how many
    threads  that compute in each; by default their share of those that the machine allows

    Raises SettingError for a number of processes that leaves one of them no thread.

    >>> with WorkerPool(lambda: str.upper, 0): pass
    Traceback (most recent call last):
    sijo.errors.SettingError: workers=0 (--workers) is no number of processes; give 1 or more
    """

    def __init__(self, opens: Callable[[], Callable[[Item], Answer]], workers: int, threads: int | None = None):
        check_workers(workers)
        self.threads = share_of_threads(workers) if threads is None else threads
        self._opens, self._count = opens, workers
        self._workers: list[Worker] = []

    def __enter__(self) -> Self:
        opens = pickle.dumps(self._opens)
        try:
            for _ in range(self._count):
                ours, theirs = get_context("spawn").Pipe()
                process = get_context("spawn").Process(
                    target=_serve, args=(theirs, opens, self.threads), daemon=True
                )
                with _born_with(self.threads):
                    process.start()
                theirs.close()  # held by that process alone, so that its end closes the pipe
                self._workers.append(Worker(process, ours))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, whatever they do."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(SECONDS_TO_GO)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers = []

    def each(self, items: Iterable[Item]) -> Iterator[tuple[Item, Answer]]:
        """Every item with its answer, in order; items are drawn a few ahead of the answers.

        Raises what was raised for an item, after the answers before it, and SijoError where a process has ended.
        """
        rest, given = enumerate(items), 0
        held: dict[int, Item] = {}
        replies: dict[int, Reply] = {}
        more = True
        while True:
            while more and len(held) < AHEAD * self._count:
                number, item = next(rest, (-1, None))
                if more := number >= 0:
                    held[number] = item  # type: ignore[assignment] # None only at the end
                    self._give(number, item)
            if not held:
                return
            while given not in replies:
                for reply in self._received():
                    replies[reply.number] = reply
            yield held.pop(given), replies.pop(given).given()
            given += 1

    def _give(self, number: int, item: object) -> None:
        worker = min(self._workers, key=lambda one: one.held)
        worker.held += 1
        try:
            worker.pipe.send((number, item))
        except OSError:
            raise self._ended(worker) from None

    def _received(self) -> Iterator[Reply]:
        """The replies that are there, once there are any."""
        by_pipe = {worker.pipe: worker for worker in self._workers}
        for pipe in connection.wait(list(by_pipe)):
            worker = by_pipe[pipe]  # type: ignore[index] # those that were waited for
            try:
                reply: Reply = worker.pipe.recv()
            except (EOFError, OSError):
                raise self._ended(worker) from None
            worker.held -= 1
            yield reply

    def _ended(self, worker: Worker) -> SijoError:
        """What to raise where a process is gone that was to answer."""
        worker.process.join(SECONDS_TO_GO)
        code = worker.process.exitcode
        how = f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"left with {code}"
        return SijoError(
            f"worker process {self._workers.index(worker) + 1} of {self._count} {how}, which systems do where "
            "memory runs out; fewer --workers need less"
        )


def share_of_threads(workers: int) -> int:
    """How many threads compute in each of so many processes.

    >>> share_of_threads(1) == thread_count()
    True
    """
    return max(1, thread_count() // workers)


def check_workers(workers: int) -> None:
    """Raise SettingError for a number of processes that leaves one of them no thread, or is none."""
    if workers < 1:
        raise SettingError(f"workers={workers} (--workers) is no number of processes; give 1 or more")
    if workers > (threads := thread_count()) and workers > 1:
        raise SettingError(
            f"workers={workers} (--workers) are more than the {threads} threads that compute here, and each needs "
            "one; give fewer, or more --threads"
        )


@contextmanager
def _born_with(threads: int) -> Iterator[None]:
    """Processes that are started within find so many threads in their environment, and never see Ctrl-C."""
    before = {name: os.environ.get(name) for name in READ_BY_LIBRARIES}
    os.environ |= dict.fromkeys(READ_BY_LIBRARIES, str(threads))
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if hasattr(signal, "pthread_sigmask") else ()
    try:
        yield
    finally:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Answering:
    """What answers items in a process of its own; `opens` was pickled by the process that asks."""

    def __init__(self, opens: bytes) -> None:
        self._opens = opens
        self._answers: Callable[[Any], Any] | None = None

    def reply(self, number: int, item: Any) -> Reply:
        """What comes of an item; errors go back too."""
        told: list[str] = []
        try:
            with _warnings_kept(told):
                self._answers = self._answers or pickle.loads(self._opens)()  # noqa: S301 # its own
                return Reply(number, self._answers(item), tuple(told))
        except BaseException as error:  # raised over there
            story = "".join(traceback.format_exception(error))
            return Reply(number, _sendable(error), tuple(told), story)


def _serve(pipe: connection.Connection, opens: bytes, threads: int) -> NoReturn:
    """Answer items until the pipe is closed."""
    with suppress(ValueError, OSError):  # where a signal cannot be masked before birth
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_threads(threads)
    items: Queue[tuple[int, Any]] = Queue()
    Thread(target=_read, args=(pipe, items), daemon=True).start()
    answering = Answering(opens)
    while True:
        reply = answering.reply(*items.get())
        with suppress(OSError):  # nobody is there any more: `_read` ends this process
            pipe.send(reply)


def _read(pipe: connection.Connection, items: "Queue[tuple[int, Any]]") -> None:
    """Take what is given out, so that its giver never waits; at the end of the pipe this process ends."""
    try:
        while True:
            items.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)


@contextmanager
def _warnings_kept(told: list[str]) -> Iterator[None]:
    """Within, the sentence of each `SijoWarning` goes into the list; other warnings are shown as ever."""
    shown = warnings.showwarning

    def keep(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, SijoWarning):
            told.append(str(message))
        else:
            shown(message, category, *where)

    with warnings.catch_warnings():
        warnings.simplefilter("always", SijoWarning)
        warnings.showwarning = keep  # type: ignore[assignment]
        yield


def _sendable(error: BaseException) -> BaseException:
    """The error itself, or the words of one that cannot be sent."""
    with suppress(Exception):
        pickle.loads(pickle.dumps(error))  # noqa: S301 # its own
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
