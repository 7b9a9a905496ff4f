"""Whether texts are in a language that a model knows, as far as its tokenizer tells; if not, a warning, once."""

from collections.abc import Sequence

from sijo.checkpoints.describe import DescribedModel
from sijo.errors import warn
from sijo.tokenizers.coverage import coverage

MOST_UNREAD = 0.5
"""Share of unread words from which a model is taken not to know the language: docs/log.md has what was measured."""
MOST_NAMED = 8
"""Languages of a card that are named."""
MULTILINGUAL = "intfloat/multilingual-e5-small"


class LanguageCheck:
    """Looks at the first texts that a model is given, and warns where its tokenizer does not know their language.

    Texts and labels are judged apart, since three words of text are lost among ten labels.

    >>> from sijo.checkpoints.describe import describe
    >>> LanguageCheck(describe(None)).look(["a late goal"], labels=["sport", "weather"])
    """

    def __init__(self, model: DescribedModel) -> None:
        self.model = model
        self._done = self._told_of_lost = False

    def look(self, texts: Sequence[str], *, labels: Sequence[str] = ()) -> None:
        """Look at texts, and at the labels they are read with; later calls do nothing, once there was a word."""
        if self._done:
            return
        shares = {}
        for what, given in (("texts", texts), ("labels", labels)):
            measured = coverage(self.model.tokenizer, self._cased(given))
            self._done |= measured.words > 0
            if measured.share >= MOST_UNREAD:
                shares[what] = measured.share
            elif what == "texts" and measured.lost > MOST_UNREAD and not self._told_of_lost:
                self._told_of_lost = True
                warn(
                    f"{measured.lost:.0%} of the texts, such as emoji alone, are nothing but unknown tokens to the "
                    "model's tokenizer: their answers say nothing of them. Leave them out, or use a model that "
                    "knows their signs (--model)"
                )
        if shares:
            unread = " and ".join(f"{share:.0%} of the words in the {what}" for what, share in shares.items())
            warn(
                f"{unread} are unknown to the model's tokenizer, or spelled letter by letter, as happens in a "
                f"language that it has not learned: its answers cannot be trusted.{self._named()} Use a model that "
                f"knows the language (--model), such as {MULTILINGUAL}, which reads some 100"
            )

    def _cased(self, texts: Sequence[str]) -> Sequence[str]:
        return [text.lower() for text in texts] if self.model.sentence.lowercase else texts

    def _named(self) -> str:
        """A sentence on the languages of its card, where it has one that names any."""
        names = self.model.languages or ()
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        return f" Its card names {', '.join(names[:MOST_NAMED])}{more}." if names else ""
