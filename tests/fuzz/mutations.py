"""Strategies of hypothesis that spoil real files: bytes, JSON by its tree, and containers by what they hold.

Each gives the bytes of one file. Few edits are drawn, so that most of the file stays sound and readers are reached
that stand behind the first check; hypothesis then leaves out what a fault does not need.
"""

import copy
import gzip
import io
import json
import struct
import tomllib
import zipfile

from hypothesis import strategies as st

MOST_BYTES = 2_000_000
NUMBERS = [0, 1, 2, 3, 7, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1]
NUMBERS += [2**63, 2**64 - 1, 2**64, 10**30]
WORDS = [
    "",
    " ",
    "a",
    "x" * 300,
    "\0",
    "\n",
    "\r",
    "\u2028",
    "\ufeff",
    "\x1b[2J",
    "[bold]",
    "한글",
    "e\u0301",
    "🙂",
]
WORDS += ["..", "../outside/canary", "../outside/canary.safetensors", "/etc/hostname", "~", "C:\\a", "\ud800", "{}"]
WORDS += [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "nan",
    "inf",
    "F32",
    "I64",
    "F4",
    "file:///etc/hostname",
]
WORDS += ["bert", "deberta-v2", "albert", "ctrl", "sijo", "gelu", "relu", "float16", "int8", "mlm", "=1+1", "text"]
WORDS += ["label", "[MASK]"]
RAW = ["NaN", "Infinity", "-Infinity", "1e999", "-0", "-0.0", "1e-320", "9" * 400, "9" * 5000, "-" + "9" * 5000]
RAW += ["[" * depth + "]" * depth for depth in (40, 900, 1100, 100_000)] + ['{"a":' * 900 + "1" + "}" * 900]
RAW += ["[" + ",".join(["0"] * 5_000) + "]", '{"a": 1, "a": 2}', "'a'", "// a", "", "0x10"]
MARK = "\ue000{}\ue001"
"""What stands in a tree for text of JSON that no value is written as."""
BITS = [
    b"",
    b"\0",
    b"\xff",
    b"\xff" * 4,
    b"\xff\xff\xff\xff\x0f",
    b"\xff" * 9 + b"\x01",
    b"\x80" * 20,
    b"\r",
    b"\n",
]
BITS += [b"\r\n", b'"', b'""', b",", b"\t", b";", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"\\"]
BITS += [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\x1b[2J",
    b"-",
    b"0",
    b"9" * 400,
    b"\x1f\x8b",
    b"PK\x03\x04",
    b"PAR1",
    b"sep=;\n",
]
BITS += [b"[" * 3_000, b'"' * 3_000, b"," * 3_000, b"\n" * 3_000, b"=" * 200, "\u2028".encode()]
BITS += ["한글".encode(), "한글".encode("cp949")]
BITS += [
    b'<c r="XFD1048576"><v>1</v></c>',
    b'<c r="A1" t="s"><v>4294967295</v></c>',
    b'<row r="-1">',
    b"&#0;",
    b"&a;",
]
BITS += [b'<!DOCTYPE a [<!ENTITY a "aaaa">]>', b"<a>" * 3_000, b'<dimension ref="A1:XFD1048576"/>', b"<v>1e999</v>"]
BITS += [
    struct.pack("<I", 2**31 - 1),
    struct.pack("<I", 2**31),
    struct.pack("<Q", 2**63),
    struct.pack("<d", float("nan")),
]
EDITS = (1, 1, 2, 3)
"""How many edits a tree gets."""


def odd_values():
    """What may stand in JSON where something else is awaited."""
    leaves = st.one_of(
        st.sampled_from([None, True, False, -1, 2.5, 1e30, -1e308, [], {}, [[]], {"": None}, [None]]),
        st.sampled_from(NUMBERS).flatmap(lambda number: st.sampled_from([number, -number])),
        st.sampled_from(WORDS),
        st.sampled_from(RAW).map(lambda raw: MARK.format(RAW.index(raw))),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
    )

    def inner(values):
        return st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(WORDS), values, max_size=3)

    return leaves | st.recursive(leaves, inner, max_leaves=6)


