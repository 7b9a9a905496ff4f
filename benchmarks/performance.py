"""How fast sijo reads, beside other libraries in the same minute: what `docs/performance.md` shows.

    python benchmarks/performance.py               every part, then the page: 10 minutes
    python benchmarks/performance.py vectors       one part alone, kept in .build/performance
    python benchmarks/performance.py page          the page, of the parts that are kept

All works of a part take turns, and the median over the rounds of the ratio within a round is shown. The parts:

  vectors   300 short requests, 60 news articles and both mixed, to unit vectors: sijo beside sentence-transformers
            at the fastest of some batch sizes, in float32, cut at 256 tokens
  shapes    batches of token ids: by length at 8 inputs, by batch at 32 tokens, beside the same network in
            transformers, and the share of what plain products of matrices reach
  sizes     the same at 8 inputs of 128 tokens for networks of published sizes with drawn weights
  labels    texts a second by the number of labels, with an entailment head on deberta-v3-xsmall's shape and drawn
            weights, beside transformers' zero-shot pipeline with batches of 32
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from entailment import checkpoint
from measuring import in_turns, median_ratio
from performance_page import write_page
from sentence_transformers import SentenceTransformer

import data
import sijo
from sijo.app.bench import machine, versions
from sijo.checkpoints.describe import describe
from sijo.inference.backends.backend import IdBatch
from sijo.inference.backends.registry import open_backend
from sijo.inference.encode import engine_of
from sijo.inference.outputs import unit
from sijo.inference.speed import PRODUCT
from sijo.nn.cost import flops_per_token

KEPT = Path(__file__).parents[1] / ".build" / "performance"
BATCHES = (8, 16, 32, 64)
LENGTHS, ROWS = (8, 16, 32, 64, 128, 256), 8
WIDE, TOKENS = (1, 2, 4, 8, 16, 32, 64), 32
SIZES = ("electra-small-discriminator", "distilbert-base-uncased", "bert-base-uncased")
LABELS = (2, 5, 10)
NAMES = ["banking", "travel", "weather", "cooking", "work", "cars", "music", "health", "shopping", "small talk"]
Works = Mapping[str, Callable[[], object]]


def speeds(works: Works, texts: int, *, rounds: int, seed: int) -> dict[str, Any]:
    """Texts a second of each work, and the first one's speed over the last one's, with its interval."""
    wall, _ = in_turns(works, rounds=rounds, uncounted=1)
    first, *_, last = works
    ratio = median_ratio(wall[last], wall[first], seed=seed)
    rates = {name: texts / statistics.median(seconds) for name, seconds in wall.items()}
    return {"texts_per_second": rates, "ratio": [ratio.value, ratio.low, ratio.high]}


def vectors(args: Any) -> dict[str, Any]:
    """Texts to vectors, by kind of text."""
    engine = engine_of("all-minilm-l6-v2", long_text="truncate")
    peer = SentenceTransformer(str(engine.model.source), device="cpu")
    requests = data.sample(data.requests(), 300, args.seed)
    news = data.sample(list(dict.fromkeys(data.bbc(args.data)[0])), 60, args.seed)
    figures = {}
    for kind, texts in {"short": requests, "news": news, "mixed": [*requests, *news]}.items():
        theirs = {
            str(batch): lambda batch=batch, texts=texts: peer.encode(
                texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False
            )
            for batch in BATCHES
        }
        tried, _ = in_turns(theirs, rounds=1, uncounted=1)
        best = min(tried, key=lambda batch: tried[batch].item())
        works = {"sijo": lambda texts=texts: unit(engine.encode(texts).vectors), "peer": theirs[best]}
        figures[kind] = speeds(works, len(texts), rounds=args.rounds, seed=args.seed) | {"peer_batch": int(best)}
    return figures


def _beside_transformers(folder: Path, rows: int, tokens: int, args: Any) -> dict[str, Any]:
    """Batches of one shape, read by sijo and by transformers."""
    described = describe(folder)
    backend = open_backend(described, backend="torch", device="cpu")
    theirs = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.randint(
        described.architecture.vocab_size, (rows, tokens), generator=torch.Generator().manual_seed(0)
    )
    batch = IdBatch(ids.numpy())

    @torch.inference_mode()
    def peer() -> object:
        return theirs(ids).last_hidden_state.mean(1)

    matrix = torch.ones(PRODUCT, PRODUCT)
    works = {
        "sijo": lambda: backend.vectors(batch),
        "product": lambda: torch.mm(matrix, matrix),
        "peer": peer,
    }
    read = speeds(works, rows, rounds=args.rounds, seed=args.seed)
    flops = flops_per_token(described.architecture, tokens, training=False, sequences=rows) * tokens
    peak = read["texts_per_second"].pop("product") / rows * 2 * PRODUCT**3
    return read | {"peak_share": read["texts_per_second"]["sijo"] * flops / peak, "rows": rows, "tokens": tokens}


def shapes(args: Any) -> dict[str, Any]:
    """By length and by batch."""
    folder = describe("all-minilm-l6-v2").folder
    return {
        "length": [_beside_transformers(folder, ROWS, tokens, args) for tokens in LENGTHS],
        "batch": [_beside_transformers(folder, rows, TOKENS, args) for rows in WIDE],
    }


def sizes(args: Any) -> dict[str, Any]:
    """By the size of the network."""
    figures = {}
    with tempfile.TemporaryDirectory() as place:
        for size in SIZES:
            model = sijo.create(size, tokenizer=sijo.load("all-minilm-l6-v2").tokenizer)
            folder = sijo.save(model, Path(place) / size)
            weights = sum(weight.numel() for weight in model.transformer.blocks.parameters())
            figures[size] = _beside_transformers(folder, 8, 128, args) | {"block_weights": weights}
    return figures


def labels(args: Any) -> dict[str, Any]:
    """By the number of labels."""
    texts = [text[:350] for text in data.sample(data.bbc(args.data)[0], 8, args.seed)]
    figures = {}
    with tempfile.TemporaryDirectory() as place:
        folder = checkpoint("deberta-v3-xsmall", Path(place) / "model")
        transformers.logging.set_verbosity_error()
        peer = transformers.pipeline("zero-shot-classification", model=str(folder), device="cpu")
        for count in LABELS:
            names = NAMES[:count]
            ours = sijo.ZeroShotClassifier(labels=names, model=folder)
            works: Works = {
                "sijo": lambda ours=ours: ours.classify(texts),
                "peer": lambda names=names: peer(texts, names, batch_size=32),
            }
            figures[str(count)] = speeds(works, len(texts), rounds=args.rounds, seed=args.seed)
    return figures


PARTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "vectors": vectors,
    "shapes": shapes,
    "sizes": sizes,
    "labels": labels,
}


def main() -> None:
    """Measure what was asked for, keep it, and write the page."""
    parser = data.parser(__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, "page", []], help="all of them by default")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (7)")
    args = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    wanted = args.part or [*PARTS, "page"]
    for part in (part for part in PARTS if part in wanted):
        peers = {name: version(name) for name in ("transformers", "sentence-transformers")}
        about = {"machine": machine(), "versions": versions() | peers, "rounds": args.rounds}
        record = about | {"figures": PARTS[part](args)}
        (KEPT / f"{part}.json").write_text(json.dumps(record), encoding="utf-8")
        data.say(f"{part} is measured")
    if "page" in wanted:
        write_page({part: json.loads((KEPT / f"{part}.json").read_text(encoding="utf-8")) for part in PARTS})


if __name__ == "__main__":
    sys.exit(main())
