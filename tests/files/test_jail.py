"""A process that is jailed can do nothing to the rest. Each test names the fault it is to catch.

What an intruder would do, had it taken over the whole process, is done here: first with no jail, to see
that it works at all, then behind Landlock alone, then in the whole jail.
"""

import ctypes
import errno
import json
import os
import platform
import struct
import subprocess
import sys
import time

import pytest

from sijo.errors import RefusedError
from sijo.files import jail

# Every attack has a process of its own, forked from one that has imported what attacks need.
ATTACK = """
import ctypes, errno, fcntl, io, json, mmap, os, resource, shutil, signal, socket, subprocess, sys, threading
from pathlib import Path
import _posixsubprocess, encodings.idna, pyarrow, torch
from sijo.files import jail

torch.save({}, io.BytesIO())  # imports what it needs
order = json.loads(sys.stdin.read())
home, outside, wall = Path(order["home"]), Path(order["outside"]), order["wall"]
kept = home / "kept"
libc = ctypes.CDLL(None, use_errno=True)
parent = os.getpid()
shared = ctypes.create_string_buffer(b"unharmed")  # at the same address after a fork
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
local = socket.socket(socket.AF_UNIX)
local.bind(str(home.with_name("local")))
local.listen()
read_from = os.open(outside, os.O_RDONLY)


class Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def done(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def forked(child):
    if child == 0:
        os._exit(0)


def into_parent(call):
    ours, theirs = Vector(ctypes.addressof(shared), 8), Vector(ctypes.addressof(shared), 8)
    done(call(parent, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0))


def fork_exec():  # its arguments differ from version to version: those that subprocess gives it
    given = []
    real = _posixsubprocess.fork_exec
    _posixsubprocess.fork_exec = subprocess._fork_exec = lambda *arguments: given.append(arguments) or 1 / 0
    pipe, os.pipe = os.pipe, lambda: (read_from, write_to)
    close, os.close = os.close, lambda handle: None
    try:
        subprocess.Popen(["/bin/true"], stdin=0, stdout=1, stderr=2)
    except ZeroDivisionError:
        os.pipe, os.close = pipe, close
    real(*given[0])


def program_of_memory():
    handle = os.memfd_create("program", 0)
    os.write(handle, Path("/bin/true").read_bytes())
    os.execve(handle, ["true"], {})


def thread():
    new = threading.Thread(target=int)
    new.start()
    new.join()


def raise_limits():
    libc.setrlimit.argtypes = [ctypes.c_int, ctypes.c_void_p]
    done(libc.setrlimit(resource.RLIMIT_NOFILE, (ctypes.c_ulong * 2)(64, 64)))


def executable_memory():
    page = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    done(libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(4096), 5))


def undo():
    for part in [*vars(jail)]:
        if callable(getattr(jail, part)):
            setattr(jail, part, lambda *arguments, **settings: None)
    outside.read_text()


def fresh():
    shutil.rmtree(home, ignore_errors=True)
    (home / "folder").mkdir(parents=True)
    kept.write_text("kept")
    return os.open(kept, os.O_WRONLY | os.O_APPEND)


def state():
    paths = [home, *sorted(home.rglob("*"))]
    return [(str(path), path.lstat().st_mode, path.lstat().st_mtime_ns, path.lstat().st_size) for path in paths]


def every_other_call():
    if wall != "jail":
        return  # one of them would restart the machine
    left = {numbers[order["machine"] == "aarch64"] for numbers in jail.CALLS.values()}
    left |= {335, 336}  # uretprobe and uprobe pass every filter by the kernel's design, and end who calls them
    passed = []
    for number in [*range(1024), *range(0x40000000, 0x40000000 + 600), -1]:
        if number in left:
            continue
        if libc.syscall(number, 0, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != errno.EPERM:
            passed.append(number)
    raise RuntimeError(f"passed: {passed}") if passed else PermissionError(errno.EPERM, "all")


for attack in order["attacks"]:
    write_to = fresh()
    before = state()
    answers, answer_here = os.pipe()
    child = os.fork()
    if child == 0:
        silent = os.open(os.devnull, os.O_RDWR)
        for descriptor, lead in enumerate((silent, answer_here, silent)):
            os.dup2(lead, descriptor)
        if wall == "Landlock":
            jail._prctl(jail.PR_SET_NO_NEW_PRIVS, 1)
            jail._landlock(jail.landlock_version())
        elif wall == "jail":
            jail.enter(memory=2**24, written=1000, seconds=20)
        try:
            eval(attack)
            answer = 0
        except OSError as error:
            answer = error.errno
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(1, json.dumps(answer).encode())
        os._exit(0)
    os.close(answer_here)
    with open(answers) as stream:
        answer = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # a program that took its place says nothing
    answer = json.loads(answer) if answer else 0 if code == 0 else f"code {code}"
    unharmed = state() == before and shared.value == b"unharmed" and not os.path.exists(f"/dev/shm/sijo-{parent}")
    print(json.dumps([attack, answer, unharmed]), flush=True)
    os.close(write_to)
"""

