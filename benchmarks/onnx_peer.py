"""Vectors in every precision, beside sentence-transformers on torch and on onnxruntime.

    python -m venv peer && peer/bin/pip install torch sentence-transformers "optimum-onnx[onnxruntime]"
    python benchmarks/onnx_peer.py --peer peer/bin/python          8 minutes

The peer runs in an environment of its own, since optimum-onnx wants an older transformers: a process that reads
what it is asked for and answers when it is done. All works on a kind of text take turns. It exports
all-MiniLM-L6-v2 itself, in float32 and in int8 for the processor, and reads at the fastest of some batch sizes.

Printed: texts a second of each work, and sijo's speed over the peer's on torch, and on onnxruntime in the same
precision.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import in_turns, median_ratio

import data
import sijo
from sijo.app.bench import machine, versions
from sijo.export.export import export
from sijo.inference.backends.backend import Precision
from sijo.inference.encode import engine_of
from sijo.inference.outputs import unit

PEER = """
import json, sys
from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model
folder, kind = sys.argv[1:]
models = {"torch": SentenceTransformer(folder, device="cpu")}
models["float32"] = SentenceTransformer(folder, device="cpu", backend="onnx", model_kwargs={"export": True})
export_dynamic_quantized_onnx_model(models["float32"], kind, folder, push_to_hub=False)
name = f"onnx/model_qint8_{kind}.onnx"
models["int8"] = SentenceTransformer(folder, device="cpu", backend="onnx", model_kwargs={"file_name": name})
texts = []
print("ready", file=sys.__stdout__, flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    texts = asked.get("texts", texts)
    if "model" in asked:
        models[asked["model"]].encode(
            texts, batch_size=asked["batch"], normalize_embeddings=True, show_progress_bar=False)
    print("done", flush=True)
"""
BATCHES = (8, 16, 32, 64)
OURS: dict[str, tuple[str, Precision]] = {
    "exact": ("torch", "exact"),
    "bf16": ("torch", "bf16"),
    "int8": ("torch", "int8"),
    "onnx": ("onnx", "exact"),
    "onnx int8": ("onnx", "int8"),
}
PAIRS = (
    ("exact", "torch"),
    ("bf16", "torch"),
    ("int8", "torch"),
    ("onnx", "float32"),
    ("exact", "float32"),
    ("int8", "int8"),
    ("onnx int8", "int8"),
)


class Peer:
    """sentence-transformers in another environment."""

    def __init__(self, python: str, folder: Path, kind: str) -> None:
        self.process = subprocess.Popen(
            [python, "-c", PEER, str(folder), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer("ready")

    def ask(self, **asked: Any) -> None:
        """Ask, and wait for it."""
        assert self.process.stdin is not None
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        self._answer("done")

    def _answer(self, word: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == word:
                return
        raise SystemExit("the peer stopped; run it by hand to see why")


def main() -> None:
    """Measure, and print one JSON object."""
    parser = data.parser(__doc__)
    parser.add_argument("--peer", required=True, help="python of the peer's environment")
    parser.add_argument("--kind", default="avx512_vnni", help="the peer's form of int8")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (7)")
    args = parser.parse_args()
    requests = data.sample(data.requests(), 300, args.seed)
    news = data.sample(list(dict.fromkeys(data.bbc(args.data)[0])), 60, args.seed)
    record: dict[str, Any] = {"machine": machine(), "versions": versions(), "rounds": args.rounds, "figures": {}}
    with tempfile.TemporaryDirectory() as place:
        ours = sijo.save(sijo.load("all-minilm-l6-v2"), Path(place) / "ours")
        theirs = sijo.save(sijo.load("all-minilm-l6-v2"), Path(place) / "theirs")
        for precision in ("float32", "int8"):
            export(ours, precision=precision, texts=requests[:64], keep_anyway=True)
        engines = {
            name: engine_of(ours, backend=backend, precision=precision, long_text="truncate")
            for name, (backend, precision) in OURS.items()
        }
        peer = Peer(args.peer, theirs, args.kind)
        for kind, texts in {"short": requests, "news": news, "mixed": [*requests, *news]}.items():
            peer.ask(texts=texts)
            asked = {
                (model, batch): lambda model=model, batch=batch: peer.ask(model=model, batch=batch)
                for model in ("torch", "float32", "int8")
                for batch in BATCHES
            }
            tried, _ = in_turns({f"{m} {b}": work for (m, b), work in asked.items()}, rounds=1, uncounted=1)
            best = {
                model: min(BATCHES, key=lambda batch, model=model: tried[f"{model} {batch}"].item())
                for model in ("torch", "float32", "int8")
            }
            works: dict[str, Any] = {
                name: lambda engine=engine, texts=texts: unit(engine.encode(texts).vectors)
                for name, engine in engines.items()
            }
            works |= {f"peer {model}": asked[model, batch] for model, batch in best.items()}
            wall, _ = in_turns(works, rounds=args.rounds, uncounted=1)
            figures: dict[str, Any] = {"peer_batches": best}
            figures["texts_per_second"] = {n: len(texts) / statistics.median(s) for n, s in wall.items()}
            for name, model in PAIRS:
                ratio = median_ratio(wall[f"peer {model}"], wall[name], seed=args.seed)
                figures[f"{name} / peer {model}"] = str(ratio)
                data.say(f"{kind}: {name} is {ratio} times as fast as the peer on {model}")
            record["figures"][kind] = figures
    json.dump(record, sys.stdout)


if __name__ == "__main__":
    main()
