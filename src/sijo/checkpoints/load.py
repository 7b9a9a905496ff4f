"""From a checkpoint folder, or a published size, to a model that answers."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sijo.checkpoints.adapters import adapters_below
from sijo.checkpoints.describe import (
    NAMES_LABELS,
    FolderDescription,
    architecture_of,
    files_of_weights,
    fingerprint,
    languages_of,
    no_tokenizer,
)
from sijo.checkpoints.int8 import LONGEST, PROBE, to_int8
from sijo.checkpoints.locate import locate
from sijo.checkpoints.lora.merge import merged
from sijo.checkpoints.names import NameTable
from sijo.checkpoints.sentence import SentenceSettings
from sijo.checkpoints.sizes import mend_sizes
from sijo.checkpoints.vectors.steps import DenseStep
from sijo.checkpoints.weights import not_finite, read_weights
from sijo.errors import CheckpointError, RefusedError, SettingError, nearest, warn
from sijo.files.manifest import verify
from sijo.models import family_for, new_layout, published
from sijo.models.family import HEADS, Config, Family, Layout, Names
from sijo.models.labels import with_labels
from sijo.nn.architecture import Architecture
from sijo.nn.encoder_decoder import stacks
from sijo.nn.head_specs import POOLER, HeadSpec
from sijo.nn.heads import Network, build_head
from sijo.nn.int8 import Int8Matrix
from sijo.tokenizers.tokenizer import Tokenizer

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Dtype = Literal["float32", "bfloat16", "float16", "int8"]
NEW = "new:"
LEAST_TENSORS = 5
"""No block has fewer: ModernBERT's first, without biases, fuses three and leaves out a norm."""


class Model(Network):
    """A network, its tokenizer and what its folder says of both.

    Calling it reads a batch of token ids and gives an `Output`; see `Transformer.forward` for shapes.
    """

    def __init__(
        self,
        family: Family,
        config: Mapping[str, object],
        layouts: Mapping[str, Layout],
        *,
        heads: tuple[str, ...] = (),
        tokenizer: Tokenizer | None = None,
        sentence: SentenceSettings | None = None,
        source: Path | None = None,
        base: Path | None = None,
    ) -> None:
        read = family.config.read(config)
        super().__init__(architecture_of(read), {name: layout.head(read) for name, layout in layouts.items()})
        self.family = family
        self.config = dict(config)
        self.layouts = dict(layouts)
        self.heads = heads
        self.unused: tuple[str, ...] = ()
        judges = NAMES_LABELS & config.keys() or any("classification" in name for name in (*heads, *layouts))
        self.labels: tuple[str, ...] = read.labels if judges else ()
        self.sentence = sentence or SentenceSettings()
        self.source = source
        self.base = base
        """The folder of the weights, where `source` is an adapter's that stands alone."""
        self.fitted_head: tuple[DenseStep, str] | None = None
        """The head that was fitted over its vectors, with what `network_digest` was; None where there is none."""
        self._tokenizer = tokenizer

    @property
    def tokenizer(self) -> Tokenizer:
        """What cuts text for the network; CheckpointError or SettingError where the model has none."""
        if self._tokenizer is not None:
            return self._tokenizer
        if self.source is None:
            raise SettingError("this model was made without a tokenizer; give it one with create(…, tokenizer=…)")
        raise no_tokenizer(self.source)

    @property
    def has_tokenizer(self) -> bool:
        """Whether it can read text, and not only token ids."""
        return self._tokenizer is not None

    def head_value(self, name: str) -> HeadSpec:
        """What a head that it was opened with is."""
        return self.head_values[name]

    @property
    def dtype(self) -> Dtype:
        """The precision of the matrices, by the name that `load` gives it."""
        if any(isinstance(part, Int8Matrix) for part in self.modules()):
            return "int8"
        name: Dtype = str(next(self.parameters()).dtype).removeprefix("torch.")  # type: ignore[assignment]
        return name

    @property
    def fields(self) -> Mapping[str, object]:
        """Those of config.json."""
        return self.config

    @property
    def languages(self) -> tuple[str, ...] | None:
        """Those that its card names; None where it names none."""
        return languages_of(self.source)

    def push_to_hub(self, repo: str, **how: Any) -> Any:
        """Save it and put it on the Hub as org/name, with `private=True` for nobody else to see, on the branch
        `revision=`, with a commit's `message=` and a `card=` of your own, or none of these; gives a `Pushed`."""
        return import_module("sijo.checkpoints.hub.push").push_model(self, repo, **how)  # which knows this module

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all that decides the model's answers: weights, config, tokenizer; 64 hexadecimal digits."""
        files = [] if self.source is None else files_of_weights(self.source, self.base or self.source)
        told = fingerprint(self, files, f"torch.{self.dtype} {self.head_values}")
        in_no_file = {
            name: tensor for name, tensor in self.state_dict().items() if not files or name.startswith("head.")
        }
        return _digest(in_no_file, told.encode())

    def network_digest(self) -> str:
        """Of the weights that its vectors are made by, as they are in memory; 64 hexadecimal digits."""
        return _digest(self.transformer.state_dict())