PATHS = [
    "kept.write_text('x')",
    "open(kept, 'a')",
    "open(kept, 'r+b')",
    "open(home / 'new', 'x')",
    "os.open(kept, os.O_WRONLY | os.O_TRUNC)",
    "os.open(home, os.O_TMPFILE | os.O_WRONLY, 0o600)",
    "pyarrow.OSFile(str(home / 'new'), 'wb').write(b'x')",
    "(home / 'new').mkdir()",
    "kept.rename(home / 'new')",
    "kept.unlink()",
    "shutil.rmtree(home / 'folder')",
    "(home / 'folder').rmdir()",
    "(home / 'new').symlink_to('/')",
    "os.link(kept, home / 'folder/new')",
    "os.mkfifo(home / 'new')",
    "outside.read_text()",
    "os.listdir(Path.home())",
    "os.listdir('/')",
    "Path('/etc/passwd').read_text()",
    "Path('/proc/self/environ').read_bytes()",
    "Path('/proc/self/status').read_bytes()",
    "open(f'/proc/{parent}/mem', 'r+b')",
    "done(libc.open(b'/etc/passwd', 0))",
    "done(libc.shm_open(f'/sijo-{parent}'.encode(), os.O_CREAT | os.O_RDWR, 0o600))",
    "os.execv('/bin/true', ['true'])",
    "os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', ''])",
    "undo()",
    "torch.save({}, home / 'new')",
]
"""Attacks that lead over a path, which neither wall lets pass."""
TRUNCATES = "os.truncate(kept, 0)"
"""Behind Landlock from its third version on."""
OTHERS = [
    TRUNCATES,
    "kept.chmod(0o777)",
    "os.chown(kept, 0, 0)",
    "os.utime(kept, (0, 0))",
    "os.setxattr(kept, 'user.x', b'x')",
    "kept.stat()",
    "done(libc.access(bytes(kept), os.R_OK))",
    "os.readlink('/proc/self/exe')",
    "os.chdir('/')",
    "os.getcwd()",
    "os.statvfs('/')",
    "forked(os.fork())",
    "forked(os.forkpty()[0])",
    "fork_exec()",
    "subprocess.run(['/bin/true'], check=True)",
    "os.posix_spawn('/bin/true', ['true'], {})",
    "done(-1 if libc.system(b'true') else 0)",
    "program_of_memory()",
    "os.memfd_create('x')",
    "thread()",
    "socket.socket()",
    "socket.create_connection(('127.0.0.1', port))",
    "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', port))",
    "socket.socket(socket.AF_UNIX).connect(str(home.with_name('local')))",
    "socket.socket(socket.AF_UNIX).bind(chr(0) + f'sijo-{parent}')",
    "socket.socket(socket.AF_INET6)",
    "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "socket.create_server(('127.0.0.1', 0))",
    "socket.socketpair()",
    "socket.getaddrinfo('localhost', 80)",
    "os.kill(parent, 0)",
    "os.kill(parent, signal.SIGCONT)",
    "os.kill(os.getpid(), 0)",
    "os.killpg(0, 0)",
    "os.pidfd_open(parent)",
    "done(libc.ptrace(0x4206, parent, None, None))",
    "into_parent(libc.process_vm_readv)",
    "into_parent(libc.process_vm_writev)",
    "done(libc.shmget(0, 4096, 0o1600))",
    "done(libc.msgget(0, 0o1600))",
    "done(libc.semget(0, 1, 0o1600))",
    "done(libc.unshare(0x10000000))",
    "done(libc.prctl(4, 1, 0, 0, 0))",
    "done(libc.syscall(425, 8, ctypes.create_string_buffer(256)))",
    "done(libc.syscall(jail.CREATE_RULESET, None, 0, 1))",
    "done(libc.inotify_init())",
    "done(libc.eventfd(0, 0))",
    "os.pipe()",
    "os.dup(1)",
    "os.dup2(1, 0)",
    "os.close(2)",
    "fcntl.fcntl(1, fcntl.F_GETFL)",
    "os.fstat(1)",
    "os.ftruncate(write_to, 0)",
    "os.fchmod(write_to, 0o777)",
    "os.sendfile(1, read_from, 0, 0)",
    "raise_limits()",
    "resource.getrlimit(resource.RLIMIT_CPU)",
    "os.nice(1)",
    "os.sched_setaffinity(0, {0})",
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "done(libc.setitimer(0, (ctypes.c_long * 4)(), None))",
    "executable_memory()",
    "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "mmap.mmap(read_from, 1, prot=mmap.PROT_READ)",
    "every_other_call()",
]
"""Attacks that Landlock does not hold, or not in each version: seccomp alone does."""
HANDLES = ["os.write(write_to, b'x')", "os.read(read_from, 1)"]
"""Descriptors that it had before."""
MEMORY = ["bytearray(2**26)", "[bytearray(2**20) for _ in range(1024)]", "torch.ones(2**24)"]


