"""The loop: a generator that yields a step for each update of the weights.

    batch -> objective.pose -> pieces -> prepare -> forward, backward -> norm -> update -> Step -> checkpoint

A batch is posed whole, then read in pieces of like length; losses are sums, divided by the count of the
whole batch, so neither the pieces nor the number of processes change the gradient. Whoever iterates writes down
what a step says, then saves where a checkpoint is due: what was written of a step is there before its checkpoint.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from sijo.batching import by_length
from sijo.checkpoints.weights import not_finite
from sijo.data.label_questions import LabelQuestions
from sijo.data.labelled_inputs import LabelledInputs
from sijo.data.samples import Samples
from sijo.errors import SettingError, SijoError
from sijo.files.private import make_folder
from sijo.nn.heads import Network
from sijo.nn.transformer import Block
from sijo.objectives.objective import TrainingObjective
from sijo.objectives.posed_batch import PosedBatch, unposed
from sijo.processor import has_bf16
from sijo.random import random_bits
from sijo.training import state
from sijo.training.average import Average
from sijo.training.cost import SpeedMeter, matmul_peak
from sijo.training.distributed import World
from sijo.training.memory import memory_kept
from sijo.training.optimizers import (
    build_optimizer,
    clip,
    fill,
    load_state_tensors,
    set_rate,
    state_tensors,
    whole,
)
from sijo.training.settings import Settings, deciding_settings
from sijo.training.step import LoopState, Step


class DivergedError(SijoError):
    """The loss is no number, or it rises: lower the rate, or look at the batch that is named."""


class Training:
    """A run's weights, optimizer and average, from its newest checkpoint or from the start.

    settings   all that decides it
    objective  with fresh weights, or those it starts from
    samples    what is read, again and again: a corpus, labelled rows, or sets with their labels
    folder     where its `checkpoints/` are
    world      the processes it is shared among
    tell       called with each message for a person
    """

    def __init__(
        self,
        settings: Settings,
        objective: TrainingObjective,
        samples: Samples | LabelledInputs | LabelQuestions,
        folder: Path,
        *,
        world: World | None = None,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.settings, self.objective, self.samples = settings, objective, samples
        self.world = world = world or World()
        self.checkpoints = folder / "checkpoints"
        self.state = LoopState()
        with world.first_alone("newest") as first:
            if first:
                folder.mkdir(parents=True, exist_ok=True)
                make_folder(self.checkpoints)
                saved = state.newest(self.checkpoints, tell)  # renames a damaged one before the others look
        if not world.first:
            saved = state.newest(self.checkpoints)
        self._identity = self._digest_of_run()
        if saved is not None:
            if saved.fields.get("run", self._identity) != self._identity:
                raise SettingError(
                    f"{self._place(saved.step)} is a checkpoint of another run, with other settings or over other "
                    "texts; move it away, or begin another run"
                )
            fill(dict(objective.named_parameters()), saved.weights, "weights of the run")
        world.alike("settings or weights", self._fingerprint(saved))
        if settings.run.precision == "bfloat16" and world.device.type == "cpu" and not has_bf16():
            tell(
                "this processor does not say that it multiplies bfloat16, so products take several times as long "
                "as in float32; run.precision=float32 is quicker here"
            )
        if settings.run.compile:
            for part in objective.modules():
                if isinstance(part, Block):
                    part.compile()  # in place: the names of its weights stay
        self._wrapped = world.wrapped(objective.train())
        self._names = {parameter: name for name, parameter in objective.named_parameters()}
        self._optimizer = build_optimizer(settings.optimizer, objective)
        self._average = None if settings.run.average is None else Average(objective, settings.run.average)
        self._saved = None if saved is None else saved.step
        if saved is not None:
            self._resume(saved, tell)
        self._meter = self._speed_meter() if world.first else None

    @property
    def finished(self) -> bool:
        """Whether the last step has been made, or the time is up."""
        return self._share(self.state.step, self.state.seconds) >= 1

    def averaged(self) -> AbstractContextManager[None]:
        """The moving average of the weights in place of them, where the run keeps one."""
        return nullcontext() if self._average is None else self._average.swapped_into(self.objective)

    def steps(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Step]:
        """Train; yields each step when it is done.

        stop  called before every step; True saves and ends the loop

        Where `step.checkpoint` is True, whoever iterates calls `save`. Ends after the last step, at the end of the
        time budget, or when `stop` returns True; a checkpoint has then been written. Raises DivergedError for a
        loss that is no number or rises, with the batch named and the state before it saved, and for weights that
        are no numbers, of which no checkpoint is written; ProcessError when another process does not answer;
        OSError when a checkpoint cannot be written, with those before it as they were.
        """
        at, world = self.state, self.world
        began = time.perf_counter() - at.seconds
        with memory_kept(), ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self._posed, at.step)
            while True:
                started = time.perf_counter()
                at.seconds = started - began
                with world.watched(at.step + 1):
                    stopping, at.seconds = world.most([float(bool(stop())), at.seconds])
                    leaving = bool(stopping) or self.finished
                    if not leaving:
                        posed = coming.result()
                        coming = ahead.submit(self._posed, at.step + 1)
                        step = self._update(posed)
                        step = self._logged(replace(step, seconds=time.perf_counter() - started))
                        if step.checkpoint:
                            step = replace(step, example=self._example(posed))
                if leaving:
                    self.save()
                    return
                yield step

    def _share(self, step: int, seconds: float) -> float:
        """How much of the run is done, by its steps or by its time budget, whichever is more."""
        loop = self.settings.run
        return max(step / loop.steps, seconds / loop.max_time if loop.max_time else 0.0)

    def _posed(self, step: int) -> PosedBatch:
        """The batch of a step: a function of the settings, the samples and the step alone."""
        loop = self.settings.run
        batch = self.samples.batch(step * loop.batch, loop.batch, seed=loop.seed)
        return self.objective.pose(unposed(batch), loop.seed)

    def _update(self, posed: PosedBatch) -> Step:
        """Learn from a batch, unless something is wrong with what came of it."""
        settings, at, objective = self.settings, self.state, self.objective
        if objective.before(at.step):
            at.lowest = at.smoothed  # another loss begins, of which this is all that is known
        counts = objective.counts(posed)
        totals, right = self._learn(posed, counts)
        losses = {name: total / max(counts[name], 1) for name, total in totals.items()}
        loss = sum(objective.weights[name] * value for name, value in losses.items())
        norm = clip(self._names, math.inf if settings.run.clip is None else settings.run.clip)
        if fault := at.fault(loss, norm, settings.run.divergence):
            self._optimizer.zero_grad()
            checkpoint = self.save()
            raise DivergedError(
                f"at step {at.step + 1} {fault}; the state before it is kept in {checkpoint}. {_named(posed)}. "
                "Try a lower schedule.peak, a longer warm-up or a lower run.clip, in a new run"
            )
        rate = settings.schedule.at(self._share(at.step, at.seconds), settings.schedule.warmup(settings.run.steps))
        set_rate(self._optimizer, rate)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._average is not None:
            self._average.update(objective)
        at.advance(loss)
        return Step(
            number=at.step,
            steps=settings.run.steps,
            share=self._share(at.step, at.seconds),
            losses=losses,
            right={name: count / max(counts[name], 1) for name, count in right.items()},
            loss=loss,
            rate=rate,
            gradient_norm=norm,
            samples=at.step * settings.run.batch,
            tokens=sum(posed.lengths),
            checkpoint=at.step % settings.run.save_every == 0,
        )

    def _learn(self, posed: PosedBatch, counts: dict[str, int]) -> tuple[dict[str, float], dict[str, float]]:
        """Gradients of a batch, from its pieces; returns the sum of each loss, and how much was answered right."""
        loop, world, objective = self.settings.run, self.world, self.objective
        pieces = list(by_length(posed.lengths, token_budget=loop.micro_tokens))
        posed = self._surveyed(posed, pieces) if objective.compares and len(pieces) > 1 else posed
        totals, right = dict.fromkeys(counts, 0.0), dict[str, float]()
        for number, mine, last in self._turns(len(pieces)):
            with world.accumulating(self._wrapped, last=last), self._reading(number):
                piece = objective.prepare(posed.rows(pieces[number]).to(world.device))
                tallies = self._wrapped(piece)
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

    def _surveyed(self, posed: PosedBatch, pieces: Sequence[Sequence[int]]) -> PosedBatch:
        """The batch with what its pieces must know of each other, for which every one is read once more.

        The same dropout is drawn then as when it is learned from.
        """
        whole: dict[str, torch.Tensor] = {}
        for number, mine, _ in self._turns(len(pieces)):
            with torch.no_grad(), self._reading(number):
                seen = self.objective.survey(posed.rows(pieces[number]).to(self.world.device))
            for name, rows in seen.items():
                if name not in whole:
                    whole[name] = torch.zeros(len(posed), *rows.shape[1:], device=rows.device)
                if mine:
                    whole[name][pieces[number]] = rows
        whole = {name: self.world.gathered(rows) for name, rows in whole.items()}
        return replace(posed, places=torch.arange(len(posed)), whole=whole)

    def _turns(self, pieces: int) -> Iterator[tuple[int, bool, bool]]:
        """Which piece this process reads in each turn, whether it counts, and whether the turn is the last.

        A process without a piece reads one with weight 0, so that all take part in each reduction.
        """
        rounds = -(-pieces // self.world.size)
        for turn in range(rounds):
            number = turn * self.world.size + self.world.rank
            yield min(number, pieces - 1), number < pieces, turn == rounds - 1

    @contextmanager
    def _reading(self, number: int) -> Iterator[None]:
        """A block in which a piece is read: its dropout is a matter of seed, step and piece, whoever reads it."""
        loop = self.settings.run
        torch.manual_seed(random_bits(loop.seed, "dropout", self.state.step, number) % 2**63)
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=loop.precision == "bfloat16"):
            yield

    def _logged(self, step: Step) -> Step:
        """The step with its speed, and with the lines that are due after it."""
        return self.state.log(step, every=self.settings.run.log_every, meter=self._meter)

    def _speed_meter(self) -> SpeedMeter:
        loop, device = self.settings.run, self.world.device.type
        dtype = torch.bfloat16 if loop.precision == "bfloat16" else torch.float32
        return SpeedMeter(
            (part for part in self.objective.modules() if isinstance(part, Network)),
            share=self.objective.share,
            batch=loop.batch,
            micro_tokens=loop.micro_tokens,
            peak=self.world.size * matmul_peak(torch.get_num_threads(), dtype, device),
        )

    def _example(self, posed: PosedBatch) -> dict[str, Any] | None:
        """What is made of the longest text of a batch, without dropout.

        Under FSDP every process must call it, since none has all weights.
        """
        lengths, objective = posed.lengths, self.objective
        longest = posed.rows([lengths.index(max(lengths))]).to(self.world.device)
        with ExitStack() as stack:
            stack.callback(objective.train, objective.training)
            objective.eval()
            if hasattr(objective, "unshard"):
                sharded: Any = objective
                sharded.unshard()
                stack.callback(sharded.reshard)
            stack.enter_context(torch.no_grad())
            return objective.example(longest)

    def save(self) -> Path:
        """Write a checkpoint, unless there is one of this step: all take part, the first process writes.

        Raises DivergedError, and writes none, where a weight is NaN or infinite.
        """
        at, world = self.state, self.world
        target = self._place(at.step)
        if self._saved == at.step:
            return target
        ran_on = {"threads": torch.get_num_threads(), "processes": world.size, "torch": torch.__version__}
        fields = {"run": self._identity, "loop": asdict(at), **ran_on}
        with world.watched(at.step):
            weights = {name: whole(parameter) for parameter, name in self._names.items()}
            optimizer = state_tensors(self._optimizer, self._names)
            average = {} if self._average is None else self._average.tensors()
            self._must_be_finite(weights | {f"the average of {name}": part for name, part in average.items()})
            with world.first_alone(f"save {at.step}") as first:
                if first:
                    saved = state.Saved(at.step, fields, weights, optimizer, average, self.objective.memory())
                    state.save(self.checkpoints, saved, keep=self.settings.run.keep)
        self._saved = at.step
        return target

    def _must_be_finite(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Raise DivergedError for what would be saved in the place of a checkpoint that can be gone on from."""
        if (spoilt := next((name for name, weight in weights.items() if not_finite(weight)), None)) is None:
            return
        before = "none was written before"
        if self._saved is not None:
            before = f"the last is that of step {self._saved}, from which --resume goes on"
        raise DivergedError(
            f"after step {self.state.step} {spoilt} holds NaN or infinite numbers, so the run has diverged and no "
            f"checkpoint is written of it; {before}. Where --resume leads here again, begin a new run with a lower "
            "schedule.peak, a longer warm-up or a lower run.clip"
        )

    def _place(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:08}"

    def _digest_of_run(self) -> str:
        """Which run this is, for its checkpoints to say: what it reads, and all settings that may not change."""
        words = json.dumps([deciding_settings(self.settings), self.samples.fingerprint], sort_keys=True)
        return hashlib.blake2b(words.encode(), digest_size=16).hexdigest()

    def _resume(self, saved: state.Saved, tell: Callable[[str], None]) -> None:
        """Go on from a checkpoint whose weights have been filled in."""
        load_state_tensors(self._optimizer, self._names, saved.optimizer)
        if self._average is not None:
            self._average.load(saved.average)
        fill(self.objective.memory(), saved.memory, "memory of the run")
        self.state = LoopState.read(saved.fields)
        threads = torch.get_num_threads()
        if saved.fields["threads"] != threads:
            tell(
                f"this run was begun with {saved.fields['threads']} threads and goes on with {threads}: sums are "
                "rounded otherwise, so last digits will differ"
            )

    def _fingerprint(self, saved: state.Saved | None) -> str:
        """A digest of what all processes must have alike before the first step."""
        words = f"{self.settings} {self.samples.fingerprint} {saved and saved.step} {torch.__version__}"
        digest = hashlib.blake2b(words.encode(), digest_size=16)
        for _, weight in self.objective.named_parameters():
            digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()


def _named(posed: PosedBatch) -> str:
    """Which inputs a batch was made of, for a person."""
    epochs, numbers = posed.numbers.T.tolist()
    shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    return f"Its batch was of the samples {shown} of epoch {epochs[0]}"
