"""`sijo inspect`: what is in a model's folder, and what would not load.

All of it may be untrusted words.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from cyclopts import Parameter
from rich.table import Column, Table
from rich.text import Text

from sijo.app.numbers import file_size
from sijo.app.results import print_json, print_shown, wants_json
from sijo.errors import warn
from sijo.texts import printable

MOST_SHOWN = 40
"""How many files, heads, labels or errors a table lists."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class InspectSettings:
    """How it is shown."""

    revision: str | None = None
    """Branch, tag or commit of an org/name model."""
    base: str | None = None
    """The model of a LoRA adapter: a folder or org/name, where MODEL holds the adapter alone."""
    format: Literal["table", "json"] | None = None
    """A table for people, or one JSON object; by default json in a pipe."""


def run(model: str | None = None, /, *, options: InspectSettings = InspectSettings()) -> None:
    """Show what is in a model's folder: architecture, parameters, heads, tokenizer, languages, licence, files.

    MODEL is a folder or an org/name; without it the built-in model. Encoder and heads are opened as
    any command opens them, and nothing is run. What would not load is named with the reason, which is
    also the exit code: 4 for what is unsafe or unsupported, 5 for damage.

        sijo inspect models/deberta-v3-small

        sijo inspect models/deberta-v3-small --format json | jq .parameters_by_part
    """
    from sijo.checkpoints.contents import inspect
    from sijo.checkpoints.locate import locate
    from sijo.inference.backends.registry import RULE, backends_of
    from sijo.zeroshot.scorers.open import scorer_of

    folder = locate(model, revision=options.revision)
    contents, described, error = inspect(folder, base=options.base)
    contents["backend"] = {"rule": RULE, "auto": {} if described is None else backends_of(described)}
    contents["scorer"] = None if described is None else scorer_of(described)
    if wants_json(options.format):
        print_json(contents)
    else:
        _print(contents)
    if contents["licence_terms"] is not None:
        warn(f"the licence {contents['licence_terms']}, by its name in the card; read it before you use the model")
    if error is not None:
        raise error


def _print(contents: dict[str, Any]) -> None:
    """For people, in 80 columns; a digest is never broken, so a line of a file may run on."""
    columns = Column(style="bold"), Column(overflow="fold")
    about = Table(*columns, box=None, pad_edge=False, show_header=False)
    for name, words in _about(contents):
        about.add_row(Text(_safe(name)), Text(_safe(words)))
    print_shown(about, "")
    for file in contents["files"][:MOST_SHOWN]:
        note = "  (never opened)" if file["name"] in contents["never_opened"] else ""
        line = f"{file['sha256'] or '?' * 64} {file_size(file['bytes']):>8}  {_safe(file['name'])}{note}"
        print_shown(Text(line), soft_wrap=True)
    if more := len(contents["files"][MOST_SHOWN:]) + contents["files_not_listed"]:
        print_shown(Text(f"and {more:,} files more; --format json lists {len(contents['files']):,}"))
    for name, reason in islice(contents["would_not_load"].items(), MOST_SHOWN):
        print_shown(Text(f"\nwould not load: {_safe(name)}", style="bold red"), Text(_safe(reason)))


