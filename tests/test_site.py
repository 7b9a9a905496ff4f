"""The site that `make docs` builds, before it is built: what stands in it, and what its builder makes of a page.

`make docs` itself builds strictly and follows every link of what was built.
"""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

import sijo

ROOT = Path(__file__).parents[1]
WEBSITE = ROOT / "website"
CONFIG = tomllib.loads((WEBSITE / "zensical.toml").read_text())["project"]


def pages_of(entries):
    """Every page of a navigation, in order."""
    for entry in entries:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else pages_of(value)


def imported(name):
    """A script of website/, imported from its file."""
    spec = importlib.util.spec_from_file_location(name, WEBSITE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def build():
    return imported("build")


def test_every_page_stands_in_the_navigation_once(build):
    """Catches a page of docs/ that nobody finds, and one that was renamed: `nav` is in website/zensical.toml."""
    named = sorted(pages_of(CONFIG["nav"]))
    assert named == sorted({*build.places().values(), build.COMMANDS})


def test_every_public_name_has_its_docstring_shown():
    """Catches a public name that was added, or taken away, and not in the reference."""
    shown = [
        line.removeprefix("::: ") for page in WEBSITE.glob("api/*.md") for line in page.read_text().splitlines()
    ]
    names = [name.removeprefix("sijo.") for name in shown if name.startswith("sijo.")]
    assert sorted(names) == sorted(set(sijo.__all__) - {"__version__"})


def test_links_lead_to_where_a_page_stands_in_the_site(build, tmp_path, monkeypatch):
    """Catches a link out of docs/ that works on GitHub alone, and an anchor that is lost on the way."""
    monkeypatch.setattr(build, "STAGE", tmp_path)
    links = {
        "../SECURITY.md#x": "security.md#x",
        "bert.md": "bert.md",
        "../src/sijo/nn/heads.py": "files/src/sijo/nn/heads.py.txt",
        "https://a.b/c": "https://a.b/c",
        "#here": "#here",
        "page.png": "page.png",
        "../benchmarks": "benchmarks.md",
    }
    text, wanted = (" ".join(f"[a]({link})" for link in side) for side in (links, links.values()))
    assert build.with_links(text, ROOT / "docs/albert.md", "albert.md", build.places()) == wanted
    copied = tmp_path / "docs/files/src/sijo/nn/heads.py.txt"
    assert copied.read_bytes() == (ROOT / "src/sijo/nn/heads.py").read_bytes()
    assert build.with_links("[a](albert.md)", WEBSITE / "api/models.md", "api/models.md", {}) == "[a](albert.md)"
    deep = build.with_links("[a](../../docs/bert.md)", WEBSITE / "api/models.md", "api/models.md", build.places())
    assert deep == "[a](../bert.md)"


def test_commands_are_copied_without_their_prompt(build):
    """Catches a `$` that a newcomer pastes into a terminal, and an output that is taken for a command."""
    assert build.copyable("a\n```console\n$ one\n$ two\n```\nb") == "a\n```sh\none\ntwo\n```\nb"
    assert build.copyable("```console\n$ one\n1\n```\n") == "```console\n$ one\n1\n```\n"


BUILT = '<html><body id="top"><h2 id="측정">x</h2><a href="{}">y</a><img src="{}"></body></html>'


@pytest.mark.parametrize(
    ("link", "picture", "told"),
    [
        ("b.html#%EC%B8%A1%EC%A0%95", "p.png", ""),
        ("c.html", "p.png", "links to c.html, which is not there"),
        ("b.html#gone", "p.png", "no such heading"),
        ("https://other.example/", "p.png", ""),
        ("#top", "https://other.example/p.png", "from another server"),
        ("b.html", "gone.png", "gone.png, which is not there"),
    ],
)
def test_what_leads_nowhere_or_elsewhere_is_found(build, tmp_path, link, picture, told):
    """Catches a check that passes over anchors, pictures, or what another server is asked for."""
    (tmp_path / "p.png").touch()
    (tmp_path / "b.html").write_text(BUILT.format("b.html", "p.png"), encoding="utf-8")
    (tmp_path / "a.html").write_text(BUILT.format(link, picture), encoding="utf-8")
    found = build.faults(tmp_path)
    assert len(found) == bool(told)
    assert told in "".join(found)


def test_a_stylesheet_that_asks_another_server_is_found(build, tmp_path):
    """Catches a theme that fetches its letters from elsewhere."""
    (tmp_path / "a.css").write_text("@font-face { src: url('https://fonts.example/a.woff2') }")
    assert build.faults(tmp_path) == ["a.css takes https://fonts.example/a.woff2"]


def test_every_command_is_told(build):
    """Catches a command line whose help no longer becomes a page."""
    from sijo.app.cli import app

    text = build.commands()
    assert [name for name in app if not name.startswith("-") and f"## sijo {name}\n" not in text] == []
    assert "`--labels-file" in text


def test_options_that_first_pages_speak_of_are_there(build):
    """Catches an option in a sentence that no command has: blocks of commands are run, sentences are not."""
    starts = next(entry["Start"] for entry in CONFIG["nav"] if "Start" in entry)
    pages = [*(ROOT / "docs" / name for name in pages_of(starts)), ROOT / "README.md", ROOT / "README.ko.md"]
    text = "\n".join(page.read_text() for page in pages if page.exists())  # the notebook's stands elsewhere
    code = " ".join(re.findall(r"`([^`\n]+)`", text))
    told, known = (set(re.findall(r"(?<![\w-])--[a-z-]+", text)) for text in (code, build.commands()))
    assert len(told) > 10 and told <= known


@pytest.mark.parametrize("name", ["terminal.svg", "terminal.ko.svg"])
def test_pictures_of_a_terminal_ask_nobody(name):
    """Catches a picture drawn with letters of another server, or of a command that is no longer on any page."""
    picture = (ROOT / "docs" / name).read_text()
    assert "url(http" not in picture and "@import" not in picture
    pages = "".join(
        (ROOT / page).read_text() for page in ("README.md", "docs/label-my-texts.md", "docs/start.ko.md")
    )
    assert [command for command in imported("terminal").SHOWN[name] if f"$ {command}\n" not in pages] == []


def test_a_terminal_is_shown_as_it_stands_at_the_end():
    """Catches bars of progress that stay in the picture, and a line that was written over."""
    assert (
        imported("terminal").as_shown("10%\r\x1b[2K50%\r\x1b[2Kdone\r\nnext\r\n\x1b[1A\x1b[2Klast\r\n")
        == "done\nlast\n"
    )


def test_what_publishes_the_site_is_pinned():
    """Catches a step of others' that may change under us, and a workflow that builds otherwise than we do."""
    workflow = (ROOT / ".github/workflows/docs.yml").read_text()
    uses = re.findall(r"uses: (\S+)", workflow)
    assert len(uses) == 4 and all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action) for action in uses)
    assert "run: make docs\n" in workflow and f"path: {imported('build').SITE.relative_to(ROOT)}\n" in workflow
