"""Optimizers: the update rule, which weights decay, and the largest norm of a gradient.

Weights may be whole or shards of FSDP2 (`DTensor`), with the same result to the bit. What is summed over
a whole tensor, or over all of them, is summed in float64; the rest is elementwise, if kernels
are chosen with care (`LANES`). An optimizer's state is created at the start, so that it is known what a
checkpoint must hold.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed import all_reduce
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim.adamw import adamw

from sijo.errors import CheckpointError, SettingError
from sijo.nn.decoder import AnyTransformer, EncoderDecoderTransformer
from sijo.nn.encoder_decoder import EncoderDecoder, stacks
from sijo.nn.transformer import Transformer

Kind = Literal["adamw", "adamw_uncorrected", "lamb", "adafactor", "adagrad"]

SETTLED = 1e9
"""A count of steps at which Adam's corrections, 1 - beta^steps, are exactly 1; and float32 counts no further."""

LANES = 16
"""Numbers that a CPU's widest registers hold. torch's fused kernel rounds what is left over at a tensor's end
otherwise than the rest (a quarter of Adam's mean squares differ in their last bit), and shards end elsewhere
than the whole: it is given only tensors of which no shard has anything left over."""

PIECE = 32_768
"""Numbers that are squared and summed at once."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """The rule by which weights are moved, and what differs from weight to weight."""

    kind: Kind = "adamw"
    """adamw; adamw_uncorrected, the same without bias correction (ELECTRA, DeBERTa); lamb (ALBERT); adafactor;
    or adagrad (CTRL)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of adamw, adamw_uncorrected and lamb: how much of the mean gradient and the mean square outlives a step."""
    eps: float = 1e-6
    """Of the same three: added to the root of the mean square."""
    weight_decay: float = 0.01
    """Each step takes off this times the rate of every weight, but for biases and norms; adagrad has none."""
    layer_decay: float = 1.0
    """What the rate is multiplied by from layer to layer, going down from the heads; 1 for one rate everywhere."""
    layer_rule: Literal["corrected", "electra"] = "corrected"
    """Whether that begins with one multiplication at the last layer or, as in ELECTRA's released code, two."""
    initial_accumulator: float = 0.1
    """Of adagrad: the sum of squares before the first step."""

    def __post_init__(self) -> None:
        if not all(0 <= beta <= 0.999999 for beta in self.betas):
            raise SettingError(
                f"optimizer.betas={list(self.betas)} must lie from 0 to 0.999999, such as 0.9 and 0.999"
            )
        if not 0 < self.eps < 1:
            raise SettingError(f"optimizer.eps={self.eps} must lie between 0 and 1, such as 1e-6")
        if not 0 <= self.weight_decay < 1:
            raise SettingError(
                f"optimizer.weight_decay={self.weight_decay} must lie from 0 to below 1, such as 0.01"
            )
        if self.weight_decay and self.kind == "adagrad":
            raise SettingError(
                f"optimizer.weight_decay={self.weight_decay} has no part in adagrad; set optimizer.weight_decay=0"
            )
        if not 0 < self.layer_decay <= 1:
            raise SettingError(
                f"optimizer.layer_decay={self.layer_decay} must lie above 0 and up to 1, such as 0.8"
            )
        if not 0 < self.initial_accumulator < math.inf:
            raise SettingError(
                f"optimizer.initial_accumulator={self.initial_accumulator} must be above 0, such as 0.1: adagrad "
                "divides by its root"
            )


