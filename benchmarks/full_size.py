"""CTRL's full shape, 1.64 billion weights: made, saved, opened and written with, in each precision.

Nobody has its published weights here, so they are drawn, and the tokenizer has its 246,534 tokens, but no merges.
Each step is a process of its own:

  make      builds the network in bfloat16 (on `meta`, then filled) and saves it
  bfloat16  opens that, mapped from the file, and writes
  widen     opens it as float32, which is cast tensor by tensor, and saves that
  float32   opens the wider folder, mapped, and writes
  int8      opens the first folder in 8 bits, tried against float32, and writes

What counts is private memory (RssAnon, read twenty times a second from outside): what a process has for itself.
Pages mapped from a file belong to the system, which can drop them at any time; they are reported beside it. The
yardstick is the size of the weights in each precision. Needs Linux, 10 GB of disk and 8 GB of memory.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

import data
import sijo
from sijo.generation.generator import Generator, Request
from sijo.models import FAMILIES, published
from sijo.tokenizers.tokenizer import Tokenizer

STEPS = ("make", "bfloat16", "widen", "float32", "int8")
PROMPT = "the sea was old and the land was new"


def memory(pid: int | str) -> dict[str, int]:
    """Bytes that a process has in memory: private ones, and those mapped from files; zeros once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss")}
    return {"private": sizes.get("RssAnon", 0), "mapped": sizes.get("RssFile", 0)}


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print the seconds that a part took, and the memory after it, for the parent."""
    started = time.perf_counter()
    yield
    print(json.dumps({"what": what, "seconds": time.perf_counter() - started, **memory("self")}), flush=True)


def vocabulary(place: Path, size: int) -> None:
    """CTRL's kind of tokenizer with so many tokens: letters, one word that they make, and words that none make."""
    made = [letter + end for letter in "abcdefghijklmnopqrstuvwxyz" for end in ("", "@@")] + ["th@@", "the"]
    names = [*made, *(f"word{number}" for number in range(size - len(made) - 1)), "<unk>"]
    (place / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    (place / "merges.txt").write_text("#version: 0.2\nt h\nth e</w>\n")


def ctrl(layers: int) -> sijo.Architecture:
    """CTRL's published shape with so many layers."""
    return replace(published("ctrl")[1].architecture(), schedule=tuple(range(layers)))


def make(folder: Path, layers: int, seed: int) -> None:
    """A network of drawn weights in bfloat16, saved."""
    architecture = ctrl(layers)
    with tempfile.TemporaryDirectory() as name:
        vocabulary(Path(name), architecture.vocab_size)
        tokenizer = Tokenizer.open(Path(name), FAMILIES["ctrl"], max_length=256)
    with timed("build"), torch.device("meta"):
        model = sijo.create(architecture, "lm", tokenizer=tokenizer)
    with timed("fill"):
        torch.manual_seed(seed)
        model.bfloat16().to_empty(device="cpu")
        for name, weight in model.named_parameters():
            if weight.dim() == 2:  # in float32, which torch draws ten times as fast, and some rows at a time
                for rows in weight.data.split(4_096):
                    rows.copy_(torch.randn(rows.shape).mul_(architecture.initializer_range))
            else:
                weight.data.fill_(1.0 if name.endswith("norm.weight") else 0.0)
    with timed("save"):
        sijo.save(model, folder)


def widen(narrow: Path, folder: Path) -> None:
    """The same in float32."""
    with timed("open"):
        model = sijo.load(narrow, "lm")
    with timed("save"):
        sijo.save(model, folder)


def write(folder: Path, dtype: str, tokens: int) -> None:
    """Open a model and write one text."""
    with timed("open"):
        model = sijo.load(folder, "lm", dtype=dtype)
    words = Generator(model).stream([Request(prompt=PROMPT, max_new_tokens=tokens)])
    with timed("prompt and first token"):
        next(words)
    with timed(f"{tokens - 1} tokens"):
        assert sum(1 for _ in words) == tokens - 1


def count(layers: int) -> int:
    """How many weights the network has."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in sijo.create(ctrl(layers), "lm").parameters())


def child(step: str, args: argparse.Namespace) -> tuple[list[dict[str, object]], dict[str, int]]:
    """What a step printed, and the most memory that it was seen to have."""
    options = {name: getattr(args, name) for name in ("folder", "layers", "tokens", "seed")}
    flags = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, __file__, f"--step={step}", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    most = {"private": 0, "mapped": 0}
    while process.poll() is None:
        most = {name: max(size, most[name]) for name, size in memory(process.pid).items()}
        time.sleep(0.05)
    assert process.stdout is not None
    parts = [json.loads(line) for line in process.stdout.read().splitlines()]
    if process.returncode:
        raise SystemExit(f"{step} left with {process.returncode}")
    return parts, most


def main() -> None:
    """Take the steps in turn, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("--layers", type=int, default=48, help="of the network; fewer for a small run (48)")
    parser.add_argument("--tokens", type=int, default=20, help="to write (20)")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="which of the five (all)")
    parser.add_argument("--folder", type=Path, help="where the models are kept; by default nowhere")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    narrow, wide = ((args.folder or Path()) / name for name in ("bfloat16", "float32"))
    if args.step is not None:
        if args.step == "make":
            make(narrow, args.layers, args.seed)
        elif args.step == "widen":
            widen(narrow, wide)
        else:
            write(wide if args.step == "float32" else narrow, args.step, args.tokens)
        return
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        args.folder = args.folder or Path(name)
        for step in args.steps:
            parts, most = child(step, args)
            figures[step] = {"told": parts, "most": most}
            seconds = ", ".join(f"{part['what']} {part['seconds']:.1f} s" for part in parts)
            private, mapped = (most[kind] / 1e9 for kind in ("private", "mapped"))
            data.say(f"{step}: {private:.2f} GB private, {mapped:.2f} GB mapped; {seconds}")
    data.report(args, {"weights": count(args.layers)}, figures)


if __name__ == "__main__":
    main()
