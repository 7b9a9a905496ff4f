"""Runs commands on spoiled files in forked processes, and tells what no command may do.

A process is forked from one that has imported everything and run nothing: it takes many files one after another,
so that an import is paid once. It has its own folder, a bound of memory, and an audit hook that notes whatever is
opened outside. Who asks waits ten seconds for each command, and forks another after a hang or a signal.

Not seen by the hook: what the libraries in Rust and C++ open by themselves.
"""

import faulthandler
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sijo.app import cli
from sijo.errors import SijoError

SECONDS = 10
"""How long a command may take."""
MEMORY = 2 << 30
"""Bytes of address space that the files may take, besides what the imports have taken."""
FILES_A_PROCESS = 400
CODES = {0, 2, 3, 4, 5}
"""How a command may end over a file that is wrong, or is not."""
LONGEST_STORY = 12_000
"""Characters on standard error."""
SYSTEM = (
    "/proc/",
    "/sys/",
    "/dev/null",
    "/dev/urandom",
    "/usr/share/zoneinfo",
    "/etc/localtime",
    "/usr/lib",
    "/lib",
)
CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod"}
CHANGES |= {"os.chown", "os.utime", "shutil.rmtree", "shutil.move", "shutil.copyfile"}
FORBIDDEN = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class"}
FORBIDDEN |= {"socket.connect", "socket.getaddrinfo", "socket.bind"}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
fork = multiprocessing.get_context("fork")


class Verdict(NamedTuple):
    """How one command ended."""

    code: int | None
    """Its exit code; None for a hang, negative for a signal."""
    fault: str | None
    """What it did that no command may, by which like findings are told; None where it did nothing such."""
    story: str = ""
    """What it said, and where it failed."""


