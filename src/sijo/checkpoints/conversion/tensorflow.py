"""Tensor names as the papers' first code, in TensorFlow 1, wrote them: for conversion alone.

`bert/encoder/layer_3/attention/self/query/kernel` says all that the present name does, another way;
what a family called differently altogether stands in `tensorflow.toml`. A kernel is a matrix the other way round.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from torch import Tensor

from sijo.errors import CheckpointError, RefusedError, SettingError
from sijo.models.family import Config, Family

OPTIMIZER = re.compile(
    r"(^|/)((adam|adagrad|lamb|momentum)\w*|beta[12]_power|global_step|temperature|signal_early_stopping)(/|$)"
)
"""What training left behind, in lower case."""
NAMES = tomllib.loads(Path(__file__).with_name("tensorflow.toml").read_text(encoding="utf-8"))
PARTS = ("discriminator", "generator")


def is_tensorflow(names: Iterable[str]) -> bool:
    """Whether tensors are called as TensorFlow calls variables.

    >>> is_tensorflow(["bert/pooler/dense/kernel"]), is_tensorflow(["bert.pooler.dense.weight"])
    (True, False)
    """
    return any("/" in name for name in names)


def from_tensorflow(
    tensors: Mapping[str, Tensor],
    family: Family,
    config: Config,
    *,
    part: str | None = None,
    tell: Callable[[str], object],
) -> dict[str, Tensor]:
    """The tensors by their present names, kernels turned round, without what an optimizer kept.

    tensors  by TensorFlow's names
    family   whose they are: bert, albert, electra or ctrl
    config   what the network is: no name may lead outside of it
    part     of an ELECTRA, which was saved with both: "discriminator" or "generator"
    tell     called with a sentence on what was left out

    Raises SettingError for another family, or an ELECTRA without a part; RefusedError that lists the
    names which nothing in such a network has; CheckpointError where the variables of a block are not whole.

    >>> import torch
    >>> from sijo.models import published
    >>> old = {"bert/encoder/layer_3/output/dense/kernel": torch.zeros(8, 2), "global_step": torch.tensor(9)}
    >>> made = from_tensorflow(old, *published("bert-base-uncased"), tell=print)
    left out 1 of the optimizer, such as global_step
    >>> {name: tuple(tensor.shape) for name, tensor in made.items()}
    {'bert.encoder.layer.3.output.dense.weight': (2, 8)}
    """
    plain = {name: name.removesuffix(":0").removeprefix("module/") for name in tensors}
    kept = {name: old for name, old in plain.items() if not OPTIMIZER.search(old.lower())}
    if left := sorted(plain.keys() - kept.keys()):
        tell(f"left out {len(left)} of the optimizer, such as {left[0]}")
    match family.model_type:
        case "ctrl":
            new = _ctrl(kept)
        case "electra":
            mine = _electra(kept, part)
            if rest := sorted(kept.keys() - mine.keys()):
                tell(f"left out {len(rest)} of the other network, such as {rest[0]}")
            new = {name: _renamed(old, "electra") for name, old in mine.items()}
        case "albert" | "bert" as model_type:
            new = {name: _renamed(old, model_type) for name, old in kept.items()}
        case model_type:
            raise SettingError(
                "these are TensorFlow's names, and sijo knows those of ctrl, albert, bert, electra, not of "
                f"{model_type}; convert it with its own code first"
            )
    there = _modules(family, config)
    strange = sorted(name[:99] for name, to in new.items() if not {to, to.rpartition(".")[0]} & there)
    if strange:
        raise RefusedError(
            f"{len(strange)} of {len(new)} variables have no place in a {config.what} of this config: "
            f"{', '.join(strange[:6])}{', …' if len(strange) > 6 else ''}; is it another model, or of another size?"
        )
    first: dict[str, str] = {}
    if twice := sorted(name for name, to in new.items() if first.setdefault(to, name) != name):
        raise CheckpointError(f"{twice[0]} and {first[new[twice[0]]]} are both {new[twice[0]]}; copy it again")
    turned = {name for name in new if plain[name].endswith("kernel") and tensors[name].dim() == 2}
    return {to: tensors[name].T if name in turned else tensors[name] for name, to in new.items()}


def _modules(family: Family, config: Config) -> set[str]:
    """The present names of all that such a network with any of its heads is made of."""
    there = {family.prefix + theirs for theirs in (family.names(config) or {}).values()}
    for layout in family.layouts(config):
        there |= {*layout.names.values(), *layout.copies}
    return there | set(NAMES["unread"].get(family.model_type, ()))


def _renamed(name: str, model_type: str) -> str:
    for pattern, to in (*NAMES["renamed"][model_type], *NAMES["renamed"]["all"]):
        name = re.sub(pattern, to, name)
    return name.replace("/", ".")


def _electra(names: Mapping[str, str], part: str | None) -> dict[str, str]:
    """One of the two networks. The generator has no embeddings of its own but for their projection."""
    makes = {name: old for name, old in names.items() if old.startswith("generator")}
    spots = {name: old for name, old in names.items() if name not in makes}
    if part is None and not makes:
        part = "discriminator"
    if part not in PARTS:
        raise SettingError(
            f"this ELECTRA holds two networks; say which one with --part {' or --part '.join(PARTS)} "
            "(in Python: part=)"
        )
    if part == "discriminator":
        return spots
    own = {name: re.sub("^generator/", "electra/", old) for name, old in makes.items()}
    tables = {name: old for name, old in spots.items() if old.startswith("electra/embeddings/")}
    return own | {name: old for name, old in tables.items() if old not in own.values()}


def _ctrl(names: Mapping[str, str]) -> dict[str, str]:
    """CTRL's variables are numbered over the whole graph: within a block their order says what they are."""
    blocks: dict[int, list[str]] = {}
    made = {}
    for name, old in names.items():
        if numbered := re.search(r"(?:^|/)encoder_layer(?:_(\d{1,4}))?/", old):
            blocks.setdefault(int(numbered[1] or 0), []).append(name)
        else:
            made[name] = NAMES["ctrl"]["outside"].get(old.rpartition("/")[2], old)
    for n, block in blocks.items():
        ordered = sorted(block, key=lambda name: _numbers(names[name]))
        leaves = [names[name].rpartition("/")[2] for name in ordered]
        if leaves != ["beta", "gamma"] * 2 + ["bias", "kernel"] * 6:
            raise CheckpointError(
                f"block {n} of this CTRL has {len(block)} variables, {', '.join(sorted(block)[:3])}, …, which are "
                "not two norms and six maps, each with a bias; copy it again"
            )
        made |= {
            name: f"transformer.h.{n}.{what}" for name, what in zip(ordered, NAMES["ctrl"]["block"], strict=True)
        }
    return made


def _numbers(name: str) -> list[tuple[str, int]]:
    """Sorts as letters do, and numbers by their size; `dense` before `dense_1`.

    >>> sorted(["a/dense_10/bias", "a/dense_9/kernel", "a/dense/bias"], key=_numbers)
    ['a/dense/bias', 'a/dense_9/kernel', 'a/dense_10/bias']
    """
    words = (re.fullmatch(r"(.*?)_?(\d{0,9})", word, re.DOTALL) for word in name.split("/"))
    return [(word[1], int(word[2] or -1)) for word in words if word]
