"""What the pages say is run: every `sijo` command and every Python example, and every link leads somewhere."""

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from sijo.app.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")), ROOT / "examples/README.md"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


COMMANDS = {  # each once, however many pages have it
    line.removeprefix("$ "): page
    for page in reversed(PAGES)
    for block in blocks(page, "console")
    for line in block.splitlines()
    if line.startswith("$ ")
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{COMMANDS[command].name}-{command}")
def test_commands_do_what_the_page_says(command, sijo_cli, minilm, tmp_path, monkeypatch):
    """Catches an option renamed in the code and not on the page, and an example file that has moved."""
    if command.startswith("make "):
        assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    piped = re.fullmatch(r'echo "(.*)" \| (.*)', command)
    arguments = shlex.split(piped[2] if piped else command)
    assert arguments[0] == "sijo"
    ran = sijo_cli(*arguments[1:], stdin=f"{piped[1]}\n".encode() if piped else b"")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_examples_run(page, minilm, capsys):
    """Catches a name or an argument that the library no longer has, and a result that is another."""
    for block in blocks(page, "python"):
        source, want = [], []
        lines = block.splitlines()
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            shown = after.startswith("# ") and line and not line.startswith((" ", "#"))
            source.append(f"print(repr({line}))" if shown else line)
            want += [line.removeprefix("# ")] if line.startswith("# ") else []
        exec("\n".join(source), {})
        assert capsys.readouterr().out.splitlines() == want


@pytest.mark.parametrize("page", [*PAGES, ROOT / "benchmarks/README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Catches a page or an example that was moved or never written."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_promises_name_tests_that_are_there():
    """Catches a promise whose test was renamed, moved or never written."""
    named = 0
    for page in (ROOT / "SECURITY.md", ROOT / "docs/running.md"):
        for row in page.read_text().splitlines():
            file = ""
            for path, test in re.findall(r"`(tests/[a-z_/]+\.py)?::(test_\w+)`", row):
                file = path or file
                assert f"def {test}(" in (ROOT / file).read_text(), f"{page.name}: {file}::{test}"
                named += 1
    assert named > 80


@pytest.mark.parametrize(
    "script",
    [file for folder in ("benchmarks", "examples", "model") for file in ROOT.glob(f"{folder}/*.py")],
    ids=lambda file: file.name,
)
def test_scripts_import_what_there_is(script):
    """Catches a name that was moved, and not in a benchmark or an example, which no other test runs."""
    nodes = (node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.ImportFrom))
    names = [(str(node.module), alias.name) for node in nodes for alias in node.names]
    ours = [(module, name) for module, name in names if module.split(".")[0] == "sijo"]
    assert [(module, name) for module, name in ours if not hasattr(import_module(module), name)] == []


def test_every_command_is_on_a_page():
    """Catches a command that nobody can find in the manual."""
    text = "".join(page.read_text() for page in PAGES)
    names = [name for name in app if not name.startswith("-")]
    assert names and [name for name in names if f"sijo {name}" not in text] == []
