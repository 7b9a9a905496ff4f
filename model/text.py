"""The running text by which sijo-small's vocabulary is cut, and that its teachers read: english.txt and korean.txt.

    python model/text.py FOLDER --english FOLDER_OF_SOURCES --nsmc reviews.tsv.xz

English is drawn alike from each source of benchmarks/english.py; Korean is NSMC's reviews (CC0) of films that
teach. One line each, in an order drawn anew.
"""

import random
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))  # what the benchmarks share

import data  # noqa: E402

LINES, REVIEWS = 12_000, 180_000
"""Of each English source, and Korean ones, at most."""
SHORTEST = 20
"""Characters of an English line."""


def main() -> None:
    """Draw the lines, and write them."""
    parser = data.parser(__doc__)
    parser.add_argument("folder", type=Path, help="where they go")
    parser.add_argument("--english", type=Path, required=True, help="what benchmarks/english.py wrote")
    parser.add_argument("--nsmc", type=Path, required=True, help="NSMC's reviews, .tsv.xz")
    args = parser.parse_args()
    english: list[str] = []
    for source in sorted(args.english.expanduser().glob("*.txt")):
        lines = source.read_text(encoding="utf-8").splitlines()
        kept = sorted({line for line in lines if len(line) >= SHORTEST})
        english += data.sample(kept, LINES, args.seed)
    reviews = {" ".join(text.split()) for text, _, judges in data.nsmc(args.nsmc) if not judges}
    korean = data.sample(sorted(reviews), REVIEWS, args.seed)
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, drawn in (("english", english), ("korean", korean)):
        random.Random(args.seed).shuffle(drawn)
        (args.folder / f"{name}.txt").write_text("\n".join(drawn) + "\n", encoding="utf-8")
        data.say(f"{name}: {len(drawn):,} lines")


if __name__ == "__main__":
    main()
