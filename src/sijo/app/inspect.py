"""`sijo inspect`: what is in a model's folder, and what would not load.

All of it may be a stranger's words: what a terminal would obey is shown as spaces.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import Parameter

from sijo.errors import SijoError

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model

PARTS = {
    "transformer.embeddings.": "embeddings",
    "transformer.distances.": "distances",
    "transformer.blocks.": "layers",
    "transformer.convolution.": "convolution",
    "transformer.final_norm.": "final norm",
}
ALIKE = ("sequence-classification", "token-classification", "multiple-choice")
"""Heads whose tensors have the same names: where the config does not say which it is, one that opens is enough."""
MOST_FILES = 1_000
"""That are measured, of ten times as many that are looked at."""
MOST_SHOWN = 40
"""Of anything, in a table."""
FOREIGN = (".py", ".so", ".sh", ".h5", ".onnx", ".msgpack", ".ot", ".tflite", ".pb", ".gguf", ".zip", ".tar", ".gz")
"""What sijo never opens, beside pickles."""
ABSENT = ("DebertaForPreTraining", "DebertaV2ForPreTraining", "DebertaForMultipleChoice")
"""Heads that were published, and that transformers has no class for."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class InspectSettings:
    """How it is shown."""

    revision: str | None = None
    """Branch, tag or commit of an org/name model."""
    format: Literal["table", "json"] | None = None
    """A table for people, or one JSON object; by default json in a pipe."""


def run(model: str | None, settings: InspectSettings) -> None:
    """Print what a folder holds; ends with the error of what would not load, if there is one."""
    from sijo.checkpoints.locate import locate

    folder = locate(model, revision=settings.revision)
    found, error = inspect(folder)
    if (settings.format or ("table" if sys.stdout.isatty() else "json")) == "json":
        print(json.dumps(found))  # noqa: T201 (in ASCII: file names need not be text)
    else:
        _print(found)
    if error is not None:
        raise error


def inspect(folder: Path) -> tuple[dict[str, Any], Exception | None]:
    """What is in a model's folder, as plain values under names that are always there, and why it would not load."""
    from sijo.checkpoints.card import licence

    errors: dict[str, Exception] = {}
    found: dict[str, Any] = dict.fromkeys(
        ("model_type", "dtype", "layers", "blocks", "architecture", "parameters", "labels", "tokenizer")
    )
    found = {"folder": str(folder)} | found
    found |= {"parameters_by_part": {}, "heads": {}, "sentence_encoder": None, "licence": None, "unused": []}
    try:
        found |= _opened(folder, errors)
    except (SijoError, OSError) as error:
        errors["encoder"] = error
    first = next(iter(errors.values()), None)
    try:
        found["licence"] = licence(folder)
    except (SijoError, OSError) as error:
        errors["README.md"] = error
    names = sorted(islice(_names(folder), 10 * MOST_FILES), key=lambda name: (name.count("/"), name))
    found["files"] = [_measured(folder, name, errors) for name in names[:MOST_FILES]]
    found["files_not_listed"] = len(names) - len(found["files"])
    found["never_opened"] = [file["name"] for file in found["files"] if _is_foreign(file["name"])]
    found["would_not_load"] = {name: str(error) for name, error in errors.items()}
    return found, first


