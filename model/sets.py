"""The labelled sets that teach sijo-small to fit labels: tables, and the mixture that `sijo finetune` learns from.

    python model/sets.py FOLDER --clinc CLINC150_FOLDER --nsmc reviews.tsv.xz [--generated FOLDER]

  requests.csv     CLINC150's training part within scope (CC BY 3.0), by intent and by domain
  nouns.csv        WordNet's glosses of nouns (WordNet 3.0's licence), by the kind of thing
  domains.csv, branches.csv, feelings.csv, things.csv
                   WordNet's glosses with examples (the same licence), as model/wordnet.py labels them
  films.csv, products.csv, editorials.csv, tweets.csv
                   Hutto and Gilbert's snippets (MIT), positive above 0, negative below
  packages.csv, packages.ko.csv
                   Debian's descriptions (each package's own licence, Debian-free), by section, those that teach
  fields.csv, uses.csv, games.csv, works.csv, and each as .ko.csv
                   the same by debtags (model/debian.py)
  reviews.csv      Korean film reviews of NSMC (CC0), 1 to 4 and 9 to 10, of films whose number 5 does not divide
  topics, emotions, intents, opinions, each as .en.csv and .ko.csv
                   those of model/written/, written for this project (CC0); what is not there is left out
  generated.topics.csv
                   texts that a model wrote on topics, from the folder of --generated (that model's licence)
  mixture.toml     all of them, with the names of names.toml and the sentences of templates.toml

A tenth of each, by the digest of its text (of WordNet's, of what the synset means), is kept apart in held-out/,
with a mixture of its own.
What judges and never teaches is in benchmarks/zero_shot_sets.py and calibration_sets.py.
"""

import csv
import json
import random
import sys
import tomllib
from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))  # the readers of packages are theirs

import debian  # noqa: E402
import wordnet  # noqa: E402
from calibration_sets import sentiment  # noqa: E402
from packages import Packages  # noqa: E402
from zero_shot_sets import Source, apart  # noqa: E402

import data  # noqa: E402

Rows = list[tuple[str, ...]]
Tables = dict[str, tuple[tuple[str, ...], Rows]]
"""Columns, the first of which is text, and rows, by the name of the file."""
SNIPPETS = {
    "films": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "tweets": "tweets",
}
REVIEWS = 20_000
MEANING = "meaning"
"""The column by which texts of WordNet are kept apart: what the same synset says in nouns.csv."""


class Taught(NamedTuple):
    """What the mixture says of a table."""

    file: str
    label: str
    """The column of the label."""
    names: str
    """Which of names.toml."""
    weight: float
    """How often a batch is of it, beside the others'."""
    own: bool = True
    """Whether the code is a name too."""
    templates: str | None = None
    """Which of templates.toml; None for sijo's own."""


SETS = (
    Taught("requests", "intent", "intents", 4.0, templates="intents"),
    Taught("requests", "domain", "domains", 1.0),
    Taught("nouns", "kind", "nouns", 1.0),
    Taught("domains", "topic", "topics_of_meanings", 2.5),
    Taught("branches", "topic", "topics_of_meanings branches", 1.0),
    Taught("feelings", "feeling", "feelings", 0.5),
    Taught("things", "kind", "things", 1.5),
    Taught("packages", "section", "sections", 2.0, own=False),
    Taught("packages.ko", "section", "sections", 1.0, own=False),
    Taught("fields", "field", "fields", 1.0, own=False),
    Taught("fields.ko", "field", "fields", 0.3, own=False),
    Taught("uses", "use", "uses", 1.0, own=False),
    Taught("uses.ko", "use", "uses", 0.7, own=False),
    Taught("games", "game", "games", 0.3, own=False),
    Taught("games.ko", "game", "games", 0.2, own=False),
    Taught("works", "work", "works", 0.7, own=False),
    Taught("works.ko", "work", "works", 0.5, own=False),
    *(Taught(name, "opinion", "opinions", 0.5, templates="opinions") for name in SNIPPETS),
    Taught("reviews", "opinion", "opinions", 2.0, own=False, templates="opinions"),
    Taught("topics.en", "topic", "topics", 2.0),
    Taught("topics.ko", "topic", "topics", 2.0),
    Taught("emotions.en", "emotion", "emotions", 1.5, templates="emotions"),
    Taught("emotions.ko", "emotion", "emotions", 1.5, templates="emotions"),
    Taught("intents.en", "intent", "wishes", 1.0, templates="intents"),
    Taught("intents.ko", "intent", "wishes", 1.0, templates="intents"),
    Taught("opinions.en", "opinion", "opinions_of_three", 0.5, templates="opinions"),
    Taught("opinions.ko", "opinion", "opinions_of_three", 0.5, templates="opinions"),
    Taught("generated.topics", "topic", "topics", 2.0),
)
WRITTEN = [one for one in SETS if one.file.startswith(("topics.", "emotions.", "intents.", "opinions."))]
GENERATED = [one for one in SETS if one.file.startswith("generated.")]


def reviews(file: Path, seed: int) -> Rows:
    """Korean film reviews with an opinion, of films that teach."""
    rows: Rows = [
        (text.strip(), "negative" if rating <= 4 else "positive")
        for text, rating, judges in data.nsmc(file)
        if (rating <= 4 or rating >= 9) and not judges
    ]
    rows = sorted(set(rows))
    return random.Random(seed).sample(rows, min(REVIEWS, len(rows)))