class Lamb(torch.optim.Optimizer):
    """Adam's step, but as long, tensor by tensor, as the weights are: large batches then allow large rates.

        m = b1 m + (1 - b1) g        u = m / (sqrt(v) + eps) + decay w
        v = b2 v + (1 - b2) g²       w = w - rate |w| / |u| u

    As Google released it with ALBERT: no bias correction, no bound on |w| / |u|, which is 1 where either
    length is 0 and for what does not decay (groups with `decayed` False). A step takes memory for u.

    Source: You et al. 2020 (arXiv:1904.00962), algorithm 2; released ALBERT code, lamb_optimizer.py.
    """

    def __init__(self, groups: list[dict[str, Any]], *, betas: tuple[float, float], eps: float) -> None:
        super().__init__(groups, {"betas": betas, "eps": eps, "decayed": True, "weight_decay": 0.0, "lr": 0.0})
        for group in self.param_groups:
            for weight in group["params"]:
                self.state[weight] = moments(weight)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        steps: list[tuple[Tensor, Tensor, dict[str, Any]]] = []  # weight, -u, group
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            updates = [torch.zeros_like(weight) for weight in weights]
            # torch's fused Adam, in one pass over memory: from 0, at rate 1, it leaves -m / (sqrt(v) + eps)
            adamw(
                [local(update) for update in updates],
                [local(weight.grad).contiguous() for weight in weights],  # strides are not looked at
                [local(self.state[weight]["exp_avg"]) for weight in weights],
                [local(self.state[weight]["exp_avg_sq"]) for weight in weights],
                [],
                [torch.tensor(SETTLED, device=weight.device) for weight in weights],
                fused=group["fused"],
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=1.0,
                weight_decay=0.0,
                eps=group["eps"],
                maximize=False,
            )
            for weight, update in zip(weights, updates, strict=True):
                local(update).add_(local(weight), alpha=-group["weight_decay"])
                steps.append((weight, update, group))
        norms = squares([weight for weight, _, _ in steps] + [update for _, update, _ in steps]).sqrt()
        pairs = norms.view(2, len(steps)).T.tolist()
        for (weight, update, group), (weight_norm, update_norm) in zip(steps, pairs, strict=True):
            ratio = weight_norm / update_norm if group["decayed"] and weight_norm > 0 and update_norm > 0 else 1.0
            local(weight).add_(local(update), alpha=group["lr"] * ratio)


