"""Tensors from a pickle by `torch.save`, read by a jailed process: for conversion alone, never for loading.

The process gets the file open, and a file to write to, and gives up all else (`files/jail.py`).
Then it reads the file once, with torch's restricted unpickler and nothing to fall back on, and hands
the tensors over as safetensors, which are checked like any that come from outside.
"""

import codecs
import contextlib
import errno
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from sijo.checkpoints.weight_files import WEIGHTS
from sijo.errors import CheckpointError, RefusedError, SijoError
from sijo.files import jail
from sijo.files.paths import FolderFile

if TYPE_CHECKING:
    from torch import Tensor

NEST = ("state_dict", "model_state_dict", "model")
"""Where training programs keep the tensors when they save more than those."""
ROOM = 2**28
"""Bytes of memory, and bytes of file, allowed beside a multiple of the file's own size."""
MOST_TIMES = 4
"""How many times its own size a file's tensors may take: tied tensors are stored once and written for each name."""
DISK_FULL = 74
"""How the process leaves where there is no room for the tensors."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""So that no library starts another when it is imported: a jail stands around one."""
CHILD = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from sijo.checkpoints.conversion import pickled
pickled.main()
"""


@contextlib.contextmanager
def read_pickled(file: FolderFile, *, seconds: float = 600) -> Iterator["dict[str, Tensor]"]:
    """The tensors of a `.bin`, `.pt`, `.pth` or `.ckpt` by `torch.save`, read by a jailed process.

    seconds  how long it may take, in seconds

    Taken are a plain dict of names and dense tensors, or one under a name of `NEST`. The process takes
    as much memory as the file has bytes. The tensors lie in a temporary folder as large as the file,
    which is removed at the end of the block.

    Raises RefusedError for a pickle that asks for more than tensors, naming what, and where the
    system has no jail for the process; CheckpointError for a file that is damaged, claims to be larger
    than it is, or takes too long.
    """
    from sijo.checkpoints.weights import read_weights

    with tempfile.TemporaryDirectory(prefix="sijo-") as out, tempfile.TemporaryFile() as told:
        paths = json.dumps([str(Path(path).absolute()) for path in sys.path if path])
        environment = {name: value for name, value in os.environ.items() if name.endswith("LD_LIBRARY_PATH")}
        try:
            jail.landlock_version()  # where it lacks, that is known before torch is imported
            with file.open() as source, (Path(out) / WEIGHTS).open("xb") as result:
                code = subprocess.run(  # noqa: S603
                    [sys.executable, "-I", "-c", CHILD, paths, str(seconds)],
                    stdin=source,
                    stdout=result,
                    stderr=told,
                    cwd="/",
                    env=environment | ONE_THREAD,
                    start_new_session=True,
                    timeout=seconds,
                    check=False,
                ).returncode
        except RefusedError as error:
            raise _failure(file, error.exit_code, str(error)) from None
        except subprocess.TimeoutExpired:
            raise CheckpointError(
                f"{file} was not read within {seconds:g} seconds; it is damaged or hostile, or wants more time"
            ) from None
        if code:
            told.seek(max(0, told.seek(0, os.SEEK_END) - 2000))
            lines = told.read().decode(errors="replace").splitlines()
            raise _failure(file, code, lines[-1] if lines else "for a reason untold")
        try:
            tensors = read_weights(Path(out))
        except SijoError:
            raise _failure(file, RefusedError.exit_code, "made its reader hand over what are no tensors") from None
        yield tensors


def _failure(file: FolderFile, code: int, reason: str) -> Exception:
    """What is raised where the process left with a code; its last words may be those of the pickle."""
    reason = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in reason[:300])
    if code == RefusedError.exit_code:
        return RefusedError(f"{file} {reason}; it is not opened. Ask for a safetensors version of the model")
    if code == DISK_FULL:
        return OSError(errno.ENOSPC, f"no room for the tensors of {file} in {tempfile.gettempdir()}")
    ended = "" if code == CheckpointError.exit_code else f"ended its reader with code {code}: "
    return CheckpointError(f"{file} {ended}{reason}; copy or download it again")


def main() -> NoReturn:
    """The jailed process: the file is its standard input, its standard output takes the tensors.

    Its arguments: where to import from, and the seconds.
    """
    with open(0, "rb", closefd=False) as source, open(1, "wb", closefd=False) as out:
        try:
            confine(size=source.seek(0, os.SEEK_END), seconds=float(sys.argv[2]))
            from sijo.checkpoints.weights import write_stream

            write_stream(out, load_tensors(source))
            out.flush()
        except (RefusedError, CheckpointError) as error:
            _end(error.exit_code, str(error))
        except (MemoryError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                _end(DISK_FULL)
            _end(CheckpointError.exit_code, f"needs more room than a file of its size may ({error})")
        _end(0)


def confine(*, size: int, seconds: float) -> None:
    """Import what reading needs, and close the door: `jail.enter`.

    size     bytes of the file to be read, from which follow how much memory it gets and how much it may write
    seconds  how long it may compute
    """
    import torch

    from sijo.checkpoints.weights import write_stream

    torch.set_num_threads(1)
    for encoding in ("latin-1", "cp437"):  # of strings in old pickles, and of names in zip archives
        codecs.lookup(encoding)
    for new in (True, False):  # what reading and writing import when they are first used
        torch.save({"": torch.ones(1)}, sample := io.BytesIO(), _use_new_zipfile_serialization=new)
        write_stream(io.BytesIO(), load_tensors(sample))
    jail.enter(memory=MOST_TIMES * size + ROOM, written=MOST_TIMES * size + ROOM, seconds=seconds)


def load_tensors(source: BinaryIO) -> "dict[str, Tensor]":
    """The tensors of an open file by `torch.save`; torch's restricted unpickler is the only way it is read.

    The errors' texts continue the name of the file.

    >>> import torch
    >>> torch.save({"state_dict": {"scale": torch.ones(2)}, "epoch": 3}, file := io.BytesIO())
    >>> load_tensors(file)["scale"].tolist()
    [1.0, 1.0]
    """
    import torch

    from sijo.checkpoints.weights import DTYPES

    size = source.seek(0, os.SEEK_END)
    _check_archive(source)
    warnings.simplefilter("ignore")
    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True)
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
        raise RefusedError(f"holds {type(tensors).__name__}, not a dict of tensors")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise RefusedError(f"has the name {name!r:.60}, which is not one of a tensor")
        if not isinstance(tensor, torch.Tensor):
            raise RefusedError(f"holds {name!r}, {type(tensor).__name__}, which is not a tensor")
        if (
            tensor.is_nested
            or tensor.layout != torch.strided
            or tensor.device.type != "cpu"
            or tensor.dtype not in DTYPES.values()
        ):
            raise RefusedError(
                f"holds {name!r} as {tensor.layout}, {tensor.dtype}, {tensor.device}; sijo takes dense "
                f"tensors of {[*DTYPES]}"
            )
    claimed = sum(tensor.nbytes for tensor in tensors.values())
    if claimed > MOST_TIMES * size:
        raise CheckpointError(f"claims {claimed} bytes of tensors in a file of {size}")
    return dict(tensors)


def _check_archive(source: BinaryIO) -> None:
    """Raise for a zip archive that is not whole, and for other archives: torch looks at no check sum."""
    source.seek(0)
    is_zip = source.read(4) == b"PK\x03\x04"
    source.seek(0)
    if not is_zip:
        if tarfile.is_tarfile(source):  # torch would unpack it first and refuse it then
            raise RefusedError("is empty, or a tar archive as torch wrote before version 0.1.10")
        return
    try:
        with zipfile.ZipFile(source) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise RefusedError("is a zip archive with compressed parts, which torch.save never writes")
            if (bad := archive.testzip()) is not None:
                raise CheckpointError(f"is damaged: the check sum of {bad} in it is wrong")
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"is cut short or damaged ({error})") from None
    source.seek(0)


def _end(code: int, reason: str = "") -> NoReturn:
    """Leave at once: no destructor, no handler and no `finally` is run."""
    with contextlib.suppress(OSError):  # a full disk
        os.write(2, f"\n{' '.join(reason.split())}".encode(errors="replace"))
    os._exit(code)
