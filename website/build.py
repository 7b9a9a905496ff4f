"""`make docs`: the pages as a site in .build/website/site, which needs no server and nothing from elsewhere.

    python website/build.py          gathers the pages, builds them strictly, and checks what was built
    python website/build.py --check  the last step alone

The pages of docs/ are joined by those that stand elsewhere in the sources, by the commands as the command line
tells of them, and by the docstrings of the public names. A link to a file of the sources leads to a copy of it.
"""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat

ROOT = Path(__file__).parents[1]
WEBSITE = ROOT / "website"
STAGE = ROOT / ".build/website"
SITE = STAGE / "site"
ELSEWHERE = {
    "README.md": "index.md",  # the site has a first page of its own; links to this one lead there
    "README.ko.md": "start.ko.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "examples/README.md": "examples.md",
    "examples/notebook.ipynb": "notebook.md",
    "src/sijo/boxed/sijo-small/README.md": "model-card.md",
}
COMMANDS = "commands.md"
AS_THEY_ARE = (".png", ".svg", ".csv", ".toml", ".ipynb")  # the others are shown, as text
WORKER = "https://unpkg.com/iframe-worker/shim"  # what the generator has pages opened from a disk ask for


def places() -> dict[Path, str]:
    """Where each page of the sources stands in the site."""
    found = {ROOT / page: place for page, place in ELSEWHERE.items()}
    found |= {page: page.name for page in ROOT.glob("docs/*.md")}
    return found | {page: f"api/{page.name}" for page in WEBSITE.glob("api/*.md")}


def with_links(text: str, origin: Path, place: str, pages: dict[Path, str]) -> str:
    """The text of a page, its links leading to where their targets stand in the site; other files are copied."""

    def moved(match: re.Match[str]) -> str:
        target, hash_, anchor = match[1].partition("#")
        file = (origin.parent / target).resolve()
        file = file / "README.md" if (file / "README.md").is_file() else file
        if not target or "://" in target or not (file in pages or file.is_file()):
            return match[0]
        if file in pages:
            to = pages[file]
        else:
            to = file.name if file.parent == ROOT / "docs" else f"files/{file.relative_to(ROOT)}"
            to += "" if file.suffix in AS_THEY_ARE else ".txt"
            (STAGE / "docs" / to).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, STAGE / "docs" / to)
        return f"]({os.path.relpath(to, Path(place).parent)}{hash_}{anchor})"

    return re.sub(r"\]\(([^)\s]+)\)", moved, text)


def copyable(text: str) -> str:
    """The text of a page, blocks of nothing but commands without their prompts, which a reader would copy too."""

    def bare(match: re.Match[str]) -> str:
        lines = match[1].splitlines()
        if not all(line.startswith("$ ") for line in lines):
            return match[0]
        return "\n".join(["```sh", *(line.removeprefix("$ ") for line in lines), "```"])

    return re.sub(r"^```console\n(.*?)^```", bare, text, flags=re.MULTILINE | re.DOTALL)


def notebook(path: Path) -> str:
    """A notebook as a page: what it says, its code, and what came of it."""
    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        parts.append(cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```")
        for output in cell.get("outputs", ()):
            text = output.get("text") or output["data"].get("text/plain", "")
            parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts)


def commands() -> str:
    """Every command and option, as `--help` tells of them."""
    from sijo.app.cli import app

    text = app.generate_docs(output_format="markdown")
    text = re.sub(r"^\* (`.*`):\s*$", r"* \1", text, flags=re.MULTILINE)
    return text.replace("# sijo\n", "# Every command\n", 1).replace("## Table of Contents", "## All of them", 1)


def gather() -> None:
    """Lay out what is built."""
    shutil.rmtree(STAGE, ignore_errors=True)
    (STAGE / "docs/api").mkdir(parents=True)
    pages = places()
    for origin, place in pages.items():
        if ELSEWHERE.get(str(origin.relative_to(ROOT))) in ("index.md", "start.ko.md"):
            continue
        text = notebook(origin) if origin.suffix == ".ipynb" else origin.read_text(encoding="utf-8")
        if text.startswith("---\n"):  # a model card's metadata are the Hub's
            text = text.split("\n---\n", 1)[1]
        (STAGE / "docs" / place).write_text(copyable(with_links(text, origin, place, pages)), encoding="utf-8")
    (STAGE / "docs" / COMMANDS).write_text(commands(), encoding="utf-8")
    for file in ("zensical.toml", "docstrings.py"):
        shutil.copyfile(WEBSITE / file, STAGE / file)
    shutil.copyfile(WEBSITE / "site.css", STAGE / "docs/site.css")


def stand_alone() -> None:
    """Take from the built pages what asks another server, and the page for errors, whose links want a server."""
    (SITE / "404.html").unlink()
    shutil.copyfile(WEBSITE / "search-file.js", SITE / "search-file.js")
    for file in SITE.rglob("*.html"):
        here = os.path.relpath(SITE / "search-file.js", file.parent)
        file.write_text(file.read_text(encoding="utf-8").replace(WORKER, here), encoding="utf-8")


class Page(HTMLParser):
    """What a built page links to and shows, and the anchors it has."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loaded = {""}, list[str](), list[str]()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.anchors |= {said.get("id") or "", said.get("name") or ""}
        if tag == "a" and said.get("href"):
            self.links.append(str(said["href"]))
        elif tag in ("img", "script", "iframe", "source") and said.get("src"):
            self.loaded.append(str(said["src"]))
        elif tag == "link" and said.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.loaded.append(str(said["href"]))


def faults(site: Path) -> list[str]:
    """What of a built site leads nowhere, or is taken from another server."""
    pages = {file: Page(file) for file in sorted(site.rglob("*.html"))}
    found = []
    for file, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    found.append(f"{file.relative_to(site)} takes {link} from another server")
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                found.append(f"{file.relative_to(site)} links to {link}, which is not there")
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{file.relative_to(site)} links to {link}, where there is no such heading")
    for sheet in site.rglob("*.css"):
        found += [
            f"{sheet.name} takes {url}" for url in re.findall(r"url\(['\"]?(https?:[^)'\"]+)", sheet.read_text())
        ]
    return found


def main() -> int:
    """Gather, build, check."""
    if "--check" not in sys.argv:
        gather()
        command = [str(Path(sys.executable).with_name("zensical")), "build", "--clean", "--strict"]
        subprocess.run(command, cwd=STAGE, check=True, env={**os.environ, "NO_COLOR": "1"})
        stand_alone()
    found = faults(SITE)
    print("\n".join(found) or f"{len(list(SITE.rglob('*.html')))} pages: open .build/website/site/index.html")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
