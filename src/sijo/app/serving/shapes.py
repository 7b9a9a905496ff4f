"""What requests hold and answers look like: sijo's own, and those of three services that people have clients of.

Fields that another service knows and that change nothing here are taken and not read, as its clients send them; in
sijo's own requests a field that is not known is an error.
"""

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(description="A text.")]
Texts = str | list[str]
Task = Literal[
    "zero-shot-classification",
    "text-classification",
    "feature-extraction",
    "sentence-similarity",
    "text-generation",
]
ModelName = Annotated[str, Path(max_length=200)]
Labels = list[str] | dict[str, str | list[str]]
"""Names, or names with descriptions."""


class Own(BaseModel):
    """A request of sijo's own."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Others(BaseModel):
    """A request as another service's clients send it."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


# sijo's own


class ChoiceRequest(Own):
    """Texts, what to choose from, and how."""

    texts: list[str] = Field(description="One or more.")
    labels: Labels | None = Field(None, description="Names, or names with descriptions; for all of the texts.")
    labels_each: list[Labels] | None = Field(None, description="Labels for each text, in place of `labels`.")
    label_set: str | None = Field(
        None, description="The name of labels of the service's own, in place of `labels`."
    )
    model: str | None = Field(None, description="Which of the service's models; the first by default.")
    multi_label: bool | None = Field(None, description="Judge each label by itself.")
    hypothesis_template: str | None = Field(None, description="The sentence a label is put in, with {} for it.")
    none_label: str | None = Field(None, description='A name for "none of these", which may then win.')
    none_threshold: float | None = Field(None, description="The score below which no label fits.")
    threshold: float = Field(0.5, description="With multi_label, the probability from which a label is given.")
    temperature: float | None = Field(None, description="Softmax temperature.")
    top_k: int | None = Field(None, ge=1, description="How many candidates a row keeps, the best; all by default.")


class ClassifyRequest(ChoiceRequest):
    """Texts that are labelled."""

    calibration: str | None = Field(None, description="The name of a calibration that the service has.")


class ExplainRequest(ChoiceRequest):
    """Texts whose answers are explained."""


class ClassifiedRow(BaseModel):
    """The answer for a text."""

    label: str | None = Field(description="The label chosen; null where none is.")
    score: float
    margin: float
    labels: list[str] = Field(description="Candidates, best first.")
    scores: list[float]
    fitting: list[str] = Field(description="The labels given: one at most, or with multi_label all that fit.")
    tokens: int
    windows: int
    truncated: bool
    abstained: bool
    path: list[str]


class ClassifyAnswer(BaseModel):
    """Rows in the order of the texts."""

    model: str
    scorer: str
    rows: list[ClassifiedRow]


class ExplainedPart(BaseModel):
    """A word, or several in a row, that was left out."""

    start: int = Field(description="Where it begins, in characters from 0.")
    end: int
    text: str
    spoken: bool = Field(description="Whether it is more than punctuation.")


class LabelEvidence(BaseModel):
    """How much each part spoke for a label."""

    label: str
    against: str | None
    probability: float
    log_odds: float
    effects: list[float] = Field(description="Of each part; above 0 where it spoke for the label.")


class ExplainedRow(ClassifiedRow):
    """The answer for a text, and why."""

    parts: list[ExplainedPart]
    evidence: list[LabelEvidence] = Field(description="Of the most probable labels, best first.")
    contrast: LabelEvidence | None = Field(description="The most probable label against the next.")
    read_until: int


class ExplainAnswer(BaseModel):
    """Rows in the order of the texts."""

    model: str
    scorer: str
    rows: list[ExplainedRow]


class FewLabelsRequest(Own):
    """Texts, and the labels of some of them."""

    texts: list[str]
    gold: list[list[str] | str | None] = Field(description="The labels of each text; null where nobody knows.")
    labels: Labels | None = Field(None, description="What there is to choose from; those that occur by default.")
    multi_label: bool = False
    model: str | None = None


class SuggestRequest(FewLabelsRequest):
    """How many to label next."""

    count: int = Field(10, ge=1, le=100)


class FitRequest(FewLabelsRequest):
    """What a head is fitted to."""


class SuggestedText(BaseModel):
    """A text to label next."""

    row: int = Field(description="The number of the text, from 0.")
    label: str | None = Field(description="What the model would say now.")
    uncertainty: float


class SuggestAnswer(BaseModel):
    """The most uncertain first."""

    model: str
    rows: list[SuggestedText]


class ShareInterval(BaseModel):
    """A share of texts, with its 95 % interval."""

    value: float
    low: float
    high: float


