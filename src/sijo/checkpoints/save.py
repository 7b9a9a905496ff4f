"""From a model to a checkpoint folder, whole or not at all."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path

from torch import Tensor

from sijo.checkpoints.card import CARD, LONGEST_CARD, Card, known_licence, write_card
from sijo.checkpoints.describe import languages_of
from sijo.checkpoints.load import Model
from sijo.checkpoints.names import NameTable
from sijo.checkpoints.sentence import write_sentence_settings
from sijo.checkpoints.vectors.fitted_head import write_fitted_head
from sijo.checkpoints.weights import SHARD_BYTES, not_finite, write_weights
from sijo.errors import SettingError, warn
from sijo.files.atomic import whole_folder
from sijo.files.json_files import write_json
from sijo.files.paths import present
from sijo.models import FAMILIES, mix
from sijo.models.family import Family, Layout
from sijo.models.labels import FINE_TUNED, with_labels
from sijo.nn.head_specs import POOLER

KEPT = (
    *("id2label", "label2id", "pad_token_id", "bos_token_id", "eos_token_id", "problem_type"),
    FINE_TUNED,
)
"""Fields of a config that say nothing of the network and go with it into another family's."""


def save(
    model: Model,
    folder: str | Path,
    *,
    card: Card | None = None,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    tensors: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a model as a folder in Hugging Face layout, with a manifest of SHA-256 digests.

    model        what `load` or `create` gave, trained or not
    folder       a folder that is not there yet
    card         what its README.md is to tell; None for the card of the folder it came from, as it is. A base
                 model whose licence the card does not name is taken to be in that folder, and its card asked
    overwrite    replace a model that is there
    shard_bytes  the most one file of weights may hold
    tensors      the weights to write, by the model's own names, in place of the model's; None for the model's

    Names and config are those of the family the model came from, or of the first whose config can
    say what it is, so that transformers opens it; what only sijo can build says `model_type:
    "sijo"`. The folder appears whole or not at all, at whatever instant this is killed. A head that `sijo fit` left
    goes with the weights that it was fitted over; where these were changed since, it is left out, with a warning.

    Returns the folder.
    Raises SettingError when there is one already, for `tensors` that are not the model's in name and shape, for
    weights that are not finite, and for weights of 8 bits, which have no layout that others know.

    >>> import tempfile
    >>> from sijo.checkpoints.load import load
    >>> with tempfile.TemporaryDirectory() as place:
    ...     folder = save(load(), Path(place) / "copy")
    ...     load(folder).architecture == load().architecture
    True
    """
    if model.dtype == "int8":
        raise SettingError(
            "weights of 8 bits are made anew whenever a model is opened, and are not saved; keep the folder that "
            "this one came from"
        )
    files = _files(model, folder, tensors)
    with whole_folder(Path(folder), overwrite=overwrite) as fresh:
        _write(model, files, fresh, card, shard_bytes)
    return Path(folder)


def save_into(model: Model, folder: Path, *, card: Card) -> None:
    """Write a model, as `save` does, into a folder that is being written: a block of `whole_folder`."""
    _write(model, _files(model, folder), folder, card, SHARD_BYTES)


def _files(
    model: Model, folder: str | Path, tensors: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """The fields of a model's config, and its tensors by their published names."""
    family, fields, layouts = _form(model)
    weights = model.state_dict() if tensors is None else _in_place_of(model.state_dict(), tensors)
    theirs = NameTable(family, family.config.read(fields), layouts, weights).to_theirs(weights)
    for name, tensor in theirs.items():
        if count := not_finite(tensor):
            raise SettingError(
                f"{count:,} of the {tensor.numel():,} numbers of {name} are NaN or infinite, so {folder} would be "
                "no model, and is not written; if this one was trained, train it anew at a lower rate"
            )
    if set(layouts) <= {POOLER}:  # transformers saves an encoder alone without prefix
        theirs = {name.removeprefix(family.prefix): tensor for name, tensor in theirs.items()}
    if {"id2label", "label2id"} & fields.keys():  # both, and as text: transformers reads id2label alone
        fields = with_labels(fields, model.labels)
    return fields | {
        "model_type": family.model_type,
        "architectures": [family.published(layouts)],
        "dtype": str(weights[next(model.named_parameters())[0]].dtype).removeprefix("torch."),
    }, theirs


def _write(
    model: Model,
    files: tuple[dict[str, object], dict[str, Tensor]],
    folder: Path,
    card: Card | None,
    shard_bytes: int,
) -> None:
    fields, tensors = files
    write_json(folder / "config.json", fields)
    write_weights(folder, tensors, shard_bytes=shard_bytes)
    if model.has_tokenizer:
        model.tokenizer.save(folder)
    write_sentence_settings(model.sentence, folder, width=model.architecture.hidden_size)
    if model.fitted_head is not None:
        head, digest = model.fitted_head
        if model.network_digest() == digest:
            write_fitted_head(head, folder)
        else:
            warn(
                f"the head that was fitted over the vectors of {model.source} is not saved, as these weights make "
                "other vectors; fit one to them by sijo fit"
            )
    if card is not None:
        write_card(folder, _with_base(card, model.source))
    elif model.source is not None and (old := present(model.source, CARD)):
        (folder / CARD).write_bytes(old.read_bytes(LONGEST_CARD))


def _in_place_of(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors, in the order of a model's own; SettingError names the first that is not the model's."""
    for name in [*own, *tensors]:
        shape, must = (weights[name].shape if name in weights else None for weights in (tensors, own))
        if shape != must:
            sizes = ["absent" if size is None else tuple(size) for size in (shape, must)]
            raise SettingError(f"tensors= do not fit the model: {name} is {sizes[0]}, in the model {sizes[1]}")
    return {name: tensors[name] for name in own}


def _with_base(card: Card, source: Path | None) -> Card:
    """The card with what the card of its base model names, where that can be read: it is no part of the model."""
    if source is None:
        return card
    return replace(
        card,
        base_licence=card.base_licence or known_licence(source),
        languages=card.languages or languages_of(source) or (),
    )


def _form(model: Model) -> tuple[Family, dict[str, object], dict[str, Layout]]:
    """The family to save in, the fields of its config, and the layouts of the heads.

    As it was opened, if that still says what the model is; else as the first family that can say it.
    """
    for family, fields, layouts in _forms(model):
        config = family.config.read(fields)
        values = {name: layout.head(config) for name, layout in layouts.items()}
        if config.architecture() == model.architecture and values == model.head_values:
            tensors = model.state_dict()
            if NameTable(family, config, layouts, tensors).whole(tensors):
                says = {name: value for layout in layouts.values() for name, value in layout.says.items()}
                return family, fields | says, layouts
    raise AssertionError("a mix can say anything")


def _forms(model: Model) -> Iterator[tuple[Family, dict[str, object], dict[str, Layout]]]:
    """The ways to write a model, the best first; whether one says all of it is still to be seen."""
    opened = model.family
    if opened is not mix.FAMILY and (opened.needs is None or opened.needs in model.head_values):
        yield opened, dict(model.config), model.layouts
    kept = {name: model.config[name] for name in KEPT if name in model.config}
    for family in (opened, *FAMILIES.values()):
        with suppress(SettingError):
            fields = kept | family.fields(model.architecture, model.head_values)
            ways = family.layouts(family.config.read(fields))
            for chosen in product(*([way for way in ways if way.name == name] for name in model.head_values)):
                yield family, fields, {layout.name: layout for layout in chosen}
