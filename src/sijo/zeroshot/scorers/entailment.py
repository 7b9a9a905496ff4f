"""Does the text entail that the label fits? What a head trained on entailment says of each label.

A label becomes a sentence, its hypothesis. The head reads text and hypothesis together and gives one
number for each of its columns; which of them says entailment stands in its config, is looked up there,
and is never guessed.

Letters: P pairs of a text and a hypothesis, C columns of the head's logits, L labels.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from sijo.errors import SettingError, nearest
from sijo.inference.engine import Engine
from sijo.inference.outputs import ReadCounts
from sijo.names import folded
from sijo.zeroshot.calibration import LOGITS
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.pair_scorer import PairScorer

EntailmentScore = Literal["logit", "margin"]
ColumnRole = Literal["entailment", "contradiction", "neutral"]
ROLES: dict[ColumnRole, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "entailment": (("entail",), ("true", "yes")),
    "contradiction": (("contra", "notentail", "nonentail"), ("false", "no")),
    "neutral": ((), ("neutral", "maybe", "unknown")),
}
"""How published names of a column begin, and whole names."""


def column_role(label: str) -> ColumnRole | None:
    """What a column is by its published name; None for a name that does not say.

    Case, blanks and punctuation do not count.

    >>> [column_role(name) for name in ("ENTAILMENT", "Not-Entailment", "contradict", "neutral", "LABEL_0")]
    ['entailment', 'contradiction', 'contradiction', 'neutral', None]
    """
    name = "".join(letter for letter in label.casefold() if letter.isalnum())
    for role, (starts, names) in ROLES.items():
        if name.startswith(starts) or name in names:
            return role
    return None


class EntailmentColumns(NamedTuple):
    """Which of a head's columns say that the text entails the hypothesis, and that it does not."""

    entailment: int
    """Counted from 0, as the next."""
    contradiction: int | None
    """None for a head of one column: entailment's rival is then the constant 0."""

    @classmethod
    def find(
        cls,
        labels: Sequence[str],
        *,
        entailment: str | int | None = None,
        contradiction: str | int | None = None,
    ) -> "EntailmentColumns":
        """Looked up among the names of a head's columns, or as the user names them.

        labels         the names of the columns, in order
        entailment     the name or number of the one that says so; None to look it up
        contradiction  the same for its rival; of two columns it is the other one

        Raises SettingError when a column cannot be told, or two say the same.

        >>> EntailmentColumns.find(["contradiction", "neutral", "entailment"])
        EntailmentColumns(entailment=2, contradiction=0)
        >>> EntailmentColumns.find(["LABEL_0", "LABEL_1"], entailment="LABEL_1")
        EntailmentColumns(entailment=1, contradiction=0)
        """
        yes = _column(labels, "entailment", entailment)
        if len(labels) == 1:
            if contradiction is not None:
                raise SettingError(
                    f"contradiction_column={contradiction!r}, but the model has the one column {labels[0]!r}, "
                    "whose rival is always 0; leave the contradiction column out"
                )
            return cls(yes, None)
        if len(labels) == 2 and contradiction is None:
            return cls(yes, 1 - yes)
        no = _column(labels, "contradiction", contradiction)
        if yes == no:
            raise SettingError(
                f"entailment_column and contradiction_column are both {labels[yes]!r}, column {yes} of "
                f"{list(labels)}; name two columns"
            )
        return cls(yes, no)

    def scores(self, logits_PC: np.ndarray, *, margin: bool) -> np.ndarray:
        """The score (P,) of each pair, float64: entailment's logit, with `margin` less its rival's.

        >>> logits = np.array([[-1.0, 0.0, 2.0]])
        >>> columns = EntailmentColumns(entailment=2, contradiction=0)
        >>> columns.scores(logits, margin=False).tolist(), columns.scores(logits, margin=True).tolist()
        ([2.0], [3.0])
        """
        logits_PC = logits_PC.astype(np.float64)
        rival_P = logits_PC[:, self.contradiction] if margin and self.contradiction is not None else 0.0
        scores_P: np.ndarray = logits_PC[:, self.entailment] - rival_P
        return scores_P


