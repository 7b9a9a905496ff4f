"""The control codes that a model knows, by their names.

A code of one's own is a token "<name>" (`text/codes.py`); the published CTRL's 55 are words of its vocabulary. What
comes after a code's first word is the text's own beginning: "Reviews Rating: 5.0" is the code Reviews and a text
that begins with "Rating: 5.0".
"""

from sijo.errors import SettingError, nearest
from sijo.text.codes import code_ids, code_token
from sijo.text.tokenizer import USUAL, Tokenizer

PUBLISHED: dict[str, float] = {
    "Alone": 0.000169596,
    "Ask": 0.000217295,
    "Ass": 8.47981e-05,
    "Atheism": 0.000402791,
    "Books": 0.095927851,
    "Christianity": 0.000127197,
    "Computing": 0.000365692,
    "Confession": 0.000291493,
    "Confessions": 0.000127197,
    "Conspiracy": 0.000227895,
    "Diet": 0.000201395,
    "Event": 0.000217295,
    "Explain": 0.003084531,
    "Extract": 0.001176574,
    "Feminism": 0.000270294,
    "Finance": 0.000190796,
    "Fitness": 0.000180196,
    "Funny": 0.000323293,
    "Gaming": 0.000249094,
    "Horror": 0.00135147,
    "Human": 0.000402791,
    "India": 0.000132497,
    "Joke": 0.000143097,
    "Joker": 2.11995e-08,
    "Learned": 0.000206695,
    "Legal": 0.000238495,
    "Links": 0.365691808,
    "Movies": 0.000132497,
    "multilingual": 0.111297507,
    "Narcissus": 0.000423991,
    "Netflix": 1.05998e-06,
    "News": 0.043877717,
    "Norman": 6.35986e-06,
    "Notion": 0.000121897,
    "Opinion": 0.000132497,
    "Politics": 0.000413391,
    "Pregnancy": 0.000296793,
    "Questions": 0.000196096,
    "Relationship": 0.000280894,
    "Relationships": 0.000922179,
    "Retail": 0.000169596,
    "Reviews": 0.153696557,
    "Running": 0.000111298,
    "Saving": 6.88985e-05,
    "Scary": 7.41983e-05,
    "Science": 7.41983e-05,
    "Support": 0.000206695,
    "Technologies": 6.35986e-05,
    "Teenage": 0.000243795,
    "Thoughts": 0.000127197,
    "Tip": 3.60392e-07,
    "Translation": 0.129847091,
    "Weight": 0.000302093,
    "Wikipedia": 0.0847981,
    "Writing": 0.000111298,
}
"""The codes of the released CTRL, and the share of each in its `control_codes.txt`: of the text, it seems."""
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