def _digest(tensors: Mapping[str, Tensor], begin: bytes = b"") -> str:
    """Of tensors, by name and by each bit; 64 hexadecimal digits."""
    digest = hashlib.blake2b(begin, digest_size=32)
    for name, tensor in tensors.items():
        digest.update(name.encode() + tensor.reshape(-1).contiguous().view(torch.uint8).cpu().numpy().tobytes())
    return digest.hexdigest()


def load(
    model: str | Path | None = None,
    head: str | Sequence[str] | None = None,
    revision: str | None = None,
    dtype: Dtype = "float32",
    *,
    labels: Sequence[str] | None = None,
    probe: str | None = None,
    base: str | Path | None = None,
) -> Model:
    """Open a checkpoint folder in Hugging Face layout.

    model     a folder, an `org/name` on the Hub, or None for the built-in sentence encoder
    head      a head that the folder holds, `new:` and a name for a fresh one, or several of them; None for
              the encoder alone
    revision  branch, tag or commit on the Hub
    dtype     precision of the weights in memory: the folder's own is mapped from its file and takes none. "int8"
              rounds the matrices of a network with the one head lm, and refuses where that moves its distributions
              over the next token by more than log 1.01 a token on average (KL divergence from float32)
    labels    names of the columns of a fresh classification head
    probe     of int8, the text on which that is tried, of which 256 tokens are read; None for a short English one
    base      a folder or org/name: the model that a LoRA adapter belongs to, where the folder holds the adapter
              alone; None for the org/name that the adapter names. A path in its file is never followed

    An adapter, alone or beside the weights, is merged into them, in float32 and as peft does.
    Nothing in the folder is executed. Tensors that no part of the model uses are named in the
    model's `unused`.

    Raises SettingError (no such folder, no such head), RefusedError (pickle, code of its own, an
    architecture sijo lacks) or CheckpointError (absent or damaged files).

    >>> model = load("all-minilm-l6-v2")
    >>> model.architecture.layers, model.architecture.hidden_size, model.heads
    (6, 384, ())
    """
    _check_dtype(dtype, head, probe)
    folder = locate(model, revision=revision)
    seals = [verify(folder)]
    described = FolderDescription(folder, labels, base)
    if described.base != folder:
        seals.append(verify(described.base))
    weights = _weights(described)
    held = described.layouts(weights)
    layouts, fresh = _heads(head, held, described)
    if labels is not None and not fresh:
        raise SettingError(f'labels= names the columns of a fresh head, head="{NEW}…"; a published one has its own')
    _check_copies(weights, described, [layouts[name] for name in layouts.keys() - fresh])

    _must_be_of_so_many_layers(described, weights)
    with torch.device("meta"):
        opened = Model(
            described.family,
            described.fields,
            layouts,
            heads=tuple(name for name in held if name != POOLER),
            sentence=described.sentence,
            source=folder,
            base=None if described.base == folder else described.base,
        )
    for name in fresh:
        opened.head[name] = build_head(opened.head_values[name], opened.architecture).to(DTYPES[dtype])
    _fill(opened, weights, described.config, fresh=fresh, dtype=DTYPES.get(dtype))
    if opened.unused:
        log.info("%s: %s does not use %s", folder, head or "the encoder alone", ", ".join(opened.unused))
    opened._tokenizer = described.tokenizer if described.has_tokenizer else None
    opened.eval()
    if not fresh and described.fitted_head is not None:
        opened.fitted_head = described.fitted_head, opened.network_digest()
    for seal in filter(None, seals):
        seal.must_hold()  # what is mapped, or read by part, was of one folder and was not written to
    if dtype == "int8":
        moved = to_int8(opened, _probed(opened, probe))
        log.info("%s: in int8 %.5f nats a token from float32, on %d tokens", folder, moved.divergence, moved.tokens)
    return opened


