"""What is told of long work on standard error. Each test names the fault it is to catch."""

import io
from types import SimpleNamespace

import pytest

from sijo.app import progress
from sijo.app.progress import RowProgress, RunProgress
from sijo.training.cost import Speed


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets: `clock.at = seconds`."""
    clock = SimpleNamespace(at=0.0)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock.at)
    return clock


def step(number, of):
    losses = {"mlm": 6.9123, "rtd": 0.25}
    return SimpleNamespace(number=number, steps=of, share=number / of, losses=losses, speed=SPEED)


SPEED = Speed(tokens_per_second=5120.4, matmul_share=0.413)


def test_a_run_in_a_log(clock, capsys):
    # kills: a line for each step, a part of the loss left out, a share for per cent, time left that counts the hour
    # of preparing a corpus, or the steps of before a run was resumed
    with RunProgress() as shown:
        clock.at = 3600.0
        shown.add(step(1001, 2000))
        for number in range(1002, 1005):
            clock.at += 1.0
            shown.add(step(number, 2000))
        clock.at = 3619.0
        shown.add(step(1020, 2000))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "step 1,001/2,000 (50%), mlm 6.91 rtd 0.25, 5,120 tokens/s, 41% of peak",
        "step 1,020/2,000 (51%), mlm 6.91 rtd 0.25, 5,120 tokens/s, 41% of peak, 16:20 left",
    ]


def test_rows_in_a_log(clock, capsys):
    # kills: rows of now for rows so far, time left that counts what was there before, no line in the first seconds
    with RowProgress() as shown:
        shown.skip(0.5)
        clock.at = 4.0
        shown.add(100, 0.55)
        clock.at = 20.0
        shown.add(300, 0.6)
    first, second = capsys.readouterr().err.splitlines()
    assert (first, second) == ("100 rows, 25 rows/s, 0:36 left", "400 rows, 20 rows/s, 1:20 left")
    assert shown.seconds == 20.0


@pytest.mark.parametrize("shown", [False, True])
def test_words_beside_it(clock, capsys, shown):
    # kills: a --quiet run that speaks
    with RunProgress(shown=shown) as run:
        run.say("preparing [the corpus]")
        clock.at = 60.0
        run.add(step(1, 10))
    lines = capsys.readouterr().err.splitlines()
    assert (lines[:1] == ["preparing [the corpus]"]) == shown and len(lines) == 2 * shown


def test_a_bar_at_a_terminal(clock, monkeypatch):
    # kills: lines that scroll at a terminal, words in brackets taken for colours, a bar that stays behind,
    # time left that is not told, or counts the steps before a run was resumed
    monkeypatch.setattr("sys.stderr", err := io.StringIO())
    monkeypatch.setattr(err, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with RunProgress() as run:
        run.say("preparing [the corpus]")
        clock.at = 60.0
        run.add(step(4, 8))
        clock.at = 120.0
        run.add(step(5, 8))
        run._live.refresh()
    output = err.getvalue()
    assert "preparing [the corpus]" in output and "step 5/8 (62%), mlm 6.91 rtd 0.25" in output and "━" in output
    assert "03:00" in output
    assert output.endswith("\x1b[1A\x1b[2K")  # one line up, and that line cleared
