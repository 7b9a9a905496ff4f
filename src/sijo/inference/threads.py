"""How many threads compute: one number for torch, onnxruntime, tokenizers and numpy's BLAS, as the machine allows.

A container's quota and the cores that a process is bound to are obeyed: threads beyond them only wait for each
other.
"""

import math
import os
import sys
from pathlib import Path

from sijo.errors import SettingError

MOST_THREADS = 4_096
ASKED_BY = "OMP_NUM_THREADS"
"""By which people, schedulers of clusters and parents of many processes say a number, and every library reads
it."""
TOKENIZERS = "RAYON_NUM_THREADS"
READ_BY_LIBRARIES = (ASKED_BY, "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", TOKENIZERS)
"""What the libraries read when they are imported, or first used; the last is tokenizers'."""
SYSTEM = Path("/")


def thread_count(threads: int | None = None, *, system: Path = SYSTEM) -> int:
    """How many threads are to compute.

    threads  the number itself; None for what `OMP_NUM_THREADS` says, or else what the machine allows
    system   the root of its files

    Raises SettingError for a number that cannot be.

    >>> thread_count(3)
    3
    """
    if threads is not None:
        if type(threads) is not int or not 1 <= threads <= MOST_THREADS:
            raise SettingError(f"threads={threads!r} (--threads) is not a number from 1 to {MOST_THREADS:,}")
        return threads
    asked = os.environ.get(ASKED_BY, "").partition(",")[0].strip()
    if asked.isascii() and asked.isdigit() and 1 <= int(asked[:6]) <= MOST_THREADS:
        return int(asked)
    return allowed_threads(system)


def allowed_threads(system: Path = SYSTEM) -> int:
    """The cores that this process may run on, or fewer where a container has a quota of processor time.

    Two threads of one core multiply matrices no faster than one, so a core counts once. A quota of one and a half
    processors is two threads.

    >>> allowed_threads() >= 1
    True
    """
    quota = _quota(system)
    return max(1, min(_cores(system), math.ceil(quota) if quota else MOST_THREADS))


def use_threads(threads: int) -> None:
    """Let every library compute with so many threads: those that are imported already, and those that will be."""
    for name in READ_BY_LIBRARIES:
        os.environ[name] = str(threads)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(threads)


def tell_tokenizers() -> None:
    """Let tokenizers cut texts with as many threads as `OMP_NUM_THREADS` says, which it does not read itself.

    joblib sets that one in the processes of scikit-learn's `n_jobs=`, among whom the cores are shared.
    """
    if ASKED_BY in os.environ:
        os.environ.setdefault(TOKENIZERS, str(thread_count()))


def _cores(system: Path) -> int:
    """How many cores the processors have that this process may run on."""
    if not hasattr(os, "sched_getaffinity"):  # macOS and Windows bind no process to cores
        return os.cpu_count() or 1
    processors = os.sched_getaffinity(0)
    siblings = {
        _read(system / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list") or str(number)
        for number in processors
    }
    return len(siblings)


def _quota(system: Path) -> float | None:
    """The least of the quotas of this process's control group and all above it, in processors; None without any."""
    quotas = []
    for line in _read(system / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            quotas += [_of_version_2(folder) for folder in _upward(system / "sys/fs/cgroup", group)]
        elif "cpu" in controllers.split(","):
            for mounted in (controllers, "cpu", "cpu,cpuacct"):
                quotas += [_of_version_1(folder) for folder in _upward(system / "sys/fs/cgroup" / mounted, group)]
    return min((quota for quota in quotas if quota), default=None)


def _upward(mounted: Path, group: str) -> list[Path]:
    """The folder of a control group and those of all above it; within a container they may begin at its own."""
    parts = [part for part in group.split("/") if part not in ("", ".", "..")]
    return [mounted.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]


def _of_version_2(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return _share(quota, period or "100000")


def _of_version_1(folder: Path) -> float | None:
    return _share(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _share(quota: str, period: str) -> float | None:
    """Processors, of microseconds in microseconds; None for no limit, which is told as max, -1 or nothing."""
    if not (quota.isascii() and quota.isdigit() and period.isascii() and period.isdigit() and int(period)):
        return None
    return int(quota) / int(period)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
