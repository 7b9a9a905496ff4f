"""The architectures by their published names: config fields <-> `Architecture`, tensor names <-> ours.

`FAMILIES` is the one place where a family is listed, by the `model_type` of its config.json.
"""

from contextlib import suppress
from dataclasses import replace

from sijo.errors import SettingError, nearest
from sijo.models import (
    albert,
    bart,
    bert,
    ctrl,
    deberta,
    distilbert,
    electra,
    gliclass,
    mix,
    modernbert,
    mpnet,
    roberta,
)
from sijo.models.family import Config, Family, Layout
from sijo.nn.architecture import Architecture
from sijo.tokenizers.style import KINDS, TokenizerStyle

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
        roberta.ROBERTA,
        roberta.XLM_ROBERTA,
        roberta.CAMEMBERT,
        mpnet.FAMILY,
        modernbert.FAMILY,
    )
}
ONE_PASS = gliclass.over({name: family for name, family in FAMILIES.items() if family is not ctrl.FAMILY})
FAMILIES |= {family.model_type: family for family in (bart.FAMILY, ONE_PASS, mix.FAMILY)}
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


def tokenizer_family(model_type: str) -> Family:
    """The family by whose styles a folder of that model type is opened; an unknown type goes by names of files.

    >>> tokenizer_family("albert").stem, list(tokenizer_family("gpt2").vocabularies)
    ('Albert', ['vocab.txt', 'spm.model', 'spiece.model', 'vocab.json'])
    """
    if model_type in FAMILIES:
        return FAMILIES[model_type]
    vocabularies = {**mix.FAMILY.vocabularies, **deberta.DEBERTA_V2.vocabularies}
    return replace(mix.FAMILY, model_type=model_type, vocabularies=vocabularies)


def tokenizer_styles() -> dict[str, TokenizerStyle]:
    """Every family's tokenizer styles by name, those of a kind together.

    >>> [name for name, style in tokenizer_styles().items() if style.kind != "wordpiece"]
    ['albert', 'deberta-v2', 'deberta-v3', 'xlm-roberta', 'deberta', 'ctrl', 'roberta', 'modernbert']
    """
    styles = (style for family in FAMILIES.values() for style in family.tokenizers)
    return {style.name: style for style in sorted(styles, key=lambda style: KINDS.index(style.kind))}


def tokenizer_style(kind: str, name: str | None = None) -> TokenizerStyle:
    """The tokenizer style of that name, or the kind's first; SettingError for names unknown or not of one another.

    >>> tokenizer_style("unigram").name
    'albert'
    """
    if kind not in KINDS:
        raise SettingError(f"no kind of tokenizer {kind!r}{nearest(kind, KINDS) or '.'} Kinds: {', '.join(KINDS)}")
    styles = tokenizer_styles()
    alike = [style.name for style in styles.values() if style.kind == kind]
    if name is None:
        name = alike[0]
    if name not in styles:
        raise SettingError(f"no family {name!r}{nearest(name, styles) or '.'} Families: {', '.join(styles)}")
    if name not in alike:
        raise SettingError(
            f"the tokenizers of {name} are of the kind {styles[name].kind}, not {kind}; use kind "
            f"{styles[name].kind}, or a family out of {', '.join(alike)}"
        )
    return styles[name]


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
