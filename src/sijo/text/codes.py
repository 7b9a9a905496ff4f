"""Control codes: the names of kinds of text, and the tokens that stand in front of it (CTRL, section 3)."""

from sijo.text.tokenizer import Tokenizer


def code_token(name: str) -> str:
    """How a code is spelled where it has a token of its own: not as a word of any text.

    >>> code_token("Reviews")
    '<Reviews>'
    """
    return f"<{name}>"


def code_ids(name: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens of a code: its own, or the word that is spelled like it (CTRL's are words), or its text's."""
    for spelled in (code_token(name), name):
        if (one := tokenizer.id(spelled)) is not None:
            return (one,)
    return tuple(tokenizer.ids([name])[0])
