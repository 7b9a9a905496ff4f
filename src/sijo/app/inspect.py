"""`sijo inspect`: what is in a model's folder, and what would not load."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import Parameter

from sijo.errors import SijoError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sijo.checkpoints.load import Model

PARTS = {
    "embeddings": "transformer.embeddings.",
    "distances": "transformer.distances.",
    "layers": "transformer.blocks.",
    "convolution": "transformer.convolution.",
    "final norm": "transformer.final_norm.",
}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class InspectSettings:
    """How it is shown."""

    revision: str | None = None
    """Branch, tag or commit of an org/name model."""
    format: Literal["table", "json"] | None = None
    """Tables for people, or one JSON object; by default json in a pipe."""


def run(model: str | None, settings: InspectSettings) -> None:
    """Print what a folder holds; ends with the error of what would not load, if there is one."""
    from sijo.checkpoints.locate import locate

    folder = locate(model, revision=settings.revision)
    found, error = inspect(folder)
    format = settings.format or ("table" if sys.stdout.isatty() else "json")
    if format == "json":
        print(json.dumps(found, ensure_ascii=False))  # noqa: T201
    else:
        _print(found)
    if error is not None:
        raise error


def inspect(folder: Path) -> tuple[dict[str, Any], SijoError | None]:
    """What is in a model's folder, as plain values, and the first error of what would not load."""
    from sijo.checkpoints.folder import digests
    from sijo.checkpoints.load import load, peek

    found: dict[str, Any] = {"folder": str(folder), "licence": _licence(folder)}
    first: SijoError | None = None
    would_not_load: dict[str, str] = {}

    def opened(head: str | None) -> "Model | None":
        nonlocal first
        try:
            return load(folder, head)
        except SijoError as error:
            first = first or error
            would_not_load[head or "encoder"] = str(error)
            return None

    encoder = opened(None)
    if encoder is not None:
        found |= _described(encoder)
        parameters: dict[str, int] = {}
        for name in peek(folder):
            if (model := opened(name)) is not None:
                parameters[name] = sum(weight.numel() for weight in model.head.parameters())
        found["heads"] = parameters
        found["unused"] = {"encoder": list(encoder.unused)}
    found["would_not_load"] = would_not_load
    try:
        found["files"] = {
            name: {"bytes": size, "sha256": sha256} for name, (size, sha256) in digests(folder).items()
        }
    except SijoError as error:
        first = first or error
        found["files"] = {}
    return found, first


def _described(model: "Model") -> dict[str, Any]:
    weights = {name: weight.numel() for name, weight in model.named_parameters()}
    parts = {
        part: count
        for part, prefix in PARTS.items()
        if (count := sum(size for name, size in weights.items() if name.startswith(prefix)))
    }
    if pooler := sum(size for name, size in weights.items() if name.startswith("head.")):
        parts["pooler"] = pooler
    tokenizer = None
    if model.has_tokenizer:
        tokenizer = {
            "kind": model.tokenizer.kind,
            "vocabulary": model.tokenizer.vocab_size,
            "longest_input": model.tokenizer.max_length,
        }
    architecture = asdict(model.architecture)
    return {
        "model_type": model.family.model_type,
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "layers": model.architecture.layers,
        "architecture": architecture,
        "parameters": sum(weights.values()),
        "parameters_by_part": parts,
        "labels": list(model.labels) if "id2label" in model.config else None,
        "tokenizer": tokenizer,
        "sentence_encoder": asdict(model.sentence) if model.sentence.trained else None,
    }


def _licence(folder: Path) -> str | None:
    """The licence that the model card's heading names."""
    from sijo.checkpoints.folder import present

    card = present(folder, "README.md")
    if card is None:
        return None
    with card.open(encoding="utf-8", errors="replace") as lines:
        if lines.readline(100).strip() != "---":
            return None
        for line in (lines.readline(10_000) for _ in range(1_000)):
            if line.strip() == "---":
                break
            key, _, value = line.partition(":")
            if key.strip() in ("license", "licence") and value.strip():
                return value.strip().strip("\"'")
    return None


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console()
    for part in _tables(found):
        console.print(part)


def _tables(found: dict[str, Any]) -> "Iterator[RenderableType]":
    from rich.table import Table
    from rich.text import Text

    def table(*columns: str) -> Table:
        made = Table(box=None, pad_edge=False, show_header=len(columns) > 2)
        for column in columns:
            made.add_column(
                column, justify="right" if column in ("bytes", "parameters") else "left", overflow="fold"
            )
        return made

    about = table("", "")
    about.add_row("folder", Text(found["folder"]))
    if "architecture" in found:
        a, words = found["architecture"], found["tokenizer"]
        blocks = max(a["schedule"]) + 1
        shared = f" over {blocks} of weights" if blocks < found["layers"] else ""
        about.add_row("model", f"{found['model_type']}, {found['dtype']}")
        about.add_row("layers", f"{found['layers']}{shared}")
        for name in ("hidden_size", "embedding_size", "heads", "intermediate_size", "vocab_size", "activation"):
            about.add_row(name, f"{a[name]:,}" if isinstance(a[name], int) else str(a[name]))
        for name in ("positions", "distances", "convolution"):
            if a[name] is not None:
                about.add_row(name, ", ".join(f"{key} {value}" for key, value in a[name].items()))
        about.add_row(
            "tokenizer",
            f"{words['kind']}, {words['vocabulary']:,} tokens, inputs up to {words['longest_input']}"
            if words
            else "none",
        )
        about.add_row("heads", ", ".join(found["heads"]) or "none")
        if found["labels"]:
            about.add_row("labels", Text(", ".join(found["labels"])))
        about.add_row("parameters", f"{found['parameters']:,}")
        counts = found["parameters_by_part"] | found["heads"]
        for part, count in counts.items():
            about.add_row(f"  {part}", f"{count:,}")
    about.add_row("licence", Text(found["licence"] or "not said in the card"))
    yield about
    yield ""
    files = table("file", "bytes", "SHA-256")
    for name, entry in found["files"].items():
        files.add_row(Text(name), f"{entry['bytes']:,}", entry["sha256"])
    yield files
    if unused := found.get("unused", {}).get("encoder"):
        yield Text(f"\nnot used by the encoder alone: {', '.join(unused)}")
    for part, reason in found["would_not_load"].items():
        yield Text(f"\nwould not load, {part}: {reason}")
