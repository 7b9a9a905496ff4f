"""Workers on many machines: `WorkerPool` over a Ray cluster, in which workers and machines may come and go.

Each worker is a Ray actor that opens what it needs and answers one item after another. Ray only starts them and
says which are gone; nothing is left to its own retries, of which a task that ran twice could be heard twice. An
item whose worker is lost goes to another, and one that ends several workers, one after another, is given up with a
sentence. An answer is taken once.

Ray's logs hold neither texts nor answers: these travel as arguments and results, errors too.
"""

import importlib.metadata
import os
import pickle
import platform
import secrets
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Generic, Self, TypeVar

from sijo.errors import SettingError, SijoError, not_installed, warn
from sijo.inference.threads import allowed_threads, use_threads
from sijo.inference.workers import AHEAD, Answering, Reply

Item = TypeVar("Item")
Answer = TypeVar("Answer")
DECISIVE = ("sijo", "onnxruntime", "torch", "tokenizers", "numpy", "pyarrow")
"""Packages whose versions decide the bytes of an output: all workers must have those of the process that asks."""
ATTEMPTS = 3
"""Workers that an item may cost."""
STARTS = 3
"""Workers that may be lost before they are ready, one after another."""
PATIENCE = 30.0
"""Seconds without any worker ready, and with nothing answered, until a person is told why."""
STORE_BYTES, ITEM_BYTES = 160 * 2**20, 160 * 2**20
"""Of a local cluster's store of objects: at least, and for each worker."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 # of the system, where Ray keeps its store
SHORT = "/tmp"  # noqa: S108
"""Where the files of a local cluster are, in a folder that only this user enters: the names of sockets are
short."""
Take = Callable[[int], tuple[int, Any] | None]
"""Gives a worker, named by its number, the next item with its own number; None where none is left."""


class RayWorker:
    """What runs in a process of Ray's."""

    def __init__(self, opens: bytes, threads: int, folder: str) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        use_threads(threads)
        if Path(folder).is_dir():  # a path that is given without its folder means what it means to who asks
            os.chdir(folder)
        self._answering = Answering(opens)

    def ready(self) -> dict[str, str]:
        """What is installed here."""
        return versions()

    def reply(self, number: int, item: Any) -> Reply:
        """What comes of an item; nothing is raised."""
        return self._answering.reply(number, item)


def versions() -> dict[str, str]:
    """What decides the bytes of an output, by name; "" for what is not installed."""
    found = {"python": platform.python_version()}
    for name in DECISIVE:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@dataclass(eq=False)
class HiredWorker:
    """A worker as the process that asks sees it."""

    number: int
    actor: Any
    starting: Any
    """Ray's word for its being ready; None once it is."""
    held: list[tuple[int, Any, Any]] = field(default_factory=list)
    """Number and item of each that it has, and Ray's word for the answer; the first is the one at work."""


