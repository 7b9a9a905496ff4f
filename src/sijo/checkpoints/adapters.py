"""LoRA adapters as peft saves them: a few small matrices to be added to a model's own.

Here is what they are and where their base model is, known without torch; `lora/merge.py` adds them. A path that an
adapter's file names is never followed.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sijo.checkpoints.locate import from_hub, locate
from sijo.checkpoints.lora.patterns import Pattern
from sijo.checkpoints.weight_files import has_weights, read_header
from sijo.errors import CheckpointError, RefusedError, SettingError, SijoError
from sijo.files.json_files import read_object
from sijo.files.paths import FolderFile, present
from sijo.models.family import what_would_do
from sijo.nn.architecture import LARGEST

CONFIG, TENSORS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
OTHERS = ("pytorch_adapter.bin", "head_config.json", "pytorch_model_head.bin", "adapter_fusion_config.json")
"""Files of the library `adapters`, whose modules stand between a network's layers."""
MODEL = "base_model.model."
"""What peft puts before the names of the network."""
TASKS = {
    "SEQ_CLS": "sequence-classification",
    "TOKEN_CLS": "token-classification",
    "QUESTION_ANS": "question-answering",
}
"""What a task_type says of the head, by our names."""
STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Ways to draw fresh matrices that leave the base model as it is; others change it too, by what is in no file."""
HARMLESS = {
    *("auto_mapping", "peft_version", "inference_mode", "lora_dropout", "megatron_core", "qalora_group_size"),
    *(
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "runtime_config",
        "parent_library",
        "peft_type",
    ),
}
"""Fields that change no number of a merged model, or only together with one that is refused."""
KINDS = {
    ".lora_A.weight": "A",
    ".lora_B.weight": "B",
    ".lora_B.bias": "bias of B",
    ".lora_embedding_A": "A of a table",
    ".lora_embedding_B": "B of a table",
    ".token_adapter.trainable_tokens_delta": "rows",
}
"""How the names of tensors end, and what they are."""
Content = TypeVar("Content")
Number = TypeVar("Number", int, float)
Rank = Annotated[int, Field(gt=0, le=LARGEST)]
Alpha = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Layer = Annotated[int, Field(ge=0, le=LARGEST)]


class LoraConfig(BaseModel):
    """The fields of an adapter_config.json that sijo acts on."""

    model_config = ConfigDict(extra="allow", strict=True)

    r: Rank = 8
    lora_alpha: Alpha = 8
    use_rslora: bool | None = False
    rank_pattern: dict[str, Rank] | None = None
    alpha_pattern: dict[str, Alpha] | None = None
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[Layer] | Layer | None = None
    layers_pattern: list[str] | str | None = None
    modules_to_save: list[str] | None = None
    bias: Literal["none", "all", "lora_only"] = "none"
    lora_bias: bool | None = False
    trainable_token_indices: list[Layer] | dict[str, list[Layer]] | None = None
    init_lora_weights: bool | str | None = True
    fan_in_fan_out: bool | None = False
    """For layers that keep their matrices turned round, which no family here has: peft ignores it for others."""
    task_type: str | None = None
    base_model_name_or_path: str | None = None
    revision: str | None = None

    def scale(self, module: str) -> tuple[int, float]:
        """The rank of a module's matrices, and what their product is multiplied by."""
        rank = _by_pattern(self.rank_pattern, module, self.r)
        alpha = _by_pattern(self.alpha_pattern, module, self.lora_alpha)
        return int(rank), alpha / (math.sqrt(rank) if self.use_rslora else rank)

    def targets(self, module: str) -> bool | None:
        """Whether a module is adapted; None where all linear maps are, whatever their names."""
        if _listed(self.exclude_modules, module):
            return False
        if any(f".{name}." in f".{module}." for name in self.modules_to_save or ()):
            return False
        if self.target_modules == "all-linear":
            return None
        if isinstance(self.target_modules, str) or not _listed(self.target_modules, module):
            return _listed(self.target_modules, module)
        layers = self.layers_to_transform
        if layers is None or layers == []:
            return True
        return _layer(module, self.layers_pattern) in ([layers] if isinstance(layers, int) else layers)

    def saves(self, module: str) -> bool:
        """Whether a module is kept whole, and takes the place of the base model's.

        It, or one that it is part of, ends in one of the names, as pre_classifier does in classifier.
        """
        parts = module.split(".")
        above = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
        return any(place.endswith(name) for place in above for name in self.modules_to_save or () if name)


