"""How a sentence encoder makes one vector of a text: the settings beside its weights.

Written by sentence-transformers: `modules.json` names the steps, `1_Pooling/config.json` the
pooling, `sentence_bert_config.json` the longest input.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sijo.errors import CheckpointError, RefusedError
from sijo.nn.pooling import Pooling

STEPS = ("Transformer", "Pooling", "Normalize")
MODES: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}


@dataclass(frozen=True, kw_only=True)
class SentenceSettings:
    """What was set when the encoder was trained."""

    pooling: Pooling = "mean"
    """How a vector is made of the tokens."""
    max_length: int | None = None
    """Longest input in tokens, special ones counted; None when only the network sets a limit."""
    lowercase: bool = False
    """Whether texts are put in lower case before the tokenizer sees them."""
    trained: bool = False
    """Whether the folder says it is a sentence encoder; if not, mean pooling is only a guess."""


def read_json(file: Path) -> Any:
    """The value in a JSON file of a checkpoint; CheckpointError when it is damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is not whole JSON ({error}); copy it again") from None


def read_object(file: Path) -> dict[str, Any]:
    """The fields of a JSON object in a checkpoint; CheckpointError when it is damaged or something else."""
    fields = read_json(file)
    if not isinstance(fields, dict):
        raise CheckpointError(f"{file} is not a JSON object; copy it again")
    return fields


def sentence_settings(folder: Path) -> SentenceSettings:
    """Read the sentence encoder's settings from a checkpoint folder, if it has any.

    The classes that modules.json names are never imported. Raises RefusedError for a step or a
    pooling that sijo does not have, since leaving it out would change the vectors.
    """
    if not (folder / "modules.json").is_file():
        return SentenceSettings()
    pooling: Pooling | None = None
    for step in _list(folder / "modules.json"):
        kind = str(step.get("type", "")).rpartition(".")[2]
        if kind not in STEPS:
            raise RefusedError(
                f"{folder / 'modules.json'} has the step {step.get('type')!r}; sijo knows {', '.join(STEPS)} "
                "and would give other vectors without it"
            )
        if kind == "Pooling":
            pooling = _pooling(inside(folder, str(step.get("path", ""))) / "config.json")
    if pooling is None:
        raise RefusedError(f"{folder / 'modules.json'} has no Pooling step, so it gives no sentence vectors")
    limits = folder / "sentence_bert_config.json"
    set_too = read_object(limits) if limits.is_file() else {}
    length = set_too.get("max_seq_length")
    if length is not None and (type(length) is not int or length < 1):
        raise CheckpointError(f"{limits} has max_seq_length {length!r}, not a number of tokens; copy it again")
    lowercase = set_too.get("do_lower_case") is True
    return SentenceSettings(pooling=pooling, max_length=length, lowercase=lowercase, trained=True)


def inside(folder: Path, name: str) -> Path:
    """The path of a name found in a checkpoint's file; RefusedError when it leads out of the folder."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise RefusedError(f"{folder} names {name!r}, which lies outside of it; this is not opened")
    return path


def _list(file: Path) -> list[dict[str, Any]]:
    steps = read_json(file)
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise CheckpointError(f"{file} is not a list of steps; copy it again")
    return steps


def _pooling(file: Path) -> Pooling:
    if not file.is_file():
        raise CheckpointError(f"{file} is absent, though modules.json names it; copy the folder again")
    settings = read_object(file)
    chosen = [key for key, on in settings.items() if key.startswith("pooling_mode_") and on is True]
    if len(chosen) != 1 or chosen[0] not in MODES:
        raise RefusedError(f"{file} asks for the pooling {chosen}; sijo has one of {list(MODES)}")
    return MODES[chosen[0]]
