"""The real files that are spoiled: tiny checkpoints of several kinds, tables, files of labels, all made anew.

`make(folder)` writes checkpoints into folders of their own and the others into `tables` and `labels`. It runs most
of the library, so it belongs into a process of its own: `process.py` forks from one that has run nothing.
"""

import gzip
import io
import json
import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = [
    {"text": "the rain and the sea", "label": "weather", "number": 1},
    {"text": "", "label": None, "number": 2},
    {"text": 'a "good" game, was it\nnot?', "label": "sport", "number": -3},
    {"text": "빵과 소금 값이 올랐다", "label": "돈", "number": 2**40},
    {"text": "tax " * 60, "label": "money", "number": 0},
]
LABELS = [
    {"label": "sport", "description": "games and teams", "examples": ["the team has a goal"], "threshold": 0.4},
    {"label": "돈", "description": "money in the bank", "parent": "sport"},
    {"label": "weather", "descriptions": ["rain", "sun"]},
]


def make(folder):
    """Write every seed."""
    checkpoints(folder)
    tables(folder / "tables")
    calibration(folder)
    labels(folder / "labels")


def checkpoints(folder):
    """BERT plain, in shards, with a manifest, as ONNX and in blocks; DeBERTa with SentencePiece; CTRL."""
    import torch
    from safetensors.torch import load_file

    from conftest import write_tiny_model
    from sijo.app.cli import run
    from sijo.checkpoints.weights import write_weights
    from sijo.files.manifest import write_manifest
    from spm_files import SPM

    bert = folder / "bert"
    write_tiny_model(bert)
    for name in ("sharded", "sealed", "vocab"):
        shutil.copytree(bert, folder / name)
    weights = load_file(bert / "model.safetensors")
    (folder / "sharded" / "model.safetensors").unlink()
    half = sum(tensor.nbytes for tensor in weights.values()) * 6 // 10
    write_weights(folder / "sharded", {name: tensor.clone() for name, tensor in weights.items()}, shard_bytes=half)
    write_manifest(folder / "sealed")
    tokenizer = json.loads((bert / "tokenizer.json").read_text())
    (folder / "vocab" / "tokenizer.json").unlink()
    (folder / "vocab" / "vocab.txt").write_text("".join(f"{word}\n" for word in tokenizer["model"]["vocab"]))
    (folder / "vocab" / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True, "model_max_length": 32})
    )
    for kind in ("onnx", "blocks"):
        assert run(["export", str(bert), "--to", kind, "--out", str(folder / kind), "--keep-anyway"]) == 0
    shutil.copytree(bert, folder / "adapted")
    adapter(folder / "adapted")
    torch.manual_seed(0)
    network(folder / "deberta", "deberta-v3-small", "rtd", 8)
    (folder / "deberta" / "spm.model").write_bytes(SPM)
    network(folder / "albert", "albert-base-v2", "mlm", len(weights["embeddings.word_embeddings.weight"]))
    shutil.copy(bert / "tokenizer.json", folder / "albert")
    for kind in ("albert", "deberta", "onnx", "blocks"):
        (folder / kind / "manifest.json").unlink()  # which would refuse a spoiled file before anything reads it


def network(folder, size, head, vocab_size):
    """A folder of a published family at the least width."""
    import sijo
    from sijo.models import published
    from sijo.nn.architecture import Disentangled

    whole = published(size)[1].architecture()
    distances = whole.distances
    if isinstance(distances, Disentangled):
        distances = replace(distances, span=32, buckets=8)
    sizes = {"vocab_size": vocab_size, "hidden_size": 16, "embedding_size": 16, "heads": 2, "intermediate_size": 32}
    small = replace(whole, **sizes, schedule=whole.schedule[:2], distances=distances)
    sijo.save(sijo.create(small, head), folder)


