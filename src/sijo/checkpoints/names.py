"""Published tensor names to ours and back, by the rules that a family states as data.

A rule names a module, or one tensor, on both sides; it is read in either direction. Published names here are
full ones (`Family.full_name`).
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sijo.models.family import Config, Family, Layout


class NameTable:
    """The full published name of each of our tensors, for one network; of fused ones, the name they share.

    One of ours that is absent from `names` has no place in this family's checkpoints.
    """

    def __init__(self, family: Family, config: Config, layouts: Mapping[str, Layout], ours: Iterable[str]) -> None:
        architecture = config.architecture()
        whose = family.whose(config)
        self.heads = architecture.heads if whose.fused_by == "heads" else 1
        ours = set(ours)
        fused = {
            family.prefix + theirs.format(n=n): [f"transformer.{our.format(n=n)}" for our in group]
            for theirs, group in whose.fused.items()
            for n in range(architecture.blocks)
        }
        self.fused = {theirs: group for theirs, group in fused.items() if ours.issuperset(group)}
        self.names: dict[str, str] = {}
        rules = family.names(config)
        if rules is None:
            self.names = {name: name for name in ours}
            return
        known = {f"transformer.{our}": family.prefix + theirs for our, theirs in rules.items()}
        for head, layout in layouts.items():
            known |= {f"head.{head}.{our}": theirs for our, theirs in layout.names.items()}
        known |= {our: theirs for theirs, group in self.fused.items() for our in group}
        for name in ours:
            module, _, leaf = name.rpartition(".")
            if name in known:
                self.names[name] = known[name]
            elif module in known:
                self.names[name] = f"{known[module]}.{leaf}"

    def whole(self, ours: Iterable[str]) -> bool:
        """Whether each of our tensors has a place, and none takes another's."""
        merged = sum(len(group) - 1 for group in self.fused.values())
        return self.names.keys() == set(ours) and len(set(self.names.values())) == len(self.names) - merged

    def to_ours(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our tensors, as far as they are among the published ones."""
        ours = {our: published[theirs] for our, theirs in self.names.items() if theirs in published}
        for theirs, group in self.fused.items():
            if theirs in published:
                ours |= zip(group, apart(published[theirs], len(group), self.heads), strict=True)
        return ours

    def to_theirs(self, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The published tensors."""
        published = {self.names[our]: tensor for our, tensor in ours.items()}
        for theirs, group in self.fused.items():
            published[theirs] = together([ours[our] for our in group], self.heads)
        return published


def apart(fused: Tensor, parts: int, heads: int) -> list[Tensor]:
    """Matrices that were published as one, the rows of each head by turns (DeBERTa v1's in_proj); or by a single
    head's turn one matrix after another (ModernBERT's Wqkv).

    fused  (heads · parts · C, D)

    Returns a tensor (heads · C, D) for each part; the whole in place of each where its rows cannot be shared out.

    >>> [part.ravel().tolist() for part in apart(torch.arange(8)[:, None], parts=2, heads=2)]
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    rows = len(fused) if fused.ndim else 1
    if rows % (heads * parts):
        return [fused] * parts
    by_part = fused.reshape(heads, parts, rows // (heads * parts), *fused.shape[1:]).unbind(1)
    return [part.flatten(0, 1) for part in by_part]


def together(parts: Iterable[Tensor], heads: int) -> Tensor:
    """The one matrix that `apart` takes apart."""
    return torch.stack([part.reshape(heads, -1, *part.shape[1:]) for part in parts], 1).flatten(0, 2)
