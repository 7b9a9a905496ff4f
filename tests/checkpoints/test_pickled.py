"""Pickles that are read by a confined process, or refused there. Each test names the fault it is to catch."""

import io
import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sijo.checkpoints import pickled
from sijo.checkpoints.pickled import read_pickled
from sijo.checkpoints.weights import read_weights
from sijo.errors import CheckpointError, RefusedError

TENSORS = {
    "embeddings.weight": torch.arange(12.0).view(3, 4).T,  # not contiguous
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "keep": torch.tensor([True, False]),
    "none": torch.zeros(0, 3),
}
TENSORS["tied"] = TENSORS["embeddings.weight"]


class Calls:
    """Calls a function with arguments when it is unpickled without restrictions."""

    def __init__(self, function, *arguments):
        self.how = (function, arguments)

    def __reduce__(self):
        return self.how


class Raw:
    """A storage that is not in the file, or is shorter than claimed."""


def claiming(file, numbers, *, stride=1, stored=b"\0" * 24, compressed=False):
    """A file by torch.save but for its claims: `numbers` float32 in a storage of those bytes."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, "0", "cpu", numbers) if isinstance(value, Raw) else None

    stream, shape = io.BytesIO(), (numbers,)
    tensor = Calls(torch._utils._rebuild_tensor_v2, Raw(), 0, shape, (stride,), False, OrderedDict())
    if stride == 0:
        tensor = Calls(torch._utils._rebuild_tensor_v2, Raw(), 0, (10**12,), (0,), False, OrderedDict())
    Pickler(stream, protocol=2).dump({"weight": tensor})
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", stored)
        archive.writestr("archive/version", "3\n")


def save_all(folder):
    """One file of each kind. Gives what must come of it: tensors, or class (or classes) and words of an error."""
    trap, port = folder / "sprung", 9
    wanted = {}

    def saved(name, value, outcome, **settings):
        torch.save(value, folder / name, **settings)
        wanted[name] = outcome

    saved("plain.bin", TENSORS, TENSORS)
    saved("legacy.bin", TENSORS, TENSORS, _use_new_zipfile_serialization=False)
    saved("ordered.pth", OrderedDict(TENSORS), TENSORS)
    saved("nested.ckpt", {"state_dict": TENSORS, "epoch": 3, "lr": [0.1]}, TENSORS)
    saved("under-model.pt", {"model": TENSORS, "optimizer": {"step": 5}}, TENSORS)

    saved("system.bin", {"a": Calls(os.system, f"touch {trap}")}, (RefusedError, "asks for posix.system"))
    saved("eval.pt", {"a": Calls(eval, f"open({str(trap)!r}, 'w')")}, (RefusedError, r"asks for (\w+\.)?eval"))
    saved("open.pt", {"a": Calls(open, str(trap), "w")}, (RefusedError, r"asks for (\w+\.)?open"))
    connect = Calls(socket.create_connection, ("127.0.0.1", port))
    saved("socket.pt", {"a": connect}, (RefusedError, "asks for socket.create_connection"))
    for protocol in (0, 2):
        (folder / f"raw-{protocol}.bin").write_bytes(pickle.dumps(Calls(os.system, f"touch {trap}"), protocol))
        wanted[f"raw-{protocol}.bin"] = (RefusedError, "asks for posix.system")
    (folder / "raw-4.bin").write_bytes(pickle.dumps(Calls(os.system, f"touch {trap}"), 4))
    wanted["raw-4.bin"] = (RefusedError, "pickle instruction")

    saved("list.pt", [torch.ones(1)], (RefusedError, "holds list"))
    saved("number.pt", {"a": torch.ones(1), "epoch": 3}, (RefusedError, "'epoch', int 3"))
    saved("names.pt", {7: torch.ones(1)}, (RefusedError, "the name 7"))
    saved("reserved.pt", {"__metadata__": torch.ones(1)}, (RefusedError, "__metadata__"))
    saved("empty.pt", {}, (RefusedError, "not a dict of tensors"))
    saved("sparse.pt", {"a": torch.eye(3).to_sparse()}, (RefusedError, "'a' as torch.sparse_coo"))
    saved("complex.pt", {"a": torch.ones(1, dtype=torch.complex64)}, (RefusedError, "'a' as .*complex64"))
    saved("meta.pt", {"a": torch.ones(3, device="meta")}, (RefusedError, "'a' as .*meta"))

    claiming(folder / "huge.pt", 10**12)
    claiming(folder / "long.pt", 10**6)
    claiming(folder / "repeated.pt", 6, stride=0)
    claiming(folder / "bomb.pt", 10**8, stored=bytes(10**7), compressed=True)
    wanted |= {"huge.pt": (CheckpointError, "damaged"), "long.pt": (CheckpointError, "damaged")}
    wanted |= {"repeated.pt": (CheckpointError, "claims"), "bomb.pt": (RefusedError, "compressed parts")}

    for name, content in {"empty": b"", "words": b"no pickle at all\n" * 9, "zeros": bytes(999)}.items():
        (folder / f"{name}.bin").write_bytes(content)
        wanted[f"{name}.bin"] = (CheckpointError, "no file by torch.save")
    wanted["zeros.bin"] = (RefusedError, "empty, or a tar archive")
    whole = (folder / "plain.bin").read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(torch.arange(12.0).numpy().tobytes()) + 5] ^= 1
    (folder / "flipped.bin").write_bytes(flipped)
    wanted["flipped.bin"] = (CheckpointError, "check sum")
    for kind in ("plain", "legacy"):
        whole = (folder / f"{kind}.bin").read_bytes()
        for number in range(16):
            name = f"{kind}-cut-{number}.bin"
            (folder / name).write_bytes(whole[: 1 + (len(whole) - 2) * number // 15])
            wanted[name] = (CheckpointError, "damaged|no file by torch.save")
            if kind == "legacy" and 0 < number < 15:  # a name may be cut to one that is not allowed
                wanted[name] = ((CheckpointError, RefusedError), "damaged|no file by torch.save|asks for ")
    return wanted


# In one confined process all files are read in turn, so that importing torch is waited for once.
READ_ALL = """
import json, sys
from pathlib import Path
from sijo.checkpoints.pickled import confine, load_tensors
from sijo.checkpoints.weights import write_weights
from sijo.errors import SijoError

