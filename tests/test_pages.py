"""What the pages say is run: every `sijo` command and every Python example, and every link leads somewhere."""

import ast
import re
import shlex
import shutil
import tomllib
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

import sijo
from blank_models import move
from sijo.app.cli import app
from sijo.models import published
from sijo.nn.architecture import Sinusoidal
from sijo.nn.head_specs import CLASSIFIER

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "README.ko.md", "CONTRIBUTING.md", "examples/README.md")),
    *sorted(ROOT.glob("docs/*.md")),
]
COMING_FROM = ROOT / "docs/coming-from.md"
LINKED = [*PAGES, ROOT / "benchmarks/README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"]
ENVIRONMENT = {"python3 -m venv sijo-env", "source sijo-env/bin/activate"}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


COMMANDS = {  # each once, however many pages have it
    line.removeprefix("$ "): page
    for page in reversed(PAGES)
    for block in blocks(page, "console")
    for line in block.splitlines()
    if line.startswith("$ ")
}


EXTRAS = {*tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]}


def extras(text: str) -> set[str]:
    """What a text says to install besides."""
    return {name for names in re.findall(r"sijo\[([a-z,]+)\]", text) for name in names.split(",")}


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """The folder of examples, with every fifth of the requests: what a hundred commands read 300 times over."""
    folder = shutil.copytree(ROOT / "examples", tmp_path_factory.mktemp("pages") / "examples")
    for name in ("requests.csv", "requests.ko.csv"):
        heading, *rows = (folder / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / name).write_text("".join([heading, *rows[::5]]), encoding="utf-8")
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{COMMANDS[command].name}-{command}")
def test_commands_do_what_the_page_says(command, sijo_cli, minilm, examples, tmp_path, monkeypatch):
    """Catches an option renamed in the code and not on the page, and an example file that has moved."""
    if command.startswith("make "):
        assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    if command.startswith("pip install ") or command in ENVIRONMENT:
        assert extras(command) <= EXTRAS
        return
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(examples)
    piped = re.fullmatch(r'echo "(.*)" \| (.*)', command)
    arguments = shlex.split(piped[2] if piped else command)
    assert arguments[0] == "sijo"
    ran = sijo_cli(*arguments[1:], stdin=f"{piped[1]}\n".encode() if piped else b"")
    assert ran.code == 0, ran.err


@pytest.fixture(scope="module")
def here(minilm, tmp_path_factory):
    """`here(source)`: an example with folders of this machine where it names models of a hub."""
    small = {"embedding_size": 16, "hidden_size": 16, "heads": 2, "intermediate_size": 32, "schedule": (0, 1)}

    def made(head, *labels):
        architecture = replace(minilm.architecture, **small)
        if head == "lm":
            places = Sinusoidal(count=64, layout="halves")
            architecture = replace(published("ctrl")[1].architecture(), vocab_size=30522, **small, positions=places)
        model = sijo.create(architecture, head, labels=labels or None, tokenizer=minilm.tokenizer)
        return sijo.save(move(model), tmp_path_factory.mktemp(head) / "model")

    folders = {
        "MoritzLaurer/deberta-v3-base-zeroshot-v2.0": made(CLASSIFIER, "entailment", "not_entailment"),
        "distilbert-base-uncased-finetuned-sst-2-english": made(CLASSIFIER, "NEGATIVE", "POSITIVE"),
        "dslim/bert-base-NER": made("token-classification", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"),
        "google-bert/bert-base-uncased": made("mlm"),
        "deepset/roberta-base-squad2": made("question-answering"),
        "Salesforce/ctrl": made("lm"),
        "sentence-transformers/all-MiniLM-L6-v2": minilm.source,
    }

    def replaced(source):
        for name, folder in folders.items():
            source = source.replace(f'"{name}"', repr(str(folder)))
        return source

    return replaced


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_examples_run(page, here, capsys):
    """Catches a name or an argument that the library no longer has, and a result that is another."""
    for block in blocks(page, "python"):
        source, want = [], []
        lines = here(block).splitlines()
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            shown = after.startswith("# ") and line and not line.startswith((" ", "#"))
            source.append(f"print(repr({line}))" if shown else line)
            want += [line.removeprefix("# ")] if line.startswith("# ") else []
        exec("\n".join(source), {})
        assert capsys.readouterr().out.splitlines() == want


PAIRS = re.findall(r"^```py\n(.*?)^```.*?^```python\n(.*?)^```", COMING_FROM.read_text(), re.MULTILINE | re.DOTALL)


def near(answer, other):
    """Whether two answers are one: of the same shape, with the same words, numbers alike to 1e-5."""
    if isinstance(answer, dict):
        return list(answer) == list(other) and all(near(answer[name], other[name]) for name in answer)
    if isinstance(answer, list):
        return len(answer) == len(other) and all(map(near, answer, other))
    return answer == other if isinstance(answer, str) else answer == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize(("theirs", "ours"), [pair for pair in PAIRS if "setfit" not in pair[0]])
def test_both_sides_of_a_pair_answer_alike(theirs, ours, here):
    """Catches advice to replace a call by one that answers otherwise, and a call that the peer no longer has."""
    answers = []
    for source in (theirs, ours):
        names = {}
        exec(here(source), names)
        answers.append(names["answer"])
    assert near(*answers)


def test_every_peer_has_a_pair():
    """Catches a page of which half is not tested."""
    text = COMING_FROM.read_text()
    assert len(PAIRS) == text.count("```py\n") == 6
    assert text.count("```py\n") + 4 == text.count("```python\n")


def anchors(page: Path) -> set[str]:
    """What a heading is linked to by, as GitHub and the site make it: lower case, dashes, no marks."""
    headings = re.findall(
        r"^#+ (.*)", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.MULTILINE
    )
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Catches a page, an example or a heading that was moved, renamed or never written."""
    dead = []
    for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())):
        file = (page.parent / target) if target else page
        if "://" in target or (target and not re.search(r"[./]", target)):  # another site; a call in an example
            continue
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            dead.append(f"{target}#{anchor}")
    assert dead == []


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_what_a_page_says_to_install_can_be(page):
    """Catches an extra that was renamed in pyproject.toml and not on the page."""
    assert extras(page.read_text()) <= EXTRAS


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
