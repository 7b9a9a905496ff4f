"""What a checkpoint folder is, known without torch: family, architecture, heads, labels, settings, tokenizer."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from sijo.checkpoints.locate import TOKENIZER_FILES, locate
from sijo.checkpoints.sentence import SentenceSettings, sentence_settings
from sijo.checkpoints.weight_files import shown, tensor_names
from sijo.errors import CheckpointError, RefusedError, SettingError
from sijo.files.json_files import read_object
from sijo.files.paths import present
from sijo.models import FAMILIES
from sijo.models.family import Config, Layout, label_fields
from sijo.nn.architecture import LARGEST, Architecture
from sijo.nn.head_specs import POOLER
from sijo.tokenizers.tokenizer import Tokenizer

Content = TypeVar("Content")


class FolderDescription:
    """What a checkpoint folder says of its model. Each part is read when it is first asked for.

    folder  in Hugging Face layout
    labels  names of the columns of a fresh classification head, in place of those in config.json

    >>> described = FolderDescription(locate(None))
    >>> described.family.model_type, described.architecture.layers, described.heads, described.sentence.pooling
    ('bert', 6, (), 'mean')
    """

    def __init__(self, folder: Path, labels: Sequence[str] | None = None) -> None:
        self.folder = folder
        self.fields = config_fields(folder) | ({} if labels is None else label_fields(labels))
        """Those of config.json."""
        self.family = FAMILIES[str(self.fields["model_type"])]
        self.config: Config = self.family.config.read(self.fields)

    @property
    def architecture(self) -> Architecture:
        """The network."""
        return architecture_of(self.config)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of a classification head's columns, in order."""
        return self.config.labels

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """The heads whose weights it holds, by the headers of its files."""
        layouts = self.layouts(self.by_full_name(tensor_names(self.folder)))
        return tuple(name for name in layouts if name != POOLER)

    @cached_property
    def sentence(self) -> SentenceSettings:
        """How it makes a vector of a sentence."""
        return sentence_settings(self.folder)

    def by_full_name(self, tensors: Mapping[str, Content]) -> dict[str, Content]:
        """The folder's tensors, or whatever is known of each, by full published name."""
        contents: dict[str, Content] = {}
        for name, content in tensors.items():
            full = self.family.full_name(name)
            if full in contents:
                raise CheckpointError(
                    f"{self.folder} holds {shown(full)} twice, once as {shown(name)}; copy the folder again"
                )
            contents[full] = content
        for layout in self.family.layouts(self.config):
            for copy, original in layout.copies.items():
                if copy in contents and original not in contents:
                    contents[original] = contents.pop(copy)
        return contents

    def layouts(self, names: Iterable[str]) -> dict[str, Layout]:
        """The heads among tensors of these full names, a pooler included, each in the layout that is there."""
        return self.family.held(self.config, names, self.fields.get("architectures"))

    def tokenizer(self) -> Tokenizer | None:
        """The folder's tokenizer, if there is one, for inputs of the length that network and training allow."""
        folder, a, length = self.folder, self.architecture, self.sentence.max_length
        files = [name for name in TOKENIZER_FILES if present(folder, name)]  # looks at each: none may lead outside
        if not files:
            return None
        limits = [length, a.places, a.distances.span if a.distances else None]
        config = present(folder, "tokenizer_config.json")
        if config is not None and length is None:
            longest = read_object(config).get("model_max_length")  # 1e30 where transformers knew of no limit
            limits.append(longest if type(longest) is int and 0 < longest < LARGEST else None)
        longest = min((limit for limit in limits if limit), default=LARGEST)
        tokenizer = Tokenizer.open(folder, self.family, max_length=longest)
        if tokenizer.largest_id >= a.vocab_size:
            raise CheckpointError(
                f"{folder}: the tokenizer knows tokens up to number {tokenizer.largest_id} and the network only "
                f"{a.vocab_size} in all; tokenizer.json and model.safetensors are of different models"
            )
        return tokenizer


def describe(model: str | Path | None, revision: str | None = None) -> FolderDescription:
    """What a model's folder is; arguments as for `load`."""
    return FolderDescription(locate(model, revision=revision))


def config_fields(folder: Path) -> dict[str, object]:
    """The fields of config.json, once it is sure that sijo can build what they describe."""
    file = present(folder, "config.json")
    if file is None:
        raise CheckpointError(f"{folder} has no config.json: it is not a model, or was copied in part")
    return buildable(read_object(file), file.path)


def buildable(config: dict[str, object], file: Path) -> dict[str, object]:
    """The fields themselves, once it is sure that they ask for no code and are of a family that sijo knows."""
    if "auto_map" in config:
        raise RefusedError(f"{file} asks to run code of its own (auto_map); sijo never does. Choose another model")
    if str(config.get("model_type")) not in FAMILIES:
        raise RefusedError(
            f"{file} is of the architecture {config.get('model_type')!r}, which sijo does not know; "
            f"it knows {', '.join(FAMILIES)}"
        )
    return config


def architecture_of(config: Config) -> Architecture:
    """The network that a config describes; RefusedError for fields that are right one by one, but not together."""
    try:
        return config.architecture()
    except SettingError as error:
        raise RefusedError(f"the config cannot be built: {error}") from None
