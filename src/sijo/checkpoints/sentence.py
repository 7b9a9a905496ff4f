"""How a sentence encoder makes one vector of a text: the settings beside its weights.

Written by sentence-transformers: `modules.json` names the steps, `1_Pooling/config.json` the pooling,
`sentence_bert_config.json` the longest input, `config_sentence_transformers.json` what stands before each text.
What stands behind the pooling is in `vectors/steps.py`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from sijo.checkpoints.locate import SENTENCE_CONFIGS
from sijo.checkpoints.vectors.steps import (
    KINDS,
    UnitLengthStep,
    VectorStep,
    learned,
    read_step,
    told,
    width_after,
    write_step,
)
from sijo.errors import CheckpointError, RefusedError, SettingError, nearest
from sijo.files.json_files import read_json, read_object, write_json
from sijo.files.paths import FolderFile, present
from sijo.nn.head_specs import POOLING_MODES, Pooling, PoolingMode, pooling_modes
from sijo.texts import half_character

TRANSFORMERS = ("Transformer", "BERT", "DistilBERT", "ALBERT")
"""The step that is the network; the last three as its first releases called it."""
STEPS = ("Transformer", "Pooling", *KINDS)
OLD_MODES: dict[str, PoolingMode] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""What releases before 5.4 call them, in the order in which they put their vectors one after another."""
SENTENCE_CONFIG = "sentence_bert_config.json"
NETWORKS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
"""For which it had a file of that kind each, in the order in which it looks for them: the first that says anything
counts."""
PROMPTS = "config_sentence_transformers.json"
READ_AS_TEXT: Mapping[str, object] = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
    "processing_kwargs": {},
    "tokenizer_args": {},
    "processor_kwargs": {},
    "config_args": {},
    "config_kwargs": {},
}
"""What the fields of a sentence_*_config.json must say, where they are there, for the states of all tokens to be
read as they are here."""
Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]
"""By what two vectors are compared, as sentence-transformers calls it."""
DENSE_MODELS = ("SentenceTransformer", "CrossEncoder")
"""The kinds of models of which one vector a text, or a head's answer, is asked."""
A_NAME = re.compile(r"[\w.-]+")
"""What a prompt's name looks like; what is put before a text ends in more than a word."""


