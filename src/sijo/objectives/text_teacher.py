"""Teachers of whole texts: each reads what was written through its own tokenizer, and gives a vector of each text.

Several may teach one student. Their vectors lie in spaces of their own, which no one vector can match at once: at
most one teacher is matched directly, every other by a linear map of its own, or by how alike it finds the texts of
a batch.

Letters: B texts of a batch, N that a teacher speaks for, T teachers, D width of the student, E of a teacher.
"""

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sijo.errors import SettingError, nearest
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.tally import UNSEEN, Tally, cosine_loss, kl_divergence

TEXT_PARTS = ("vectors", "text_relations")
"""Of the loss that a teacher of texts gives, by their names."""


@dataclass(frozen=True, kw_only=True)
class TextTeaching:
    """What is learned of whole texts, and of which; a weight of 0 leaves a part out."""

    vectors: float = 0.0
    """Of the angle between the vectors of whole texts, 1 - cos, as the `embedding` scorer uses them."""
    vectors_by: Literal["themselves", "map"] = "themselves"
    """How they are compared: as they are; or after a linear map of the student's, which is learned and left behind,
    for a teacher of another width or beside another teacher."""
    text_relations: float = 0.0
    """Of how alike the texts of a batch are to each other, whatever the width: the divergence between the teacher's
    and the student's distribution over the other texts, by their cosines."""
    text_temperature: float = 0.05
    """By which these cosines are divided."""
    prompt: str | None = None
    """What stands before each text that this teacher reads: the name of one of its prompts, or words; null for what
    it was trained with. The student reads without."""
    scripts: tuple[str, ...] = ()
    """Which texts it speaks for: those whose letters are all of these scripts, as Unicode calls them, such as
    ["latin"] or ["hangul","latin"]; [] for all texts."""

    def __post_init__(self) -> None:
        if not all(0 <= weight < math.inf for weight in (self.vectors, self.text_relations)):
            raise SettingError(
                f"vectors={self.vectors} and text_relations={self.text_relations} are weights of a loss: 0 or more"
            )
        if not 0 < self.text_temperature < math.inf:
            raise SettingError(f"text_temperature={self.text_temperature} must be above 0, such as 0.05")
        for script in self.scripts:
            if script.lower() not in known_scripts():
                raise SettingError(
                    f"scripts={list(self.scripts)}: Unicode has no letters called {script!r}"
                    f"{nearest(script.lower(), known_scripts())}; write it as the names of its letters begin, such "
                    "as latin or hangul"
                )


@dataclass(eq=False, kw_only=True)
class TextTeacher:
    """A reader of texts whose vectors a student learns by; it is never trained."""

    name: str
    """What the journal calls it, beside others."""
    teaching: TextTeaching
    """What is wanted of it."""
    width: int
    """E."""
    read: Callable[[Sequence[str], str], np.ndarray]
    """Its vectors (N, E) float32 of some texts, computed on that device, such as "cpu"."""
    among_others: bool = False
    """Whether the parts of the loss are told from another teacher's by its name."""

    def part(self, name: str) -> str:
        """What a part of the loss is called."""
        return f"{self.name}.{name}" if self.among_others else name

    def speaks_for(self, text: str) -> bool:
        """Whether the student learns this text by it.

        >>> wanted = TextTeaching(scripts=("latin",))
        >>> latin = TextTeacher(name="a", teaching=wanted, width=1, read=lambda texts, on: np.zeros((0, 1)))
        >>> [latin.speaks_for(text) for text in ("Été 2024!", "비 rain", "3.5 %")]
        [True, False, True]
        """
        wanted = self.teaching.scripts
        return not wanted or scripts_of(text) <= {script.lower() for script in wanted}


def scripts_of(text: str) -> frozenset[str]:
    """The scripts of a text's letters: the first words of their names in Unicode, forms of compatibility undone.

    >>> sorted(scripts_of("ｆｕｌｌ µm 비가 雨 1"))
    ['cjk', 'greek', 'hangul', 'latin']
    """
    return frozenset(_script(letter) for letter in set(unicodedata.normalize("NFKC", text)) if letter.isalpha())


@cache
def _script(letter: str) -> str:
    return unicodedata.name(letter, "none").partition(" ")[0].lower()


