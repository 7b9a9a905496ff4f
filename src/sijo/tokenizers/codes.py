"""Control codes: the names of kinds of text, and the tokens that stand in front of it (CTRL, section 3).

A code of one's own is a token "<name>"; the published CTRL's 55 are words of its vocabulary.
"""

import json
from pathlib import Path

from sijo.tokenizers.tokenizer import USUAL, Tokenizer

PUBLISHED: dict[str, float] = json.loads(Path(__file__).with_name("ctrl_codes.json").read_text(encoding="utf-8"))
"""The codes of the released CTRL, and the share of each in its `control_codes.txt`: of the text, it seems."""
WORDS = 200_000
"""Tokens from which a vocabulary is taken for the released one, in which each published code is one word."""


def code_token(name: str) -> str:
    """How a code is spelled where it has a token of its own: not as a word of any text.

    >>> code_token("Reviews")
    '<Reviews>'
    """
    return f"<{name}>"


def code_ids(name: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens of a code: its own, or the word that is spelled like it (CTRL's are words), or its text's."""
    for spelled in (code_token(name), name):
        if (number := tokenizer.id(spelled)) is not None:
            return (number,)
    return tuple(tokenizer.ids([name])[0])


def known_codes(tokenizer: Tokenizer) -> list[str]:
    """The names of all codes that a tokenizer knows, in the order of their tokens.

    >>> from sijo.checkpoints.locate import locate
    >>> tokenizer = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=256)
    >>> known_codes(tokenizer), known_codes(tokenizer.with_specials([code_token("sea"), code_token("land")]))
    ([], ['sea', 'land'])
    """
    usual = {name for names in USUAL.values() for name in names}
    spelled = [str(tokenizer.token(number)) for number in tokenizer.special_ids]
    own = [name[1:-1] for name in spelled if name not in usual and code_token(name[1:-1]) == name and len(name) > 2]
    words = PUBLISHED if tokenizer.vocab_size >= WORDS else ()
    return [name for name in words if name not in own and tokenizer.id(name) is not None] + own
