"""A student is initialised from its teacher: layers, tables, heads, wherever they fit. (DistilBERT, section 3.)

Nothing here is trained. A table that is to be narrower begins with the directions in which the teacher's
vectors differ most, so that a factorised student starts close to its teacher too.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sijo.errors import SettingError
from sijo.nn.architecture import Architecture, Learned
from sijo.nn.decoder import single_stack
from sijo.nn.embeddings import Embeddings
from sijo.nn.heads import Network
from sijo.tokenizers.tokenizer import Tokenizer

TABLES = ("tokens", "places", "segments")


def spread_layers(layers: int, among: int) -> tuple[int, ...]:
    """So many layers of a teacher that has `among`, from its first to its last, evenly.

    >>> spread_layers(6, 12), spread_layers(3, 6), spread_layers(1, 12)        # the first is DistilBERT's choice
    ((0, 2, 4, 7, 9, 11), (0, 2, 5), (0,))
    """
    return tuple(int(place) for place in np.linspace(0, among - 1, layers).round())


def half_as_deep(architecture: Architecture) -> Architecture:
    """A network half as deep, shared as it was: what DistilBERT is to BERT.

    >>> from sijo.checkpoints.load import load
    >>> half_as_deep(load("all-minilm-l6-v2").architecture).schedule
    (0, 1, 2)
    """
    depth = max(1, architecture.layers // 2)
    return replace(architecture, schedule=(0,) * depth if architecture.blocks == 1 else tuple(range(depth)))


def distilbert_of(architecture: Architecture) -> Architecture:
    """What DistilBERT is to BERT: half as deep, without segments, nothing dropped of what attention adds.

    A network that is no BERT is made half as deep, and that is all.
    """
    a = half_as_deep(architecture)
    apart = (a.distances, a.relative_bias, a.rotary, a.window, a.convolution, a.widening)
    plain = not any(apart) and (a.reads, a.entry, a.feed_forward) == ("both_sides", "norm", "plain")
    if not plain or a.blocks != a.layers or a.positions is None:
        return a
    return replace(a, token_types=0, dropout=replace(a.dropout, attention_output=0.0))


def check_layers(ours: Architecture, theirs: Architecture, layers: Sequence[int] | None) -> tuple[int, ...]:
    """For each of a student's layers the teacher's it begins with; none where it begins with fresh weights.

    Raises SettingError for layers, or for a width of the tables, that the teacher's cannot be fitted to.
    """
    chosen = spread_layers(ours.layers, theirs.layers) if layers is None else tuple(layers)
    if not chosen:
        return ()
    if len(chosen) != ours.layers or not all(0 <= layer < theirs.layers for layer in chosen):
        raise SettingError(
            f"teacher.layers={list(chosen)} must name, for each of the student's {ours.layers} layers, one of the "
            f"teacher's, 0 to {theirs.layers - 1}"
        )
    width = theirs.hidden_size if theirs.widening == "before_norm" else theirs.embedding_size
    alike = (ours.embedding_size, ours.widening) == (theirs.embedding_size, theirs.widening)
    if not alike and ours.embedding_size > width:
        raise SettingError(
            f"model.embedding_size={ours.embedding_size} is wider than the teacher's tables of {width}, which then "
            "do not say where to begin; give it up to that, or teacher.layers=[] to begin with fresh weights"
        )
    return chosen


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
    >>> from sijo.checkpoints.load import load
    >>> teacher = load("all-minilm-l6-v2")
    >>> student = Network(replace(teacher.architecture, schedule=(0, 1)))
    >>> init_from_teacher(student, teacher)
    ['tables', 'layers 0, 5']
    """
    ours, theirs = student.architecture, teacher.architecture
    chosen = check_layers(ours, theirs, layers)
    if not chosen:
        return []
    mine, known = (single_stack(one.transformer, "its layers begin no student") for one in (student, teacher))
    done = _tables(mine.embeddings, known.embeddings, counts, rows)
    if (ours.hidden_size, ours.intermediate_size) == (theirs.hidden_size, theirs.intermediate_size):
        for block in range(ours.blocks):
            layer = chosen[ours.schedule.index(block)]
            _copy(mine.blocks[block], known.blocks[theirs.schedule[layer]])
        done.append("layers " + ", ".join(map(str, chosen)))
        for name in ("distances", "relative_bias", "convolution", "final_norm"):
            _copy(getattr(mine, name), getattr(known, name))
    for name in student.head.keys() & teacher.head.keys() if rows is None else ():
        if _copy(student.head[name], teacher.head[name]):
            done.append(f"head {name}")
    return done


