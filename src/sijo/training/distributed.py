"""One run among several processes: their ranks, how weights are shared, and when processes wait for each other.

`torchrun` starts the processes and sets their number; a process that was started alone is a world of size 1,
in which all of this does next to nothing. Every process poses the whole batch, which is cheap, and computes its
share of the pieces: losses and gradients are those of one process.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import torch
from torch import distributed as dist
from torch import nn

from sijo.errors import SettingError, SijoError
from sijo.nn.heads import EnhancedLMHead, Network
from sijo.nn.transformer import Transformer

LONG = timedelta(days=30)
"""How long the others wait while one prepares the corpus."""
PATIENCE = 30.0
"""Seconds that the first process waits for the others to confirm that they have read its outcome."""


class ProcessError(SijoError):
    """A process of the run failed or fell silent: start the run again with --resume."""


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them."""

    rank: int = 0
    """Which one this is."""
    size: int = 1
    """How many there are."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where it computes."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """Whether each has all weights, or a share."""
    timeout: float = 600.0
    """Seconds that one waits for the others."""

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def wrapped(self, objective: nn.Module) -> nn.Module:
        """The objective, as the loop calls it: alone, with all weights in each process, or with a share of them."""
        if self.size == 1:
            return objective
        if self.strategy == "ddp":
            return nn.parallel.DistributedDataParallel(
                objective,
                device_ids=[self.device.index] if self.device.type == "cuda" else None,
                gradient_as_bucket_view=True,
            )
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        mesh = init_device_mesh(self.device.type, (self.size,))
        for block in _used_once(objective):
            fully_shard(block, mesh=mesh)
        fully_shard(objective, mesh=mesh)
        register_fsdp_forward_method(objective, "survey")
        return objective

    def accumulating(self, wrapped: nn.Module, *, last: bool) -> Any:
        """A context for a backward pass: gradients are accumulated locally until the last piece, then reduced."""
        if isinstance(wrapped, nn.parallel.DistributedDataParallel) and not last:
            return wrapped.no_sync()
        if self.size > 1 and self.strategy == "fsdp":
            wrapped.set_requires_gradient_sync(last)  # type: ignore[operator]
        return nullcontext()

    def summed(self, numbers: Sequence[float]) -> list[float]:
        """The sum over processes of each number, in float64."""
        return self._reduced(numbers, dist.ReduceOp.SUM)

    def gathered(self, rows: torch.Tensor) -> torch.Tensor:
        """The sum over processes of a tensor on this one's device: rows that one process each has, and zeros."""
        if self.size > 1:
            dist.all_reduce(rows, dist.ReduceOp.SUM)
        return rows

    def most(self, numbers: Sequence[float]) -> list[float]:
        """The greatest of each number over processes."""
        return self._reduced(numbers, dist.ReduceOp.MAX)

    def _reduced(self, numbers: Sequence[float], how: Any) -> list[float]:
        if self.size == 1:
            return list(numbers)
        tensor = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, how)
        result: list[float] = tensor.tolist()
        return result

    def alike(self, what: str, digest: str) -> None:
        """Make sure that all processes have the same; SettingError names those that differ from the first."""
        if self.size == 1:
            return
        number = int(digest[:12], 16)  # 48 bits, exact in float64
        digests = self.summed([float(number) if rank == self.rank else 0.0 for rank in range(self.size)])
        if other := [rank for rank in range(self.size) if digests[rank] != digests[0]]:
            raise SettingError(
                f"process {', '.join(map(str, other))} of {self.size} has {what} other than process 0; start all "
                "with the same command, files and version of sijo"
            )

    @contextmanager
    def first_alone(self, what: str) -> Iterator[bool]:
        """A block that the first process runs; the others enter it as False, and leave once the first has finished.

        Where the first process fails, the others fail too, so that none is left waiting.
        """
        if self.size == 1:
            yield True
            return
        store, key, outcome = dist.distributed_c10d._get_default_store(), f"sijo/{what}", "done"
        if not self.first:
            yield False
            store.wait([key], LONG)
            outcome = store.get(key).decode()
            store.set(f"{key}/{self.rank}", "heard")
            if outcome != "done":
                raise ProcessError(f"process 0 {outcome}")
            return
        try:
            yield True
        except BaseException as error:
            outcome = f"failed: {error}"
            raise
        finally:
            store.set(key, outcome)
            with suppress(Exception):  # the store may be this process's, so it stays until the others have read it
                read = [f"{key}/{rank}" for rank in range(1, self.size)]
                store.wait(read, timedelta(seconds=min(self.timeout, PATIENCE)))

    @contextmanager
    def watched(self, step: int) -> Iterator[None]:
        """A block in which processes wait for each other; one that does not answer is named."""
        try:
            yield
        except RuntimeError as error:  # gloo and NCCL raise nothing more particular
            if self.size == 1 or isinstance(error, SijoError):
                raise
            silent = self._silent(step)
            named = ", ".join(f"process {rank}" for rank in silent) or "another process"
            raise ProcessError(
                f"{named} of {self.size} did not answer at step {step}, within {self.timeout:g} seconds or at all; "
                "the last checkpoint is kept. Start the run again with --resume"
            ) from error

    def _silent(self, step: int) -> list[int]:
        """The processes that do not say within two seconds that they too are in trouble."""
        with suppress(Exception):
            store = dist.distributed_c10d._get_default_store()
            store.set(f"sijo/trouble/{step}/{self.rank}", "")
            time.sleep(2)
            return [rank for rank in range(self.size) if not store.check([f"sijo/trouble/{step}/{rank}"])]
        return []


@contextmanager
def join(
    *, strategy: Literal["ddp", "fsdp"], timeout: float, device: Literal["auto", "cpu", "cuda"]
) -> Iterator[World]:
    """Join the process group that `torchrun` or another launcher has set up, and leave it at the end.

    RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT are read from the environment; without them the
    world is this process alone. Where a launcher has joined them already, they are left joined.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingError('run.device="cuda", but torch finds no GPU here; set run.device="cpu" or "auto"')
    on_gpu = device != "cpu" and torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(place)
    joins = size > 1 and not dist.is_initialized()
    if joins:
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(seconds=timeout))
    try:
        yield World(rank, size, place, strategy, timeout)
    finally:
        if joins:
            with suppress(Exception):
                dist.destroy_process_group()


def _used_once(objective: nn.Module) -> list[nn.Module]:
    """The blocks that one forward pass uses once. The others stay with the root: a block that is used again
    would add up its gradients in another order than without shares."""
    blocks: list[nn.Module] = []
    for network in objective.modules():
        if isinstance(network, Network):
            transformer, schedule = network.transformer, network.architecture.schedule
            encoder = transformer if isinstance(transformer, Transformer) else transformer.encoder
            enhanced = any(isinstance(head, EnhancedLMHead) for head in network.head.values())
            again = schedule[-1:] if enhanced else ()  # the mask decoder runs the last one twice more
            uses = Counter((*schedule, *again))
            blocks += [block for number, block in enumerate(encoder.blocks) if uses[number] == 1]
            if not isinstance(transformer, Transformer):
                uses = Counter(transformer.decoder.schedule)
                blocks += [block for number, block in enumerate(transformer.decoder.blocks) if uses[number] == 1]
    return blocks
