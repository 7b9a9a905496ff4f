"""A run survives whatever ends it. Each test names the fault it is to catch."""

import errno
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pyarrow as pa
import pytest

from failing import Killed, failing, full_disk
from sijo.errors import SettingError, TextError
from sijo.files.output_job import OutputJob
from sijo.files.tables import RowBlock

SETTINGS = {"labels": ["sea", "land"], "threshold": 0.5}
BLOCKS = 4


def block(number, *, rows=3, mark=""):
    texts = [f"{mark}text {number * rows + place}, 네" for place in range(rows)]
    columns = pa.table({"text": texts, "id": [f"{place:03}" for place in range(rows)]})
    return RowBlock(number, number * rows, texts, columns, "csv")


def answers(block):
    return pa.table({"label": [text[-4:] for text in block.texts], "score": [1 / 3] * len(block.texts)})


def run(output, *, resume=False, overwrite=False, blocks=BLOCKS, settings=SETTINGS, make=block):
    """A whole run; returns which blocks it had to do."""
    did = []
    with OutputJob(output, settings=settings, resume=resume, overwrite=overwrite) as job:
        if job.finished:
            job.confirm(map(make, range(blocks)))
            return did
        for each in map(make, range(blocks)):
            if not job.done(each):
                job.write(each, answers(each))
                did.append(each.number)
        job.finish(blocks)
    return did


def left(folder, *outputs):
    """Whether nothing is in a folder but whole outputs and what says what they were made of."""
    identities = [folder / f".{output.name}.sijo-id" for output in outputs]
    return sorted(folder.iterdir()) == sorted([*outputs, *identities])


def begin(output, *, blocks=2, **flags):
    """A run that stops after some blocks."""
    with OutputJob(output, settings=SETTINGS, **({"resume": False, "overwrite": False} | flags)) as job:
        for each in map(block, range(blocks)):
            job.write(each, answers(each))
    return job.folder


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """A disk that answers at once; whether it is asked, and when, has a test of its own."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(params=["csv", "jsonl", "parquet"])
def format(request):
    return request.param


@pytest.fixture
def undisturbed(tmp_path, format):
    """What an undisturbed run writes."""
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    output = folder / f"out.{format}"
    assert run(output) == list(range(BLOCKS))
    assert left(folder, output)  # kills: litter
    return output.read_bytes()


@pytest.mark.parametrize("overwrite", [False, True])
def test_death_at_any_instant_loses_nothing(tmp_path, format, undisturbed, overwrite):
    # kills: the folder removed before the rename; chunks trusted before they are whole; an output
    # that its own run takes for a stranger's; litter left; an old output touched too early
    at, alive = 0, False
    while not alive:
        at += 1
        folder = tmp_path / str(at)
        folder.mkdir()
        output = folder / f"out.{format}"
        if overwrite:
            output.write_bytes(b"old")
        try:
            with failing(at, Killed(), ["replace", "fsync", "unlink", "rmdir", "mkdir"], for_ever=True):
                run(output, overwrite=overwrite)
            alive = True
        except Killed:
            content = output.read_bytes() if output.exists() else None
            assert content in (b"old" if overwrite else None, undisturbed)
            begun = (folder / f".out.{format}.sijo-run" / "settings.json").exists()
            run(output, resume=begun or not overwrite, overwrite=overwrite and not begun)
        assert output.read_bytes() == undisturbed
        assert left(folder, output)
    assert at > 4 * BLOCKS


def test_a_full_disk_at_any_sync_keeps_finished_blocks(tmp_path, format, undisturbed):
    # kills: a chunk trusted though it never reached the disk; another error in place of OSError
    at, whole = 0, False
    while not whole:
        at += 1
        folder = tmp_path / str(at)
        folder.mkdir()
        output = folder / f"out.{format}"
        try:
            with failing(at, OSError(errno.ENOSPC, "full"), ["fsync", "replace"], for_ever=False):
                run(output)
            whole = True
        except OSError as error:
            assert error.errno == errno.ENOSPC
            if output.exists():  # only the very last sync may fail with the output in its place
                assert output.read_bytes() == undisturbed
            assert not list(folder.rglob("*.tmp-*"))
            kept = len(list(folder.rglob("chunk-*")))
            assert run(output, resume=True) == list(range(kept, BLOCKS)) or output.exists()
        assert output.read_bytes() == undisturbed
        assert left(folder, output)
    assert at > 2 * BLOCKS


def test_a_full_disk_at_any_write_keeps_finished_blocks(tmp_path, format, undisturbed):
    # kills: half a chunk left under its final name; an output that lacks its end
    at, whole = 0, False
    while not whole:
        at += 1
        folder = tmp_path / str(at)
        folder.mkdir()
        output = folder / f"out.{format}"
        try:
            with full_disk(at):
                run(output)
            whole = True
        except OSError as error:
            assert error.errno == errno.ENOSPC
            assert not output.exists() and not list(folder.rglob("*.tmp-*"))
            kept = len(list(folder.rglob("chunk-*")))
            assert run(output, resume=True) == list(range(kept, BLOCKS))
        assert output.read_bytes() == undisturbed
        assert left(folder, output)
    assert at > BLOCKS + 2


def test_a_disk_that_is_truly_full(tmp_path, small_disk):
    # kills: what only a real file system does, such as failing at close
    disk = small_disk("256k")

    def large(number):
        return block(number, rows=700)

    with pytest.raises(OSError) as caught:
        run(disk / "out.csv", blocks=12, make=large)
    assert caught.value.errno == errno.ENOSPC
    kept = len(list(disk.rglob("chunk-*")))
    assert 0 < kept < 12 and not (disk / "out.csv").exists()
    small_disk("8m")
    assert run(disk / "out.csv", resume=True, blocks=12, make=large) == list(range(kept, 12))
    run(tmp_path / "out.csv", blocks=12, make=large)
    assert (disk / "out.csv").read_bytes() == (tmp_path / "out.csv").read_bytes()


NURSERY = """
import os, sys, time
import pyarrow as pa, pyarrow.compute
from sijo.files.output_job import OutputJob
from sijo.files.tables import RowBlock