@dataclass(frozen=True, kw_only=True)
class SentenceSettings:
    """What was set when the encoder was trained."""

    pooling: Pooling = "mean"
    """How a vector is made of the tokens; several ways give vectors that stand one after another."""
    max_length: int | None = None
    """Longest input in tokens, special ones counted; None when only the network sets a limit."""
    lowercase: bool = False
    """Whether texts are put in lower case before the tokenizer sees them."""
    trained: bool = False
    """Whether the folder says it is a sentence encoder; if not, mean pooling is only a guess."""
    steps: tuple[VectorStep, ...] = ()
    """What is done to the pooled vector, one after another."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """What may stand before a text, such as "query: ", by name."""
    default_prompt: str | None = None
    """The name of what stands there unless something else is asked for; None for nothing."""
    include_prompt: bool = True
    """Whether the tokens of what stands there are pooled with the text's."""
    dimensions: int | None = None
    """To how many numbers its vectors are cut, of a model that was trained for it (Matryoshka); None for no cut."""
    similarity: Similarity | None = None
    """By what its vectors were trained to be compared; None where that is not said."""

    @property
    def normalized(self) -> bool:
        """Whether its vectors are scaled to length 1 in the end."""
        return bool(self.steps) and isinstance(self.steps[-1], UnitLengthStep)

    @property
    def inner_steps(self) -> tuple[VectorStep, ...]:
        """The steps without a last scaling to length 1, which is done once a vector is cut, or left to who asks."""
        return self.steps[:-1] if self.normalized else self.steps

    @property
    def learned_steps(self) -> bool:
        """Whether a module behind the pooling has weights of its own."""
        return learned(self.steps)

    def prompt(self, wanted: str | None) -> str:
        """What is put before each text: the prompt of that name, or those words themselves; "" for nothing.

        wanted  None for the encoder's own choice

        What is one word of letters and digits is a name. Raises SettingError for a name that is not known.

        >>> settings = SentenceSettings(prompts={"query": "query: "}, default_prompt="query")
        >>> settings.prompt(None), settings.prompt("query"), settings.prompt("passage: "), settings.prompt("")
        ('query: ', 'query: ', 'passage: ', '')
        """
        if wanted is None:
            return "" if self.default_prompt is None else self.prompts[self.default_prompt]
        if wanted in self.prompts:
            return self.prompts[wanted]
        if half_character(wanted):
            raise SettingError(f"the prompt {wanted!r} holds half a surrogate, which is no text; write it anew")
        if A_NAME.fullmatch(wanted):
            raise SettingError(
                f"no prompt {wanted!r}{nearest(wanted, self.prompts)}; this model knows "
                f"{', '.join(self.prompts) or 'none by name'}. Words of your own end in a blank or a colon, as in "
                f'{wanted + ": "!r}; "" puts nothing before the texts'
            )
        return wanted

    def told(self) -> dict[str, Any]:
        """All of it as plain values, of weights the shapes alone."""
        values = {name: value for name, value in vars(self).items() if name != "steps"}
        return values | {"normalized": self.normalized, "steps": [told(step) for step in self.steps]}

    def pooled_width(self, hidden_size: int) -> int:
        """How many numbers the pooled vector has."""
        return len(pooling_modes(self.pooling)) * hidden_size

    def width(self, hidden_size: int) -> int:
        """How many numbers a vector has before it is cut."""
        return width_after(self.steps, self.pooled_width(hidden_size))


def network_folder(folder: Path) -> Path:
    """Where a model's network and tokenizer are: its folder, or one below that modules.json names (0_Transformer).

    Raises RefusedError for a name that may lead elsewhere.
    """
    listed = present(folder, "modules.json")
    steps = None if listed is None else read_json(listed)
    first = steps[0] if isinstance(steps, list) and steps else None
    path = first.get("path") if isinstance(first, dict) else None
    if not path:
        return folder
    below = folder / str(path)
    if (
        not isinstance(path, str)
        or not A_NAME.fullmatch(path)
        or path in (".", "..")
        or below.is_symlink()
        or not below.is_dir()
    ):
        raise RefusedError(
            f"{listed} keeps the network in {path!r:.100}, which is no folder beside it; copy all of it again"
        )
    return below


def sentence_settings(folder: Path, hidden_size: int) -> SentenceSettings:
    """Read the sentence encoder's settings from a checkpoint folder, if it has any.

    hidden_size  of its network

    The classes that modules.json names are never imported. Raises RefusedError for a step, a pooling or a setting
    that sijo does not have, since leaving it out would change the vectors.
    """
    listed = present(folder, "modules.json")
    if listed is None:
        return SentenceSettings()
    steps = read_json(listed)
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise CheckpointError(f"{listed} is not a list of steps; copy it again")
    kinds = [_kind(step, listed) for step in steps]
    fields, config = _sentence_config(network_folder(folder))
    if kinds == ["Transformer"] and fields.get("transformer_task") not in (None, READ_AS_TEXT["transformer_task"]):
        return SentenceSettings()  # a head's answers, as of a cross-encoder
    if "Pooling" not in kinds:
        raise RefusedError(f"{listed} has no Pooling step, so it gives no sentence vectors")
    _check_steps(steps, kinds, listed)
    for setting, must in READ_AS_TEXT.items():
        if setting in fields and (fields[setting] or must) != must:
            raise RefusedError(f"{config} asks for {setting}={fields[setting]!r}, which sijo does not know")
    length, lowercase = fields.get("max_seq_length"), fields.get("do_lower_case", False)
    if length is not None and (type(length) is not int or length < 1):
        raise CheckpointError(f"{config} has max_seq_length {length!r}, not a number of tokens; copy it again")
    if not isinstance(lowercase, bool | None):
        raise CheckpointError(f"{config} has do_lower_case {lowercase!r}, not true or false; copy it again")
    plain = SentenceSettings(
        max_length=length,
        lowercase=bool(lowercase),
        trained=True,
        **_pooling(folder, f"{steps[1].get('path', '')}/config.json"),
        **_prompts(folder),
    )
    return replace(plain, steps=tuple(_behind(folder, steps[2:], kinds[2:], plain.pooled_width(hidden_size))))


