"""Every scorer in a row: the head it needs, when it suits a model, what is its own, and where its class is.

A new scorer is one class, a `Scorer` (`scorer.py`), and one row here. Nothing in this file imports torch or numpy,
so the command line takes its choices and its help from the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sijo.errors import SettingError
from sijo.nn.head_specs import CLASSIFIER, OPEN_LABELS

LANGUAGE_MODEL, MASKED, REPLACED = "lm", "mlm", "rtd"


@dataclass(frozen=True)
class ModelFacts:
    """What decides which scorers suit a model, known before its network is built."""

    source: str | Path | None
    heads: frozenset[str]
    """Those it was opened with, and those its folder holds."""
    opened_heads: frozenset[str]
    columns: tuple[str, ...]
    """The names of the columns of its classification head."""
    gives_sentence_vectors: bool
    """Whether it was trained to."""
    fitted: bool = False
    """Whether its folder holds a head that was fitted over its vectors, as `sijo fit` leaves it."""

    @property
    def says_entailment(self) -> bool:
        """Whether a column is called entailment."""
        return any("entail" in column.casefold() for column in self.columns)


@dataclass(frozen=True, kw_only=True)
class ScorerRow:
    """What is known of a scorer without its class."""

    place: str
    """Its class, as module.name."""
    help: str
    """How it scores labels, in the words of a command's help."""
    head: str | None = None
    """The head its model is opened with; None for the encoder alone."""
    suits: Callable[[ModelFacts], str | None] = lambda model: None
    """Why `auto` may choose it for a model, as the end of a sentence; None where it may not, as by default."""
    cache_key: str = ""
    """Sets what it keeps of a text apart from the text's vector, in the name of the cache's file."""
    backend: str = "auto"
    """The backend that it needs."""
    options: tuple[str, ...] = ()
    """Arguments of its own, besides the engine; to give one is to choose this scorer."""


@dataclass(frozen=True)
class ScorerChoice:
    """Which scorer was taken for a model, and why.

    >>> print(ScorerChoice("trained", "by name"))
    trained: by name
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def _suits_embedding(model: ModelFacts) -> str:
    if model.gives_sentence_vectors:
        return "the model was trained to give sentence vectors"
    if MASKED in model.heads:
        return "a BERT's vectors labelled three sets of four better than its mlm head, which --scorer cloze asks"
    return "it holds no head that scores labels"


def _suits_entailment(model: ModelFacts) -> str | None:
    if CLASSIFIER not in model.heads or not model.says_entailment or model.gives_sentence_vectors:
        return None
    name = next(column for column in model.columns if "entail" in column.casefold())
    return f"its head has a column named {name}"


def _suits_trained(model: ModelFacts) -> str | None:
    if model.fitted:
        return "a head was fitted on labels over its vectors"
    if CLASSIFIER not in model.heads or model.says_entailment:
        return None
    if CLASSIFIER not in model.opened_heads and "token-classification" in model.heads:
        raise SettingError(
            f"{model.source} has a head that judges single tokens, or "
            "whose config does not tell what it judges (architectures). If it was trained on whole texts, say "
            'scorer="trained" (--scorer trained); to compare vectors of its encoder, say scorer="embedding" '
            "(--scorer embedding)"
        )
    return "its head was trained on labels, none of them called entailment"


def _suits_replaced(model: ModelFacts) -> str | None:
    if REPLACED not in model.heads or CLASSIFIER in model.heads or model.gives_sentence_vectors:
        return None
    return "its rtd head tells replaced tokens from a text's own"


def _suits_likelihood(model: ModelFacts) -> str | None:
    if LANGUAGE_MODEL not in model.heads or CLASSIFIER in model.heads:
        return None
    return "its lm head writes under control codes"


def _suits_one_pass(model: ModelFacts) -> str | None:
    return "its head judges all labels beside a text in one pass" if OPEN_LABELS in model.heads else None


SCORERS: dict[str, ScorerRow] = {
    "embedding": ScorerRow(
        place="sijo.zeroshot.scorers.embedding.EmbeddingScorer", help="by vectors", suits=_suits_embedding
    ),
    "cloze": ScorerRow(
        place="sijo.zeroshot.scorers.cloze.ClozeScorer",
        help="by how likely a label is in a sentence's blank",
        head=MASKED,
        backend="torch",
        cache_key=f"{MASKED}-",
        options=("cloze_score",),
    ),
    "entailment": ScorerRow(
        place="sijo.zeroshot.scorers.entailment.EntailmentScorer",
        help="by a head trained on entailment",
        head=CLASSIFIER,
        suits=_suits_entailment,
        options=("entailment_column", "contradiction_column", "entailment_score"),
    ),
    "trained": ScorerRow(
        place="sijo.zeroshot.scorers.trained.TrainedScorer",
        help="by one trained on the labels",
        head=CLASSIFIER,
        suits=_suits_trained,
        cache_key=f"{CLASSIFIER}-",
    ),
    "replaced": ScorerRow(
        place="sijo.zeroshot.scorers.replaced.ReplacedScorer",
        help="by how little a label looks replaced",
        head=REPLACED,
        backend="torch",
        suits=_suits_replaced,
        cache_key=f"{REPLACED}-",
    ),
    "likelihood": ScorerRow(
        place="sijo.zeroshot.scorers.likelihood.LikelihoodScorer",
        help="by how likely the text is behind a control code",
        head=LANGUAGE_MODEL,
        backend="torch",
        suits=_suits_likelihood,
        cache_key=f"{LANGUAGE_MODEL}-",
    ),
    "one_pass": ScorerRow(
        place="sijo.zeroshot.scorers.one_pass.OnePassScorer",
        help="all in one pass beside the text",
        head=OPEN_LABELS,
        backend="torch",
        suits=_suits_one_pass,
        cache_key=f"{OPEN_LABELS}-",
    ),
}
"""By name, from the most general to the most special: of those that suit a model, `auto` takes the last."""