folder, out = map(Path, sys.argv[1:])
files = sorted(folder.iterdir())
confine(out, size=10**6, seconds=60)
for file in files:
    try:
        write_weights(out / file.name, load_tensors(file))
        print(json.dumps([file.name, "", ""]))
    except SijoError as error:
        print(json.dumps([file.name, type(error).__name__, str(error)]))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of files good and bad, and what must come of each."""
    folder = tmp_path_factory.mktemp("pickled")
    return folder, save_all(folder)


def same(tensors, wanted):
    return tensors.keys() == wanted.keys() and all(
        tensors[name].dtype == tensor.dtype and torch.equal(tensors[name], tensor)
        for name, tensor in wanted.items()
    )


def test_every_file_gives_its_tensors_or_its_reason(files, tmp_path):
    # kills: a fall back on an unsafe reader, a claim that is believed, damage that is read as numbers, other
    # values dropped in silence
    folder, wanted = files
    for name in wanted:
        (tmp_path / name).mkdir()
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, folder, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = {name: (kind, text) for name, kind, text in map(json.loads, done.stdout.splitlines())}
    assert told.keys() == wanted.keys()
    for name, outcome in wanted.items():
        kind, text = told[name]
        if isinstance(outcome, dict):
            assert kind == "" and same(read_weights(tmp_path / name), outcome), (name, text)
        else:
            kinds = outcome[0] if isinstance(outcome[0], tuple) else (outcome[0],)
            assert kind in [each.__name__ for each in kinds] and re.search(outcome[1], text), (name, kind, text)
            assert not list((tmp_path / name).iterdir()) and "weights_only" not in text, (name, text)
    assert not (folder / "sprung").exists()


def test_each_file_has_a_process_of_its_own(files, monkeypatch):
    # kills: reading in this process; a temporary folder left behind; an exit code or a reason lost on the way
    folder, wanted = files
    (folder.parent / "scratch").mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder.parent / "scratch"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read in this process"))

    def read(name):
        try:
            with read_pickled(folder / name, seconds=120) as tensors:
                return dict(tensors)
        except (RefusedError, CheckpointError) as error:
            return error

    names = ["plain.bin", "system.bin", "plain-cut-9.bin", "repeated.pt"]
    with ThreadPoolExecutor(2) as pool:
        for name, came in zip(names, pool.map(read, names), strict=True):
            if name == "plain.bin":
                assert same(came, wanted[name])
                continue
            kind, words = wanted[name]
            assert type(came) is kind and re.search(words, str(came)), came
            assert str(came).startswith(f"{folder / name} ") and "\n" not in str(came)
    assert not (folder / "sprung").exists()
    assert not list((folder.parent / "scratch").iterdir())


def test_a_reader_that_takes_too_long_is_ended(files, monkeypatch):
    # kills: a conversion that hangs for ever, and a process that lives on
    folder, _ = files
    monkeypatch.setattr(pickled, "CHILD", "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    started = time.monotonic()
    with (
        pytest.raises(CheckpointError, match=r"within 0.5 seconds"),
        read_pickled(folder / "plain.bin", seconds=0.5),
    ):
        pass
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "child, words",
    [
        ("import os; os.kill(os.getpid(), 11)", "code -11"),
        ("print('a' * 10**6); print('the last line'); raise SystemExit(5)", "the last line; copy"),
        ("raise SystemExit(5)", "untold"),
        ("import os; print('HF_TOKEN' in os.environ); raise SystemExit(5)", "False; copy"),
    ],
)
def test_a_reader_that_dies_is_told(files, monkeypatch, child, words):
    # kills: a crash of torch's parser that is taken for success; a user's secrets handed to the reader
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(pickled, "CHILD", child)
    with pytest.raises(CheckpointError, match=words), read_pickled(files[0] / "plain.bin"):
        pass


# What a pickle could do if it ran. Each must meet the guard, which here raises in place of ending the process.
TRY_ALL = """
import ctypes, json, os, shutil, socket, subprocess, sys
from pathlib import Path
from sijo.checkpoints import pickled

