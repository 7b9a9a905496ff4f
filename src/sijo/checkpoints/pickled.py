"""Tensors from a pickle by `torch.save`, read by a confined process: for conversion alone, never for loading.

The process first gives up what it does not need: the network, other programs, and writing
anywhere but in one empty folder. Then it reads the file once, with torch's restricted unpickler
and nothing to fall back on, and hands the tensors over as safetensors. What limits it beside torch's
list of allowed names is an audit hook of Python, which compiled code could pass by.
"""

import contextlib
import ctypes
import errno
import io
import json
import math
import os
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sijo.errors import CheckpointError, RefusedError

if TYPE_CHECKING:
    from torch import Tensor

NEST = ("state_dict", "model")
"""Where training programs keep the tensors when they save more than those."""
FORBIDDEN = {"socket", "subprocess", "ctypes", "os", "pty", "shutil", "signal", "syslog", "sqlite3", "webbrowser"}
"""Families of audit events that reading tensors has no need of."""
HARMLESS = {"os.listdir", "os.scandir"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
ROOM = 2**28
"""Bytes of memory, and bytes of file, allowed beside a multiple of the file's own size."""
MOST_TIMES = 4
"""How many times its own size a file's tensors may take: tied tensors are stored once and written for each name."""
DISK_FULL = 74
"""How the process leaves where there is no room for the tensors."""
CLONE_NEWUSER, CLONE_NEWNET, PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 0x10000000, 0x40000000, 1, 38
CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from sijo.checkpoints import pickled; pickled.main()"
)