VALUES = odd_values()


def places(tree):
    """Every object and list of a tree with each of its keys, but of a long one only some."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in [*keys[:20], *keys[-3:]] if len(keys) > 40 else keys:
        yield tree, key
        yield from places(tree[key])


def edit_tree(draw, tree):
    """One edit somewhere in a tree; gives the tree."""
    found = list(places(tree))
    if not found or draw(st.integers(0, 60)) == 60:
        return draw(VALUES)
    holder, key = found[draw(st.integers(0, len(found) - 1))]
    value = holder[key]
    match draw(st.sampled_from(["replace", "scale", "delete", "repeat", "rename", "swap", "wrap", "add"])):
        case "scale" if isinstance(value, int | float) and not isinstance(value, bool):
            holder[key] = draw(
                st.sampled_from([value + 1, value - 1, -value, value * 2, value * 10**6, value * 10**12, value / 2])
            )
        case "delete":
            del holder[key]
        case "repeat" if isinstance(value, list | str) and len(value) < 200:
            holder[key] = value * draw(st.sampled_from([2, 3, 40, 1000]))
        case "rename" if isinstance(holder, dict):
            name = draw(st.sampled_from(WORDS) | st.sampled_from(sorted(holder)))
            holder[name] = holder.pop(key)
        case "swap":
            other, at = found[draw(st.integers(0, len(found) - 1))]
            holder[key] = copy.deepcopy(other[at])
        case "wrap":
            holder[key] = draw(st.sampled_from([[value], {"a": value}, [value, value], str(value)[:300]]))
        case "add" if isinstance(holder, dict):
            holder[draw(st.sampled_from(WORDS))] = draw(VALUES)
        case _:
            holder[key] = draw(VALUES)
    return tree


def written(tree):
    """A tree as JSON text, with what `MARK` stands for."""
    text = json.dumps(tree, ensure_ascii=True)
    for number, raw in enumerate(RAW):
        text = text.replace(json.dumps(MARK.format(number)), raw)
    return text


def as_toml(value):
    """A value of a tree as TOML, inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return "nan" if value is None else json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


@st.composite
def toml_text(draw, seeds):
    """TOML of one of the seeds, with edits in its tree, or in any of its bytes."""
    content = draw(st.sampled_from(seeds))
    if draw(st.integers(0, 2)) == 0:
        return edited_bytes(draw, content, seeds)
    tree = tomllib.loads(content.decode())
    for _ in range(draw(st.sampled_from(EDITS))):
        tree = edit_tree(draw, tree)
    pairs = tree.items() if isinstance(tree, dict) else [("labels", tree)]
    return "".join(f"{json.dumps(key)} = {as_toml(value)}\n" for key, value in pairs).encode()[:MOST_BYTES]


@st.composite
def packed(draw, seeds):
    """A gzip of which what it holds has edits, or any of its bytes."""
    content = draw(st.sampled_from(seeds))
    if draw(st.integers(0, 2)) == 0:
        return edited_bytes(draw, content, seeds)
    return gzip.compress(edited_bytes(draw, gzip.decompress(content), [content]), mtime=0)


@st.composite
def json_text(draw, seeds):
    """The text of one of the seeds, JSON itself, with one to three edits in its tree and sometimes in its bytes."""
    tree = json.loads(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.sampled_from(EDITS))):
        tree = edit_tree(draw, tree)
    content = written(tree).encode()
    if draw(st.integers(0, 9)) == 9:
        content = edited_bytes(draw, content, [content])
    return content[:MOST_BYTES]


