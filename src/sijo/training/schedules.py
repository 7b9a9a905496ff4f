"""The learning rate: it rises, then falls, as a pure function of progress.

Progress is the share of the run that is done: of its steps, or of its wall-clock budget. A schedule has no state,
so a resumed run needs none.
"""

import math
from dataclasses import dataclass
from typing import Literal

from sijo.errors import SettingError

Shape = Literal["linear", "polynomial", "cosine", "constant", "linear_from_start", "linear_times_warmup"]


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """The learning rate over a run: up in a line to its peak, then down in one of six shapes.

    With x the share of the run that is done and w the share that is warm-up, the rise is min(1, x / w), and
    what remains of the peak is, from w on:

    linear               (1 - x) / (1 - w)
    polynomial           the same, to a power
    cosine               (1 + cos(π (x - w) / (1 - w))) / 2
    constant             1 (CTRL)
    linear_from_start    1 - x: counted from the start of the run, so the rate drops from 1 to 1 - w where the
                         warm-up ends (ALBERT's and DeBERTa's released code)
    linear_times_warmup  1 - x, during the warm-up too: the two are multiplied, and the peak itself is never
                         reached (ELECTRA's released code)

    >>> electra = ScheduleSettings(peak=5e-4, shape="linear_times_warmup", warmup_steps=10_000)
    >>> [electra.at(step / 1_000_000, electra.warmup(1_000_000)) for step in (0, 5_000, 10_000, 500_000)]
    [0.0, 0.00024875, 0.000495, 0.00025]
    """

    peak: float = 5e-4
    """The highest rate, reached where the warm-up ends."""
    shape: Shape = "linear"
    """How it falls after the warm-up: linear, polynomial, cosine, constant, linear_from_start (ALBERT's,
    DeBERTa's) or linear_times_warmup (ELECTRA's)."""
    warmup_steps: int = 0
    """Steps in which the rate rises in a line from 0; of a run with a time budget, the same share of the budget."""
    warmup_share: float = 0.0
    """The same as a share of the run; give one of the two."""
    power: float = 1.0
    """Of the polynomial: 1 falls in a line, 2 faster at first."""
    floor: float = 0.0
    """What remains at the end, as a share of the peak."""

    def __post_init__(self) -> None:
        if not 0 < self.peak < math.inf:
            raise SettingError(f"schedule.peak={self.peak} would not teach; give a rate above 0, such as 5e-4")
        if self.warmup_steps < 0 or not 0 <= self.warmup_share < 1:
            raise SettingError(
                f"schedule.warmup_steps={self.warmup_steps} and warmup_share={self.warmup_share}: steps must be "
                "0 or more, a share from 0 to below 1"
            )
        if self.warmup_steps and self.warmup_share:
            raise SettingError(
                f"schedule.warmup_steps={self.warmup_steps} and warmup_share={self.warmup_share} both say how long "
                "the rate rises; set one of them to 0"
            )
        if not 0 < self.power < math.inf or (self.power != 1 and self.shape != "polynomial"):
            raise SettingError(
                f'schedule.power={self.power} must be above 0, and other than 1 only with shape="polynomial"'
            )
        if not 0 <= self.floor <= 1:
            raise SettingError(f"schedule.floor={self.floor} is no share of the peak; give a number from 0 to 1")

    def warmup(self, steps: int) -> float:
        """The share of a run of so many steps that is warm-up.

        Raises SettingError when the warm-up would outlast the run.
        """
        if self.warmup_steps and self.warmup_steps >= steps:
            raise SettingError(
                f"schedule.warmup_steps is {self.warmup_steps:,}, but the run has {steps:,} steps: the warm-up "
                f"must end before the run does. Try warmup_steps={steps // 10}"
            )
        return self.warmup_steps / steps if self.warmup_steps else self.warmup_share

    def at(self, share: float, warmup: float) -> float:
        """The rate of the next update.

        share   of the run that is done: updates made of all (0 before the first, whose rate is 0 where there is a
                warm-up), or time used of a budget; more than 1, where a step outlasts its budget, is taken for 1
        warmup  the share that is warm-up, as `warmup` gives it

        >>> ScheduleSettings(peak=1.0, shape="cosine").at(0.25, warmup=0.0)
        0.8535533905932737
        """
        x, w = min(share, 1.0), warmup
        rising = x < w
        left = 1.0
        match self.shape:
            case "linear_times_warmup":
                left = 1 - x
            case "linear_from_start" if not rising:
                left = 1 - x
            case "linear" | "polynomial" if not rising:
                left = ((1 - x) / (1 - w)) ** self.power
            case "cosine" if not rising:
                left = (1 + math.cos(math.pi * (x - w) / (1 - w))) / 2
        rise = x / w if rising else 1.0
        rate: float = self.peak * rise * (self.floor + (1 - self.floor) * left)
        return rate
