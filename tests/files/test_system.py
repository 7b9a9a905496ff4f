"""Systems that lack what Linux has: the package is imported and used all the same, as far as that can be faked."""

import subprocess
import sys

import pytest

from sijo.errors import CheckpointError, RefusedError
from sijo.files import opener, system
from sijo.files.opener import open_inside

WINDOWS = """
import os, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "resource", "termios", "pwd", "grp", "tty"):
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Absent())
import subprocess, multiprocessing.context, signal, pathlib, tempfile, shutil, asyncio
for name in ("fcntl", "resource", "termios", "pwd", "grp", "tty"):
    sys.modules.pop(name, None)
absent = "O_NOFOLLOW O_CLOEXEC O_DIRECTORY O_NONBLOCK O_NOCTTY geteuid getuid fchmod fchown pread fork"
for name in [*absent.split(), "sched_getaffinity"]:
    if hasattr(os, name):
        delattr(os, name)
os.supports_dir_fd = set()
"""
EVERY_FILE = """
import importlib, pathlib, sijo
root = pathlib.Path(sijo.__file__).parent
for path in sorted(root.rglob("*.py")):
    name = ".".join(("sijo", *path.relative_to(root).with_suffix("").parts))
    if not name.endswith("__init__"):
        importlib.import_module(name)
"""
USE = """
import types
sys.modules["msvcrt"] = types.SimpleNamespace(LK_LOCK=1, LK_NBLCK=2, locking=lambda *_: None)
from sijo.app import cli
folder, out = sys.argv[1:]
pathlib.Path(out, "rows.csv").write_text("text\\nrain\\nsun\\n")
run = ["classify", f"{out}/rows.csv", "--labels", "sea,land", "--model", folder, "--output", f"{out}/labelled.csv"]
assert cli.run(run) == 0 and cli.run([*run, "--resume"]) == 0
assert len(pathlib.Path(out, "labelled.csv").read_text().splitlines()) == 3
names = sorted(path.name for path in pathlib.Path(out).iterdir())
assert names == [".labelled.csv.sijo-id", "labelled.csv", "rows.csv"], names
"""


def test_every_file_is_imported_without_what_windows_lacks():
    # kills: `import fcntl` at the head of a file, a flag of opening that is read when a file is imported
    subprocess.run([sys.executable, "-c", WINDOWS + EVERY_FILE], check=True)


def test_texts_are_labelled_without_what_windows_lacks(tiny_copy, tmp_path):
    # kills: a lock, an owner or a mode on the way from a file to an output
    from conftest import tiny_weights
    from onnx_networks import write_onnx

    write_onnx(tiny_copy, tiny_weights())
    (tmp_path / "out").mkdir()
    subprocess.run([sys.executable, "-c", WINDOWS + USE, tiny_copy, tmp_path / "out"], check=True)


@pytest.mark.parametrize("opens_folders", [True, False])
def test_a_file_is_opened_within_its_folder(tmp_path, monkeypatch, opens_folders):
    # kills: a path that leads out where there are no handles of folders
    monkeypatch.setattr(opener, "OPENS_FOLDERS", opens_folders)
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (folder / "file").write_text("content")
    (folder / "inner/link").symlink_to("../file")
    (folder / "out").symlink_to("../secret")
    (folder / "nothing").symlink_to("absent")
    for name in ("file", "inner/link"):
        with open_inside(folder, name) as stream:
            assert stream.read() == b"content"
    assert open_inside(folder, "absent") is None and open_inside(folder, "file/more") is None
    for name, kind in (("out", RefusedError), ("inner", RefusedError), ("nothing", CheckpointError)):
        with pytest.raises(kind):
            open_inside(folder, name)


def test_bytes_from_within_a_file(tmp_path, monkeypatch):
    # kills: the wrong bytes of a header where there is no pread; a file whose rest alone is read after a look at it
    (tmp_path / "file").write_bytes(bytes(range(100)))
    with (tmp_path / "file").open("rb") as stream:
        want = system.read_at(stream.fileno(), 5, 90)
        monkeypatch.delattr("os.pread")
        assert system.read_at(stream.fileno(), 5, 90) == want == bytes(range(90, 95))
        assert system.read_at(stream.fileno(), 50, 90) == bytes(range(90, 100))
        assert stream.read() == bytes(range(100))
