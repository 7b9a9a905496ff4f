"""All that decides a run over raw text, as one value: named by a recipe, changed by path, saved beside the weights.

Every field is one sentence, which is also its help. An unknown name is refused, and the nearest known one named.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sijo.data.samples import SampleSettings
from sijo.errors import SettingError
from sijo.models import tokenizer_styles
from sijo.nn.architecture import LARGEST, Architecture
from sijo.objectives.language_teacher import Teaching
from sijo.objectives.registry import OBJECTIVES
from sijo.objectives.settings import ObjectiveSettings
from sijo.objectives.text_teacher import TextTeaching
from sijo.tokenizers.style import Kind
from sijo.training.settings import Settings

if TYPE_CHECKING:
    StyleName = str
else:
    StyleName = Literal[tuple(tokenizer_styles())]


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

    def __post_init__(self) -> None:
        if not 1 <= self.vocab_size <= LARGEST:
            raise SettingError(f"tokenizer.vocab_size={self.vocab_size} is no vocabulary; ask for 1 to {LARGEST:,}")


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
    name: str = "teacher"
    """What the journal calls it, where there are others beside it."""
    layers: tuple[int, ...] | None = None
    """Which of the teacher's layers, counted from 0, the student's begin with; None spreads them evenly, [] begins
    with fresh weights."""
    cache: str | None = None
    """A folder where the answers of all teachers are kept, so that another student of the same text costs no
    reading by them; those about tokens are rounded to bfloat16, and `top` logits are kept."""
    top: int = 32
    """Logits a token that are kept in the cache; all others count as one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top < 1:
            raise SettingError(f"teacher.top={self.top} keeps nothing; give 1 or more")


@dataclass(frozen=True, kw_only=True)
class BesideTeacher(TextTeaching):
    """A further teacher, of whole texts alone."""

    model: str | None = None
    """A folder or org/name; None for the built-in sentence encoder."""


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
    """A model to learn from beside the text; of several the one whose layers and tables the student begins with."""
    beside: Mapping[str, BesideTeacher] = field(default_factory=dict)
    """Further teachers, by the names that the journal has for them."""
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    """What it is taught."""
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    """The tokenizer to train where none is given."""
    data: SampleSettings = field(default_factory=SampleSettings)
    """How the corpus is cut."""

    def __post_init__(self) -> None:
        parts, specs = self.objective.parts, self.objective.specs
        alone = next((part for part, spec in specs.items() if len(spec.networks) > 1), None)
        if not parts and self.teacher is None:
            raise SettingError("objective.parts=[] must name at least one objective, unless a teacher is given")
        if self.teacher is not None and (len(parts) > 1 or not all(spec.over_tokens for spec in specs.values())):
            beside = " or ".join(part for part, spec in OBJECTIVES.items() if spec.over_tokens)
            raise SettingError(
                f"objective.parts={list(parts)}: beside a teacher the objective is {beside} alone, or none"
            )
        if alone is not None and self.generator is None:
            raise SettingError(f"objective.parts=[{alone!r}] needs a generator; give its sizes as generator.…")
        self._check_names()
        for part, spec in specs.items():
            if spec.reads == "left" and self.model.reads != "left":
                raise SettingError(
                    f'objective {part} asks for the next token, so the network must not see it: model.reads="left"'
                )
        if parts and self.model.reads == "left" and any(spec.reads != "left" for spec in specs.values()):
            left = " or ".join(part for part, spec in OBJECTIVES.items() if spec.reads == "left")
            raise SettingError(
                f'a network that reads to the left (model.reads="left") learns {left}, not ' + ", ".join(parts)
            )
        if self.start.train == "codes" and (self.start.model is None or alone or self.teacher is not None):
            among = " or ".join(part for part, spec in OBJECTIVES.items() if len(spec.networks) > 1)
            raise SettingError(
                'start.train="codes" moves the rows of new control codes in a model that is gone on from: give '
                f"start.model, and neither {among} nor a teacher"
            )
        for part, spec in specs.items():
            if spec.two_segments and self.data.segments != "two":
                raise SettingError(f'objective {part} needs inputs of two segments: data.segments="two"')
        for name, network in (("model", self.model), ("generator", self.generator)):
            places = None if network is None else network.places
            if places is not None and places < self.data.length:
                raise SettingError(
                    f"data.length={self.data.length} is longer than the {places} places of {name}; shorten it, or "
                    f"set {name}.positions.count"
                )

    def _check_names(self) -> None:
        """Refuse teachers that a path of settings or a line of the journal could not name."""
        if self.beside and self.teacher is None:
            raise SettingError(f"beside={sorted(self.beside)}: there is no teacher that these could be beside")
        for name in self.beside:
            if not re.fullmatch(r"[\w-]+", name):
                raise SettingError(f"the teacher's name {name!r} may have letters, digits, _ and - alone")
        if self.teacher is not None and self.teacher.name in self.beside:
            raise SettingError(
                f"two teachers are called {self.teacher.name!r}; give each a name of its own: NAME=MODEL"
            )
