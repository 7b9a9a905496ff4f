"""Lines of English, each with the word that a teacher finds nearest to it: a set by which its opinion is learned.

    python model/lines.py SETS_FOLDER MIXTURE.toml --english FOLDER_OF_SOURCES

Lines are of sources that may be learned from, and of texts that teach already; words are WordNet's, those that the
sources use. The table lines.csv is put beside the mixture, and what that has to know of it at its end:
`sijo finetune` learns the teacher's distribution over the words of a batch, not the nearest alone. The recipe does
without it (docs/log.md); `model/ablations.py` has it as a variant.
"""

import csv
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))  # what the benchmarks share

import data  # noqa: E402
from sijo.inference.outputs import unit  # noqa: E402
from sijo.zeroshot.labels import Label  # noqa: E402
from sijo.zeroshot.scorers.embedding import EmbeddingScorer  # noqa: E402
from sijo.zeroshot.scorers.open import open_scorer  # noqa: E402

SOURCES = {"speeches": 4_000, "computing": 2_000, "dictionary": 2_000, "python": 1_000, "postgresql": 500}
"""Lines of English running text, at most; those of no licence that lets everyone learn from them are not named."""
SETS = {"nouns": 4_000, "packages": 3_000, "requests": 2_000}
"""Texts of sets that teach."""
SHORTEST, LONGEST = 30, 250
"""Characters of a line."""
WORDS, SEEN = 5_000, 25
"""Words at most, and how often the sources must use each of their parts."""
WEIGHT = 36.0
"""About as much as all other sets have together: half of the batches."""
TEMPLATE = "This is about {}."


def lines(sets: Path, english: Path, seed: int) -> list[str]:
    """What is learned from, each once."""
    drawn = set[str]()
    for source, most in SOURCES.items():
        drawn |= _drawn((english / f"{source}.txt").read_text(encoding="utf-8").splitlines(), most, seed)
    for name, most in SETS.items():
        with (sets / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            drawn |= _drawn([" ".join(row["text"].split()) for row in csv.DictReader(file)], most, seed)
    return sorted(drawn)


def _drawn(texts: list[str], most: int, seed: int) -> set[str]:
    return {*data.sample(sorted({text for text in texts if SHORTEST <= len(text) <= LONGEST}), most, seed)}


def words(english: Path, seed: int) -> list[str]:
    """What WordNet has an entry for, of words that the sources use."""
    used = Counter[str]()
    for source in SOURCES:
        used.update(re.findall("[a-z]+", (english / f"{source}.txt").read_text(encoding="utf-8").lower()))
    entries = (english / "wordnet.txt").read_text(encoding="utf-8").lower().splitlines()
    heads = {entry.partition(":")[0].strip() for entry in entries if ":" in entry}
    known = [head for head in heads if re.fullmatch("[a-z ]{3,30}", head)]
    return data.sample(
        sorted(head for head in known if all(used[part] >= SEEN for part in head.split())), WORDS, seed
    )


def main() -> None:
    """Write the table, and its part of the mixture."""
    parser = data.parser(__doc__)
    parser.add_argument("sets", type=Path, help="what model/sets.py wrote")
    parser.add_argument("mixture", type=Path, help="the mixture that gets it")
    parser.add_argument("--english", type=Path, required=True, help="what benchmarks/english.py wrote")
    args = parser.parse_args()
    teacher = args.data.expanduser().resolve() / "all-MiniLM-L6-v2"
    texts, heads = lines(args.sets, args.english, args.seed), words(args.english, args.seed)
    scorer = open_scorer("embedding", teacher)
    assert isinstance(scorer, EmbeddingScorer)
    of_words = scorer.vectors([Label(head) for head in heads], TEMPLATE)
    nearest = (unit(scorer.engine.encode(texts).vectors) @ of_words.T).argmax(1)
    rows = [(text, heads[place]) for text, place in zip(texts, nearest.tolist(), strict=True)]
    random.Random(args.seed).shuffle(rows)
    data.write_csv(args.mixture.with_name("lines.csv"), ("text", "word"), rows)
    with args.mixture.open("a", encoding="utf-8") as file:
        file.write(
            '[[sets]]\nname = "lines by word"\nfile = "lines.csv"\ntext = "text"\nlabel = "word"\n'
            f'language = "en"\nweight = {WEIGHT}\nteacher = {json.dumps(str(teacher))}\n'
        )
    data.say(f"{len(rows):,} lines, {len({*nearest.tolist()}):,} of {len(heads):,} words")


if __name__ == "__main__":
    main()
