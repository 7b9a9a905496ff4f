"""A tokenizer with some of its tokens alone, numbered anew: what becomes of each part of a tokenizer.json.

A unigram model that has lost pieces cuts a text of which none was lost exactly as before. Of all ways to cut it the
best is still there, others can only be fewer, and the one thing that is new scores less than what it stands for:
where a letter's piece is gone, an unknown one. That holds because what an unknown letter costs, 10 below the lowest
score of all pieces, stays what it was; so the piece with the lowest score always stays.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

BYTE = re.compile("<0x[0-9A-F]{2}>")
"""A piece that stands for a byte of a letter that has none."""
Settings = dict[str, Any]


def renumbered(settings: Settings, ids: Sequence[int]) -> Settings:
    """The settings of a WordPiece or unigram tokenizer for these tokens alone, each as its place among them.

    settings  of a tokenizer.json
    ids       smallest first; all of `Tokenizer.essential_ids` among them
    """
    places = {number: place for place, number in enumerate(ids)}
    model = settings["model"]
    if isinstance(vocab := model["vocab"], list):  # pieces with their scores
        pieces = [vocab[number] for number in ids if number < len(vocab)]
        model = model | {"vocab": pieces, "unk_id": places[model["unk_id"]]}
    else:
        model = model | {"vocab": {name: places[number] for name, number in vocab.items() if number in places}}
    added = [token | {"id": places[token["id"]]} for token in settings["added_tokens"] if token["id"] in places]
    frame = settings["post_processor"] and _framed(settings["post_processor"], places)
    return settings | {"model": model, "added_tokens": added, "post_processor": frame}


def essential_ids(settings: Settings) -> set[int]:
    """The tokens that a WordPiece or unigram tokenizer cannot be without, beside its special ones.

    What a frame names; the unknown; the bytes of a unigram model that falls back on them, and its piece with the
    lowest score.
    """
    model, vocab = settings["model"], settings["model"]["vocab"]
    ids = {number for step in _frames(settings["post_processor"]) for number in _ids(step)}
    if not isinstance(vocab, list):
        return ids | {vocab[model["unk_token"]]}
    if model.get("byte_fallback"):
        ids |= {number for number, (piece, _) in enumerate(vocab) if BYTE.fullmatch(piece)}
    return ids | {model["unk_id"], min(range(len(vocab)), key=lambda number: vocab[number][1])}


def _frames(part: Settings | None) -> Iterator[Settings]:
    """The steps that put tokens around a text, wherever in a sequence."""
    if part is not None and part["type"] == "Sequence":
        for step in part["processors"]:
            yield from _frames(step)
    elif part is not None:
        yield part


def _ids(step: Settings) -> Iterator[int]:
    for special in step.get("special_tokens", {}).values():  # a template
        yield from special["ids"]
    for side in step.keys() & {"cls", "sep"}:  # BERT's own, and RoBERTa's
        yield step[side][1]


def _framed(part: Settings, places: Mapping[int, int]) -> Settings:
    if part["type"] == "Sequence":
        return part | {"processors": [_framed(step, places) for step in part["processors"]]}
    fresh: Settings = {side: [part[side][0], places[part[side][1]]] for side in part.keys() & {"cls", "sep"}}
    if "special_tokens" in part:
        fresh["special_tokens"] = {
            name: special | {"ids": [places[number] for number in special["ids"]]}
            for name, special in part["special_tokens"].items()
        }
    return part | fresh
