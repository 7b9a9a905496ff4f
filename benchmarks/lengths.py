"""One family at several lengths: a published size with drawn weights, beside transformers with sdpa.

    OMP_NUM_THREADS=1 python benchmarks/lengths.py modernbert-base --layers 6          3 minutes
    OMP_NUM_THREADS=1 python benchmarks/lengths.py roberta-base --lengths 128          2 minutes

The folder is saved once and opened by both; rows of token ids without padding go through four works by turns: torch
made ready for reading in float32 and with products of 8 bits, an ONNX file in float32 on onnxruntime, and the peer
with scaled_dot_product_attention in inference mode and without a mask, which is its quickest way here. First the
last states are compared: a float32 difference above 1e-3 of the largest ends the run. Printed: the median over the
rounds of the peer's seconds over ours, with a 95 % bootstrap interval over the rounds.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers
from measuring import in_turns, median_ratio

import data
import sijo
from sijo.checkpoints.describe import describe
from sijo.export.export import export
from sijo.inference.backends.backend import Backend, IdBatch
from sijo.inference.backends.registry import open_backend
from sijo.models import FAMILIES, published

WAYS = {"torch": ("torch", "exact"), "torch int8": ("torch", "int8"), "onnx": ("onnx", "exact")}
ROWS = {128: 8, 512: 2, 2048: 1}


def made(size: str, layers: int | None, place: Path) -> Path:
    """A folder of that size with drawn weights, and its ONNX file."""
    family, config = published(size)
    a = config.architecture()
    a = a if layers is None else replace(a, schedule=a.schedule[:layers])
    model = sijo.create(a, tokenizer=sijo.load("all-minilm-l6-v2").tokenizer)
    folder = sijo.save(model, place / size)
    assert describe(folder).family is FAMILIES[family.model_type], "transformers would not open a mix"
    export(folder, texts=["a short text", "the sea was old"])
    return folder


def compared(backend: Backend, batch: IdBatch, want: np.ndarray, *, most: float) -> float:
    """How far vectors are from the peer's, of the largest; an error above `most`."""
    gap = float(np.abs(backend.vectors(batch) - want).max() / np.abs(want).max())
    if gap > most:
        raise SystemExit(f"{backend.name} {backend.precision} is off by {gap:.1e}; nothing is timed")
    return gap


def at_length(
    size: str, backends: Mapping[str, Backend], peer: torch.nn.Module, ids: torch.Tensor, *, rounds: int, seed: int
) -> None:
    """Compare, then time rows of one length, (B, L) int64."""
    batch = IdBatch(ids.numpy())
    works: dict[str, Callable[[], object]] = {name: partial(one.vectors, batch) for name, one in backends.items()}
    with torch.inference_mode():
        works["peer"] = lambda: peer(ids).last_hidden_state.mean(1)
        want = peer(ids).last_hidden_state.mean(1).numpy()
        gaps = {
            name: compared(backend, batch, want, most=0.2 if "int8" in name else 1e-3)
            for name, backend in backends.items()
        }
        wall, _ = in_turns(works, rounds=rounds, uncounted=2)
    for name in backends:
        ratio = median_ratio(wall["peer"], wall[name], seed=seed)
        ours, theirs = (float(np.median(wall[one])) for one in (name, "peer"))
        data.say(
            f"{size} {len(ids)} x {ids.shape[1]} {name}: {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] "
            f"times the peer's speed ({ours:.3f} s, peer {theirs:.3f} s; off {gaps[name]:.0e})"
        )


def main() -> None:
    """Measure a size at each length."""
    parser = data.parser(__doc__)
    parser.add_argument("size", help="a published size, such as modernbert-base")
    parser.add_argument("--layers", type=int, help="fewer layers than it has")
    parser.add_argument("--lengths", type=int, nargs="+", default=list(ROWS), help="tokens of a row (128 512 2048)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (7)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = made(args.size, args.layers, Path(place))
        described = describe(folder)
        peer = transformers.AutoModel.from_pretrained(folder, attn_implementation="sdpa").eval()
        backends = {
            name: open_backend(described, backend=backend, device="cpu", precision=precision)
            for name, (backend, precision) in WAYS.items()
        }
        for length in args.lengths:
            chance = torch.Generator().manual_seed(args.seed)
            size = ROWS.get(length, 1), length
            ids = torch.randint(5, described.architecture.vocab_size, size, generator=chance)
            at_length(args.size, backends, peer, ids, rounds=args.rounds, seed=args.seed)


if __name__ == "__main__":
    sys.exit(main())
