"""A tiny CTRL of ten kinds of English, and of Korean film reviews by their rating, in three steps.

    python model/ctrl.py FOLDER [--nsmc reviews.tsv.xz] [--set run.max_time=10m]

  texts      FOLDER/texts/CODE.txt, like many bytes of each code; what is kept apart is in FOLDER/held-out
  tokenizer  FOLDER/tokenizer: byte pairs of all these texts, with a token for each code (sijo tokenizer train)
  training   FOLDER/run, and at its end FOLDER/run/model (sijo pretrain)

A step that is done is not done again, and a training that was stopped goes on. English comes from packages, by
benchmarks/english.py, unless it lies in --english. Reviews are no package's: NSMC's reviews.tsv, .xz or not, has
columns movie, rating and text, and without it the codes are those of English alone. What is learned, and for how
long, is in ctrl.toml. The model is not published: one so small, taught so long, can recite its texts.
"""

import argparse
import csv
import hashlib
import json
import lzma
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))  # what the benchmarks share

import data  # noqa: E402

Parts = tuple[list[str], list[str]]
"""Documents to learn from, and documents kept apart."""


def sijo(words: Sequence[str]) -> int:
    """Run a command of sijo; returns its exit code."""
    return subprocess.run([*data.SIJO, *words], check=False).returncode


def digest(text: str) -> bytes:
    """A text's place in an order that looks like chance, and is the same everywhere."""
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def up_to(documents: Iterable[str], size: int) -> list[str]:
    """Documents in their order, as long as they are of `size` bytes or fewer together.

    >>> up_to(["비", "rain", "snow"], 7)
    ['비', 'rain']
    """
    taken = []
    for document in documents:
        size -= len(document.encode())
        if size < 0:
            break
        taken.append(document)
    return taken


