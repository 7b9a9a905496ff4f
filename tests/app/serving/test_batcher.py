"""The queue: who is read together with whom, who waits, and who is refused. Each test names its fault."""

import asyncio
import threading
import time

import pytest

from sijo.app.serving.batcher import Batcher
from sijo.app.serving.limits import Refusal


class Reader:
    """What is given to the queue as work: keeps what it was given, and may be held."""

    def __init__(self, held=False):
        self.batches, self.go = [], threading.Event()
        if not held:
            self.go.set()

    def __call__(self, items):
        self.batches.append(list(items))
        assert self.go.wait(10)
        if "bad" in items:
            raise ValueError("a bad item")
        return [item.upper() for item in items]


def run(tests, **settings):
    """Run a coroutine function with a queue that has begun."""

    async def inside():
        queue = Batcher(**{"tokens": 4, "wait": 0.0, "most": 100} | settings)
        queue.start()
        try:
            return await tests(queue)
        finally:
            await queue.stop()

    return asyncio.run(inside())


def ask(queue, work, items, key="key", *, cost=1, seconds=5.0):
    return asyncio.ensure_future(queue.ask(key, work, items, [cost] * len(items), seconds=seconds))


async def began(work, batches=1):
    """Wait until so many batches have begun."""
    while len(work.batches) < batches:
        await asyncio.sleep(0.001)


def test_what_waits_is_read_together_and_handed_to_whom_it_belongs():
    # kills: a batch of one request; answers given to the wrong one, or out of order
    async def tests(queue):
        work = Reader(held=True)
        first = ask(queue, work, ["x"])
        await began(work)
        others = [ask(queue, work, [f"a{n}", f"b{n}"]) for n in range(2)]
        await asyncio.sleep(0.01)
        work.go.set()
        assert await first == ["X"]
        assert [await other for other in others] == [["A0", "B0"], ["A1", "B1"]]
        assert sorted(work.batches[1]) == ["a0", "a1", "b0", "b1"]
        assert queue.queued == 0

    run(tests)


def test_other_keys_are_never_mixed():
    # kills: texts of two models, or under two templates, given to one of them
    async def tests(queue):
        one, two = Reader(held=True), Reader()
        asked = [ask(queue, one, ["a"], "one"), ask(queue, two, ["b"], "two"), ask(queue, one, ["c"], "one")]
        await began(one)
        one.go.set()
        assert [await answer for answer in asked] == [["A"], ["B"], ["C"]]
        assert two.batches == [["b"]]

    run(tests)


def test_a_large_request_does_not_stand_before_a_small_one():
    # kills: first come, first served whole: one text waits for a thousand
    async def tests(queue):
        work = Reader(held=True)
        large = ask(queue, work, [f"l{n}" for n in range(40)])
        await began(work)
        small = ask(queue, work, ["s"])
        await asyncio.sleep(0.01)
        work.go.set()
        assert await small == ["S"]
        assert any("s" in batch for batch in work.batches[:3])
        assert await large == [f"L{n}" for n in range(40)]
        assert all(len(batch) <= 4 for batch in work.batches)

    run(tests)


def test_an_item_of_more_than_a_batch_is_read_alone():
    # kills: a long text that never finds room, and waits for ever; or a batch of twice the size
    async def tests(queue):
        work = Reader(held=True)
        first = ask(queue, work, ["x"])
        await began(work)
        long, short = ask(queue, work, ["long"], cost=9), ask(queue, work, ["s"])
        await asyncio.sleep(0.01)
        work.go.set()
        assert [await first, await long, await short] == [["X"], ["LONG"], ["S"]]
        assert ["long"] in work.batches

    run(tests)


def test_a_fault_falls_on_the_request_that_has_it():
    # kills: a batch whose other requests fail for one of them
    async def tests(queue):
        work = Reader(held=True)
        first = ask(queue, work, ["x"])
        await began(work)
        good, bad = ask(queue, work, ["g"]), ask(queue, work, ["bad"])
        await asyncio.sleep(0.01)
        work.go.set()
        assert (await first, await good) == (["X"], ["G"])
        with pytest.raises(ValueError, match="a bad item"):
            await bad
        assert await ask(queue, work, ["after"]) == ["AFTER"]

    run(tests)


def test_a_panic_in_a_library_does_not_end_the_queue():
    # kills: a service that says it is well and answers nobody any more; a request that waits for answers of none
    class Panic(BaseException):
        pass

    async def tests(queue):
        def panics(items):
            raise Panic

        for work, told in ((panics, "Panic"), (lambda items: [], "0 answers for 1 items")):
            with pytest.raises(RuntimeError, match=told):
                await ask(queue, work, ["a"], told)
        assert await ask(queue, Reader(), ["after"]) == ["AFTER"]

    run(tests)


def test_a_fault_in_the_middle_of_a_request_lets_the_rest_of_it_go():
    # kills: the rest of a failed request computed for nobody; a count of what waits that never comes down
    async def tests(queue):
        work = Reader()
        with pytest.raises(ValueError, match="a bad item"):
            await ask(queue, work, ["a", "bad", *"cdefghijkl"])
        await asyncio.sleep(0.02)
        assert len(work.batches) == 1 and queue.queued == 0

    run(tests)


