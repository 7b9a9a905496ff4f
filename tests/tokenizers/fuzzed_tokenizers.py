"""Random tokenizer.json files, opened and run: `fuzzed_tokenizers.py SEED FILES FOLDER` prints how many opened.

FOLDER holds whole ones, each in a folder of its own. Half of the files are those with fields taken out, doubled or
spoiled; in the others every part is drawn anew from the kinds that sijo knows, with settings at the edge of what it
takes. Anything but an answer or an error of sijo's ends this process with a trace.
"""

import copy
import json
import random
import sys
import warnings
from pathlib import Path

from sijo.errors import SettingError, SijoError
from sijo.tokenizers import components
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.tokenizers.tokenizer_json import read_tokenizer_json

SPOILED = [None, True, 0, -1, 2.5, 1e30, 2**31, 2**64, "", "x" * 300, "\ud800", [], {}, [[]], ["a", "b"], {"a": 1}]
WORDS = [
    "a",
    "b",
    "e",
    "\u0301",
    "ﷺ",
    "가",
    "é",
    "[SEP]",
    "</w>",
    "##",
    "▁",
    "\n",
    "\ufdd0",
    "\0",
    "👨‍👩‍👧",
    "½",
    "İ",
]
PATTERNS = [{"String": text} for text in WORDS] + [{"Regex": text} for text in sorted(components.PATTERNS)]
PIECE = {"id": "A", "type_id": 0}
SETTINGS = {
    "pattern": PATTERNS,
    "content": ["", *WORDS],
    **{name: [" ", "▁", "a", "é"] for name in ("prepend", "replacement", "delimiter")},
    **{name: ["", "##", "</w>", "▁"] for name in ("suffix", "prefix")},
    "behavior": ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"],
    "prepend_scheme": ["always", "never", "first"],
    "length": [1, 2, 1 << 20],
    **{"start": [0, 1, 16], "stop": [0, 1]},
    **{name: [["[SEP]", 0], ["x", 2], ["[CLS]", 1]] for name in ("sep", "cls")},
    "single": [[{"Sequence": PIECE}], [{"Sequence": PIECE}, {"SpecialToken": {"id": "x", "type_id": 1}}]],
    "pair": [[{"Sequence": {"id": "B", "type_id": 1}}, {"Sequence": PIECE}]],
    "special_tokens": [{"x": {"id": "x", "ids": ids, "tokens": ["x"] * len(ids)}} for ids in ([1], [2, 0, 1])],
}
TEXTS = ["ab" * 2000, "ﷺ" * 1000, "e\u0301" * 2000, " " * 5000, "[MASK] " * 500, "", "ﬁ½①" * 1000]


def drawn_step(role, chance):
    kinds = components.STEPS[role][1]
    kind = chance.choice(sorted(kinds.keys() - {"Precompiled"}))
    names = [name for name in kinds[kind] if name != "str_rep"]
    return {"type": kind, **{name: chance.choice(SETTINGS.get(name, [True, False])) for name in names}}


def drawn_part(role, chance):
    steps = [drawn_step(role, chance) for _ in range(chance.choice([1, 1, 2, 3]))]
    return steps[0] if len(steps) == 1 else {"type": "Sequence", components.STEPS[role][0]: steps}


def places(value):
    """Every object and list with each of its keys, but of a vocabulary only some."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys)[:40]:
        yield value, key
        yield from places(value[key])


def spoil(fields, chance):
    holder, key = chance.choice(list(places(fields)))
    match chance.randrange(4):
        case 0:
            del holder[key]
        case 1:
            holder[key] = chance.choice(SPOILED)
        case 2 if isinstance(holder, list) and len(holder) < 100:
            holder[:] = holder * chance.choice([2, 40])
        case _ if isinstance(holder[key], str):
            holder[key] *= chance.choice([2, 300])


def run(content, texts):
    """Open a file, and call whatever calls the library."""
    tokenizer = Tokenizer(read_tokenizer_json(content, Path("file")), max_length=16)
    _ = tokenizer.fingerprint, tokenizer.special_ids, tokenizer.largest_id
    try:
        _ = tokenizer.starts_word
        tokenizer.with_specials(["<fresh>"])
    except SettingError:
        pass
    for text in texts:
        ids = tokenizer.ids([text])[0]
        tokenizer.decode(ids[:500])
        tokenizer.windows([text])
        tokenizer.spelled([text])


def main(seed, files, folder):
    chance = random.Random(seed)
    wholes = [json.loads(file.read_text()) for file in sorted(folder.glob("*/tokenizer.json"))]
    opened = refused = 0
    for _ in range(files):
        fields = copy.deepcopy(chance.choice(wholes))
        if chance.random() < 0.4:
            spoil(fields, chance)
        else:
            for role in chance.sample(sorted(components.STEPS), chance.choice([1, 1, 2, 4])):
                fields[role] = drawn_part(role, chance)
        for word in chance.sample(WORDS, chance.choice([0, 0, 1, 3])):
            flags = {flag: chance.random() < 0.5 for flag in components.ADDED_FLAGS}
            size = len(fields.get("model", {}).get("vocab") or ())
            with_number = {"id": chance.choice([size, size + 1]), "content": word, **flags}
            fields["added_tokens"] = [*(fields.get("added_tokens") or []), with_number]
        try:
            run(json.dumps(fields).encode(), chance.sample(TEXTS, 3))
            opened += 1
        except SijoError:
            refused += 1
    print(opened, refused)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
