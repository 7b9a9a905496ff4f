"""What every pipeline does: arguments looked at, one input, a list or a stream of them, and answers in order."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sijo.batching import groups
from sijo.checkpoints.locate import locate
from sijo.errors import SettingError, nearest
from sijo.tokenizers.tokenizer import Tokenizer

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model
    from sijo.inference.engine import Engine

PRECISIONS = {"auto": "exact", "float32": "exact", "float16": "fp16", "bfloat16": "bf16"}
"""What transformers calls a dtype, and what it is here."""
UNSET: Any = object()
"""Of an argument that is not given, where None says something."""


class Pipeline(ABC):
    """A model that is called with inputs and answers each, as transformers' pipeline of the same task does.

    model       a folder, an `org/name`, an opened model, or None for the built-in one
    tokenizer   None for the model's own; or a folder or `org/name` whose tokenizer takes its place
    batch_size  how many inputs of a stream are taken at a time; of a list all are, and read by their lengths
    run_by      what `engine_of` is given: device, precision, backend, threads
    defaults    arguments of calls, for calls that do not give them
    """

    task: ClassVar[str]
    """What it is called in `TASKS`."""
    arguments: ClassVar[tuple[str, ...]]
    """What a call may be given besides inputs."""

    def __init__(
        self,
        model: "str | Path | Model | None",
        tokenizer: "str | Path | Tokenizer | None" = None,
        *,
        batch_size: int = 1,
        run_by: Mapping[str, Any],
        defaults: Mapping[str, Any],
    ) -> None:
        self.batch_size, self._defaults = _rows(batch_size), dict(defaults)
        self._check(defaults)
        self.engine = self._opened(model, run_by)
        """What reads; its `model` says what it is."""
        self.tokenizer = self._cutter(tokenizer)
        """What cuts text for the network."""
        self._settings(**defaults)  # refused now, not at the first call

    def __call__(
        self, inputs: Any, *, batch_size: int | None = None, num_workers: int | None = None, **arguments: Any
    ) -> Any:
        """The answer of an input, a list of them for a list, or for a stream a stream, as its inputs come.

        batch_size   of this call
        num_workers  changes nothing: no other process prepares inputs
        arguments    those of the pipeline's task

        Raises SettingError for an argument that the task does not have, and what each task raises for inputs.
        """
        self._check(arguments)
        settings = self._settings(**{**self._defaults, **arguments})
        del num_workers
        if isinstance(inputs, str | dict):
            return self._alone(self._answers([inputs], settings)[0], inputs, arguments)
        if isinstance(inputs, list | tuple):
            return self._answers(list(inputs), settings)
        if not (hasattr(inputs, "__iter__") or hasattr(inputs, "__getitem__")):
            raise SettingError(f"inputs are of type {type(inputs).__name__}; give a text, or a list or stream")
        rows = self.batch_size if batch_size is None else _rows(batch_size)
        return self._stream(inputs, settings, rows)

    def _stream(self, inputs: Any, settings: Any, rows: int) -> Iterator[Any]:
        """The answers for inputs that are drawn as answers are."""
        if not hasattr(inputs, "__iter__"):  # a dataset of torch, by numbers
            inputs = (inputs[number] for number in range(len(inputs)))
        for group in groups(inputs, rows=rows, size=lambda given: 1):
            yield from self._answers(group, settings)

    def _alone(self, answer: Any, inputs: Any, arguments: Mapping[str, Any]) -> Any:
        """What is returned for an input that was given by itself."""
        return answer

    @abstractmethod
    def _opened(self, model: "str | Path | Model | None", run_by: Mapping[str, Any]) -> "Engine":
        """The model, ready to read."""

    _settings: Callable[..., Any]
    """What the arguments of a call mean; SettingError for what they cannot."""

    @abstractmethod
    def _answers(self, inputs: list[Any], settings: Any) -> list[Any]:
        """The answer of each input."""

    def _check(self, arguments: Iterable[str]) -> None:
        for name in arguments:
            if name not in self.arguments:
                raise SettingError(
                    f"the {self.task} pipeline has no argument {name}={nearest(name, self.arguments)}; it has "
                    f"{', '.join(self.arguments)}"
                )

    def _cutter(self, tokenizer: "str | Path | Tokenizer | None") -> Tokenizer:
        own = self.engine.model
        if tokenizer is None or (own.source is not None and str(tokenizer) == str(own.source)):
            return own.tokenizer
        if isinstance(tokenizer, Tokenizer):
            return tokenizer
        if not isinstance(tokenizer, str | Path):
            raise SettingError(
                f"tokenizer= is of type {type(tokenizer).__name__}, and sijo cuts text by its own; leave it out "
                "for the model's, or give the folder or org/name of one"
            )
        from sijo.checkpoints.describe import FolderDescription

        folder = locate(tokenizer)
        opened = Tokenizer.open(folder, FolderDescription(folder).family, max_length=own.tokenizer.max_length)
        if opened.largest_id >= own.architecture.vocab_size:
            raise SettingError(
                f"tokenizer={str(tokenizer)!r} numbers tokens up to {opened.largest_id}, and the model knows "
                f"{own.architecture.vocab_size}; leave it out for the model's own"
            )
        return opened


def _rows(batch_size: Any) -> int:
    if type(batch_size) is not int or batch_size < 1:
        raise SettingError(f"batch_size={batch_size!r} is no number of inputs; give 1 or more")
    return batch_size


def device_name(device: Any) -> str:
    """A device as transformers names it, by number, by name or as torch's, as sijo names it.

    >>> device_name(None), device_name(-1), device_name(1), device_name("cpu")
    ('auto', 'cpu', 'cuda:1', 'cpu')
    """
    if device is None:
        return "auto"
    if isinstance(device, int) and not isinstance(device, bool):
        return "cpu" if device < 0 else f"cuda:{device}"
    return str(device)


def precision_of(dtype: Any, precision: str | None = None) -> str:
    """A dtype as transformers names it, or as torch's, as sijo's precision.

    Raises SettingError for another, and for both at once.

    >>> precision_of("auto"), precision_of("bfloat16"), precision_of(None, "int8")
    ('exact', 'bf16', 'int8')
    """
    if precision is not None:
        if dtype not in (None, "auto"):
            raise SettingError(f"dtype={dtype} and precision={precision!r} say the same; give one of them")
        if precision == "auto":
            raise SettingError(
                "precision='auto' is measured on texts, and a pipeline has none when it opens its model; name one, "
                "such as bf16 or int8"
            )
        return precision
    name = str("auto" if dtype is None else dtype).removeprefix("torch.")
    if name not in PRECISIONS:
        raise SettingError(
            f"dtype={dtype!r} is none that sijo computes in; there are {', '.join(PRECISIONS)}, and precision= for "
            "int8 and int4"
        )
    return PRECISIONS[name]