@dataclass(frozen=True)
class Adapter:
    """An adapter in a folder."""

    folder: Path
    config: LoraConfig

    @property
    def file(self) -> FolderFile:
        """Its tensors."""
        return FolderFile(self.folder, TENSORS)

    @cached_property
    def shapes(self) -> dict[tuple[str, str], tuple[int, ...]]:
        """The shape of each tensor, by the module of the base model and what it is of it; see `named`."""
        return self.named(self._shapes())

    def named(self, tensors: Mapping[str, Content]) -> dict[tuple[str, str], Content]:
        """What is known of each tensor of the file, by the module it belongs to and what it is there.

        That is one of `KINDS`, or its own last name, such as weight, where it stands in place of the base model's.

        Raises CheckpointError for a tensor that is there twice, RefusedError for one of no kind that sijo knows.
        """
        contents: dict[tuple[str, str], Content] = {}
        for full, content in tensors.items():
            name = full.removeprefix(MODEL)
            if ".original_module." in name:
                continue  # the base model's, beside the one that takes its place
            ending = next((ending for ending in KINDS if name.endswith(ending)), None)
            if ending is None and re.search(r"lora_|\.token_adapter\.|magnitude|\.ia3_|hada_|vera_|oft_", name):
                raise RefusedError(
                    f"{self.file} holds {full}, which is of no plain LoRA; merge it with peft, and save the result"
                )
            if ending is None:
                module, _, kind = name.replace(".base_layer.", ".").rpartition(".")
                above, twin, below = module.partition(".modules_to_save")
                module = above + below
                nameless = above + re.sub(r"^\.[^.]+", "", below)  # it may stand by the adapter's name, "default"
                if twin and {f"{MODEL}{place}.{kind}" for place in (module, nameless)} & tensors.keys():
                    continue
            else:
                module, kind = name.removesuffix(ending), KINDS[ending]
            if (module, kind) in contents:
                raise CheckpointError(f"{self.file} holds {module}.{kind} twice, once as {full}; copy it again")
            contents[module, kind] = content
        return contents

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(entry.shape) for name, entry in read_header(self.file).items()}

    def base(self, wanted: str | Path | None) -> Path:
        """The folder of the model that it is added to.

        wanted  a folder or org/name by the user's choice; None for the weights beside the adapter, or else the
                org/name on the Hub that the adapter names

        Raises SettingError where nothing names it or two do, RefusedError where the adapter's file names a path, or
        what may be one.
        """
        if has_weights(self.folder):
            if wanted is not None:
                raise SettingError(
                    f"{self.folder} holds the model that its adapter belongs to, so base={str(wanted)!r} (--base) "
                    "would be another; leave it out, or move the adapter into a folder of its own"
                )
            return self.folder
        if wanted is not None:
            folder = locate(wanted)
        else:
            name = self.config.base_model_name_or_path
            if not name:
                raise SettingError(f"{self.folder} holds an adapter and not the model it belongs to; {WAY}")
            if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name, re.ASCII):
                raise RefusedError(
                    f"{self.folder / CONFIG} names its base model {name[:200]!r}, which is no org/name on the Hub, "
                    f"and a path in a file is never followed; {WAY}"
                )
            if any((place / name).is_dir() for place in (Path(), *self.folder.resolve().parents)):
                raise RefusedError(
                    f"{self.folder / CONFIG} names its base model {name!r}, and there is a folder of that name, so "
                    f"it may be no model of the Hub's, and a path in a file is never followed; {WAY}"
                )
            try:
                folder = from_hub(name, self.config.revision)
            except SijoError as error:
                raise type(error)(
                    f"{self.folder / CONFIG} names its base model {name!r}, as on the Hub: {error}. If that was a "
                    f"path where it was trained, {WAY}"
                ) from error
        if present(folder, CONFIG) is not None:
            raise RefusedError(
                f"{folder} holds an adapter too, and one is not put upon another; merge that one first: "
                f"sijo convert {folder} NEW"
            )
        return folder


WAY = "name its folder or org/name with base= (--base), or merge it once: sijo convert ADAPTER NEW --base BASE"