@pytest.fixture
def attack(tmp_path):
    """`attack(wall, attacks)` gives the answer to each, behind that wall, and whether all is as it was."""
    (tmp_path / "outside").write_text("secret")
    order = {"home": str(tmp_path / "home"), "outside": str(tmp_path / "outside"), "machine": platform.machine()}

    def run(wall, attacks):
        text = json.dumps(order | {"wall": wall, "attacks": attacks})
        ran = subprocess.run(
            [sys.executable, "-c", ATTACK], input=text, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        told = [json.loads(line) for line in ran.stdout.splitlines()]
        assert [name for name, _, _ in told] == attacks
        return {name: (answer, unharmed) for name, answer, unharmed in told}

    return run


def test_the_attacks_work_without_a_jail(attack):
    # kills: tests below that are green because an attack could not succeed anywhere
    answers = attack("none", [*PATHS, *OTHERS, *HANDLES, *MEMORY])
    blind = [(name, answer) for name, (answer, _) in answers.items() if answer != 0]
    assert len(blind) <= 10, blind  # what this user or this container may not do anyway


def test_landlock_alone_holds_every_path(attack, needs_jail):
    # kills: a right of the file system that is not taken, a rule that gives one back
    attacks = [*PATHS, *([TRUNCATES] if jail.landlock_version() >= 3 else [])]
    answers = attack("Landlock", attacks)
    by_torch = "RuntimeError: "  # torch.save tells no number
    escaped = {name: answer for name, answer in answers.items() if answer != (errno.EACCES, True)}
    assert [*escaped] == ["torch.save({}, home / 'new')"]
    assert [(str(answer).startswith(by_torch), unharmed) for answer, unharmed in escaped.values()] == [(True, True)]


def test_nothing_can_be_done_in_the_jail(attack, needs_jail):
    # kills: a system call too many in the list, a wall that Python or compiled code can take down
    answers = attack("jail", [*PATHS, *OTHERS, *HANDLES, *MEMORY])
    assert all(unharmed for _, unharmed in answers.values())
    words = {"torch.save({}, home / 'new')": "RuntimeError", "thread()": "RuntimeError: can't start new thread"}
    words["socket.getaddrinfo('localhost', 80)"] = "-"  # a resolver's number
    words |= dict(zip(MEMORY, ["MemoryError", "MemoryError", "RuntimeError: [enforce fail"], strict=True))
    for name, (answer, _) in answers.items():
        if name in words:
            assert str(answer).startswith(words[name]), (name, answer)
        else:
            assert answer == (errno.EBADF if name in HANDLES else errno.EPERM), (name, answer)


def entered(before="", after="", **settings):
    """A process that runs some lines, enters the jail, and runs others; it tells why it may not enter."""
    script = f"""
import errno, os, sys, threading, time
from sijo.errors import RefusedError
from sijo.files import jail
{before}
try:
    jail.enter(memory=2**24, written=1000, seconds=1)
except RefusedError as error:
    print(error)
    os._exit(4)
{after}
os._exit(0)
"""
    return subprocess.run(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, check=False, **settings
    )


def test_limits_and_privileges(needs_jail):
    # kills: a limit that is forgotten since seccomp hides it, or can be raised again; root's capabilities kept
    before = "import ctypes, json, struct; from resource import *\n"
    before += "jail._seccomp = lambda: None; jail.OTHERS = jail.FILES = {}"
    look = """
kinds = RLIMIT_AS, RLIMIT_FSIZE, RLIMIT_CPU, RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_CORE
capabilities = ctypes.create_string_buffer(24)
jail.LIBC.capget(struct.pack("=Ii", jail.CAPABILITIES_3, 0), capabilities)
flags = [jail.LIBC.prctl(option, 0, 0, 0, 0) for option in (39, 21)]  # no_new_privs, seccomp
print(json.dumps([[getrlimit(kind) for kind in kinds], any(capabilities.raw), flags]), flush=True)
"""
    ran = entered(before, look, stdout=subprocess.PIPE)
    ((memory, memory_too), *limits), privileged, flags = json.loads(ran.stdout)
    assert limits == [[1000, 1000], [1, 1], [0, 0], [0, 0], [0, 0]] and memory == memory_too < 2**30
    assert not privileged and flags == [1, 0]


def test_the_jailed_end_with_who_jailed_them(needs_jail):
    # kills: a hostile reader that lives on when sijo is killed
    inner = "from sijo.files import jail; jail.enter(memory=2**24, written=0, seconds=60); print(1, flush=True)"
    outer = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1] + '\\nwhile 1: 0'])"
    with subprocess.Popen([sys.executable, "-c", outer, inner], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"1\n"
        process.kill()
        started = time.monotonic()
        assert process.stdout.read() == b"" and time.monotonic() - started < 20  # the pipe's last end is closed


def test_a_file_and_a_loop_end_at_their_limits(tmp_path, needs_jail):
    # kills: a disk that is filled, a reader that computes for ever
    with (tmp_path / "flood").open("wb") as flood:
        ran = entered(after="while True: os.write(1, bytes(10**6))", stdout=flood)
    assert ran.returncode == 1 and "File too large" in ran.stderr and (tmp_path / "flood").stat().st_size == 1000
    started = time.monotonic()
    ran = entered(after="while True: pass", stdout=subprocess.DEVNULL)
    assert ran.returncode < 0 and time.monotonic() - started < 30


@pytest.mark.parametrize("version", range(1, 8))
def test_users_without_privileges_and_older_kernels(version, needs_jail):
    # kills: no_new_privs forgotten, which root does not need; a right that an older Landlock does not know
    if version > jail.landlock_version():
        pytest.skip(f"Landlock {version} is not to be had here")
    user = "if os.getuid() == 0: os.setgroups([]), os.setgid(65534), os.setuid(65534)"
    ran = entered(f"jail.landlock_version = lambda: {version}\n{user}", stdout=subprocess.PIPE)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "before, words",
    [
        ("jail._landlock = lambda version: None", "Landlock lets its reader open a folder"),
        ("jail._seccomp = lambda: None", "seccomp answers"),
        ("jail.DENY = jail.ALLOW", "seccomp answers"),
        *(
            (f"jail.CALLS |= {{'hole': ({x86_64}, {aarch64}, ())}}", words)
            for x86_64, aarch64, words in [
                (257, 56, "tries to open a folder"),
                (59, 221, "tries to run other programs"),
                (262, 79, "lets its reader look at a path"),
                (56, 220, "start a process"),
                (62, 129, "lets its reader signal another process"),
                (41, 198, "reader tries to make a socket"),
                (302, 261, "lets its reader reach its limits"),
            ]
        ),
        (
            "jail._landlock = lambda version: None; jail.FILES = {'run': jail._run}",
            "",  # what ran tells it
        ),
        ("threading.Thread(target=time.sleep, args=[9], daemon=True).start()", "2 threads"),
        (
            "def no(*_): raise OSError(errno.EINVAL, 'Invalid argument')\n"
            "real = jail._prctl; jail._prctl = lambda option, *rest: (no if option == 22 else real)(option, *rest)",
            "Invalid argument",
        ),
        ("jail.RESTRICT_SELF = 1023", "Function not implemented"),
    ],
)
def test_a_wall_that_does_not_hold_is_noticed(before, words, needs_jail):
    # kills: a mechanism that is silently without effect, and a proof that is not tried
    ran = entered(before, "os.write(1, b'entered')", stdout=subprocess.PIPE)
    assert ran.returncode != 0 and "entered" not in ran.stdout
    if words:
        assert words in ran.stdout and "jail of the Linux kernel" in ran.stdout, ran.stdout + ran.stderr
    else:
        assert (ran.returncode, ran.stderr) == (4, "can run other programs in its jail")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
