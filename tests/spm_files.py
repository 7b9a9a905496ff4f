"""A SentencePiece model written by hand: the few messages of protobuf that spm.model is made of."""

import struct


def number(value):
    """A whole number as protobuf writes it."""
    octets = b""
    while value > 127:
        octets += bytes([value & 127 | 128])
        value >>= 7
    return octets + bytes([value])


def message(field, content):
    return number(field << 3 | 2) + number(len(content)) + content


def piece(text, score=-1.0, kind=1):
    return message(1, message(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + number(kind))


SPM = b"".join(piece(name, 0.0, kind) for name, kind in {"[PAD]": 3, "[CLS]": 3, "[SEP]": 3, "[UNK]": 2}.items())
SPM += piece("a") + piece("b") + piece("▁")