def _copy(ours: nn.Module | None, theirs: nn.Module | None) -> bool:
    """Fill the tensors that two parts both have in one shape; whether all of `ours` were."""
    if ours is None or theirs is None:
        return False
    mine, known = ours.state_dict(), theirs.state_dict()
    fitting = {name for name in mine.keys() & known.keys() if mine[name].shape == known[name].shape}
    for name in fitting:
        mine[name].copy_(known[name])
    return fitting == mine.keys()


def translated_rows(student: Tokenizer, teacher: Tokenizer, table: Tensor) -> Tensor:
    """A teacher's rows (V, E) for another tokenizer's tokens (V', E): its own row where it knows the token, else
    the mean of those that it cuts the token's text into; zeros where there are none.

    >>> from sijo.checkpoints.load import load
    >>> teacher = load("all-minilm-l6-v2")
    >>> rows = translated_rows(teacher.tokenizer, teacher.tokenizer, teacher.transformer.embeddings.tokens.weight)
    >>> bool((rows == teacher.transformer.embeddings.tokens.weight).all())
    True
    """
    names = [student.token(number) for number in range(student.largest_id + 1)]
    known = [None if name is None else teacher.id(name) for name in names]
    texts = [student.decode([number]).removeprefix("##") for number in range(len(names))]
    cuts = [ids if number is None else [number] for number, ids in zip(known, teacher.ids(texts), strict=True)]
    return torch.stack([table[ids].mean(0) if ids else table.new_zeros(table.shape[1]) for ids in cuts])


def _tables(ours: Embeddings, theirs: Embeddings, counts: np.ndarray | None, rows: Tensor | None) -> list[str]:
    a, b = ours.architecture, theirs.architecture
    tokens = theirs.tokens.weight if rows is None else rows
    if (a.embedding_size, a.widening) == (b.embedding_size, b.widening):
        for name in ("segments", "project", "norm"):
            _rows(getattr(ours, name), getattr(theirs, name))
        if ours.places is not None and theirs.places is not None:
            _fit(ours.places.weight[_first(a) :], theirs.places.weight[_first(b) :])
        _fit(ours.tokens.weight, tokens)
        return ["tables"]
    # what the teacher adds up: its tables, widened where that comes before the norm
    tables = {name: part.weight for name in TABLES if (part := getattr(theirs, name)) is not None}
    tables["tokens"] = tokens
    if theirs.project is not None and b.widening == "before_norm":
        tables = {name: table @ theirs.project.weight.T for name, table in tables.items()}
    basis = strongest_directions(tables["tokens"], a.embedding_size, counts)
    for name, table in tables.items():
        if (part := getattr(ours, name)) is not None:
            mine, known = (_first(a), _first(b)) if name == "places" else (0, 0)
            _fit(part.weight[mine:], table[known:] @ basis)
    if ours.project is not None and basis.shape[0] == a.hidden_size:
        ours.project.weight.copy_(basis)
        if ours.project.bias is not None:
            ours.project.bias.zero_()
        _rows(ours.norm, theirs.norm)
    return [f"tables in their {a.embedding_size} strongest directions"]


def strongest_directions(rows: Tensor, count: int, weights: np.ndarray | None = None) -> Tensor:
    """The orthonormal directions (E, count) that keep most of some vectors (V, E), those that occur often first.

    weights  (V,) how often each occurs; None for all alike. The root is taken, so that frequent ones do not rule
    """
    weighed = rows.double()
    if weights is not None:
        share = torch.from_numpy(np.sqrt(weights[: len(rows)] + 1.0))
        weighed = weighed * F.pad(share, (0, len(rows) - len(share)), value=1.0).sqrt()[:, None]
    # eigenvectors come in rising order of their share
    directions: Tensor = torch.linalg.eigh(weighed.T @ weighed).eigenvectors[:, -count:].flip(1)
    return directions.to(rows.dtype)


def _rows(ours: nn.Module | None, theirs: nn.Module | None) -> None:
    """Copy a part where both have it, of a table as many rows as both have."""
    mine, known = ({} if part is None else part.state_dict() for part in (ours, theirs))
    for name in mine.keys() & known.keys():
        if mine[name].shape[1:] == known[name].shape[1:]:
            _fit(mine[name], known[name])


def _first(architecture: Architecture) -> int:
    """The row of the table of places that the first one has."""
    return architecture.positions.first if isinstance(architecture.positions, Learned) else 0


def _fit(place: Tensor, rows: Tensor) -> None:
    count = min(len(place), len(rows))
    place[:count] = rows[:count]