@cache
def known_scripts() -> frozenset[str]:
    """All that `scripts_of` may give; found once, in half a second."""
    return frozenset(_script(chr(number)) for number in range(0x110000) if chr(number).isalpha())


class TextTeachers(nn.Module):
    """What a student learns of whole texts from one teacher or several.

    teachers  each with a name of its own
    width     D, of the student's vectors
    spell     from a text in the student's token ids to words, for a corpus that does not keep what was written

    Its parameters are the maps, which are left behind when the student is kept.
    Source: vectors, Reimers & Gurevych 2020 (arXiv:2004.09813), with the angle in place of the squared difference;
    relations, Park et al. 2019 (arXiv:1904.05068), with cosines for distances and, as in Passalis & Tefas 2018
    (arXiv:1803.10837), the divergence of distributions over the other texts for the potential.
    """

    def __init__(self, teachers: Sequence[TextTeacher], width: int, spell: Callable[[Sequence[int]], str]) -> None:
        super().__init__()
        check_text_teachers(teachers, width)
        self.teachers, self.spell = tuple(teachers), spell
        self.maps = nn.ModuleDict(
            {
                teacher.name: nn.Linear(width, teacher.width, bias=False)
                for teacher in teachers
                if teacher.teaching.vectors and teacher.teaching.vectors_by == "map"
            }
        )
        self.weights: dict[str, float] = {
            teacher.part(name): weight
            for teacher in teachers
            for name in TEXT_PARTS
            if (weight := getattr(teacher.teaching, name))
        }

    @property
    def compare(self) -> bool:
        """Whether texts of a batch are compared with each other."""
        return any(teacher.teaching.text_relations for teacher in self.teachers)

    def posed(self, batch: PosedBatch) -> PosedBatch:
        """A clean batch with the text of each input, and who speaks for it."""
        ids = zip(batch.input_ids.tolist(), batch.lengths, strict=True)
        texts = batch.texts or tuple(self.spell(row[:length]) for row, length in ids)
        spoken_for = [[teacher.speaks_for(text) for teacher in self.teachers] for text in texts]
        return replace(batch, texts=texts, spoken_for=torch.tensor(spoken_for))

    def counts(self, posed: PosedBatch) -> dict[str, int]:
        """For each part the texts that its teacher speaks for."""
        assert posed.spoken_for is not None
        by_teacher = posed.spoken_for.sum(0).tolist()
        counts = {
            teacher.part(name): count
            for teacher, count in zip(self.teachers, by_teacher, strict=True)
            for name in TEXT_PARTS
        }
        return {name: counts[name] for name in self.weights}

    def lesson(self, posed: PosedBatch) -> dict[str, Tensor]:
        """Each teacher's vectors (B, E) of the texts that it speaks for, and zeros for the others."""
        assert posed.spoken_for is not None and posed.texts is not None
        device, lesson = posed.input_ids.device, {}
        for column, teacher in enumerate(self.teachers):
            if posed.whole is not None and posed.places is not None:
                lesson[_of(teacher)] = posed.whole[_of(teacher)][posed.places]
                continue
            rows = posed.spoken_for[:, column].nonzero()[:, 0].tolist()
            lesson[_of(teacher)] = torch.zeros(len(posed), teacher.width, device=device)
            if rows:
                with torch.no_grad(), torch.autocast(device.type, enabled=False):
                    vectors = teacher.read([posed.texts[row] for row in rows], str(device))
                lesson[_of(teacher)][rows] = torch.tensor(vectors, device=device)
        return lesson

    def survey(self, posed: PosedBatch, vectors: Tensor) -> dict[str, Tensor]:
        """What every piece of a batch must know of these rows: all vectors of them, and who speaks for them."""
        assert posed.spoken_for is not None and posed.lesson is not None
        theirs = {_of(teacher): posed.lesson[_of(teacher)] for teacher in self.teachers}
        return {"student": vectors.float(), "spoken_for": posed.spoken_for.float()} | theirs

    def forward(self, posed: PosedBatch, vectors: Tensor) -> dict[str, Tally]:
        """A tally for each part.

        vectors  (B, D) float: the student's

        Of a piece of a batch that was surveyed, the relations are those to all texts of the batch: its own vectors
        have a gradient, the others stand as they were surveyed. The sum over pieces is the gradient of the whole.
        """
        assert posed.spoken_for is not None and posed.lesson is not None
        tallies = {}
        for column, teacher in enumerate(self.teachers):
            theirs, here = posed.lesson[_of(teacher)], posed.spoken_for[:, column]
            teaching = teacher.teaching
            if teaching.vectors:  # of no text too, so that a map has a gradient in every process
                ours = vectors[here]
                mapped = self.maps[teacher.name](ours) if teacher.name in self.maps else ours
                tallies[teacher.part("vectors")] = cosine_loss(mapped, theirs[here])
            if teaching.text_relations:
                ours, mine = vectors[here], None
                if posed.whole is not None and posed.places is not None:
                    among = posed.whole["spoken_for"][:, column] > 0
                    ours = posed.whole["student"].index_copy(0, posed.places, vectors.float())[among]
                    theirs = posed.whole[_of(teacher)]
                    mine = torch.zeros_like(among).index_fill(0, posed.places, True)[among]
                    here = among
                tallies[teacher.part("text_relations")] = text_relation_loss(
                    ours, theirs[here], mine, temperature=teaching.text_temperature
                )
        return tallies


