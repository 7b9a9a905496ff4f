"""What a release must be, tried on the wheel that the tests run on; and the workflow that makes one."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml

import release

ROOT = release.ROOT
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.fixture(scope="module")
def wheel():
    built = sorted((ROOT / ".build").glob("sijo-*.whl"))
    if not built:
        pytest.skip("no wheel was built here; make test builds one")
    return built[-1]


def changed(wheel, to, change):
    """A copy of a wheel with `change(name, content)` of each file; None leaves one out, a dict adds files."""
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return to


def test_the_wheel_holds_the_package_its_model_and_nothing_else(wheel):
    # kills: a table or a page that was forgotten, tests or data of somebody's in everybody's site-packages
    assert release.wrong_with_wheel(wheel) == []


def test_what_is_wrong_with_a_wheel_is_seen(wheel, tmp_path, monkeypatch):
    # kills: a check that finds nothing, whatever is there
    gone = ("sijo/checkpoints/hub.toml", "licenses/NOTICE", "sijo-small/config.json")
    stray = ("sijo/tests/test_x.py", "tests/conftest.py", "sijo/.env", "sijo/model.bin", "sijo/a/__pycache__/x.pyc")

    def change(name, content):
        if name.endswith("sijo-small/modules.json"):
            return content + b" "
        return None if name.endswith(gone) else content

    place = changed(wheel, tmp_path / wheel.name, change)
    with zipfile.ZipFile(place, "a") as more:
        for name in stray:
            more.writestr(name, b"")
    told = release.wrong_with_wheel(place)
    model = "sijo/boxed/sijo-small"
    assert {f"{name} does not belong in it" for name in stray} <= {*told}
    assert {"NOTICE is not in it", "sijo/checkpoints/hub.toml is not in it"} <= {*told}
    assert f"{model}/config.json is there or in the manifest alone" in told
    assert {f"{model}/modules.json is not as {file} says" for file in ("RECORD", "its manifest")} <= {*told}
    monkeypatch.setattr(release, "MOST_BYTES", 1_000)
    without = changed(wheel, place, lambda name, content: None if "/boxed/" in name else content)
    assert {"no model is in it", f"{model}/manifest.json is not in it"} <= {*release.wrong_with_wheel(without)}
    assert "more than 1,000" in release.wrong_with_wheel(without)[0]


def test_a_tag_names_the_version_that_is_everywhere(tmp_path, monkeypatch):
    # kills: version 0.2.0 of the index that calls itself 0.1.0, and notes of another release
    for name in ("pyproject.toml", "src/sijo/version.py", "CITATION.cff"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    version = release.tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    monkeypatch.setattr(release, "ROOT", tmp_path)
    changes = tmp_path / "CHANGELOG.md"
    changes.write_text(f"# Changelog\n\n## {version}, 2026-12-01\n\n- New.\n\n## 0.0.1, 2026-01-01\n\n- Old.\n")
    assert (release.wrong_with_version(f"v{version}"), release.notes(f"v{version}")) == ([], "- New.\n")
    assert len(release.wrong_with_version("v9.9.9")) == 4
    assert "no tag of a release" in release.wrong_with_version(version)[-1]
    changes.write_text(f"# Changelog\n\n## {version}, not released\n")
    assert "CHANGELOG.md does not begin" in release.wrong_with_version(f"v{version}")[0]
    (tmp_path / "CITATION.cff").write_text("version: 3.0.0\n")
    assert "CITATION.cff says 3.0.0" in release.wrong_with_version(f"v{version}")[0]


IDENTITIES = {
    "release.yml": ("publish", {"id-token": "write"}, {"build", "test"}),
    "docs.yml": ("deploy", {"id-token": "write", "pages": "write"}, {"build"}),
}
"""Of each workflow the one job that may say who it is, what else it may, and what it waits for."""


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_trusts_nobody_more_than_it_must(path):
    # kills: an action by a tag that its owner can move, an identity for every job, a tag's words in a shell
    text = path.read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action, _ in used)
    assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", comment) for _, comment in used)
    jobs = workflow["jobs"]
    name, own, needed = IDENTITIES[path.name]
    assert [name for name, job in jobs.items() if "id-token" in job["permissions"]] == [name]
    assert jobs[name]["permissions"] == own and jobs[name]["environment"] and {*jobs[name]["needs"]} == needed
    assert not any("checkout" in json.dumps(step) for step in jobs[name]["steps"])  # what was built, and no more
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert all(step["with"]["persist-credentials"] is False for step in steps if "checkout" in step.get("uses", ""))
    assert not any("${{" in step.get("run", "") for step in steps) and "secrets." not in text
    assert all("timeout-minutes" in job for job in jobs.values())


def test_what_a_workflow_runs_is_there():
    # kills: a release that fails at its first step, on the day
    steps = [
        step.get("run", "")
        for path in WORKFLOWS
        for job in yaml.safe_load(path.read_text())["jobs"].values()
        for step in job["steps"]
    ]
    targets = [
        word for run in steps for line in re.findall(r"^make (.*)", run, re.MULTILINE) for word in line.split()
    ]
    targets = [word for word in targets if re.fullmatch("[a-z]+", word)]
    makefile = (ROOT / "Makefile").read_text()
    assert targets and all(re.search(rf"^{name}:", makefile, re.MULTILINE) for name in targets)
    scripts = [word for run in steps for word in re.findall(r"python3? (\S+\.py) (\w+)", run)]
    assert {name for name, _ in scripts} == {"tests/release.py"} and {what for _, what in scripts} == {
        "version",
        "notes",
    }
    assert all(Path(ROOT / name).is_file() for name, _ in scripts)
