"""What a checkpoint folder is, known without torch: family, architecture, heads, labels, settings, tokenizer."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar

from sijo.checkpoints.adapters import CONFIG as ADAPTER_CONFIG
from sijo.checkpoints.adapters import TASKS, Adapter, adapter_in
from sijo.checkpoints.blocks import is_in_blocks, tensor_entries
from sijo.checkpoints.card import languages
from sijo.checkpoints.locate import TOKENIZER_FILES, locate
from sijo.checkpoints.onnx.content import OnnxContent
from sijo.checkpoints.onnx.files import onnx_files
from sijo.checkpoints.onnx.outputs import JUDGING, judging_heads
from sijo.checkpoints.sentence import SentenceSettings, network_folder, sentence_settings
from sijo.checkpoints.vectors.decoders import why_no_encoder
from sijo.checkpoints.vectors.fitted_head import read_fitted_head
from sijo.checkpoints.vectors.steps import DenseStep
from sijo.checkpoints.weight_files import has_weights, shown, weight_files
from sijo.errors import CheckpointError, RefusedError, SettingError, SijoError
from sijo.files.json_files import read_object
from sijo.files.manifest import Identity, identity
from sijo.files.paths import FolderFile, present
from sijo.models import FAMILIES
from sijo.models.family import Config, Family, Layout
from sijo.models.labels import with_labels
from sijo.nn.architecture import LARGEST, Architecture
from sijo.nn.head_specs import CLASSIFIER, POOLER, HeadSpec
from sijo.tokenizers.tokenizer import Tokenizer

Content = TypeVar("Content")
NAMES_LABELS = {"id2label", "label2id", "num_labels"}
"""Fields of config.json that say how many columns a head has."""


class DescribedModel(Protocol):
    """What is known of a model without its weights: of one in a folder, and of one that was opened."""

    @property
    def source(self) -> Path | None:
        """Its folder; None for one that was made in memory."""
        ...

    @property
    def fields(self) -> Mapping[str, object]:
        """Those of config.json."""
        ...

    @property
    def architecture(self) -> Architecture:
        """The network."""
        ...

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that its folder holds."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of a classification head's columns, in order."""
        ...

    def head_value(self, name: str) -> HeadSpec:
        """What a head of these is."""
        ...

    @property
    def sentence(self) -> SentenceSettings:
        """How it makes a vector of a sentence."""
        ...

    @property
    def has_tokenizer(self) -> bool:
        """Whether it can read text, and not only token ids."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """What cuts text for the network; an error where there is none."""
        ...

    @property
    def languages(self) -> tuple[str, ...] | None:
        """Those that its card names."""
        ...


class FolderDescription:
    """What a checkpoint folder says of its model. Each part is read when it is first asked for.

    folder  in Hugging Face layout
    labels  names of the columns of a fresh classification head, in place of those in config.json
    base    where the model of an adapter is that stands alone; see `load`

    >>> described = FolderDescription(locate("all-minilm-l6-v2"))
    >>> described.family.model_type, described.architecture.layers, described.heads, described.sentence.pooling
    ('bert', 6, (), 'mean')
    """

    def __init__(self, folder: Path, labels: Sequence[str] | None = None, base: str | Path | None = None) -> None:
        self.folder = folder
        self.network = network_folder(folder)
        """Where config, tokenizer and weights are: the folder, or one below that modules.json names."""
        self.adapter = adapter_in(self.network)
        """What is to be merged into the weights."""
        self.adapted: dict[str, None] = {}
        """The full names of tensors that the adapter keeps whole."""
        below = self.network if self.network != folder else None  # which is how a worker names what is there
        if self.adapter is None and base not in (None, below):
            raise SettingError(
                f"base={str(base)!r} (--base) names the model of an adapter, and {folder} holds none; leave it out"
            )
        self.base = self.network if self.adapter is None else self.adapter.base(base)
        """The folder of the weights: another one where an adapter stands alone."""
        fields = config_fields(self._beside("config.json"))
        self.fields = fields if labels is None else with_labels(fields, labels)
        """Those of config.json."""
        self.family = FAMILIES[str(self.fields["model_type"])]
        self.config: Config = self.family.config.read(self.fields)
        self.onnx_contents: dict[FolderFile, OnnxContent] = {}
        """What was read of its ONNX files; to be cleared once a network is made of one."""
        if self.adapter is not None:
            self._of_adapter(self.adapter, named=labels is not None)
        elif not NAMES_LABELS & self.fields.keys() and "Classification" in str(self.fields.get("architectures")):
            self._columns_of_weights()

    def _beside(self, *names: str) -> Path:
        """The folder of some files: the adapter's, if it has any of them, else the base model's."""
        return self.network if any(present(self.network, name) for name in names) else self.base

    def _of_adapter(self, adapter: Adapter, *, named: bool) -> None:
        """What an adapter changes in the config: the head that it was trained with, and how many columns that has.

        named  whether the columns were named already
        """
        if self.fields.get("quantization_config") or is_in_blocks(self.base):
            raise RefusedError(
                f"{self.base} is quantized, so nothing can be added to its weights; name the model that it was "
                "made from with base= (--base)"
            )
        head = TASKS.get(str(adapter.config.task_type))
        if head is not None:
            self.fields = self.fields | {"architectures": [self.family.published([head])]}
        rows = {
            self.family.full_name(f"{module}.{kind}"): shape for (module, kind), shape in adapter.shapes.items()
        }
        self.adapted = dict.fromkeys(rows)
        for layout in self.family.layouts(self.config):
            shape = rows.get(f"{layout.names.get('out')}.weight")
            if shape is None or named or not layout.name.endswith("classification"):
                continue
            if shape[0] != len(self.config.labels):
                self.fields = with_labels(self.fields, [f"LABEL_{i}" for i in range(shape[0])])
                self.config = self.family.config.read(self.fields)

    def _columns_of_weights(self) -> None:
        """Name as many columns as a classification head has, where config.json says nothing of how many."""
        if not has_weights(self.base):
            return
        held = self.by_full_name(tensor_entries(self.base))
        for layout in self.layouts(held).values():
            out = held.get(f"{layout.names.get('out')}.weight")
            if out is not None and layout.name.endswith("classification") and out.shape[0] != len(self.labels):
                self.fields = with_labels(self.fields, [f"LABEL_{i}" for i in range(out.shape[0])])
                self.config = self.family.config.read(self.fields)
                return

    @property
    def source(self) -> Path:
        """The folder."""
        return self.folder

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
        """The heads whose weights it holds, by the headers of its files; of ONNX files alone, those that answer."""
        if self.onnx_alone is not None:
            return self._heads_of_onnx(self.onnx_alone)
        layouts = self.layouts({*self.by_full_name(tensor_entries(self.base)), *self.adapted})
        return tuple(name for name in layouts if name != POOLER)

    def head_value(self, name: str) -> HeadSpec:
        """What a head that it holds is."""
        held = self.layouts({*self.by_full_name(tensor_entries(self.base)), *self.adapted})
        return held[name].head(self.config)

    @cached_property
    def onnx_alone(self) -> FolderFile | None:
        """The first of its ONNX files, where its network is in those alone; None where it has weights, or none."""
        if self.adapter is not None or has_weights(self.base):
            return None
        return next(iter(onnx_files(self.folder).values()), None)

    def onnx_content(self, file: FolderFile, stream: BufferedReader) -> OnnxContent:
        """What is in one of its ONNX files, read once for as long as that stays as it is.

        stream  the file, open
        """
        known = self.onnx_contents.get(file)
        if known is None or known.read_from != identity(stream):
            known = self.onnx_contents[file] = OnnxContent.read(stream, file)
        return known

    def _heads_of_onnx(self, file: FolderFile) -> tuple[str, ...]:
        """By the outputs of an ONNX file and, of heads whose outputs look alike, by what config.json names."""
        with file.open() as stream:
            able = judging_heads(self.onnx_content(file, stream).model, self.architecture.hidden_size)
        classes = self.fields.get("architectures")
        known = {layout.name for layout in self.family.layouts(self.config)} - {POOLER}
        named = {name for name in known if isinstance(classes, list) and self.family.published([name]) in classes}
        if not able or not named:
            return able
        if {*able} | named <= {*JUDGING} and not {*able} & named:
            raise RefusedError(
                f"{file} gives logits as a head for {able[0]} does, and config.json names one for "
                f"{' and '.join(sorted(named))} (architectures): they are of two models. Copy the folder again"
            )
        return tuple(sorted(named))

    @cached_property
    def sentence(self) -> SentenceSettings:
        """How it makes a vector of a sentence."""
        folder = self.folder if present(self.folder, "modules.json") else self.base
        return sentence_settings(folder, self.architecture.hidden_size)

    @cached_property
    def fitted_head(self) -> DenseStep | None:
        """The head that was fitted over its vectors, beside the network; None where it has none."""
        sentence, whole = self.sentence, self.sentence.width(self.architecture.hidden_size)
        return read_fitted_head(self.folder, self.labels, min(sentence.dimensions or whole, whole))

    def network_head(self, head: str | None) -> str | None:
        """The head that the network itself is run with to answer by `head`: none for a fitted one."""
        return None if head == CLASSIFIER and self.fitted_head is not None else head

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
        for copy, original in self.family.copies_of(self.config).items():
            if copy in contents and original not in contents:
                contents[original] = contents.pop(copy)
        return contents

    def layouts(self, names: Iterable[str]) -> dict[str, Layout]:
        """The heads among tensors of these full names, a pooler included, each in the layout that is there."""
        return self.family.held(self.config, names, self.fields.get("architectures"))

    @property
    def has_tokenizer(self) -> bool:
        """Whether it can read text, and not only token ids."""
        return self._tokenizer is not None

    @property
    def lacks_tokenizer(self) -> bool:
        """Whether no file is there that a tokenizer could be read of; none is read."""
        return all(present(self._beside(*TOKENIZER_FILES), name) is None for name in TOKENIZER_FILES)

    @property
    def tokenizer(self) -> Tokenizer:
        """What cuts text for the network; CheckpointError where the folder has no tokenizer."""
        if self._tokenizer is None:
            raise no_tokenizer(self.folder)
        return self._tokenizer

    @property
    def languages(self) -> tuple[str, ...] | None:
        """Those that its card names; None where it has no card, or one that cannot be read."""
        return languages_of(self.folder)

    @property
    def weight_files(self) -> list[FolderFile]:
        """The files of its weights, an adapter's among them; CheckpointError where there are none."""
        return files_of_weights(self.folder, self.base)

    @cached_property
    def _tokenizer(self) -> Tokenizer | None:
        """For inputs of the length that network and training allow."""
        folder, a, length = self._beside(*TOKENIZER_FILES), self.architecture, self.sentence.max_length
        files = [name for name in TOKENIZER_FILES if present(folder, name)]  # looks at each: none may lead outside
        if not files:
            return None
        limits = [length, a.places, a.distances.length if a.distances else None]
        config = present(folder, "tokenizer_config.json")
        if config is not None and length is None:
            longest = read_object(config).get("model_max_length")  # 1e30 where transformers knew of no limit
            limits.append(longest if type(longest) is int and 0 < longest < LARGEST else None)
        longest = min((limit for limit in limits if limit), default=LARGEST)
        tokenizer = Tokenizer.open(folder, self.family, max_length=longest)
        if tokenizer.largest_id >= a.vocab_size:
            raise CheckpointError(
                f"{folder}: the tokenizer knows tokens up to number {tokenizer.largest_id} and the network only "
                f"{a.vocab_size} in all; {_read_of(files, self.family)} and the weights are of different models"
            )
        return tokenizer


