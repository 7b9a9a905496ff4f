"""Work that can be resumed: what the three that use it rely on. Each test names the fault it is to catch."""

import fcntl
import json
import os

import pytest

from sijo.errors import SettingError
from sijo.files.resumable import ResumableFolder


def begin(folder, settings, *, resume=False, overwrite=False):
    """Work that is begun in a folder and left at once."""
    with ResumableFolder(folder, results="result").lock() as work:
        return work.begin(settings, work="run", resume=resume, overwrite=overwrite)


@pytest.mark.parametrize("results", ["result", None])
def test_one_process_at_a_time(tmp_path, results):
    # kills: a lock that is let go too early or never, and one whose file stays when the work is gone
    folder = tmp_path / "work"
    held = ResumableFolder(folder, results=results).lock()
    with pytest.raises(SettingError, match="another process is at work in"):
        ResumableFolder(folder, results=results).lock()
    held.close()
    with ResumableFolder(folder, results=results).lock() as work:
        assert work.folder.exists()
    assert folder.exists() == (results is None)


@pytest.mark.parametrize("name, results", [("lock", "result"), (".lock", None)])
def test_an_older_sijo_holds_the_same_lock(tmp_path, name, results):
    # kills: a lock of another name or kind, by which an update in the middle of a run lets two processes in
    (tmp_path / name).mkdir() if results is None else (tmp_path / name).touch()
    handle = os.open(tmp_path / name, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(SettingError, match="another process"):
        ResumableFolder(tmp_path, results=results).lock()
    os.close(handle)
    ResumableFolder(tmp_path, results=results).lock().close()


def test_what_was_begun_is_gone_on_with_or_cleared(tmp_path):
    # kills: results of other settings kept when work starts over, or lost when it goes on; a forgotten permission
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
    ResumableFolder(tmp_path).lock(names=("settings.json",)).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "report.html.tmp-9", "settings.json"]
    ResumableFolder(tmp_path, results="*").lock().close()
    assert not list(tmp_path.glob("*.tmp-*"))


def test_a_folder_goes_when_nothing_is_worth_resuming(tmp_path):
    # kills: litter of work that failed at once, results that are lost, a permission that is forgotten, and
    # what another process began removed by one that was refused
    folder = tmp_path / "work"
    begin(folder, {"seed": 1})
    assert not folder.exists()
    begin(folder, {"seed": 1}, overwrite=True)
    assert folder.exists()
    (folder / "settings.json").write_text('{"overwrite": false, "settings": {"seed": 1}}')
    with pytest.raises(SettingError, match="begun with seed"):
        begin(folder, {"seed": 2}, resume=True)
    assert folder.exists()
    begin(folder, {"seed": 1}, resume=True)
    assert not folder.exists()