class FitAnswer(BaseModel):
    """A model that was fitted."""

    model: str = Field(description="Its name in this service.")
    accuracy: ShareInterval | None = Field(description="By cross-validation; null where there are too few texts.")
    zero_shot: ShareInterval | None = Field(description="What it began at, on the same texts.")
    texts: int


class AttributeRequest(Own):
    """Texts, of which each is told which control code it looks like."""

    texts: list[str]
    model: str | None = None
    top_k: int | None = Field(None, ge=1)


class AttributedCode(BaseModel):
    """A control code and how likely it is."""

    code: str
    posterior: float
    logprob: float


class AttributeAnswer(BaseModel):
    """Codes of each text, best first."""

    model: str
    rows: list[list[AttributedCode]]


# Hugging Face's inference API


class HubParameters(Others):
    """Of whatever task."""

    candidate_labels: list[str] | str | None = None
    hypothesis_template: str | None = None
    multi_label: bool | None = None
    top_k: int | None = Field(None, ge=1)
    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = None
    normalize: bool | None = None
    prompt_name: str | None = None
    truncate: bool | None = None
    dimensions: int | None = Field(None, ge=1)
    max_new_tokens: int | None = Field(None, ge=1)
    temperature: float | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    return_full_text: bool = False
    seed: int | None = None
    stop: list[str] = []
    control_code: str | None = None
    details: bool = False


class SentencePair(Others):
    """A sentence, and others that it is compared with."""

    source_sentence: str
    sentences: list[str]


class TextPair(Others):
    """A text and its second."""

    text: str
    text_pair: str | None = None


class HubRequest(HubParameters):
    """`inputs`, and how they are to be answered; feature-extraction's clients put that beside `inputs`."""

    inputs: str | list[str] | SentencePair | TextPair | list[TextPair]
    parameters: HubParameters | None = None
    model: str | None = None
    stream: bool = False


class ScoredLabel(BaseModel):
    """A label and its score."""

    label: str
    score: float


HubAnswer = list[ScoredLabel] | list[list[ScoredLabel]] | list[list[float]] | list[float] | list[dict[str, Any]]
"""Of the tasks, in the order of `Task`."""


# text-embeddings-inference


class EmbedRequest(Others):
    """Texts that become vectors."""

    inputs: Texts
    normalize: bool = True
    truncate: bool = False
    prompt_name: str | None = None
    dimensions: int | None = Field(None, ge=1)
    model: str | None = None


class PredictRequest(Others):
    """Texts or pairs that a model's own labels are scored for: a text, a pair, or a list of lists of one or two."""

    inputs: str | list[str] | list[list[str]]
    raw_scores: bool = False
    truncate: bool = False
    model: str | None = None


class RerankRequest(Others):
    """Texts that are put in order by how well they answer a query."""

    query: str
    texts: list[str]
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool = False
    model: str | None = None


class RankedText(BaseModel):
    """A text's number, and its score."""

    index: int
    score: float
    text: str | None = None


class SimilarityParameters(Others):
    """How the texts are encoded."""

    truncate: bool = False
    prompt_name: str | None = None


class SimilarityRequest(Others):
    """A sentence and others."""

    inputs: SentencePair
    parameters: SimilarityParameters | None = None
    model: str | None = None


# OpenAI


class EmbeddingsRequest(Others):
    """Texts, or texts in token ids, that become vectors."""

    input: str | list[str] | list[int] | list[list[int]]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    user: str | None = None


class EmbeddingRow(BaseModel):
    """A vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(BaseModel):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """Vectors in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[EmbeddingRow]
    model: str
    usage: EmbeddingsUsage


class ModelRow(BaseModel):
    """A model of the service."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "sijo"


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[ModelRow]


# What else is told


class KnownLabels(BaseModel):
    """Labels that a head was trained on."""

    names: list[str]
    multi_label: bool = Field(description="Whether it judges each by itself.")


class ServiceInfo(Others):
    """What text-embeddings-inference tells of itself, of one model; and what a page has to know besides."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model_id: str
    model_type: dict[str, Any]
    version: str
    kinds: list[Literal["classifier", "labels", "vectors", "writer"]] = Field(description="What it does.")
    trained_labels: KnownLabels | None = Field(
        description="All that it can choose among; null for a model that takes any labels."
    )
    fitted_here: bool = Field(description="Whether it came of `/fit`, and may be taken away.")
    max_request_tokens: int
    max_request_bytes: int
    max_fitted_scores: int = Field(description="Of `/fit`: labelled texts times labels, at most.")


class Refused(BaseModel):
    """Why a request was not answered."""

    error: str | dict[str, Any]
    error_type: str | None = None
