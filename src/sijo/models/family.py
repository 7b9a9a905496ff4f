"""What sijo must know of a published family: how to read its config and what its tensors are called."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sijo.nn.architecture import Architecture

Name = tuple[str, str]
"""Our name and the published one; `{n}` stands for the number of a block."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A published family of models, as data."""

    architecture: Callable[[Mapping[str, object]], Architecture]
    """Reads the fields of a config.json; raises RefusedError for a value that has no counterpart here."""
    prefix: str
    """What stands before the encoder's names in a checkpoint that also holds a head, such as `bert.`."""
    names: tuple[Name, ...]
    """Our modules and the published ones."""
    left_behind: Mapping[str, str]
    """Published tensors that carry nothing learned, and why: never reported as unused."""
    heads: Mapping[str, str]
    """Heads a checkpoint may hold, by the prefix of their tensors."""

    def ours(self, theirs: str) -> str | None:
        """Our name of a published tensor of the encoder, or None when it is not one."""
        name = theirs.removeprefix(self.prefix).replace(".gamma", ".weight").replace(".beta", ".bias")
        module, _, leaf = name.rpartition(".")
        for our, published in self.names:
            pattern = re.escape(published).replace(r"\{n\}", r"(\d+)")
            if found := re.fullmatch(pattern, module):
                return f"{our.format(n=found[1] if found.groups() else '')}.{leaf}"
        return None

    def heads_among(self, names: Iterable[str]) -> tuple[str, ...]:
        """The heads whose tensors are among these names."""
        return tuple(head for head, prefix in self.heads.items() if any(name.startswith(prefix) for name in names))