def _must_be_of_so_many_layers(described: FolderDescription, weights: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError before a thousand layers are built, if only to count them."""
    blocks = sum(stack.blocks for stack in stacks(described.architecture))
    if blocks * LEAST_TENSORS > len(weights):
        raise CheckpointError(
            f"{described.folder} does not hold the weights its config.json describes: {len(weights)} tensors "
            f"cannot be those of {blocks:,} layers, many are absent; copy the folder again"
        )


def _weights(described: FolderDescription) -> dict[str, Tensor]:
    """The folder's tensors by full published name, with its adapter's merged into them."""
    folder, adapter = described.folder, described.adapter
    weights = described.by_full_name(read_weights(described.base))
    if adapter is not None:
        log.info("%s: its adapter is merged into the weights of %s", folder, described.base)
        return merged(weights, adapter, described.family, described.config)
    if below := adapters_below(folder):
        warn(
            f"{folder} holds adapters in {', '.join(below)}, which are not merged: open one's folder, with base="
            f"{str(folder)!r} (--base)"
        )
    return weights


def create(
    size: str | Architecture,
    head: str | Sequence[str] | None = None,
    *,
    labels: Sequence[str] | None = None,
    tokenizer: Tokenizer | None = None,
) -> Model:
    """A model with fresh weights, of a published size or of any architecture.

    size       a name such as "albert-base-v2", or an `Architecture`
    head       the name of a head, or several; None for the encoder alone
    labels     names of the columns of a classification head
    tokenizer  what cuts text for it

    >>> from dataclasses import replace
    >>> small = published("deberta-v3-small")[1].architecture()
    >>> with torch.device("meta"):
    ...     mixed = create(replace(small, schedule=(0,) * 6, embedding_size=128, widening="before_norm"), "rtd")
    >>> mixed.family.model_type, sum(weight.numel() for weight in mixed.transformer.parameters())
    ('sijo', 23979264)
    """
    if isinstance(size, str):
        family, _ = published(size)
        fields = dict(family.sizes[size])
    else:
        family, fields = family_for(size)
    if labels is not None:
        fields = with_labels(fields, labels)
    config = family.config.read(fields)
    layouts = {known_head(name): new_layout(family, config, name) for name in _listed(head)}
    return Model(family, fields, layouts, tokenizer=tokenizer).eval()


def known_head(head: str) -> str:
    """The name itself, unless nobody knows a head of that name: SettingError."""
    if head not in HEADS:
        raise SettingError(f"no head {head!r}{nearest(head, HEADS)}; there are {', '.join(HEADS)}")
    return head


def _listed(head: str | Sequence[str] | None) -> Sequence[str]:
    return [] if head is None else [head] if isinstance(head, str) else head


def _check_dtype(dtype: str, head: str | Sequence[str] | None, probe: str | None) -> None:
    """Refuse a dtype that does not exist, or not for such a head, and a probe that would not be read."""
    if dtype not in get_args(Dtype):
        names = get_args(Dtype)
        raise SettingError(f"no dtype {dtype!r}{nearest(dtype, names)}; there are {', '.join(names)}")
    if dtype == "int8" and head not in ("lm", ["lm"], ("lm",)):
        raise SettingError(
            f'dtype="int8" is for a network that writes, and tried by its lm head, but head={head!r}; give '
            'head="lm", or use dtype="bfloat16"'
        )
    if probe is not None and dtype != "int8":
        raise SettingError(f'probe= is the text on which dtype="int8" is tried, but dtype={dtype!r}; leave it out')


def _probed(model: Model, probe: str | None) -> Tensor:
    """The tokens on which int8 is tried; random ones where there is no tokenizer."""
    longest = min(LONGEST, model.architecture.places or LONGEST)
    if model.has_tokenizer:
        return torch.tensor(model.tokenizer.ids([PROBE if probe is None else probe])[0][:longest])
    if probe is not None:
        raise SettingError(f"{model.source} has no tokenizer to read the probe with; leave it out")
    return torch.randint(model.architecture.vocab_size, (longest,), generator=torch.Generator().manual_seed(0))


def _heads(
    head: str | Sequence[str] | None, held: Mapping[str, Layout], described: FolderDescription
) -> tuple[dict[str, Layout], set[str]]:
    """The layouts of the heads to open, of the pooler where there are none, and which of them are fresh ones."""
    if head is None:
        return {name: layout for name, layout in held.items() if name == POOLER}, set()
    layouts, fresh = {}, set()
    for wanted in _listed(head):
        name = known_head(wanted.removeprefix(NEW))
        if wanted.startswith(NEW):
            layouts[name] = new_layout(described.family, described.config, name)
            fresh.add(name)
        elif name in held:
            layouts[name] = held[name]
        else:
            listed = ", ".join(present for present in held if present != POOLER)
            raise SettingError(
                f"{described.folder} holds no {name} head; it holds: "
                f"{f'{listed}. Use one of them,' if listed else 'none. Use'} "
                f'head=None for the encoder alone, or head="{NEW}{name}" for a fresh one'
            )
    return layouts, fresh


def _check_copies(weights: dict[str, Tensor], described: FolderDescription, layouts: Iterable[Layout]) -> None:
    """Make sure that the copies of a network, and of these heads, are what they repeat."""
    _tied(described.family.copies, weights, described, "no model here has two; choose another")
    for layout in layouts:
        _tied(layout.copies, weights, described, "load it with head=None, or choose a tied model")


def _tied(copies: Names, weights: dict[str, Tensor], described: FolderDescription, otherwise: str) -> None:
    """Make sure that what is published twice is the same twice; `otherwise` says what would do where it is not."""
    for copy, original in copies.items():
        if copy not in weights:
            same = described.config.tie_word_embeddings or not copy.endswith("weight")
        else:
            same = torch.equal(first := weights.pop(copy), weights[original])
            if not same:  # as NaN never equals itself
                _check_finite(first, copy, described.folder)
                _check_finite(weights[original], original, described.folder)
        if not same:
            raise RefusedError(
                f"{described.folder} has an input or output table {copy} of its own (tie_word_embeddings is "
                f"false), and sijo reads both with one table of tokens; {otherwise}"
            )


def _fill(
    model: Model, weights: dict[str, Tensor], config: Config, *, fresh: Set[str], dtype: torch.dtype | None
) -> None:
    """Give a model built on the meta device its weights, and name what was not used.

    dtype  of the floats; None for what they are

    Raises CheckpointError that lists what was not filled, what has another shape, and what was not used; or names a
    tensor that is not finite, for which a number would come out all the same, and a label.
    """
    family, drawn = model.family, tuple(f"head.{name}." for name in fresh)
    pooler = {
        theirs for layout in family.layouts(config) if layout.name == POOLER for theirs in layout.names.values()
    }
    table = NameTable(family, config, model.layouts, model.state_dict())

    def from_file(name: str) -> bool:  # a fresh head over the pooler starts from the pooler, as in transformers
        theirs = table.names.get(name, "")
        return not name.startswith(drawn) or (theirs.rpartition(".")[0] in pooler and theirs in weights)

    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if from_file(name)}
    filled = {name: tensor for name, tensor in table.to_ours(weights).items() if name in wanted}
    behind = {family.prefix + name for name in family.left_behind}
    used = {table.names[name] for name in filled}
    model.unused = tuple(sorted(set(weights) - used - behind))
    absent = [f"no {table.names.get(name, name)} {shape}" for name, shape in wanted.items() if name not in filled]
    shapes = {name: (tuple(filled[name].shape), shape) for name, shape in wanted.items() if name in filled}
    misshapen = {name: both for name, both in shapes.items() if both[0] != both[1]}
    if absent or misshapen:
        raise CheckpointError(
            f"{model.source} does not hold the weights its config.json describes: {len(absent)} of {len(wanted)} "
            f"tensors are absent and {len(misshapen)} have another shape "
            f"({_few([*(f'{table.names[n]} is {a}, not {b}' for n, (a, b) in misshapen.items()), *absent])})"
            + (f"; not used: {_few(model.unused)}" if model.unused else "")
            + f"; {mend_sizes(misshapen) if not absent else 'copy the folder again'}"
        )
    numbers = [
        f"{table.names[name]} ({str(tensor.dtype).removeprefix('torch.')})"
        for name, tensor in filled.items()
        if not tensor.is_floating_point()
    ]
    if numbers:
        raise RefusedError(
            f"{model.source} holds weights that are no floats, as of a network rounded by another program: "
            f"{_few(numbers)}; choose a copy in float32, bfloat16 or float16"
        )
    for name, tensor in filled.items():
        filled[name] = _cast(tensor, dtype, table.names[name], model.source)
    model.load_state_dict(filled, strict=not fresh, assign=True)


def _cast(tensor: Tensor, dtype: torch.dtype | None, name: str, source: Path | None) -> Tensor:
    """A tensor in that dtype, if it is of floats, once it is sure that all of its numbers are finite in both."""
    _check_finite(tensor, name, source)
    if dtype is None or not tensor.is_floating_point() or tensor.dtype == dtype:
        return tensor
    cast = tensor.to(dtype)
    if torch.finfo(dtype).max < torch.finfo(tensor.dtype).max and (count := not_finite(cast)):
        ends = f"{str(dtype).removeprefix('torch.')}, which ends at {torch.finfo(dtype).max:.4g}"
        what = f"{source}: {count:,} of the {cast.numel():,} numbers of {name} are beyond {ends}"
        if dtype == torch.float32:
            raise CheckpointError(f"{what}, and sijo computes in nothing wider; no trained model has such weights")
        others = '"float32" or "bfloat16" (--precision exact or bf16)'
        if dtype != torch.float16:
            others = '"float32" (--precision exact)'
        raise SettingError(f"{what}; use dtype={others}")
    return cast


def _check_finite(tensor: Tensor, name: str, source: Path | None) -> None:
    if count := not_finite(tensor):
        raise CheckpointError(
            f"{source}: {count:,} of the {tensor.numel():,} numbers of {name} are NaN or infinite: the file is "
            "damaged, or the training that wrote it diverged; download it again, or choose another model"
        )


def _few(names: Iterable[str], most: int = 4) -> str:
    listed = list(names)
    return "; ".join(name[:300] for name in listed[:most]) + (
        f"; and {len(listed) - most} more" if len(listed) > most else ""
    )