def describe(
    model: str | Path | None, revision: str | None = None, base: str | Path | None = None
) -> FolderDescription:
    """What a model's folder is; arguments as for `load`."""
    return FolderDescription(locate(model, revision=revision), base=base)


def config_fields(folder: Path) -> dict[str, object]:
    """The fields of config.json, once it is sure that sijo can build what they describe."""
    file = present(folder, "config.json")
    if file is None:
        below = [path.parent for path in folder.glob("checkpoint-*/config.json")]
        if below:
            last = max(below, key=lambda path: (len(path.name), path.name))
            raise CheckpointError(
                f"{folder} has no config.json, but checkpoints of a run; name one, such as {last}"
            )
        raise CheckpointError(f"{folder} has no config.json: it is not a model, or was copied in part")
    return buildable(read_object(file), file.path)


def buildable(config: dict[str, object], file: Path) -> dict[str, object]:
    """The fields themselves, once it is sure that they ask for no code and are of a family that sijo knows."""
    if "auto_map" in config:
        raise RefusedError(f"{file} asks to run code of its own (auto_map); sijo never does. Choose another model")
    if config.get("model_type") is None:
        raise RefusedError(
            f"{file} has no model_type, which says what it describes; add it as it was published, one of "
            f"{', '.join(FAMILIES)}"
        )
    if why := why_no_encoder(str(config.get("model_type"))):
        raise RefusedError(f"{file} is of the architecture {config.get('model_type')!r}, {why}")
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


