"""How well does each label fit, of all that stand beside the text? One pass for a text, whatever the labels.

Labels read each other, so what is said of one depends on the others and their order: docs/gliclass.md.

Letters: n texts, L labels.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from sijo.errors import CheckpointError
from sijo.inference.engine import Engine
from sijo.inference.outputs import NotFiniteError, ReadCounts
from sijo.inference.vector_cache import Entry
from sijo.nn.head_specs import OPEN_LABELS, OnePassHeadSpec
from sijo.tokenizers.label_prompt import LabelPrompt, mark_ids
from sijo.zeroshot.calibration import LOGITS
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.label_tokens import LabelTokens
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest

MOST_KEPT = 1_000
"""Lists of labels whose tokens are kept; where each row brings its own, they have no end."""


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
    reads_others = True

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
        self._prompts: dict[tuple[str, ...], LabelPrompt] = {}

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        return {"long_text": "truncate"}

    def room_beside(self, labels: Sequence[Label], template: str) -> int | None:
        """What all of the labels together leave; without labels, what the model reads."""
        return self._prompt(labels, template).room if labels else self.engine.model.tokenizer.max_length

    @cached_property
    def label_tokens(self) -> LabelTokens:
        """What its network sees of labels: all of their words."""
        return LabelTokens(self.engine.model.tokenizer)

    def score(self, request: ScoreRequest) -> tuple[np.ndarray, ReadCounts]:
        """Logits (n, L) float64, absolute or not; of a row with labels of its own, -inf for others."""
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

    @staticmethod
    def words(label: Label, template: str) -> str:
        """What stands for a label.

        >>> OnePassScorer.words(Label("sea", ("a body of salt water",)), "{}")
        'sea: a body of salt water'
        """
        name, *descriptions = label.phrases(template)
        return f"{name}: {'; '.join(descriptions)}" if descriptions else name

    def _prompt(self, labels: Sequence[Label], template: str) -> LabelPrompt:
        own = tuple(self.words(label, template) for label in labels)
        if own not in self._prompts:
            if len(self._prompts) > MOST_KEPT:
                self._prompts.clear()
            self._prompts[own] = LabelPrompt(self.engine.model.tokenizer, own, order=self.head.order)
        return self._prompts[own]

    def _read(self, prompt: LabelPrompt, texts: Sequence[str]) -> Iterator[Entry]:
        """Run the model over texts beside the same labels; yields an entry for each."""
        inputs = prompt.inputs(texts)
        framed = [one.framed for one in inputs]
        logits = self.engine.head_scores(OPEN_LABELS, [one.ids for one in framed], [one.types for one in framed])
        for one, row in zip(inputs, logits, strict=True):
            yield Entry(row, one.tokens, 1, one.unread > 0)
