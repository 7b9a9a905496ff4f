"""An adapter's matrices added to the weights of its base model, once, when the model is opened.

W + s B A for a matrix W (N, D) with B (N, r) and A (r, D); s is alpha / r, or alpha / sqrt(r) with rank-stabilised
LoRA. Afterwards nothing tells the model from one that was trained whole.

Sources: Hu et al. 2021 (arXiv:2106.09685), section 4; Kalajdzievski 2023 (arXiv:2312.03732); `merge_and_unload` of
peft.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sijo.checkpoints.adapters import KINDS, Adapter
from sijo.checkpoints.weights import read_file
from sijo.errors import CheckpointError, RefusedError
from sijo.models.family import Config, Family
from sijo.nn.encoder_decoder import stacks

TABLES = ("embeddings.tokens", "places", "embeddings.segments", "distances.rows", "relative_bias.rows")
"""Ours, which are no linear maps."""
Parts = dict[str, Tensor]
"""What an adapter holds of a module, by kind."""


def merged(weights: Mapping[str, Tensor], adapter: Adapter, family: Family, config: Config) -> dict[str, Tensor]:
    """The weights of a base model with its adapter, by full published name, in float32 where matrices were added.

    weights  the base model's

    Raises CheckpointError for a tensor that has no place, and for one that is absent or of another shape: nothing
    of an adapter is left out in silence.
    """
    modules: dict[str, Parts] = {}
    for (module, kind), tensor in adapter.named(read_file(adapter.file)).items():
        modules.setdefault(module, {})[kind] = tensor
    _check_targets(weights, modules, adapter, family, config)
    result, shared = dict(weights), _shared_table(family, config)
    for module, parts in modules.items():
        for kind in parts.keys() - KINDS.values():
            _put(result, family.full_name(f"{module}.{kind}"), (module, kind), parts[kind], adapter, family, config)
        name = family.full_name(module)
        if name == shared:
            raise RefusedError(
                f"{adapter.file} adapts {module}, the table that an encoder and a decoder share; in peft both go "
                "on reading the one without the adapter until it is merged, so what was trained is not what would "
                "answer; leave the table out of target_modules and modules_to_save"
            )
        if parts.keys() & {"A", "B", "bias of B"}:
            _add(result, name, module, parts, adapter)
        if parts.keys() & {"A of a table", "B of a table"}:
            table = {"B": parts.get("A of a table"), "A": parts.get("B of a table")}  # W is (V, D), and A (r, V)
            turned = {kind: tensor.T for kind, tensor in table.items() if tensor is not None}
            _add(result, name, module, turned, adapter)
        if "rows" in parts:
            _replace_rows(result, name, module, parts["rows"], adapter)
    for copy, original in family.copies_of(config).items():  # what is published twice stays the same twice
        if copy in weights and original in weights and torch.equal(weights[copy], weights[original]):
            result[copy] = result[original]
    return result


def _check_targets(
    weights: Mapping[str, Tensor], modules: Mapping[str, Parts], adapter: Adapter, family: Family, config: Config
) -> None:
    """Refuse an adapter whose tensors are not those that its configuration tells of."""
    lora, said = adapter.config, adapter.folder / "adapter_config.json"
    adapted = {module for module, parts in modules.items() if any(kind[:1] in "AB" for kind in parts)}
    for module in sorted(adapted):
        if lora.targets(module) is False:
            raise CheckpointError(f"{adapter.file} holds matrices for {module}, and {said} adapts no such module")
    bare = not any(module.startswith(family.prefix) for module in adapted)
    for ours, full in _transformer(family, config).items():
        weight = weights.get(f"{full}.weight")
        module = full.removeprefix(family.prefix) if bare else full
        if weight is None or weight.dim() != 2 or module in adapted:
            continue
        if lora.targets(module) or (lora.targets(module) is None and not ours.endswith(TABLES)):
            raise CheckpointError(
                f"{adapter.file} has no matrices for {module}, which {said} adapts; copy it again"
            )
    saved = {module for module, parts in modules.items() if parts.keys() - KINDS.values()}
    heads = {theirs for layout in family.layouts(config) for theirs in layout.names.values()}
    there = {*_transformer(family, config).values(), *heads}  # peft lists heads that a model may not have, as BART
    if lora.modules_to_save and any(map(lora.saves, there)) and not any(map(lora.saves, saved)):
        raise CheckpointError(
            f"{adapter.file} has none of the modules that {said} keeps whole, "
            f"{', '.join(lora.modules_to_save)[:200]}; copy it again"
        )
    if lora.trainable_token_indices and not any("rows" in parts for parts in modules.values()):
        raise CheckpointError(f"{adapter.file} has no rows for the tokens that {said} lists; copy it again")


def _transformer(family: Family, config: Config) -> dict[str, str]:
    """Our modules below the heads, and their full published names; of fused ones, the name that they share."""
    names = {ours: family.prefix + theirs for ours, theirs in (family.names(config) or {}).items()}
    blocks = config.architecture().blocks
    fused = {
        theirs.format(n=n).removesuffix(".weight") for theirs in family.whose(config).fused for n in range(blocks)
    }
    return names | {name: family.prefix + name for name in fused}


def _shared_table(family: Family, config: Config) -> str | None:
    """The published name of a table that two stacks read; None for a network of one."""
    if len(stacks(config.architecture())) == 1:
        return None
    return _transformer(family, config).get("encoder.embeddings.tokens")


def _put(
    result: dict[str, Tensor],
    name: str,
    part: tuple[str, str],
    tensor: Tensor,
    adapter: Adapter,
    family: Family,
    config: Config,
) -> None:
    """Let a tensor that is kept whole take the place of the base model's; a head may be new there."""
    (module, kind), lora = part, adapter.config
    tables = {full for ours, full in _transformer(family, config).items() if ours.endswith(TABLES)}
    bias = "bias" in kind and lora.bias != "none"
    if not (lora.saves(module) or lora.saves(f"{module}.{kind}") or bias or family.full_name(module) in tables):
        raise CheckpointError(f"{adapter.file} holds {module}.{kind}, which its adapter_config.json does not keep")
    heads = {theirs for layout in family.layouts(config) for theirs in (*layout.names.values(), *layout.copies)}
    if name not in result and name not in heads and name.rpartition(".")[0] not in heads:
        raise CheckpointError(f"{adapter.file} holds {module}.{kind}, and the base model has no such tensor")
    result[name] = tensor