def adapter_in(folder: Path) -> Adapter | None:
    """The adapter in a folder, if there is one; RefusedError names the kind of one that cannot be merged."""
    config = present(folder, CONFIG)
    fields = {} if config is None else read_object(config)
    strange = next((name for name in OTHERS if present(folder, name) is not None), None)
    if strange or isinstance(fields.get("config"), dict | str):
        raise RefusedError(
            f"{folder / (strange or CONFIG)} belongs to an adapter of the library adapters, whose modules stand "
            "between layers and cannot be merged; choose a LoRA adapter of peft's, or a whole model"
        )
    if config is None:
        for name in (TENSORS, PICKLE):
            if present(folder, name) is not None:
                raise CheckpointError(
                    f"{folder} holds {name} and no {CONFIG}, which says what it is; copy it again"
                )
        return None
    _check(fields, config)
    try:
        settings = LoraConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise CheckpointError(
            f"{config}: {name} is {str(first['input'])[:80]!r}, and {what_would_do(first)}; copy it again"
        ) from None
    _check_mergeable(settings, config)
    if present(folder, TENSORS) is None:
        if present(folder, PICKLE) is not None:
            raise RefusedError(
                f"{folder} holds its adapter only as {PICKLE}, a pickle, which can run code when opened; ask for a "
                f"version with {TENSORS}, which peft writes unless told otherwise"
            )
        raise CheckpointError(f"{folder} has {CONFIG} and no {TENSORS}: it was copied in part; copy it again")
    return Adapter(folder, settings)


def adapters_below(folder: Path) -> list[str]:
    """The folders directly below that hold adapters."""
    return sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))


def _check(fields: Mapping[str, object], config: FolderFile) -> None:
    kind = fields.get("peft_type")
    if kind != "LORA":
        raise RefusedError(
            f"{config} is of an adapter of the kind {str(kind)[:60]!r}, and sijo merges LORA alone; "
            "merge it with peft where it can be, and save the result"
        )


def _check_mergeable(settings: LoraConfig, config: FolderFile) -> None:
    """Refuse by name what would change numbers in a way that sijo does not know."""
    for name, value in (settings.model_extra or {}).items():
        if value and name not in HARMLESS:
            raise RefusedError(
                f"{config} asks for {name}={str(value)[:80]}, which is no plain LoRA; merge it with peft, and save "
                "the result"
            )
    if settings.init_lora_weights not in STARTS:
        raise RefusedError(
            f"{config} asks for init_lora_weights={settings.init_lora_weights!r}, which changes the base model's "
            "own weights too; save it with peft as a plain LoRA (path_initial_model_for_weight_conversion)"
        )
    if not settings.target_modules and not settings.trainable_token_indices and not settings.modules_to_save:
        raise CheckpointError(f"{config} says of no module that it is adapted (target_modules); copy it again")
    for words in (settings.target_modules, settings.exclude_modules):
        if isinstance(words, str) and words != "all-linear":
            Pattern(words)
    layers = settings.layers_pattern
    named = [*(settings.rank_pattern or ()), *(settings.alpha_pattern or ())]
    for words in [*named, *([layers] if isinstance(layers, str) else layers or ())]:
        Pattern(words)


def _listed(names: Sequence[str] | str | None, module: str) -> bool:
    """Whether a module has one of these names, or ends in one; or matches a pattern."""
    if isinstance(names, str):
        return bool(names) and Pattern(names).matches(module)
    return any(module == name or module.endswith(f".{name}") for name in names or ())


def _by_pattern(patterns: Mapping[str, Number] | None, module: str, otherwise: Number) -> Number:
    """The value of the first pattern that the module's name ends in."""
    starts = [0, *(place + 1 for place, letter in enumerate(module) if letter == ".")]
    return next(
        (value for words, value in (patterns or {}).items() if Pattern(words).matches(module, starts)), otherwise
    )


def _layer(module: str, patterns: Sequence[str] | str | None) -> int | None:
    """The number of the layer that a module is part of: the first one in its name, behind a name of `patterns`."""
    parts = module.split(".")
    for place in range(len(parts) - 1):
        if not (parts[place].isascii() and parts[place].isdigit()):
            continue
        if not patterns and place >= 2:
            return int(parts[place])
        for words in [patterns] if isinstance(patterns, str) else patterns or ():
            before = ".".join(parts[:place])
            starts = [0, *(at + 1 for at, letter in enumerate(before) if letter == ".")]
            if Pattern(words).matches(before, starts):
                return int(parts[place])
    return None
