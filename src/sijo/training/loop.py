"""The loop: a generator that yields a step for each update of the weights.

    batch -> objective.pose -> pieces -> forward, backward -> norm -> update -> Step

A batch is posed whole, then read in pieces of like length; losses are sums, divided by the count of the
whole batch, so neither the pieces nor the number of processes change the gradient. Whoever iterates
may stop asking at any step: what is saved is saved.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from sijo.batching import by_length
from sijo.data.samples import Batch
from sijo.errors import SijoError
from sijo.objectives.joint import TrainingObjective
from sijo.objectives.posed_batch import PosedBatch, unposed
from sijo.random import random_bits
from sijo.training import state
from sijo.training.average import Average
from sijo.training.distributed import World
from sijo.training.journal import Journal
from sijo.training.optimizers import (
    build_optimizer,
    clip,
    fill,
    gradient_norm,
    load_state_tensors,
    set_rate,
    state_tensors,
    whole,
)
from sijo.training.settings import Settings

SMOOTHING = 0.98
"""Of the loss by which divergence is told: a mean over some 50 steps."""


class DivergedError(SijoError):
    """The loss is no number, or it rises: lower the rate, or look at the batch that is named."""


@dataclass(frozen=True)
class Step:
    """One update of the weights."""

    number: int
    """1, 2, 3, …"""
    share: float
    """How much of the run is done, from 0 to 1."""
    losses: dict[str, float]
    """The mean loss of each part of the objective."""
    right: dict[str, float]
    """The share of each part that was answered right, where there is a right and a wrong."""
    loss: float
    """Their weighted sum, which is what is made small."""
    rate: float
    """The learning rate of the update."""
    gradient_norm: float
    """Of the whole gradient, before it was clipped."""
    samples: int
    """Inputs read so far, over all processes."""
    tokens: int
    """Real tokens of this step, over all processes."""
    seconds: float
    """That this step took."""
    saved: Path | None = None
    """The checkpoint that was written after it, by the first process."""


@dataclass(kw_only=True)
class LoopState:
    """Where a run stands: all that it remembers from step to step besides weights and optimizer."""

    step: int = 0
    """Updates made."""
    seconds: float = 0.0
    """Wall-clock time that they took."""
    first: float | None = None
    """The loss of the first step."""
    smoothed: float = 0.0
    """The loss, averaged over some 50 steps."""
    lowest: float = math.inf
    """The lowest that one has been."""

    def fault(self, loss: float, norm: float, divergence: float) -> str | None:
        """What is wrong with a step before its update is made, or None: a loss or a gradient that is no number, or
        a loss that has lost what was learned, and is `divergence` times what it had been."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(norm):
            return f"the gradient's norm is {norm}"
        smoothed = SMOOTHING * self.smoothed + (1 - SMOOTHING) * loss
        if self.first is not None and smoothed > max(divergence * self.lowest, self.first / 2):
            return f"the loss has risen to {smoothed:.4g}, averaged, from {self.lowest:.4g}"
        return None

    def advance(self, loss: float) -> None:
        """Take in a step."""
        self.smoothed = loss if self.first is None else SMOOTHING * self.smoothed + (1 - SMOOTHING) * loss
        self.first = loss if self.first is None else self.first
        self.lowest = min(self.lowest, self.smoothed)
        self.step += 1


class SampleSource(Protocol):
    """Inputs by their places in a run that reads all of them again and again: a corpus, or labelled examples."""

    @property
    def fingerprint(self) -> str:
        """Equal for equal inputs."""

    def __len__(self) -> int:
        """Inputs of one reading."""

    def batch(self, position: int, count: int, *, seed: int) -> Batch:
        """Those at places position, …, position + count - 1: a function of these numbers and the seed alone."""


@dataclass(kw_only=True)
class Run:
    """What the loop works with."""

    settings: Settings
    """All that decides it."""
    objective: TrainingObjective
    """With fresh weights, or those it goes on from."""
    samples: SampleSource
    """What is read."""
    folder: Path
    """Where its checkpoints are."""
    watch: Journal
    """Who writes down what happens."""
    world: World = field(default_factory=World)
    """The processes it is shared among."""
    stop: Callable[[], bool] = lambda: False
    """Asked before every step: whether to save and leave."""
    tell: Callable[[str], None] = lambda sentence: None
    """Where words for a person go."""
    finished: bool = False
    """Whether the last step has been made, or the time is up."""


