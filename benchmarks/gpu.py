"""What a GPU makes of sijo: the same answers as the processor, and how fast, in less than eight minutes.

    python benchmarks/gpu.py                 on the first GPU that torch finds
    python benchmarks/gpu.py --device cpu    a dry check on a machine without one: small sizes, and it says so

Vectors of short requests and news articles with all-MiniLM-L6-v2, and scores of pairs with an entailment head
on deberta-v3-xsmall's shape and drawn weights:

  parity     the largest difference from float32 on the processor, which must be 1e-4 or less in float32
  agreement  in bf16 and fp16, the share of texts whose nearest of ten topics, or first label, is the same
  speed      texts a second in each precision; for vectors beside sentence-transformers, for labels beside
             transformers' pipeline, in the same precision and at the fastest of some batch sizes
  peak       the share of what plain products of large matrices reach in that precision
  copies     seconds to bring ids to the card: pinned and asynchronous beside plain, and beside what is computed

The record is one JSON object; with --page its table is put into docs/performance.md under the card's name.
"""

import json
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from entailment import DOMAINS, checkpoint
from measuring import in_turns
from sentence_transformers import SentenceTransformer

import data
import sijo
from sijo.inference.encode import engine_of
from sijo.inference.outputs import unit
from sijo.nn.cost import flops_per_token
from sijo.training.cost import matmul_peak

