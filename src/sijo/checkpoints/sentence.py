"""How a sentence encoder makes one vector of a text: the settings beside its weights.

Written by sentence-transformers: `modules.json` names the steps, `1_Pooling/config.json` the
pooling, `sentence_bert_config.json` the longest input.
"""

from dataclasses import dataclass
from pathlib import Path

from sijo.errors import CheckpointError, RefusedError
from sijo.files.json_files import read_json, read_object, write_json
from sijo.files.paths import present
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


def sentence_settings(folder: Path) -> SentenceSettings:
    """Read the sentence encoder's settings from a checkpoint folder, if it has any.

    The classes that modules.json names are never imported. Raises RefusedError for a step or a
    pooling that sijo does not have, since leaving it out would change the vectors.
    """
    listed = present(folder, "modules.json")
    if listed is None:
        return SentenceSettings()
    pooling: Pooling | None = None
    steps = read_json(listed)
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise CheckpointError(f"{listed} is not a list of steps; copy it again")
    for step in steps:
        kind = str(step.get("type", "")).rpartition(".")[2]
        if kind not in STEPS:
            raise RefusedError(
                f"{listed} has the step {step.get('type')!r}; sijo knows {', '.join(STEPS)} "
                "and would give other vectors without it"
            )
        if kind == "Pooling":
            pooling = _pooling(folder, f"{step.get('path', '')}/config.json")
    if pooling is None:
        raise RefusedError(f"{folder / 'modules.json'} has no Pooling step, so it gives no sentence vectors")
    limits = present(folder, "sentence_bert_config.json")
    fields = {} if limits is None else read_object(limits)
    length = fields.get("max_seq_length")
    if length is not None and (type(length) is not int or length < 1):
        raise CheckpointError(f"{limits} has max_seq_length {length!r}, not a number of tokens; copy it again")
    lowercase = fields.get("do_lower_case") is True
    return SentenceSettings(pooling=pooling, max_length=length, lowercase=lowercase, trained=True)


def write_sentence_settings(settings: SentenceSettings, folder: Path, *, width: int) -> None:
    """Write the settings of a trained sentence encoder as sentence-transformers reads them.

    width  of the vectors
    """
    if not settings.trained:
        return
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling")])
    ]
    modes = {name: mode == settings.pooling for name, mode in MODES.items()}
    limits = {"max_seq_length": settings.max_length, "do_lower_case": settings.lowercase}
    (folder / "1_Pooling").mkdir()
    write_json(folder / "modules.json", modules)
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": width, **modes})
    write_json(folder / "sentence_bert_config.json", limits)


def _pooling(folder: Path, name: str) -> Pooling:
    file = present(folder, name)
    if file is None:
        raise CheckpointError(f"{folder / name} is absent, though modules.json names it; copy the folder again")
    settings = read_object(file)
    chosen = [key for key, on in settings.items() if key.startswith("pooling_mode_") and on is True]
    if len(chosen) != 1 or chosen[0] not in MODES:
        raise RefusedError(f"{file} asks for the pooling {chosen}; sijo has one of {list(MODES)}")
    return MODES[chosen[0]]