def adapter(folder):
    """A LoRA adapter beside the weights, as peft lays it out."""
    import numpy as np
    from safetensors.numpy import save_file

    config = {"peft_type": "LORA", "task_type": "FEATURE_EXTRACTION", "r": 2, "lora_alpha": 4, "bias": "none"}
    config |= {"target_modules": ["query", "value"], "lora_dropout": 0.0, "base_model_name_or_path": "tiny"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    chance, tensors = np.random.default_rng(1), {}
    for layer in range(2):
        for name in config["target_modules"]:
            at = f"base_model.model.encoder.layer.{layer}.attention.self.{name}"
            tensors[f"{at}.lora_A.weight"] = chance.normal(0, 0.1, (2, 16)).astype(np.float32)
            tensors[f"{at}.lora_B.weight"] = chance.normal(0, 0.1, (16, 2)).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")


def calibration(folder):
    """What classify keeps of a calibration."""
    from sijo.app.cli import run

    (folder / "calibration").mkdir()
    texts, file = folder / "calibration" / "texts.txt", str(folder / "calibration" / "1.json")
    texts.write_text(
        "".join(f"the sea and {number} {text}\n" for number in range(10) for text in ("tax", "sun", "돈", "game"))
    )
    how = ("--labels", "sea,land", "--model", str(folder / "bert"), "--calibrate", "batch", "--calibration", file)
    assert run(["classify", str(texts), *how]) == 0


def parquet(table, **settings):
    """A table as the bytes of a Parquet file."""
    pq.write_table(table, stream := io.BytesIO(), **settings)
    return stream.getvalue()


def tables(folder):
    """The same few rows in every format, and in Parquet by every type and packer."""
    folder.mkdir()
    head = ",".join(ROWS[0])
    quoted = [
        [json.dumps(value or "", ensure_ascii=False).replace('\\"', '""') for value in row.values()] for row in ROWS
    ]
    csv = "\n".join([head, *(",".join(row) for row in quoted)]).replace("\\n", "\n") + "\n"
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    plain = "".join(f"{row['text']}\n" for row in ROWS)
    files = {
        **{
            "1.csv": csv.encode(),
            "2.csv": csv.replace(",", ";").encode("cp949"),
            "3.csv": b"text\rthe sea\rthe land\r",
        },
        **{"4.csv": csv.encode("utf-16"), "5.csv": b"sep=;\ntext;label\nthe sea;a\n"},
        **{"1.tsv": csv.replace(",", "\t").encode()},
        **{"1.jsonl": lines.encode(), "2.jsonl": json.dumps({"a": {"b": [1, 2]}, "text": "the sea"}).encode()},
        **{"1.json": json.dumps(ROWS).encode(), "2.json": json.dumps(ROWS, indent=1, ensure_ascii=False).encode()},
        **{
            "1.txt": plain.encode(),
            "2.txt": plain.encode("utf-16-le"),
            "3.txt": csv.encode(),
            "4.txt": lines.encode(),
        },
        **{"1.csv.gz": gzip.compress(csv.encode()), "2.csv.gz": gzip.compress(plain.encode())},
    }
    table = pa.Table.from_pylist(ROWS)
    texts = table["text"]
    kinds = {
        **{"dictionary": texts.dictionary_encode(), "large": texts.cast(pa.large_string())},
        **{"binary": texts.cast(pa.binary()), "view": texts.cast(pa.string_view())},
        **{"lists": pa.array([[text] for text in texts.to_pylist()]), "null": pa.nulls(len(texts))},
    }
    beside = {
        **{
            "day": pa.array([0, 1, None, 2**31 - 1, -(2**31)], pa.date32()),
            "time": pa.array([0, 2**62, None, 1, -1], pa.timestamp("ns", "UTC")),
        },
        **{
            "map": pa.array([[("a", 1)]] * 5, pa.map_(pa.string(), pa.int8())),
            "struct": pa.array([{"a": [1.5]}] * 5),
        },
        **{
            "span": pa.array([2**62] * 5, pa.duration("us")),
            "decimal": pa.array([1] * 5).cast(pa.decimal128(38, 2)),
        },
        **{"half": pa.array([1.5] * 5, pa.float16()), "fixed": pa.array([b"ab"] * 5, pa.binary(2))},
    }
    for name, column in kinds.items():
        files[f"{name}.parquet"] = parquet(pa.table({"text": column, "label": table["label"]}))
    files["beside.parquet"] = parquet(pa.table({"text": texts, **beside}))
    for packer in ("none", "gzip", "brotli", "zstd", "lz4"):
        files[f"{packer}.parquet"] = parquet(table, compression=packer, use_dictionary=False, row_group_size=2)
    files["2.parquet"] = parquet(
        table, data_page_version="2.0", column_encoding={"text": "DELTA_BYTE_ARRAY"}, use_dictionary=False
    )
    for name, content in files.items():
        (folder / name).write_bytes(content)
    workbook(folder / "1.xlsx")


def workbook(path):
    """The rows as a workbook of two sheets, where there is a writer of such."""
    try:
        from openpyxl import Workbook
    except ModuleNotFoundError:
        return
    book = Workbook()
    sheet = book.active
    for row in [list(ROWS[0]), *(list(row.values()) for row in ROWS)]:
        sheet.append(row)
    book.create_sheet("둘").append(["text"])
    book.save(path)


def labels(folder):
    """The same labels as TOML, JSON of several shapes, CSV and plain text."""
    folder.mkdir()
    toml = 'language = "en"\ntemplates = ["This is about {}."]\n'
    for label in LABELS:
        toml += "[[labels]]\n" + "".join(
            f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in label.items()
        )
    files = {
        **{"1.toml": toml, "2.toml": 'labels = ["sea", {name = "sun", threshold = 0.7}]\n'},
        **{"1.json": json.dumps({"labels": LABELS, "language": "ko", "templates": ["{}에 관한 글이다."]})},
        **{"2.json": json.dumps(["sea", "land"]), "3.json": json.dumps({"id2label": {"0": "sea", "1": "land"}})},
        **{"4.json": json.dumps({"sea": "all water", "land": {"examples": ["the land"]}})},
        **{"1.csv": "label,description,example,parent,threshold\nsea,all water,the sea,,0.5\nland,,,sea,\n"},
        **{"1.txt": "sea\nland\n땅\n", "2.txt": "sea, land; sun\n"},
    }
    for name, text in files.items():
        (folder / name).write_text(text)
