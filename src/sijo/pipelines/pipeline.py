"""`sijo.pipeline`: a task and a model, and what transformers' function of that name would have given."""

from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, cast

from sijo.checkpoints.locate import locate
from sijo.errors import SettingError, nearest
from sijo.pipelines.base import Pipeline, device_name, precision_of
from sijo.tokenizers.tokenizer import Tokenizer

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model

TASKS = {
    "zero-shot-classification": "sijo.pipelines.zero_shot.ZeroShotClassificationPipeline",
    "text-classification": "sijo.pipelines.text_classification.TextClassificationPipeline",
    "feature-extraction": "sijo.pipelines.feature_extraction.FeatureExtractionPipeline",
}
"""By name, where its class is."""
ALIASES = {"sentiment-analysis": "text-classification"}
ELSEWHERE = {
    "token-classification": "sijo.predict(model, texts) gives tags and entities",
    "ner": "sijo.predict(model, texts) gives tags and entities",
    "question-answering": "sijo.predict(model, [(question, text), …]) gives answers",
    "text-generation": "sijo.generate(model, prompt) writes",
    "fill-mask": 'the head of sijo.load(model, head="mlm") tells what stands in a gap (docs/coming-from.md), and '
    'sijo.ZeroShotClassifier(labels, model, scorer="cloze") labels by it',
}
"""Tasks of transformers' pipelines that are answered by another call, and by which."""
NOT_TEXT = "sijo reads text alone"
HUB_KEY = "the Hub's token is read from HF_TOKEN, or is that of hf auth login"
SAY_NOTHING: dict[str, tuple[tuple[object, ...], str]] = {
    "use_fast": ((True,), "there is one tokenizer a model, the fast one"),
    "framework": (("pt",), "sijo computes by torch or by ONNX: backend="),
    "trust_remote_code": ((False,), "sijo runs no code of a model's, and opens the families that it knows without"),
    "config": ((), "a model's config.json is read where its weights are: change it there"),
    "token": ((), HUB_KEY),
    "use_auth_token": ((), HUB_KEY),
    "device_map": ((), "a model is on one device: device="),
    "model_kwargs": (({},), "dtype=, device= and revision= are given by themselves"),
    "feature_extractor": ((), NOT_TEXT),
    "image_processor": ((), NOT_TEXT),
    "processor": ((), NOT_TEXT),
    "binary_output": ((False,), "answers are plain values: numpy.asarray(answer) makes an array of them"),
}
"""Arguments of transformers' that change nothing, with what they may say besides None, and why nothing else."""


def pipeline(
    task: str,
    model: "str | Path | Model | None" = None,
    *,
    tokenizer: "str | Path | Tokenizer | None" = None,
    revision: str | None = None,
    device: Any = None,
    dtype: Any = None,
    torch_dtype: Any = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    precision: str | None = None,
    backend: str = "auto",
    threads: int | None = None,
    base: str | Path | None = None,
    entailment_column: str | int | None = None,
    contradiction_column: str | int | None = None,
    **arguments: Any,
) -> Pipeline:
    """What answers texts as transformers' pipeline of that task does, with the same calls.

    task         zero-shot-classification, text-classification (also called sentiment-analysis), feature-extraction
    model        a folder, an `org/name`, an opened model, or None for the built-in one
    tokenizer    None for the model's own; or the folder or `org/name` of another
    revision     branch, tag or commit on the Hub
    device       a name, a number of a CUDA device, -1 for the processor; None for what there is
    dtype        "auto" or None for float32, float16, bfloat16; torch_dtype is its older name
    batch_size   how many inputs of a stream are taken at a time, 1 by default; lists are read by lengths, whatever
                 it says
    num_workers  changes nothing: no other process prepares inputs
    arguments    defaults for the arguments of calls

    `precision`, `backend`, `threads` and `base` are those of `sijo.encode`; `entailment_column` and
    `contradiction_column`, for a head whose columns have no such names, those of `ZeroShotClassifier`. Scores are
    the same to 1e-5; a text longer than the model needs truncation=True where transformers' needs it.

    Raises SettingError for a task that is not here, and for an argument that is not known, by its name.

    >>> labels = pipeline("zero-shot-classification")
    >>> labels("The striker scored twice.", candidate_labels=["sport", "tax"])["labels"]
    ['sport', 'tax']
    """
    name = ALIASES.get(task, task)
    if name not in TASKS:
        known = (*TASKS, *ALIASES)
        hint = f": {ELSEWHERE[task]}" if task in ELSEWHERE else nearest(str(task), (*known, *ELSEWHERE))
        raise SettingError(f"no pipeline for the task {task!r}{hint}; there are {', '.join(known)}")
    _take_out_what_says_nothing(arguments)
    del num_workers
    if dtype is not None and torch_dtype is not None:
        raise SettingError("dtype= and torch_dtype= are one argument; give dtype=")
    run_by: dict[str, Any] = {
        "device": device_name(device),
        "precision": precision_of(torch_dtype if dtype is None else dtype, precision),
        "backend": backend,
        "threads": threads,
        "base": base,
        **_columns(name, entailment_column=entailment_column, contradiction_column=contradiction_column),
    }
    if isinstance(model, str | Path):
        tokenizer = None if isinstance(tokenizer, str | Path) and str(tokenizer) == str(model) else tokenizer
        model = locate(model, revision=revision)
    elif model is not None and not hasattr(model, "architecture"):
        raise SettingError(
            f"model= is of type {type(model).__name__}, and sijo opens models itself; give its folder, its "
            "org/name, or what sijo.load gives"
        )
    elif revision is not None:
        raise SettingError(f"revision={revision!r} is of a model that is named as org/name; name one")
    kind = cast(type[Pipeline], resolve_name(TASKS[name]))
    return kind(
        model,
        tokenizer,
        batch_size=1 if batch_size is None else batch_size,
        run_by=run_by,
        defaults=arguments,
    )


def _take_out_what_says_nothing(arguments: dict[str, Any]) -> None:
    """Take those of SAY_NOTHING out; SettingError for one that says something."""
    for argument, (allowed, why) in SAY_NOTHING.items():
        if (value := arguments.pop(argument, None)) is not None and value not in allowed:
            told = f"={value!r:.100}" if isinstance(value, bool | int) else "="  # never a token
            raise SettingError(f"{argument}{told} is nothing that this pipeline can do: {why}. Leave it out")


def _columns(task: str, **columns: str | int | None) -> dict[str, str | int]:
    """Those that were named; SettingError for a task that has none."""
    named = {column: value for column, value in columns.items() if value is not None}
    if named and task != "zero-shot-classification":
        raise SettingError(f"{next(iter(named))}= is for zero-shot-classification, and not for {task}")
    return named