class Runner:
    """Runs the commands of targets on files, in one process after another.

    folder   where the processes have theirs
    seeds    the folder of seeds, whose checkpoints the commands use
    seconds  how long a command may take
    """

    def __init__(self, folder, seeds, *, seconds=SECONDS):
        self._folder, self._seeds, self._seconds = folder, seeds, seconds
        self._process = self._target = None
        self._done = 0

    def verdicts(self, target, content):
        """How each command of the target ends on a file of that content, up to one that did not end by itself."""
        if self._process is None or target is not self._target or self._done >= FILES_A_PROCESS:
            self._start(target)
        self._done += 1
        found = []
        try:
            self._ours.send_bytes(content)
            for command in target.commands:
                if not self._ours.poll(self._seconds):
                    self._process.kill()
                    found.append(
                        Verdict(None, f"hang: {command[0]}", f"{' '.join(command)}: no end after {self._seconds} s")
                    )
                    break
                found.append(Verdict(*self._ours.recv()))
        except (EOFError, ConnectionError):
            self._process.join()
            code, told = self._process.exitcode, (self._home / "stderr").read_text(errors="replace")[-3000:]
            by = signal.Signals(-code).name if code < 0 else f"exit {code}"
            found.append(Verdict(code, f"killed: {by}: {' '.join(told.split())[:80]}", told))
        if len(found) < len(target.commands) or found[-1].code is None or found[-1].code < 0:
            self.close()
        elif any(verdict.fault for verdict in found):
            self.close()  # whatever it has done, the next file finds a fresh process
        return found

    def close(self):
        """End the process, if one runs."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._ours.close()
            self._process = None

    def _start(self, target):
        self.close()
        self._home = self._folder / "home"
        shutil.rmtree(self._home, ignore_errors=True)
        prepare(self._home, target, self._seeds)
        self._target, self._done = target, 0
        for command in target.commands:
            parsed(command)
        self._ours, theirs = fork.Pipe()
        self._process = fork.Process(target=live, args=(theirs, self._home, target), daemon=True)
        self._process.start()
        theirs.close()


def prepare(home, target, seeds):
    """Lay out the folder that the commands run in, and beside it what none of them may open."""
    home.mkdir(parents=True)
    outside = home.parent / "outside"
    outside.mkdir(exist_ok=True)
    for name in ("canary", "canary.safetensors"):
        shutil.copy(seeds / "bert" / "model.safetensors", outside / name)
    shutil.copytree(seeds / "bert", home / "bert")
    if target.model is not None:
        shutil.copytree(seeds / target.model, home / "model")
    (home / "tmp").mkdir()
    (home / "texts.txt").write_text(
        "the rain and the sea\n\n빵과 소금 값이 올랐다 e\u0301\n" + "electro game tax " * 40 + "\n"
    )


def rehearsed(targets, folder, seeds):
    """The names of all modules that the commands import, when they are run on a whole file of each target."""
    for number, target in enumerate(targets):
        prepare(home := folder / f"rehearsal{number}", target, seeds)
        os.chdir(home)
        for content in target.wholes(seeds)[:1]:
            Path(target.file).write_bytes(content)
            for command in target.commands:
                cli.run(list(command))
    return [name for name, module in sys.modules.items() if getattr(module, "__spec__", None) is not None]


def live(pipe, home, target):
    """The life of a process: a file comes, the commands run, and what became of each goes back."""
    os.chdir(home)
    os.environ |= {
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    os.environ.pop("HF_HOME", None)
    for number in (1, 2):
        handle = os.open(("", "stdout", "stderr")[number], os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, number)
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()
    os.fsync = lambda handle: None  # nothing here outlives the process
    trespasses = watched(home)
    while True:
        try:
            content = pipe.recv_bytes()
        except EOFError:
            os._exit(0)
        Path(target.file).write_bytes(content)
        for command in target.commands:
            pipe.send(tuple(outcome(command, home, trespasses)))


def watched(home):
    """A list to which an audit hook adds from now on what is opened, changed or begun outside of the folder."""
    trespasses = []
    readable = tuple(
        {f"{Path(root).resolve()}/" for root in (sys.prefix, sys.base_prefix, *filter(None, sys.path))}
    )
    inside = f"{Path(home).resolve()}/"

    def hook(event, arguments):
        if event in FORBIDDEN:
            trespasses.append(f"{event} {str(arguments)[:200]}")
        elif event == "open" or event in CHANGES:
            path = arguments[0]
            if not isinstance(path, str | bytes):
                return
            whole = os.path.realpath(os.fsdecode(path))
            if f"{whole}/".startswith(inside):
                return
            reading = event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if whole == os.devnull or (reading and whole.startswith((*readable, *SYSTEM))):
                return
            trespasses.append(f"{event} {whole[:200]}")

    sys.addaudithook(hook)
    return trespasses


def outcome(command, home, trespasses):
    """Run a command as `cli.run` does, and judge it."""
    Path("out.parquet").unlink(missing_ok=True)
    os.truncate(1, 0)
    os.truncate(2, 0)
    trespasses.clear()
    place = ""
    try:
        code, error = 0, None
        with cli.warnings_told(strict=False):
            call, bound = parsed(command)
            call(*bound.args, **bound.kwargs)
    except BaseException as raised:
        error, place = raised, where(raised)
        code, sentence = cli._meaning(raised)
        if sentence:
            cli.tell(f"sijo: {sentence}")
    sys.stdout.flush()
    sys.stderr.flush()
    if "model" in command:
        close_models()  # no command finds what was opened of another file
    told = Path("stderr").read_bytes()[:200_000].decode(errors="replace")
    story = f"sijo {' '.join(command)}: exit {code}\n{told[:3000]}"
    fault = None
    if trespasses:
        fault = f"outside: {re.sub('[0-9]+', '#', trespasses[0])[:100]}"
        story += "\n".join(sorted(set(trespasses))[:20])
    elif isinstance(error, MemoryError):
        fault = f"memory: {place}"
    elif (code == 1 and not isinstance(error, SijoError)) or code not in {*CODES, 1}:
        fault = f"exit {code}: {type(error).__name__}: {place}"
    elif "Traceback (most recent" in told or "panicked at" in told:
        fault = f"trace: {told.strip().splitlines()[-1][:80]}"
    elif CONTROL.search(told) and not isinstance(error, KeyboardInterrupt):
        fault = f"control character in what is told: {place}"
    elif len(told) > LONGEST_STORY:
        fault = f"long: {place}"
    if fault and error is not None:
        story += "".join(traceback.format_exception(error))[-6000:]
    return Verdict(code, fault, story)


@cache
def parsed(command):
    """The call that a command line stands for, which takes longer to find than most files to read."""
    call, bound, _ = cli.app.parse_args(list(command), exit_on_error=False, print_error=False)
    return call, bound


def where(error):
    """The innermost line of sijo's that an error came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/sijo/" in frame.filename]
    if not frames:
        return "nowhere"
    return f"{frames[-1].filename.rpartition('/sijo/')[2]} {frames[-1].name}"


def close_models():
    """Forget the models that are open."""
    if (kept := sys.modules.get("sijo.inference.open_models")) is not None:
        kept.close_models()