def _column(labels: Sequence[str], role: ColumnRole, named: str | int | None) -> int:
    """The number of the column that the user names, or else of the only one whose name has that role."""
    if named is None:
        matches = [place for place, label in enumerate(labels) if column_role(label) == role]
        if len(matches) != 1:
            names = [labels[place] for place in matches]
            why = f"{names} all say {role}" if matches else f"none of them says {role}"
            way = f"name it by {role}_column= (--{role}-column), as in {labels[-1]!r} or {len(labels) - 1}"
            rivals = sum(column_role(label) == "contradiction" for label in labels)
            if role == "entailment" and len(labels) > 2 and rivals != 1:
                way += ", and its rival by contradiction_column= (--contradiction-column)"
            raise SettingError(
                f"the model's columns are {list(labels)}, and {why}: {way}. The model's page tells what they are"
            )
        return matches[0]
    if named in labels:
        return list(labels).index(str(named))
    keys = [folded(label) for label in labels]
    if isinstance(named, str) and keys.count(folded(named)) == 1:
        return keys.index(folded(named))
    number = int(named) if isinstance(named, int) or (named.isascii() and named.isdigit()) else -1
    if isinstance(named, bool) or not 0 <= number < len(labels):
        raise SettingError(
            f"{role}_column={named!r} is none of the model's columns {list(labels)}"
            f"{nearest(str(named), labels)}; give a name of these, or a number from 0 to {len(labels) - 1}"
        )
    return number


class EntailmentScorer(PairScorer):
    """How strongly the text entails the label's hypothesis: the template with the label's name.

    Labels that compete are scored by entailment's logit e; a label that is judged by itself, or
    against none of these, by e - c, which is 0 where contradiction is as likely. Each description of a
    label is a hypothesis as it stands, and the best one counts.

    engine                a model opened with its head
    entailment_column     name or number of the column that says entailment, where its name does not
    contradiction_column  the same for its rival
    entailment_score      of labels that compete: "logit" for e, as the pipeline of transformers has it; "margin"
                          for e - c, by which a label that the text contradicts loses to one it says nothing of

    Source: Yin et al. 2019 (arXiv:1909.00161), section 5; the scores are those of the zero-shot
    pipeline of transformers, and docs/zero-shot.md tells where that one errs.
    """

    name = "entailment"
    template = "This example is {}."
    calibration = LOGITS
    several = "best"

    def __init__(
        self,
        engine: Engine,
        *,
        entailment_column: str | int | None = None,
        contradiction_column: str | int | None = None,
        entailment_score: EntailmentScore = "logit",
    ) -> None:
        super().__init__(engine)
        self.columns = EntailmentColumns.find(
            engine.model.labels, entailment=entailment_column, contradiction=contradiction_column
        )
        if entailment_score not in get_args(EntailmentScore):
            raise SettingError(
                f"entailment_score={entailment_score!r} (--entailment-score) is neither 'logit', entailment's own, "
                "nor 'margin', that less its rival's"
            )
        self.entailment_score = entailment_score

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        columns = {f"{role}_column": column for role, column in self.columns._asdict().items()}
        return super().settings | columns | {"entailment_score": self.entailment_score}

    def sentences(self, label: Label, template: str) -> Sequence[str]:
        """The hypotheses of a label."""
        return label.phrases(template)

    def judged(
        self, texts: Sequence[str], sentences: Sequence[str], *, absolute: bool
    ) -> tuple[np.ndarray, ReadCounts]:
        """The score (P,) float64 of each text with its hypothesis, and how much of each text was read."""
        judged = self.engine.score_pairs(texts, sentences)
        return self.columns.scores(judged.logits, margin=absolute or self.entailment_score == "margin"), judged

    def room(self, sentence: str) -> int:
        """How many tokens of text the model reads beside a hypothesis."""
        tokenizer = self.engine.model.tokenizer
        return tokenizer.room(tokenizer.max_length, pair=True) - len(tokenizer.ids([sentence])[0])
