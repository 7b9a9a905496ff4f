"""Workers on a Ray cluster, in which they come and go: every item is answered once, and nothing is left behind.

Slow for what it does: a cluster takes some seconds to start, and all tests here share one. Where Ray is not
installed only its refusal is tried. What a worker does is written as text, since it imports nothing of the tests.
"""

import os
import signal
from functools import partial
from importlib.util import find_spec

import pytest

from sijo.errors import SettingError, SijoError, SijoWarning
from sijo.inference import ray_workers
from sijo.inference.ray_workers import RayPool, check_ray

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'sijo[ray]'")
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(autouse=True)
def no_other_cluster(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def pool(program, workers=2):
    return RayPool(partial(eval, program), workers)


def numbered(items):
    """A `take` for so many items, whichever worker asks."""
    rest = iter(enumerate(items))
    return lambda worker: next(rest, None)


def test_without_ray_one_sentence_says_what_to_install(monkeypatch, refused, write):
    # kills: a traceback, or a model opened for nothing, where the extra is missing
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = "this needs ray, which is not installed: pip install 'sijo[ray]'"
    refused(2, words, "classify", write("in.txt", "sea\n"), "--labels", "a,b", "--engine", "ray")


@pytest.mark.parametrize(
    "words, arguments",
    [
        ("is no number of workers", (0, 1, None)),
        ("more than the 2 processors", (2, 2, None)),
        ("ray job submit", (1, 1, "ray://head:10001")),
    ],
)
def test_workers_that_cannot_be_are_refused_at_once(words, arguments, monkeypatch):
    # kills: a local cluster of more threads than cores; a client whose workers nobody can follow
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(ray_workers, "allowed_threads", lambda: 2)
    with pytest.raises(SettingError, match=words):
        check_ray(*arguments)
    check_ray(64, 8, "head:6379")  # of a cluster that is running nothing is known here


@needs_ray
def test_answers_come_in_order_with_their_warnings(cluster):
    # kills: answers in the order in which they are ready, an error before the answers ahead of it, a lost warning
    program = (
        "lambda item: (__import__('time').sleep(0.02 * (item % 3 == 0)), 1 / (item - 9), "
        "__import__('sijo.errors').errors.warn('the sea') if item == 4 else None, __import__('os').getpid())[3]"
    )
    with pool(program) as both, pytest.warns(SijoWarning, match="the sea"):
        answers, got = both.each(range(12)), []
        with pytest.raises(ZeroDivisionError) as told:
            for item, pid in answers:
                got.append((item, pid))
        assert "lambda" in told.value.__notes__[0] or "<string>" in told.value.__notes__[0]
    assert [item for item, _ in got] == list(range(9)) and os.getpid() not in {pid for _, pid in got}


@needs_ray
def test_a_killed_worker_loses_and_doubles_nothing(cluster):
    # kills: an item that is gone with its worker, one that is answered twice, a pool that ends or shrinks
    program = "lambda item: (__import__('time').sleep(0.02), __import__('os').getpid(), item)"
    with pool(program) as both:
        got, killed = [], set()
        for number, item, reply in both.replies(numbered(range(40)), ahead=2):
            _, pid, answered = reply.given()
            assert number == item == answered
            got.append(item)
            if len(got) in (5, 12) and len(killed) < 2:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
    assert sorted(got) == list(range(40)) and len(killed) == 2


@needs_ray
def test_an_item_that_ends_workers_is_given_up_and_the_others_go_on(cluster, monkeypatch):
    # kills: a job that starts workers for ever over one row that no memory holds; others that are lost with it
    monkeypatch.setattr(ray_workers, "ATTEMPTS", 2)
    program = "lambda item: __import__('os').kill(__import__('os').getpid(), 9) if item == 2 else item"
    with pool(program, workers=1) as one:
        replies = {item: reply for _, item, reply in one.replies(numbered(range(5)))}
    assert {item: reply.given() for item, reply in replies.items() if item != 2} == {n: n for n in (0, 1, 3, 4)}
    with pytest.raises(SijoError, match="2 workers ended over the same rows"):
        replies[2].given()


@needs_ray
def test_a_worker_of_another_version_is_refused(cluster, monkeypatch):
    # kills: answers of another sijo, or of another onnxruntime's kernels, in the same output
    monkeypatch.setattr(ray_workers, "versions", lambda: {"sijo": "9.9"})
    with (
        pool("lambda item: item", workers=1) as one,
        pytest.raises(SettingError, match=r"not 9\.9 as this command"),
    ):
        list(one.each([1]))
