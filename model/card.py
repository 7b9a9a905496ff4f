"""The card of sijo-small out of what the recipe left in its folder, and the manifest of the finished model.

    python model/card.py FOLDER [--measured CELLS.jsonl] [--biases BIASES.json]

CELLS.jsonl is what benchmarks/zero_shot.py wrote of the model under the name sijo-small, BIASES.json what
model/biases.py did; without them the card says where the figures are.
"""

import argparse
import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import jinja2

from sijo.files.manifest import write_manifest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))  # what the benchmarks share

from biases import markdown  # noqa: E402

import data  # noqa: E402

TAUGHT = {
    "CLINC150 out of scope",
    "CLINC150 domains",
    "CLINC150 intents",
    "Debian sections",
    "Debian sections, Korean",
    "WordNet nouns",
    "film snippets",
    "NSMC",
}
"""Judging sets whose other rows taught it."""


def sets(counts: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """Every set with its licence, and how many rows of it teach."""
    listed = tomllib.loads((HERE / "licences.toml").read_text(encoding="utf-8"))["sets"]
    return [one | {"rows": sum(left(counts[name]) for name in one["tables"] if name in counts)} for one in listed]


def left(counted: dict[str, int]) -> int:
    """The rows of a table that are no row that judges."""
    return 2 * counted["rows"] - sum(counted.values())


def measured(file: Path) -> list[dict[str, Any]]:
    """Each judging set's figures as words, in the order of the file."""
    cells = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    cells = [cell for cell in cells if cell["model"] == "sijo-small" and "numbers" in cell]
    by_set: dict[str, dict[str, dict[str, Any]]] = {}
    for cell in cells:
        by_set.setdefault(cell["set"], {})[cell["calibrate"]] = cell
    rows = []
    for name, ways in by_set.items():
        plain, best = ways["none"], ways.get("refine") or ways["batch"]
        rows.append(
            {
                "set": name,
                "taught": name in TAUGHT,
                "rows": plain["rows"],
                "none": shown(plain["numbers"]["macro_f1"]),
                "auto": shown(best["numbers"]["macro_f1"]),
                "ece": f"{best['numbers']['ece']['value']:.3f}",
            }
        )
    return rows


def shown(interval: dict[str, float]) -> str:
    """A value and its interval."""
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def main() -> None:
    """Write the card into the model's folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="that of the recipe")
    parser.add_argument("--measured", type=Path, help="cells of benchmarks/zero_shot.py")
    parser.add_argument("--biases", type=Path, help="what model/biases.py printed")
    args = parser.parse_args()
    counts = json.loads((args.folder / "sets" / "counts.json").read_text(encoding="utf-8"))["teaching"]
    stages = [json.loads(line) for line in (args.folder / "stages.jsonl").read_text(encoding="utf-8").splitlines()]
    settings = json.loads((args.folder / "labels" / "settings.json").read_text(encoding="utf-8"))
    model = args.folder / "sijo-small"
    tokens = json.loads((model / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    template = jinja2.Environment(autoescape=False, keep_trailing_newline=True).from_string(
        (HERE / "card.md.j2").read_text(encoding="utf-8")
    )
    page = template.render(
        sets=sets(counts),
        exact=sum(count for own in counts.values() for kind, count in own.items() if kind.startswith("exact")),
        near=sum(count for own in counts.values() for kind, count in own.items() if kind.startswith("near")),
        rows=sum(own["rows"] for own in counts.values()),
        stages=stages,
        steps=settings["run"]["steps"],
        tokens=tokens,
        machine=f"{data.cpu()}, {os.cpu_count()} cores",
        measured=measured(args.measured) if args.measured else None,
        biases=markdown(json.loads(args.biases.read_text(encoding="utf-8"))["figures"]) if args.biases else None,
    )
    (model / "README.md").write_text(page, encoding="utf-8")
    write_manifest(model)


if __name__ == "__main__":
    main()
