"""What a release must be: one version everywhere, and a wheel that holds the package, its model and nothing else.

    python tests/release.py version v0.2.0     the tag, pyproject.toml, version.py and CHANGELOG.md name one version
    python tests/release.py wheel dist/*.whl   what is in the wheel
    python tests/release.py notes v0.2.0       the part of CHANGELOG.md about it

Python alone runs it, before anything is installed.
"""

import base64
import hashlib
import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_BYTES = 30_000_000
"""Of a wheel: the model is 24 MB, and an index takes 100."""
KINDS = {".py", ".toml", ".j2", ".json", ".typed", ".html", ".css", ".js", ".svg", ".txt", ".png", ".ico"}
"""How the package's own files end."""
MODEL_KINDS = {".json", ".onnx", ".safetensors", ".md"}
"""How those of the model end."""
STRAY = re.compile(r"(^|/)(tests?|benchmarks?|docs|examples|runs|__pycache__|\.[^/]*)(/|$)|\.pyc$|\.orig$|~$")


def wrong_with_wheel(path: Path) -> list[str]:
    """What is in a wheel and should not be, or should and is not; nothing where it is sound."""
    wrong = []
    if path.stat().st_size > MOST_BYTES:
        wrong.append(f"{path.name} has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        about = next(name.partition("/")[0] for name in names if name.endswith(".dist-info/METADATA"))
        wrong += [f"{name} does not belong in it" for name in names if not _belongs(name, about)]
        for name in ("LICENSE", "NOTICE"):
            if f"{about}/licenses/{name}" not in names:
                wrong.append(f"{name} is not in it")
        wrong += _not_as_recorded(wheel, about)
        boxed = [name for name in names if re.fullmatch(r"sijo/boxed/[\w-]+/manifest\.json", name)]
        wrong += [] if boxed else ["no model is in it"]
        for manifest in boxed:
            wrong += _not_as_listed(wheel, manifest)
        there = {name.removeprefix("sijo/") for name in names if name.startswith("sijo/")}
    source = ROOT / "src/sijo"
    must = {file.relative_to(source).as_posix() for file in source.rglob("*") if file.is_file()}
    must = {name for name in must if not STRAY.search(name)}
    return wrong + [f"sijo/{name} is not in it" for name in sorted(must - there)]


def _belongs(name: str, about: str) -> bool:
    if name.startswith(f"{about}/"):
        return True
    kinds = MODEL_KINDS if name.startswith("sijo/boxed/") else KINDS
    return name.startswith("sijo/") and not STRAY.search(name) and Path(name).suffix in kinds


def _not_as_recorded(wheel: zipfile.ZipFile, about: str) -> list[str]:
    """Files that RECORD does not list, or lists with another digest."""
    listed = {}
    for line in wheel.read(f"{about}/RECORD").decode().splitlines():
        name, digest, _ = line.rsplit(",", 2)
        listed[name.strip('"')] = digest
    wrong = []
    for name in wheel.namelist():
        digest = base64.urlsafe_b64encode(hashlib.sha256(wheel.read(name)).digest()).decode().rstrip("=")
        if name != f"{about}/RECORD" and listed.get(name) != f"sha256={digest}":
            wrong.append(f"{name} is not as RECORD says")
    return wrong


def _not_as_listed(wheel: zipfile.ZipFile, manifest: str) -> list[str]:
    """Files of a model that are not those of its manifest."""
    folder = manifest.rpartition("/")[0]
    files = json.loads(wheel.read(manifest))["files"]
    there = {name.removeprefix(f"{folder}/") for name in wheel.namelist() if name.startswith(f"{folder}/")}
    wrong = [f"{folder}/{name} is there or in the manifest alone" for name in there ^ {*files, "manifest.json"}]
    for name in files.keys() & there:
        if hashlib.sha256(wheel.read(f"{folder}/{name}")).hexdigest() != files[name]["sha256"]:
            wrong.append(f"{folder}/{name} is not as its manifest says")
    return wrong


def wrong_with_version(tag: str) -> list[str]:
    """Where another version stands than the tag's."""
    version = tag.removeprefix("v")
    said = {
        "pyproject.toml": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
        "src/sijo/version.py": re.findall(
            r'^__version__ = "(.*)"', (ROOT / "src/sijo/version.py").read_text(), re.M
        )[0],
        "CITATION.cff": re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[0],
        "CHANGELOG.md": re.findall(
            r"^## (\S+), \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
        ),
    }
    changes = said.pop("CHANGELOG.md")
    wrong = [f"{file} says {other}, the tag {tag}" for file, other in said.items() if other.strip('"') != version]
    if version not in changes[:1]:
        wrong.append(f"CHANGELOG.md does not begin with ## {version}, YYYY-MM-DD")
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        wrong.append(f"{tag} is no tag of a release, as v1.2.3")
    return wrong


def notes(tag: str) -> str:
    """What the changelog says of a version."""
    _, _, after = (ROOT / "CHANGELOG.md").read_text().partition(f"\n## {tag.removeprefix('v')}, ")
    return after.partition("\n")[2].partition("\n## ")[0].strip() + "\n"


def main() -> None:
    """Run one of the checks."""
    match sys.argv[1:]:
        case ["wheel", *paths] if paths:
            wrong = [words for path in paths for words in wrong_with_wheel(Path(path))]
        case ["version", tag]:
            wrong = wrong_with_version(tag)
        case ["notes", tag]:
            print(notes(tag), end="")
            return
        case _:
            wrong = [__doc__]
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