def test_kernels_without_landlock(monkeypatch, number):
    # kills: a conversion on a kernel, or in a container, that cannot hold it

    class Kernel:
        @staticmethod
        def syscall(*_):
            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(jail, "LIBC", Kernel)
    with pytest.raises(RefusedError, match=f"Landlock and seccomp.*{os.strerror(number)}"):
        jail.landlock_version()


@pytest.mark.parametrize(
    "system, machine, words",
    [("darwin", "arm64", "Darwin"), ("linux", "riscv64", "riscv64"), ("linux", "i686", "i686"), ("linux", "", "")],
)
def test_other_systems(monkeypatch, system, machine, words):
    # kills: system calls by the numbers of another system
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.delattr(jail, "LIBC")
    with pytest.raises(RefusedError, match=f"5.13 or later.*this is {words}"):
        jail.landlock_version()


@pytest.mark.parametrize(
    "version, rights",
    [
        (1, (0x1FFF, 0, 0)),
        (2, (0x3FFF, 0, 0)),
        (3, (0x7FFF, 0, 0)),
        (4, (0x7FFF, 3, 0)),
        (5, (0xFFFF, 3, 0)),
        (6, (0xFFFF, 3, 3)),
        (9, (0xFFFF, 3, 3)),
    ],
)
def test_every_right_that_a_version_knows_is_taken(monkeypatch, version, rights):
    # kills: execution, truncation, devices or TCP left open where the kernel could close it
    calls = []

    class Kernel:
        @staticmethod
        def syscall(*arguments):
            calls.append(arguments)
            return os.open(os.devnull, os.O_RDONLY) if arguments[0] == jail.CREATE_RULESET else 0

    monkeypatch.setattr(jail, "LIBC", Kernel)
    jail._landlock(version)
    (_, attributes, size, flags), (number, *_) = calls
    assert struct.unpack("=QQQ", attributes) == rights
    assert (size.value, flags, number) == (24, 0, jail.RESTRICT_SELF)