def ready(folder: Path, sets: list[Taught], names: dict[str, Any]) -> Tables:
    """The tables of sets that lie in a folder as texts and codes; those that do not are left out with a message.

    Each text is taken once. Ends with a message where a code has no name.
    """
    tables: Tables = {}
    for one in sets:
        file = folder / f"{one.file}.csv"
        if not file.exists():
            data.say(f"{one.file} is left out: there is no {file}")
            continue
        with file.open(encoding="utf-8", newline="") as lines:
            codes = {row["text"].strip(): row[one.label].strip() for row in csv.DictReader(lines)}
        codes.pop("", None)
        for code in codes.values():
            if code not in names[one.names]:
                sys.exit(
                    f"{file} has the {one.label} {code!r}, which [{one.names}] of names.toml lacks; add it there"
                )
        tables[one.file] = ("text", one.label), sorted(codes.items())
    return tables


def tables_of(args: Namespace, names: dict[str, Any]) -> Tables:
    """All tables that can be had."""
    packages, tables = args.data.expanduser(), Tables()
    requests = [row for row in data.clinc(args.clinc / "train.csv.gz") if row["domain"] != "oos"]
    columns = ("text", "intent", "domain")
    tables["requests"] = columns, [tuple(row[column] for column in columns) for row in requests]
    with TemporaryDirectory() as scratch:
        source = Source(packages, None, None, Packages(packages, Path(scratch)))
        tables["nouns"] = ("text", "kind"), sorted(set(source.wordnet()))
        meanings = wordnet.synsets(source.packages.debian("wordnet-base") / "usr/share/wordnet")
        for name, rows in wordnet.labelled(meanings, args.seed).items():
            tables[name] = ("text", column_of(name), MEANING), rows
        for name, language in (("packages", "en"), ("packages.ko", "ko")):
            tables[name] = ("text", "section"), sorted(set(source.sections(language, teaching=True)))
        for name, rows in debian.tagged(source.packages, args.seed).items():
            tables[name] = ("text", column_of(name)), rows
    for name, kind in SNIPPETS.items():
        tables[name] = ("text", "opinion"), sorted(set(zip(*sentiment(packages, kind), strict=True)))
    tables["reviews"] = ("text", "opinion"), reviews(args.nsmc, args.seed)
    tables |= ready(HERE / "written", WRITTEN, names)
    return tables | (ready(args.generated, GENERATED, names) if args.generated else {})


def column_of(name: str) -> str:
    """The column of the label of a table that has one."""
    return next(one.label for one in SETS if one.file == name)


def entry(one: Taught, names: dict[str, list[str]], templates: dict[str, list[str]]) -> str:
    """A set of the mixture."""
    shown = "\n".join(
        f"{_quoted(code)} = {_quoted([*([code.replace('_', ' ')] if one.own else []), *said])}"
        for code, said in names.items()
    )
    sentences = "".join(f"{language} = {_quoted(texts)}\n" for language, texts in templates.items())
    return (
        f'[[sets]]\nname = "{one.file} by {one.label}"\nfile = "{one.file}.csv"\ntext = "text"\n'
        f'label = "{one.label}"\nown_names = false\nweight = {one.weight}\n\n[sets.names]\n{shown}\n\n'
        + (f"[sets.templates]\n{sentences}\n" if sentences else "")
    )


def _quoted(value: str | list[str]) -> str:
    """As TOML has it."""
    return json.dumps(value, ensure_ascii=False)


def mixture(tables: Tables, names: dict[str, Any], templates: dict[str, Any]) -> str:
    """The mixture of the tables; of a set only labels that occur are named, and with one label it is left out."""
    entries = []
    for one in SETS:
        if one.file in tables:
            columns, rows = tables[one.file]
            there = {row[columns.index(one.label)] for row in rows}
            known = {code: said for table in one.names.split() for code, said in names[table].items()}
            occurring = {code: said for code, said in known.items() if code in there}
            if missing := there - set(occurring):
                sys.exit(
                    f"names.toml has no name in [{one.names}] for {', '.join(sorted(missing))}; add them there"
                )
            if len(occurring) > 1:
                entries.append(entry(one, occurring, templates[one.templates] if one.templates else {}))
    return "".join(entries)


def main() -> None:
    """Write tables and mixtures."""
    parser = data.parser(__doc__)
    parser.add_argument("folder", type=Path, help="where they go")
    parser.add_argument("--clinc", type=Path, required=True, help="the folder of CLINC150's train.csv.gz")
    parser.add_argument("--nsmc", type=Path, required=True, help="NSMC's reviews, .tsv.xz")
    parser.add_argument("--generated", type=Path, help="the folder of texts that a model wrote for labels")
    args = parser.parse_args()
    names, templates = (
        tomllib.loads((HERE / file).read_text(encoding="utf-8")) for file in ("names.toml", "templates.toml")
    )
    tables = tables_of(args, names)
    for folder, kept in ((args.folder, False), (args.folder / "held-out", True)):
        folder.mkdir(parents=True, exist_ok=True)
        parts: Tables = {}
        for name, (columns, rows) in tables.items():
            told = columns.index(MEANING) if MEANING in columns else 0
            parts[name] = columns, [row for row in rows if apart(row[told]) is kept]
        for name, (columns, rows) in parts.items():
            data.write_csv(folder / f"{name}.csv", columns, rows)
        (folder / "mixture.toml").write_text(mixture(parts, names, templates), encoding="utf-8")
        data.say(f"{folder}: { {name: len(rows) for name, (_, rows) in parts.items()} }")


if __name__ == "__main__":
    main()
