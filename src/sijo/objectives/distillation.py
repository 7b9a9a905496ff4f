"""A student under a teacher: guess as it guesses, see as it sees, attend as it attends. (DistilBERT, section 3.)

The teacher reads the very question that the student reads, hidden tokens included, and is never moved. What
it says of a text is a function of that text alone, so it can be kept and need not be asked twice.

Letters: B batch, L length, M real tokens of a batch, V tokens of the vocabulary, K of them kept, D width,
A relation heads.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sijo.batching import padded_length
from sijo.errors import SettingError
from sijo.nn.heads import HeadInput, LMHead, Network
from sijo.nn.pooling import Pooling, pool
from sijo.objectives.clm import CausalLM
from sijo.objectives.joint import TrainingObjective, head_input
from sijo.objectives.mlm import MaskedLM
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.tally import Tally, cross_entropy, kl_divergence

Lesson = Mapping[str, Tensor]
"""What a teacher says of some rows, under the names of `ROWS` and, a row for each real token, other names:

logits     (M, V) float, or (M, K) the highest K of them
ids        (M, K) int32: which tokens these are
rest       (M,) float: the log of the sum of exp(logit / temperature) over all others
states     (M, D) float: the last hidden states
relations  (M, 3 D) float: queries, keys and values of one layer
vectors    (B, D) float: one for each text
"""
ROWS = ("vectors",)
"""Parts of a lesson that have a row for each text, not for each token."""
PARTS = ("soft", "squared", "cosine", "relations", "vectors")
"""Of the loss that a teacher gives, by their names."""
UNSEEN = -1e9
"""A score whose share is 0 in every precision, and whose difference to itself is 0 too."""


@dataclass(frozen=True, kw_only=True)
class Teaching:
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
    vectors: float = 0.0
    """Of the angle between the vectors of whole texts, 1 - cos, as the `embedding` scorer uses them."""

    def __post_init__(self) -> None:
        weights = self.soft, self.hard, self.squared, self.cosine, self.relations, self.vectors
        if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
            raise SettingError(
                f"teacher.soft={self.soft}, hard={self.hard}, squared={self.squared}, cosine={self.cosine}, "
                f"relations={self.relations}, vectors={self.vectors}: weights are 0 or more, and one is above 0"
            )
        if not 0 < self.temperature < math.inf:
            raise SettingError(f"teacher.temperature={self.temperature} must be above 0, such as 2")
        if self.relation_heads is not None and self.relation_heads < 1:
            raise SettingError(f"teacher.relation_heads={self.relation_heads} must be 1 or more")

    @property
    def of_tokens(self) -> bool:
        """Whether it is about distributions over tokens, which need one vocabulary and a head."""
        return bool(self.soft or self.squared)

    @property
    def of_places(self) -> bool:
        """Whether it is about single places of a text, so that both must cut it into the same tokens."""
        return bool(self.of_tokens or self.cosine or self.relations)


class Lessons(Protocol):
    """Where lessons are kept, each under the digest of the text it is about."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Lesson]:
        """Those that are known."""

    def put(self, lessons: Mapping[bytes, Lesson]) -> None:
        """Keep some."""


