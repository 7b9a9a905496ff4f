"""Control codes: the names of kinds of text, and the tokens that stand in front of it (CTRL, section 3).

A code of one's own is a token "<name>"; the published CTRL's 55 are words of its vocabulary.
"""

from sijo.tokenizers.tokenizer import USUAL, Tokenizer

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
    words = PUBLISHED if tokenizer.vocab_size >= WORDS else ()
    return [name for name in words if name not in own and tokenizer.id(name) is not None] + own
