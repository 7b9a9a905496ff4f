"""Docstrings as `docs/style.md`'s readers write them, for mkdocstrings: aligned names become a table of parameters.

>>> print(marked_up("What it does.\\n\\nsize   in tokens,\\n       at most\\nseed   of chance", {"size", "seed"}))
What it does.
<BLANKLINE>
Args:
    size: in tokens, at most
    seed: of chance
"""

import re
from collections.abc import Collection
from typing import Any

import griffe


def items(block: str) -> list[tuple[str, str]]:
    """Each name and what is said of it, in a paragraph of two aligned columns; nothing for any other paragraph."""
    lines = block.splitlines()
    columns = {match.end() for line in lines if (match := re.match(r"[a-z_]\w* {2,}(?=\S)", line))}
    found: list[tuple[str, str]] = []
    for line in lines:
        match = re.match(r"([a-z_]\w*) +(?=\S)", line)
        if match and match.end() in columns:
            found.append((match[1], line[match.end() :]))
        elif found and line.startswith(" "):
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        else:
            return []
    return found


def marked_up(text: str, parameters: Collection[str]) -> str:
    """A docstring with its parameters under `Args:`, other aligned names as a list, and its examples fenced."""
    blocks = []
    for block in text.split("\n\n"):
        named = items(block)
        if named and {name for name, _ in named} <= {*parameters}:
            blocks.append("Args:\n" + "\n".join(f"    {name}: {said}" for name, said in named))
        elif named:
            blocks.append("\n".join(f"- `{name}`: {said}" for name, said in named))
        elif block.startswith(">>> "):
            blocks.append(f"```pycon\n{block}\n```")
        else:
            blocks.append(block)
    return "\n\n".join(blocks)


class Docstrings(griffe.Extension):
    """Rewrites each docstring as it is read; nothing is imported or run."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is None or not (obj.is_function or obj.is_class):
            return
        own = obj if obj.is_function else obj.members.get("__init__")
        names = {parameter.name for parameter in getattr(own, "parameters", ())}
        if obj.is_class and not names:  # a dataclass
            names = {name for name, member in obj.members.items() if member.is_attribute}
        obj.docstring.value = marked_up(obj.docstring.value, names)
