"""The architectures by their published names: config fields <-> `Architecture`, tensor names <-> ours.

`FAMILIES` is the one place where a family is listed, by the `model_type` of its config.json.
"""

from contextlib import suppress

from sijo.errors import SettingError, nearest
from sijo.models import albert, bert, ctrl, deberta, distilbert, electra, mix
from sijo.models.family import Config, Family, Layout
from sijo.nn.architecture import Architecture

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        bert.FAMILY,
        distilbert.FAMILY,
        electra.FAMILY,
        albert.FAMILY,
        deberta.DEBERTA,
        deberta.DEBERTA_V2,
        ctrl.FAMILY,
        mix.FAMILY,
    )
}
SIZES: dict[str, Family] = {name: family for family in FAMILIES.values() for name in family.sizes}
"""Every published size by name, and its family."""


def published(name: str) -> tuple[Family, Config]:
    """The family and the config of a published size.

    >>> family, config = published("albert-base-v2")
    >>> family.model_type, config.architecture().layers, config.architecture().blocks
    ('albert', 12, 1)
    """
    if name not in SIZES:
        raise SettingError(f"no published size {name!r}{nearest(name, SIZES)}; there are {', '.join(SIZES)}")
    family = SIZES[name]
    return family, family.config.read(family.sizes[name])


def family_for(architecture: Architecture) -> tuple[Family, dict[str, object]]:
    """The first family whose config can say all of an architecture, and what it says; `sijo` can say any."""
    for family in FAMILIES.values():
        with suppress(SettingError):
            return family, family.fields(architecture)
    raise SettingError("this architecture cannot be written down; give it sizes above 0")


def new_layout(family: Family, config: Config, head: str) -> Layout:
    """The layout of a head that is to be made: the family's, or for one it never had, the plainest."""
    layouts = (layout for layout in family.layouts(config) if layout.name == head and layout.when(config))
    return next(layouts, None) or mix.plainest(head, config)