CLOSE = 1e-4
DTYPES = {"exact": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
BATCHES = (32, 128, 512)
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
MEGABYTES = 64


def main() -> None:
    """Compare, time, and print the record; ends with 1 where float32 is not the processor's."""
    parser = data.parser(__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, mps, or cpu for a dry check (cuda)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (5)")
    parser.add_argument("--page", action="store_true", help="put the table into docs/performance.md")
    args = parser.parse_args()
    dry = args.device == "cpu"
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("torch finds no GPU here; --device cpu makes a dry check without one")
    if dry:
        data.say("a dry check on the processor: the figures say nothing of any GPU")
    device = args.device
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    torch.backends.cuda.matmul.allow_tf32 = False  # parity is about float32
    requests = data.sample(data.requests(), 20 if dry else 300, args.seed)
    news = data.sample(list(dict.fromkeys(data.bbc(args.data)[0])), 4 if dry else 600, args.seed)
    precisions = ["exact"] if dry else [*DTYPES]
    transformers.logging.set_verbosity_error()
    figures: dict[str, Any] = {"device": name, "dry": dry}
    figures["vectors"] = vectors([*requests, *news], precisions, device, args)
    with tempfile.TemporaryDirectory() as place:
        folder = checkpoint("deberta-v3-xsmall", Path(place) / "model")
        some = [text[:350] for text in news[: 2 if dry else 60]]
        figures["labels"] = labels(some, folder, precisions, device, args)
    figures["copies"] = None if dry else copies(device, args)
    data.report(args, {"requests": len(requests), "news": len(news)}, figures)
    if args.page and not dry:
        write(figures, args)
    apart = max(figures[work]["exact"]["largest_difference"] for work in ("vectors", "labels"))
    if apart > CLOSE:
        sys.exit(f"float32 on {name} differs from the processor's by {apart:.1e}, more than {CLOSE}")


def vectors(texts: Sequence[str], precisions: Sequence[str], device: str, args: Any) -> dict[str, Any]:
    """Texts to unit vectors, beside sentence-transformers."""
    engine = engine_of("all-minilm-l6-v2", backend="torch", device="cpu", long_text="truncate")
    on_processor = unit(engine.encode(texts).vectors)
    topics = unit(engine.encode(DOMAINS).vectors)
    nearest = (on_processor @ topics.T).argmax(1)
    counts = engine.encode(texts).tokens
    figures = {}
    for precision in precisions:
        run_by = {"backend": "torch", "device": device, "precision": precision}
        ours = engine_of("all-minilm-l6-v2", long_text="truncate", **run_by)
        peer = SentenceTransformer(
            str(engine.model.source), device=device, model_kwargs={"dtype": DTYPES[precision]}
        )
        theirs = {
            str(batch): lambda batch=batch, peer=peer: peer.encode(
                list(texts), batch_size=batch, normalize_embeddings=True, show_progress_bar=False
            )
            for batch in BATCHES
        }
        got = unit(ours.encode(texts).vectors)
        figures[precision] = {
            "largest_difference": float(np.abs(got - on_processor).max()),
            "agreement": float(((got @ topics.T).argmax(1) == nearest).mean()),
            **_speeds(lambda ours=ours: unit(ours.encode(texts).vectors), theirs, len(texts), device, args),
        }
        limit = engine.model.tokenizer.max_length
        flops = sum(
            flops_per_token(engine.model.architecture, length, training=False) * length
            for length in np.minimum(counts + 2, limit).tolist()
        )
        figures[precision]["peak_share"] = _share(figures[precision], flops / len(texts), precision, device)
    return figures


def labels(texts: Sequence[str], folder: Path, precisions: Sequence[str], device: str, args: Any) -> dict[str, Any]:
    """Labels by entailment, beside the zero-shot pipeline."""
    on_processor = sijo.ZeroShotClassifier(labels=DOMAINS, model=folder, device="cpu").predict_proba(texts)
    figures = {}
    for precision in precisions:
        ours = sijo.ZeroShotClassifier(labels=DOMAINS, model=folder, device=device, precision=precision)
        peer = transformers.pipeline(
            "zero-shot-classification", model=str(folder), device=device, dtype=DTYPES[precision]
        )
        theirs = {
            str(batch): lambda batch=batch, peer=peer: peer(list(texts), DOMAINS, batch_size=batch)
            for batch in BATCHES
        }
        got = ours.predict_proba(texts)
        figures[precision] = {
            "largest_difference": float(np.abs(got - on_processor).max()),
            "agreement": float((got.argmax(1) == on_processor.argmax(1)).mean()),
            **_speeds(lambda ours=ours: ours.predict_proba(texts), theirs, len(texts), device, args),
        }
    return figures


def _speeds(
    ours: Callable[[], object], theirs: dict[str, Callable[[], object]], texts: int, device: str, args: Any
) -> dict[str, Any]:
    """Texts a second of sijo and of the peer at its best batch, and the ratio; the device waited for each time."""

    def whole(work: Callable[[], object]) -> Callable[[], object]:
        def done() -> None:
            work()
            if device.startswith("cuda"):
                torch.cuda.synchronize()

        return done

    tried, _ = in_turns({batch: whole(work) for batch, work in theirs.items()}, rounds=1, uncounted=1)
    best = min(tried, key=lambda batch: tried[batch].item())
    wall, _ = in_turns({"sijo": whole(ours), "peer": whole(theirs[best])}, rounds=args.rounds, uncounted=1)
    rates = {name: texts / statistics.median(seconds) for name, seconds in wall.items()}
    ratio = statistics.median(wall["peer"] / wall["sijo"])
    return {"texts_per_second": rates, "times": ratio, "peer_batch": int(best)}


def _share(figures: dict[str, Any], flops_per_text: float, precision: str, device: str) -> float:
    """Of what plain products reach."""
    peak = matmul_peak(torch.get_num_threads(), DTYPES[precision], device)
    return float(figures["texts_per_second"]["sijo"] * flops_per_text / peak)


def copies(device: str, args: Any) -> dict[str, float]:
    """Gigabytes a second from memory to the card, from plain and from pinned memory."""
    plain = torch.zeros(MEGABYTES * 2**18, dtype=torch.float32)
    pinned = plain.pin_memory()

    def copied(source: torch.Tensor, *, waits: bool) -> Callable[[], object]:
        def work() -> None:
            source.to(device, non_blocking=not waits)
            torch.cuda.synchronize()

        return work

    works = {"plain": copied(plain, waits=True), "pinned": copied(pinned, waits=False)}
    wall, _ = in_turns(works, rounds=args.rounds, uncounted=1)
    return {name: MEGABYTES / 1024 / statistics.median(seconds) for name, seconds in wall.items()}


def write(figures: dict[str, Any], args: Any) -> None:
    """Put the table under the last heading of the page, in place of what stands there."""
    lines = [
        f"## On a GPU: {figures['device']}",
        "",
        f"torch {torch.__version__}, medians of {args.rounds} rounds; `python benchmarks/gpu.py --page`.",
        "",
        "| work | precision | off by | same decision | sijo, texts/s | peer, texts/s (batch) | times | of peak |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for work in ("vectors", "labels"):
        for precision, one in figures[work].items():
            rates = one["texts_per_second"]
            share = f"{one['peak_share']:.0%}" if "peak_share" in one else ""
            peer = f"{rates['peer']:,.0f} ({one['peer_batch']})"
            lines.append(
                f"| {work} | {precision} | {one['largest_difference']:.1e} | {one['agreement']:.1%} | "
                f"{rates['sijo']:,.0f} | {peer} | {one['times']:.2f} | {share} |"
            )
    rates = figures["copies"]
    lines += ["", f"To the card: {rates['pinned']:.1f} GB/s from pinned memory, {rates['plain']:.1f} from plain."]
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(r"## On a GPU.*", lambda _: "\n".join(lines) + "\n", page, flags=re.S), encoding="utf-8")
    data.say(json.dumps({"written": str(PAGE)}))


if __name__ == "__main__":
    main()