class Stopped(BaseException):
    pass

def end(code, reason=""):
    raise Stopped(code, reason)

out, trap = Path(sys.argv[1]), Path(sys.argv[2])
link = out / "link"
link.symlink_to(trap)
pickled._end = end
net = "/proc/self/ns/net"
before = os.readlink(net) if os.path.exists(net) else ""
pickled.confine(out, size=1000, seconds=60)
(out / "mine").write_bytes(b"fine")
(out / "mine").read_bytes()
for attempt in (
    "socket.socket()", "socket.getaddrinfo('localhost', 80)", "socket.create_connection(('127.0.0.1', 9))",
    "subprocess.run(['touch', trap])", "os.system(f'touch {trap}')", "os.fork()", "os.execv('/bin/true', ['true'])",
    "os.posix_spawn('/bin/true', ['true'], {})", "os.kill(os.getppid(), 0)", "ctypes.CDLL(None)",
    "trap.write_text('x')", "open(trap, 'a')", "open(trap, 'r+')", "os.open(trap, os.O_WRONLY | os.O_CREAT)",
    "open(bytes(trap), 'wb')", "link.write_text('x')", "open(out / '../../x', 'w')", "os.remove(out / 'mine')",
    "os.rename(out / 'mine', trap)", "os.symlink('/', out / 'root')", "os.mkdir(trap)", "os.chmod(out, 0o777)",
    "shutil.rmtree(out)", "os.truncate(trap.parent / 'kept', 0)", "os.putenv('A', 'b')",
):
    try:
        eval(attempt)
        answer = "done"
    except Stopped as stopped:
        answer = stopped.args[0]
    except Exception as error:
        answer = repr(error)
    print(json.dumps([attempt, answer]), flush=True)
try:
    hoard = bytearray(2**32)
    print(json.dumps(["memory", "done"]))
except MemoryError:
    print(json.dumps(["memory", 4]))
print(json.dumps(["network", os.path.exists(net) and os.readlink(net) == before]))
"""


def test_nothing_else_is_possible_in_the_room(tmp_path):
    # kills: a guard that was never put up, or that lets one of these through
    (tmp_path / "out").mkdir()
    (tmp_path / "kept").write_text("kept")
    command = [sys.executable, "-c", TRY_ALL, tmp_path / "out", tmp_path / "sprung"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == 27
    assert [(attempt, answer) for attempt, answer in told[:-1] if answer != 4] == []
    apart = shutil.which("unshare") and subprocess.run(["unshare", "-rn", "true"], check=False).returncode == 0
    assert told[-1] == ["network", not apart and sys.platform == "linux"]  # only where the kernel permits it
    assert not (tmp_path / "sprung").exists() and (tmp_path / "kept").read_text() == "kept"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"mine", "link"}


def test_the_guard_ends_the_process_itself(tmp_path):
    # kills: a refusal that the intruder's own `except` swallows
    script = (
        "import os, sys; from pathlib import Path; from sijo.checkpoints.pickled import confine\n"
        "confine(Path(sys.argv[1]), size=0, seconds=60)\n"
        "try:\n    os.system('true')\nfinally:\n    print('lived on', flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == RefusedError.exit_code and "lived on" not in done.stdout
    assert done.stdout.startswith("\ntried to do os.system")


def test_loading_never_comes_near_pickles():
    # kills: an import of this module by what opens models
    script = "import sys, sijo.checkpoints.load, sijo.app.cli; sys.exit('sijo.checkpoints.pickled' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
