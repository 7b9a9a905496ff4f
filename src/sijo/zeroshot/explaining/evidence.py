"""What an explanation is: a text's answer, and how much each of its words spoke for each label.

Letters: P parts of a text.
"""

from dataclasses import dataclass

from sijo.zeroshot.labeller import LabelPrediction

WHY = 5
"""Words that `why` names at most."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """A word of a text, or several in a row, that was left out to see what it changes."""

    start: int
    """Where it begins in the text, in characters counted from 0."""
    end: int
    """Where it ends: `text[start:end]` is it."""
    text: str
    """The words, as they are written."""
    words: int
    """How many words it has: 1, unless the text is too long for each to be left out by itself."""
    spoken: bool = True
    """Whether it is more than punctuation."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much each part of a text spoke for a label."""

    label: str
    """The label."""
    against: str | None
    """What it is held against: another label; or None for all that could be instead of it."""
    probability: float
    """The label's probability: the one that the row tells."""
    log_odds: float
    """By how much it leads what it is held against: the logarithm of the odds."""
    effects: tuple[float, ...]
    """(P,) What each part added to that lead: above 0 the text without it is less like the label."""

    @property
    def strengths(self) -> list[float]:
        """How strong each effect is beside the largest, from -1 to 1."""
        largest = max(map(abs, self.effects), default=0.0) or 1.0
        return [effect / largest for effect in self.effects]


@dataclass(frozen=True, kw_only=True)
class Explanation(LabelPrediction):
    """The answer for one text, the very one that `classify` gives, and why."""

    text: str
    """The text, as it was given."""
    parts: tuple[TextPart, ...]
    """All of its words, in order, that were read; none where it has no words."""
    evidence: tuple[Evidence, ...]
    """For each of the most probable labels, best first, against all others; by itself with `multi_label`."""
    contrast: Evidence | None
    """Why the most probable label and not the next: that one against this one; None with `multi_label`."""
    variants: int
    """How many texts were read for it: this one, and each without a part."""
    read_until: int
    """Where reading ended, in characters: the length of the text, or where it was cut."""

    @property
    def whole_words(self) -> bool:
        """Whether each word was left out by itself."""
        return all(part.words == 1 for part in self.parts)

    def strongest(self, count: int, evidence: Evidence | None = None) -> list[tuple[TextPart, float]]:
        """The words that changed most, for or against, with their effects; those that changed most first.

        A mark such as a comma has its effect, and is no word.

        evidence  for which label; None for the most probable
        """
        if evidence is None and not self.evidence:
            return []
        effects = (evidence or self.evidence[0]).effects
        order = sorted(range(len(effects)), key=lambda place: (-abs(effects[place]), place))
        named = [place for place in order if effects[place] != 0 and self.parts[place].spoken]
        return [(self.parts[place], effects[place]) for place in named[:count]]

    @property
    def why(self) -> list[str]:
        """The words that spoke for the most probable label, the strongest first, at most five.

        >>> from sijo.zeroshot.classifier import ZeroShotClassifier
        >>> ZeroShotClassifier(labels=["cooking", "football"]).explain(["He scored!"])[0].why
        ['scored', 'He']
        """
        effects = self.evidence[0].effects if self.evidence else ()
        order = sorted(range(len(effects)), key=lambda place: (-effects[place], place))
        return [self.parts[place].text for place in order if effects[place] > 0 and self.parts[place].spoken][:WHY]