def _about(contents: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is known of a model, line by line."""
    yield "folder", contents["folder"]
    if contents["architecture"] is not None:
        mixed = contents["model_type"] == "sijo"
        dtype = contents["dtype"] or "in ONNX files alone"
        yield "model", f"{contents['model_type']}{' (not in transformers)' if mixed else ''}, {dtype}"
        for number, line in enumerate(_in_words(contents)):
            yield ("" if number else "network"), line
        counted = contents["parameters"] is not None
        yield "parameters", f"{contents['parameters']:,}" if counted else "not counted in ONNX files"
        for part, count in contents["parameters_by_part"].items():
            yield f"  {part}", f"{count:>{len(format(contents['parameters'], ','))},}"
        kinds = contents["heads"].items()
        heads = [name if mixed else f"{name} ({kind or 'not in transformers'})" for name, kind in kinds]
        yield "heads", _few(heads) or "none"
        if adapter := contents.get("adapter"):
            beside = f", of {adapter['base']}" if adapter["base"] else ""
            named = adapter["targets"] if isinstance(adapter["targets"], list) else [str(adapter["targets"])]
            yield "adapter", f"LoRA of rank {adapter['rank']} on {_few(named)}{beside}, merged"
        if contents["labels"]:
            yield "labels", _few(contents["labels"])
        words = "none"
        if tokenizer := contents["tokenizer"]:
            limit = f"inputs up to {tokenizer['longest_input']:,} tokens"
            words = f"{tokenizer['kind']}, {tokenizer['vocabulary']:,} tokens, {limit}"
        yield "tokenizer", words
        if sentence := contents["sentence_encoder"]:
            yield from _of_sentences(sentence)
        for precision, row in contents["onnx"].items():
            beside = (
                "made of the weights beside it" if row["compared"] else "compared with no weights: none are here"
            )
            yield f"ONNX {precision}", f"{row['file']}, gives {_few(row['gives'])}; {beside}"
        chosen = ", ".join(f"{name} for {precision}" for precision, name in contents["backend"]["auto"].items())
        if scorer := contents["scorer"]:
            yield "scorer", f"auto takes {scorer['auto'] or 'none'}: {scorer['reason']}"
        yield "backend", f"{chosen or 'none that is installed'}; auto takes {contents['backend']['rule']}"
        if counted and not contents["tried"]:
            yield "weights", "not opened to see whether they load: that takes torch, pip install 'sijo[torch]'"
        if contents["unused"]:
            yield "read by none", _few(contents["unused"])
    yield "languages", _few(contents["languages"] or ()) or "not named in a card"
    yield "licence", contents["licence"] or "not named in a card"


def _in_words(contents: dict[str, Any]) -> Iterator[str]:
    """An architecture in words, line by line."""
    a, layers, blocks = contents["architecture"], contents["layers"], contents["blocks"]
    over = f" over {_counted(blocks, 'block')} of weights" if blocks < layers else ""
    left = ", reads to the left only" if a["reads"] == "left" else ""
    yield f"{_counted(layers, 'layer')}{over}, {a['hidden_size']:,} wide, {_counted(a['heads'], 'head')}{left}"
    gated = "gated, " if a["feed_forward"] == "gated" else ""
    before = "before" if a["norm"]["kind"] == "pre" else "after"
    yield f"feed-forward {a['intermediate_size']:,} wide, {gated}{a['activation']}; LayerNorm {before} each part"
    widened = f", widened {a['widening'].replace('_', ' its ')}" if a["widening"] else ""
    segments = f"; {_counted(a['token_types'], 'segment')}" if a["token_types"] else ""
    yield f"{a['vocab_size']:,} tokens in a table {a['embedding_size']:,} wide{widened}{segments}"
    if places := a["positions"]:
        first = 0 if places.get("padding") is None else places["padding"] + 1
        yield f"{places['count'] - first:,} places, {'learned' if places['kind'] == 'learned' else 'as waves'}"
    if far := a["distances"]:
        buckets = f"in {2 * far['buckets']:,} buckets" if far["buckets"] else "each apart"
        terms = f"{' and '.join(far['terms']) or 'no term'}, {far['projections']} projections"
        yield f"distances up to {far['span']:,} tokens, {buckets}: {terms}"
    if far := a.get("relative_bias"):
        yield f"a bias for distances up to {far['span']:,} tokens, in {far['buckets']:,} buckets"
    if turned := a["rotary"]:
        yield f"queries and keys turned by where they stand, for up to {turned['count']:,} tokens"
    if window := a["window"]:
        near = sum(window["pattern"][layer % len(window["pattern"])] == "local" for layer in range(layers))
        yield f"{_counted(near, 'layer')} that read {window['reach']:,} tokens on either side"
    if near := a["convolution"]:
        yield f"a convolution over {near['kernel']} tokens beside the first layer"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _few(words: Iterable[str]) -> str:
    listed = [_safe(word, 80) for word in words]
    more = f", and {len(listed) - MOST_SHOWN:,} more" if len(listed) > MOST_SHOWN else ""
    return ", ".join(listed[:MOST_SHOWN]) + more


def _safe(text: str, most: int = 4_000) -> str:
    return printable(text[:most])


def _of_sentences(sentence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How vectors of texts are made, line by line."""
    pooling = sentence["pooling"]
    pooled = pooling if isinstance(pooling, str) else " beside ".join(pooling)
    steps = "".join(f", then {_step(step)}" for step in sentence["steps"])
    yield "sentences", f"{pooled} pooling{', in lower case' if sentence['lowercase'] else ''}{steps}"
    if sentence["similarity"] not in (None, "cosine"):
        yield "  compared", f"by {sentence['similarity']}, as it was trained"
    for name, words in sentence["prompts"].items():
        mark = " (put before each text)" if name == sentence["default_prompt"] else ""
        yield "  prompt", f"{name}: {words!r}{mark}"


def _step(step: Mapping[str, Any]) -> str:
    """A module behind the pooling, as words."""
    if step["kind"] != "Dense":
        return str(step["kind"])
    return f"Dense from {step['inputs']} to {step['outputs']} ({step['activation']})"