class LanguageTeacher:
    """A network that is asked and never moved; no module, so nothing of it is trained, saved or wrapped.

    network   with the head that the student learns by, if it learns distributions
    teaching  what is wanted of it
    head      the name of that head, "mlm" or "lm"; None without
    pooling   how it makes one vector of a text
    lessons   where its answers are kept; they are then rounded (`packed`), kept before or not
    top       how many logits a place are kept there
    retold    for a teacher with another tokenizer: from the student's ids of a text to its own
    """

    def __init__(
        self,
        network: Network,
        teaching: Teaching,
        *,
        head: str | None = None,
        pooling: Pooling = "mean",
        lessons: Lessons | None = None,
        top: int = 32,
        retold: Callable[[Sequence[int]], list[int]] | None = None,
    ) -> None:
        layers, wanted = network.architecture.layers, teaching.relation_layer
        if wanted is not None and not 1 <= wanted <= layers:
            raise SettingError(f"teacher.relation_layer={wanted}: the teacher has layers 1 to {layers}")
        if retold is not None and teaching.of_places:
            raise SettingError(
                "teacher and student have different tokenizers, so only vectors of whole texts can be compared: "
                "set teacher.soft, squared, cosine and relations to 0 and teacher.vectors above, or use the "
                "teacher's tokenizer"
            )
        if lessons is not None and teaching.squared:
            raise SettingError(
                "teacher.squared compares all logits, and a cache keeps the highest of them: set it to 0, or leave "
                "teacher.cache out"
            )
        self.network = network.eval().requires_grad_(False)
        self.teaching = teaching
        self.head = head
        self.pooling = pooling
        self.lessons = lessons
        self.top = top
        self.retold = retold

    @torch.no_grad()
    def answer(self, question: PosedBatch) -> Lesson:
        """What it says of the rows of a question, at every real token."""
        self.network.to(question.input_ids.device)
        if self.retold is not None:
            question = _told(question, self.retold)
        if self.lessons is None:
            return self._asked(question)
        keys = [_key(row) for row in _rows(question)]
        known = self.lessons.get(keys)
        missing = [place for place, key in enumerate(keys) if key not in known]
        if missing:
            part = question.rows(missing)
            new = dict(zip((keys[i] for i in missing), _parted(self.packed(self._asked(part)), part), strict=True))
            self.lessons.put(new)
            known |= new
        lessons, device = [known[key] for key in keys], question.input_ids.device
        return {name: torch.cat([lesson[name] for lesson in lessons]).to(device) for name in lessons[0]}

    def packed(self, lesson: Lesson) -> Lesson:
        """A lesson as it is kept: the highest logits, and all in bfloat16 but the vectors."""
        found = {
            name: part if name in ROWS else part.bfloat16() for name, part in lesson.items() if name != "logits"
        }
        if "logits" in lesson:
            logits = lesson["logits"].float() / self.teaching.temperature
            values, ids = logits.topk(min(self.top, logits.shape[-1]))
            rest = logits.scatter(-1, ids, -math.inf).logsumexp(-1)
            found["logits"] = (values * self.teaching.temperature).bfloat16()
            found |= {"ids": ids.int(), "rest": rest}
        return found

    def _asked(self, question: PosedBatch) -> Lesson:
        teaching, keep = self.teaching, question.keep
        head: LMHead | None = self.network.head[self.head] if self.head else None  # type: ignore[assignment]
        seen = head_input(self.network, question, *([head] if head else []), layers=bool(teaching.relations))
        found = {}
        if teaching.of_tokens and head is not None:
            found["logits"] = head.decode(head.states(seen)[keep], seen.transformer)
        if teaching.cosine:
            found["states"] = seen.output.last_hidden_state[keep]
        if teaching.relations:
            found["relations"] = query_key_value(seen, teaching.relation_layer)[keep]
        if teaching.vectors:
            found["vectors"] = pool(seen.output.last_hidden_state, seen.keep, self.pooling)
        return found


