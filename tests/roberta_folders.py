"""Folders of RoBERTa's kin and MPNet as their libraries save them: a tiny network with every weight moved, and a
tokenizer trained on a few texts, in the files that each was published with.

    folders("klue", "ForMaskedLM")     a folder, made once; do not change it
"""

import json
import sys
from pathlib import Path

import pytest

from battery import scramble

sys.path.append(str(Path(__file__).parent / "tokenizers"))
import tokenizer_references as references

ROLES = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>"}
ROLES |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
BERT_ROLES = {"bos_token": "[CLS]", "eos_token": "[SEP]", "sep_token": "[SEP]", "cls_token": "[CLS]"}
BERT_ROLES |= {"unk_token": "[UNK]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 28,
    "max_position_embeddings": 66,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}
NLI = {0: "contradiction", 1: "neutral", 2: "entailment"}
"""roberta-large-mnli's order; xlm-roberta-large-xnli's is the same, and others turn it round."""


def words(first: list[str], texts: list[str], last: tuple[str, ...] = ()) -> str:
    """A WordPiece vocabulary: letters, letters inside words, and the words that occur most."""
    import collections

    counts = collections.Counter(word for text in texts for word in text.lower().split() if word.isalpha())
    letters = sorted({letter for text in texts for letter in text.lower() if not letter.isspace()})
    known = [*letters, *(f"##{letter}" for letter in letters), *(word for word, _ in counts.most_common(400))]
    return "\n".join(dict.fromkeys([*first, *known, *last])) + "\n"


def write_tokenizer(folder: Path, kind: str, texts: list[str]) -> None:
    """The files of a tokenizer as published: of XLM-R and CamemBERT one alone."""
    folder.mkdir(parents=True)
    settings: dict[str, object] = {"model_max_length": 64}
    match kind:
        case "roberta":
            learned, merges = references.train_pairs(texts, size=700)
            names = ["<s>", "<pad>", "</s>", "<unk>", *sorted(learned, key=learned.__getitem__), "<mask>"]
            references.write_pairs(folder, {name: number for number, name in enumerate(names)}, merges)
        case "xlm-roberta" | "camembert":
            (folder / "sentencepiece.bpe.model").write_bytes(references.train(texts, vocab_size=600))
            return
        case "klue":
            first = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
            (folder / "vocab.txt").write_text(words(first, texts), encoding="utf-8")
            settings |= BERT_ROLES | {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


FAMILY = {"klue": ("Roberta", "Bert")} | {
    name: (stem, stem)
    for name, stem in (("roberta", "Roberta"), ("xlm-roberta", "XLMRoberta"), ("camembert", "Camembert"))
}
"""Of each kind what its network's and its tokenizer's classes begin with."""


def public_tokenizer(kind: str, folder: Path):
    import transformers

    return getattr(transformers, f"{FAMILY[kind][1]}Tokenizer").from_pretrained(folder)


@pytest.fixture(scope="session")
def lines():
    """English and Korean, plain ones and such as tokenizers stumble over."""
    return references.lines()[:400]


@pytest.fixture(scope="session")
def folders(tmp_path_factory, lines):
    """`folders(kind, ending, **fields)`: a folder with that class's network; without one the tokenizer alone."""
    transformers = pytest.importorskip("transformers")
    made: dict[object, Path] = {}

    def folder(kind: str, ending: str | None = None, **fields: object) -> Path:
        key = (kind, ending, repr(fields))
        if key in made:
            return made[key]
        place = made[key] = tmp_path_factory.mktemp(kind) / "model"
        write_tokenizer(place, kind, lines)
        if ending is not None:
            stem = FAMILY[kind][0]
            size = len(public_tokenizer(kind, place))
            config = getattr(transformers, f"{stem}Config")(**SIZES | fields, vocab_size=size)
            scramble(getattr(transformers, stem + ending)(config), 0.25).save_pretrained(place)
        return place

    return folder
