"""How many pairs of text and label a second the entailment scorer reads, beside the `transformers` pipeline.

A network of a published size with an entailment head, but drawn weights (no trained one is in any
package, and time does not depend on them), labels short requests among ten domains, or the beginnings of news or
whole articles among five topics. All take turns, so that each round is timed in the same minute:

  sijo             ZeroShotClassifier(model=folder, backend="torch") as it comes, float32
  bf16, int8       the same with that precision, where it is asked for
  plain            the zero-shot pipeline as it comes: one pair after another
  batched          the same pipeline with batches of 32 (articles: of 8)

First all scores are compared; a difference of float32's above 1e-5, or another ranking, ends the run.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers
from measuring import sijo_beside_peers

import data
import sijo
from sijo.checkpoints.locate import locate
from sijo.tokenizers.tokenizer import Tokenizer

TEXTS = {"requests": 32, "news": 32, "articles": 8}
"""What is read, and in which batches by the pipeline; the longer the fewer, as padding costs it most."""
TOPICS = ["business", "entertainment", "politics", "sport", "technology"]
CLOSE = 1e-5
DOMAINS = ["banking", "travel", "weather", "cooking", "work", "cars", "music", "health", "shopping", "small talk"]
COLUMNS = ["entailment", "neutral", "contradiction"]


def checkpoint(size: str, folder: Path) -> Path:
    """A folder of that size with drawn weights, wide enough for scores to differ, and BERT's word pieces.

    It reads 512 tokens, where the sentence encoder whose word pieces they are was made to end at 256.
    """
    torch.manual_seed(0)
    tokenizer = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=512)
    model = sijo.create(size, "sequence-classification", labels=COLUMNS, tokenizer=tokenizer)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.02)
    return sijo.save(model, folder)


def main() -> None:
    """Compare, time, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("--size", default="deberta-v3-xsmall", help="a published size (deberta-v3-xsmall)")
    parser.add_argument("--read", choices=TEXTS, default="requests", help="what is labelled (requests)")
    parser.add_argument("--texts", type=int, default=60, help="how many (60; there are 300 requests)")
    parser.add_argument("--precision", action="append", default=[], choices=("bf16", "int8"), help="timed too")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, each of all three (5)")
    args = parser.parse_args()
    labels, batch = DOMAINS if args.read == "requests" else TOPICS, TEXTS[args.read]
    if args.read == "requests":
        texts = data.sample(data.requests(), args.texts, args.seed)
    else:
        articles = data.sample(list(dict.fromkeys(data.bbc(args.data)[0])), args.texts, args.seed)
        texts = [article[: 350 if args.read == "news" else 1_900] for article in articles]

    with tempfile.TemporaryDirectory() as place:
        folder = checkpoint(args.size, Path(place) / "model")
        precisions = {"sijo": "exact"} | {name: name for name in args.precision}
        classifiers = {
            name: sijo.ZeroShotClassifier(labels=labels, model=folder, backend="torch", precision=precision)
            for name, precision in precisions.items()
        }
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        peer = transformers.pipeline("zero-shot-classification", model=str(folder), device="cpu")

        works: dict[str, Callable[[], object]] = {
            name: partial(classifier.classify, texts) for name, classifier in classifiers.items()
        }
        works["plain"] = lambda: peer(texts, labels, batch_size=1)
        works["batched"] = lambda: peer(texts, labels, batch_size=batch)
        apart = 0.0
        for row, answer in zip(works["sijo"](), works["batched"](), strict=True):
            if list(row.labels) != answer["labels"]:
                raise SystemExit("the labels are ranked differently, so this would not time the same work")
            apart = max(apart, float(np.abs(np.array(row.scores) - np.array(answer["scores"])).max()))
        data.say(f"scores differ by at most {apart:.1e}")
        if apart > CLOSE:
            raise SystemExit(f"the scores differ by more than {CLOSE}, so this would not time the same work")
        pairs = len(texts) * len(labels)
        figures = sijo_beside_peers(works, {"pairs": pairs}, rounds=args.rounds, seed=args.seed)
    figures["largest_difference"] = apart
    data.report(args, {"texts": len(texts), "labels": len(labels), "pairs": pairs}, figures)


if __name__ == "__main__":
    main()
