"""How many tokens a second sijo writes, beside `generate` of `transformers` on the same weights.

Drawn weights of three sizes of CTRL, float32, are opened by both. Each writes 128 tokens after prompts of 32,
always the best token, at batch 1 and 8, without a penalty and with one (sign-aware, which is the one that
transformers has). Both take turns, so that each round is timed in the same minute. First what they write is
compared: a token that differs ends the run.

At batch 1 every weight is read once a token, so there is a share of the machine's memory bandwidth: bytes of
weights times tokens a second, over what one sum, or product, of a tensor of 1 GB reaches in the same run with as
many threads, the best of some. Where both programs come near to 1, no ratio far above 1 is possible.

`processor_seconds` are those of this process alone, so that on one thread their ratio means something where other
programs run beside it.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import transformers
from measuring import in_turns, median_ratio

import data
import sijo
from sijo.generation.generator import Generator, Request
from sijo.generation.rules import Sampling
from sijo.tokenizers.tokenizer import Tokenizer

SIZES = {  # layers, width, heads, inner width, tokens
    "tiny": (2, 128, 2, 512, 8_192),
    "27M": (6, 512, 8, 2_048, 16_000),
    "110M": (12, 768, 12, 3_072, 32_000),
}
PROMPT, PLACES = 32, 256


class Peer:
    """A CTRL in transformers."""

    def __init__(self, size: str, seed: int) -> None:
        transformers.logging.set_verbosity_error()
        layers, width, heads, inner, tokens = SIZES[size]
        config = transformers.CTRLConfig(
            vocab_size=tokens, n_positions=PLACES, n_embd=width, dff=inner, n_layer=layers, n_head=heads
        )
        torch.manual_seed(seed)
        self.model = transformers.CTRLLMHeadModel(config).eval()

    def opened(self) -> sijo.Model:
        """The same weights as sijo opens them."""
        with tempfile.TemporaryDirectory() as name:
            transformers.logging.disable_progress_bar()
            self.model.save_pretrained(name)
            return sijo.load(name, head="lm")

    @torch.inference_mode()
    def write(self, prompts: Sequence[Sequence[int]], *, count: int, penalty: float) -> list[list[int]]:
        """The tokens that follow prompts of equal length."""
        ids = torch.tensor(prompts)
        out = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            do_sample=False,
            repetition_penalty=penalty,
            pad_token_id=0,
            eos_token_id=None,
        )
        generated: list[list[int]] = out[:, ids.shape[1] :].tolist()
        return generated


def prompts(tokenizer: Tokenizer, tokens: int, count: int, seed: int) -> list[str]:
    """Texts of 32 tokens each, all below `tokens`."""
    rng = np.random.default_rng(seed)
    words = [
        word
        for number in range(1_000, min(tokens, tokenizer.largest_id))
        if (word := tokenizer.decode([number])).isalpha()
    ]
    whole = [
        word for word, ids in zip(words, tokenizer.ids(words), strict=True) if len(ids) == 1 and ids[0] < tokens
    ]
    return [" ".join(rng.choice(whole, PROMPT)) for _ in range(count)]


def bandwidth(*, repeats: int) -> float:
    """Bytes a second at which a tensor of 1 GB is read: by a sum, or as a matrix times a vector; the best."""
    matrix, vector = torch.ones(250_000, 1_000), torch.ones(1_000)
    best = float("inf")
    for _, work in itertools.product(range(repeats), (matrix.sum, lambda: matrix @ vector)):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return matrix.nbytes / best


def measured(
    size: str, batch: int, penalty: float, peer: Peer, writer: Generator, args: argparse.Namespace
) -> dict[str, object]:
    """One row of the record."""
    texts = prompts(writer.model.tokenizer, SIZES[size][-1], batch, args.seed)
    ids = writer.model.tokenizer.ids(texts)
    sampling = Sampling(penalty=penalty, penalty_rule="sign_aware")
    requests = [Request(prompt=text, max_new_tokens=args.tokens, sampling=sampling) for text in texts]
    works: dict[str, Callable[[], list[list[int]]]] = {
        "sijo": lambda: [list(written.ids) for written in writer.write(requests)],
        "transformers": lambda: peer.write(ids, count=args.tokens, penalty=penalty),
    }
    if (ours := works["sijo"]()) != (theirs := works["transformers"]()):
        place = min(
            next(i for i, pair in enumerate(zip(*rows, strict=True)) if pair[0] != pair[1])
            for rows in zip(ours, theirs, strict=True)
            if rows[0] != rows[1]
        )
        raise SystemExit(f"{size}: token {place + 1} differs, so this would not time the same work")
    wall, processor = in_turns(works, rounds=args.rounds, uncounted=1)
    written = batch * args.tokens
    row = {
        "size": size,
        "batch": batch,
        "penalty": penalty,
        "ratio": median_ratio(wall["transformers"], wall["sijo"], seed=args.seed),
        "processor_ratio": median_ratio(processor["transformers"], processor["sijo"], seed=args.seed),
    }
    for name in works:
        row[name] = {
            "tokens_per_second": written / statistics.median(wall[name]),
            "seconds": wall[name].tolist(),
            "processor_seconds": processor[name].tolist(),
        }
    return row


def main() -> None:
    """Compare, time, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="which (all three)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="texts side by side (1 8)")
    parser.add_argument("--penalties", type=float, nargs="+", default=[1.0, 1.2], help="1 for none (1 1.2)")
    parser.add_argument("--tokens", type=int, default=128, help="tokens to write (128)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds, each of both (7)")
    parser.add_argument("--threads", type=int, default=1, help="threads of both (1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    rows, sizes = [], {}
    tokenizer = sijo.load("all-minilm-l6-v2").tokenizer
    for size in args.sizes:
        peer = Peer(size, args.seed)
        model = peer.opened()
        model._tokenizer = tokenizer
        writer = Generator(model)
        writer.never_written = []
        weights = sum(weight.nbytes for weight in model.parameters())
        sizes[size] = {"weights": sum(weight.numel() for weight in model.parameters()), "bytes": weights}
        for batch, penalty in itertools.product(args.batches, args.penalties):
            before = bandwidth(repeats=3) if batch == 1 else 0.0
            row = measured(size, batch, penalty, peer, writer, args)
            if batch == 1:
                row["bandwidth"] = max(before, bandwidth(repeats=3))
            line = f"{size}, batch {batch}, penalty {penalty}: {row['ratio']} times"
            line += f", of the processor {row['processor_ratio']}"
            for name in ("sijo", "transformers"):
                speed = row[name]["tokens_per_second"]
                line += f"; {name} {speed:.1f} tokens/s"
                if batch == 1:
                    row[name]["bandwidth_share"] = share = weights * speed / row["bandwidth"]
                    line += f", {share:.2f} of {row['bandwidth'] / 1e9:.1f} GB/s"
            data.say(line)
            rows.append(row)
    data.report(args, sizes, {"rows": rows})


if __name__ == "__main__":
    main()
