"""How many texts a second sijo's engine reads, beside the same encoder run by `transformers`.

Long articles, short requests and questions, in mixed order, go through all-MiniLM-L6-v2 to unit
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
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from measuring import sijo_beside_peers

import data
import sijo
from sijo.inference.encode import engine_of
from sijo.inference.outputs import unit

MAX_LENGTH = 256  # all-MiniLM-L6-v2's own, special tokens counted
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
                [texts[i] for i in rows], padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt"
            )
            hidden_BLD = self.model(**batch).last_hidden_state
            keep_BL1 = batch["attention_mask"][..., None]
            mean_BD = (hidden_BLD * keep_BL1).sum(1) / keep_BL1.sum(1)
            vectors[rows] = torch.nn.functional.normalize(mean_BD).numpy()
        return vectors

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each text as the encoder reads it, special ones counted, padding not."""
        return np.array(list(map(len, self.tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"])))


def main() -> None:
    """Compare, time, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("--articles", type=int, default=300, help="BBC News articles in the mix (300)")
    parser.add_argument("--requests", type=int, default=300, help="requests in the mix (300, which is all)")
    parser.add_argument("--questions", type=int, default=900, help="TREC questions in the mix (900)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds, each of all three (7)")
    args = parser.parse_args()

    articles = data.sample(list(dict.fromkeys(data.bbc(args.data)[0])), args.articles, args.seed)
    requests = data.sample(data.requests(), args.requests, args.seed)
    questions = data.sample(data.trec(args.data)[0], args.questions, args.seed)
    texts = list(dict.fromkeys([*articles, *requests, *questions]))
    random.Random(args.seed).shuffle(texts)

    model = sijo.load("all-minilm-l6-v2")
    engine, peer = engine_of(model, long_text="truncate"), Peer(model.source)
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
    amounts = {"texts": len(texts), "tokens": int(tokens.sum())}
    figures = sijo_beside_peers(works, amounts, rounds=args.rounds, seed=args.seed)
    figures["largest_difference"] = apart
    data.report(
        args,
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