class RayPool(Generic[Item, Answer]):
    """Workers that answer items on a Ray cluster, as a context.

    opens    called in each worker, gives what answers an item
    workers  how many
    threads  that compute in each, for which Ray keeps so many processors
    gpus     graphics processors of each
    address  of a cluster that is running, host:port or "auto"; by default what RAY_ADDRESS says, else one is
    started
             on this machine, and ends with the context
    say      told where a worker is lost

    Raises SettingError where Ray is not installed, no cluster answers, or has other versions than are here.
    """

    def __init__(
        self,
        opens: Callable[[], Callable[[Item], Answer]],
        workers: int,
        *,
        threads: int = 1,
        gpus: int = 0,
        address: str | None = None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._say = say
        self.address = address or os.environ.get("RAY_ADDRESS") or None
        check_ray(workers, threads, self.address)
        self.threads, self._gpus = threads, gpus
        self._opens, self._count = pickle.dumps(opens), workers
        self._actor: Callable[[], Any]
        self._workers: list[HiredWorker] = []
        self._again: deque[tuple[int, Any]] = deque()
        self._lost: dict[int, int] = {}
        self._lost_starts = 0
        self._cluster: LocalCluster | None = None
        self._connected = False

    def __enter__(self) -> Self:
        if self.address is None:
            self._cluster = LocalCluster(self._count, self.threads, self._gpus)
        try:
            ray = _ray()

            if not ray.is_initialized():
                self._connect()
            kind = ray.remote(RayWorker).options(
                num_cpus=self.threads, num_gpus=self._gpus, max_restarts=0, max_task_retries=0
            )
            self._actor = lambda: kind.remote(self._opens, self.threads, str(Path.cwd()))
            for number in range(self._count):
                self._workers.append(self._hired(number))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _hired(self, number: int) -> HiredWorker:
        actor = self._actor()
        return HiredWorker(number, actor, actor.ready.remote())

    def _connect(self) -> None:
        ray = _ray()

        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            started = {"address": self.address} if self._cluster is None else self._cluster.options
            _quiet()
            ray.init(**started, log_to_driver=False, logging_level="error")
            self._connected = True
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            where = "on this machine" if self.address is None else f"at {self.address}"
            raise SettingError(
                f"no Ray cluster {where} can be used: {' '.join(str(error).split())[:600]}; see `ray status`, or "
                "name another with --ray-address"
            ) from None
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():  # of which Ray takes one
                    signal.signal(number, handler)

    def close(self) -> None:
        """End all workers, whatever they do, and the cluster if it was started here."""
        if "ray" in sys.modules:
            ray = _ray()

            for worker in self._workers:
                with suppress(Exception):
                    ray.kill(worker.actor)
            if self._connected:
                ray.shutdown()
        self._workers, self._connected = [], False
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def each(self, items: Iterable[Item]) -> Iterator[tuple[Item, Answer]]:
        """Every item with its answer, in order; items are drawn a few ahead of the answers.

        Raises what was raised for an item, after the answers before it, and SijoError for one that ends workers.
        """
        rest, given, drawn = enumerate(items), 0, 0
        replies: dict[int, tuple[Item, Reply]] = {}

        def take(worker: int) -> tuple[int, Any] | None:
            nonlocal drawn
            if drawn - given >= 2 * AHEAD * self._count:  # one answer is slow: the others wait in memory
                return None
            found = next(rest, None)
            drawn += found is not None
            return found

        for number, asked, answered in self.replies(take, ahead=AHEAD):
            replies[number] = asked, answered
            while given in replies:
                item, reply = replies.pop(given)
                given += 1
                yield item, reply.given()

    def replies(self, take: Take, *, ahead: int = 1) -> Iterator[tuple[int, Any, Reply]]:
        """Items with what came of them, as they come, until `take` has none left.

        ahead  items that a worker has at a time
        """
        ray = _ray()

        self._lost = {}
        heard = time.monotonic()
        told = False
        while True:
            self._give_out(take, ahead)
            asked = {word: worker for worker in self._workers for _, _, word in worker.held}
            if not asked and not self._again and any(worker.starting is None for worker in self._workers):
                return  # one that is ready, and was given nothing
            starting = {worker.starting: worker for worker in self._workers if worker.starting is not None}
            done, _ = ray.wait([*asked, *starting], num_returns=1, timeout=PATIENCE)
            for word in done:
                heard = time.monotonic()
                if word in asked:
                    yield from self._taken(asked[word], word)
                else:
                    self._started(starting[word], word)
            if not told and not asked and time.monotonic() - heard >= PATIENCE:
                told = True
                warn(f"no worker has started in {PATIENCE:.0f} s: {self._wanted()}")

    def _give_out(self, take: Take, ahead: int) -> None:
        for worker in self._workers:
            while worker.starting is None and len(worker.held) < ahead:
                found = self._again.popleft() if self._again else take(worker.number)
                if found is None:
                    break
                number, item = found
                worker.held.append((number, item, worker.actor.reply.remote(number, item)))

    def _started(self, worker: HiredWorker, word: Any) -> None:
        """Take a worker that is ready, after a look at its versions; another in the place of one that is lost."""
        ray = _ray()

        try:
            theirs, ours = ray.get(word), versions()
        except ray.exceptions.RayTaskError as error:
            raise _unfit(error) from None
        except ray.exceptions.RayError as error:
            if "ModuleNotFoundError" in str(error) or "failed to import" in str(error):
                raise _unfit(error) from None
            self._lost_starts += 1
            if self._lost_starts >= STARTS:
                raise SijoError(
                    f"{STARTS} workers ended before they were ready ({_cause(error)}); see that the model is where "
                    "each of them can open it, and that memory is enough"
                ) from None
            self._replace(worker)
            return
        if different := [
            f"{name} {theirs.get(name, 'none')}, not {ours[name]}"
            for name in ours
            if theirs.get(name) != ours[name]
        ]:
            raise SettingError(
                f"a worker has {'; '.join(different)} as this command has; install the same on every machine"
            )
        worker.starting, self._lost_starts = None, 0

    def _taken(self, worker: HiredWorker, word: Any) -> Iterator[tuple[int, Any, Reply]]:
        """What came of an item: a reply, or the end of its worker, which another takes the place of."""
        ray = _ray()

        place = [held[2] for held in worker.held].index(word)
        number, item, _ = worker.held[place]
        try:
            reply: Reply = ray.get(word)
        except ray.exceptions.RayError as error:
            held, worker.held = worker.held, []
            with suppress(Exception):
                ray.kill(worker.actor)  # where it is only out of reach, nobody hears it any more
            self._replace(worker)
            for other, asked, _ in reversed(held[1:]):
                self._again.appendleft((other, asked))
            number, item, _ = held[0]
            self._lost[number] = self._lost.get(number, 0) + 1
            self._say(f"a worker is lost ({type(error).__name__}); its rows go to another")
            if self._lost[number] < ATTEMPTS:
                self._again.appendleft((number, item))
                return
            ended = SijoError(
                f"{ATTEMPTS} workers ended over the same rows, one after another ({_cause(error)}), which systems "
                "do where memory runs out; give each more, or smaller parts by --part-rows"
            )
            yield number, item, Reply(number, ended, (), "")
            return
        del worker.held[place]
        yield number, item, reply

    def _replace(self, worker: HiredWorker) -> None:
        self._workers[worker.number] = self._hired(worker.number)

    def _wanted(self) -> str:
        """What the workers want, and what the cluster has."""
        ray = _ray()

        has = ray.available_resources()
        gpus = f" and {self._gpus} of {has.get('GPU', 0):g} free GPUs" if self._gpus else ""
        return (
            f"each wants {self.threads} of {has.get('CPU', 0):g} free processors{gpus}; wait, or change --threads"
        )


class LocalCluster:
    """A cluster of this machine alone, whose files and key are this user's and go with it.

    Its store is as small as its work allows: by default Ray takes a third of the memory, and where /dev/shm is
    smaller than what was asked for it does not start at all.
    """

    def __init__(self, workers: int, threads: int, gpus: int) -> None:
        self._folder = TemporaryDirectory(prefix="sijo-ray-", dir=SHORT if Path(SHORT).is_dir() else None)
        self._set = {name: value for name, value in self._settings().items() if not os.environ.get(name)}
        os.environ |= self._set
        store = STORE_BYTES + workers * ITEM_BYTES
        if SHARED_MEMORY.is_dir():
            about = os.statvfs(SHARED_MEMORY)
            store = min(store, int(0.9 * about.f_bavail * about.f_frsize))
        (Path(self._folder.name) / "r").mkdir()
        self.options = {
            "address": "local",
            "num_cpus": workers * threads,
            **({"num_gpus": workers * gpus} if gpus else {}),
            "include_dashboard": False,
            "_temp_dir": f"{self._folder.name}/r",  # which Ray opens to everybody, behind a door that is not
            **({"object_store_memory": store} if store >= STORE_BYTES // 2 else {}),
        }

    @staticmethod
    def _settings() -> dict[str, str]:
        silent = {"RAY_USAGE_STATS_ENABLED": "0"}  # tells nobody
        if "ray" in sys.modules:  # which has read the others already, and makes a key of its own
            return silent
        # without a key, other users of this machine might run in it what they like
        return silent | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}

    def close(self) -> None:
        """Take away what it left."""
        for name in self._set:
            os.environ.pop(name, None)
        with suppress(OSError):
            self._folder.cleanup()


def check_ray(workers: int, threads: int, address: str | None) -> None:
    """Raise SettingError for workers that cannot be, before a model is opened."""
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise not_installed(ModuleNotFoundError(name="ray")) or AssertionError
    if workers < 1:
        raise SettingError(f"workers={workers} (--workers) is no number of workers; give 1 or more")
    if address is not None and address.startswith("ray://"):
        raise SettingError(
            f"{address} is Ray's client, over which workers cannot be followed; run this command on a machine of "
            "the cluster, as by `ray job submit`, with --ray-address auto"
        )
    if address is None and workers * threads > (most := allowed_threads()):
        raise SettingError(
            f"{workers} workers (--workers) of {threads} threads (--threads) are more than the {most} processors "
            "of this machine; give fewer, or a cluster by --ray-address"
        )


def _ray() -> Any:
    """Ray, which takes a second to import."""
    return import_module("ray")


def _quiet() -> None:
    """Let Ray print no page about each worker that it loses, which is told in a sentence."""
    worker: Any = import_module("ray._private.worker")
    if hasattr(worker, "listen_error_messages"):  # its own affair: what it is called elsewhere stays as it is
        worker.listen_error_messages = lambda *_: None


def _unfit(error: Exception) -> SijoError:
    """What to raise where a worker cannot even begin."""
    if "sijo" in str(error) and ("No module named" in str(error) or "failed to import" in str(error)):
        return SettingError(
            "a worker's machine has no sijo; install the same as here on every machine of the cluster"
        )
    return SijoError(f"a worker did not start: {_cause(error)}")


def _cause(error: Exception) -> str:
    """Ray's word for why something is gone, in short."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]