def write_sentence_settings(settings: SentenceSettings, folder: Path, *, width: int) -> None:
    """Write the settings of a trained sentence encoder as sentence-transformers reads them, old or new.

    width  of the network
    """
    if not settings.trained:
        return
    (folder / "1_Pooling").mkdir()
    steps = [("", "Transformer"), ("1_Pooling", "Pooling")]
    for number, step in enumerate(settings.steps, start=2):
        (fresh := folder / f"{number}_").mkdir()
        kind = write_step(step, fresh)
        steps.append((f"{number}_{kind}", kind))
        fresh.rename(folder / steps[-1][0])
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(steps)
    ]
    chosen = pooling_modes(settings.pooling)
    old = tuple(mode for mode in OLD_MODES.values() if mode in chosen) == chosen
    pooling: dict[str, object] = {"word_embedding_dimension": width}
    pooling |= {name: mode in chosen for name, mode in OLD_MODES.items()} if old else {"pooling_mode": list(chosen)}
    if not settings.include_prompt:
        pooling["include_prompt"] = False
    limits = {"max_seq_length": settings.max_length, "do_lower_case": settings.lowercase}
    write_json(folder / "modules.json", modules)
    write_json(folder / "1_Pooling/config.json", pooling)
    write_json(folder / SENTENCE_CONFIG, limits)
    named: dict[str, object] = {}
    if settings.prompts:
        named |= {"prompts": dict(settings.prompts), "default_prompt_name": settings.default_prompt}
    if settings.dimensions is not None:
        named["truncate_dim"] = settings.dimensions
    if settings.similarity is not None:
        named["similarity_fn_name"] = settings.similarity
    if named:
        write_json(folder / PROMPTS, {"model_type": "SentenceTransformer", **named})


def _kind(step: Mapping[str, Any], listed: FolderFile) -> str:
    """What a step does, by the name of its class; RefusedError for one that sijo does not know."""
    name = str(step.get("type", "")).rpartition(".")[2]
    kind = "Transformer" if name in TRANSFORMERS else name
    if kind not in STEPS:
        raise RefusedError(
            f"{listed} has the step {step.get('type')!r}; sijo knows {', '.join(STEPS)} "
            "and would give other vectors without it; choose a model of these"
        )
    return kind


def _check_steps(steps: Sequence[Mapping[str, Any]], kinds: Sequence[str], listed: FolderFile) -> None:
    """Refuse steps that are known one by one, but would do something else together or by another's code."""
    for step in steps:
        if str(step.get("type")).partition(".")[0] != "sentence_transformers":
            raise RefusedError(
                f"{listed} has the step {step.get('type')!r}, a class of its own, which sijo never runs; choose "
                "another model"
            )
    if kinds[:2] != ["Transformer", "Pooling"] or {"Transformer", "Pooling"} & {*kinds[2:]}:
        raise RefusedError(
            f"{listed} has the steps {', '.join(kinds)}; sijo knows a Transformer, then one Pooling, and behind it "
            f"{', '.join(KINDS)}, in any order"
        )


def _behind(
    folder: Path, steps: Sequence[Mapping[str, Any]], kinds: Sequence[str], width: int
) -> Iterator[VectorStep]:
    """The steps behind the pooling.

    width  of the pooled vector
    """
    for step, kind in zip(steps, kinds, strict=True):
        read = read_step(folder, str(step.get("path") or ""), kind, width)
        if read is not None:
            width = width_after([read], width)
            yield read


