"""A student begins with what its teacher knows: layers, tables, heads, wherever they fit. (DistilBERT, section 3.)

Nothing here is trained. A table that is to be narrower begins with the directions in which the teacher's
vectors differ most, so that a factorised student starts close to its teacher too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load as unpack
from safetensors.torch import save as pack
from torch import Tensor, nn
from torch.nn import functional as F

from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import Model, load
from sijo.errors import SettingError
from sijo.files.cache import SqliteCache
from sijo.nn.architecture import Architecture
from sijo.nn.embeddings import Embeddings
from sijo.nn.heads import Network
from sijo.objectives.clm import CausalLM
from sijo.objectives.distillation import Distillation, LanguageTeacher, Lesson
from sijo.objectives.mlm import MaskedLM
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.training.settings import TeacherSettings

TABLES = ("tokens", "places", "segments")


def spread_layers(layers: int, among: int) -> tuple[int, ...]:
    """So many layers of a teacher that has `among`, from its first to its last, evenly.

    >>> spread_layers(6, 12), spread_layers(3, 6), spread_layers(1, 12)        # the first is DistilBERT's choice
    ((0, 2, 4, 7, 9, 11), (0, 2, 5), (0,))
    """
    return tuple(int(place) for place in np.linspace(0, among - 1, layers).round())


def half_as_deep(architecture: Architecture) -> Architecture:
    """A network half as deep, shared as it was: what DistilBERT is to BERT.

    >>> half_as_deep(load().architecture).schedule
    (0, 1, 2)
    """
    depth = max(1, architecture.layers // 2)
    return replace(architecture, schedule=(0,) * depth if architecture.blocks == 1 else tuple(range(depth)))


def distilbert_of(architecture: Architecture) -> Architecture:
    """What DistilBERT is to BERT: half as deep, without segments, nothing dropped of what attention adds.

    A network that is no BERT is made half as deep, and that is all.
    """
    a = half_as_deep(architecture)
    plain = (a.distances, a.convolution, a.widening, a.reads, a.entry) == (None, None, None, "both_sides", "norm")
    if not plain or a.blocks != a.layers or a.positions is None:
        return a
    return replace(a, token_types=0, dropout=replace(a.dropout, attention_output=0.0))


@torch.no_grad()
def init_from_teacher(
    student: Network,
    teacher: Network,
    layers: Sequence[int] | None = None,
    *,
    counts: np.ndarray | None = None,
    rows: Tensor | None = None,
) -> list[str]:
    """Copy into a fresh student whatever of its teacher fits.

    student  its weights are changed in place
    teacher  of any architecture
    layers   for each of the student's layers one of the teacher's, counted from 0; None for `spread_layers`, none
             at all leaves the student as it is. Of a block that several layers share, the first decides
    counts   (V,) how often each token occurs, by which a narrower table weighs its rows; None for all alike
    rows     the teacher's rows for the student's tokens, where these are others (`translated_rows`)

    Returns what was begun from the teacher, a phrase each.
    Raises SettingError when `layers` names none of the teacher's, or too few or too many.

    >>> from dataclasses import replace
    >>> teacher = load()
    >>> student = Network(replace(teacher.architecture, schedule=(0, 1)))
    >>> init_from_teacher(student, teacher)
    ['tables', 'layers 0, 5']
    """
    ours, theirs = student.architecture, teacher.architecture
    chosen = spread_layers(ours.layers, theirs.layers) if layers is None else tuple(layers)
    if not chosen:
        return []
    if len(chosen) != ours.layers or not all(0 <= layer < theirs.layers for layer in chosen):
        raise SettingError(
            f"teacher.layers={list(chosen)} must name, for each of the student's {ours.layers} layers, one of the "
            f"teacher's, 0 to {theirs.layers - 1}"
        )
    done = _tables(student.transformer.embeddings, teacher.transformer.embeddings, counts, rows)
    if (ours.hidden_size, ours.intermediate_size) == (theirs.hidden_size, theirs.intermediate_size):
        for block in range(ours.blocks):
            layer = chosen[ours.schedule.index(block)]
            _copy(student.transformer.blocks[block], teacher.transformer.blocks[theirs.schedule[layer]])
        done.append("layers " + ", ".join(map(str, chosen)))
        for name in ("distances", "convolution", "final_norm"):
            one, other = getattr(student.transformer, name), getattr(teacher.transformer, name)
            if one is not None and other is not None:
                _copy(one, other)
    for name in student.head.keys() & teacher.head.keys() if rows is None else ():
        if _copy(student.head[name], teacher.head[name]):
            done.append(f"head {name}")
    return done


def _copy(one: nn.Module, other: nn.Module) -> bool:
    """Fill the tensors that both have, of one shape; whether all of `one` was."""
    theirs = other.state_dict()
    mine = one.state_dict()
    fitting = {name for name in mine.keys() & theirs.keys() if mine[name].shape == theirs[name].shape}
    for name in fitting:
        mine[name].copy_(theirs[name])
    return fitting == mine.keys()


def translated_rows(student: Tokenizer, teacher: Tokenizer, table: Tensor) -> Tensor:
    """A teacher's rows (V, E) for another tokenizer's tokens (V', E): its own row where it knows the token, else
    the mean of those that it cuts the token's text into; zeros where there are none.

    >>> teacher = load()
    >>> rows = translated_rows(teacher.tokenizer, teacher.tokenizer, teacher.transformer.embeddings.tokens.weight)
    >>> bool((rows == teacher.transformer.embeddings.tokens.weight).all())
    True
    """
    names = [student.token(number) for number in range(student.largest_id + 1)]
    known = [None if name is None else teacher.id(name) for name in names]
    texts = [student.decode([number]).removeprefix("##") for number in range(len(names))]
    return torch.stack(
        [
            table[ids if number is None else [number]].mean(0)
            if ids or number is not None
            else table.new_zeros(table.shape[1])
            for number, ids in zip(known, teacher.ids(texts), strict=True)
        ]
    )


def _tables(ours: Embeddings, theirs: Embeddings, counts: np.ndarray | None, rows: Tensor | None) -> list[str]:
    a, b = ours.architecture, theirs.architecture
    tokens = theirs.tokens.weight if rows is None else rows
    if (a.embedding_size, a.widening) == (b.embedding_size, b.widening):
        for name in (*TABLES, "project", "norm"):
            one, other = getattr(ours, name), getattr(theirs, name)
            if one is not None and other is not None:
                _rows(one, other)
        _fit(ours.tokens.weight, tokens)
        return ["tables"]
    # what the teacher adds up: its tables, widened where that comes before the norm
    before = theirs.project.weight.T if theirs.project is not None and b.widening == "before_norm" else None
    wide = {}
    for name in TABLES:
        if (part := getattr(theirs, name)) is not None:
            weight = tokens if name == "tokens" else part.weight
            wide[name] = weight if before is None else weight @ before
    basis = strongest_directions(wide["tokens"], a.embedding_size, counts)
    for name, part in wide.items():
        if (one := getattr(ours, name)) is not None:
            _fit(one.weight, part @ basis)
    same = basis.shape[0] == a.hidden_size and ours.project is not None
    if same and ours.project is not None:
        ours.project.weight.copy_(basis)
        if ours.project.bias is not None:
            ours.project.bias.zero_()
        if ours.norm is not None and theirs.norm is not None:
            _rows(ours.norm, theirs.norm)
    return [f"tables in their {a.embedding_size} strongest directions"]


def strongest_directions(rows: Tensor, count: int, weights: np.ndarray | None = None) -> Tensor:
    """The orthonormal directions (E, count) that keep most of some vectors (V, E), those that occur often first.

    weights  (V,) how often each occurs; None for all alike. The root is taken, so that frequent ones do not rule
    """
    width = rows.shape[1]
    if count > width:
        raise SettingError(
            f"model.embedding_size={count} is wider than the teacher's tables of {width}, which then do not say "
            "where to begin; give it up to that, or teacher.layers=[] to begin with fresh weights"
        )
    weighed = rows.double()
    if weights is not None:
        share = torch.from_numpy(np.sqrt(weights[: len(rows)] + 1.0))
        weighed = weighed * F.pad(share, (0, len(rows) - len(share)), value=1.0).sqrt()[:, None]
    # eigenvectors come in rising order of their share
    found: Tensor = torch.linalg.eigh(weighed.T @ weighed).eigenvectors[:, -count:].flip(1)
    return found.to(rows.dtype)


def _rows(one: nn.Module, other: nn.Module) -> None:
    """Copy a part, of a table as many rows as both have."""
    theirs = other.state_dict()
    for name, tensor in one.state_dict().items():
        if name in theirs and tensor.shape[1:] == theirs[name].shape[1:]:
            _fit(tensor, theirs[name])


def _fit(place: Tensor, rows: Tensor) -> None:
    count = min(len(place), len(rows))
    place[:count] = rows[:count]


class LessonCache:
    """A teacher's lessons on disk, those of one teacher and one way of asking in a file.

    folder       where
    fingerprint  of the teacher, and what is asked of it
    """

    def __init__(self, folder: Path, *, fingerprint: str) -> None:
        self._store = SqliteCache(folder, fingerprint=fingerprint, columns="lesson BLOB")

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Lesson]:
        """Those that are known."""
        return {key: unpack(packed) for key, (packed,) in self._store.get(keys).items()}

    def put(self, lessons: Mapping[bytes, Lesson]) -> None:
        """Keep some."""
        packed = {key: {name: part.clone() for name, part in lesson.items()} for key, lesson in lessons.items()}
        self._store.put({key: (pack(lesson),) for key, lesson in packed.items()})


def open_teacher(settings: TeacherSettings, head: str | None) -> Model:
    """The teacher, with the head that it is asked by."""
    if head is not None and head not in describe(settings.model).heads:
        raise SettingError(
            f"{settings.model} has no {head} head, so it gives no distributions over tokens; choose another "
            "teacher, or learn its states: sijo distill minilm or sentence"
        )
    return load(settings.model, head)


def distillation_objective(
    settings: TeacherSettings,
    student: Model,
    own: MaskedLM | CausalLM | None,
    tokenizer: Tokenizer,
    counts: np.ndarray | None = None,
) -> Distillation:
    """A fresh student, begun from its teacher, and what it is to learn from it.

    counts  as for `init_from_teacher`
    """
    head = own.head if own is not None and settings.of_tokens else None
    teacher = open_teacher(settings, head)
    own_words = tokenizer.text_fingerprint == teacher.tokenizer.text_fingerprint
    parts = settings.of_tokens, settings.cosine > 0, settings.relations > 0, settings.vectors > 0
    asked = str((settings.temperature, settings.top, settings.relation_layer, parts))  # of it alone: no weights
    lessons = None
    if settings.cache is not None:
        fingerprint = _digest(teacher.fingerprint, head or "", asked, "" if own_words else tokenizer.fingerprint)
        lessons = LessonCache(Path(settings.cache), fingerprint=fingerprint)

    def retold(ids: Sequence[int]) -> list[int]:
        text = tokenizer.decode(ids)
        return teacher.tokenizer.windows([text.lower() if teacher.sentence.lowercase else text])[0][0]

    asking = LanguageTeacher(
        teacher,
        settings,
        head=head,
        pooling=teacher.sentence.pooling,
        lessons=lessons,
        top=settings.top,
        retold=None if own_words else retold,
    )
    made = Distillation(student, asking, own, pooling=teacher.sentence.pooling)
    table = teacher.transformer.embeddings.tokens.weight
    rows = None if own_words else translated_rows(tokenizer, teacher.tokenizer, table)
    made.begun = init_from_teacher(student, teacher, settings.layers, counts=counts, rows=rows)
    return made


def _digest(*words: str) -> str:
    return blake2b("\n".join(words).encode(), digest_size=32).hexdigest()
