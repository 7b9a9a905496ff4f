"""What a network is taught, as one value: which objectives, how tokens are masked, how tables are shared."""

from dataclasses import dataclass, field
from typing import Literal

from sijo.errors import SettingError, nearest
from sijo.objectives.masking import Masking
from sijo.objectives.registry import OBJECTIVES, ObjectiveSpec

Sharing = Literal["tied", "none", "gdes"]


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """What the network is taught."""

    parts: tuple[str, ...] = ("mlm",)
    """Which objectives: mlm, sop and mlm together, clm, or rtd by itself."""
    masking: Masking = field(default_factory=lambda: Masking(choice="token"))
    """Which tokens are hidden, and what stands in their place."""
    sharing: Sharing = "tied"
    """Of a generator's tables with its discriminator: tied (ELECTRA), gdes (DeBERTaV3) or none."""
    weight: float = 50.0
    """Of the discriminator's loss beside the generator's."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise SettingError(
                f"objective.weight={self.weight} would teach the opposite; give 0 or more, such as 50"
            )
        for part in self.parts:
            if part not in OBJECTIVES:
                raise SettingError(
                    f"objective.parts={list(self.parts)}: no objective {part!r}{nearest(part, OBJECTIVES)}; "
                    f"there are {', '.join(OBJECTIVES)}"
                )
        if len(set(self.parts)) != len(self.parts):
            raise SettingError(f"objective.parts={list(self.parts)} must name each objective once")
        together = " and ".join(name for name, spec in OBJECTIVES.items() if spec.joint)
        for part, spec in self.specs.items():
            if not spec.joint and len(self.parts) > 1:
                raise SettingError(
                    f"objective.parts={list(self.parts)}: {part} is learned by itself; only {together} go together"
                )

    @property
    def specs(self) -> dict[str, ObjectiveSpec]:
        """The registry's rows of these objectives, in the order in which they are posed."""
        return {name: spec for name, spec in OBJECTIVES.items() if name in self.parts}

    @property
    def networks(self) -> dict[str, list[str]]:
        """The networks that are learned, by the folder each is left in, with the names of their heads."""
        heads: dict[str, list[str]] = {} if self.parts else {"model": []}
        for spec in self.specs.values():
            for folder, head in spec.networks.items():
                heads.setdefault(folder, []).append(head)
        return heads
