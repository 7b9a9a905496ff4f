"""What is told of long work on standard error. Each test names the fault it is to catch."""

import io
import time
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
def test_what_is_begun_is_told_if_it_takes_long(monkeypatch, capsys, shown):
    # kills: minutes of opening a model without a word; a line for what took no time, or where --quiet was asked for
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.05)
    with RowProgress(shown=shown) as rows:
        rows.begin("opening the model")
        time.sleep(0.2)
        rows.begin("reading")
        rows.add(10, 0.5)
        rows.begin("reading again")
    time.sleep(0.2)
    told = [line for line in capsys.readouterr().err.splitlines() if "rows/s" not in line]
    assert told == (["opening the model"] if shown else [])


def test_time_counts_from_what_was_begun_last(clock, capsys):
    # kills: rows a second, and time left, that count the seconds of opening a model
    with RowProgress() as shown:
        clock.at = 50.0
        shown.begin("reading")
        clock.at = 54.0
        shown.add(100, 0.5)
    assert capsys.readouterr().err.splitlines() == ["100 rows, 25 rows/s, 0:04 left"]
    assert shown.seconds == 4.0


def test_how_much_of_the_first_block_is_read(clock, capsys):
    # kills: minutes without a word until the first block is done; later blocks told by shares of themselves
    with RowProgress() as shown:
        clock.at = 3.0
        shown.within(1, 4)
        clock.at = 14.0
        shown.within(3, 4)
        clock.at = 25.0
        shown.add(100, 0.5)
        clock.at = 40.0
        shown.within(1, 4)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["the first rows: 25%", "the first rows: 75%", "100 rows, 4 rows/s, 0:25 left"]


@pytest.mark.parametrize("command", ["classify", "encode", "predict"])
def test_each_command_tells_of_its_first_block(sijo_cli, tiny_model, tuned, write, monkeypatch, command):
    # kills: a command whose engine tells nobody how far it is
    more = {"classify": ("--labels", "sea,land"), "predict": ("--column", "text")}.get(command, ())
    told = []
    monkeypatch.setattr(RowProgress, "within", lambda shown, done, of: told.append((done, of)))
    model = tuned("classification") if command == "predict" else tiny_model
    assert sijo_cli(command, write("in.txt", "sea\nthe land\n"), *more, "--model", model).code == 0
    assert told[-1] == (2, 2)


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
        run.begin("opening [the model]")
        run._live.refresh()
        assert "opening [the model]" in err.getvalue()
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
