"""A student under a teacher: the same distributions, states, relations or vectors. (DistilBERT, section 3.)

The teacher reads the very batch that the student reads, masked tokens included. Its outputs are fetched or
computed before the student's forward pass (`language_teacher.py`).

Letters: B batch, L length, M real tokens of a batch, V tokens of the vocabulary, K of them kept, D width,
A relation heads.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sijo.errors import SettingError
from sijo.nn.architecture import Architecture
from sijo.nn.head_specs import Pooling
from sijo.nn.heads import HeadInput, LMHead, Network
from sijo.nn.pooling import pool
from sijo.objectives.language_teacher import LanguageTeacher, Lesson, query_key_value
from sijo.objectives.objective import Objective, TrainingObjective, head_input
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.tally import UNSEEN, Tally, cosine_loss, cross_entropy, kl_divergence
from sijo.objectives.text_teacher import TextTeachers

PARTS = ("soft", "squared", "cosine", "relations", "vectors")
"""Of the loss that a teacher gives, by their names."""


class Distillation(TrainingObjective):
    """A student that learns from a teacher, and beside it from its own objective.

    Needs      for `soft` and `squared` one vocabulary and the head of the objective in both networks
    Keeps      the student; what maps its states or vectors to a teacher's is left behind
    Parts      mlm or clm; soft: T² KL(teacher || student) of each token; squared; cosine: 1 - cos of each token;
               relations: the divergences of queries, keys and values, each the mean of its heads, of each token;
               vectors: 1 - cos of each text; those of `TextTeachers`
    Neighbours `Joint` for a network that learns from text alone
    Source     Sanh et al. 2019 (arXiv:1910.01108), section 3 and the released `distiller.py`; relations:
               Wang et al. 2020 (arXiv:2012.15828), section 3; vectors: Reimers & Gurevych 2020
               (arXiv:2004.09813), with the angle in place of the squared difference
    """

    def __init__(
        self,
        student: Network,
        teacher: LanguageTeacher,
        own: Objective | None,
        *,
        pooling: Pooling = "mean",
        texts: TextTeachers | None = None,
    ) -> None:
        """own      the objective, with the head it needs in the student; None to learn from teachers alone
        pooling  how the student makes one vector of a text
        texts    the teachers that read what was written, if there are any; `teacher` may be the first of them"""
        super().__init__()
        teaching = teacher.teaching
        check_comparable(student.architecture, teacher, learns=own is not None)
        self.student = student
        self.teacher = (teacher,)  # in a tuple for those who look through a module's attributes
        self.own = own
        self.pooling = pooling
        self.inherited: list[str] = []  # what it has of its teacher from the start, a phrase each
        self.texts = texts
        names = [name for name in PARTS if name != "vectors" or not teacher.reads_texts]
        self.weights = {name: weight for name in names if (weight := getattr(teaching, name))}
        if own is not None and teaching.hard:
            self.weights = {own.part: teaching.hard} | self.weights
        narrow, wide = student.architecture.hidden_size, teacher.network.architecture.hidden_size
        self.map = nn.Linear(narrow, wide) if teaching.cosine and narrow != wide else None
        if own is not None and not teaching.of_tokens:
            self.share = own.share
        if texts is not None:
            self.weights |= texts.weights
            self.compares = texts.compare

    def pose(self, batch: PosedBatch, seed: int) -> PosedBatch:
        """The batch as the student's own objective poses it; the teacher reads the same, or what was written."""
        batch = batch if self.texts is None else self.texts.posed(batch)
        return batch if self.own is None else self.own.pose(batch, seed)

    def prepare(self, posed: PosedBatch) -> PosedBatch:
        """The batch with the teachers' outputs."""
        of_texts = {} if self.texts is None else self.texts.lesson(posed)
        return replace(posed, lesson={**self.teacher[0].lesson(posed), **of_texts})

    def survey(self, posed: PosedBatch) -> dict[str, Tensor]:
        """The vectors of some rows, for the other pieces of their batch."""
        assert self.texts is not None
        posed = replace(posed, lesson=self.texts.lesson(posed))
        read = head_input(self.student, posed)
        return self.texts.survey(posed, pool(read.output.last_hidden_state, read.keep, self.pooling))

    def counts(self, posed: PosedBatch) -> dict[str, int]:
        """Masked tokens, real tokens, texts."""
        teaching = self.teacher[0].teaching
        targets, real = int(posed.target_mask.sum()), int(posed.keep.sum())
        of_tokens = targets if teaching.asked_only else real
        counts = {"soft": of_tokens, "squared": of_tokens, "vectors": len(posed)}
        if self.own is not None:
            counts[self.own.part] = targets
        if self.texts is not None:
            counts |= self.texts.counts(posed)
        return {name: counts.get(name, real) for name in self.weights}

    def forward(self, posed: PosedBatch) -> dict[str, Tally]:
        """A tally for each part that has a weight."""
        assert posed.lesson is not None, "a batch is prepared before it is learned from"
        teacher, lesson = self.teacher[0], posed.lesson
        head: Any = None if self.own is None else self.student.head[self.own.head]
        read = head_input(self.student, posed, *([head] if head else []), layers=bool(teacher.teaching.relations))
        last, tallies = read.output.last_hidden_state, {}
        if head is not None:
            tallies = self._of_tokens(posed, head, read, lesson)
        if "cosine" in self.weights:
            states = last[posed.keep]
            tallies["cosine"] = cosine_loss(states if self.map is None else self.map(states), lesson["states"])
        if "relations" in self.weights:
            heads = teacher.teaching.relation_heads or teacher.network.architecture.heads
            theirs = torch.zeros(*posed.keep.shape, lesson["relations"].shape[-1], device=last.device)
            theirs[posed.keep] = lesson["relations"].float()
            left = self.student.architecture.reads == "left"
            tallies["relations"] = relation_loss(query_key_value(read), theirs, posed.keep, heads=heads, left=left)
        if self.texts is not None:
            tallies |= self.texts(posed, pool(last, read.keep, self.pooling))
        elif "vectors" in self.weights:
            tallies["vectors"] = cosine_loss(pool(last, read.keep, self.pooling), lesson["vectors"])
        return {name: tallies[name] for name in self.weights}

    def _of_tokens(self, posed: PosedBatch, head: LMHead, read: HeadInput, lesson: Lesson) -> dict[str, Tally]:
        """The losses over tokens, from one computation of logits, only at the positions that need them."""
        teaching, target_mask = self.teacher[0].teaching, posed.target_mask
        everywhere = teaching.of_tokens and not teaching.asked_only
        logits = head.at(read, posed.keep if everywhere else target_mask)
        among = target_mask[posed.keep]
        tallies = {}
        if self.own is not None and self.own.part in self.weights:
            tallies[self.own.part] = cross_entropy(
                logits[among] if everywhere else logits, posed.targets[target_mask]
            )
        if teaching.of_tokens:
            theirs = {name: lesson[name] if everywhere else lesson[name][among] for name in lesson.keys() & SHARED}
            if "soft" in self.weights:
                tallies["soft"] = soft_loss(logits, theirs, teaching.temperature)
            if "squared" in self.weights:
                gap = (logits.float() - theirs["logits"].float()).square().sum()
                tallies["squared"] = Tally(gap, len(logits))
        return tallies

    def networks(self) -> dict[str, Network]:
        """The student."""
        return {"model": self.student}


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


def check_comparable(student: Architecture, teacher: LanguageTeacher, *, learns: bool) -> None:
    """Refuse a student that cannot be compared with its teacher, before it is built.

    learns  whether it has an objective of its own beside the teacher
    """
    teaching, ours, theirs = teacher.teaching, student, teacher.network.architecture
    if teacher.is_asked and ours.reads != theirs.reads:
        raise SettingError(
            f"the student reads {ours.reads} and the teacher {theirs.reads}: what they know of a token cannot be "
            "compared; make model.reads the teacher's"
        )
    if teaching.of_tokens and (not learns or teacher.head is None):
        raise SettingError(
            "teacher.soft and teacher.squared compare distributions over tokens, which takes an objective mlm or "
            "clm and a teacher with its head; set both to 0, or choose another teacher"
        )
    if teaching.of_tokens and ours.vocab_size != theirs.vocab_size:
        raise SettingError(
            f"the student knows {ours.vocab_size} tokens and the teacher {theirs.vocab_size}, so their "
            "distributions cannot be compared; use the teacher's tokenizer"
        )
    if teaching.vectors and not teacher.reads_texts and ours.hidden_size != theirs.hidden_size:
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