def _of(teacher: TextTeacher) -> str:
    """The name of its vectors among what pieces know of each other."""
    return f"teacher {teacher.name}"


def text_relation_loss(ours: Tensor, theirs: Tensor, mine: Tensor | None = None, *, temperature: float) -> Tally:
    """How far two encoders differ in how alike they find some texts: KL(p || q) of each, in float32.

    p[i, j] = softmax over j ≠ i of cos(theirs[i], theirs[j]) / temperature, and q likewise of `ours`

    ours    (N, D) float
    theirs  (N, E) float
    mine    (N,) bool: the texts whose losses are counted here; None for all. The gradient is always that of the
            whole sum, so that each of several calls gives the rows with a gradient all of theirs

    Neither a space's width nor how it is turned makes a difference, nor cosines that are all higher by the same.
    With fewer than three texts there is nothing to tell apart, and the loss is 0.

    >>> east, north, west = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]
    >>> ours, theirs = torch.tensor([east, north, west]), torch.tensor([east, east, north])
    >>> tally = text_relation_loss(ours, theirs, temperature=1.0)
    >>> round(float(tally.total), 6), tally.count
    (0.231059, 3)
    """
    with torch.autocast(ours.device.type, enabled=False):
        itself = torch.eye(len(ours), dtype=torch.bool, device=ours.device)
        scores = []
        for vectors in (theirs, ours):
            unit = F.normalize(vectors.float(), dim=-1)
            scores.append((unit @ unit.T / temperature).masked_fill(itself, UNSEEN))
        losses = kl_divergence(*scores)
    if mine is None:
        return Tally(losses.sum(), len(ours))
    whole = losses.sum()
    return Tally(losses[mine].sum().detach() + (whole - whole.detach()), int(mine.sum()))


def check_text_teachers(teachers: Sequence[TextTeacher], width: int) -> None:
    """Refuse teachers that cannot teach a student of that width together."""
    direct = []
    for teacher in teachers:
        teaching = teacher.teaching
        if not (teaching.vectors or teaching.text_relations):
            raise SettingError(
                f"the teacher {teacher.name} teaches nothing: set its vectors or its text_relations above 0, or "
                "leave it out"
            )
        if not teaching.vectors or teaching.vectors_by == "map":
            continue
        direct.append(teacher)
        if teacher.width != width:
            raise SettingError(
                f"the student's vectors have {width} numbers and the teacher's ({teacher.name}) {teacher.width}; "
                "set its vectors_by=map, or text_relations in place of vectors; or set model.hidden_size to the "
                "teacher's, and save elsewhere: in model.schedule or model.embedding_size"
            )
    if len(direct) > 1:
        raise SettingError(
            f"the vectors of {' and '.join(teacher.name for teacher in direct)} lie in spaces of their own, and "
            "one vector cannot match both; set vectors_by=map for all but one, or text_relations instead"
        )
