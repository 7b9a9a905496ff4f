"""`--parts` and `--engine ray`, from a person's side: the same bytes by whatever workers, whatever happens to them.

The tests with Ray are slow for what they do: a cluster takes seconds to start (`conftest.cluster` is shared), and
the one that is interrupted starts its own.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from sijo.app.many_machines import PartQueue
from sijo.files.parts.folder import MANIFEST
from sijo.files.parts.plan import PartAsked

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sijo.errors.SijoWarning"),
]
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'sijo[ray]'")
BLOCK = 2048
"""Rows of a block of the built-in way to label, with which a part ends."""


@pytest.fixture
def order(tiny_model, write, monkeypatch):
    """The arguments of a run over two files of three and two parts; most rows are empty, which costs nothing."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    texts = ["the old sea" if n % 40 == 0 else "비가 왔다" if n % 40 == 7 else "" for n in range(5 * BLOCK)]
    for name, some in (("a", texts[: 3 * BLOCK]), ("b", texts[3 * BLOCK :])):
        write(f"{name}.csv", "id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(some)))
    folder = Path(write("c.txt", "")).parent
    return ["classify", folder / "a.csv", folder / "b.csv", "--labels", "sea,land", "--model", tiny_model]


def in_parts(out, *more):
    return ["--parts", out, "--part-rows", "100", "--part-format", "jsonl", *more]


def parts(folder):
    """Each part with its bytes, and what the manifest tells of all."""
    manifest = folder / MANIFEST
    told = json.loads(manifest.read_text()) if manifest.exists() else {"rows": 0, "parts": []}
    made = {path.name: path.read_bytes() for path in folder.glob("part-*")}
    assert manifest.exists() <= ({part["file"] for part in told["parts"]} == {*made})
    return made | ({MANIFEST: (told["rows"], told["parts"])} if manifest.exists() else {})


@pytest.fixture
def whole(order, sijo_cli, tmp_path):
    """What one process makes."""
    ran = sijo_cli(*order, *in_parts(tmp_path / "whole"))
    assert ran.code == 0 and "10,240 rows in" in ran.err, ran.err
    made = parts(tmp_path / "whole")
    assert len(made) == 6
    return made


def test_parts_are_the_rows_and_bytes_of_one_output(order, whole, sijo_cli, tmp_path):
    # kills: parts whose borders change an answer; a number of rows in a part that is another than asked for
    for name, place in (("a", 1), ("b", 2)):
        alone = [order[0], order[place], *order[3:]]
        assert sijo_cli(*alone, "-o", tmp_path / f"{name}.jsonl").code == 0
        pieces = [whole[key] for key in sorted(whole) if key.startswith(f"part-0000{place - 1}")]
        assert b"".join(pieces) == (tmp_path / f"{name}.jsonl").read_bytes()
        assert [piece.count(b"\n") for piece in pieces] == [BLOCK] * len(pieces)


def test_several_processes_make_the_same_parts(order, whole, sijo_cli, tmp_path, monkeypatch):
    # kills: parts in the order in which processes end, and a process that cannot open what it needs
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    ran = sijo_cli(*order, *in_parts(tmp_path / "out", "--workers", "2"))
    assert ran.code == 0, ran.err
    assert parts(tmp_path / "out") == whole


def test_a_damaged_input_is_named_and_mended(order, whole, sijo_cli, tmp_path):
    # kills: a job of a thousand inputs that one of them ends; parts that look complete without it
    good = order[1].read_bytes()
    order[1].write_bytes(good[:-500] + b"\xff\xfe" + good[-500:])
    ran = sijo_cli(*order, *in_parts(tmp_path / "out"))
    ran.must_say(3, "1 of 2 inputs are not done, the others are", str(order[1]), "--resume")
    assert set(parts(tmp_path / "out")) == {name for name in whole if name.startswith("part-00001")}
    again = sijo_cli(*order, *in_parts(tmp_path / "out"))
    again.must_say(2, "--resume goes on with it")
    order[1].write_bytes(good)
    ran = sijo_cli(*order, *in_parts(tmp_path / "out", "--resume"))
    assert ran.code == 0 and "10,240 rows" in ran.err, ran.err
    assert parts(tmp_path / "out") == whole
    done = sijo_cli(*order, *in_parts(tmp_path / "out", "--resume"))
    assert done.code == 0 and "complete already" in done.err


@pytest.mark.parametrize(
    "words, more",
    [
        ("--output and --parts do not go together", ("--parts", "out", "-o", "out.csv")),
        ("--dry-run and --parts do not go together", ("--parts", "out", "--dry-run")),
        ("--explain-report and --parts", ("--parts", "out", "--explain", "--explain-report", "a.html")),
        ("--part-rows and --part-format are about --parts", ("--part-rows", "7")),
        ("--part-rows 0 makes no part", ("--parts", "out", "--part-rows", "0")),
        ("--ray-address is about --engine ray", ("--ray-address", "auto")),
        ("is a file, and parts want a folder", ("--parts", "a.csv")),
    ],
)
def test_options_that_do_not_go_together(order, refused, words, more, monkeypatch, tmp_path):
    # kills: an output that one of two options silently wins
    monkeypatch.chdir(tmp_path)
    refused(2, words, *order, *more)


def test_a_worker_keeps_to_its_input_and_helps_out_at_the_end():
    # kills: every worker reading every input; workers that stand idle while another has parts left
    asked = [PartAsked(place, f"{place}", n, n, 1, "", None) for place in range(3) for n in range(6 - place)]
    queue = PartQueue(asked)
    order = [(worker, queue.take(worker)[1]) for _ in range(3) for worker in range(3)]
    assert [(item.place, item.number) for worker, item in order if worker == 1] == [(1, 0), (1, 1), (1, 2)]
    rest = []
    while (taken := queue.take(2)) is not None:
        rest.append(taken[1])
    assert rest[0].place == 2 and {item.place for item in rest} == {0, 1, 2}
    assert (
        len(rest) + len(order)
        == len(asked)
        == len({(one.place, one.number) for one in (*rest, *(o for _, o in order))})
    )


def test_predict_writes_parts_too(tuned, sijo_cli, tmp_path, write):
    # kills: an option of `predict` that is accepted and forgotten
    tuned = tuned("classification", labels=["sea", "land"])
    source = write("in.csv", "id,text\n" + "".join(f"{n},the sea {n}\n" for n in range(30)))
    order = ["predict", source, "--model", tuned, "--column", "text"]
    assert sijo_cli(*order, "-o", tmp_path / "one.jsonl").code == 0
    ran = sijo_cli(*order, *in_parts(tmp_path / "out"))
    assert ran.code == 0, ran.err
    assert parts(tmp_path / "out")["part-00000-00000.jsonl"] == (tmp_path / "one.jsonl").read_bytes()


def workers():
    """The processes that Ray runs our workers in, as its tables of processes call them."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(place.name)
            if (place / "cmdline").read_bytes().startswith(b"ray::RayWorker") and os.getsid(pid) == os.getsid(0):
                yield pid
        except OSError:
            continue


@needs_ray
@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_worker_changes_no_byte(order, whole, sijo_cli, tmp_path, cluster, seed):
    # kills: a part lost or doubled with its worker, and what it had half read taken for whole
    chance, killed, over = random.Random(seed), [], threading.Event()
    out, after = tmp_path / "out", chance.randrange(0, 4)

    def kill():
        while not over.is_set() and not killed:
            there = [*workers()]
            if len([*out.glob("part-*")]) >= after and there:
                killed.append(chance.choice(there))
                os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    ran = sijo_cli(*order, *in_parts(out, "--engine", "ray", "--workers", "2"))
    over.set()
    killer.join()
    assert ran.code == 0 and killed, ran.err
    assert parts(out) == whole


@needs_ray
def test_one_file_by_ray_is_that_of_one_process(order, sijo_cli, tmp_path, cluster):
    # kills: blocks that arrive in another order, and columns that only this process can make
    short = [*order[:2], *order[3:], "--top-k", "2"]
    assert sijo_cli(*short, "-o", tmp_path / "one.parquet").code == 0
    ran = sijo_cli(*short, "-o", tmp_path / "ray.parquet", "--engine", "ray", "--workers", "2", "--threads", "1")
    assert ran.code == 0, ran.err
    assert (tmp_path / "ray.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


@needs_ray
def test_ctrl_c_leaves_nothing_but_what_is_done(order, whole, sijo_cli, tmp_path, until):
    # kills: a driver that hangs, processes of Ray that stay, a folder that cannot be resumed, texts in Ray's logs
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from sijo.app.cli import main; main()"]
    arguments = [*order, *in_parts(out, "--engine", "ray", "--workers", "1")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with subprocess.Popen(
        [*command, *map(str, arguments)], process_group=0, stderr=subprocess.PIPE, env=environment, text=True
    ) as job:
        try:
            until(lambda: job.poll() is not None or any(out.glob("part-*")), seconds=150)
            there = family(job.pid)
            texts = "".join(map(logs, there))
            os.killpg(job.pid, signal.SIGINT)
            _, told = job.communicate(timeout=60)
        finally:
            job.kill()
    assert job.returncode == 130 and "are done and kept" in told, told
    assert len(there) > 3 and "the old sea" not in texts and "비가" not in texts
    until(lambda: not any(map(is_alive, there)), seconds=20)
    ran = sijo_cli(*order, *in_parts(out, "--resume"))
    assert ran.code == 0 and parts(out) == whole, ran.err


def family(pid):
    """A process and all that it started, or those did, with their command lines."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {one: Path(f"/proc/{one}/cmdline").read_bytes() for one in found}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def logs(pid):
    """All that Ray has written down by now, by the process that says where."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    if (found := re.search(r"/tmp/sijo-ray-[a-z0-9_]+", words)) is None:
        return ""
    root = Path(found[0])
    assert root.stat().st_mode & 0o077 == 0  # this user's alone
    files = [path for path in root.rglob("logs/**/*") if path.is_file()]
    assert files
    return "".join(path.read_text(errors="replace") for path in files)