class Distillation(TrainingObjective):
    """A student that learns from a teacher, and beside it from its own objective.

    Needs      for `soft` and `squared` one vocabulary and the head of the objective in both networks
    Keeps      the student; what maps its states to the teacher's width is left behind
    Parts      mlm or clm; soft: T² KL(teacher || student) of each token; squared; cosine: 1 - cos of each token;
               relations: the divergences of queries, keys and values, each the mean of its heads, of each token;
               vectors: 1 - cos of each text
    Neighbours `Joint` for a network that teaches itself
    Source     Sanh et al. 2019 (arXiv:1910.01108), section 3 and the released `distiller.py`; relations:
               Wang et al. 2020 (arXiv:2012.15828), section 3; vectors: Reimers & Gurevych 2020
               (arXiv:2004.09813), with the angle in place of the squared difference
    """

    def __init__(
        self,
        student: Network,
        teacher: LanguageTeacher,
        own: MaskedLM | CausalLM | None,
        *,
        pooling: Pooling = "mean",
    ) -> None:
        """own      the objective, with the head it needs in the student; None to learn from the teacher alone
        pooling  how the student makes one vector of a text"""
        super().__init__()
        teaching = teacher.teaching
        _check(student, teacher, own)
        self.student = student
        self.teacher = (teacher,)  # in a tuple for those who look through a module's attributes
        self.own = own
        self.pooling = pooling
        self.weights = {name: weight for name in PARTS if (weight := getattr(teaching, name))}
        if own is not None and teaching.hard:
            self.weights = {own.part: teaching.hard} | self.weights
        self.begun: list[str] = []  # what it has of its teacher from the start, a phrase each
        narrow, wide = student.architecture.hidden_size, teacher.network.architecture.hidden_size
        self.map = nn.Linear(narrow, wide) if teaching.cosine and narrow != wide else None
        if isinstance(own, MaskedLM) and not teaching.of_tokens:
            self.asked = own.masking.share

    def pose(self, question: PosedBatch, seed: int) -> PosedBatch:
        """The objective's own question, which the teacher is asked too."""
        return question if self.own is None else self.own.pose(question, seed)

    def counts(self, question: PosedBatch) -> dict[str, int]:
        """Tokens asked for, real tokens, texts."""
        teaching = self.teacher[0].teaching
        asked, real = int(question.asked.sum()), int(question.keep.sum())
        of_tokens = asked if teaching.asked_only else real
        counted = {"soft": of_tokens, "squared": of_tokens, "vectors": len(question), "mlm": asked, "clm": asked}
        return {name: counted.get(name, real) for name in self.weights}

    def forward(self, question: PosedBatch) -> dict[str, Tally]:
        """A tally for each part that has a weight."""
        teacher = self.teacher[0]
        teaching, lesson = teacher.teaching, teacher.answer(question)
        head: LMHead | None = None if self.own is None else self.student.head[self.own.head]  # type: ignore[assignment]
        seen = head_input(self.student, question, *([head] if head else []), layers=bool(teaching.relations))
        last, found = seen.output.last_hidden_state, {}
        if head is not None:
            found = self._of_tokens(question, head, seen, lesson)
        if "cosine" in self.weights:
            states = last[question.keep]
            found["cosine"] = cosine_loss(states if self.map is None else self.map(states), lesson["states"])
        if "relations" in self.weights:
            heads = teaching.relation_heads or teacher.network.architecture.heads
            theirs = torch.zeros(*question.keep.shape, lesson["relations"].shape[-1], device=last.device)
            theirs[question.keep] = lesson["relations"].float()
            left = self.student.architecture.reads == "left"
            found["relations"] = relation_loss(query_key_value(seen), theirs, question.keep, heads=heads, left=left)
        if "vectors" in self.weights:
            found["vectors"] = cosine_loss(pool(last, seen.keep, self.pooling), lesson["vectors"])
        return {name: found[name] for name in self.weights}

    def _of_tokens(self, question: PosedBatch, head: LMHead, seen: HeadInput, lesson: Lesson) -> dict[str, Tally]:
        """What is asked about tokens, from one computation of logits, nowhere but where they are needed."""
        teaching, asked = self.teacher[0].teaching, question.asked
        everywhere = teaching.of_tokens and not teaching.asked_only
        logits = head.decode(head.states(seen)[question.keep if everywhere else asked], seen.transformer)
        among = asked[question.keep]
        found = {}
        if self.own is not None and self.own.part in self.weights:
            found[self.own.part] = cross_entropy(logits[among] if everywhere else logits, question.truth[asked])
        if teaching.of_tokens:
            theirs = {name: lesson[name] if everywhere else lesson[name][among] for name in lesson.keys() & SHARED}
            if "soft" in self.weights:
                found["soft"] = soft_loss(logits, theirs, teaching.temperature)
            if "squared" in self.weights:
                gap = (logits.float() - theirs["logits"].float()).square().sum()
                found["squared"] = Tally(gap, len(logits))
        return found

    def networks(self) -> dict[str, dict[str, Tensor]]:
        """The student."""
        return {"model": self.student.state_dict()}


SHARED = {"logits", "ids", "rest"}


def soft_loss(logits: Tensor, lesson: Lesson, temperature: float) -> Tally:
    """T² KL(softmax(teacher / T) || softmax(student / T)), in float32.

    logits       (M, V) float, the student's
    lesson       the teacher's `logits` (M, V); or the highest K of them with `ids` and `rest`: all other tokens
                 then count as one, which makes the divergence no larger
    temperature  T

    `right` counts where both prefer the same token.

    >>> student, teacher = torch.tensor([[1.0, 2, 3], [0, 0, 0]]), torch.tensor([[3.0, 2, 1], [1, 0, -1]])
    >>> round(float(soft_loss(student, {"logits": teacher}, 2.0).total) / 2, 6)
    0.797155
    """
    ours, theirs = logits.float() / temperature, lesson["logits"].float() / temperature
    best = theirs.argmax(-1)
    if "ids" in lesson:
        ids = lesson["ids"].long()
        best = ids.gather(-1, best[:, None])[:, 0]
        others = ours.scatter(-1, ids, -math.inf).logsumexp(-1, keepdim=True)
        ours = torch.cat([ours.gather(-1, ids), others], -1)
        theirs = torch.cat([theirs, lesson["rest"].float()[:, None]], -1)
    right = (logits.argmax(-1) == best).sum()
    return Tally(temperature**2 * kl_divergence(theirs, ours).sum(), len(logits), right)


def cosine_loss(ours: Tensor, theirs: Tensor) -> Tally:
    """1 - cos between vectors (N, D), row by row, in float32.

    >>> round(float(cosine_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])).total), 6)
    0.292893
    """
    return Tally((1 - F.cosine_similarity(ours.float(), theirs.float(), dim=-1)).sum(), len(ours))


def query_key_value(seen: HeadInput, layer: int | None = None) -> Tensor:
    """Queries, keys and values (B, L, 3 D) of a layer, counted from 1; of the last by default.

    seen  read with the states after every layer
    """
    transformer, states = seen.transformer, seen.output.hidden_states
    assert states is not None
    number = (layer or transformer.architecture.layers) - 1
    block: Any = transformer.blocks[transformer.architecture.schedule[number]]
    hidden = block.attention_norm(states[number]) if block.norm_first else states[number]
    attention = block.attention
    return torch.cat([part(hidden) for part in (attention.query, attention.key, attention.value)], -1)


