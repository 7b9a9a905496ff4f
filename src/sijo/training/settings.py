"""All that decides a run, as one value: named by a recipe, changed by path, saved beside the weights.

Every field is one sentence, which is also its help. A name nobody knows is refused with the nearest one.
"""

import ast
import inspect
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar, get_args, get_type_hints

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from sijo.data.samples import SampleSettings
from sijo.errors import SettingError, SijoError, nearest
from sijo.models import tokenizer_styles
from sijo.nn.architecture import Architecture
from sijo.objectives.distillation import Teaching
from sijo.objectives.masking import Masking
from sijo.objectives.rtd import Sharing
from sijo.tokenizers.style import Kind
from sijo.training.journal import Tracker
from sijo.training.optimizers import OptimizerSettings
from sijo.training.schedules import ScheduleSettings

if TYPE_CHECKING:
    StyleName = str
else:
    StyleName = Literal[tuple(tokenizer_styles())]
SettingsT = TypeVar("SettingsT", bound="Settings")
Part = Literal["mlm", "sop", "clm", "rtd"]
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
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


def duration(given: object) -> object:
    """Seconds from a number with a unit: "90s", "15m", "2h", "1.5d"; a bare number is seconds.

    >>> duration("2h"), duration(90)
    (7200.0, 90)
    """
    if not isinstance(given, str):
        return given
    said = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", given)
    if said is None:
        raise SettingError(f"{given!r} is no duration; write it as 90s, 15m, 2h or 1.5d")
    return float(said[1]) * UNITS[said[2] or "s"]


Duration = Annotated[float, BeforeValidator(duration)]


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    """The tokenizer that is trained on the corpus where none is given."""

    kind: Kind = "wordpiece"
    """How words are cut."""
    family: StyleName = "bert"
    """Whose special tokens and rules it has."""
    vocab_size: int = 30_522
    """Tokens it has at most."""
    cased: bool = False
    """Whether capital letters are told from small ones, where the family lets one choose."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """What the network is taught."""

    parts: tuple[Part, ...] = ("mlm",)
    """Which objectives: mlm, sop and mlm together, clm, or rtd by itself."""
    masking: Masking = field(default_factory=lambda: Masking(choice="token"))
    """Which tokens are hidden, and what stands in their place."""
    sharing: Sharing = "tied"
    """Of a generator's tables with its discriminator: tied (ELECTRA), gdes (DeBERTaV3) or none."""
    weight: float = 50.0
    """Of the discriminator's loss beside the generator's."""

    def __post_init__(self) -> None:
        if len(set(self.parts)) != len(self.parts):
            raise SettingError(f"objective.parts={list(self.parts)} must name each objective once")
        for alone in ("rtd", "clm"):
            if alone in self.parts and len(self.parts) > 1:
                raise SettingError(
                    f"objective.parts={list(self.parts)}: {alone} is learned by itself; only mlm and sop go "
                    "together"
                )


@dataclass(frozen=True, kw_only=True)
class StartSettings:
    """Weights to go on from, in place of fresh ones; the architecture is then theirs."""

    model: str | None = None
    """A folder or org/name; for rtd the discriminator's."""
    generator: str | None = None
    """The generator's."""
    train: Literal["all", "codes"] = "all"
    """What moves: all weights, or only the rows of control codes that `model` did not know."""


