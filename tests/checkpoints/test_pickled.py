"""Pickles that are read by a jailed process, or refused there. Each test names the fault it is to catch."""

import errno
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
import warnings
import zipfile
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sijo.checkpoints.conversion import pickled
from sijo.checkpoints.conversion.pickled import read_pickled
from sijo.checkpoints.weights import read_weights
from sijo.errors import CheckpointError, RefusedError
from sijo.files import jail
from sijo.files.paths import FolderFile

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
    saved("number.pt", {"a": torch.ones(1), "epoch": 3}, (RefusedError, "'epoch', int,"))
    saved("names.pt", {7: torch.ones(1)}, (RefusedError, "the name 7"))
    saved("reserved.pt", {"__metadata__": torch.ones(1)}, (RefusedError, "__metadata__"))
    saved("empty.pt", {}, (RefusedError, "not a dict of tensors"))
    saved("sparse.pt", {"a": torch.eye(3).to_sparse()}, (RefusedError, "'a' as torch.sparse_coo"))
    saved("complex.pt", {"a": torch.ones(1, dtype=torch.complex64)}, (RefusedError, "'a' as .*complex64"))
    saved("meta.pt", {"a": torch.ones(3, device="meta")}, (RefusedError, "'a' as .*meta"))

    with warnings.catch_warnings(action="ignore"):
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    saved("nested.pt", {"a": nested}, (RefusedError, "'a' as "))

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