def verdict(program, arch, number, arguments=(0,) * 6):
    """What the kernel would do with a call: the filter interpreted, from `man 2 seccomp` and the BPF paper."""
    data = struct.pack("=iIQ6Q", number, arch, 0, *arguments)
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, operand = struct.unpack_from("=HBBI", program, 8 * at)
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, operand)
            case 0x54:
                accumulator &= operand
            case 0x15:
                at += if_true if accumulator == operand else if_false
            case 0x06:
                return operand


@pytest.mark.parametrize("machine, arch, read", [("x86_64", 0xC000003E, 0), ("aarch64", 0xC00000B7, 63)])
def test_the_filter_of_either_architecture(machine, arch, read):
    # kills: a jump that is off by one, a number of the other table, 32-bit calls, which have other numbers
    program = jail.filter_program(machine)
    allow, deny, kill = 0x7FFF0000, 0x00050001, 0x80000000
    mapping = {"x86_64": 9, "aarch64": 222}[machine]
    protecting = {"x86_64": 10, "aarch64": 226}[machine]
    numbers = {"x86_64": [0, 1, 8, 11, 12, 15, 24, 25, 28, 60, 202, 228, 231, 318]}
    numbers["aarch64"] = [62, 63, 64, 93, 94, 98, 113, 124, 139, 214, 215, 216, 233, 278]
    for number in [*range(2_000), *range(0x40000000, 0x40000000 + 600)]:
        if number not in (mapping, protecting):
            assert verdict(program, arch, number) == (allow if number in numbers[machine] else deny), number
    for other in (0x40000003, 0x40000028, 0xC000003E, 0xC00000B7, 0):  # i386, arm, each other, none
        if other != arch:
            assert verdict(program, other, read) == kill
    for protection in range(8):
        wanted = deny if protection & 4 else allow
        assert verdict(program, arch, protecting, (0, 0, protection, 0, 0, 0)) == wanted
        assert verdict(program, arch, mapping, (0, 0, protection, 0x22, 2**64 - 1, 0)) == wanted
        assert verdict(program, arch, mapping, (0, 0, protection, 0x02, 3, 0)) == deny
