"""Nothing is measured: this writes the text that the second student of docs/distilling.md learned from, 15 MB.

    python benchmarks/unlabelled.py FOLDER --clinc train.csv.gz

  english.txt    half a megabyte of each source of english.py, in pieces of 20 lines, drawn at random
  requests.txt   CLINC150's training requests
  posts.txt      20 Newsgroups' training posts, their first 130 words
  captions.txt   12,000 sentences of SNLI's training pairs

No label is written. distilling.py asks about other texts: the test parts of CLINC150 and 20 Newsgroups, and BBC
News and TREC, of which nothing is here.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from distilling import newsgroups
from finetuning import pairs

import data

EACH, LINES, WORDS, CAPTIONS = 500_000, 20, 130, 12_000
"""Characters of each source of English, lines of a piece, words of a post, sentences of captions."""


def english(folder: Path, rng: random.Random) -> Iterator[str]:
    """Pieces of each source, until there are enough of it."""
    for file in sorted(folder.glob("*.txt")):
        documents = file.read_text(encoding="utf-8").split("\n\n")
        pieces = [
            "\n".join(lines[start : start + LINES])
            for lines in (document.split("\n") for document in documents if document.strip())
            for start in range(0, len(lines), LINES)
        ]
        rng.shuffle(pieces)
        size = 0
        for piece in pieces:
            yield piece
            size += len(piece)
            if size > EACH:
                break


def main() -> None:
    """Write the four files."""
    parser = data.parser(__doc__)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--clinc", type=Path, required=True, help="CLINC150's training part, train.csv.gz")
    args = parser.parse_args()
    cache, rng = args.data.expanduser(), random.Random(args.seed + 1)
    texts = {"english": list(english(cache / "english", rng))}
    texts["requests"] = [row["text"] for row in data.clinc(args.clinc)]
    texts["posts"] = [" ".join(post.split()[:WORDS]) for post in newsgroups(cache, "train")[0]]
    captions = sorted({sentence for row in pairs(cache)[0] for sentence in row[:2]})
    rng.shuffle(captions)
    texts["captions"] = captions[:CAPTIONS]
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, pieces in texts.items():
        (args.folder / f"{name}.txt").write_text("\n\n".join(pieces), encoding="utf-8")
        data.say(f"{name}: {len(pieces):,} texts")


if __name__ == "__main__":
    main()