# Each file is read by a jailed process, forked from one that has imported torch, so that this is waited for once.
READ_ALL = """
import json, os, sys
from pathlib import Path
import torch
from sijo.checkpoints import weights
from sijo.checkpoints.conversion import pickled

folder, out = map(Path, sys.argv[1:])
for file in sorted(folder.iterdir()):
    if (child := os.fork()) == 0:
        result, told = out / file.name / "model.safetensors", out / file.name / "told"
        for number, (path, flags) in enumerate([(file, 0), (result, 65), (told, 65)]):
            os.dup2(os.open(path, flags, 0o600), number)
        sys.argv[2] = "60"
        pickled.main()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([file.name, code, (out / file.name / "told").read_text()]), flush=True)
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


def test_every_file_gives_its_tensors_or_its_reason(files, tmp_path, needs_jail):
    # kills: a fall back on an unsafe reader, a claim that is believed, damage that is read as numbers, other
    # values dropped in silence, and what torch needs of the system to read one of these, which the jail denies
    folder, wanted = files
    for name in wanted:
        (tmp_path / name).mkdir()
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, folder, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = {name: (code, text) for name, code, text in map(json.loads, done.stdout.splitlines())}
    assert told.keys() == wanted.keys()
    for name, outcome in wanted.items():
        code, text = told[name]
        if isinstance(outcome, dict):
            assert code == 0 and same(read_weights(tmp_path / name), outcome), (name, text)
        else:
            kinds = outcome[0] if isinstance(outcome[0], tuple) else (outcome[0],)
            assert code in [kind.exit_code for kind in kinds], (name, code, text)
            assert re.search(outcome[1], text) and "weights_only" not in text, (name, text)
            assert (tmp_path / name / "model.safetensors").stat().st_size == 0, name
    assert not (folder / "sprung").exists()


def test_each_file_has_a_process_of_its_own(files, monkeypatch, needs_jail):
    # kills: reading in this process; a temporary folder left behind; an exit code or a reason lost on the way
    folder, wanted = files
    (folder.parent / "scratch").mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder.parent / "scratch"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read in this process"))

    def read(name):
        try:
            with read_pickled(FolderFile(folder, name), seconds=120) as tensors:
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


def test_a_reader_that_takes_too_long_is_ended(files, monkeypatch, needs_jail):
    # kills: a conversion that hangs for ever
    folder, _ = files
    monkeypatch.setattr(pickled, "CHILD", "import time; time.sleep(60)")
    started = time.monotonic()
    with (
        pytest.raises(CheckpointError, match=r"within 0.5 seconds"),
        read_pickled(FolderFile(folder, "plain.bin"), seconds=0.5),
    ):
        pass
    assert time.monotonic() - started < 10


TELL = "import os, sys; print({}, file=sys.stderr); raise SystemExit(5)"


@pytest.mark.parametrize(
    "child, words",
    [
        ("import os; os.kill(os.getpid(), 11)", "code -11"),
        (
            "import sys; print('a' * 10**6, file=sys.stderr); raise SystemExit('the last line')",
            "the last line; copy",
        ),
        ("raise SystemExit(5)", "untold"),
        (
            TELL.format("[name for name in os.environ if 'THREADS' not in name and 'LIBRARY' not in name]"),
            r"\[('LC_CTYPE')?\]; copy",
        ),
        (TELL.format("os.getcwd(), os.getsid(0) == os.getpid(), os.fstat(1).st_size"), r"/ True 0; copy"),
        (TELL.format("sorted(os.listdir('/proc/self/fd'))[:3], len(os.listdir('/proc/self/fd'))"), "'2'. 4; copy"),
        ("raise SystemExit(chr(27) + ']0;title')", "code 1: \N{REPLACEMENT CHARACTER}]0;title"),
        (TELL.format("'/' in ' '.join(sys.argv[2:])"), "False; copy"),
        (
            TELL.format("chr(27) + ']0;title' + chr(7) + chr(0x9b) + chr(0x202e)"),
            "\N{REPLACEMENT CHARACTER}]0;title",
        ),
    ],
)
def test_what_a_reader_is_given_and_how_it_dies(files, monkeypatch, needs_jail, child, words):
    # kills: a crash of torch's parser that is taken for success; a user's secrets, open files or terminal handed to
    # the reader; control characters of a pickle on the terminal
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(pickled, "CHILD", child)
    with (files[0] / "huge.pt").open("rb") as inherited:
        os.set_inheritable(inherited.fileno(), True)
        with pytest.raises(CheckpointError, match=words) as told, read_pickled(FolderFile(files[0], "plain.bin")):
            pass
    assert str(told.value).isprintable()


# The process as it is, but that torch's unpickler is in the hands of another as soon as the door is closed.
INTRUDER = """
import json, sys; sys.path[:] = json.loads(sys.argv[1])
import os, socket, subprocess
import torch
from sijo.checkpoints.conversion import pickled
from sijo.files import jail
from sijo.files.paths import FolderFile

enter = jail.enter
def entered(**settings):
    enter(**settings)
    pickled.load_tensors = intrude
jail.enter = entered

def errno_of(attempt):
    try:
        attempt()
    except OSError as error:
        return torch.tensor(error.errno)
    return torch.tensor(0)