@dataclass(frozen=True, kw_only=True)
class TeacherSettings(Teaching):
    """A model to learn from, and what of it."""

    model: str | None = None
    """A folder or org/name; None for the built-in sentence encoder."""
    layers: tuple[int, ...] | None = None
    """Which of the teacher's layers, counted from 0, the student's begin with; None spreads them evenly, [] begins
    with fresh weights."""
    cache: str | None = None
    """A folder where the teacher's answers are kept, so that another student of the same text costs no reading by
    the teacher; they are rounded to bfloat16, and `top` logits are kept."""
    top: int = 32
    """Logits a token that are kept in the cache; all others count as one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top < 1:
            raise SettingError(f"teacher.top={self.top} keeps nothing; give 1 or more")


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long, how much at once, how exactly, and what is kept."""

    steps: int = 1_000
    """Updates of the weights."""
    epochs: float | None = None
    """How often the text is read, which then decides `steps`; None to go by these."""
    max_time: Duration | None = None
    """A budget of wall-clock time, such as 15m or 2h, that shapes the schedule and ends the run; None for none."""
    batch: int = 32
    """Inputs an update is computed from, over all processes together."""
    micro_tokens: int = 4_096
    """Tokens read at once, padding included; a batch of more is read in pieces, with the same result."""
    seed: int = 0
    """Start of all chance."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products in forward and backward passes; weights and sums stay float32."""
    recompute: bool = False
    """Whether activations are computed again for the gradient, for less memory and a third more work."""
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
        if self.divergence <= 1:
            raise SettingError(f"run.divergence={self.divergence} would stop every run; give a number above 1")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides every run, whatever it learns."""

    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    """How the weights are moved."""
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    """How fast, when."""
    run: LoopSettings = field(default_factory=LoopSettings)
    """How long, how much at once."""

    def lasting(self, inputs: int) -> Self:
        """The same with `run.steps` for the epochs that are asked for, over so many inputs."""
        if self.run.epochs is None:
            return self
        steps = max(1, math.ceil(self.run.epochs * inputs / self.run.batch))
        return replace(self, run=replace(self.run, steps=steps))

    def to_json(self) -> dict[str, Any]:
        """As JSON can say it; `read_settings` gives the same value again."""
        said: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return said


@dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """All that decides a run over raw text, but the text."""

    recipe: str = ""
    """The recipe it was begun from."""
    model: Architecture
    """The network, or for rtd the discriminator; the tokenizer decides its `vocab_size`."""
    generator: Architecture | None = None
    """For rtd: the network that guesses."""
    start: StartSettings = field(default_factory=StartSettings)
    """Weights to go on from."""
    teacher: TeacherSettings | None = None
    """A model to learn from beside the text."""
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    """What it is taught."""
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    """The tokenizer to train where none is given."""
    data: SampleSettings = field(default_factory=SampleSettings)
    """How the corpus is cut."""

    def __post_init__(self) -> None:
        parts = self.objective.parts
        if not parts and self.teacher is None:
            raise SettingError("objective.parts=[] must name at least one objective, unless a teacher is given")
        if self.teacher is not None and len(parts) + ("rtd" in parts) + ("sop" in parts) > 1:
            raise SettingError(
                f"objective.parts={list(parts)}: beside a teacher the objective is mlm or clm alone, or none"
            )
        if "rtd" in parts and self.generator is None:
            raise SettingError("objective.parts=['rtd'] needs a generator; give its sizes as generator.…")
        if "clm" in parts and self.model.reads != "left":
            raise SettingError(
                'objective clm asks for the next token, so the network must not see it: model.reads="left"'
            )
        if parts and "clm" not in parts and self.model.reads == "left":
            raise SettingError(
                'a network that reads to the left (model.reads="left") learns clm, not ' + ", ".join(parts)
            )
        if self.start.train == "codes" and (self.start.model is None or "rtd" in parts or self.teacher is not None):
            raise SettingError(
                'start.train="codes" moves the rows of new control codes in a model that is gone on from: give '
                "start.model, and neither rtd nor a teacher"
            )
        if "sop" in parts and self.data.segments != "two":
            raise SettingError('objective sop needs inputs of two segments: data.segments="two"')
        for name, network in (("model", self.model), ("generator", self.generator)):
            places = None if network is None else network.places
            if places is not None and places < self.data.length:
                raise SettingError(
                    f"data.length={self.data.length} is longer than the {places} places of {name}; shorten it, or "
                    f"set {name}.positions.count"
                )


def read_settings(said: Mapping[str, Any], kind: type[SettingsT] = RunSettings) -> SettingsT:  # type: ignore[assignment]
    """The settings in JSON's words; SettingError names the first that cannot be, or that nobody knows."""
    for path in setting_paths(said):
        _known(path, kind)
    try:
        settings: SettingsT = _adapter(kind).validate_python(dict(said))  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, SijoError):
            raise SettingError(str(cause)) from None
        path = ".".join(str(part) for part in first["loc"] if not str(part)[:1].isupper())
        raise SettingError(f"{path}={json.dumps(first['input'])} cannot be: {first['msg'].lower()}") from None
    return settings


