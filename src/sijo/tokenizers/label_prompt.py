"""Labels and a text as one input, which one head judges in one pass: a mark before each label, and one behind all.

    [CLS] <<LABEL>> sport <<LABEL>> tax <<SEP>> a late goal [SEP]        labels_first
    [CLS] a late goal <<LABEL>> sport <<LABEL>> tax <<SEP>> [SEP]        text_first

It is put together from token ids: the labels are read once for all texts, the text alone is cut, and what a text
says is never taken for a mark.

Source: released code, `gliclass` 0.1.21, `pipeline.py`, which cuts the end of the whole, be that text or labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sijo.errors import CheckpointError, SettingError
from sijo.tokenizers.tokenizer import FramedInput, Tokenizer

LABEL_MARK, TEXT_MARK = "<<LABEL>>", "<<SEP>>"
MARKS = (LABEL_MARK, TEXT_MARK)
Order = Literal["labels_first", "text_first"]


@dataclass(frozen=True)
class PromptedText:
    """A text beside labels."""

    framed: FramedInput
    """The whole input."""
    tokens: int
    """Tokens of the whole text, special ones not counted."""
    unread: int
    """How many of them, from its end, were cut."""


class LabelPrompt:
    """An ordered list of labels in tokens.

    tokenizer   knows the marks
    labels      in words, one or more
    order       what comes first
    max_length  tokens of an input at most, special ones included; None for what the tokenizer's model reads
    room        tokens of a text at most; None for all that there are beside the labels

    Raises SettingError for a label that is empty or holds a mark, and for labels that leave no room for a text.

    >>> from sijo.checkpoints.locate import locate
    >>> english = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=12)
    >>> prompt = LabelPrompt(english.with_specials(MARKS), ["sport", "tax"])
    >>> [one] = prompt.inputs(["a late goal in the rain"])
    >>> len(one.framed.ids), one.tokens, one.unread
    (12, 6, 1)
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        labels: Sequence[str],
        *,
        order: Order = "labels_first",
        max_length: int | None = None,
        room: int | None = None,
    ) -> None:
        self.tokenizer, self.order = tokenizer, order
        self._marks = frozenset(mark_ids(tokenizer))
        for label in labels:
            if not label.strip():
                raise SettingError("a label is empty, and stands for nothing; give it words, or leave it out")
        own = tokenizer.ids([LABEL_MARK + label for label in labels])
        for label, ids in zip(labels, own, strict=True):
            if len(self._marks.intersection(ids[1:])):
                raise SettingError(
                    f"the label {label[:60]!r} holds {' or '.join(MARKS)}, by which the model tells where labels "
                    "begin and end; name it otherwise"
                )
        self.ids = [number for ids in own for number in ids] + list(mark_ids(tokenizer)[1:])
        most = tokenizer.max_length if max_length is None else max_length
        self.room = tokenizer.room(most, pair=False) - len(self.ids)
        """Tokens of a text that are read beside the labels."""
        if self.room < 1:
            raise SettingError(
                f"{len(labels):,} labels take {len(self.ids):,} of the {most:,} tokens that the model reads at "
                f"once, which leaves none for a text; give fewer or shorter ones, or descriptions of fewer "
                "(their longest has "
                f"{max(map(len, own)):,} tokens), or let vectors choose: scorer='embedding' (--scorer embedding)"
            )
        self.room = self.room if room is None else min(self.room, room)

    def inputs(self, texts: Sequence[str]) -> list[PromptedText]:
        """Each text beside the labels, cut at its end where both do not fit. A mark in a text is left out."""
        first = self.order == "labels_first"
        prompted = []
        for whole in self.tokenizer.ids([TEXT_MARK + text if first else text + LABEL_MARK for text in texts]):
            ids = [number for number in whole if number not in self._marks]
            kept = ids[: self.room]
            framed = self.tokenizer.framed([*self.ids, *kept] if first else [*kept, *self.ids])
            prompted.append(PromptedText(framed, len(ids), len(ids) - len(kept)))
        return prompted


def shares(tokenizer: Tokenizer, labels: Sequence[str], room: int) -> list[list[int]]:
    """The places of labels in groups, one after another, each with its marks of so many tokens at most.

    Raises SettingError for a label that alone is longer.

    >>> from sijo.checkpoints.locate import locate
    >>> english = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=12)
    >>> shares(english.with_specials(MARKS), ["sport", "oil price", "tax"], 5)
    [[0, 1], [2]]
    """
    groups, left = list[list[int]](), 0
    for place, ids in enumerate(tokenizer.ids([LABEL_MARK + label for label in labels])):
        if len(ids) > room:
            raise SettingError(
                f"the label {labels[place][:60]!r} takes {len(ids):,} tokens, and {room:,} are kept for labels "
                "beside a text; shorten it, or its description"
            )
        if not groups or len(ids) > left:
            groups.append([])
            left = room
        groups[-1].append(place)
        left -= len(ids)
    return groups


def mark_ids(tokenizer: Tokenizer) -> tuple[int, int]:
    """The ids of the two marks; CheckpointError where the tokenizer lacks one, or cuts it.

    >>> from sijo.checkpoints.locate import locate
    >>> mark_ids(Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=12))
    Traceback (most recent call last):
    sijo.errors.CheckpointError: the tokenizer has no token <<LABEL>>, by which labels are told from the text; \
copy tokenizer.json from where the model was published, or teach it: sijo finetune --task one-pass
    """
    ids = [tokenizer.id(mark) for mark in MARKS]
    for mark, number in zip(MARKS, ids, strict=True):
        if number is None or tokenizer.ids([mark]) != [[number]]:
            raise CheckpointError(
                f"the tokenizer has no token {mark}, by which labels are told from the text; copy tokenizer.json "
                "from where the model was published, or teach it: sijo finetune --task one-pass"
            )
    label, text = ids
    assert label is not None and text is not None
    return label, text
