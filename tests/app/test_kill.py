"""The command as a process: killed, interrupted, or left without a reader or room for its output.

`test_job.py` kills the part that writes; here the reader, the model and the command die too.
Each test names the fault it is to catch.
"""

import os
import random
import signal
import time

import pytest

LABELS = ("--labels", "sea,land")
ROWS = 9_000


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Rows enough for five blocks, some of which close by rows and some by characters."""
    path = tmp_path_factory.mktemp("source") / "rows.csv"
    chance = random.Random(3)
    words = ["the", "old", "sea", "rain", "sun", "land", "game", "money", "bread", "네", "😀"]
    with path.open("w", encoding="utf-8") as file:
        file.write("id,text,label\n")
        for number in range(ROWS):
            text = " ".join(chance.choices(words, k=2))
            text += " electroencephalographic" * 400 if number % 300 == 7 else ""
            file.write(f'{number:06},"{text}",gold {number % 3}\n')
    return path


@pytest.mark.parametrize(
    "suffix, calibrate",
    [
        ("csv", ()),
        ("parquet", ()),
        ("csv", ("--calibrate", "refine")),
        ("parquet", ("--calibrate", "refine", "--calibration", "kept.json")),
    ],
)
def test_kill_9_at_any_instant_then_resume(start, until, tiny_model, source, tmp_path, suffix, calibrate):
    # kills: a block taken for done that is not whole, a row lost or doubled at a border, an answer that
    # depends on where a run began, an output that appears before it is whole, a lock that stays; a calibration
    # that is fitted to other rows, or found half written, after a kill
    calibrate = [str(tmp_path / word) if word == "kept.json" else word for word in calibrate]

    def begin(output):
        how = ("--labels", "sea,land,money", "--all-scores", *calibrate)
        return start("classify", source, *how, "--model", tiny_model, "--output", output, "--resume")

    assert begin(tmp_path / f"want.{suffix}").wait().code == 0
    want = (tmp_path / f"want.{suffix}").read_bytes()
    (tmp_path / "kept.json").unlink(missing_ok=True)  # the killed runs fit and write it themselves

    chance, output, codes = random.Random(suffix), tmp_path / f"out.{suffix}", []
    run = tmp_path / f".{output.name}.sijo-run"
    for blocks in range(5):
        process = begin(output)
        # at any instant, but not before it has come further than the one before: slow machines too must end
        until(lambda least=blocks: output.exists() or len(list(run.glob("chunk-????????"))) >= least)
        time.sleep(chance.uniform(0, 0.15))
        os.kill(process.pid, signal.SIGKILL)  # it is not yet waited for, so the number is still its own
        codes.append(process.wait().code)
        assert not output.exists() or output.read_bytes() == want
    ran = begin(output).wait()
    assert ran.code == 0, ran.err
    assert output.read_bytes() == want
    assert codes.count(-signal.SIGKILL) >= 2
    names = [output.name, f"want.{suffix}"]
    names += [f".{name}.sijo-id" for name in names] + ["kept.json"] * ("--calibration" in calibrate)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


@pytest.mark.parametrize(
    "sent, code, word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_in_the_middle_keeps_what_is_done(start, until, tiny_model, tmp_path, sent, code, word):
    # kills: work lost to Ctrl-C, a trace, a run that cannot be resumed from a pipe
    rows = b"the sea\n" * 3000
    pipe, source, output, want = (tmp_path / name for name in ("pipe", "in.txt", "out.csv", "want.csv"))
    os.mkfifo(pipe)
    source.write_bytes(rows)

    def begin(source, output, stdin="/dev/null"):
        return start(
            "classify", source, *LABELS, "--model", tiny_model, "--output", output, "--resume", stdin=stdin
        )

    process = begin("-", output, stdin=pipe)
    with pipe.open("wb") as feeder:
        feeder.write(rows[: 2500 * 8])
        feeder.flush()
        until(lambda: len(list(tmp_path.glob(".out.csv.sijo-run/chunk-????????"))) == 1)
        time.sleep(0.3)  # it has told itself that the block is done, and waits for more text
        os.kill(process.pid, sent)
        ran = process.wait()
    pipe.unlink()
    ran.must_say(code, word)
    assert "2,048 rows are done and kept; this goes on: sijo classify - --labels" in ran.err
    assert ran.err.count("--resume\n") == 1  # once, though it was among the words of this command too
    assert not output.exists()
    assert begin("-", output, stdin=source).wait().code == 0
    assert begin(source, want).wait().code == 0
    assert output.read_bytes() == want.read_bytes()
    names = [".out.csv.sijo-id", ".want.csv.sijo-id", "in.txt", "out.csv", "want.csv"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names


@pytest.mark.parametrize("format", ["jsonl", "csv", "table"])
def test_standard_output_that_is_full(start, tiny_model, tmp_path, format):
    # kills: exit code 0 for rows that nobody got, or Python's own complaint at exit
    source = tmp_path / "in.txt"
    source.write_text("the sea\n" * 10)
    arguments = ("classify", source, *LABELS, "--model", tiny_model, "--format", format)
    start(*arguments, stdout="/dev/full").wait().must_say(74, "No space left on device")


@pytest.mark.parametrize("format", ["jsonl", "table"])
def test_a_reader_that_has_gone(start, tiny_model, tmp_path, format):
    # kills: `sijo classify … | head` that ends in a trace
    pipe, source = tmp_path / "pipe", tmp_path / "in.txt"
    os.mkfifo(pipe)
    source.write_text("the sea\n" * 6000)
    arguments = ("classify", source, *LABELS, "--model", tiny_model, "--format", format, "-q")
    process = start(*arguments, stdout=pipe)
    with pipe.open("rb") as reader:
        assert reader.readline()
    ran = process.wait()
    assert ran.code == 141 and ran.err == ""


def test_debug_tells_the_whole_story(start, tiny_model):
    # kills: a --debug that is taken for an unknown option, or shows no more
    ran = start("classify", "--debug", "--labels", "sea", "--model", tiny_model).wait()
    assert ran.code != 0 and "Traceback" in ran.err and "sijo.errors.TextError" in ran.err
