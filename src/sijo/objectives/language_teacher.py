"""A network that teaches another: its outputs for a text, computed once and, where a cache is set, kept there.

They are a function of the text alone. The teacher is never trained.

Letters: B batch, L length, M real tokens of a batch, V tokens of the vocabulary, K of them kept, D width.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from sijo.errors import SettingError
from sijo.nn.decoder import single_stack
from sijo.nn.head_specs import Pooling
from sijo.nn.heads import HeadInput, Network
from sijo.nn.pooling import pool
from sijo.objectives.objective import head_input
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.text_teacher import TextTeaching

Lesson = Mapping[str, Tensor]
"""A teacher's outputs for some rows, under the names of `ROWS` and, a row for each real token, other names:

logits     (M, V) float, or (M, K) the highest K of them
ids        (M, K) int32: which tokens these are
rest       (M,) float: the log of the sum of exp(logit / temperature) over all others
states     (M, D) float: the last hidden states
relations  (M, 3 D) float: queries, keys and values of one layer
vectors    (B, D) float: one for each text
"""
ROWS = ("vectors",)
"""Parts of a lesson that have a row for each text, not for each token."""


@dataclass(frozen=True, kw_only=True)
class Teaching(TextTeaching):
    """How a teacher's answers are weighed beside each other; a weight of 0 leaves a part out."""

    soft: float = 0.0
    """Of the divergence between the teacher's distribution over tokens and the student's; DistilBERT 5."""
    temperature: float = 2.0
    """By which both are softened; the part is multiplied by its square."""
    asked_only: bool = False
    """Whether that is asked only where a token was hidden, not at every real token."""
    hard: float = 1.0
    """Of the objective itself (mlm or clm), with the true token; DistilBERT 2."""
    squared: float = 0.0
    """Of the squared difference between the logits of both, summed over the vocabulary."""
    cosine: float = 0.0
    """Of the angle between the last hidden states, 1 - cos; DistilBERT 1. Other widths meet by a learned map."""
    relations: float = 0.0
    """Of how alike tokens are to each other in queries, keys and values of one layer (MiniLMv2)."""
    relation_heads: int | None = None
    """Into how many parts these are cut; None for the teacher's attention heads."""
    relation_layer: int | None = None
    """Which layer of the teacher, counted from 1, the student's last one follows; None for the last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = self.soft, self.hard, self.squared, self.cosine, self.relations, self.vectors, self.text_relations
        if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
            raise SettingError(
                f"teacher.soft={self.soft}, hard={self.hard}, squared={self.squared}, cosine={self.cosine}, "
                f"relations={self.relations}, vectors={self.vectors}, text_relations={self.text_relations}: "
                "weights are 0 or more, and one is above 0"
            )
        if not 0 < self.temperature < math.inf:
            raise SettingError(f"teacher.temperature={self.temperature} must be above 0, such as 2")
        if self.relation_heads is not None and self.relation_heads < 1:
            raise SettingError(f"teacher.relation_heads={self.relation_heads} must be 1 or more")

    @property
    def of_tokens(self) -> bool:
        """Whether it is about distributions over tokens, which need one vocabulary and a head."""
        return bool(self.soft or self.squared)


class Lessons(Protocol):
    """Where lessons are kept, each under the digest of the text it is about."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Lesson]:
        """Those that are known."""

    def put(self, lessons: Mapping[bytes, Lesson]) -> None:
        """Keep some."""


