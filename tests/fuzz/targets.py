"""What is fuzzed: for each kind of file its seeds, how they are spoiled, where it goes, and the commands run.

A row of `TARGETS` is all that a new kind of file needs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz import mutations

Command = tuple[str, ...]
ENCODE: Command = ("encode", "texts.txt", "--model", "model")
INSPECT: Command = ("inspect", "model", "--format", "json")
MODEL = ("--model", "bert")
CALIBRATED: Command = ("classify", "texts.txt", *MODEL, "--labels", "sea,land", "--calibration", "calibration.json")


@dataclass(frozen=True)
class Target:
    """One kind of file."""

    name: str
    spoil: Callable
    """From the bytes of whole files to a strategy of spoiled ones."""
    seeds: str
    """A pattern of the whole files, below the folder of seeds."""
    file: str
    """Where the spoiled file goes, below the folder that the commands run in."""
    commands: tuple[Command, ...]
    model: str | None = None
    """The folder of seeds that is copied to `model`, for the file to lie in."""

    def wholes(self, seeds: Path) -> list[bytes]:
        """The whole files, in the order of their names."""
        return [file.read_bytes() for file in sorted(seeds.glob(self.seeds))]


def checkpoint(name, spoil, model, file, *, backend="torch"):
    """A file of a model's folder: it is inspected, and then reads texts."""
    encode = (*ENCODE, "--backend", backend)
    return Target(name, spoil, f"{model}/{file}", f"model/{file}", (INSPECT, encode), model)


def table(suffix, spoil):
    """A table: all of it is read, then labelled, and then taken for labelled rows."""
    file = f"table.{suffix}"
    labelled = ("classify", file, *MODEL, "--labels", "sea,land")
    columns = ("--text-column", "text", "--label-column", "label")
    evaluated = ("evaluate", *MODEL, "--task", "zero-shot", "--data", file, *columns)
    written = (*labelled, "-o", "out.parquet", "--overwrite") if suffix == "parquet" else labelled
    return Target(
        f"table-{suffix}", spoil, f"tables/*.{suffix}", file, ((*labelled, "--dry-run"), written, evaluated)
    )


def labels(suffix, spoil):
    """A file of labels: it is checked, and then used."""
    file = f"labels.{suffix}"
    used = ("classify", "texts.txt", *MODEL, "--labels-file", file)
    return Target(f"labels-{suffix}", spoil, f"labels/*.{suffix}", file, (("labels", "check", file, *MODEL), used))


TREE, BYTES = mutations.json_text, mutations.any_bytes
TARGETS = {
    target.name: target
    for target in (
        *(checkpoint(f"config-{model}", TREE, model, "config.json") for model in ("bert", "albert", "deberta")),
        checkpoint("config-blocks", TREE, "blocks", "config.json", backend="onnx"),
        checkpoint("modules", TREE, "bert", "modules.json"),
        checkpoint("pooling", TREE, "bert", "1_Pooling/config.json"),
        checkpoint("sentence", TREE, "bert", "sentence_bert_config.json"),
        checkpoint("adapter", TREE, "adapted", "adapter_config.json"),
        checkpoint("adapter-tensors", mutations.safetensors, "adapted", "adapter_model.safetensors"),
        checkpoint("tokenizer", TREE, "bert", "tokenizer.json"),
        checkpoint("tokenizer-config", TREE, "vocab", "tokenizer_config.json"),
        checkpoint("vocab", BYTES, "vocab", "vocab.txt"),
        checkpoint("spm", BYTES, "deberta", "spm.model"),
        checkpoint("safetensors", mutations.safetensors, "bert", "model.safetensors"),
        checkpoint("blocks", mutations.safetensors, "blocks", "model_blocks.safetensors", backend="onnx"),
        checkpoint("index", TREE, "sharded", "model.safetensors.index.json"),
        checkpoint("manifest", TREE, "sealed", "manifest.json"),
        checkpoint("onnx", BYTES, "onnx", "onnx/model.onnx", backend="onnx"),
        table("csv", BYTES),
        table("tsv", BYTES),
        table("csv.gz", mutations.packed),
        table("txt", BYTES),
        table("jsonl", mutations.json_lines),
        table("json", TREE),
        table("parquet", BYTES),
        table("xlsx", mutations.archives),
        Target("calibration", TREE, "calibration/*.json", "calibration.json", (CALIBRATED,)),
        labels("toml", mutations.toml_text),
        labels("json", TREE),
        labels("csv", BYTES),
        labels("txt", BYTES),
    )
}
