"""From a control code as a user names it to its tokens (`tokenizers/codes.py` says which codes a model knows).

What comes after a code's first word is the text's own beginning: "Reviews Rating: 5.0" is the code Reviews and a
text that begins with "Rating: 5.0".
"""

from sijo.errors import SettingError, nearest
from sijo.tokenizers.codes import code_ids, known_codes
from sijo.tokenizers.tokenizer import Tokenizer


def code(name: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The prefix of a text under a code: the token of its first word, and those of any words after it.

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