def train(run: Run) -> Iterator[Step]:
    """Train from the run's newest checkpoint, or from the start; yields each step when it is done.

    Ends after the last step, at the end of the time budget, or when `run.stop` says so; a checkpoint has then been
    written. Raises DivergedError for a loss that is no number or rises, with the batch named and the state
    before it saved; ProcessError when another process falls silent; OSError when a checkpoint cannot be
    written, with those before it as they were.
    """
    loop, world = run.settings.run, run.world
    training = _Training(run)
    at = training.at
    began = time.perf_counter() - at.seconds
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(_posed, run, at.step)
        while True:
            started = time.perf_counter()
            at.seconds = started - began
            with world.watched(at.step + 1):
                stopping, seconds = world.most([float(bool(run.stop())), at.seconds])
                run.finished = training.share(at.step, seconds) >= 1
                if stopping or run.finished:
                    training.save()
                    return
                question = coming.result()
                coming = ahead.submit(_posed, run, at.step + 1)
                step = training.update(question, seconds)
                step = replace(step, seconds=time.perf_counter() - started)
                run.watch.add(step)
                if at.step % loop.save_every == 0:
                    run.watch.example(run.objective, question)
                    step = replace(step, saved=training.save())
            yield step


class _Training:
    """Weights, optimizer and average of a run, and where it stands."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.at = LoopState()
        self.checkpoints = run.folder / "checkpoints"
        world, loop = run.world, run.settings.run
        with world.first_alone("newest") as first:
            if first:
                self.checkpoints.mkdir(parents=True, exist_ok=True)
                found = state.newest(self.checkpoints, run.tell)  # moves what is damaged aside before others look
        if not world.first:
            found = state.newest(self.checkpoints)
        if found is not None:
            fill(dict(run.objective.named_parameters()), found.weights, "weights of the run")
        world.alike("settings or weights", _fingerprint(run, found))
        self.wrapped = world.wrapped(run.objective.train())
        self.names = {parameter: name for name, parameter in run.objective.named_parameters()}
        self.optimizer = build_optimizer(run.settings.optimizer, run.objective)
        self.average = None if loop.average is None else Average(run.objective, loop.average)
        self.saved: int | None = None
        if found is not None:
            load_state_tensors(self.optimizer, self.names, found.optimizer)
            if self.average is not None:
                self.average.load(found.average)
            fill(run.objective.memory(), found.memory, "memory of the run")
            self.at = LoopState(**found.fields["standing"])
            self.saved = found.step
            if found.fields["threads"] != torch.get_num_threads():
                run.tell(
                    f"this run was begun with {found.fields['threads']} threads and goes on with "
                    f"{torch.get_num_threads()}: sums are rounded otherwise, so last digits will differ"
                )
        run.watch.resume(None if found is None else found.fields["watch"], run.objective)

    def share(self, step: int, seconds: float) -> float:
        """How much of the run is done, by its steps or by its time budget, whichever is more."""
        loop = self.run.settings.run
        return max(step / loop.steps, seconds / loop.max_time if loop.max_time else 0.0)

    def update(self, question: PosedBatch, seconds: float) -> Step:
        """Learn from a batch, unless something is wrong with what came of it."""
        settings, at = self.run.settings, self.at
        if self.run.objective.before(at.step):
            at.lowest = at.smoothed  # another loss begins, of which this is all that is known
        counts = self.run.objective.counts(question)
        totals, right = self._learn(question, counts)
        losses = {name: total / max(counts[name], 1) for name, total in totals.items()}
        loss = sum(self.run.objective.weights[name] * value for name, value in losses.items())
        limit = settings.run.clip
        norm = gradient_norm(self.names) if limit is None else clip(self.names, limit)
        if fault := at.fault(loss, norm, settings.run.divergence):
            self.optimizer.zero_grad()
            place = self.save()
            raise DivergedError(
                f"at step {at.step + 1} {fault}; the state before it is kept in {place}. {self._named(question)}. "
                "Try a lower schedule.peak, a longer warm-up or a lower run.clip, in a new run"
            )
        share = self.share(at.step, seconds)
        rate = settings.schedule.at(share, settings.schedule.warmup(settings.run.steps))
        set_rate(self.optimizer, rate)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.run.objective)
        at.advance(loss)
        return Step(
            number=at.step,
            share=self.share(at.step, seconds),
            losses=losses,
            right={name: count / max(counts[name], 1) for name, count in right.items()},
            loss=loss,
            rate=rate,
            gradient_norm=norm,
            samples=at.step * settings.run.batch,
            tokens=sum(question.lengths),
            seconds=0.0,
        )

    def _learn(self, question: PosedBatch, counts: dict[str, int]) -> tuple[dict[str, float], dict[str, float]]:
        """Gradients of a batch, from its pieces; returns the sum of each loss, and how much was answered right."""
        loop, world, objective = self.run.settings.run, self.run.world, self.run.objective
        pieces = list(by_length(question.lengths, token_budget=loop.micro_tokens))
        rounds = -(-len(pieces) // world.size)
        totals, right = dict.fromkeys(counts, 0.0), dict[str, float]()
        for turn in range(rounds):
            number = turn * world.size + world.rank
            mine = number < len(pieces)  # who has no piece left reads one for nothing, so that nobody waits in vain
            number = number if mine else len(pieces) - 1
            # dropout is a matter of seed, step and piece, whoever reads it
            torch.manual_seed(random_bits(loop.seed, "dropout", self.at.step, number) % 2**63)
            low = loop.precision == "bfloat16"
            with (
                world.accumulating(self.wrapped, last=turn == rounds - 1),
                torch.autocast(world.device.type, torch.bfloat16, enabled=low),
            ):
                tallies = self.wrapped(question.rows(pieces[number]).to(world.device))
                loss = sum(
                    objective.weights[name] * tally.total / max(counts[name], 1) for name, tally in tallies.items()
                )
                # both ways of sharing divide the sum over processes by their number
                (loss * (world.size if mine else 0.0)).backward()
            for name, tally in tallies.items():
                totals[name] += tally.total.item() * mine
                if tally.right is not None:
                    right[name] = right.get(name, 0.0) + tally.right.item() * mine
        summed = world.summed([*totals.values(), *right.values()])
        return dict(zip(totals, summed, strict=False)), dict(zip(right, summed[len(totals) :], strict=True))

    def save(self) -> Path:
        """Write a checkpoint, unless there is one of this step: all take part, the first process writes."""
        run, at, world = self.run, self.at, self.run.world
        target = self.checkpoints / f"step-{at.step:08}"
        if self.saved == at.step:
            return target
        fields: dict[str, Any] = {
            "standing": asdict(at),
            "threads": torch.get_num_threads(),
            "processes": world.size,
            "torch": torch.__version__,
            "watch": run.watch.flush(),
        }
        weights = {name: whole(parameter) for parameter, name in self.names.items()}
        optimizer = state_tensors(self.optimizer, self.names)
        average = {} if self.average is None else self.average.tensors()
        with world.first_alone(f"save {at.step}") as first:
            if first:
                saved = state.Saved(at.step, fields, weights, optimizer, average, run.objective.memory())
                state.save(self.checkpoints, saved, keep=run.settings.run.keep)
        self.saved = at.step
        return target

    def _named(self, question: PosedBatch) -> str:
        """Which inputs a batch was made of, for a person."""
        epochs, numbers = question.numbers.T.tolist()
        shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
        return f"Its batch was of the samples {shown} of epoch {epochs[0]}"


def _posed(run: Run, step: int) -> PosedBatch:
    """The question of a step: a function of the settings, the corpus and the step alone."""
    loop = run.settings.run
    batch = run.samples.batch(step * loop.batch, loop.batch, seed=loop.seed)
    return run.objective.pose(unposed(batch), loop.seed)


def _fingerprint(run: Run, found: state.Saved | None) -> str:
    """A digest of what all processes must have alike before the first step."""
    words = f"{run.settings} {run.samples.fingerprint} {found and found.step} {torch.__version__}"
    digested = hashlib.blake2b(words.encode(), digest_size=16)
    for _, weight in run.objective.named_parameters():
        digested.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digested.hexdigest()
