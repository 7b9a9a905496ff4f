"""Vectors cut to their first numbers, which stand by themselves where a model was trained for it (Matryoshka).

Source: Kusupati et al. 2022 (arXiv:2205.13147); names of settings as sentence-transformers and models on the Hub
write them.
"""

from contextlib import suppress

from sijo.checkpoints.card import tags
from sijo.checkpoints.describe import DescribedModel
from sijo.errors import SettingError, SijoError, warn

IN_CONFIG = ("matryoshka_dimensions", "matryoshka_dims")
"""Fields of config.json that list the lengths a model was trained for."""


def width_of(model: DescribedModel, dimensions: int | None) -> int:
    """How many numbers a vector has once it is cut.

    dimensions  what is asked for; None for the model's own choice, mostly all

    Raises SettingError for more than there are. Warns where nothing says that the model was trained to be cut.

    >>> from sijo.checkpoints.describe import describe
    >>> width_of(describe("all-minilm-l6-v2"), None)
    384
    """
    whole = model.sentence.width(model.architecture.hidden_size)
    if dimensions is None:
        return min(model.sentence.dimensions or whole, whole)
    if not 1 <= dimensions <= whole:
        raise SettingError(
            f"dimensions={dimensions} (--dimensions) cannot be cut from this model's vectors of {whole} numbers; "
            f"give 1 to {whole}, or leave it out for all"
        )
    listed = _listed(model)
    if dimensions < whole and listed and dimensions not in listed:
        warn(
            f"the model was trained to be cut (Matryoshka) to {', '.join(map(str, listed))} numbers, and "
            f"{dimensions} is none of these; the next larger one says more for what it costs"
        )
    elif dimensions < whole and not _may_be_cut(model):
        warn(
            f"nothing beside the model says that it was trained to be cut (Matryoshka): its first {dimensions} of "
            f"{whole} numbers may say much less than {dimensions}/{whole} of what all say. Measure it on texts of "
            "your own, or leave dimensions= (--dimensions) out"
        )
    return dimensions


def _listed(model: DescribedModel) -> list[int]:
    """The lengths to which its config says that its vectors may be cut; none where it lists none."""
    for name in IN_CONFIG:
        lengths = model.fields.get(name)
        if isinstance(lengths, list) and lengths and all(type(length) is int for length in lengths):
            return sorted(lengths, reverse=True)
    return []


def _may_be_cut(model: DescribedModel) -> bool:
    """Whether the model's settings or its card say so; a card that cannot be read says nothing."""
    if model.sentence.dimensions or any(model.fields.get(name) for name in IN_CONFIG):
        return True
    with suppress(SijoError, OSError):
        return model.source is not None and any("matryoshka" in tag.lower() for tag in tags(model.source))
    return False