@dataclass(eq=False)
class LanguageTeacher:
    """A network that teaches and is never trained; no module, so nothing of it is updated, saved or wrapped."""

    network: Network
    """With the head that the student learns by, if it learns distributions."""
    teaching: Teaching
    """What is wanted of it."""
    _: KW_ONLY
    head: str | None = None
    """The name of that head, "mlm" or "lm"; None without."""
    pooling: Pooling = "mean"
    """How it makes one vector of a text."""
    lessons: Lessons | None = None
    """Where its answers are cached; they are then rounded (`packed`), cached before or not."""
    top: int = 32
    """How many logits a token are cached there."""
    reads_texts: bool = False
    """Whether what it says of whole texts is a `TextTeacher`'s, which reads what was written."""
    same_tokens: bool = True
    """Whether it cuts a text into the same tokens as the student."""

    def __post_init__(self) -> None:
        layers, wanted = self.network.architecture.layers, self.teaching.relation_layer
        if wanted is not None and not 1 <= wanted <= layers:
            raise SettingError(f"teacher.relation_layer={wanted}: the teacher has layers 1 to {layers}")
        if not self.same_tokens and (self.at_tokens or not self.reads_texts):
            raise SettingError(
                "teacher and student have different tokenizers, so only vectors of whole texts can be compared: "
                "set teacher.soft, squared, cosine and relations to 0 and teacher.vectors above, or use the "
                "teacher's tokenizer"
            )
        if self.lessons is not None and self.teaching.squared:
            raise SettingError(
                "teacher.squared compares all logits, and a cache keeps the highest of them: set it to 0, or leave "
                "teacher.cache out"
            )
        self.network.eval().requires_grad_(False)

    @property
    def at_tokens(self) -> bool:
        """Whether anything is wanted of it token by token, for which both must cut a text into the same tokens."""
        return bool(self.teaching.of_tokens or self.teaching.cosine or self.teaching.relations)

    @property
    def is_asked(self) -> bool:
        """Whether it reads what the student reads."""
        return self.at_tokens or bool(self.teaching.vectors and not self.reads_texts)

    @torch.no_grad()
    def lesson(self, posed: PosedBatch) -> Lesson:
        """Its outputs for the rows, at every real token: from the cache, or computed and cached."""
        if not self.is_asked:
            return {}
        self.network.to(posed.input_ids.device)
        if self.lessons is None:
            return self.computed(posed)
        texts = [row.contiguous().numpy().tobytes() for row in _rows(posed)]
        keys = [hashlib.blake2b(text, digest_size=20).digest() for text in texts]
        known = self.lessons.get(keys)
        missing = [number for number, key in enumerate(keys) if key not in known]
        if missing:
            rest = posed.rows(missing)
            parts = _split(self.packed(self.computed(rest)), rest.lengths)
            new = {keys[number]: part for number, part in zip(missing, parts, strict=True)}
            self.lessons.put(new)
            known |= new
        lessons, device = [known[key] for key in keys], posed.input_ids.device
        return {name: torch.cat([lesson[name] for lesson in lessons]).to(device) for name in lessons[0]}

    def packed(self, lesson: Lesson) -> Lesson:
        """A lesson as it is cached: the highest logits, and all in bfloat16 but the vectors."""
        packed = {
            name: part if name in ROWS else part.bfloat16() for name, part in lesson.items() if name != "logits"
        }
        if "logits" in lesson:
            logits = lesson["logits"].float() / self.teaching.temperature
            values, ids = logits.topk(min(self.top, logits.shape[-1]))
            rest = logits.scatter(-1, ids, -math.inf).logsumexp(-1)
            packed["logits"] = (values * self.teaching.temperature).bfloat16()
            packed |= {"ids": ids.int(), "rest": rest}
        return packed

    def computed(self, posed: PosedBatch) -> Lesson:
        """Its outputs for a posed batch in its own tokens, not rounded."""
        teaching, keep = self.teaching, posed.keep
        head: Any = self.network.head[self.head] if self.head else None
        read = head_input(self.network, posed, *([head] if head else []), layers=bool(teaching.relations))
        lesson = {}
        if teaching.of_tokens and head is not None:
            lesson["logits"] = head.at(read, keep)
        if teaching.cosine:
            lesson["states"] = read.output.last_hidden_state[keep]
        if teaching.relations:
            lesson["relations"] = query_key_value(read, teaching.relation_layer)[keep]
        if teaching.vectors and not self.reads_texts:
            lesson["vectors"] = pool(read.output.last_hidden_state, read.keep, self.pooling)
        return lesson


def query_key_value(head_input: HeadInput, layer: int | None = None) -> Tensor:
    """Queries, keys and values (B, L, 3 D) of a layer, counted from 1; of the last by default.

    head_input  read with the states after every layer
    """
    states = head_input.output.hidden_states
    transformer = single_stack(head_input.transformer, "its relations are those of no one layer")
    assert states is not None
    number = (layer or transformer.architecture.layers) - 1
    block: Any = transformer.blocks[transformer.architecture.schedule[number]]
    hidden = block.attention_norm(states[number]) if block.norm_first else states[number]
    attention = block.attention
    return torch.cat([part(hidden) for part in (attention.query, attention.key, attention.value)], -1)


def _rows(posed: PosedBatch) -> list[Tensor]:
    """Ids and segments of each text, (2, n) int64."""
    both = torch.stack([posed.input_ids, posed.token_type_ids], 1).cpu()
    return [row[:, :length] for row, length in zip(both, posed.lengths, strict=True)]


def _split(lesson: Lesson, lengths: list[int]) -> list[Lesson]:
    """A lesson for each text."""
    parts = {name: torch.split(part.cpu(), 1 if name in ROWS else lengths) for name, part in lesson.items()}
    return [{name: rows[number] for name, rows in parts.items()} for number in range(len(lengths))]
