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


def told(clock, capsys, *steps, total=None):
    """The lines of a log of those steps, ten seconds after one another, each a name and its arguments."""
    with RowProgress() as shown:
        shown.total = total
        for name, *arguments in steps:
            clock.at += 10.0
            getattr(shown, name)(*arguments)
    return capsys.readouterr().err.splitlines()


def test_what_is_read_before_any_block(clock, capsys):
    # kills: minutes without a word while a calibration, or a file that is fitted to, is read
    lines = told(clock, capsys, ("within", 1, 4), ("within", 3, 4, "texts"))
    assert lines == ["the first rows: 25%", "texts: 75%"]


def test_rows_within_each_block_count(clock, capsys):
    # kills: minutes without a word in any block; a speed of 0; the share of a block for that of the file; labels,
    # read before texts, for rows; time left that jumps from block to block
    lines = told(
        clock,
        capsys,
        ("work", 100, 0.5),
        ("within", 2, 2),  # labels
        ("within", 49, 98),
        ("add", 100, 0.5),
        ("work", 100, 1.0),
        ("within", 30, 60),  # equal texts are read once
        ("add", 100, 1.0),
    )
    assert lines == [
        "2 rows, 0.1 rows/s, 33:00 left",
        "51 rows, 2 rows/s, 1:28 left",
        "100 rows, 2 rows/s, 0:40 left",
        "130 rows, 2 rows/s, 0:32 left",
    ]


def test_rows_of_all_that_there_are(clock, capsys):
    # kills: rows that were kept by an earlier run forgotten, or counted into the speed; a last line beside the
    # summary; "1 rows"
    steps = [
        ("keep", 2048, 0.1),
        ("work", 2048, 0.5),
        ("within", 512, 2048),
        ("add", 2048, 0.5),
        ("work", 904, 1.0),
    ]
    lines = told(clock, capsys, *steps, ("add", 904, 1.0), total=5000)
    assert lines == [
        "2,560 of 5,000 rows, 17 rows/s, 2:23 left",
        "4,096 of 5,000 rows, 51 rows/s, 0:18 left",
        "4,096 of 5,000 rows, 51 rows/s, 0:18 left",
    ]
    assert told(clock, capsys, ("work", 1, 1.0), ("within", 1, 1), ("add", 1, 1.0), total=1) == [
        "1 of 1 row, 0.05 rows/s"
    ]
    assert told(clock, capsys, ("work", 16, None), ("add", 16, None)) == []


@pytest.mark.parametrize("command", ["classify", "encode", "predict"])
def test_each_command_tells_of_its_first_block(sijo_cli, tiny_model, tuned, write, monkeypatch, command):
    # kills: a command whose engine tells nobody how far it is, or of which rows, of how many
    more = {"classify": ("--labels", "sea,land"), "predict": ("--column", "text")}.get(command, ())
    told = []
    monkeypatch.setattr(RowProgress, "within", lambda shown, *read: told.append((*read, shown.total, shown._block)))
    model = tuned("classification") if command == "predict" else tiny_model
    assert sijo_cli(command, write("in.txt", "sea\nthe land\n"), *more, "--model", model).code == 0
    assert told[-1] == (2, 2, 2, 2)


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
