"""Several processes share the work: in order, with whatever goes wrong told, and none of them left behind.

What a process does is written as text, since it imports nothing of the tests.
"""

import json
import os
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from conftest import tiny_weights
from onnx_networks import write_onnx
from sijo.errors import SettingError, SijoError, SijoWarning
from sijo.inference.outputs import NotFiniteError
from sijo.inference.threads import READ_BY_LIBRARIES
from sijo.inference.workers import WorkerPool, check_workers


@pytest.fixture(autouse=True)
def four_threads(monkeypatch):
    """Whatever machine this is."""
    monkeypatch.setenv("OMP_NUM_THREADS", "4")


def pool(program, workers=2):
    return WorkerPool(partial(eval, program), workers)


def gone(pid):
    """Whether a process is no more, or waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_answers_come_in_order_and_items_are_drawn_as_they_are_needed():
    # kills: answers in the order in which they are ready, and a stream that is drawn in whole before the first
    drawn = count()
    items = (next(drawn) for _ in iter(int, 1))  # never ends
    slow = "lambda item: (__import__('time').sleep(0.03 * (item % 3 == 0)), item * item, __import__('os').getpid())"
    with pool(slow) as both:
        answers = both.each(items)
        got = [next(answers) for _ in range(20)]
        assert next(drawn) <= 20 + 4
        processes = [worker.process.pid for worker in both._workers]
    assert [(item, answer[1]) for item, answer in got] == [(n, n * n) for n in range(20)]
    assert {answer[2] for _, answer in got} == {*processes} and len({*processes}) == 2
    assert all(map(gone, processes))


def test_each_has_its_share_of_the_threads():
    # kills: two processes that compute with all threads each, and wait for each other
    environment = "lambda name: __import__('os').environ[name]"
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"]
    with pool(environment) as both:
        assert [answer for _, answer in both.each(names)] == ["2", "2", "2"]
    assert os.environ["OMP_NUM_THREADS"] == "4" and "MKL_NUM_THREADS" not in os.environ


def test_large_items_and_answers():
    # kills: both ends that wait until the other has read
    with pool("lambda item: item * 2") as both:
        assert [len(answer) for _, answer in both.each(["x" * 5_000_000] * 6)] == [10_000_000] * 6


def test_an_error_comes_after_the_answers_before_it():
    # kills: an error that overtakes answers, becomes another on its way, or loses its place among the texts
    program = (
        'lambda item: exec(\'from sijo.inference.outputs import NotFiniteError; raise NotFiniteError("it is", 7, '
        '"row")\') if item == 3 else item'
    )
    with pool(program) as both:
        got = []
        with pytest.raises(NotFiniteError, match="row 8: it is") as caught:
            for item, _ in both.each(range(9)):
                got.append(item)
    assert got == [0, 1, 2] and caught.value.after(10).place == 17
    assert "in <lambda>" in caught.value.__notes__[0]  # the story, for --debug


def test_a_model_that_cannot_be_opened_is_told():
    # kills: a process that goes in silence before its first answer
    opens = partial(exec, "raise __import__('sijo').errors.SettingError('no such model')")
    with WorkerPool(opens, 2) as both, pytest.raises(SettingError, match="no such model"):
        list(both.each([1, 2]))


def test_a_process_that_is_killed_ends_the_work():
    # kills: waiting for ever for an answer that nobody gives, and answers before it that are lost
    program = "lambda item: (item != 4 or __import__('os').kill(__import__('os').getpid(), 9)) and item"
    with pool(program) as both:
        processes, got = [worker.process.pid for worker in both._workers], []
        with pytest.raises(SijoError, match=r"worker process [12] of 2 was ended by SIGKILL.*fewer --workers"):
            for item, _ in both.each(range(9)):
                got.append(item)
    assert got == list(range(len(got))) and len(got) <= 4
    assert all(map(gone, processes))


@pytest.mark.filterwarnings("error")
def test_warnings_are_given_by_the_process_that_asks():
    # kills: a warning that ends in another process's standard error, where --strict does not see it
    program = "lambda item: exec('from sijo.errors import warn; warn(\"odd\")') if item == 1 else item"
    with pool(program) as both:
        answers = both.each(range(3))
        assert next(answers) == (0, 0)
        with pytest.raises(SijoWarning, match="odd"):
            next(answers)


def test_numbers_that_cannot_be():
    # kills: more processes than threads, which only wait for each other
    for workers, words in ((0, "no number of processes"), (-1, "no number"), (5, "more than the 4 threads")):
        with pytest.raises(SettingError, match=words):
            check_workers(workers)


def children(pid):
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are counted by Linux's /proc")
def test_no_process_is_left_behind_when_its_parent_is_killed(start, until, tiny_model, tmp_path):
    # kills: orphans that go on computing, and an output that differs by the number of processes
    rows = tmp_path / "in.txt"
    rows.write_text("".join(f"the sea {'sun ' * (number % 9)}\n" for number in range(9_000)))
    command = ["encode", rows, "--model", tiny_model, "--resume"]
    environment = {"OMP_NUM_THREADS": "1"}
    assert start(*command, "-o", tmp_path / "one.npy", **environment).wait().code == 0
    environment = {"OMP_NUM_THREADS": "2"}
    running = start(*command, "-o", tmp_path / "two.npy", "--workers", "2", **environment)
    run = tmp_path / ".two.npy.sijo-run"
    until(lambda: list(run.glob("chunk-????????")), seconds=600)
    workers = children(running.pid)
    assert len(workers) >= 2
    os.kill(running.pid, 9)
    assert running.wait().code == -9
    until(lambda: all(map(gone, workers)))

    running = start(*command, "-o", tmp_path / "two.npy", "--workers", "2", **environment)
    until(lambda: len(list(run.glob("chunk-????????"))) > 1 or (tmp_path / "two.npy").exists(), seconds=600)
    workers = children(running.pid)
    os.kill(running.pid, 2)
    ran = running.wait()
    if ran.code != 0:  # it may have been done by then
        assert ran.code == 130 and "Traceback" not in ran.err and "rows are done and kept" in ran.err, ran.err
    until(lambda: all(map(gone, workers)))
    assert start(*command, "-o", tmp_path / "two.npy", "--workers", "2", **environment).wait().code == 0
    assert (tmp_path / "two.npy").read_bytes() == (tmp_path / "one.npy").read_bytes()


def test_what_is_measured_is_the_same_for_any_number_of_processes(tiny_copy, sijo_cli, tmp_path, monkeypatch):
    # kills: blocks measured out of order, labels of the file that a process does not know, cuts not counted
    for name in READ_BY_LIBRARIES:
        monkeypatch.setenv(name, "1")  # so that what a command sets is undone
    write_onnx(tiny_copy, tiny_weights())
    rows = tmp_path / "rows.csv"
    texts = (f"the sea {'sun ' * (number % 50)},{'sea' if number % 3 else 'land'}\n" for number in range(5_000))
    rows.write_text("text,label\n" + "".join(texts))
    line = ["evaluate", "--data", rows, "--model", tiny_copy, "--long-text", "truncate", "--resamples", 100]
    runs = [sijo_cli(*line, "--threads", number, "--workers", number) for number in (1, 2)]
    assert [run.code for run in runs] == [0, 0], runs
    one, two = (json.loads(run.out) for run in runs)
    # each process reads the labels' sentences for itself
    assert one["read"] == two["read"] - len(one["labels"]) and one["texts_cut"] > 1_000
    for cost in ("seconds", "rows_per_second", "read"):
        assert one.pop(cost) and two.pop(cost)
    assert one == two
    ran = sijo_cli(*line, "--threads", 1, "--workers", 2)
    ran.must_say(2, "more than the 1 threads", "--threads")


def test_a_worker_that_is_killed_ends_a_run_that_can_be_resumed(start, until, tiny_model, tmp_path):
    # kills: a run that waits for ever, or loses what was done, when the system kills one of its processes
    rows = tmp_path / "in.txt"
    rows.write_text("the sea\n" * 2048 + "the land sun\n" * 2048 * 6)
    command = ["classify", rows, "--labels", "sea,land", "--model", tiny_model, "--resume"]
    assert start(*command, "-o", tmp_path / "one.csv", OMP_NUM_THREADS="1").wait().code == 0
    command += ["-o", tmp_path / "two.csv", "--workers", "2"]
    running = start(*command, OMP_NUM_THREADS="2")
    until(lambda: list((tmp_path / ".two.csv.sijo-run").glob("chunk-????????")), seconds=600)
    for pid in children(running.pid):
        if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, 9)
            break
    ran = running.wait()
    if ran.code != 0:
        assert ran.code == 1 and "SIGKILL" in ran.err and "rows are done and kept" in ran.err, ran.err
    assert start(*command, OMP_NUM_THREADS="2").wait().code == 0
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