def build_optimizer(settings: OptimizerSettings, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a model's weights, in groups that `set_rate` gives their rates to.

    Biases and the weights of LayerNorms do not decay. A weight that two modules share is updated once, one
    that needs no gradient never. Build it after the model is on its device and cut into shards.

    Raises SettingError for adafactor over shards: its means over rows and columns are not made for them.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    >>> groups = build_optimizer(OptimizerSettings(), model).param_groups
    >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
    [(1, 0.01), (3, 0.0)]
    """
    groups = parameter_groups(settings, model)
    weights = [(weight, group) for group in groups for weight in group["params"]]
    match settings.kind:
        case "lamb":
            return Lamb(groups, betas=settings.betas, eps=settings.eps)
        case "adagrad":
            return torch.optim.Adagrad(groups, 0.0, initial_accumulator_value=settings.initial_accumulator, eps=0.0)
        case "adafactor":
            if any(isinstance(weight, DTensor) for weight, _ in weights):
                raise SettingError(
                    'optimizer.kind="adafactor" does not work with run.strategy="fsdp"; take adamw, '
                    'adamw_uncorrected, lamb or adagrad, or run.strategy="ddp"'
                )
            optimizer: torch.optim.Optimizer = torch.optim.Adafactor(groups, 0.0)
            for weight, _ in weights:
                optimizer.state[weight] = {"step": torch.tensor(0.0), **factors(weight)}
        case "adamw" | "adamw_uncorrected":
            optimizer = torch.optim.AdamW(groups, 0.0, betas=settings.betas, eps=settings.eps)
            made = 0.0 if settings.kind == "adamw" else SETTLED
            for weight, group in weights:
                step = torch.tensor(made, device=weight.device if group["fused"] else "cpu")
                optimizer.state[weight] = {"step": step, **moments(weight)}
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step, times the `scale` of each group."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def parameter_groups(settings: OptimizerSettings, model: nn.Module) -> list[dict[str, Any]]:
    """The trained weights, each once, in groups of one weight decay, one scale of the rate and one kernel."""
    scales = layer_scales(settings, model)
    adam = settings.kind in ("adamw", "adamw_uncorrected", "lamb")
    groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    seen: set[nn.Parameter] = set()
    for path, module in model.named_modules():
        for name, weight in module.named_parameters(path, recurse=False):
            if weight.requires_grad and weight not in seen:
                seen.add(weight)
                biased = name.endswith("bias") or "relative_bias" in name
                decayed = not (biased or isinstance(module, nn.LayerNorm))
                even = weight.dim() > 1 and math.prod(weight.shape[1:]) % LANES == 0  # shards are cut between rows
                groups.setdefault((decayed, scales[name], even), []).append(weight)
    return [
        {
            "params": weights,
            "weight_decay": settings.weight_decay if decayed else 0.0,
            "decayed": decayed,
            "scale": scale,
            "fused": (adam and even) or None,  # None: torch's choice, which is one loop on a CPU
        }
        for (decayed, scale, even), weights in groups.items()
    ]


def layer_scales(settings: OptimizerSettings, model: nn.Module) -> dict[str, float]:
    """What the rate of each parameter is multiplied by, by name.

    Of a Transformer of L layers, the tables have depth 0, the block first used in layer i has i + 1, and the
    scale is layer_decay ^ (L + 1 - depth); all around it, heads above all, has 1. ELECTRA's released
    code counts a layer more, that of a pooler it no longer had: its last layer has layer_decay ^ 2. A decoder's
    layers stand above its encoder's.
    """
    scales = {name: 1.0 for name, _ in model.named_parameters()}
    for path, part in model.named_modules():
        if isinstance(part, Transformer | EncoderDecoderTransformer) and path.rpartition(".")[2] != "encoder":
            layers = sum(stack.layers for stack in stacks(part.architecture))
            above = layers + (1 if settings.layer_rule == "corrected" else 2)
            for name, _ in part.named_parameters():
                scales[f"{path}.{name}" if path else name] = settings.layer_decay ** (above - depth(part, name))
    return scales


def depth(transformer: AnyTransformer, name: str) -> int:
    """How far up a parameter of a Transformer stands: 0 for its tables, i + 1 in layer i."""
    architecture = transformer.architecture
    match name.removeprefix("encoder.").split("."):
        case ["decoder", "blocks", block, *_] if isinstance(architecture, EncoderDecoder):
            return architecture.layers + architecture.decoder.schedule.index(int(block)) + 1
        case ["blocks", block, *_]:
            return architecture.schedule.index(int(block)) + 1
        case ["convolution", *_]:
            return 1
        case ["final_norm", *_]:
            return architecture.layers
    return 0


def moments(weight: Tensor) -> dict[str, Tensor]:
    """Adam's state of one weight before its first gradient."""
    return {"exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}


def factors(weight: Tensor) -> dict[str, Tensor]:
    """Adafactor's: means over rows and over columns where there are both."""
    if weight.dim() < 2:
        return {"variance": torch.zeros_like(weight)}
    *outer, rows, columns = weight.shape
    return {"row_var": weight.new_zeros(*outer, rows, 1), "col_var": weight.new_zeros(*outer, 1, columns)}


def gradient_norm(parameters: Iterable[nn.Parameter]) -> float:
    """The length of all gradients together, as one vector, rounded to float32; 0 without any.

    Squares are summed in float64, whose error is far below float32's steps: shards and whole tensors give
    the same number but for one case in some hundred million. Over shards every process must call it.
    """
    gradients = [weight.grad for weight in parameters if weight.grad is not None]
    return squares(gradients).sum().sqrt().float().item()


@torch.no_grad()
def clip(parameters: Iterable[nn.Parameter], limit: float) -> float:
    """Scale all gradients down together where they are longer than `limit`; returns how long they were.

    By limit / norm exactly, as TensorFlow's clip_by_global_norm (torch adds 1e-6 to the norm). Where the norm
    is no finite number nothing is scaled: such a step must not be made.

    >>> weight = nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, -4.0])
    >>> clip([weight], 1.0), weight.grad
    (5.0, tensor([ 0.6000, -0.8000]))
    """
    parameters = list(parameters)
    norm = gradient_norm(parameters)
    if limit < norm < math.inf:
        for weight in parameters:
            if weight.grad is not None:
                local(weight.grad).mul_(limit / norm)
    return norm


def squares(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of squares of each tensor, over all of its shards; (n,) float64."""
    if not tensors:
        return torch.zeros(0, dtype=torch.float64)
    sums = torch.stack([_square(local(tensor)) for tensor in tensors])
    shards: dict[tuple[Any, int], list[int]] = {}
    for place, tensor in enumerate(tensors):
        if isinstance(tensor, DTensor):
            for dimension, placement in enumerate(tensor.placements):
                if placement.is_shard():
                    shards.setdefault((tensor.device_mesh, dimension), []).append(place)
    for (mesh, dimension), places in shards.items():
        part = sums[places]
        all_reduce(part, group=mesh.get_group(dimension))
        sums[places] = part
    return sums


def state_tensors(optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]) -> dict[str, Tensor]:
    """The state of an optimizer, as whole tensors by "<parameter>.<slot>"; not copied where they are whole.

    names  of each parameter in the model

    Over shards every process must call it, and each gets all.
    """
    return {name: whole(slot) for name, slot in _slots(optimizer, names)}


def load_state_tensors(
    optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str], tensors: Mapping[str, Tensor]
) -> None:
    """Give a new optimizer the state that `state_tensors` gave of another, to the bit; it may be sharded otherwise.

    Raises CheckpointError when a tensor is missing, has no place, or is of another shape or dtype.
    """
    fill(dict(_slots(optimizer, names)), tensors, "optimizer state")


@torch.no_grad()
def fill(places: Mapping[str, Tensor], tensors: Mapping[str, Tensor], what: str) -> None:
    """Copy whole tensors into their places, of which each may be a shard.

    Raises CheckpointError, with nothing copied, when one is missing, has no place, or is of another shape or dtype.
    """
    missing, extra = sorted(places.keys() - tensors.keys()), sorted(tensors.keys() - places.keys())
    if missing or extra:
        raise CheckpointError(
            f"{what}: {len(missing)} of {len(places)} tensors are missing{_first(missing)} and {len(extra)} have "
            f"no place{_first(extra)}; resume with the settings it was written with, or copy it again"
        )
    for name, place in places.items():
        if (kind := _kind(tensors[name])) != _kind(place):
            raise CheckpointError(
                f"{what}: {name} is {kind}, and its place {_kind(place)}; resume with the settings it was "
                "written with, or copy it again"
            )
    for name, place in places.items():
        tensor = tensors[name].to(place.device)
        if isinstance(place, DTensor):  # every process has the whole tensor, and takes its own share of it
            tensor = distribute_tensor(tensor, place.device_mesh, place.placements, src_data_rank=None)
        local(place).copy_(local(tensor))


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: its shard, or all."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, without its history: gathered from every process, which all must ask, or itself."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _square(tensor: Tensor) -> Tensor:
    # on a CPU in pieces that its cache holds: at once, a copy in float64 would be made of all, in twice the time
    pieces = torch.split(tensor.reshape(-1), PIECE) if tensor.is_cpu else [tensor]
    return torch.stack([torch.linalg.vector_norm(piece, dtype=torch.float64).square() for piece in pieces]).sum()


def _slots(optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]) -> Iterator[tuple[str, Tensor]]:
    for group in optimizer.param_groups:
        for weight in group["params"]:
            for slot, value in optimizer.state[weight].items():
                yield f"{names[weight]}.{slot}", value


def _first(names: list[str]) -> str:
    return f" ({names[0]}{', …' if len(names) > 1 else ''})" if names else ""


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
