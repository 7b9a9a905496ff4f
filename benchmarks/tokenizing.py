"""How many of 10,000 real lines sijo tokenizes otherwise than the reference, and how fast it is.

Give it files of text, a line each; of a .tsv the last column is read, of a .csv the first, .gz and .xz are
unpacked. As many lines are drawn from each file, and three in ten get emoji, control characters, NFKC cases
or very long words. Vocabularies are trained on the lines, WordPiece's is all-MiniLM-L6-v2's. The references:

  WordPiece        transformers' BertTokenizer
  Unigram          the sentencepiece package itself, with byte fallback and without, plain and as ALBERT
  byte-level BPE   transformers' DebertaTokenizer
  CTRL             transformers' CTRLTokenizer

Where a unigram model has two equally good ways to cut a line, rounding of 32-bit sums decides in
SentencePiece; such lines are counted apart, as ties. The peer's speed is beside ours, lines a second.
"""

import csv
import gzip
import lzma
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import sentencepiece
import transformers

import data
from sijo.checkpoints.locate import locate
from sijo.models import FAMILIES
from sijo.tokenizers.tokenizer import Tokenizer

sys.path.append(str(Path(__file__).parents[1] / "tests" / "tokenizers"))
import tokenizer_references as references

LONGEST = 1 << 20


def read(file: Path) -> list[str]:
    """The distinct lines of a file; of a .tsv the last column, of a .csv the first."""
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(file.suffix, open)
    with opener(file, "rt", encoding="utf-8", newline="") as stream:
        if ".csv" in file.suffixes:
            lines = [row[0] for row in csv.reader(stream) if row]
        else:
            lines = stream.read().split("\n")
            lines = [line.rpartition("\t")[2] for line in lines] if ".tsv" in file.suffixes else lines
    return list(dict.fromkeys(filter(None, lines)))


def write_bert(folder: Path, lines: Sequence[str]) -> None:
    """all-MiniLM-L6-v2's vocabulary, whatever the lines."""
    shutil.copy(locate("all-minilm-l6-v2") / "vocab.txt", folder)


def unigram_ids(
    peer: sentencepiece.SentencePieceProcessor, cls: int, sep: int, albert: bool, texts: list[str]
) -> list[list[int]]:
    """The ids of texts by the sentencepiece package, between [CLS] and [SEP]."""
    if albert:
        rows = [references.albert_ids(references.albert_text(text), peer) for text in texts]
    else:
        rows = peer.encode(texts)
    return [[cls, *ids, sep] for ids in rows]


def compare(
    name: str, tokenizer: Tokenizer, lines: Sequence[str], peer: Callable[[list[str]], list[list[int]]]
) -> tuple[dict[str, object], list[tuple[list[int], list[int]]]]:
    """Figures of one tokenizer, and the ids of the lines that differ: ours, theirs."""
    started = time.perf_counter()
    ours = [windows[0] for windows in tokenizer.windows(lines)]
    middle = time.perf_counter()
    theirs = peer(list(lines))
    ended = time.perf_counter()
    different = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    figures: dict[str, object] = {
        "lines": len(lines),
        "tokens": sum(map(len, ours)),
        "different": len(different),
        "lines_per_second": len(lines) / (middle - started),
        "peer_lines_per_second": len(lines) / (ended - middle),
    }
    data.say(f"{name}: {figures}")
    return figures, different


def main() -> None:
    """Tokenize the lines in each way and print one record."""
    parser = data.parser(__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="text, a line each")
    parser.add_argument("--lines", type=int, default=10_000, help="how many lines are tokenized (10000)")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    rng = random.Random(args.seed)
    plain = [
        line for file in args.files for line in data.sample(read(file), args.lines // len(args.files), args.seed)
    ]
    rng.shuffle(plain)
    lines = [*plain[len(plain) * 3 // 10 :], *references.disturbed(plain[: len(plain) * 3 // 10], seed=args.seed)]
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, model_type, peer_class, write in (
            ("WordPiece", "bert", transformers.BertTokenizer, write_bert),
            ("byte-level", "deberta", transformers.DebertaTokenizer, references.write_deberta_v1),
            ("CTRL", "ctrl", transformers.CTRLTokenizer, references.write_ctrl),
        ):
            write(folder, lines)
            peer = peer_class.from_pretrained(folder)
            ours = Tokenizer.open(folder, FAMILIES[model_type], max_length=LONGEST)
            figures[kind], _ = compare(kind, ours, lines, lambda texts, peer=peer: peer(texts)["input_ids"])

        for kind, settings in {
            "unigram": references.DEBERTA,
            "unigram, bytes": references.DEBERTA | {"byte_fallback": True},
            "unigram, ALBERT": references.ALBERT,
        }.items():
            albert = "ALBERT" in kind
            model = references.train(lines, vocab_size=8000, **settings)
            (folder / ("spiece.model" if albert else "spm.model")).write_bytes(model)
            theirs = sentencepiece.SentencePieceProcessor(model_proto=model)
            ours = Tokenizer.open(folder, FAMILIES["albert" if albert else "deberta-v2"], max_length=LONGEST)
            peer = partial(unigram_ids, theirs, ours.id("[CLS]"), ours.id("[SEP]"), albert)
            figures[kind], different = compare(kind, ours, lines, peer)
            ties = [references.equally_good(a[1:-1], b[1:-1], theirs) for a, b in different]
            figures[kind]["ties"] = sum(ties)
    data.report(args, {"files": [file.name for file in args.files], "lines": len(lines)}, figures)


if __name__ == "__main__":
    main()