def _read_of(files: Sequence[str], family: Family) -> str:
    """The file that a tokenizer is read of, among those that are there."""
    return next((name for name in ("tokenizer.json", *family.vocabularies) if name in files), files[0])


def no_tokenizer(folder: Path) -> CheckpointError:
    """What to raise where text is to be read and a folder has no tokenizer."""
    return CheckpointError(
        f"{folder} has no tokenizer, so it cannot read text: copy tokenizer.json, or vocab.txt and the like, from "
        "where the model came from; or in Python, transformers.AutoTokenizer.from_pretrained(NAME)"
        f'.save_pretrained("{folder}")'
    )


def languages_of(folder: Path | None) -> tuple[str, ...] | None:
    """The languages that a folder's card names; None for none, and for a card that cannot be read: it is no part of
    the model."""
    try:
        return None if folder is None else languages(folder)
    except (SijoError, OSError):
        return None


def files_of_weights(folder: Path, base: Path) -> list[FolderFile]:
    """The files of a model's weights in `base`, and of the adapter in its folder."""
    adapter = adapter_in(folder)
    if adapter is None:
        return weight_files(base)
    return [*weight_files(base), adapter.file, FolderFile(adapter.folder, ADAPTER_CONFIG)]


def fingerprint(
    model: DescribedModel,
    files: Iterable[FolderFile],
    settings: str = "",
    read_from: Mapping[FolderFile, Identity] = MappingProxyType({}),
) -> str:
    """A digest of what decides a model's answers: weights, config, tokenizer and more; 64 hexadecimal digits.

    files      of its weights, which are read: 0.1 s for 90 MB
    settings   what else decides them
    read_from  what some of the files were when they were opened; CheckpointError where one is not that any more
    """
    told = f"{settings} {model.sentence} {sorted(model.fields.items())}"
    digest = hashlib.blake2b(told.encode(), digest_size=32)
    if model.has_tokenizer:
        digest.update(model.tokenizer.fingerprint.encode())
    for file in files:
        with file.open() as opened:
            if file in read_from and identity(opened) != read_from[file]:
                raise CheckpointError(f"{file} was changed since it was opened; open it again")
            digest.update(hashlib.file_digest(opened, "blake2b").digest())
    return digest.hexdigest()