@contextlib.contextmanager
def read_pickled(file: Path, *, seconds: float = 600) -> Iterator["dict[str, Tensor]"]:
    """The tensors of a `.bin`, `.pt`, `.pth` or `.ckpt` by `torch.save`, read by a confined process.

    seconds  how long it may take, in seconds

    Taken are a plain dict of names and dense tensors, or one under "state_dict" or "model". The
    tensors lie in a temporary folder as large as the file, which is removed at the end of the block.

    Raises RefusedError for a pickle that asks for more than tensors, naming what, and
    CheckpointError for a file that is damaged, claims to be larger than it is, or takes too long.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as place:
    ...     torch.save({"state_dict": {"scale": torch.ones(2)}, "epoch": 3}, Path(place) / "model.pt")
    ...     with read_pickled(Path(place) / "model.pt") as tensors:
    ...         print(tensors["scale"].tolist())
    [1.0, 1.0]
    """
    from sijo.checkpoints.weights import read_weights

    with tempfile.TemporaryDirectory(prefix="sijo-") as out, tempfile.TemporaryFile() as output:
        paths = json.dumps([str(Path(path).absolute()) for path in sys.path if path])
        command = [sys.executable, "-I", "-c", CHILD, paths, str(file.absolute()), out, str(seconds)]
        environment = {name: value for name, value in os.environ.items() if name.endswith("LD_LIBRARY_PATH")}
        try:
            code = subprocess.run(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=out,
                env=environment,
                timeout=seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise CheckpointError(
                f"{file} was not read within {seconds:g} seconds; it is damaged or hostile, or wants more time"
            ) from None
        if code:
            output.seek(max(0, output.seek(0, os.SEEK_END) - 2000))
            reason = (output.read().decode(errors="replace").splitlines() or ["for a reason untold"])[-1]
            if code == RefusedError.exit_code:
                raise RefusedError(f"{file} {reason}; it is not opened. Ask for a safetensors version of the model")
            if code == DISK_FULL:
                raise OSError(errno.ENOSPC, f"no room for the tensors of {file} in {out}")
            ended = "" if code == CheckpointError.exit_code else f"ended its reader with code {code}: "
            raise CheckpointError(f"{file} {ended}{reason}; copy or download it again")
        yield read_weights(Path(out))


def main() -> NoReturn:
    """The confined process. Its arguments: where to import from, the file, the folder, the seconds."""
    file, out, seconds = Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
    confine(out, size=file.stat().st_size, seconds=seconds)
    from sijo.checkpoints.weights import write_weights

    try:
        write_weights(out, load_tensors(file))
    except (RefusedError, CheckpointError) as error:
        _end(error.exit_code, str(error))
    except (MemoryError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            _end(DISK_FULL, str(error))
        _end(CheckpointError.exit_code, f"needs more room than a file of its size may ({error})")
    _end(0)


def confine(out: Path, *, size: int, seconds: float) -> None:
    """From here on this process only computes, and writes below `out`; whatever else it tries ends it at once.

    size     bytes of the file to be read, from which follow how much memory it gets and how much it may write
    seconds  how long it may compute
    """
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        kernel = ctypes.CDLL(None)
        kernel.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)
        kernel.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if kernel.unshare(CLONE_NEWNET):  # before torch, which starts threads
            kernel.unshare(CLONE_NEWUSER | CLONE_NEWNET)
    import torch

    import sijo.checkpoints.weights  # noqa: F401

    torch.set_num_threads(1)
    for new in (True, False):  # what reading imports when it is first used
        torch.save({"": torch.ones(1)}, warm := io.BytesIO(), _use_new_zipfile_serialization=new)
        warm.seek(0)
        torch.load(warm, weights_only=True)

    limits = {
        resource.RLIMIT_CPU: math.ceil(seconds),
        resource.RLIMIT_FSIZE: MOST_TIMES * size + ROOM,
        resource.RLIMIT_CORE: 0,
    }
    with contextlib.suppress(OSError):  # not Linux
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + MOST_TIMES * size + ROOM
    for which, limit in limits.items():
        with contextlib.suppress(OSError, ValueError):  # already lower, or unknown to this system
            resource.setrlimit(which, (limit, limit))
    home = f"{out.resolve()}/"

    def guard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & WRITING and not os.path.realpath(os.fsdecode(path)).startswith(home):
                _end(RefusedError.exit_code, f"tried to write to {path!r}")
        elif event.partition(".")[0] in FORBIDDEN and event not in HARMLESS:
            _end(RefusedError.exit_code, f"tried to do {event} {arguments!r}"[:300])

    sys.addaudithook(guard)


def load_tensors(file: Path) -> "dict[str, Tensor]":
    """The tensors of a file by `torch.save`; nothing is executed, and there is no second way to read it.

    The errors' texts continue the name of the file.
    """
    import torch

    from sijo.checkpoints.weights import DTYPES

    is_zip = _check_zip(file)
    warnings.simplefilter("ignore")
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:
        # torch's own advice, to read the file with all restrictions off, is left out
        text = " ".join(str(error).rpartition("WeightsUnpickler error:")[2].partition("Check the doc")[0].split())
        if wanted := re.search(r"GLOBAL ([\w.]+)", text):
            raise RefusedError(f"asks for {wanted[1]}, which is no part of a tensor and could run code") from None
        # instructions of protocol 2 and later; other numbers are damage
        if (used := re.search(r"operand (\d+)", text)) and int(used[1]) in range(0x80, 0x99):
            raise RefusedError(f"uses the pickle instruction {used[1]}, which no plain tensors need") from None
        if "TorchScript" in text:
            raise RefusedError("is a TorchScript archive, which is a program") from None
        raise CheckpointError(
            f"is damaged, or no file by torch.save ({type(error).__name__}: {text[:200]})"
        ) from None

    nests = [loaded.get(nest) for nest in NEST] if isinstance(loaded, dict) else []
    tensors = next((nested for nested in nests if isinstance(nested, dict)), loaded)
    if not isinstance(tensors, dict) or not tensors:
        raise RefusedError(f"holds {type(tensors).__name__} {str(tensors)[:60]}, not a dict of tensors")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise RefusedError(f"has the name {name!r:.60}, which is not one of a tensor")
        if not isinstance(tensor, torch.Tensor):
            raise RefusedError(f"holds {name!r}, {type(tensor).__name__} {str(tensor)[:60]}, which is not a tensor")
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.dtype not in DTYPES.values():
            raise RefusedError(
                f"holds {name!r} as {tensor.layout}, {tensor.dtype}, {tensor.device}; sijo takes dense "
                f"tensors of {[*DTYPES]}"
            )
    claimed = sum(tensor.nbytes for tensor in tensors.values())
    if claimed > MOST_TIMES * file.stat().st_size:
        raise CheckpointError(f"claims {claimed} bytes of tensors in a file of {file.stat().st_size}")
    return dict(tensors)


def _check_zip(file: Path) -> bool:
    """Whether a file is a zip archive, once it is sure that it is whole: torch looks at no check sum."""
    with file.open("rb") as opened:
        if opened.read(4) != b"PK\x03\x04":
            if tarfile.is_tarfile(file):  # torch would unpack it first and refuse it then
                raise RefusedError("is empty, or a tar archive as torch wrote before version 0.1.10")
            return False
    try:
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise RefusedError("is a zip archive with compressed parts, which torch.save never writes")
            if (bad := archive.testzip()) is not None:
                raise CheckpointError(f"is damaged: the check sum of {bad} in it is wrong")
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"is cut short or damaged ({error})") from None
    return True


def _end(code: int, reason: str = "") -> NoReturn:
    """Leave at once: no destructor, no handler and no `finally` is run."""
    os.write(1, f"\n{' '.join(reason.split())}".encode(errors="replace"))
    os._exit(code)