def _opened(folder: Path, errors: dict[str, Exception]) -> dict[str, Any]:
    """What opening the encoder and each head tells; a head that does not open is put among the errors."""
    from sijo.checkpoints.load import load
    from sijo.checkpoints.weights import read_weights
    from sijo.nn.head_specs import POOLER

    encoder = load(folder)
    models = [encoder, *_with_heads(folder, encoder.heads, errors)]
    sizes: dict[str, int] = {}
    seen: set[str] = set()
    for model in models:
        _count(model, sizes, seen)
    unused = set.intersection(*(set(model.unused) for model in models))
    kinds = {name: encoder.family.published([name]) for model in models for name in model.layouts if name != POOLER}
    unknown = ABSENT if encoder.family.model_type != "sijo" else kinds.values()
    a, sentence = encoder.architecture, encoder.sentence
    words = encoder.tokenizer if encoder.has_tokenizer else None
    dtypes = {str(t.dtype).removeprefix("torch.") for t in read_weights(folder).values() if t.is_floating_point()}
    return {
        "model_type": encoder.family.model_type,
        "dtype": " and ".join(sorted(dtypes)),
        "layers": a.layers,
        "blocks": a.blocks,
        "architecture": asdict(a),
        "parameters": sum(sizes.values()),
        "parameters_by_part": sizes,
        "heads": {name: None if kind in unknown else kind for name, kind in kinds.items()},
        "labels": list(encoder.labels) if "id2label" in encoder.config else None,
        "tokenizer": words
        and {"kind": words.kind, "vocabulary": words.vocab_size, "longest_input": words.max_length},
        "sentence_encoder": asdict(sentence) if sentence.trained else None,
        "unused": sorted(unused),
    }


def _with_heads(folder: Path, heads: tuple[str, ...], errors: dict[str, Exception]) -> "list[Model]":
    """Models that have all the heads that open: together if they all do, else one by one."""
    from sijo.checkpoints.load import load

    models, failed = [], {}
    try:
        return [load(folder, heads)] if heads else []
    except SijoError:
        for name in heads:
            try:
                models.append(load(folder, name))
            except SijoError as error:
                failed[name] = error
    alike = any(name in ALIKE for model in models for name in model.layouts)
    errors |= {f"head {name}": error for name, error in failed.items() if not (alike and name in ALIKE)}
    return models


def _count(model: "Model", sizes: dict[str, int], seen: set[str]) -> None:
    """Add the parameters of each part; what two heads share counts for the one that was opened first."""
    from sijo.checkpoints.names import NameTable

    tensors = model.state_dict()
    table = NameTable(model.family, model.family.config.read(model.config), model.layouts, tensors)
    new = [name for name in tensors if table.names[name] not in seen]
    for name in new:
        part = next((part for prefix, part in PARTS.items() if name.startswith(prefix)), name.split(".")[1])
        part = "pooler" if "pooler" in table.names[name].split(".") else part  # of a head, or the encoder's own
        sizes[part] = sizes.get(part, 0) + tensors[name].numel()
    seen |= {table.names[name] for name in new}


