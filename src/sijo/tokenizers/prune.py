"""A published vocabulary cut down to the tokens that some text uses: a smaller table, its rows as they were.

For a student of a model (docs/distilling.md): a word whose token is gone is spelled by pieces that stay.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sijo.batching import groups
from sijo.errors import SettingError, TextError
from sijo.texts import texts_in
from sijo.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class PruneReport:
    """What was kept of a vocabulary."""

    vocab_size: int
    """Tokens that stayed."""
    vocab_size_before: int
    """Tokens that there were."""
    tokens: int
    """Of the text, as it was cut before."""
    covered: float
    """Share of those whose token stayed; the others become several tokens."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def prune_tokenizer(
    tokenizer: Tokenizer, texts: Iterable[str], *, vocab_size: int
) -> tuple[Tokenizer, PruneReport]:
    """A WordPiece tokenizer with its special tokens, the letters that are needed, and the tokens used most.

    tokenizer   of a model, such as `sijo.load().tokenizer`
    texts       read once; of tokens that are used alike the one with the smaller id stays
    vocab_size  tokens that stay; their order does

    Letters of ASCII and those of the text stay, as wholes and inside words: with them alone nothing that was known
    becomes unknown.
    Raises SettingError for another kind of tokenizer, and where the letters alone are more; TextError without text.

    >>> from sijo.checkpoints.locate import built_in
    >>> whole = Tokenizer.load(built_in() / "tokenizer.json", max_length=256)
    >>> short, cut = prune_tokenizer(whole, ["a kettle on the stove", "the kettle sings"], vocab_size=220)
    >>> [short.token(number) for number in short.ids(["the kettle steams"])[0]], short.vocab_size
    (['the', 'kettle', 's', '##t', '##e', '##a', '##m', '##s'], 220)
    """
    if tokenizer.kind != "WordPiece":
        raise SettingError(
            f"only a WordPiece vocabulary can be cut, and this one is {tokenizer.kind}: its tokens are built from "
            "each other. Learn a smaller one: sijo tokenizer train"
        )
    if not 1 <= vocab_size <= tokenizer.vocab_size:
        raise SettingError(f"vocab_size={vocab_size} must be up to the {tokenizer.vocab_size} tokens there are")
    counts = np.zeros(tokenizer.largest_id + 1, dtype=np.int64)
    for group in groups(texts_in(texts)):
        for ids in tokenizer.ids(group):
            np.add.at(counts, ids, 1)
    if not counts.any():
        raise TextError("there is no text to count tokens in; give at least one that is not blank")
    names = {number: tokenizer.token(number) for number in range(len(counts))}
    used = set("".join(str(names[int(number)]) for number in np.flatnonzero(counts)))
    needed = {
        number
        for number, name in names.items()
        if name and len(letter := name.removeprefix("##")) == 1 and (letter.isascii() or letter in used)
    } | set(tokenizer.special_ids)
    if not len(needed) < vocab_size <= tokenizer.vocab_size:
        raise SettingError(
            f"vocab_size={vocab_size} must be above the {len(needed)} letters and special tokens that have to "
            f"stay, and up to the {tokenizer.vocab_size} tokens that there are"
        )
    order = np.argsort(-counts, kind="stable")
    others = (int(number) for number in order if int(number) not in needed and names[int(number)] is not None)
    kept = sorted(needed | {number for number, _ in zip(others, range(vocab_size - len(needed)), strict=False)})
    cut = PruneReport(
        vocab_size=len(kept),
        vocab_size_before=tokenizer.vocab_size,
        tokens=int(counts.sum()),
        covered=float(counts[kept].sum() / counts.sum()),
    )
    return tokenizer.only(kept), cut