def with_changes(settings: SettingsT, changes: Iterable[str]) -> SettingsT:
    """The settings with some replaced, each given as "path=value".

    A value is JSON (0.5, true, null, [0, 0]), or else the word itself.

    >>> from sijo.jobs.recipes import RECIPES
    >>> with_changes(RECIPES["bert-tiny"].settings, ["run.steps=50", "run.max_time=15m"]).run.max_time
    900.0
    >>> with_changes(RECIPES["bert-tiny"].settings, ["run.stpes=50"])
    Traceback (most recent call last):
    sijo.errors.SettingError: no setting 'run.stpes'; did you mean 'run.steps'?
    """
    said = settings.to_json()
    for change in changes:
        path, given, value = change.partition("=")
        if not given:
            raise SettingError(f"--set {change!r} has no value; write it as path=value, such as run.steps=1000")
        _known(path, type(settings))
        *before, last = path.split(".")
        at = said
        for part in before:
            at = at[part] if isinstance(at.get(part), dict) else at.setdefault(part, {})
            if at is None:
                raise SettingError(f"{path} cannot be set: this run has no {'.'.join(before)}")
        try:
            at[last] = json.loads(value)
        except json.JSONDecodeError:
            at[last] = value
    return read_settings(said, type(settings))


def setting_differences(earlier: Settings, now: Settings) -> list[str]:
    """What a resumed run has otherwise than it was begun, one phrase each, but for what may differ."""
    old, new = dict(setting_leaves(earlier.to_json())), dict(setting_leaves(now.to_json()))
    return [
        f"{path}={json.dumps(old.get(path))}, not {json.dumps(new.get(path))}"
        for path in sorted({*old, *new})
        if old.get(path) != new.get(path) and path not in FREE
    ]


def setting_leaves(said: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in nested objects, by its path."""
    if isinstance(said, dict) and said:
        for name, value in said.items():
            yield from setting_leaves(value, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, said


def setting_paths(said: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Every path in nested objects, inner ones included."""
    found = []
    for name, value in said.items():
        found.append(prefix + name)
        if isinstance(value, Mapping):
            found += setting_paths(value, f"{prefix}{name}.")
    return found


@cache
def setting_descriptions(kind: type[Settings] = RunSettings) -> dict[str, str]:
    """Every setting by its path, with its sentence: what `--settings` prints."""
    return dict(_described(kind))


def _described(kind: type, prefix: str = "") -> Iterable[tuple[str, str]]:
    sentences = _sentences(kind)
    hints = get_type_hints(kind)
    for one in fields(kind):
        inner = _dataclasses_in(hints[one.name])
        yield prefix + one.name, sentences.get(one.name, "")
        for other in inner:
            yield from _described(other, f"{prefix}{one.name}.")


def _dataclasses_in(hint: Any) -> list[type]:
    """The dataclasses that a value may be of."""
    kinds = (hint, *get_args(hint))
    return [kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)]


@cache
def _sentences(kind: type) -> dict[str, str]:
    """The string below each field of a dataclass, and of those it is a kind of."""
    found = {name: said for base in kind.__bases__ if is_dataclass(base) for name, said in _sentences(base).items()}
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    for one, after in pairwise(body.body):
        match one, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(sentence))):
                found[name] = " ".join(sentence.split())
    return found


def _known(path: str, kind: type[Settings]) -> None:
    known = setting_descriptions(kind)  # type: ignore[arg-type]
    if path not in known:
        near = nearest(path, known) or f"; those of {path.partition('.')[0]} are listed by --settings"
        raise SettingError(f"no setting {path!r}{near}")


@cache
def _adapter(kind: type[Settings]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
