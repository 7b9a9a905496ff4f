"""One update of the weights, as the loop yields it; and the loop state between two updates."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sijo.training.cost import Speed, SpeedMeter

SMOOTHING = 0.98
"""Of the loss by which divergence is detected: a mean over some 50 steps."""


@dataclass(frozen=True)
class Step:
    """One update of the weights."""

    number: int
    """1, 2, 3, …"""
    steps: int
    """How many the run is to have."""
    share: float
    """How much of the run is done, from 0 to 1."""
    losses: dict[str, float]
    """The mean loss of each part of the objective."""
    right: dict[str, float]
    """The share of each part that was answered right, where there is a right and a wrong."""
    loss: float
    """Their weighted sum, which is what is minimised."""
    rate: float
    """The learning rate of the update."""
    gradient_norm: float
    """Of the whole gradient, before it was clipped."""
    samples: int
    """Inputs read so far, over all processes."""
    tokens: int
    """Real tokens of this step, over all processes."""
    seconds: float = 0.0
    """That this step took."""
    checkpoint: bool = False
    """Whether a checkpoint of it is due, once its lines are written."""
    speed: Speed | None = None
    """Over the last steps, in the process that writes."""
    metrics: Mapping[str, float] | None = None
    """A line for metrics.jsonl, where one is due."""
    timing: Mapping[str, float] | None = None
    """A line for timings.jsonl, likewise, in the process that writes."""
    example: Mapping[str, Any] | None = None
    """What the networks predict for a text, in token ids, at checkpoints alone: `TrainingObjective.example`."""


@dataclass(kw_only=True)
class LoopState:
    """The state of the loop, besides weights and optimizer."""

    step: int = 0
    """Updates made."""
    seconds: float = 0.0
    """Wall-clock time that they took."""
    first: float | None = None
    """The loss of the first step."""
    smoothed: float = 0.0
    """The loss, averaged over some 50 steps."""
    lowest: float | None = None
    """The lowest that one has been."""
    tokens: int = 0
    """Real tokens read."""
    busy_seconds: float = 0.0
    """That the steps themselves took."""
    sums: dict[str, float] = field(default_factory=dict)
    """Over the steps since the last line of metrics.jsonl."""

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "LoopState":
        """The state in a checkpoint's fields, as `asdict` wrote it; or as sijo 0.1 wrote it, in two parts."""
        if "loop" in fields:
            return cls(**fields["loop"])
        journal = fields["watch"]
        sums = {"tokens": journal["tokens"], "busy_seconds": journal["seconds"], "sums": journal["sums"]}
        return cls(**fields["standing"], **sums)

    def fault(self, loss: float, norm: float, divergence: float) -> str | None:
        """What is wrong with a step before its update is made, or None: a loss or a gradient that is no number, or
        a smoothed loss of more than `divergence` times its lowest value."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(norm):
            return f"the gradient's norm is {norm}"
        smoothed = SMOOTHING * self.smoothed + (1 - SMOOTHING) * loss
        first, lowest = self.first, self.lowest
        if first is not None and lowest is not None and smoothed > max(divergence * lowest, first / 2):
            return f"the loss has risen to {smoothed:.4g}, averaged, from {lowest:.4g}"
        return None

    def advance(self, loss: float) -> None:
        """Count a step."""
        self.smoothed = loss if self.first is None else SMOOTHING * self.smoothed + (1 - SMOOTHING) * loss
        self.first = loss if self.first is None else self.first
        self.lowest = self.smoothed if self.lowest is None else min(self.lowest, self.smoothed)
        self.step += 1

    def log(self, step: Step, *, every: int, meter: SpeedMeter | None) -> Step:
        """The step with the lines that are due after it, means over the last `every` steps; and with its speed."""
        self.tokens += step.tokens
        self.busy_seconds += step.seconds
        means = {"gradient_norm": step.gradient_norm, "loss": step.loss}
        for part, loss in step.losses.items():
            means[part] = loss
            if part in step.right:
                means[f"{part}_right"] = step.right[part]
        for name, value in {"steps": 1, "tokens": step.tokens, "seconds": step.seconds, **means}.items():
            self.sums[name] = self.sums.get(name, 0) + value
        if meter is not None:
            step = replace(step, speed=meter.add(step.tokens, step.seconds))
        if step.number % every:
            return step
        sums, self.sums = self.sums, {}
        metrics = {"step": step.number, "samples": step.samples, "tokens": self.tokens, "lr": step.rate}
        metrics |= {name: sums[name] / sums["steps"] for name in means}
        if meter is None:
            return replace(step, metrics=metrics)
        speed = meter.speed(sums["steps"], sums["tokens"], sums["seconds"])
        timing = {"step": step.number, "seconds": self.busy_seconds} | speed._asdict()
        return replace(step, metrics=metrics, timing=timing)
