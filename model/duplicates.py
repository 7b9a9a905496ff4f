"""Texts that teach and are, or nearly are, texts that judge: found by MinHash, counted, and left out.

    python model/duplicates.py SETS_FOLDER OUT_FOLDER --clinc CLINC150_FOLDER --nsmc reviews.tsv.xz

A text is the set of its pieces of five characters, in lower case and without punctuation. Of texts whose MinHash
signatures agree in a band of rows, the likeness of these sets (Jaccard's) is computed; from 0.7 they are near. The
sets of SETS_FOLDER are written to OUT_FOLDER without them, and counts.json tells how many of which there were.
"""

import csv
import json
import re
import shutil
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))  # what judges is there

from zero_shot_sets import SETS, source_of  # noqa: E402

import data  # noqa: E402

PIECE, NEAR = 5, 0.7
BANDS, ROWS = 25, 4
"""Of a signature: texts as alike as NEAR share a band in 99.9 of 100 cases."""
PRIME = (1 << 31) - 1


def bare(text: str) -> str:
    """Its words in lower case, without punctuation."""
    return " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())


def pieces(text: str) -> frozenset[int]:
    """Its pieces of five characters, each as a number."""
    words = bare(text)
    return frozenset(
        zlib.crc32(words[at : at + PIECE].encode()) % PRIME for at in range(max(1, len(words) - PIECE + 1))
    )


class Judges:
    """Texts that judge, to be asked which of them another is like."""

    def __init__(self, texts: Mapping[str, Iterable[str]]) -> None:
        random = np.random.default_rng(0)
        self._factors, self._shifts = random.integers(1, PRIME, size=(2, BANDS * ROWS, 1), dtype=np.int64)
        self._exact: dict[str, str] = {}
        self._pieces: list[tuple[str, frozenset[int]]] = []
        self._bands: list[dict[bytes, list[int]]] = [defaultdict(list) for _ in range(BANDS)]
        for name, own in texts.items():
            for text in own:
                if self._exact.setdefault(bare(text), name) == name:
                    self._pieces.append((name, pieces(text)))
                    for band, key in zip(self._bands, self._keys(self._pieces[-1][1]), strict=True):
                        band[key].append(len(self._pieces) - 1)

    def _keys(self, text: frozenset[int]) -> list[bytes]:
        numbers = np.fromiter(text, np.int64, len(text))
        least = ((self._factors * numbers + self._shifts) % PRIME).min(1)
        return [part.tobytes() for part in np.split(least, BANDS)]

    def like(self, text: str) -> tuple[str, str] | None:
        """Whether a text is one of these, ("exact", its set), or near to one, ("near", its set)."""
        if (name := self._exact.get(bare(text))) is not None:
            return "exact", name
        own = pieces(text)
        among = {
            place for band, key in zip(self._bands, self._keys(own), strict=True) for place in band.get(key, ())
        }
        for place in sorted(among):
            name, other = self._pieces[place]
            if len(own & other) >= NEAR * len(own | other):
                return "near", name
        return None


def main() -> None:
    """Write the sets without such texts, and what was counted."""
    parser = data.parser(__doc__)
    parser.add_argument("sets", type=Path, help="what model/sets.py wrote")
    parser.add_argument("out", type=Path, help="where they go")
    parser.add_argument("--clinc", type=Path, required=True, help="the folder of CLINC150's test.csv.gz")
    parser.add_argument("--nsmc", type=Path, required=True, help="NSMC's reviews, .tsv.xz")
    args = parser.parse_args()
    with TemporaryDirectory() as scratch:
        source = source_of(args.data, args.clinc, args.nsmc, Path(scratch))
        texts = {name: sorted({text for text, _ in judging(source).rows}) for name, judging in SETS.items()}
    judges = Judges(texts)
    shutil.copytree(args.sets, args.out, dirs_exist_ok=True)
    counts: dict[str, dict[str, int]] = {}
    for file in sorted(args.out.glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            columns, *rows = csv.reader(lines)
        found = [judges.like(row[0]) for row in rows]
        data.write_csv(file, columns, [row for row, like in zip(rows, found, strict=True) if like is None])
        counts[file.stem] = {"rows": len(rows)} | Counter(" to ".join(like) for like in found if like)
        data.say(f"{file.stem}: {counts[file.stem]}")
    record = {"judging": {name: len(own) for name, own in texts.items()}, "teaching": counts}
    (args.out / "counts.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
