"""A posed batch: inputs with their targets. All random numbers have been drawn, so it can be cut into pieces.

Letters: B batch, C choices, L length.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from sijo.batching import padded_length
from sijo.data.samples import Batch


@dataclass(frozen=True)
class PosedBatch:
    """What a network is to read and the targets. Every tensor has a row for each input of the batch.

    Where an input is several to choose from, C of them, (B, L) is (B, C, L) everywhere.
    """

    input_ids: Tensor
    """(B, L) int64: what the network reads."""
    keep: Tensor
    """(B, L) bool, True at real tokens."""
    token_type_ids: Tensor
    """(B, L) int64."""
    special: Tensor
    """(B, L) bool, True at special tokens, control codes and padding."""
    targets: Tensor
    """(B, L) int64: the token that stood here; for a network that reads to the left, the one that comes next."""
    target_mask: Tensor
    """(B, L) bool: where the target is to be predicted."""
    numbers: Tensor
    """(B, 2) int64: the epoch and the number of each sample."""
    parts: Tensor
    """(B, 2) int64: tokens of text in the first segment, and in the second."""
    next_ids: Tensor
    """(B,) int64: what follows the input in its stream, or -1."""
    swapped: Tensor | None = None
    """(B,) int64: 1 where the segments changed places."""
    uniforms: Tensor | None = None
    """(B, L) float64 in [0, 1): one uniform draw for each token that a generator may put in."""
    labels: Tensor | None = None
    """(B, …): the labels of each input; those of tokens become `targets` when it is posed."""
    texts: tuple[str, ...] | None = None
    """The text of each input as it was written, for a reader with another tokenizer."""
    spoken_for: Tensor | None = None
    """(B, T) bool: which of the teachers that read texts speak for each input."""
    places: Tensor | None = None
    """(B,) int64: which row of the whole batch each one is, where `whole` says something of it."""
    whole: Mapping[str, Tensor] | None = None
    """What the pieces of a batch must know of each other: of every row of the whole batch, so never cut."""
    lesson: Mapping[str, Tensor] | None = None
    """A teacher's outputs for these rows, once they are prepared; not cut with them, as other rows have others."""
    beside: "PosedBatch | None" = None
    """Inputs that each row is compared with, such as labels in words: every piece has all of them."""

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> list[int]:
        """Real tokens of each row."""
        lengths: list[int] = self.keep.flatten(1).sum(1).tolist()
        return lengths

    @property
    def padding(self) -> Tensor | None:
        """`keep` where there is padding, else None: attention without a mask is quicker."""
        return None if bool(self.keep.all()) else self.keep

    def rows(self, numbers: Sequence[int]) -> "PosedBatch":
        """These rows, in this order, no wider than they need be."""
        index = torch.as_tensor(numbers, dtype=torch.int64)
        width = min(padded_length(int(self.keep[index].sum(-1).max())), self.keep.shape[-1])
        by_token = {name for name, tensor in self._tensors() if tensor.shape == self.keep.shape}
        by_token -= {"labels", "spoken_for"}
        rows: dict[str, Any] = {
            name: tensor[index][..., :width] if name in by_token else tensor[index]
            for name, tensor in self._tensors()
        }
        if self.texts is not None:
            rows["texts"] = tuple(self.texts[number] for number in index.tolist())
        return replace(self, lesson=None, **rows)

    def to(self, device: torch.device) -> "PosedBatch":
        """The same on another device."""
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in self._tensors()}
        beside = None if self.beside is None else self.beside.to(device)
        return replace(self, lesson=None, beside=beside, **moved)

    def _tensors(self) -> list[tuple[str, Tensor]]:
        parts = ((field.name, getattr(self, field.name)) for field in fields(self))
        return [(name, part) for name, part in parts if isinstance(part, Tensor)]


def unposed(batch: Batch) -> PosedBatch:
    """A batch without targets yet."""
    arrays = {name: array for name, array in vars(batch).items() if array is not None}
    texts, beside = arrays.pop("texts", None), arrays.pop("beside", None)
    tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
    tensors["numbers"] = torch.stack([tensors.pop("epochs"), tensors["numbers"]], 1)
    target_mask = torch.zeros_like(tensors["keep"])
    return PosedBatch(
        **tensors,
        targets=tensors["input_ids"],
        target_mask=target_mask,
        texts=texts,
        beside=None if beside is None else unposed(beside),
    )
