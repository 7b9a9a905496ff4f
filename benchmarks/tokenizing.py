"""How many of 10,000 real lines sijo cuts otherwise than the reference, and how fast it cuts.

Give it files of text, a line each; of a .tsv the last column is read, of a .csv the first, .gz and .xz are
unpacked. As many lines are drawn from each file, and three in ten get emoji, control characters, NFKC cases
or very long words. Vocabularies are trained on the lines, WordPiece's is the built-in model's. The references:

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
from pathlib import Path

import sentencepiece
import transformers

import data
from sijo.checkpoints.locate import built_in
from sijo.models import FAMILIES
from sijo.tokenizers.tokenizer import Tokenizer

sys.path.append(str(Path(__file__).parents[1] / "tests" / "text"))
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
    """Cut the lines with each kind of tokenizer and print one record."""
    parser = data.options(__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="text, a line each")
    parser.add_argument("--lines", type=int, default=10_000, help="how many lines are cut (10000)")
    given = parser.parse_args()
    transformers.logging.set_verbosity_error()
    chance = random.Random(given.seed)
    plain = [
        line for file in given.files for line in data.some(read(file), given.lines // len(given.files), given.seed)
    ]
    chance.shuffle(plain)
    lines = [*plain[len(plain) * 3 // 10 :], *references.disturbed(plain[: len(plain) * 3 // 10], seed=given.seed)]
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(built_in() / "vocab.txt", folder)
        bert = transformers.BertTokenizer.from_pretrained(folder)
        ours = Tokenizer.open(folder, FAMILIES["bert"], max_length=LONGEST)
        figures["WordPiece"], _ = compare("WordPiece", ours, lines, lambda texts: bert(texts)["input_ids"])

        references.write_deberta_v1(folder, lines)
        deberta = transformers.DebertaTokenizer.from_pretrained(folder)
        ours = Tokenizer.open(folder, FAMILIES["deberta"], max_length=LONGEST)
        figures["byte-level"], _ = compare("byte-level", ours, lines, lambda texts: deberta(texts)["input_ids"])

        references.write_ctrl(folder, lines)
        ctrl = transformers.CTRLTokenizer.from_pretrained(folder)
        ours = Tokenizer.open(folder, FAMILIES["ctrl"], max_length=LONGEST)
        figures["CTRL"], _ = compare("CTRL", ours, lines, lambda texts: ctrl(texts)["input_ids"])

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

            def cut(
                texts: list[str],
                albert: bool = albert,
                peer: sentencepiece.SentencePieceProcessor = theirs,
                ends: tuple[int | None, ...] = (ours.id("[CLS]"), ours.id("[SEP]")),
            ) -> list[list[int]]:
                if not albert:
                    return [[ends[0], *ids, ends[1]] for ids in peer.encode(texts)]
                own = [references.albert_ids(references.albert_text(text), peer) for text in texts]
                return [[ends[0], *ids, ends[1]] for ids in own]

            figures[kind], different = compare(kind, ours, lines, cut)
            ties = [references.equally_good(a[1:-1], b[1:-1], theirs) for a, b in different]
            figures[kind]["ties"] = sum(ties)
    data.report(given, {"files": [file.name for file in given.files], "lines": len(lines)}, figures)


if __name__ == "__main__":
    main()
