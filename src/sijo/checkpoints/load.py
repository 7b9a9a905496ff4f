"""From a checkpoint folder to a model that answers."""

import hashlib
import logging
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from sijo.checkpoints.locate import locate
from sijo.checkpoints.sentence import SentenceSettings, read_object, sentence_settings
from sijo.checkpoints.weights import fill, read_weights, weights_file
from sijo.errors import CheckpointError, RefusedError, SettingError, nearest
from sijo.models import FAMILIES
from sijo.nn.architecture import Architecture
from sijo.nn.transformer import Output, Transformer
from sijo.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Dtype = Literal["float32", "bfloat16", "float16"]


class Model(torch.nn.Module):
    """A network, its tokenizer and what its folder says of both.

    Calling it reads a batch of token ids; see `Transformer.forward` for shapes.
    """

    def __init__(
        self,
        transformer: Transformer,
        tokenizer: Tokenizer,
        *,
        source: Path,
        sentence: SentenceSettings,
        heads: tuple[str, ...],
        unused: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.tokenizer = tokenizer
        self.source = source
        self.sentence = sentence
        self.heads = heads
        self.unused = unused

    @property
    def architecture(self) -> Architecture:
        """What the network is."""
        return self.transformer.architecture

    @cached_property
    def fingerprint(self) -> str:
        """A digest of every file that decides the model's vectors, and the precision; 64 hexadecimal digits."""
        digest = hashlib.blake2b(f"{next(self.parameters()).dtype} {self.sentence}".encode(), digest_size=32)
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            with (self.source / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
        return digest.hexdigest()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> Output:
        """As `Transformer.forward`."""
        output: Output = self.transformer(input_ids, attention_mask, token_type_ids, output_hidden_states)
        return output


def load(
    model: str | Path | None = None,
    head: str | None = None,
    revision: str | None = None,
    dtype: Dtype = "float32",
) -> Model:
    """Open a checkpoint folder in Hugging Face layout.

    model     a folder, an `org/name` on the Hub, or None for the built-in sentence encoder
    head      only None so far: the encoder alone
    revision  branch, tag or commit on the Hub
    dtype     precision of the weights in memory

    Nothing in the folder is executed. Tensors that no part of the model uses are named in the
    model's `unused`.

    Raises SettingError (no such folder, no such head), RefusedError (pickle, code of its own, an
    architecture sijo lacks) or CheckpointError (absent or damaged files).

    >>> model = load()
    >>> model.architecture.layers, model.architecture.hidden_size
    (6, 384)
    """
    if dtype not in DTYPES:
        raise SettingError(f"no dtype {dtype!r}{nearest(dtype, DTYPES)}; there are {', '.join(DTYPES)}")
    folder = locate(model, revision=revision)
    config = _config(folder)
    family = FAMILIES[str(config["model_type"])]
    try:
        architecture = family.architecture(config)
    except SettingError as error:  # fields that are right one by one, but not together
        raise RefusedError(f"{folder / 'config.json'}: {error}") from None
    weights = read_weights(weights_file(folder))
    heads = family.heads_among(weights)
    if head is not None:
        raise SettingError(
            f"head={head!r} cannot be loaded: this version opens encoders alone (head=None). "
            f"{folder} holds these heads: {', '.join(heads) or 'none'}"
        )

    ours = {theirs: family.ours(theirs) for theirs in weights}
    with torch.device("meta"):
        transformer = Transformer(architecture)
    filled = {our: weights[theirs] for theirs, our in ours.items() if our is not None}
    fill(transformer, filled, source=folder, dtype=DTYPES[dtype])
    unused = tuple(
        name
        for name, our in ours.items()
        if our is None and name.removeprefix(family.prefix) not in family.left_behind
    )
    if unused:
        log.info("%s: the encoder alone does not use %s", folder, ", ".join(unused))

    sentence = sentence_settings(folder)
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointError(f"{folder} has no tokenizer.json: it was copied in part, or needs conversion")
    limit = min(sentence.max_length or architecture.positions.count, architecture.positions.count)
    tokenizer = Tokenizer.load(folder / "tokenizer.json", max_length=limit)
    if tokenizer.vocab_size > architecture.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer knows {tokenizer.vocab_size} tokens and the network only "
            f"{architecture.vocab_size}; tokenizer.json and model.safetensors are of different models"
        )
    opened = Model(transformer, tokenizer, source=folder, sentence=sentence, heads=heads, unused=unused)
    return opened.eval()


def _config(folder: Path) -> dict[str, object]:
    """The fields of config.json, once it is sure that sijo can build what they describe."""
    file = folder / "config.json"
    if not file.is_file():
        raise CheckpointError(f"{folder} has no config.json: it is not a model, or was copied in part")
    config = read_object(file)
    if "auto_map" in config:
        raise RefusedError(f"{file} asks to run code of its own (auto_map); sijo never does. Choose another model")
    if str(config.get("model_type")) not in FAMILIES:
        raise RefusedError(
            f"{file} is of the architecture {config.get('model_type')!r}, which sijo does not know; "
            f"it knows {', '.join(FAMILIES)}"
        )
    return config