@st.composite
def json_lines(draw, seeds):
    """JSON Lines of one of the seeds, with edits in some records and sometimes in the bytes."""
    lines = draw(st.sampled_from(seeds)).splitlines()
    edited = {}
    for _ in range(draw(st.sampled_from(EDITS))):
        at = draw(st.integers(0, len(lines) - 1))
        before = (
            edited[at] if at in edited else json.loads(lines[at] or "{}")
        )  # what it is now may be too deep to read
        edited[at] = edit_tree(draw, before)
        if draw(st.booleans()):
            break
    content = b"\n".join(written(edited[at]).encode() if at in edited else line for at, line in enumerate(lines))
    if draw(st.integers(0, 3)) == 3:
        content = edited_bytes(draw, content, [content])
    return content[:MOST_BYTES]


def edited_bytes(draw, content, seeds):
    """Some bytes with one to five edits: flips, cuts, doubled and foreign pieces, numbers written over them."""
    data = bytearray(content)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3, 5]))):
        near, end = draw(st.sampled_from(["any", "head", "tail"])), len(data)
        span = {"any": (0, end), "head": (0, min(end, 96)), "tail": (max(0, end - 160), end)}[near]
        at = draw(st.integers(*span))
        size = draw(st.sampled_from([1, 1, 2, 4, 8, 40, 400]))
        match draw(st.sampled_from(["flip", "set", "number", "insert", "cut", "delete", "repeat", "splice"])):
            case "flip" if at < end:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if at < end:
                data[at] = draw(st.integers(0, 255))
            case "number":
                width = draw(st.sampled_from([1, 2, 4, 8]))
                value = draw(st.sampled_from(NUMBERS)) % 256**width
                data[at : at + width] = value.to_bytes(width, draw(st.sampled_from(["little", "big"])))
            case "insert":
                data[at:at] = draw(st.sampled_from(BITS) | st.binary(max_size=8))
            case "cut":
                del data[at:]
            case "delete":
                del data[at : at + size]
            case "repeat":
                data[at:at] = data[at : at + size] * draw(st.sampled_from([1, 2, 30]))
            case "splice":
                other = draw(st.sampled_from(seeds))
                start = draw(st.integers(0, len(other)))
                data[at : at + size] = other[start : start + size]
    return bytes(data[:MOST_BYTES])


@st.composite
def any_bytes(draw, seeds):
    """One of the seeds with edits in its bytes."""
    return edited_bytes(draw, draw(st.sampled_from(seeds)), seeds)


@st.composite
def safetensors(draw, seeds):
    """A file of tensors with edits in its header, whose length then stays true, or in any of its bytes."""
    content = draw(st.sampled_from(seeds))
    if draw(st.integers(0, 2)) == 0:
        return edited_bytes(draw, content, seeds)
    length = struct.unpack("<Q", content[:8])[0]
    header, payload = draw(json_text([content[8 : 8 + length]])), content[8 + length :]
    if draw(st.integers(0, 3)) == 0:
        payload = edited_bytes(draw, payload, [payload])
    told = len(header) if draw(st.integers(0, 9)) else draw(st.sampled_from(NUMBERS)) % 2**64
    return struct.pack("<Q", told) + header + payload


@st.composite
def archives(draw, seeds):
    """A zip with edits in one of the files inside, packed soundly, or in any of its bytes."""
    content = draw(st.sampled_from(seeds))
    if draw(st.integers(0, 3)) == 0:
        return edited_bytes(draw, content, seeds)
    with zipfile.ZipFile(io.BytesIO(content)) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(members)))
        members[name] = edited_bytes(draw, members[name], sorted(members.values()))
        if draw(st.integers(0, 19)) == 0:
            members[draw(st.sampled_from([*WORDS[1:6], "xl/workbook.xml"]))] = members.pop(name)
    with zipfile.ZipFile(packed := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as spoiled:
        for name, member in members.items():
            spoiled.writestr(zipfile.ZipInfo(name.encode(errors="replace").decode()), member, zipfile.ZIP_DEFLATED)
    return packed.getvalue()
