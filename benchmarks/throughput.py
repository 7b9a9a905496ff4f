"""How many texts a second sijo's engine reads, beside the same encoder run by `transformers`.

Long articles, short requests and questions, in mixed order, go through the built-in encoder to unit
vectors: at float32, cut at 256 tokens, tokenizing included. All three take turns, so that each
round is timed in the same minute:

  sijo             Engine(long_text="truncate") as it comes
  plain            transformers, batches of 32 in the order the texts arrive
  sorted           transformers, the texts sorted by length first, then batches of 32

First the vectors of all three are compared; a difference above 1e-5 ends the run. Texts are distinct,
so that the engine's reading equal texts once does not count.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers

import data
import sijo
from sijo.evaluation.intervals import TAILS, Interval
from sijo.inference.engine import Engine, unit

MAX_LENGTH = 256  # the built-in encoder's own, special tokens counted
BATCH = 32
CLOSE = 1e-5


class Peer:
    """A sentence encoder in `transformers`, by hand: mean of the real tokens, scaled to length 1."""

    def __init__(self, folder: Path) -> None:
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], *, by_length: bool = False) -> np.ndarray:
        """Unit vectors (n, D) float32; with `by_length`, the longest texts (in characters) go first."""
        order = list(range(len(texts)))
        if by_length:
            order.sort(key=lambda i: -len(texts[i]))
        vectors = np.empty((len(texts), self.model.config.hidden_size), np.float32)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch = self.tokenizer(
                [texts[i] for i in rows],
                padding=True,
                truncation=True,
                max_length=MAX_LENGTH,
                return_tensors="pt",
            )
            hidden_BLD = self.model(**batch).last_hidden_state
            keep_BL1 = batch["attention_mask"][..., None]
            mean_BD = (hidden_BLD * keep_BL1).sum(1) / keep_BL1.sum(1)
            vectors[rows] = torch.nn.functional.normalize(mean_BD).numpy()
        return vectors

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each text as the encoder reads it, special ones counted, padding not."""
        return np.array(list(map(len, self.tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"])))


def in_turns(works: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, np.ndarray]:
    """Wall seconds of each work in each round, all of them once a round, in order."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - started)
            data.say(f"round {number + 1} of {rounds}: {name} {seconds[name][-1]:.2f} s")
    return {name: np.array(taken) for name, taken in seconds.items()}


def median_ratio(above: np.ndarray, below: np.ndarray, *, seed: int, resamples: int = 10_000) -> Interval:
    """The median over rounds of one time over another, with a 95 % bootstrap interval over the rounds."""
    ratios = above / below
    drawn = np.random.default_rng(seed).choice(ratios, size=(resamples, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), TAILS)
    return Interval(float(np.median(ratios)), float(low), float(high))


def main() -> None:
    """Compare, time, and print the record."""
    parser = data.options(__doc__)
    parser.add_argument("--articles", type=int, default=300, help="BBC News articles in the mix (300)")
    parser.add_argument("--requests", type=int, default=300, help="requests in the mix (300, which is all)")
    parser.add_argument("--questions", type=int, default=900, help="TREC questions in the mix (900)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds, each of all three (7)")
    given = parser.parse_args()

    articles = data.some(list(dict.fromkeys(data.bbc(given.data)[0])), given.articles, given.seed)
    requests = data.some(data.requests(), given.requests, given.seed)
    questions = data.some(data.trec(given.data)[0], given.questions, given.seed)
    texts = list(dict.fromkeys([*articles, *requests, *questions]))
    random.Random(given.seed).shuffle(texts)

    model = sijo.load()
    engine, peer = Engine(model, long_text="truncate"), Peer(model.source)
    works: dict[str, Callable[[], np.ndarray]] = {
        "sijo": lambda: unit(np.concatenate([group.vectors for group in engine.stream(texts)])),
        "plain": lambda: peer.encode(texts),
        "sorted": lambda: peer.encode(texts, by_length=True),
    }
    vectors = {name: work() for name, work in works.items()}  # also the round that warms up
    apart = {name: float(np.abs(vectors["sijo"] - vectors[name]).max()) for name in ("plain", "sorted")}
    data.say(f"vectors differ by at most {apart['plain']:.1e} (plain) and {apart['sorted']:.1e} (sorted)")
    if max(apart.values()) > CLOSE:
        raise SystemExit(f"the vectors differ by more than {CLOSE}, so this would not time the same work")

    tokens = peer.tokens(texts)
    seconds = in_turns(works, rounds=given.rounds)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    figures: dict[str, object] = {
        name: {
            "texts_per_second": len(texts) / medians[name],
            "tokens_per_second": int(tokens.sum()) / medians[name],
            "seconds": taken.tolist(),
        }
        for name, taken in seconds.items()
    }
    for name in ("plain", "sorted"):
        ratio = median_ratio(seconds[name], seconds["sijo"], seed=given.seed)
        figures[f"times_{name}"] = ratio
        data.say(f"sijo's speed is {ratio} times that of {name}")
    figures["largest_difference"] = apart
    data.report(
        given,
        {
            "texts": len(texts),
            "articles": len(articles),
            "requests": len(requests),
            "questions": len(questions),
            "tokens": int(tokens.sum()),
            "tokens_quartiles": statistics.quantiles(tokens.tolist(), n=4),
            "texts_cut": int((tokens == MAX_LENGTH).sum()),
        },
        figures,
    )


if __name__ == "__main__":
    main()
