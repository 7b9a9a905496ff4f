"""The labelled sets that teach sijo-small to fit labels: tables, and the mixture that `sijo finetune` learns from.

    python model/sets.py FOLDER --clinc CLINC150_FOLDER --nsmc reviews.tsv.xz

  requests.csv     CLINC150's training part within scope (CC BY 3.0), by intent and by domain
  nouns.csv        WordNet's glosses of nouns (WordNet 3.0's licence), by the kind of thing
  films.csv, products.csv, editorials.csv, tweets.csv
                   Hutto and Gilbert's snippets (MIT), positive above 0, negative below
  packages.csv, packages.ko.csv
                   Debian's descriptions (each package's own licence, Debian-free), by section, those that teach
  reviews.csv      Korean film reviews of NSMC (CC0), 1 to 4 and 9 to 10, of films whose number 5 does not divide
  mixture.toml     all of them, with the names of names.toml

A tenth of each, by the digest of its text, is kept apart in held-out/, with a mixture of its own.
What judges and never teaches is in benchmarks/zero_shot_sets.py and calibration_sets.py.
"""

import hashlib
import json
import lzma
import random
import sys
import tomllib
from csv import QUOTE_NONE, DictReader
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))  # the readers of packages are theirs

from calibration_sets import sentiment  # noqa: E402
from packages import Packages  # noqa: E402
from zero_shot_sets import Source  # noqa: E402

import data  # noqa: E402

Rows = list[tuple[str, ...]]
SNIPPETS = {
    "films": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "tweets": "tweets",
}
REVIEWS = 20_000
WEIGHTS = {"requests by intent": 4.0, "requests by domain": 1.0, "nouns": 2.0, "packages": 2.0, "reviews": 2.0}
"""How often a batch is of a set; that of each kind of snippets is 0.5."""


def apart(text: str) -> bool:
    """Whether a text is kept apart, whatever else is read."""
    return hashlib.blake2b(text.strip().casefold().encode(), digest_size=1).digest()[0] < 26


def reviews(file: Path, seed: int) -> Rows:
    """Korean film reviews with an opinion, of films that teach."""
    rows: Rows = []
    with lzma.open(file, "rt", encoding="utf-8", newline="") as lines:
        for row in DictReader(lines, delimiter="\t", quoting=QUOTE_NONE):
            rating = int(row["rating"])
            if row["text"].strip() and (rating <= 4 or rating >= 9) and int(row["movie"]) % 5:
                rows.append((row["text"].strip(), "negative" if rating <= 4 else "positive"))
    rows = sorted(set(rows))
    return random.Random(seed).sample(rows, min(REVIEWS, len(rows)))


def entry(file: str, label: str, names: dict[str, list[str]], *, own: bool, weight: float) -> str:
    """A set of the mixture."""
    shown = "\n".join(
        f"{code} = {json.dumps([*([code.replace('_', ' ')] if own else []), *said], ensure_ascii=False)}"
        for code, said in names.items()
    )
    name = f"{file.removesuffix('.csv')} by {label}"
    return (
        f'[[sets]]\nname = "{name}"\nfile = "{file}"\ntext = "text"\nlabel = "{label}"\nown_names = false\n'
        f"weight = {weight}\n\n[sets.names]\n{shown}\n\n"
    )


def main() -> None:
    """Write tables and mixtures."""
    parser = data.parser(__doc__)
    parser.add_argument("folder", type=Path, help="where they go")
    parser.add_argument("--clinc", type=Path, required=True, help="the folder of CLINC150's train.csv.gz")
    parser.add_argument("--nsmc", type=Path, required=True, help="NSMC's reviews, .tsv.xz")
    args = parser.parse_args()
    names = tomllib.loads((HERE / "names.toml").read_text(encoding="utf-8"))
    packages = args.data.expanduser()
    tables: dict[str, tuple[tuple[str, ...], Rows]] = {}
    requests = [row for row in data.clinc(args.clinc / "train.csv.gz") if row["domain"] != "oos"]
    tables["requests"] = (
        ("text", "intent", "domain"),
        [(row["text"], row["intent"], row["domain"]) for row in requests],
    )
    with TemporaryDirectory() as scratch:
        source = Source(packages, None, None, Packages(packages, Path(scratch)))
        tables["nouns"] = ("text", "kind"), sorted(set(source.wordnet()))
        for name, language in (("packages", "en"), ("packages.ko", "ko")):
            tables[name] = ("text", "section"), sorted(set(source.sections(language, teaching=True)))
    for name, kind in SNIPPETS.items():
        tables[name] = ("text", "opinion"), sorted(set(zip(*sentiment(packages, kind), strict=True)))
    tables["reviews"] = ("text", "opinion"), reviews(args.nsmc, args.seed)
    sets = [
        ("requests", "intent", names["intents"], True, WEIGHTS["requests by intent"]),
        ("requests", "domain", names["domains"], True, WEIGHTS["requests by domain"]),
        ("nouns", "kind", names["nouns"], True, WEIGHTS["nouns"]),
        ("packages", "section", names["sections"], False, WEIGHTS["packages"]),
        ("packages.ko", "section", names["sections"], False, WEIGHTS["packages"] / 2),
        *((name, "opinion", names["opinions"], True, 0.5) for name in SNIPPETS),
        ("reviews", "opinion", names["opinions"], False, WEIGHTS["reviews"]),
    ]
    for folder, kept in ((args.folder, False), (args.folder / "held-out", True)):
        folder.mkdir(parents=True, exist_ok=True)
        counts = {}
        for name, (columns, rows) in tables.items():
            part = [row for row in rows if apart(row[0]) is kept]
            data.write_csv(folder / f"{name}.csv", columns, part)
            counts[name] = len(part)
        mixture = ""
        for file, label, said, own, weight in sets:
            columns, rows = tables[file]
            there = {row[columns.index(label)] for row in rows if apart(row[0]) is kept}
            occurring = {code: other for code, other in said.items() if code in there}
            mixture += entry(f"{file}.csv", label, occurring, own=own, weight=weight)
        (folder / "mixture.toml").write_text(mixture, encoding="utf-8")
        data.say(f"{folder}: {counts}")


if __name__ == "__main__":
    main()