def _sentence_config(folder: Path) -> tuple[dict[str, Any], FolderFile]:
    """The fields of the first sentence_*_config.json that has any, and the file."""
    known = [f"sentence_{network}_config.json" for network in NETWORKS]
    others = sorted({path.name for path in folder.glob(SENTENCE_CONFIGS)} - set(known))
    for name in (*known, *others):
        if (file := present(folder, name)) and (fields := read_object(file)):
            return fields, file
    return {}, FolderFile(folder, SENTENCE_CONFIG)


def _pooling(folder: Path, name: str) -> dict[str, Any]:
    """What the configuration of the Pooling step says, by our names."""
    file = present(folder, name)
    if file is None:
        raise CheckpointError(f"{folder / name} is absent, though modules.json names it; copy the folder again")
    fields = read_object(file)
    flags = {key: on for key, on in fields.items() if key.startswith("pooling_mode_")}
    wanted = fields.get("pooling_mode", [OLD_MODES.get(key, key) for key in _in_old_order(flags) if flags[key]])
    listed = [wanted] if isinstance(wanted, str) else wanted
    include = fields.get("include_prompt", True)
    if not all(isinstance(value, bool) for value in (include, *flags.values())):
        raise CheckpointError(f"{file} has a switch that is neither true nor false; copy it again")
    if not isinstance(listed, list) or not all(mode in POOLING_MODES for mode in listed):
        raise RefusedError(f"{file} asks for the pooling {wanted!r}; sijo has {', '.join(POOLING_MODES)}")
    if not listed and "pooling_mode" in fields:
        raise CheckpointError(f"{file} names no pooling; copy it again")
    listed = listed or ["mean"]  # as sentence-transformers does where nothing is switched on
    return {"pooling": listed[0] if len(listed) == 1 else tuple(listed), "include_prompt": include}


def _in_old_order(flags: Mapping[str, object]) -> list[str]:
    return [*(key for key in OLD_MODES if key in flags), *(key for key in flags if key not in OLD_MODES)]


def _prompts(folder: Path) -> dict[str, Any]:
    """What may stand before a text, what does unless something else is asked for, and where vectors are cut."""
    file = present(folder, PROMPTS)
    fields = {} if file is None else read_object(file)
    prompts, default = fields.get("prompts") or {}, fields.get("default_prompt_name")
    if not isinstance(prompts, dict) or not isinstance(default, str | None):
        raise CheckpointError(f"{file} does not hold prompts by name, and the name of one; copy it again")
    prompts = {name: "" if words is None else words for name, words in prompts.items()}
    for name, words in prompts.items():
        if not isinstance(words, str) or half_character(name + words):
            raise CheckpointError(f"{file} has the prompt {name!r}: {words!r}, which is no text; copy it again")
    if default is not None and default not in prompts:
        raise RefusedError(
            f"{file} says default_prompt_name {default!r}, and its prompts are {', '.join(prompts) or 'none'}"
            f"{nearest(default, prompts)}; mend one of the two"
        )
    dimensions = fields.get("truncate_dim")
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise CheckpointError(f"{file} has truncate_dim {dimensions!r}, not a number of dimensions; copy it again")
    similarity, kind = fields.get("similarity_fn_name"), fields.get("model_type", DENSE_MODELS[0])
    if similarity not in (None, *get_args(Similarity)) or kind not in DENSE_MODELS:
        raise RefusedError(
            f"{file} is of a {kind} whose vectors are compared by {similarity!r}, and sijo knows one vector a "
            f"text ({DENSE_MODELS[0]}), compared by {', '.join(get_args(Similarity))}; choose such a model"
        )
    return {
        "prompts": prompts,
        "default_prompt": default,
        "dimensions": dimensions,
        "similarity": similarity,
    }
