"""What memory a run takes: over two thousand steps, and from a corpus ten times as large as it may have.

    python benchmarks/pretraining_memory.py --limit 900

A corpus of random tokens, ten times the limit, is written as shards; then a small model is trained on it by a child
process whose private memory the kernel limits (RLIMIT_DATA), for 2,000 steps over windows from all of it. The
child's private resident memory is read every second. What is asked: that it gets through at all, and that
after the first 200 steps memory stays within 2 %.
"""

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from full_size import memory

import data
import sijo

SETTINGS = (
    "run.batch=8",
    "run.save_every=1000000",
    "run.log_every=50",
    "data.length=64",
    "data.cut=stream",
    "data.short=0",
    "model.hidden_size=32",
    "model.embedding_size=32",
    "model.heads=2",
    "model.intermediate_size=64",
)
SHARD = 64_000_000
SENTENCE, DOCUMENT = 20, 500
"""Tokens."""


def write_corpus(folder: Path, tokens: int, seed: int) -> None:
    """Shards of random tokens of all-MiniLM-L6-v2's vocabulary."""
    from sijo.files.atomic import whole_folder

    tokenizer, rng = sijo.load("all-minilm-l6-v2").tokenizer, np.random.default_rng(seed)
    shards = [min(SHARD, tokens - start) // DOCUMENT * DOCUMENT for start in range(0, tokens, SHARD)]
    about = []
    with whole_folder(folder) as fresh:
        for number, size in enumerate(shards):
            name = f"{number:05}"
            rng.integers(1_000, 30_000, size, dtype=np.uint16).tofile(fresh / f"{name}.tokens")
            np.arange(0, size + 1, SENTENCE, dtype=np.uint32).tofile(fresh / f"{name}.sentences")
            np.arange(0, size // SENTENCE + 1, DOCUMENT // SENTENCE, dtype=np.uint32).tofile(
                fresh / f"{name}.documents"
            )
            counts = {"tokens": size, "sentences": size // SENTENCE, "documents": size // DOCUMENT}
            about.append({"name": name, "code": None, **counts})
        index = {
            "format": 1,
            "dtype": "uint16",
            "vocab_size": tokenizer.vocab_size,
            "tokenizer": tokenizer.text_fingerprint,
            "codes": [],
            "shards": about,
            "counts": dict.fromkeys(("read", "kept"), sum(shard["documents"] for shard in about)),
        }
        (fresh / "index.json").write_text(json.dumps(index))
    tokenizer.save(folder.parent)


def main() -> None:
    parser = data.parser(__doc__)
    parser.add_argument(
        "--limit", type=int, default=900, help="megabytes of private memory that the child may have (900)"
    )
    parser.add_argument("--steps", type=int, default=2_000, help="of the run (2,000)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        size = 10 * args.limit * 1_000_000
        data.say(f"writing a corpus of {size / 1e9:.1f} GB")
        write_corpus(place / "corpus", size // 2, args.seed)
        out, limit = place / "run", args.limit * 1_000_000
        changes = ("--set", *SETTINGS, f"run.steps={args.steps}")
        corpus = ("--corpus", str(place / "corpus"), "--tokenizer", str(place))
        command = (*data.SIJO, "pretrain", "bert-tiny", *corpus, "--out", str(out), "--quiet", *changes)
        started = time.perf_counter()
        limited = ("sh", "-c", f'ulimit -d {limit // 1024} && exec "$@"', "sh", *command)
        child = subprocess.Popen(limited, stdout=subprocess.DEVNULL)
        samples: list[tuple[int, int]] = []
        while child.poll() is None:
            metrics = out / "metrics.jsonl"
            lines = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
            samples.append((50 * lines, memory(child.pid)["private"]))
            time.sleep(1)
        if child.returncode:
            raise SystemExit(f"the run failed with exit code {child.returncode}")
        steady = [used for step, used in samples if step >= 200 and used]
        third = max(1, len(steady) // 3)
        first, last = statistics.median(steady[:third]), statistics.median(steady[-third:])
        figures = {
            "corpus_bytes": size,
            "limit_bytes": limit,
            "peak_private_bytes": max(used for _, used in samples),
            "private_bytes_first_third": first,
            "private_bytes_last_third": last,
            "growth": last / first - 1,
            "seconds": time.perf_counter() - started,
        }
    data.report(args, {"steps": args.steps, "samples": len(steady)}, figures)


if __name__ == "__main__":
    main()
