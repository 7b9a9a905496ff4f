"""Requests that come one by one and are read together: a queue by tokens in front of one thread that computes.

While a batch is computed others wait, and are the next batch. Where the last one was shared, those it answered may
ask again at once: an idle service then waits a few milliseconds for a second request before it computes for the
first. One that is asked by one client at a time never waits. Requests share a batch text by text in turns, so that
one of a thousand texts does not stand in the way of one of a single text.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from sijo.app.serving.limits import Refusal

LONGEST_TURN = 30.0
"""Seconds after which who is refused may ask again, at most."""
Work = Callable[[Sequence[Any]], Sequence[Any]]
"""Items in, an answer for each out, in order; the same whatever stands beside an item."""


@dataclass(eq=False)
class Waiting:
    """A request in the queue."""

    key: Hashable
    """What items must share to be read together."""
    work: Work
    items: Sequence[Any]
    costs: Sequence[int]
    """About how many tokens each item is."""
    answered: asyncio.Future[list[Any]]
    answers: list[Any] = field(default_factory=list)
    taken: int = 0
    """Items that are read, or being read: they are taken in order."""

    @property
    def left(self) -> int:
        """Tokens that are yet to be taken."""
        return sum(self.costs[self.taken :])


class Batcher:
    """A queue in front of one thread.

    tokens  of a batch, about
    wait    seconds that an idle service waits for a second request, where its last batch was shared
    most    tokens that may wait
    told    is told of each batch: its items, and the requests that they are of

    Nothing here knows what is computed.
    """

    def __init__(
        self, *, tokens: int, wait: float, most: int, told: Callable[[int, int, float], None] = lambda *_: None
    ) -> None:
        self.tokens, self.wait, self.most, self.told = tokens, wait, most, told
        self.queued = 0
        """Tokens that wait."""
        self._rate = 0.0
        """Tokens a second, of late."""
        self._promised = 0.0
        """The time until when those that were refused have been told to come."""
        self._shared = False
        """Whether the last batch was of several requests."""
        self._queue: deque[Waiting] = deque()
        self._more = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "sijo-compute")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to compute; to be called in the loop that `ask` is called in."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Let go of the thread; what still waits is refused."""
        if self._task is not None:
            self._task.cancel()
        for waiting in self._queue:
            if not waiting.answered.done():
                waiting.answered.set_exception(Refusal(503, "the service is closing"))
        self._queue.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def check_room(self, cost: int) -> None:
        """Raise Refusal where so many tokens more than wait already are too many."""
        if self.queued and self.queued + cost > self.most:
            raise Refusal(
                429,
                f"about {self.queued:,} tokens wait already, and at most {self.most:,} may; ask again later",
                after=self._turn(cost),
            )

    def _turn(self, cost: int) -> float:
        """In how many seconds there is room for who is refused: behind all that wait or were refused before."""
        now, rate = perf_counter(), self._rate or float(self.queued)
        begins = max(self._promised, now + self.queued / rate)
        self._promised = min(begins + cost / rate, now + LONGEST_TURN)
        return max(self._promised - now, 1.0)

    async def ask(
        self, key: Hashable, work: Work, items: Sequence[Any], costs: Sequence[int], *, seconds: float
    ) -> list[Any]:
        """The answers for items, in order.

        key      items of requests with equal keys are given to `work` together
        costs    about how many tokens each is
        seconds  after which the request is let go

        Raises Refusal where more waits than may, and where the answer takes too long; and what `work` raises for
        these items alone.
        """
        if not items:
            return []
        cost = sum(costs)
        self.check_room(cost)
        answered = asyncio.get_running_loop().create_future()
        waiting = Waiting(key, work, items, costs, answered)
        self._queue.append(waiting)
        self.queued += cost
        self._more.set()
        try:
            return await asyncio.wait_for(answered, seconds)
        except TimeoutError:
            raise Refusal(
                503, f"no answer within {seconds:g} seconds; ask for less, or later", kind="overloaded", after=1.0
            ) from None
        finally:  # answered, refused, or the client has gone
            self._let_go(waiting)

    def _let_go(self, waiting: Waiting) -> None:
        if waiting in self._queue:
            self._queue.remove(waiting)
            self.queued -= waiting.left
            waiting.taken = len(waiting.items)

    def _give(self, waiting: Waiting, part: list[Any] | Exception) -> None:
        """Hand a request what was computed for it, once it is whole."""
        if waiting.answered.done():
            return
        if isinstance(part, Exception):
            waiting.answered.set_exception(part)
            self._let_go(waiting)
            return
        waiting.answers += part
        if len(waiting.answers) == len(waiting.items):
            waiting.answered.set_result(waiting.answers)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._more.wait()
            if self.wait and self._shared and self.queued < self.tokens:
                await asyncio.sleep(self.wait)
            freed = perf_counter()
            while batch := self._next():
                begun = perf_counter()
                parts = await loop.run_in_executor(self._thread, _computed, batch)
                ended = perf_counter()
                self._shared = len(batch) > 1
                tokens = sum(waiting.costs[place] for waiting, places in batch for place in places)
                self._rate = 0.8 * self._rate + 0.2 * tokens / max(ended - freed, 1e-6)
                freed = ended
                self.told(sum(len(places) for _, places in batch), len(batch), ended - begun)
                for (waiting, _), part in zip(batch, parts, strict=True):
                    self._give(waiting, part)
            self._more.clear()

    def _next(self) -> list[tuple[Waiting, range]]:
        """The requests that are read next, each with the places of the items of it that are."""
        if not self._queue:
            return []
        first = self._queue[0]
        alike = [waiting for waiting in self._queue if waiting.key == first.key]
        begins = [waiting.taken for waiting in alike]
        room, turn = self.tokens, deque(alike)
        while turn:
            waiting = turn.popleft()
            cost = waiting.costs[waiting.taken]
            if room < cost and room < self.tokens:
                break
            room -= cost
            self.queued -= cost
            waiting.taken += 1
            if waiting.taken < len(waiting.items):
                turn.append(waiting)
        batch = [
            (waiting, range(begin, waiting.taken))
            for waiting, begin in zip(alike, begins, strict=True)
            if waiting.taken > begin
        ]
        for waiting, _ in batch:
            self._queue.remove(waiting)
            if waiting.taken < len(waiting.items):
                self._queue.append(waiting)  # behind those that have not had a turn
        return batch


def _computed(batch: Sequence[tuple[Waiting, range]]) -> list[list[Any] | Exception]:
    """The answers of each request's items; or, where it is to blame, what went wrong."""
    items = [waiting.items[place] for waiting, places in batch for place in places]
    try:
        answers = list(batch[0][0].work(items))
        if len(answers) != len(items):
            raise RuntimeError(f"{len(answers)} answers for {len(items)} items")
    except BaseException as failure:  # a panic in a library is none of Exception, and must not end the thread
        error = failure if isinstance(failure, Exception) else RuntimeError(type(failure).__name__)
        if len(batch) == 1:
            return [error]
        return [_computed([one])[0] for one in batch]
    parts: list[list[Any] | Exception] = []
    for _, places in batch:
        parts.append(answers[: len(places)])
        answers = answers[len(places) :]
    return parts
