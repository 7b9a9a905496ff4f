"""What a pretrained model knows that the same network untrained does not: a linear probe.

    python benchmarks/probe.py MODEL_FOLDER [MODEL_FOLDER ...]

Each model, and the same architecture with freshly drawn weights and the same tokenizer, turns texts into
vectors: the mean over all tokens, special ones included, of the hidden states after the last layer,
after the middle one, and before the first, where they are no more than the words. On these vectors,
each dimension scaled to variance 1, a logistic regression learns the labels of

  TREC             5,381 distinct questions, 6 labels
  BBC News         2,127 distinct articles, 5 labels

from four fifths of the texts, with the penalty that serves best in 3-fold cross-validation within them, and is
asked about the last fifth; five times, so that each text is asked about once by a regression that had not seen
it. The parts are the same for all. Texts are cut at 128 tokens.

Accuracy over all texts, with 95 % bootstrap intervals. The gain is the trained model's accuracy less
the mean one of several untrained networks, on the same resampled texts: where its interval lies above
zero, the model learned something of language, not only of its tokenizer. Beside it stands the share
of the commonest label.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from measuring import mean
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import data
import sijo
from sijo.batching import by_length
from sijo.inference.backends.torch_backend import padded
from sijo.nn.pooling import pool

MAX_LENGTH = 128
TOKEN_BUDGET = 4096
PENALTIES = np.logspace(-4, 0, 5)
LAYERS = ("last", "middle", "words")


def cut(model: sijo.Model, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text, special ones included, up to MAX_LENGTH."""
    lower = model.sentence.lowercase
    windows = model.tokenizer.windows([text.lower() for text in texts] if lower else texts)
    return [first[:MAX_LENGTH] for first, *_ in windows]


@torch.inference_mode()
def layer_means(model: sijo.Model, sequences: Sequence[Sequence[int]]) -> np.ndarray:
    """The means over tokens after the last and the middle layer and before all, shape (3, n, D) float32."""
    pad = model.tokenizer.pad_id
    vectors = np.zeros((len(LAYERS), len(sequences), model.architecture.hidden_size), np.float32)
    for batch in by_length([len(ids) for ids in sequences], token_budget=TOKEN_BUDGET):
        ids_BL, keep_BL = padded([sequences[i] for i in batch], pad=pad, limit=model.tokenizer.max_length)
        states = model(ids_BL, keep_BL, output_hidden_states=True).hidden_states
        for place, hidden_BLD in enumerate((states[-1], states[len(states) // 2], states[0])):
            vectors[place, batch] = pool(hidden_BLD, keep_BL, "mean").numpy()
    return vectors


def right(vectors_ND: np.ndarray, gold_N: np.ndarray, parts: StratifiedKFold) -> np.ndarray:
    """Which rows a logistic regression labels rightly that learned on the other parts; bool."""
    chosen = LogisticRegressionCV(Cs=PENALTIES, cv=3, scoring="accuracy", max_iter=500, tol=1e-3)
    probe = make_pipeline(StandardScaler(), chosen)
    with threadpool_limits(1):  # threads that wait for each other cost such small products more than they save
        return cross_val_predict(probe, vectors_ND, gold_N, cv=parts) == gold_N


def main() -> None:
    """Probe every model and its untrained twins on both sets, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("models", nargs="+", type=Path, help="folders in Hugging Face layout")
    parser.add_argument("--untrained", type=int, default=2, help="untrained networks beside each model (2)")
    parser.add_argument("--texts", type=int, help="so many texts of each set, drawn at random (all)")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples (1000)")
    args = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # of names that change from one scikit-learn to the next
    if args.untrained < 1:
        parser.error("--untrained must be at least 1: a gain is over something")

    questions, kinds, _ = data.trec(args.data)
    articles = dict(zip(*data.bbc(args.data), strict=True))  # each once, or one might be learned and asked
    sets = {}
    for name, pairs in (("TREC", zip(questions, kinds, strict=True)), ("BBC News", articles.items())):
        texts, labels = zip(*data.sample(list(pairs), args.texts, args.seed), strict=True)
        sets[name] = texts, np.array(labels)
    parts = StratifiedKFold(5, shuffle=True, random_state=args.seed)
    resampled, sizes = {}, {}
    for name, (texts, gold_N) in sets.items():
        resampled[name] = np.random.default_rng(args.seed).integers(len(texts), size=(args.resamples, len(texts)))
        counts = np.unique(gold_N, return_counts=True)[1]
        commonest = round(float(counts.max() / len(texts)), 4)
        sizes[name] = {"texts": len(texts), "labels": len(counts), "commonest": commonest}
        data.say(f"{name}: {sizes[name]}")

    figures: dict[str, object] = {}
    for folder in args.models:
        data.say(f"{folder}\n{'':<16}{'trained':<24}{'untrained':<24}gain")
        trained = sijo.load(folder)
        twins = []
        for number in range(args.untrained):
            torch.manual_seed(args.seed + number)
            twins.append(sijo.create(trained.architecture, tokenizer=trained.tokenizer))
        for name, (texts, gold_N) in sets.items():
            rows_RN = resampled[name]
            sequences = cut(trained, texts)
            means = [layer_means(model, sequences) for model in (trained, *twins)]
            for place, layer in enumerate(LAYERS):
                hits = [right(by_layer[place], gold_N, parts).astype(float) for by_layer in means]
                fresh_N = np.mean(hits[1:], axis=0)
                gains = {
                    "trained": mean(hits[0], rows_RN),
                    "untrained": mean(fresh_N, rows_RN),
                    "gain": mean(hits[0] - fresh_N, rows_RN),
                }
                data.say(f"{name:<9}{layer:<7}" + "".join(f"{value!s:<24}" for value in gains.values()))
                each = {"untrained_each": [round(float(hit.mean()), 4) for hit in hits[1:]]}
                figures[f"{folder}: {name}, {layer}"] = gains | each
    data.report(args, sizes, figures)


if __name__ == "__main__":
    main()