def intrude(source):
"""


def intrude(monkeypatch, folder, *lines, seconds=60):
    """What `read_pickled` gives where these lines run in place of the unpickler."""
    monkeypatch.setattr(pickled, "CHILD", INTRUDER + "".join(f"    {line}\n" for line in lines) + "pickled.main()")
    with read_pickled(FolderFile(folder, "plain.bin"), seconds=seconds) as tensors:
        return dict(tensors)


def test_a_broken_unpickler_harms_nothing(files, monkeypatch, tmp_path, needs_jail):
    # kills: a reader that is not jailed by the time it reads
    trap = tmp_path / "trap"
    attempts = {
        "write": f"open({str(trap)!r}, 'w')",
        "read": "open('/etc/passwd')",
        "home": f"os.listdir({str(tmp_path)!r})",
        "run": "subprocess.run(['/bin/true'])",
        "fork": "os.fork()",
        "network": "socket.socket()",
        "kill": "os.kill(0, 0)",
    }
    rows = ", ".join(f"{name!r}: errno_of(lambda: {attempt})" for name, attempt in attempts.items())
    answers = intrude(monkeypatch, files[0], f"return {{{rows}}}")
    assert {name: answer.item() for name, answer in answers.items()} == dict.fromkeys(attempts, errno.EPERM)
    assert not trap.exists()


HEADER = r"{'a': {'dtype': 'F32', 'shape': [2**61], 'data_offsets': [0, 4]}}"


@pytest.mark.parametrize(
    "what",
    [
        "b''",
        "b'no safetensors'",
        f"len(header := json.dumps({HEADER}).encode()).to_bytes(8, 'little') + header + bytes(4)",
        "(2**40).to_bytes(8, 'little')",
        "bytes(2**16)",
        "os.read(0, 10**6)",  # a pickle in place of tensors
    ],
)
def test_what_is_handed_over_is_not_believed(files, monkeypatch, needs_jail, what):
    # kills: a result that is opened unchecked, a crash of this process, an error about a folder that is gone
    monkeypatch.setattr(pickled, "CHILD", f"import json, os; os.write(1, {what})")
    with (
        pytest.raises(RefusedError, match=r"plain.bin made its reader hand over .* not opened"),
        read_pickled(FolderFile(files[0], "plain.bin")),
    ):
        pass


@pytest.mark.parametrize(
    "lines, words",
    [
        (
            (
                "nothing = torch.ones(0)",
                "return {str(n): nothing for n in range(3 * 10**5)}",
            ),
            "hand over|room|Memory",
        ),
        (("while True: os.write(1, bytes(10**6))",), "needs more room .*too large"),
        (("while True: os.write(2, bytes(10**6))",), "\N{REPLACEMENT CHARACTER}; copy"),
        (("hoard = [bytearray(2**20) for _ in range(10**6)]",), "needs more room"),
        (("while True: pass",), "within 4 seconds|code -"),
        (("import ctypes; ctypes.string_at(0)",), "code -11"),
    ],
)
def test_floods_and_loops_end(files, monkeypatch, needs_jail, lines, words):
    # kills: a disk or a memory that is filled, a reader that outlives its time, its death taken for success
    with pytest.raises((RefusedError, CheckpointError), match=words) as told:
        intrude(monkeypatch, files[0], *lines, seconds=4 if "while True: pass" in lines else 60)
    assert len(str(told.value)) < 1000


def test_where_there_is_no_jail_nothing_is_read(files, monkeypatch, tmp_path, refused):
    # kills: a pickle read without a jail, on macOS, an old kernel or in a container; a process started for nothing
    def absent():
        raise RefusedError("can be read only in a jail")

    monkeypatch.setattr(jail, "landlock_version", absent)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    shutil.copy(files[0] / "plain.bin", tmp_path / "a.bin")
    words = ["a.bin can be read only in a jail", "not opened", "safetensors version"]
    refused(4, words, "convert", tmp_path / "a.bin", tmp_path / "new", "--size", "albert-base-v2")


def test_a_jail_that_does_not_hold_stops_the_reader(files, monkeypatch, needs_jail):
    # kills: a refusal inside the process that is told as damage
    child = "import json, sys; sys.path[:] = json.loads(sys.argv[1])\nfrom sijo.files import jail\n"
    child += "jail._seccomp = lambda: None\nfrom sijo.checkpoints.conversion import pickled; pickled.main()"
    monkeypatch.setattr(pickled, "CHILD", child)
    with (
        pytest.raises(
            RefusedError, match=r"plain.bin can be read only in a jail .*seccomp answers.*; it is not opened"
        ),
        read_pickled(FolderFile(files[0], "plain.bin")),
    ):
        pass


def test_loading_never_comes_near_pickles():
    # kills: an import of this module by what opens models
    script = "import sys, sijo.checkpoints.load, sijo.app.cli; "
    script += "sys.exit('sijo.checkpoints.conversion.pickled' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
