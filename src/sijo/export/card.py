"""What a model's card says of its ONNX files: numbers that were measured, in a part of its own at the end."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sijo.checkpoints.card import CARD, LONGEST_CARD
from sijo.files.paths import present
from sijo.files.private import write_file

HEADING = "## ONNX files"


def with_files(card: str, entries: Mapping[str, Mapping[str, Any]]) -> str:
    """A card with a part about ONNX files, in place of any that it had; all else stays as it was.

    entries  what was measured of each file, by its name

    >>> print(with_files("# A model", {}).splitlines()[:3])
    ['# A model', '', '## ONNX files']
    """
    before, _, after = f"\n{card}".partition(f"\n{HEADING}\n")
    kept = re.search(r"^#{1,2} ", after, flags=re.MULTILINE)
    behind = after[kept.start() :] if kept else ""
    lines = [
        HEADING,
        "",
        "Each was compared with the network in float32 by torch, on the same texts and the same machine; it "
        "decides alike where the highest score, or the nearest of some topics, is the same.",
        "",
        "| file | products | head | texts | largest difference | same decision | 95 % | times torch's speed |",
        "| --- | --- | --- | ---: | ---: | ---: | :---: | ---: |",
        *(_line(name, entry) for name, entry in sorted(entries.items())),
        "",
    ]
    parts = [before.removeprefix("\n").rstrip("\n"), "\n".join(lines).rstrip("\n"), behind.rstrip("\n")]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_files(fresh: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Put what was measured into the card of a folder that is being written; one is made where there is none."""
    card = present(fresh, CARD)
    text = "# A model" if card is None else card.read_bytes(LONGEST_CARD).decode("utf-8", "replace")
    write_file(fresh / CARD, with_files(text, entries).encode())


def _line(name: str, entry: Mapping[str, Any]) -> str:
    share = entry["agreement"]
    cells = (
        f"`{name}`",
        str(entry["products"]),
        str(entry["head"] or "sentence vectors"),
        f"{entry['texts']:,}",
        f"{entry['gap']:.1e}",
        f"{share['value']:.2%}",
        f"[{share['low']:.2%}, {share['high']:.2%}]",
        f"{entry['speed']:.2f}",
    )
    return f"| {' | '.join(cells)} |"
