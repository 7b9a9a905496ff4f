"""What sijo must know of a published family, as data: config fields, heads, and what tensors are called."""

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sijo.errors import RefusedError, SettingError
from sijo.models.labels import LabelName, column_names
from sijo.nn.architecture import LARGEST, MOST_LAYERS, Architecture
from sijo.nn.head_specs import POOLER, ClassifierHeadSpec, HeadSpec
from sijo.tokenizers.style import TokenizerStyle

Size = Annotated[int, Field(gt=0, le=LARGEST)]
Layers = Annotated[int, Field(gt=0, le=MOST_LAYERS)]
DropoutShare = Annotated[float, Field(ge=0, lt=1)]
Eps = Annotated[float, Field(gt=0, lt=1)]
Names = Mapping[str, str]
"""Our module, or our tensor, and the published one; `{n}` stands for the number of a block."""
HeadMaker = Callable[[Any], HeadSpec]
"""From the config to the head."""

MOST_SHOWN = 200
"""Characters of a value that an error shows."""

HeadName = Literal[
    "mlm",
    "lm",
    "rtd",
    "sop",
    "sequence-classification",
    "token-classification",
    "question-answering",
    "multiple-choice",
    "one-pass",
]
HEADS: tuple[str, ...] = get_args(HeadName)
CLASSES = {
    "mlm": "ForMaskedLM",
    "lm": "LMHeadModel",
    "rtd": "ForPreTraining",
    "sop": "ForPreTraining",
    "sequence-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "multiple-choice": "ForMultipleChoice",
    "one-pass": "Model",
    POOLER: "Model",
}
"""How the classes in transformers end, which config.json names under `architectures`."""

OLD_ACTIVATIONS = {
    "gelu_python": "gelu",
    "gelu_accurate": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_python_tanh": "gelu_new",
}
"""Other names in transformers of x (1 + erf(x / sqrt 2)) / 2, and of its tanh approximation."""


def what_would_do(error: Mapping[str, Any]) -> str:
    """What a field must be, by the first error that its check gave.

    >>> what_would_do({"msg": "Input should be False"}), what_would_do({"msg": "Field required"})
    ('it must be False', 'it must be there')
    """
    words = {"Field required": "it must be there", "Input should have": "it must have"}
    words |= {"Input should be": "it must be", "it must be a valid ": "it must be of the kind "}
    told = str(error["msg"])
    for theirs, ours in words.items():
        told = told.replace(theirs, ours)
    return told


class Config(BaseModel):
    """The fields of a config.json that sijo acts on; every other field is left unread.

    A field with one possible value is there to refuse the others by name.
    """

    model_config = ConfigDict(extra="ignore", strict=True)
    what: ClassVar[str]
    plain: ClassVar[Names] = {}
    """Fields that can be read off an `Architecture`, and what they are called there."""
    aliases: ClassVar[Names] = {}
    """Other names under which transformers takes a field, and the field's own, which goes before."""

    initializer_range: Annotated[float, Field(ge=0, le=10)] = 0.02
    tie_word_embeddings: bool = True
    num_labels: Annotated[int, Field(gt=0, le=1_000_000)] | None = None
    id2label: dict[str, LabelName] | None = None
    label2id: dict[str, int | str] | None = None

    @classmethod
    def read(cls, fields: Mapping[str, object]) -> Any:
        """The config in these fields; RefusedError names the first one that sijo cannot act on."""
        fields = {cls.aliases[name]: value for name, value in fields.items() if name in cls.aliases} | dict(fields)
        for name in cls.model_fields.keys() & fields.keys():
            if isinstance(value := fields[name], str) and value in OLD_ACTIVATIONS:
                fields[name] = OLD_ACTIVATIONS[value]
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            given = repr(first["input"])
            given = given if len(given) <= MOST_SHOWN else f"{given[:MOST_SHOWN]}…"
            fault = f"is {given}" if str(first["loc"][0]) in fields else "is missing"
            raise RefusedError(
                f"the config's {name} {fault}, which no {cls.what} of sijo's can have: {what_would_do(first)}; "
                "choose another model, or mend config.json where it is wrong"
            ) from None

    def architecture(self) -> Architecture:
        """The network that the config describes."""
        raise NotImplementedError

    @classmethod
    def fields(cls, architecture: Architecture, heads: Mapping[str, HeadSpec]) -> dict[str, object]:
        """The other way: what to write in a config.json. Read again, it may turn out to say something else."""
        return {theirs: attrgetter(ours)(architecture) for theirs, ours in cls.plain.items()}

    def same(self) -> dict[str, Any]:
        """The plain fields that an `Architecture` has itself, with one width for all and a block for each layer."""
        fields = {ours: getattr(self, theirs) for theirs, ours in self.plain.items()}
        plainest = {"embedding_size": fields["hidden_size"], "schedule": tuple(range(fields["layers"]))}
        return {name: fields[name] for name in Architecture.__dataclass_fields__ if name in fields} | plainest

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of a classification head's columns, in order; RefusedError where they contradict each other."""
        return column_names(self.id2label, self.label2id, self.num_labels)