def relation_loss(ours: Tensor, theirs: Tensor, keep: Tensor, *, heads: int, left: bool = False) -> Tally:
    """How far the likenesses of tokens to each other differ: MiniLMv2, equations 1 to 3.

    ours   (B, L, 3 D) float, the student's queries, keys and values
    theirs (B, L, 3 D') float, the teacher's
    keep   (B, L) bool, True at real tokens
    heads  A, which must divide both widths
    left   whether a token is related only to itself and those before it

    For each of the three, softmax(X X^T / root(D / A)) of teacher and student, KL between them, the mean over
    heads, the sum over tokens.
    """
    unseen = ~keep[:, None, None, :]
    if left:
        unseen = unseen | torch.ones(keep.shape[1], keep.shape[1], dtype=torch.bool, device=keep.device).triu(1)
    total = ours.new_zeros((), dtype=torch.float32)
    for mine, other in zip(ours.float().chunk(3, -1), theirs.float().chunk(3, -1), strict=True):
        likenesses = []
        for states in (other, mine):
            cut = states.view(*keep.shape, heads, -1).transpose(1, 2)
            scores = cut @ cut.transpose(-1, -2) / math.sqrt(cut.shape[-1])
            likenesses.append(scores.masked_fill(unseen, UNSEEN))
        total = total + kl_divergence(*likenesses).sum(1)[keep].sum() / heads
    return Tally(total, int(keep.sum()))


def _check(student: Network, teacher: LanguageTeacher, own: MaskedLM | CausalLM | None) -> None:
    """Refuse a pair that cannot be compared."""
    teaching, ours, theirs = teacher.teaching, student.architecture, teacher.network.architecture
    if ours.reads != theirs.reads:
        raise SettingError(
            f"the student reads {ours.reads} and the teacher {theirs.reads}: what they know of a token cannot be "
            "compared; make model.reads the teacher's"
        )
    if teaching.of_tokens and (own is None or teacher.head is None):
        raise SettingError(
            "teacher.soft and teacher.squared compare distributions over tokens, which takes an objective mlm or "
            "clm and a teacher with its head; set both to 0, or choose another teacher"
        )
    if teaching.of_tokens and ours.vocab_size != theirs.vocab_size:
        raise SettingError(
            f"the student knows {ours.vocab_size} tokens and the teacher {theirs.vocab_size}, so their "
            "distributions cannot be compared; use the teacher's tokenizer"
        )
    if teaching.vectors and ours.hidden_size != theirs.hidden_size:
        raise SettingError(
            f"the student's vectors have {ours.hidden_size} numbers and the teacher's {theirs.hidden_size}; set "
            "model.hidden_size to the teacher's, and save elsewhere: in model.schedule or model.embedding_size"
        )
    heads = teaching.relation_heads or theirs.heads
    for whose, width in (("student", ours.hidden_size), ("teacher", theirs.hidden_size)):
        if teaching.relations and width % heads:
            raise SettingError(
                f"the {whose}'s width {width} cannot be cut into {heads} relation heads; set "
                "teacher.relation_heads to a number that divides both widths"
            )


def _rows(question: PosedBatch) -> list[Tensor]:
    """Ids and segments of each text, (2, n) int64."""
    both = torch.stack([question.input_ids, question.token_type_ids], 1).cpu()
    return [row[:, :length] for row, length in zip(both, question.lengths, strict=True)]


def _key(row: Tensor) -> bytes:
    return hashlib.blake2b(row.contiguous().numpy().tobytes(), digest_size=20).digest()


def _parted(lesson: Lesson, question: PosedBatch) -> list[Lesson]:
    """A lesson for each text."""
    ends = [1] * len(question)
    parts = {
        name: torch.split(part.cpu(), ends if name in ROWS else question.lengths) for name, part in lesson.items()
    }
    return [{name: rows[number] for name, rows in parts.items()} for number in range(len(question))]


def _told(question: PosedBatch, retold: Callable[[Sequence[int]], list[int]]) -> PosedBatch:
    """The same texts in the tokens of another tokenizer."""
    told = [retold(row[0].tolist()) for row in _rows(question)]
    width = padded_length(max(map(len, told)))
    ids = torch.zeros(len(told), width, dtype=torch.int64)
    keep = torch.zeros(len(told), width, dtype=torch.bool)
    for row, numbers in enumerate(told):
        ids[row, : len(numbers)] = torch.tensor(numbers)
        keep[row, : len(numbers)] = True
    device = question.input_ids.device
    ids, keep = ids.to(device), keep.to(device)
    return replace(question, input_ids=ids, keep=keep, token_type_ids=torch.zeros_like(ids))