def test_a_full_queue_refuses_at_once():
    # kills: a queue without an end, in which everybody waits until nobody does
    async def tests(queue):
        work = Reader(held=True)
        first = ask(queue, work, ["x"])
        await began(work)
        waiting = ask(queue, work, ["a"], cost=8)
        await asyncio.sleep(0.01)
        begun = time.perf_counter()
        with pytest.raises(Refusal, match="about 8 tokens wait") as refused:
            await ask(queue, work, ["b"], cost=3)
        assert refused.value.status == 429  # and as nobody knows yet how long a token takes, 8 take a second
        assert refused.value.after == pytest.approx(1 + 3 / 8, abs=0.1)
        queue._rate = 0.5
        with pytest.raises(Refusal) as refused:
            await ask(queue, work, ["b"], cost=3)
        assert refused.value.after == pytest.approx((8 + 3) / 0.5, abs=0.1)
        assert time.perf_counter() - begun < 0.5
        work.go.set()
        assert [await first, await waiting] == [["X"], ["A"]]
        assert await ask(queue, work, ["c"], cost=30) == ["C"]  # an empty queue takes what is larger than it

    run(tests, most=10)


def test_who_is_refused_is_told_to_come_in_turn():
    # kills: a crowd that is told to come back at one moment, and is refused again; a turn without an end
    async def tests(queue):
        work = Reader(held=True)
        first = ask(queue, work, ["x"])
        await began(work)
        waiting = ask(queue, work, ["a"], cost=10)
        await asyncio.sleep(0.01)
        turns = []
        for _ in range(100):
            with pytest.raises(Refusal) as refused:
                queue.check_room(5)
            turns.append(refused.value.after)
        # nothing is known of the rate yet, so that what waits takes a second: each after takes half of one more
        assert turns[:4] == pytest.approx([1.5, 2.0, 2.5, 3.0], abs=0.1) and turns[-1] == pytest.approx(30, abs=0.1)
        queue.check_room(0)
        work.go.set()
        await asyncio.gather(first, waiting)
        queue.check_room(50)  # an empty queue takes what is larger than it

    run(tests, most=10)


def test_an_answer_that_takes_too_long_is_refused_and_what_waits_is_let_go():
    # kills: work done for requests that were refused; an endless wait
    async def tests(queue):
        work = Reader(held=True)
        first = ask(queue, work, ["x"])
        await began(work)
        with pytest.raises(Refusal, match=r"no answer within 0\.02 seconds") as refused:
            await ask(queue, work, ["late"], seconds=0.02)
        assert refused.value.status == 503
        work.go.set()
        assert await first == ["X"]
        await asyncio.sleep(0.02)
        assert work.batches == [["x"]] and queue.queued == 0

    run(tests)


def test_a_request_whose_client_has_gone_is_let_go():
    # kills: work for a closed connection
    async def tests(queue):
        work = Reader(held=True)
        first = ask(queue, work, ["x"])
        await began(work)
        gone = ask(queue, work, ["gone"])
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0.01)
        work.go.set()
        await first
        await asyncio.sleep(0.02)
        assert work.batches == [["x"]] and queue.queued == 0

    run(tests)


def test_an_idle_queue_waits_for_a_second_request_where_there_were_two():
    # kills: a crowd whose first is read alone though the second is a millisecond behind
    async def tests(queue):
        work = Reader(held=True)
        crowd = [ask(queue, work, ["x"])]
        await began(work)
        crowd += [ask(queue, work, ["y"]), ask(queue, work, ["z"])]
        await asyncio.sleep(0.005)
        work.go.set()
        await asyncio.gather(*crowd)
        first = ask(queue, work, ["a"])
        await asyncio.sleep(0.005)
        second = ask(queue, work, ["b"])
        assert [await first, await second] == [["A"], ["B"]]
        return work.batches

    assert run(tests) == [["x"], ["y", "z"], ["a"], ["b"]]
    assert run(tests, wait=0.2) == [["x"], ["y", "z"], ["a", "b"]]


def test_who_asks_alone_never_waits():
    # kills: a wait before each answer though nobody else is there
    async def tests(queue):
        work = Reader()
        assert [await ask(queue, work, [item]) for item in "abc"] == [["A"], ["B"], ["C"]]

    run(tests, wait=60.0)


def test_a_stopped_queue_refuses_what_waits():
    # kills: requests that hang when the service ends
    async def tests():
        queue, work = Batcher(tokens=4, wait=0.0, most=100), Reader(held=True)
        queue.start()
        first = ask(queue, work, ["x"])
        await began(work)
        second = ask(queue, work, ["y"])
        await asyncio.sleep(0.01)
        await queue.stop()
        with pytest.raises(Refusal, match="closing") as refused:
            await second
        assert refused.value.status == 503
        work.go.set()
        first.cancel()

    asyncio.run(tests())
