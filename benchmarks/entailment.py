"""How many pairs of text and label a second the entailment scorer reads, beside the `transformers` pipeline.

A network of a published size with an entailment head, but drawn weights (no trained one is in any
package, and time does not depend on them), labels short requests among ten domains at float32. All
take turns, so that each round is timed in the same minute:

  sijo             ZeroShotClassifier(model=folder) as it comes
  plain            the zero-shot pipeline as it comes: one pair after another
  batched          the same pipeline with batches of 32

First all scores are compared; a difference above 1e-5, or another ranking, ends the run.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers
from measuring import sijo_beside_peers

import data
import sijo

BATCH = 32
CLOSE = 1e-5
DOMAINS = ["banking", "travel", "weather", "cooking", "work", "cars", "music", "health", "shopping", "small talk"]
COLUMNS = ["entailment", "neutral", "contradiction"]


def checkpoint(size: str, folder: Path) -> Path:
    """A folder of that size with drawn weights, wide enough for scores to differ, and BERT's word pieces."""
    torch.manual_seed(0)
    model = sijo.create(size, "sequence-classification", labels=COLUMNS, tokenizer=sijo.load().tokenizer)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.02)
    return sijo.save(model, folder)


def main() -> None:
    """Compare, time, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("--size", default="deberta-v3-xsmall", help="a published size (deberta-v3-xsmall)")
    parser.add_argument("--requests", type=int, default=60, help="requests to label (60; there are 300)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, each of all three (5)")
    args = parser.parse_args()
    texts = data.sample(data.requests(), args.requests, args.seed)

    with tempfile.TemporaryDirectory() as place:
        folder = checkpoint(args.size, Path(place) / "model")
        classifier = sijo.ZeroShotClassifier(labels=DOMAINS, model=folder)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        peer = transformers.pipeline("zero-shot-classification", model=str(folder), device="cpu")

        works: dict[str, Callable[[], object]] = {
            "sijo": lambda: classifier.classify(texts),
            "plain": lambda: peer(texts, DOMAINS, batch_size=1),
            "batched": lambda: peer(texts, DOMAINS, batch_size=BATCH),
        }
        apart = 0.0
        for row, answer in zip(works["sijo"](), works["batched"](), strict=True):
            if list(row.labels) != answer["labels"]:
                raise SystemExit("the labels are ranked differently, so this would not time the same work")
            apart = max(apart, float(np.abs(np.array(row.scores) - np.array(answer["scores"])).max()))
        data.say(f"scores differ by at most {apart:.1e}")
        if apart > CLOSE:
            raise SystemExit(f"the scores differ by more than {CLOSE}, so this would not time the same work")
        pairs = len(texts) * len(DOMAINS)
        figures = sijo_beside_peers(works, {"pairs": pairs}, rounds=args.rounds, seed=args.seed)
    figures["largest_difference"] = apart
    data.report(args, {"texts": len(texts), "labels": len(DOMAINS), "pairs": pairs}, figures)


if __name__ == "__main__":
    main()
