"""Fit all-MiniLM-L6-v2's temperature and none score, and say how they do on other requests.

    python benchmarks/calibration.py CLINC150_FOLDER

The folder holds CLINC150 (Larson et al. 2019, CC BY 3.0) as train.csv.gz and test.csv.gz with the columns
text, intent and domain. Two label sets of ten are mixed half and half, so that neither vague nor
exact labels decide alone: the ten domains, and for each request its own intent among nine drawn at random.
"""

import argparse
from pathlib import Path

import numpy as np

import data
import sijo
from sijo.evaluation.zero_shot import evaluate
from sijo.inference.encode import engine_of
from sijo.zeroshot.calibration import MINILM, Calibration
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.scorer import ScoreRequest


def scores_of(path: Path, scorer: EmbeddingScorer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (n, 10) under domains and under intents, and the gold domain's column; -1 out of scope."""
    rows = data.clinc(path)
    domains = sorted({row["domain"] for row in rows} - {"oos"})
    intents = sorted({row["intent"] for row in rows} - {"oos"})
    gold = np.array([domains.index(row["domain"]) if row["domain"] != "oos" else -1 for row in rows])
    intent = np.array([intents.index(row["intent"]) if row["intent"] != "oos" else -1 for row in rows])
    texts = [row["text"] for row in rows]

    def score(names: list[str]) -> np.ndarray:
        labels = LabelSet.of([name.replace("_", " ") for name in names]).labels
        return scorer.score(ScoreRequest(texts, labels, scorer.template))[0]

    rng = np.random.default_rng(0)
    others = rng.integers(1, len(intents), size=(len(texts), 9))
    ten = np.column_stack([intent, (intent[:, None] + others) % len(intents)])  # the gold one in column 0
    return score(domains), np.take_along_axis(score(intents), ten, axis=1), gold


def main() -> None:
    """Print the fitted numbers, then accuracy, ECE and the none answer on the test requests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where CLINC150 is")
    folder = parser.parse_args().folder
    scorer = EmbeddingScorer(engine_of(sijo.load("all-minilm-l6-v2")))
    by_domain, by_intent, gold = scores_of(folder / "train.csv.gz", scorer)
    known = gold >= 0
    fitted = Calibration.fit(
        np.concatenate([by_domain[known], by_intent[known]]),
        np.concatenate([gold[known], np.zeros(known.sum(), int)]),
        origin="",
    )
    print(f"fitted on {known.sum()} requests: temperature {fitted.temperature:.4f}, none {fitted.none_score:.4f}")
    print(f"in the package:            temperature {MINILM.temperature:.4f}, none {MINILM.none_score:.4f}")

    by_domain, by_intent, gold = scores_of(folder / "test.csv.gz", scorer)
    known = gold >= 0
    names = [str(j) for j in range(10)]
    for what, scores, right in (
        ("domains", by_domain[known], gold[known]),
        ("intents", by_intent[known], np.zeros(known.sum(), int)),
    ):
        result = evaluate([names[j] for j in right], MINILM.softmax(scores), names)
        print(f"test, {what}: n={result.rows}, accuracy {result.accuracy}, ECE {result.ece}")
    best = by_domain.max(1)
    print(
        f"none, domains: {np.mean(best[known] < MINILM.none_score):.3f} of {known.sum()} in-scope requests lost, "
        f"{np.mean(best[~known] < MINILM.none_score):.3f} of {(~known).sum()} out-of-scope ones caught"
    )


if __name__ == "__main__":
    main()
