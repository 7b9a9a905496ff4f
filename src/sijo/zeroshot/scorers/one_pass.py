"""How well does each label fit, of all that stand beside the text? One pass for a text, whatever the labels.

Labels read each other, so what is said of one depends on the others and their order; but where the head hides them
from each other, its score is of text and label alone: docs/gliclass.md.

Letters: n texts, L labels.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from sijo.errors import CheckpointError
from sijo.inference.engine import Engine
from sijo.inference.outputs import NotFiniteError, ReadCounts
from sijo.inference.vector_cache import Entry
from sijo.nn.head_specs import OPEN_LABELS, OnePassHeadSpec
from sijo.tokenizers.label_prompt import LabelPrompt, mark_ids, shares
from sijo.zeroshot.calibration import LOGITS
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.label_tokens import LabelTokens
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest

MOST_KEPT = 1_000
"""Lists of labels whose tokens are kept; where each row brings its own, they have no end."""
FOR_LABELS = 4
"""One in so many tokens is for labels that are hidden from each other, in as many passes as they take (of a model
that reads few, up to half and 32), and the others for the text: how much of it is read then hangs on no label."""


class OnePassScorer(Scorer):
    """The logit that a GLiClass, or another encoder with its head, gives each label of a list.

    A label's descriptions stand behind its name: "sea: a body of salt water". Labels that compete share a softmax;
    judged by itself, a label fits from a logit of 0 on.

    engine  a model opened by torch with its one-pass head

    Raises CheckpointError for a tokenizer without the head's marks.

    Source: Stepanov et al. 2025 (arXiv:2508.07662); the probabilities are those of the public package's pipeline.
    """

    name = "one_pass"
    template = "{}"
    calibration = replace(LOGITS, origin="not fitted: the head's own logits")
    long_texts = ("truncate",)
    rows = 256
    reads_pairs = True

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        head = engine.model.head_value(OPEN_LABELS)
        assert isinstance(head, OnePassHeadSpec)
        self.head = head
        tokenizer = engine.model.tokenizer
        if (ids := mark_ids(tokenizer)) != (head.label_mark, head.text_mark):
            raise CheckpointError(
                f"the marks of labels and text are the tokens {ids[0]} and {ids[1]} to the tokenizer of "
                f"{engine.model.source or 'this model'}, and {head.label_mark} and {head.text_mark} to its head; "
                "tokenizer.json and config.json are of different models"
            )
        self.alone = head.neighbours == "hidden"
        """Whether a label's score hangs on no other: the store then has it under text and label."""
        self.reads_others = not self.alone
        room = tokenizer.room(tokenizer.max_length, pair=False)
        self.label_room = max(room // FOR_LABELS, min(room // 2, 32))
        self.text_room = room - self.label_room - 1
        self._prompts: dict[tuple[str, ...], LabelPrompt] = {}

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        return {"long_text": "truncate"}

    def room_beside(self, labels: Sequence[Label], template: str) -> int | None:
        """What all of the labels together leave, or is kept for a text; without labels, what the model reads."""
        if self.alone:
            return self.text_room
        return self._prompt(labels, template).room if labels else self.engine.model.tokenizer.max_length

    def check(self, labels: Sequence[Label], template: str) -> None:
        """Raise SettingError for labels that leave no room for a text, all together or, where they are hidden from
        each other, one alone."""
        if self.alone:
            words = [self.words(label, template) for label in labels]
            shares(self.engine.model.tokenizer, words, self.label_room)
        else:
            self._prompt(labels, template)

    @cached_property
    def label_tokens(self) -> LabelTokens:
        """What its network sees of labels: all of their words."""
        return LabelTokens(self.engine.model.tokenizer)

    def score(self, request: ScoreRequest) -> tuple[np.ndarray, ReadCounts]:
        """Logits (n, L) float64, absolute or not; of a row with labels of its own, -inf for others."""
        if self.alone:
            return self._each(request)
        texts, labels = request.texts, request.labels
        scores = np.full((len(texts), len(labels)), -np.inf)
        counts = np.zeros((3, len(texts)), np.int64)
        for columns, rows in request.by_list().items():
            prompt = self._prompt([labels[column] for column in columns], request.template)
            own = json.dumps([self.words(labels[column], request.template) for column in columns])
            first = {texts[row]: row for row in reversed(rows)}

            def read(
                keys: Sequence[tuple[str, str]], prompt: LabelPrompt = prompt, first: dict[str, int] = first
            ) -> Iterator[Entry]:
                try:
                    yield from self._read(prompt, [text for text, _ in keys])
                except NotFiniteError as error:
                    raise NotFiniteError(error.why, first[keys[error.place][0]]) from None

            keys = [(texts[row], own) for row in rows]
            *read_counts, logits = self.engine.outputs(keys, read, len(columns))
            counts[:, rows] = read_counts
            scores[np.ix_(rows, columns)] = logits
        return scores, ReadCounts(counts[0], counts[1], counts[2].astype(bool))

    def _each(self, request: ScoreRequest) -> tuple[np.ndarray, ReadCounts]:
        """`score` where labels are hidden from each other: a key is a text and one label, and those that are not
        known are read, all of a text together."""
        texts = request.texts
        words = [self.words(label, request.template) for label in request.labels]
        rows, columns = request.wanted.nonzero()
        keys = [(texts[row], words[column]) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)]
        first = {texts[row]: row for row in reversed(range(len(texts)))}

        def read(keys: Sequence[tuple[str, str]]) -> Iterator[Entry]:
            asked: dict[str, list[str]] = defaultdict(list)
            for text, label in keys:
                asked[text].append(label)
            alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
            for text, own in asked.items():
                alike[tuple(own)].append(text)
            entries: dict[tuple[str, str], Entry] = {}
            for labels, among in alike.items():
                for group in shares(self.engine.model.tokenizer, labels, self.label_room):
                    together = tuple(labels[place] for place in group)
                    try:
                        answers = list(self._read(self._prompt_of(together), among))
                    except NotFiniteError as error:
                        raise NotFiniteError(error.why, first[among[error.place]]) from None
                    for text, answer in zip(among, answers, strict=True):
                        for label, logit in zip(together, answer.vector, strict=True):
                            entries[text, label] = answer._replace(vector=np.array([logit]))
            yield from (entries[key] for key in keys)

        tokens, windows, truncated, logits = self.engine.outputs(keys, read, 1)
        scores = np.full(request.wanted.shape, -np.inf)
        scores[rows, columns] = logits[:, 0]
        counts = np.zeros((3, len(texts)), np.int64)
        counts[:, rows] = tokens, windows, truncated
        return scores, ReadCounts(counts[0], counts[1], counts[2].astype(bool))

    @staticmethod
    def words(label: Label, template: str) -> str:
        """What stands for a label.

        >>> OnePassScorer.words(Label("sea", ("a body of salt water",)), "{}")
        'sea: a body of salt water'
        """
        name, *descriptions = label.phrases(template)
        return f"{name}: {'; '.join(descriptions)}" if descriptions else name

    def _prompt(self, labels: Sequence[Label], template: str) -> LabelPrompt:
        return self._prompt_of(tuple(self.words(label, template) for label in labels))

    def _prompt_of(self, own: tuple[str, ...]) -> LabelPrompt:
        if own not in self._prompts:
            if len(self._prompts) > MOST_KEPT:
                self._prompts.clear()
            room = self.text_room if self.alone else None
            self._prompts[own] = LabelPrompt(self.engine.model.tokenizer, own, order=self.head.order, room=room)
        return self._prompts[own]

    def _read(self, prompt: LabelPrompt, texts: Sequence[str]) -> Iterator[Entry]:
        """Run the model over texts beside the same labels; yields an entry for each."""
        inputs = prompt.inputs(texts)
        framed = [one.framed for one in inputs]
        logits = self.engine.head_scores(OPEN_LABELS, [one.ids for one in framed], [one.types for one in framed])
        for one, row in zip(inputs, logits, strict=True):
            yield Entry(row, one.tokens, 1, one.unread > 0)