@dataclass(frozen=True)
class Layout:
    """One way in which a head was published."""

    name: str
    """What the head is loaded by."""
    head: HeadMaker
    """What the head is, by the config."""
    names: Names
    """Our modules of the head and the published ones, with the prefix they have beside a head."""
    copies: Names = field(default_factory=dict)
    """Published tensors that repeat another of the checkpoint, and which."""
    when: Callable[[Any], bool] = lambda config: True
    """Whether a config can mean this layout."""
    says: Mapping[str, object] = field(default_factory=dict)
    """What config.json must say for transformers to look for this layout."""


def judging(over: Callable[[Any, int], HeadSpec]) -> dict[str, HeadMaker]:
    """The two heads that judge a whole text; `over` makes one from the config and a number of labels."""
    return {
        "sequence-classification": lambda config: over(config, len(config.labels)),
        "multiple-choice": lambda config: over(config, 1),
    }


def tagging(dropout: str) -> HeadMaker:
    """A linear layer over each token; `dropout` is the config's field, or property, of what is dropped before."""
    return lambda config: ClassifierHeadSpec(
        labels=len(config.labels), reads="each", dropout=getattr(config, dropout)
    )


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A learning rate that was published for fine-tuning models up to some size."""

    layers: int = MOST_LAYERS
    """Layers at most."""
    hidden_size: int = LARGEST
    """Width at most."""
    peak: float
    """The largest learning rate."""
    layer_decay: float = 1.0
    """By which it is multiplied from one layer to the one below."""
    source: str
    """Where it was published."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A published family of models.

    A full name of a tensor is its present published one, with the prefix that a checkpoint with a head has.
    """

    model_type: str
    """Its name in config.json."""
    stem: str
    """What its classes in transformers begin with."""
    config: type[Config]
    prefix: str
    """What stands before the encoder's names in a checkpoint that also holds a head, such as `bert.`."""
    roots: Sequence[str]
    """The first parts of the encoder's own names, which show that a checkpoint has no prefix."""
    names: Callable[[Any], Names | None]
    """From the config to our modules and the published ones, without the prefix; None where they are ours."""
    layouts: Callable[[Any], tuple[Layout, ...]]
    """How heads were published; where there are several ways for one, the more particular first."""
    fused: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Tensors that were published as one, and ours."""
    fused_by: Literal["heads", "parts"] = "heads"
    """Whether rows of each head stand there by turns, or one of our tensors after another."""
    fusing: "Callable[[Any], Family] | None" = None
    """Whose fused tensors these are, by the config, of a family over encoders of others; None for its own."""
    needs: str | None = None
    """The head without which a folder is none of this family."""
    left_behind: Sequence[str] = ("embeddings.position_ids",)
    """Published tensors that carry nothing learned, such as the numbers 0, 1, 2, …: never reported as unused."""
    copies: Names = field(default_factory=dict)
    """Published tensors of the network that repeat another of it, and which, by full names."""
    old_prefixes: Sequence[str] = ()
    """What stood in place of the prefix in older checkpoints."""
    wrappers: Sequence[str] = ("module.", "_orig_mod.", "model.")
    """What training programs put before every name: DataParallel, torch.compile, and Lightning as most write it."""
    sizes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Config fields of the published checkpoints, by name."""
    tokenizers: Sequence[TokenizerStyle] = ()
    """The styles in which `sijo tokenizer train` makes tokenizers for it."""
    vocabularies: Mapping[str, TokenizerStyle]
    """Published files of a vocabulary, the first that is there decides, and the style of each."""
    rates: tuple[Rate, ...] = ()
    """Of fine-tuning, where any were published: the first row that a model fits into decides."""

    def published(self, heads: Iterable[str]) -> str:
        """The class in transformers for an encoder with these heads; of several, the last one's."""
        return self.stem + CLASSES[[POOLER, *heads][-1]]

    def fields(self, architecture: Architecture, heads: Mapping[str, HeadSpec] | None = None) -> dict[str, object]:
        """What a config.json of this family says of a network; SettingError where it cannot say all of it."""
        fields = self.config.fields(architecture, heads or {})
        with suppress(RefusedError, SettingError):
            if self.config.read(fields).architecture() == architecture:
                return fields
        raise SettingError(f"no {self.config.what} is of this architecture; save it as a mix")

    def whose(self, config: Any) -> "Family":
        """The family whose fused tensors a folder of that config has."""
        return self if self.fusing is None else self.fusing(config)

    def full_name(self, published: str) -> str:
        """The full name of a published tensor, whatever its age.

        `gamma` and `beta` were weight and bias, a bare encoder has no prefix, and `wrappers` are no
        part of a name.

        >>> from sijo.models import FAMILIES
        >>> FAMILIES["bert"].full_name("embeddings.LayerNorm.gamma")
        'bert.embeddings.LayerNorm.weight'
        """
        name = published
        for wrapper in self.wrappers:
            name = name.removeprefix(wrapper)
        for old in self.old_prefixes:
            if name.startswith(old):
                name = self.prefix + name.removeprefix(old)
        for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
            name = name.removesuffix(old) + new if name.endswith(old) else name
        return self.prefix + name if name.partition(".")[0] in self.roots else name

    def copies_of(self, config: Config) -> Names:
        """Published tensors that repeat another, of the network and of all its heads."""
        return dict(self.copies) | {
            copy: original for layout in self.layouts(config) for copy, original in layout.copies.items()
        }

    def held(self, config: Config, names: Iterable[str], architectures: object = None) -> dict[str, Layout]:
        """The heads whose tensors are all among these full names, each in the layout that is there.

        architectures  what config.json says under that name

        Where two heads share tensors (a `classifier` may judge a text or each token), what the config
        calls itself decides; where it is silent, all that could be are held.
        """
        present, heads = set(names), dict[str, Layout]()
        for layout in self.layouts(config):
            if layout.when(config) and all(
                name in present or f"{name}.weight" in present for name in layout.names.values()
            ):
                heads.setdefault(layout.name, layout)
        classes = set(map(str, architectures)) if isinstance(architectures, list) else set()
        named = {name for name in heads if name != POOLER and self.published([name]) in classes}
        taken = {theirs for name in named for theirs in heads[name].names.values()}
        return {  # the pooler lies under others
            name: layout
            for name, layout in heads.items()
            if name == POOLER or name in named or taken.isdisjoint(layout.names.values())
        }