def english(file: Path, size: int, held_out: int) -> Parts:
    """The documents of a plain text, of which one in `held_out` is kept apart.

    size  bytes that are learned from, at most
    """
    documents = file.read_text(encoding="utf-8").split("\n\n")
    documents = sorted({text for document in documents if (text := document.strip())}, key=digest)
    apart = documents[: len(documents) // held_out]
    return up_to(documents[len(apart) :], size), apart


def reviews(file: Path, settings: Mapping[str, Any]) -> dict[str, Parts]:
    """Korean reviews by code; no film, and no text, is on both sides.

    Raises SystemExit for a table without the columns of NSMC, in a sentence.
    """
    codes = {str(rating): code for code, ratings in settings["ratings"].items() for rating in ratings}
    found: dict[tuple[str, bool], set[str]] = defaultdict(set)
    with (lzma.open if file.suffix == ".xz" else open)(file, "rt", encoding="utf-8", newline="") as lines:
        table = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if lacking := {"movie", "rating", "text"} - {*(table.fieldnames or ())}:
            sys.exit(f"{file} has no column {sorted(lacking)[0]!r}; give NSMC's table of movie, rating and text")
        for row in table:
            if row["rating"] in codes and len(text := " ".join(row["text"].split())) >= settings["shortest"]:
                found[codes[row["rating"]], int(row["movie"]) % settings["films"] == 0].add(text)
    known = {text for (_, apart), texts in found.items() if not apart for text in texts}
    return {
        code: (
            up_to(sorted(found[code, False], key=digest), settings["bytes"]),
            sorted(found[code, True] - known, key=digest)[: settings["reviews_apart"]],
        )
        for code in settings["ratings"]
    }


def texts(folder: Path, english_folder: Path, nsmc: Path | None, settings: Mapping[str, Any]) -> list[str]:
    """Write the texts of each code, unless they are there; returns the codes.

    english_folder  what benchmarks/english.py writes; it is called where there is nothing
    nsmc            the table of reviews, or None for English alone

    Raises SystemExit, in a sentence, where the folder's texts were written from something else.
    """
    asked = {name: value for name, value in settings.items() if name != "settings"}
    if nsmc is None:
        asked["ratings"] = {}
    record = folder / "texts.json"
    if record.exists():
        written = json.loads(record.read_text(encoding="utf-8"))
        if written["asked"] != asked:
            other = [name for name, value in asked.items() if written["asked"].get(name) != value]
            sys.exit(
                f"{folder} has texts that were written with other settings ({', '.join(other)}"
                + (", which come with --nsmc" if other == ["ratings"] else "")
                + "); ask for the same, or give another folder"
            )
        data.say(f"texts: {folder}/texts are there")
        return list(written["codes"])
    if not (english_folder / "names.json").exists():
        data.say(f"texts: English is fetched into {english_folder}, with apt-get, npm and pip")
        subprocess.run([sys.executable, HERE.parent / "benchmarks" / "english.py", english_folder], check=True)
    parts = {
        code: english(english_folder / f"{name}.txt", settings["bytes"], settings["held_out"])
        for code, name in settings["english"].items()
    }
    if nsmc is None:
        data.say(
            "texts: no Korean reviews, and codes of English alone; reviews come with --nsmc (make ctrl NSMC=…)"
        )
    else:
        parts |= reviews(nsmc, settings)
    counts = {}
    for code, both in parts.items():
        for name, documents in zip(("texts", "held-out"), both, strict=True):
            if not documents:
                sys.exit(f"nothing is of the code {code} in {name}; the text that it is taken from is too short")
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{code}.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")
        counts[code] = {"documents": len(both[0]), "bytes": sum(len(text.encode()) for text in both[0])}
        data.say(f"texts: {code}: {counts[code]['documents']:,} documents, {counts[code]['bytes']:,} bytes")
    record.write_text(json.dumps({"asked": asked, "codes": counts}, indent=2) + "\n", encoding="utf-8")
    return list(parts)


def commands(
    folder: Path, codes: Sequence[str], settings: Mapping[str, Any], changes: Sequence[str]
) -> Iterator[tuple[Path, list[str]]]:
    """What is left when a command has been run, and the words of that command: tokenizer, then training.

    changes  settings of `sijo pretrain`, which go before those of the file
    """
    files = {code: str(folder / "texts" / f"{code}.txt") for code in codes}
    wanted, tokenizer = settings["tokenizer"], folder / "tokenizer"
    yield (
        tokenizer,
        [
            *("tokenizer", "train", "--kind", "bpe", "--family", "ctrl", "--cased"),
            *("--vocab-size", str(wanted["vocab_size"]), "--max-length", str(wanted["max_length"])),
            *(word for code in codes for word in ("--special", f"<{code}>")),
            *("--out", str(tokenizer), *files.values()),
        ],
    )
    own = {"data.length": wanted["max_length"], **settings["settings"]}
    changed = {change.partition("=")[0] for change in changes}
    yield (
        folder / "run" / "model",
        [
            *("pretrain", "ctrl-tiny", "--corpus", *(f"{code}={file}" for code, file in files.items())),
            *("--tokenizer", str(tokenizer), "--out", str(folder / "run"), "--resume"),
            *("--set", *(f"{path}={value}" for path, value in own.items() if path not in changed), *changes),
        ],
    )


def to_try(model: Path, codes: Sequence[str]) -> list[str]:
    """Arguments of `sijo` that show what the model does."""
    written = [code for code in ("Austen", "Python", "Stars-1", "Stars-5") if code in codes]
    read = ["It is a truth universally acknowledged", "Returns a new list of all keys of the dictionary"]
    read += ["정말 재미있게 봤어요", "돈이 아까운 영화"] if "Stars-1" in codes else []
    writing = "--temperature 0.8 --top-p 0.9 --max-new-tokens"
    return [
        f"generate --model {model} --codes",
        *(
            f"generate --model {model} --control-code {code} {writing} {24 if 'Stars' in code else 60}"
            for code in written
        ),
        *(f"attribute --model {model} {shlex.quote(text)}" for text in read),
    ]


def main() -> None:
    """The three steps, and what to try then."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything goes")
    parser.add_argument("--nsmc", type=Path, help="NSMC's table of Korean film reviews; without it, English alone")
    english_folder = Path("~/.cache/sijo-benchmarks/english")
    parser.add_argument(
        "--english", type=Path, default=english_folder, help=f"English by source ({english_folder})"
    )
    parser.add_argument("--settings", type=Path, default=HERE / "ctrl.toml", help="codes and settings (ctrl.toml)")
    parser.add_argument("--set", nargs="+", default=[], help="settings of sijo pretrain, such as run.max_time=10m")
    args = parser.parse_args()
    if args.nsmc is not None and not args.nsmc.is_file():
        parser.error(f"--nsmc {args.nsmc} is no file; give NSMC's reviews.tsv or reviews.tsv.xz")
    settings = tomllib.loads(args.settings.read_text(encoding="utf-8"))
    codes = texts(args.folder, args.english.expanduser(), args.nsmc, settings)
    for left, words in commands(args.folder, codes, settings, args.set):
        if left.exists():
            data.say(f"{words[0]}: {left} is there")
            continue
        data.say(f"sijo {shlex.join(words)}")
        if failed := sijo(words):
            sys.exit(failed)
    beside = Path(sys.executable).with_name("sijo")  # as in .venv/bin, which need not be on the PATH
    name = str(beside) if shutil.which("sijo") is None and beside.exists() else "sijo"
    for line in to_try(args.folder / "run" / "model", codes):
        print(f"{name} {line}")


if __name__ == "__main__":
    main()
