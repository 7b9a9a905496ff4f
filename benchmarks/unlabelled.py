"""Nothing is measured: this writes the text that the second student of docs/distilling.md learned from, 15 MB.

    python benchmarks/unlabelled.py FOLDER --clinc train.csv.gz

  english.txt    half a megabyte of each source of english.py, in pieces of 20 lines, drawn by chance
  requests.txt   CLINC150's training requests
  posts.txt      20 Newsgroups' training posts, their first 130 words
  captions.txt   12,000 sentences of SNLI's training pairs

No label is written. distilling.py asks about other texts: the test parts of CLINC150 and 20 Newsgroups, and BBC
News and TREC, of which nothing is here.
"""

import csv
import gzip
import io
import random
from collections.abc import Iterator
from pathlib import Path

from distilling import newsgroups
from finetuning import pairs

import data

EACH, LINES, WORDS, CAPTIONS = 500_000, 20, 130, 12_000
"""Characters of each source of English, lines of a piece, words of a post, sentences of captions."""


def english(folder: Path, dice: random.Random) -> Iterator[str]:
    """Pieces of each source, until it has given its share."""
    for file in sorted(folder.glob("*.txt")):
        lines = [one.split("\n") for one in file.read_text(encoding="utf-8").split("\n\n") if one.strip()]
        pieces = ["\n".join(one[start : start + LINES]) for one in lines for start in range(0, len(one), LINES)]
        dice.shuffle(pieces)
        size = 0
        for piece in pieces:
            yield piece
            size += len(piece)
            if size > EACH:
                break


def main() -> None:
    """Write the four files."""
    parser = data.options(__doc__)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--clinc", type=Path, required=True, help="CLINC150's training part, train.csv.gz")
    given = parser.parse_args()
    cache, dice = given.data.expanduser(), random.Random(given.seed + 1)
    texts = {"english": list(english(cache / "english", dice))}
    with gzip.open(given.clinc, "rt", encoding="utf-8", newline="") as opened:
        texts["requests"] = [row["text"] for row in csv.DictReader(io.StringIO(opened.read()))]
    texts["posts"] = [" ".join(post.split()[:WORDS]) for post in newsgroups(cache, "train")[0]]
    said = sorted({sentence for row in pairs(cache)[0] for sentence in row[:2]})
    dice.shuffle(said)
    texts["captions"] = said[:CAPTIONS]
    given.folder.mkdir(parents=True, exist_ok=True)
    for name, some in texts.items():
        (given.folder / f"{name}.txt").write_text("\n\n".join(some), encoding="utf-8")
        data.say(f"{name}: {len(some):,} texts")


if __name__ == "__main__":
    main()
