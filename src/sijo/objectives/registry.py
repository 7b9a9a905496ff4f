"""Pretraining objectives by name: what a run, a report, a model card and an estimate of the cost know of each.

An objective is a class in a file of its own and one row here. No torch is imported before a run is built.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class ObjectiveSpec:
    """What there is to know of an objective before its class is imported."""

    implementation: str
    """Where its class is, as "module.Class". Over one network it is an `Objective`; over several, which its `build`
    takes first, a `TrainingObjective`."""
    networks: Mapping[str, str]
    """Each network that it trains, by the folder it is left in, and the head it learns by; the last is its own."""
    title: str
    """What a report calls it."""
    task: str | None = None
    """What the Hub calls that which its head does."""
    answers: Callable[[float, float], float] = lambda share, length: 1.0
    """From the share of masked tokens and the length of an input to its head's answers a token, for the cost."""
    reads: Literal["left", "both_sides"] = "both_sides"
    """Which way the network must read."""
    joint: bool = False
    """Whether it can be learned together with others of the kind, over one pass of one network."""
    over_tokens: bool = False
    """Whether its head gives a distribution over tokens, which a teacher's can be compared with."""
    two_segments: bool = False
    """Whether it needs inputs of two segments."""

    @property
    def head(self) -> str:
        """The head that answers it."""
        return [*self.networks.values()][-1]

    def load(self) -> Any:
        """Its class."""
        module, _, name = self.implementation.rpartition(".")
        return getattr(import_module(module), name)


OBJECTIVES: dict[str, ObjectiveSpec] = {
    "sop": ObjectiveSpec(  # before mlm, for it exchanges the segments in which mlm hides tokens
        implementation="sijo.objectives.sop.SentenceOrder",
        networks={"model": "sop"},
        title="sentence order",
        answers=lambda share, length: 1 / length,
        joint=True,
        two_segments=True,
    ),
    "mlm": ObjectiveSpec(
        implementation="sijo.objectives.mlm.MaskedLM",
        networks={"model": "mlm"},
        title="masked tokens",
        task="fill-mask",
        answers=lambda share, length: share,
        joint=True,
        over_tokens=True,
    ),
    "clm": ObjectiveSpec(
        implementation="sijo.objectives.clm.CausalLM",
        networks={"model": "lm"},
        title="next token",
        task="text-generation",
        reads="left",
        over_tokens=True,
    ),
    "rtd": ObjectiveSpec(
        implementation="sijo.objectives.rtd.ReplacedTokenDetection",
        networks={"generator": "mlm", "discriminator": "rtd"},
        title="replaced tokens",
    ),
}
"""Every objective by name, in the order in which those of one network are posed."""


def answers_by_head(share: float, length: float) -> dict[str, float]:
    """How many answers each head gives a token of an input, for `training.cost`.

    share   of the tokens that are masked
    length  tokens of an input

    >>> answers_by_head(0.15, 100)
    {'sop': 0.01, 'mlm': 0.15, 'lm': 1.0, 'rtd': 1.0}
    """
    return {spec.head: spec.answers(share, length) for spec in OBJECTIVES.values()}
