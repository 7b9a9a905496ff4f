"""What decides a run, as one value: changed by path, saved beside the weights.

Every field is one sentence, which is also its help. An unknown name is refused, and the nearest known one named.
"""

import ast
import inspect
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from sijo.errors import SettingError, SijoError, nearest
from sijo.files.json_lines import json_leaves
from sijo.texts import check_text
from sijo.training.optimizers import OptimizerSettings
from sijo.training.schedules import ScheduleSettings
from sijo.training.trackers import Tracker

SettingsT = TypeVar("SettingsT", bound="Settings")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MOST = 1_000_000_000
"""No setting but a seed is a greater number."""
FREE = (
    "recipe",
    "run.save_every",
    "run.keep",
    "run.tracker",
    "run.strategy",
    "run.timeout",
    "run.recompute",
    "run.device",
)
"""Settings that a resumed run may have otherwise than it was begun: none of them changes what is learned."""


def duration(value: object) -> object:
    """Seconds from a number with a unit: "90s", "15m", "2h", "1.5d"; a bare number is seconds.

    >>> duration("2h"), duration(90)
    (7200.0, 90)
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", value)
    if match is None:
        raise SettingError(f"{value!r} is no duration; write it as 90s, 15m, 2h or 1.5d")
    return float(match[1]) * UNITS[match[2] or "s"]


MOST_BATCH = 1_000_000
Duration = Annotated[float, BeforeValidator(duration)]


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long, how much at once, how exactly, and what is kept."""

    steps: int = 1_000
    """Updates of the weights."""
    epochs: float | None = None
    """How often the text is read, which then decides `steps`; None, or steps set alone, to go by these."""
    max_time: Duration | None = None
    """A budget of wall-clock time, such as 15m or 2h, that shapes the schedule and ends the run; None for none."""
    batch: int = 32
    """Inputs an update is computed from, over all processes together."""
    micro_tokens: int = 4_096
    """Tokens read at once, padding included; a batch of more is read in pieces, with the same result."""
    seed: int = 0
    """Of all random numbers."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products in forward and backward passes, bfloat16 on a GPU or a processor that has it; weights, norms
    and sums stay float32."""
    recompute: bool = False
    """Whether activations are computed again for the gradient, for less memory and a third more work."""
    compile: bool = False
    """Whether torch.compile makes one program of each block, for a GPU; on processors it was slower and takes
    minutes."""
    clip: float | None = 1.0
    """The largest norm of a gradient; a longer one is scaled down to it. None for no bound."""
    average: float | None = None
    """Decay of a moving average of the weights, such as 0.999, which is then the model that is kept."""
    divergence: float = 2.0
    """The run stops once its loss, averaged over some 50 steps, is so many times the lowest it has been."""
    log_every: int = 10
    """Steps between two lines of metrics.jsonl."""
    save_every: int = 500
    """Steps between two checkpoints."""
    keep: int = 2
    """How many checkpoints are kept, the newest ones."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """Among several processes: each has all weights (ddp), or a share of them (fsdp)."""
    timeout: Duration = 600.0
    """How long processes wait for one another before the run stops."""
    tracker: Tracker = "none"
    """Where metrics go besides metrics.jsonl."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it is computed; auto takes a GPU if there is one."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "micro_tokens", "log_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise SettingError(f"run.{name}={getattr(self, name)} must be 1 or more")
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise SettingError(f"run.epochs={self.epochs} reads nothing; give a number above 0, or null")
        if self.max_time is not None and self.max_time <= 0:
            raise SettingError(f"run.max_time={self.max_time} seconds is no budget; give one such as 15m or 2h")
        if self.clip is not None and self.clip <= 0:
            raise SettingError(f"run.clip={self.clip} would leave no gradient; give a number above 0, or null")
        if self.average is not None and not 0 < self.average < 1:
            raise SettingError(f"run.average={self.average} is no decay; give a number between 0 and 1, or null")
        if self.timeout <= 0:
            raise SettingError(f"run.timeout={self.timeout} seconds waits for nobody; give one such as 10m")
        if self.batch > MOST_BATCH:
            raise SettingError(f"run.batch={self.batch} inputs are no batch; give up to {MOST_BATCH:,}")
        if self.divergence <= 1:
            raise SettingError(f"run.divergence={self.divergence} would stop every run; give a number above 1")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides every run, whatever it learns."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    """How the weights are moved."""
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    """How fast, when."""
    run: LoopSettings = field(default_factory=LoopSettings)
    """How long, how much at once."""
    overruled: ClassVar[Mapping[str, str]] = {"run.steps": "run.epochs"}
    """Settings that have no say unless another one, by its path, is null."""

    def with_steps(self, inputs: int) -> Self:
        """The same with `run.steps` set from `run.epochs`, for so many inputs."""
        if self.run.epochs is None:
            return self
        steps = max(1, math.ceil(self.run.epochs * inputs / self.run.batch))
        return replace(self, run=replace(self.run, steps=steps))

    def to_json(self) -> dict[str, Any]:
        """As JSON can say it; `read_settings` gives the same value again."""
        return dict(json.loads(json.dumps(asdict(self))))


def read_settings(values: Mapping[str, Any], kind: type[SettingsT]) -> SettingsT:
    """The settings in a JSON object; SettingError names the first that is invalid or unknown."""
    _must_be_sound(values)
    try:
        settings: SettingsT = _adapter(kind).validate_python(dict(values))  # type: ignore[arg-type]
    except ValidationError as error:
        errors = [
            (".".join(str(part) for part in fault["loc"] if not str(part)[:1].isupper()), fault)
            for fault in error.errors()
        ]
        for path, fault in errors:
            if fault["type"] == "unexpected_keyword_argument":
                _must_be_known(path, kind)
        path, fault = errors[0]
        cause = fault.get("ctx", {}).get("error")
        if isinstance(cause, SijoError):
            raise SettingError(str(cause)) from None
        given = json.dumps(fault["input"])
        given = given if len(given) <= 200 else f"{given[:200]}…"
        raise SettingError(f"{path}={given} cannot be: {fault['msg'].lower()}") from None
    _must_be_sound(asdict(settings))  # a word may have become a number, such as "Infinity"
    return settings


def with_changes(settings: SettingsT, changes: Iterable[str]) -> SettingsT:
    """The settings with some replaced, each given as "path=value".

    A value is JSON (0.5, true, null, [0, 0]), or else the word itself. What is set has its say: where another
    setting would overrule it, as `run.epochs` does `run.steps`, that one becomes null.

    >>> with_changes(Settings(), ["run.steps=50", "run.max_time=15m"]).run.max_time
    900.0
    >>> with_changes(Settings(), ["run.stpes=50"])
    Traceback (most recent call last):
    sijo.errors.SettingError: no setting 'run.stpes'; did you mean 'run.steps'?
    """
    values, known = settings.to_json(), setting_descriptions(type(settings))  # type: ignore[arg-type]
    for change in _with_a_say([*changes], settings.overruled):
        path, equals, text = change.partition("=")
        if not equals:
            raise SettingError(f"--set {change!r} has no value; write it as path=value, such as run.steps=1000")
        _must_be_known(path, type(settings))
        *parents, name = path.split(".")
        group = values
        for depth, parent in enumerate(parents):
            if depth and _by_name(path) in known and parent not in group:
                names = ", ".join(group) or "none"
                raise SettingError(f"no {parents[0]} {parent!r}; there are: {names}{nearest(parent, group)}")
            group = group[parent] if isinstance(group.get(parent), dict) else group.setdefault(parent, {})
            if group is None:
                raise SettingError(f"{path} cannot be set: this run has no {'.'.join(parents)}")
        try:
            group[name] = json.loads(text)
        except (ValueError, RecursionError):
            group[name] = text
    return read_settings(values, type(settings))


def _with_a_say(changes: list[str], overruled: Mapping[str, str]) -> list[str]:
    """Those changes, and null for what would leave one of them without a say; SettingError where both are set."""
    asked = dict(change.split("=", 1) for change in changes if "=" in change)
    for path, other in overruled.items():
        if path in asked and asked.get(other, "null") != "null":
            raise SettingError(f"{path} and {other} are both set, and one of them decides; set that one alone")
    return [*changes, *(f"{other}=null" for path, other in overruled.items() if path in asked)]


def setting_differences(earlier: Settings, now: Settings) -> list[str]:
    """What a resumed run has otherwise than it was begun, one phrase each, but for what may differ."""
    old, new = deciding_settings(earlier), deciding_settings(now)
    return [
        f"{path}={json.dumps(old.get(path))}, not {json.dumps(new.get(path))}"
        for path in sorted({*old, *new})
        if old.get(path) != new.get(path)
    ]


def deciding_settings(settings: Settings) -> dict[str, Any]:
    """Every setting that must stay as it is when a run goes on, by its path."""
    return {path: value for path, value in json_leaves(settings.to_json()) if path not in FREE}


@cache
def setting_descriptions(kind: type[Settings]) -> dict[str, str]:
    """Every setting by its path, with its sentence: what `--settings` prints; NAME stands for any name."""
    return dict(_described(kind))


def setting_sentence(path: str, kind: type[Settings]) -> str:
    """The sentence of a setting; "" where there is none of that path."""
    known = setting_descriptions(kind)  # type: ignore[arg-type]
    return known.get(path) or known.get(_by_name(path), "")


def _by_name(path: str) -> str:
    """A path with NAME in place of its second part, as settings are described that come by name."""
    parts = path.split(".")
    return ".".join([*parts[:1], "NAME", *parts[2:]])


def _described(kind: type, prefix: str = "") -> Iterable[tuple[str, str]]:
    sentences, hints = _sentences(kind), get_type_hints(kind)
    for field_ in fields(kind):
        yield prefix + field_.name, sentences.get(field_.name, "")
        hint = hints[field_.name]
        each = f"{prefix}{field_.name}." + ("NAME." if get_origin(hint) is Mapping else "")
        for inner in (hint, *get_args(hint)):
            if isinstance(inner, type) and is_dataclass(inner):
                yield from _described(inner, each)


@cache
def _sentences(kind: type) -> dict[str, str]:
    """The string below each field of a dataclass and of its bases, which pydantic's own reader leaves out."""
    sentences = {
        name: text for base in kind.__bases__ if is_dataclass(base) for name, text in _sentences(base).items()
    }
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, after in pairwise(body.body):
        match statement, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                sentences[name] = " ".join(text.split())
    return sentences


def _must_be_sound(values: Mapping[str, Any]) -> None:
    """Refuse what no setting is: a number that is not finite or absurdly large, half of a character."""
    for path, value in json_leaves(values):
        most = MOST if path.rpartition(".")[2] != "seed" else MOST**2
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, int | float) and not abs(item) <= most:
                raise SettingError(f"{path}={str(item)[:20]} is no number that it can be; give one up to {most:,}")
            if isinstance(item, str):
                check_text(item, path)


def _must_be_known(path: str, kind: type[Settings]) -> None:
    known = setting_descriptions(kind)  # type: ignore[arg-type]
    if path not in known and _by_name(path) not in known:
        near = nearest(path, known) or f"; those of {path.partition('.')[0]} are listed by --settings"
        raise SettingError(f"no setting {path!r}{near}")


@cache
def _adapter(kind: type[Settings]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
