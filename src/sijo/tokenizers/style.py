"""What sets one family's tokenizers apart from another's, as data: no file is read here and nothing is learned.

`sijo.models` gives each family its styles; `published.py` opens files in them, `train.py` learns vocabularies.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

Kind = Literal["wordpiece", "unigram", "bpe"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
"""The special tokens of most families by their roles."""
CTRL_TOKENS = {"unk_token": "<unk>"}
"""Those of byte pairs that mark the ends of words, as CTRL's do."""


@dataclass(frozen=True, kw_only=True)
class TokenizerStyle:
    """How the tokenizers of a family cut words, which special tokens they have, and where these stand."""

    name: str
    """What `sijo tokenizer train --family` calls it."""
    kind: Kind
    """How words are cut."""
    special: Mapping[str, str]
    """Special tokens by their roles, where no file names others."""
    first: tuple[str, ...] = ()
    """Tokens with the smallest ids of a learned vocabulary, in order."""
    last: tuple[str, ...] = ()
    """Tokens with the largest ids, in order."""
    folds: bool = False
    """Whether case and accents are folded, unless a vocabulary is learned with them."""
    bytes: bool = False
    """Whether no letter is unknown: byte pairs are of bytes, and a unigram model falls back on them."""
    albert_steps: bool = False
    """Whether ALBERT's steps stand before SentencePiece: for spaces, quotation marks, accents, and digits."""
    strips_mask: bool = False
    """Whether the mask takes the space before it, where no file says so."""
    between: int = 1
    """Separators between two texts; where there are two, as RoBERTa's, both texts have token type 0."""
    renumbers: bool = False
    """Whether a SentencePiece file's first three pieces, <unk>, <s> and </s>, give way to `first`, and `last`
    follow its last one, as in fairseq's dictionaries: the file's numbers are then none of the model's."""
    token_types: bool = True
    """Whether the model has token types."""


class TokenizerFamily(Protocol):
    """What must be known of a family of models to open its tokenizers."""

    @property
    def model_type(self) -> str:
        """Its name in config.json."""

    @property
    def vocabularies(self) -> Mapping[str, TokenizerStyle]:
        """Published files of a vocabulary, the first that is there decides, and the style of each."""
