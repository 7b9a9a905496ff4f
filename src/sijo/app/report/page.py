"""A page that needs nothing but itself: no script, no font, no address. Words are escaped; drawings are markup."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sijo.errors import SettingError
from sijo.texts import printable


def must_draw() -> None:
    """Raise SettingError where there is nothing to draw with."""
    if find_spec("matplotlib") is None:
        raise SettingError('drawing needs matplotlib: pip install "sijo[plot]"')


def rendered(template: str, **values: Any) -> str:
    """A template of this folder with what it is to show."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=lambda value: printable(value, lines=True) if type(value) is str else value,  # a drawing is Markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)