os.fsync = lambda handle: None               # only a power failure asks for it

def say(line):                               # by one call: unbuffered, print makes two, and a kill may fall between
    os.write(1, f"{line}\\n".encode())

def work(output):
    with OutputJob(output, settings={}, resume=True, overwrite=False) as job:
        texts = [[f"text {number}"] for number in range(60)]
        blocks = [RowBlock(n, n, text, pa.table({"text": text}), "csv") for n, text in enumerate(texts)]
        if job.finished:
            return job.confirm(blocks)
        for block in blocks:
            if not job.done(block):
                time.sleep(0.002)
                job.write(block, pa.table({"score": [block.number / 7]}))
                say("wrote")
        job.finish(60)

for output in map(str.strip, sys.stdin):    # a fork is 100 times faster than to import pyarrow again
    child = os.fork()
    if child == 0:
        say(os.getpid())
        work(output)
        os._exit(0)
    os.waitpid(child, 0)
    say("gone")
"""


def test_kill_9_again_and_again(tmp_path):
    # kills: anything that only an orderly exit sets right, such as the lock or a file not yet flushed
    chance, kills = random.Random(7), 0
    command = [sys.executable, "-c", NURSERY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nursery:

        def killed(output, after):
            """Kill a child a little while after so many blocks; False when it ended before."""
            print(output, file=nursery.stdin, flush=True)
            lines = iter(nursery.stdout.readline, "gone\n")
            child = int(next(lines))
            if any(next(lines, None) is None for _ in range(after)):
                return False
            time.sleep(chance.uniform(0, 0.01))
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            for _ in lines:
                pass  # up to "gone"
            return True

        assert not killed(tmp_path / "want.csv", after=99)
        want = (tmp_path / "want.csv").read_bytes()
        output = tmp_path / "out.csv"
        while killed(output, after=chance.randint(0, 3)):
            kills += 1
            assert not output.exists() or output.read_bytes() == want
        nursery.stdin.close()
    assert kills >= 8
    assert output.read_bytes() == want
    assert left(tmp_path, output, tmp_path / "want.csv")


def test_content_reaches_the_disk_before_its_name(tmp_path, monkeypatch):
    # kills: a rename before its fsync, after which a power failure leaves a whole name on half a file
    events = []

    def sync(handle):
        events.append(("sync", os.fstat(handle).st_ino))

    def replace(old, new, real=os.replace):
        assert old != new and (old.name in ("whole", "identity-beside") or ".tmp-" in old.name)
        events.append(("name", pathlib.Path(old).stat().st_ino))
        real(old, new)
        events.append(("folder", pathlib.Path(new).parent.stat().st_ino))

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    run(tmp_path / "out.csv")
    names = [place for place, (what, _) in enumerate(events) if what == "name"]
    assert len(names) == BLOCKS + 6  # the settings, the blocks, the whole, the output, and its identity thrice
    for place in names:
        assert ("sync", events[place][1]) in events[:place]
        assert events[place + 2] == ("sync", events[place + 1][1])


def test_a_resumed_run_does_only_what_is_left(tmp_path):
    # kills: everything classified again
    begin(tmp_path / "out.csv", blocks=3)
    assert run(tmp_path / "out.csv", resume=True) == [3]


@pytest.mark.parametrize("damage", [lambda raw: raw[:-9], lambda raw: raw[:200] + b"?" + raw[201:], lambda _: b""])
def test_a_damaged_chunk_is_not_there(tmp_path, damage):
    # kills: a file cut by a power failure taken for whole, or a crash over it
    run(tmp_path / "want.csv")
    chunk = begin(tmp_path / "out.csv") / "chunk-00000001"
    chunk.write_bytes(damage(chunk.read_bytes()))
    assert run(tmp_path / "out.csv", resume=True) == [1, 2, 3]
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "want.csv").read_bytes()


def test_a_missing_block_does_not_finish(tmp_path):
    # kills: an output with a hole in it
    with OutputJob(tmp_path / "out.csv", settings={}, resume=False, overwrite=False) as job:
        job.write(block(0), answers(block(0)))
        job.write(block(2), answers(block(2)))
        with pytest.raises(SettingError, match="block 1 "):
            job.finish(3)
    assert not (tmp_path / "out.csv").exists()


def test_changed_input_is_noticed(tmp_path):
    # kills: answers joined to other rows; a digest of the texts alone
    begin(tmp_path / "out.csv")

    def other(number):
        whole = block(number)
        ids = pa.array(["000", "001", "changed"])
        return RowBlock(number, whole.first_row, whole.texts, whole.columns.set_column(1, "id", ids), "csv")

    for make in (other, lambda number: block(number, mark="new ")):
        with pytest.raises(TextError, match=r"rows 1 to 3 .*--overwrite"):
            run(tmp_path / "out.csv", resume=True, make=make)
    with pytest.raises(TextError, match="shorter"):
        run(tmp_path / "out.csv", resume=True, blocks=1)
    assert run(tmp_path / "out.csv", resume=True) == [2, 3]  # kills: a refusal that spoils the run


def test_the_same_input_read_again_is_the_same(tmp_path):
    # kills: a digest over Arrow's own bytes, which depend on how a table was cut into chunks
    begin(tmp_path / "out.csv")

    def cut(number):
        whole = block(number)
        columns = pa.concat_tables([whole.columns.slice(0, 1), whole.columns.slice(1)])
        return RowBlock(number, whole.first_row, whole.texts, columns, "csv")

    assert run(tmp_path / "out.csv", resume=True, make=cut) == [2, 3]


def test_other_settings_are_refused(tmp_path):
    # kills: half the rows answered by another model
    begin(tmp_path / "out.csv")
    for settings, told in [
        (SETTINGS | {"threshold": 0.6}, "threshold: 0.5, and now it is 0.6"),
        (SETTINGS | {"new": 1}, "new: not given, and now it is 1"),
        ({"threshold": 0.5}, "labels: "),
    ]:
        with pytest.raises(SettingError, match=told):
            run(tmp_path / "out.csv", resume=True, settings=settings)
    run(tmp_path / "out.csv", resume=True, settings={"labels": ("sea", "land"), "threshold": 0.5})


def test_an_unfinished_run_is_not_started_over_unasked(tmp_path):
    # kills: hours of work thrown away by a forgotten --resume
    begin(tmp_path / "out.csv")
    with pytest.raises(SettingError, match="--resume"):
        run(tmp_path / "out.csv")
    assert run(tmp_path / "out.csv", overwrite=True) == [0, 1, 2, 3]


def test_resume_and_overwrite_exclude_each_other(tmp_path):
    # kills: one of the two taken at a guess, and work kept or lost by it
    with pytest.raises(SettingError, match="one of them"):
        run(tmp_path / "out.csv", resume=True, overwrite=True)


def test_two_at_once_are_refused(tmp_path):
    # kills: two processes that write each other's chunks
    with OutputJob(tmp_path / "out.csv", settings=SETTINGS, resume=False, overwrite=False):
        for flags in ({"resume": True}, {"overwrite": True}, {}):
            with pytest.raises(SettingError, match="another process"):
                run(tmp_path / "out.csv", **flags)
    run(tmp_path / "out.csv")


def test_an_output_is_replaced_only_when_asked_and_only_at_the_end(tmp_path):
    # kills: the old output lost to a run that fails
    output = tmp_path / "out.csv"
    output.write_text("old")
    with pytest.raises(SettingError, match="--overwrite"):
        run(output)
    assert list(tmp_path.iterdir()) == [output]
    begin(output, overwrite=True)
    assert output.read_text() == "old"
    assert run(output, resume=True) == [2, 3]  # the permission outlives the process
    assert output.read_text() != "old"


@pytest.mark.parametrize("during", [True, False])
def test_an_output_made_by_someone_else_is_left_alone(tmp_path, during):
    # kills: a check at the start alone
    output = tmp_path / "out.csv"
    folder = begin(output)
    if during:
        with OutputJob(output, settings=SETTINGS, resume=True, overwrite=False) as job:
            output.write_text("theirs")
            with pytest.raises(SettingError, match="someone else"):
                job.finish(2)
    output.write_text("theirs")
    with pytest.raises(SettingError, match="someone else"):
        run(output, resume=True)
    assert output.read_text() == "theirs" and len(list(folder.glob("chunk-*"))) == 2


def test_a_finished_run_is_complete(tmp_path):
    # kills: a script with --resume that classifies everything once more
    run(tmp_path / "out.csv")
    with OutputJob(tmp_path / "out.csv", settings=SETTINGS, resume=True, overwrite=False) as job:
        assert job.finished
    assert run(tmp_path / "out.csv", resume=True) == []
    assert left(tmp_path, tmp_path / "out.csv")


def changed(settings, **others):
    return {name: others.get(name, value) for name, value in settings.items()}


STRANGE = {
    "garbage": (lambda output: output.write_bytes(b"garbage"), r"has been changed since it was made"),
    "cut short": (lambda output: os.truncate(output, 9), r"has been changed since it was made"),
    "longer": (lambda output: output.write_bytes(output.read_bytes() + b"x"), r"has been changed"),
    "empty": (lambda output: os.truncate(output, 0), r"has been changed"),
    "without identity": (lambda output: identity(output).unlink(), r"has no \.out\.csv\.sijo-id beside it"),
    "damaged identity": (
        lambda output: identity(output).write_bytes(b"{"),
        r"has no \.out\.csv\.sijo-id beside it",
    ),
    "another's identity": (lambda output: identity(output).write_text("[1]"), r"has no \.out\.csv\.sijo-id"),
    "a pipe": (lambda output: (identity(output).unlink(), os.mkfifo(identity(output))), r"has no \.out\.csv"),
}


def identity(output):
    return output.with_name(f".{output.name}.sijo-id")


def state(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("case", STRANGE)
def test_an_output_that_is_not_as_it_was_left_is_refused(tmp_path, case):
    # kills: "complete already" for somebody else's file, or for half of one
    output, (spoil, message) = tmp_path / "out.csv", STRANGE[case]
    run(output)
    spoil(output)
    before = state(tmp_path)
    with pytest.raises(SettingError, match=message):
        run(output, resume=True)
    assert state(tmp_path) == before and not (tmp_path / ".out.csv.sijo-run").exists()
    assert run(output, overwrite=True) == list(range(BLOCKS))  # the remedy
    assert run(output, resume=True) == []


def test_a_folder_in_place_of_the_identity_is_refused_at_once(tmp_path):
    # kills: all rows labelled, the output in its place, and then "Is a directory"
    identity(tmp_path / "out.csv").mkdir()
    with pytest.raises(SettingError, match=r"\.out\.csv\.sijo-id is a folder, where sijo keeps a file of its own"):
        run(tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == [".out.csv.sijo-id"]


@pytest.mark.parametrize(
    "settings, message",
    [
        (SETTINGS | {"threshold": 0.6}, r"was made with threshold: 0\.5, and now it is 0\.6; --overwrite makes it"),
        (SETTINGS | {"labels": ["land", "sea"]}, r"made with labels: "),
        (SETTINGS | {"labels": ["sea"]}, r"made with labels: "),
        (SETTINGS | {"new": 1}, r"made with new: not given, and now it is 1"),
        ({"labels": ["sea", "land"]}, r"made with threshold: 0\.5, and now it is not given"),
        (dict(reversed(SETTINGS.items())), r"made with the same in another order"),
    ],
)
def test_an_output_of_other_settings_is_refused_by_name(tmp_path, settings, message):
    # kills: "complete already" for answers to another question
    run(tmp_path / "out.csv")
    before = state(tmp_path)
    with pytest.raises(SettingError, match=message):
        run(tmp_path / "out.csv", resume=True, settings=settings)
    assert state(tmp_path) == before


def other_rows(change):
    def make(number):
        whole = block(number)
        match change:
            case "text" if number == 2:
                whole.texts[1] = "another"
            case "column" if number == 2:
                columns = whole.columns.set_column(1, "id", pa.array(["000", "001", "changed"]))
                return RowBlock(number, whole.first_row, whole.texts, columns, "csv")
            case "name":
                columns = whole.columns.rename_columns(["text", "number"])
                return RowBlock(number, whole.first_row, whole.texts, columns, "csv")
            case "order":
                return block(BLOCKS - 1 - number)
            case "last row" if number == BLOCKS - 1:
                return RowBlock(number, whole.first_row, whole.texts[:2], whole.columns.slice(0, 2), "csv")
        return whole

    return make


@pytest.mark.parametrize(
    "how",
    [
        *({"make": other_rows(change)} for change in ("text", "column", "name", "order", "last row")),
        *({"blocks": blocks} for blocks in (BLOCKS - 1, BLOCKS + 1, 0)),
    ],
    ids=["text", "column", "name", "order", "last row", "shorter", "longer", "nothing"],
)
def test_an_output_of_other_rows_is_refused(tmp_path, how):
    # kills: "complete already" though the input has changed; an input that is looked at in part
    run(tmp_path / "out.csv")
    before = state(tmp_path)
    with pytest.raises(TextError, match=r"the input has changed since output .* was made of it \(12 rows then, "):
        run(tmp_path / "out.csv", resume=True, **how)
    assert state(tmp_path) == before


def test_an_output_is_known_where_its_identity_is(tmp_path):
    # kills: an identity by place, time or inode, which a copy or a backup does not keep
    output, moved = tmp_path / "out.csv", tmp_path / "there" / "other.csv"
    moved.parent.mkdir()
    run(output)
    moved.write_bytes(output.read_bytes())
    with pytest.raises(SettingError, match=r"has no \.other\.csv\.sijo-id beside it"):
        run(moved, resume=True)
    output.unlink()
    output.write_bytes(moved.read_bytes())  # put back: another inode, another time
    os.utime(output, (0, 0))
    assert run(output, resume=True) == []
    identity(moved).write_bytes(identity(output).read_bytes())
    assert run(moved, resume=True) == []
    (tmp_path / "link.csv").symlink_to(output)
    assert run(tmp_path / "link.csv", resume=True) == []  # a link is followed to the same output
    identity(output).unlink()
    output.unlink()
    identity(output).write_bytes(identity(moved).read_bytes())  # of an output that is gone
    assert run(output, resume=True) == list(range(BLOCKS))


def test_a_run_that_overwrites_is_not_taken_for_the_old_output(tmp_path):
    # kills: a run that goes on found "complete", since what it is to replace has an identity too
    output = tmp_path / "out.csv"
    run(output, settings={"old": 1})
    begin(output, overwrite=True)
    assert run(output, resume=True) == [2, 3]
    assert run(output, resume=True) == []


def test_settings_that_json_cannot_say_are_kept(tmp_path):
    # kills: an identity that cannot be read again, since a threshold is infinite
    settings = {"threshold": float("-inf"), "scale": float("nan")}
    run(tmp_path / "out.csv", settings=settings)
    assert run(tmp_path / "out.csv", settings=settings, resume=True) == []


def test_a_run_that_fails_before_its_first_block_leaves_nothing(tmp_path):
    # kills: "an unfinished run is in the way" after a model that could not be loaded
    begin(tmp_path / "out.csv", blocks=0)
    job = OutputJob(tmp_path / "out.csv", settings=SETTINGS, resume=False, overwrite=False)
    job.close()
    job.close()  # kills: a second close that fails
    assert not list(tmp_path.iterdir())


def test_paths_that_cannot_be_are_refused_at_once(tmp_path):
    # kills: hours of work that end at a path
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    for path in ("folder.csv", "none/out.csv", "file/out.csv", "out.txt", "x" * 250 + ".csv"):
        with pytest.raises(SettingError):
            run(tmp_path / path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.csv"]


def test_a_link_is_followed(tmp_path):
    # kills: a link replaced by a file
    (tmp_path / "there").mkdir()
    (tmp_path / "out.csv").symlink_to(tmp_path / "there" / "real.csv")
    run(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").is_symlink() and (tmp_path / "there" / "real.csv").is_file()
