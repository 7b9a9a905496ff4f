"""Work that can be resumed: what the three that use it rely on. Each test names the fault it is to catch."""

import fcntl
import json
import os

import pytest

from sijo.errors import SettingError
from sijo.files.resumable import ResumableFolder


def begin(folder, settings, *, resume=False, overwrite=False):
    """Work that is begun in a folder and left at once."""
    with ResumableFolder(folder).lock() as work:
        return work.begin(settings, work="run", resume=resume, overwrite=overwrite)


@pytest.mark.parametrize("stays", [False, True])
def test_one_process_at_a_time(tmp_path, stays):
    # kills: a lock that is let go too early or never, and one whose file stays when the work is gone
    folder = tmp_path / "work"
    held = ResumableFolder(folder, stays=stays).lock()
    with pytest.raises(SettingError, match="another process is at work in"):
        ResumableFolder(folder, stays=stays).lock()
    held.close()
    with ResumableFolder(folder, stays=stays).lock() as work:
        if not stays:
            work.remove()
    assert folder.exists() == stays


@pytest.mark.parametrize("name, stays", [("lock", False), (".lock", True)])
def test_an_older_sijo_holds_the_same_lock(tmp_path, name, stays):
    # kills: a lock of another name or kind, by which an update in the middle of a run lets two processes in
    (tmp_path / name).mkdir() if stays else (tmp_path / name).touch()
    handle = os.open(tmp_path / name, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(SettingError, match="another process"):
        ResumableFolder(tmp_path, stays=stays).lock()
    os.close(handle)
    ResumableFolder(tmp_path, stays=stays).lock().close()


def test_what_was_begun_is_gone_on_with_or_cleared(tmp_path):
    # kills: results of other settings kept when work starts over, or lost when it goes on; a forgotten leave
    folder = tmp_path / "work"
    assert begin(folder, {"seed": 1}, overwrite=True)
    assert json.loads((folder / "settings.json").read_text()) == {"overwrite": True, "settings": {"seed": 1}}
    (folder / "result").touch()
    with pytest.raises(SettingError, match=r"run to be resumed was begun with seed: 1, and now it is 2; give it"):
        begin(folder, {"seed": 2}, resume=True)
    assert begin(folder, {"seed": 1}, resume=True) and (folder / "result").exists()
    assert not begin(folder, {"seed": 2}) and not (folder / "result").exists()


def test_only_its_own_litter_is_cleared_away(tmp_path):
    # kills: half a file that stays for ever, and one that another program is writing beside a run
    for name in ("settings.json.tmp-9", "report.html.tmp-9", "settings.json"):
        (tmp_path / name).write_text("{}")
    ResumableFolder(tmp_path, stays=True).lock(names=("settings.json",)).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "report.html.tmp-9", "settings.json"]
    ResumableFolder(tmp_path).lock().close()
    assert not list(tmp_path.glob("*.tmp-*"))