def _names(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        yield from ((Path(place) / name).relative_to(folder).as_posix() for name in sorted(files))


def _measured(folder: Path, name: str, errors: dict[str, Exception]) -> dict[str, Any]:
    """A file's size and digest; None for one that must not be opened, or cannot."""
    from sijo.files.folders import present

    size = sha256 = None
    try:
        if file := present(folder, name):
            size = file.stat().st_size
            with file.open("rb") as opened:
                sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    except (SijoError, OSError) as error:
        errors.setdefault(name, error)
    return {"name": name, "bytes": size, "sha256": sha256}


def _is_foreign(name: str) -> bool:
    from sijo.checkpoints.weight_files import PICKLED

    return name.endswith((*PICKLED, *FOREIGN))


def _print(found: dict[str, Any]) -> None:
    """For people, in 80 columns; a digest is never broken, so a line of a file may run on."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    about = Table(box=None, pad_edge=False, show_header=False)
    about.add_column(style="bold")
    about.add_column(overflow="fold")
    for name, words in _about(found):
        about.add_row(Text(_safe(name)), Text(_safe(words)))
    console.print(about)
    console.print()
    for file in found["files"][:MOST_SHOWN]:
        note = "  (never opened)" if file["name"] in found["never_opened"] else ""
        line = f"{file['sha256'] or '?' * 64} {_human(file['bytes']):>8}  {_safe(file['name'])}{note}"
        console.print(Text(line), soft_wrap=True)
    if more := len(found["files"][MOST_SHOWN:]) + found["files_not_listed"]:
        console.print(Text(f"and {more:,} files more; --format json lists {len(found['files']):,}"))
    for name, reason in islice(found["would_not_load"].items(), MOST_SHOWN):
        console.print(Text(f"\nwould not load: {_safe(name)}", style="bold red"))
        console.print(Text(_safe(reason)))


def _about(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is known of a model, line by line."""
    yield "folder", found["folder"]
    if found["architecture"] is not None:
        mixed = found["model_type"] == "sijo"
        yield "model", f"{found['model_type']}{' (not in transformers)' if mixed else ''}, {found['dtype']}"
        for number, line in enumerate(_in_words(found)):
            yield ("" if number else "network"), line
        yield "parameters", f"{found['parameters']:,}"
        for part, count in found["parameters_by_part"].items():
            yield f"  {part}", f"{count:>{len(format(found['parameters'], ','))},}"
        kinds = found["heads"].items()
        heads = [name if mixed else f"{name} ({kind or 'not in transformers'})" for name, kind in kinds]
        yield "heads", _few(heads) or "none"
        if found["labels"]:
            yield "labels", _few(found["labels"])
        if words := found["tokenizer"]:
            limit = f"inputs up to {words['longest_input']:,} tokens"
            yield "tokenizer", f"{words['kind']}, {words['vocabulary']:,} tokens, {limit}"
        else:
            yield "tokenizer", "none"
        if sentence := found["sentence_encoder"]:
            yield "sentences", f"{sentence['pooling']} pooling{', in lower case' if sentence['lowercase'] else ''}"
        if found["unused"]:
            yield "read by none", _few(found["unused"])
    yield "licence", found["licence"] or "not named in a card"


def _in_words(found: dict[str, Any]) -> Iterator[str]:
    """An architecture as one would tell it."""
    a, layers, blocks = found["architecture"], found["layers"], found["blocks"]
    over = f" over {_counted(blocks, 'block')} of weights" if blocks < layers else ""
    left = ", reads to the left only" if a["reads"] == "left" else ""
    yield f"{_counted(layers, 'layer')}{over}, {a['hidden_size']:,} wide, {_counted(a['heads'], 'head')}{left}"
    before = "before" if a["norm"]["kind"] == "pre" else "after"
    yield f"feed-forward {a['intermediate_size']:,} wide, {a['activation']}; LayerNorm {before} each part"
    widened = f", widened {a['widening'].replace('_', ' its ')}" if a["widening"] else ""
    segments = f"; {_counted(a['token_types'], 'segment')}" if a["token_types"] else ""
    yield f"{a['vocab_size']:,} tokens in a table {a['embedding_size']:,} wide{widened}{segments}"
    if places := a["positions"]:
        yield f"{places['count']:,} places, {'learned' if places['kind'] == 'learned' else 'as waves'}"
    if far := a["distances"]:
        buckets = f"in {2 * far['buckets']:,} buckets" if far["buckets"] else "each apart"
        terms = f"{' and '.join(far['terms']) or 'no term'}, {far['projections']} projections"
        yield f"distances up to {far['span']:,} tokens, {buckets}: {terms}"
    if near := a["convolution"]:
        yield f"a convolution over {near['kernel']} tokens beside the first layer"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _few(words: Iterable[str]) -> str:
    listed = [_safe(word, 80) for word in words]
    more = f", and {len(listed) - MOST_SHOWN:,} more" if len(listed) > MOST_SHOWN else ""
    return ", ".join(listed[:MOST_SHOWN]) + more


def _safe(text: str, most: int = 4_000) -> str:
    """Words that a terminal shows and does not obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:most])


def _human(size: int | None) -> str:
    """A size in a word or two.

    >>> _human(999), _human(90_868_376), _human(None)
    ('999 B', '90.9 MB', '?')
    """
    if size is None:
        return "?"
    number, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 999.5 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.3g} {unit}"