def _add(result: dict[str, Tensor], name: str, module: str, parts: Mapping[str, Tensor], adapter: Adapter) -> None:
    """Add the product of two matrices, and a bias if there is one."""
    weight, bias = result.get(f"{name}.weight"), result.get(f"{name}.bias")
    rank, scale = adapter.config.scale(module)
    if weight is None or not {"A", "B"} <= parts.keys():
        what = "the base model has no such module" if weight is None else "not both matrices"
        raise CheckpointError(f"{adapter.file} holds matrices for {module}, and {what}; copy both again")
    if weight.dim() != 2:
        raise RefusedError(
            f"{adapter.file} adapts {module}, a convolution; merge it with peft, and save the result"
        )
    a, b = parts["A"], parts["B"]
    wanted = (rank, weight.shape[1]), (weight.shape[0], rank)
    if (tuple(a.shape), tuple(b.shape)) != wanted:
        raise CheckpointError(
            f"{adapter.file}: the matrices for {module} are {tuple(a.shape)} and {tuple(b.shape)}, and with a rank "
            f"of {rank} the base model needs {wanted[0]} and {wanted[1]}; this is the adapter of another model"
        )
    result[f"{name}.weight"] = torch.addmm(weight.float(), b.float(), a.float(), alpha=scale)
    if "bias of B" in parts:
        if bias is None or bias.shape != parts["bias of B"].shape:
            raise CheckpointError(f"{adapter.file} holds a bias for {module}, and the base model has none like it")
        result[f"{name}.bias"] = bias.float() + scale * parts["bias of B"].float()


def _replace_rows(result: dict[str, Tensor], name: str, module: str, rows: Tensor, adapter: Adapter) -> None:
    """Let the rows of some tokens take the place of the base model's."""
    wanted = adapter.config.trainable_token_indices or []
    if isinstance(wanted, dict):
        wanted = next((listed for key, listed in wanted.items() if f".{module}".endswith(f".{key}")), [])
    table = result.get(f"{name}.weight")
    if table is None or rows.shape != (len(wanted), *table.shape[1:]) or max(wanted, default=0) >= len(table):
        raise CheckpointError(
            f"{adapter.file} holds rows of {module} that do not fit the {len(wanted)} tokens of its configuration, "
            "or the base model's table; this is the adapter of another model"
        )
    result[f"{name}.weight"] = table.float().index_copy(0, torch.tensor(wanted), rows.float())