def per_block(names: Names, blocks: int, group: int = 1) -> Names:
    """Names written out for each block `{n}`, which is the `{inner}`th of a `{group}` of so many.

    >>> per_block({"a": "b", "blocks.{n}": "layer.{n}"}, 2)
    {'a': 'b', 'blocks.0': 'layer.0', 'blocks.1': 'layer.1'}
    """
    return {
        our.format(n=n): theirs.format(n=n, group=n // group, inner=n % group)
        for our, theirs in names.items()
        for n in (range(blocks) if "{n}" in our else (0,))
    }


def read_facts(name: str, beyond: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What was published of a family, from the TOML file of that name beside this module.

    family          plain fields of a `Family`
    plain, aliases  those of its `Config`
    vocabularies    rows of `TokenizerStyle`: the name of one, and what is other than there
    names           patterns as for `per_block`
    layouts, rates  rows of `Layout` and `Rate`; a layout's `head` is a key of the makers, its name where it says
                    none, and its `when` a property of the config; `{prefix}` in its names is the family's
    heads           further layouts, by name, that say nothing but names
    sizes, shared   config fields, and what all sizes have; where one has a `hidden_size`, its heads are 64 wide
                    and its inner layer is four times as wide, unless it says otherwise

    Where it lies beyond another family, it has those entries that it does not say itself, and all its names.
    """
    facts = tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))
    if beyond is None:
        return facts
    return {**beyond, **facts, "names": {**beyond["names"], **facts.get("names", {})}}


def _style(name: str, row: Mapping[str, Any]) -> TokenizerStyle:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    like = fields.pop("like", None)
    return replace(STYLES[like], name=name, **fields) if like else TokenizerStyle(name=name, **fields)


STYLES: dict[str, TokenizerStyle] = {}
"""The tokenizer styles of all families by name."""
for _name, _row in read_facts("tokenizers").items():
    STYLES[_name] = _style(_name, _row)


def published_family(
    config: type[Config], facts: Mapping[str, Any], heads: Mapping[str, HeadMaker], **own: Any
) -> Family:
    """A family by its published facts.

    heads  what makes the heads of its layouts
    own    fields that go before those
    """
    plain = ({"name": name, "names": names} for name, names in facts["heads"].items())
    prefix, rows = facts["family"]["prefix"], (*facts.get("layouts", ()), *plain)
    layouts = tuple(_layout(row, heads, prefix) for row in rows)
    fields = facts["family"] | {
        "names": lambda config: per_block(facts["names"], len(config.same()["schedule"])),
        "layouts": lambda config: layouts,
        "sizes": {name: _size(row, facts.get("shared", {})) for name, row in facts["sizes"].items()},
        "tokenizers": [STYLES[name] for name in facts["family"]["tokenizers"]],
        "vocabularies": {file: replace(STYLES[row["name"]], **row) for file, row in facts["vocabularies"].items()},
        "rates": tuple(Rate(**row) for row in facts.get("rates", ())),
    }
    return Family(config=config, **(fields | own))


def _layout(row: Mapping[str, Any], heads: Mapping[str, HeadMaker], prefix: str) -> Layout:
    fields = {**row, "head": heads[row.get("head", row["name"])]}
    for part in ("names", "copies"):
        fields[part] = {ours: theirs.replace("{prefix}", prefix) for ours, theirs in row.get(part, {}).items()}
    if "when" in row:
        fields["when"] = attrgetter(row["when"])
    return Layout(**fields)


def _size(row: Mapping[str, Any], shared: Mapping[str, object]) -> dict[str, object]:
    if "hidden_size" not in row:
        return dict(row)
    width, layers = row["hidden_size"], row["num_hidden_layers"]
    layered = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width // 64}
    return {**layered, "intermediate_size": 4 * width, **shared, **row}
