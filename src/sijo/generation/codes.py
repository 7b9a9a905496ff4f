"""The control codes that a model knows, by their names.

A code of one's own is a token "<name>" (`text/codes.py`); the published CTRL's 55 are words of its vocabulary. What
comes after a code's first word is the text's own beginning: "Reviews Rating: 5.0" is the code Reviews and a text
that begins with "Rating: 5.0".
"""

from sijo.errors import SettingError, nearest
from sijo.text.codes import code_ids, code_token
from sijo.text.tokenizer import USUAL, Tokenizer

PUBLISHED: tuple[str, ...] = (
    *("Alone", "Ask", "Ass", "Atheism", "Books", "Christianity", "Computing", "Confession", "Confessions"),
    *("Conspiracy", "Diet", "Event", "Explain", "Extract", "Feminism", "Finance", "Fitness", "Funny", "Gaming"),
    *("Horror", "Human", "India", "Joke", "Joker", "Learned", "Legal", "Links", "Movies", "multilingual"),
    *("Narcissus", "Netflix", "News", "Norman", "Notion", "Opinion", "Politics", "Pregnancy", "Questions"),
    *("Relationship", "Relationships", "Retail", "Reviews", "Running", "Saving", "Scary", "Science", "Support"),
    *("Technologies", "Teenage", "Thoughts", "Tip", "Translation", "Weight", "Wikipedia", "Writing"),
)
"""The codes of the released CTRL, in the order of its `control_codes.txt`."""
WORDS = 200_000
"""Tokens from which a vocabulary is taken for the released one, in which each published code is one word."""


def known_codes(tokenizer: Tokenizer) -> list[str]:
    """The names of all codes that a tokenizer knows, in the order of their tokens.

    >>> from sijo.checkpoints.locate import built_in
    >>> tokenizer = Tokenizer.open(built_in(), model_type="bert", max_length=256)
    >>> known_codes(tokenizer), known_codes(tokenizer.with_specials([code_token("sea"), code_token("land")]))
    ([], ['sea', 'land'])
    """
    usual = {name for names in USUAL.values() for name in names}
    spelled = [str(tokenizer.token(number)) for number in tokenizer.special_ids]
    own = [name[1:-1] for name in spelled if name not in usual and code_token(name[1:-1]) == name and len(name) > 2]
    if own or tokenizer.vocab_size < WORDS:
        return own
    return [name for name in PUBLISHED if tokenizer.id(name) is not None]


def code(name: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens that stand in front of a text for a code: its first word's, and those of any words after it.

    Raises SettingError for a code that the model does not know, with the nearest one it does.
    """
    known = known_codes(tokenizer)
    if name in known:
        return code_ids(name, tokenizer)
    first, _, rest = name.partition(" ")
    if first in known:
        return (*code_ids(first, tokenizer), *tokenizer.ids([rest])[0])
    if not known:
        raise SettingError(
            f"control code {name!r}: this model knows no control codes; leave it out, or train with --code-column"
        )
    listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    raise SettingError(f"no control code {name!r}{nearest(name, known)}; there are {listed}")
