"""Tensor names as the papers' first code, in TensorFlow 1, wrote them: for conversion alone.

`bert/encoder/layer_3/attention/self/query/kernel` says all that the present name does, another way;
what a family called differently altogether stands in `RENAMED`. A kernel is a matrix the other way round.
"""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from sijo.errors import CheckpointError, SettingError

SKIPPED = re.compile(
    r"adam|lamb|adagrad|momentum|(^|/)(global_step|temperature|beta[12]_power|signal_early_stopping)$"
)
"""What an optimizer left behind."""
RENAMED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "albert": (
        (r"^(module/)?bert/encoder/transformer/group_(\d+)/inner_group_(\d+)/",
         "albert/encoder/albert_layer_groups/\\2/albert_layers/\\3/"),
        (r"/attention_1/self/", "/attention/"),
        (r"/attention_1/output/dense/", "/attention/dense/"),
        (r"/ffn_1/intermediate/output/dense/", "/ffn_output/"),
        (r"/ffn_1/intermediate/dense/", "/ffn/"),
        (r"(albert_layers/\d+)/LayerNorm_1/", "\\1/full_layer_layer_norm/"),
        (r"(albert_layers/\d+)/LayerNorm/", "\\1/attention/LayerNorm/"),
        (r"^(module/)?bert/", "albert/"),
        (r"^albert/pooler/dense/", "albert/pooler/"),
        (r"^(module/)?cls/predictions/transform/", "predictions/"),
        (r"^(module/)?cls/predictions/output_bias$", "predictions/bias"),
        (r"^(module/)?cls/seq_relationship/output_", "sop_classifier/classifier/"),
    ),
    "bert": (
        (r"^module/", ""),
        (r"^cls/predictions/output_bias$", "cls/predictions/bias"),
        (r"^cls/seq_relationship/output_", "cls/seq_relationship/"),
        (r"^output_(weights|bias)$", "classifier/\\1"),
    ),
    "electra": (
        (r"^discriminator_predictions/dense_1/", "discriminator_predictions/dense_prediction/"),
        (r"^generator_predictions/output_bias$", "generator_lm_head/bias"),
    ),
}  # fmt: skip
"""Patterns and what they become, in order, before what is the same for all."""
PARTS = ("discriminator", "generator")


def is_tensorflow(names: Iterable[str]) -> bool:
    """Whether tensors are called as TensorFlow calls variables.

    >>> is_tensorflow(["bert/pooler/dense/kernel"]), is_tensorflow(["bert.pooler.dense.weight"])
    (True, False)
    """
    return any("/" in name for name in names)


def from_tensorflow(
    tensors: Mapping[str, Tensor], model_type: str, *, part: str | None = None
) -> dict[str, Tensor]:
    """The tensors by their present names, kernels turned round, optimizer state left out.

    tensors     by TensorFlow's names
    model_type  whose they are: bert, albert, electra or ctrl
    part        of an ELECTRA, which was saved with both: "discriminator" or "generator"

    Raises SettingError for another model type, or an ELECTRA without a part.

    >>> import torch
    >>> made = from_tensorflow({"bert/encoder/layer_3/output/dense/kernel": torch.zeros(8, 2)}, "bert")
    >>> {name: tuple(tensor.shape) for name, tensor in made.items()}
    {'bert.encoder.layer.3.output.dense.weight': (2, 8)}
    """
    kept = {name.removesuffix(":0"): tensor for name, tensor in tensors.items() if not SKIPPED.search(name.lower())}
    if model_type == "ctrl":
        return _ctrl(kept)
    if model_type not in RENAMED:
        raise SettingError(
            f"sijo knows TensorFlow's names for {', '.join(RENAMED)} and ctrl, not for {model_type}; "
            "convert it with its own code first"
        )
    if model_type == "electra":
        if part not in PARTS:
            raise SettingError(
                f"an ELECTRA of the first code holds two networks; say which one: part={' or part='.join(PARTS)}"
            )
        kept = _electra(kept, part)
    return {_renamed(name, model_type): _turned(name, tensor) for name, tensor in kept.items()}


def _renamed(name: str, model_type: str) -> str:
    for pattern, new in RENAMED[model_type]:
        name = re.sub(pattern, new, name)
    name = re.sub(r"/layer_(\d+)/", r"/layer/\1/", name).replace("/", ".")
    name = re.sub(r"\.(kernel|gamma|weights)$", ".weight", re.sub(r"\.beta$", ".bias", name))
    return f"{name}.weight" if name.endswith("_embeddings") else name


def _turned(name: str, tensor: Tensor) -> Tensor:
    return tensor.T if name.endswith("kernel") else tensor


def _electra(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """One of the two networks. The generator has no embeddings of its own but for their projection."""
    if part == "discriminator":
        return {name: tensor for name, tensor in tensors.items() if not name.startswith("generator")}
    shared = {name: tensor for name, tensor in tensors.items() if name.startswith("electra/embeddings/")}
    own = {
        name if name.startswith("generator_") else name.replace("generator/", "electra/", 1): tensor
        for name, tensor in tensors.items()
        if name.startswith("generator")
    }
    return shared | own


def _ctrl(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CTRL's variables are numbered over the whole graph: within a block their order says what they are."""
    made, blocks = {}, dict[int, list[str]]()
    for name, tensor in tensors.items():
        if found := re.search(r"encoder_layer(?:_(\d+))?/", name):
            blocks.setdefault(int(found[1] or 0), []).append(name)
        elif name.endswith("/w") or name == "w":
            made["transformer.w.weight"] = tensor
        elif name.endswith("/b") or name == "b":
            made["lm_head.bias"] = tensor
        elif name.endswith(("/gamma", "/beta")):
            made[f"transformer.layernorm.{'weight' if name.endswith('gamma') else 'bias'}"] = tensor
        else:
            raise CheckpointError(f"{name!r} is no variable of a CTRL; is this another model's checkpoint?")
    parts = ["layernorm1", "layernorm2", *(f"multi_head_attention.{what}" for what in ("Wq", "Wk", "Wv", "dense"))]
    for n, names in blocks.items():
        ordered = sorted(names, key=_by_number)
        if len(ordered) != 16:
            raise CheckpointError(f"block {n} of this CTRL has {len(ordered)} variables, not 16; copy it again")
        leaves = [f"{what}.{leaf}" for what in [*parts, "ffn.0", "ffn.2"] for leaf in ("bias", "weight")]
        for leaf, name in zip(leaves, ordered, strict=True):
            made[f"transformer.h.{n}.{leaf}"] = _turned(name, tensors[name])
    return made


def _by_number(name: str) -> list[tuple[str, int]]:
    """Sorts as letters do, and numbers by their size; `dense` before `dense_1`."""
    return [(word, int(number or -1)) for word, number in re.findall(r"([^/\d]+?)_?(\d*)(?:/|$)", name)]
