"""What 5, 20 and 50 labels cost in one pass beside entailment, whose cost is a pass for each label.

    python benchmarks/one_pass_cost.py [--texts 16] [--rounds 5] [--layers 6] [--width 384]

Networks of one size with fresh weights, a DeBERTa-v3 with a head of each kind (one pass with labels that are
hidden from each other, too) and the tokenizer of all-MiniLM-L6-v2, label the same made-up texts of some 60 tokens
under the same labels of two words, by turns.

Printed as JSON: milliseconds a text of each, and the others over one pass.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

import sijo
from sijo.checkpoints.load import Model, load
from sijo.checkpoints.save import save
from sijo.models import FAMILIES
from sijo.models.family import Layout
from sijo.nn.architecture import Architecture, Disentangled
from sijo.nn.head_specs import OPEN_LABELS, ClassifierHeadSpec, OnePassHeadSpec
from sijo.random import rng
from sijo.tokenizers.label_prompt import MARKS, mark_ids

COUNTS = (5, 20, 50)


def folders(place: Path, layers: int, width: int) -> dict[str, Path]:
    """A folder with each head."""
    tokenizer = load("all-minilm-l6-v2").tokenizer.with_specials(MARKS)
    tokenizer.max_length = 512
    a = Architecture(
        vocab_size=tokenizer.vocab_size,
        embedding_size=width,
        hidden_size=width,
        heads=width // 32,
        intermediate_size=4 * width,
        schedule=tuple(range(layers)),
        distances=Disentangled(
            span=512, buckets=256, terms=("c2p", "p2c"), projections="shared", norm="layer_norm"
        ),
    )
    label, text = mark_ids(tokenizer)
    one_pass = OnePassHeadSpec(label_mark=label, text_mark=text, inner=width, scorer="mlp")
    heads = {
        "one_pass": (OPEN_LABELS, one_pass),
        "hidden": (OPEN_LABELS, replace(one_pass, starts="mark", neighbours="hidden")),
        "entailment": ("sequence-classification", ClassifierHeadSpec(labels=2, dense="gelu")),
    }
    made = {}
    for name, (head, value) in heads.items():
        torch.manual_seed(0)
        fields = FAMILIES["deberta-v2"].fields(a) | {
            "id2label": {"0": "not_entailment", "1": "entailment"},
            "label2id": {"not_entailment": 0, "entailment": 1},
        }
        layout = Layout(head, lambda config, value=value: value, {})
        model = Model(FAMILIES["deberta-v2"], fields, {head: layout}, tokenizer=tokenizer)
        made[name] = save(model.eval(), place / name)
    return made


def main() -> None:
    """Time both, by turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("texts", 16), ("rounds", 5), ("layers", 6), ("width", 384)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    words = ["sea", "land", "rain", "sun", "game", "team", "ball", "goal", "money", "bank", "tax", "price", "oil"]
    random = rng(0, "texts")
    texts = [" ".join(words[i] for i in random.integers(len(words), size=58)) for _ in range(args.texts)]
    names = [f"{one} {other}" for one in words for other in words if one != other]
    record: dict[str, object] = {**vars(args), "threads": torch.get_num_threads(), "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as place:
        made = folders(Path(place), args.layers, args.width)
        for count in COUNTS:
            ways = {
                name: sijo.ZeroShotClassifier(names[:count], str(folder)).fit() for name, folder in made.items()
            }
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for number in range(args.rounds + 1):
                for name, classifier in ways.items():
                    begun = time.perf_counter()
                    classifier.predict(texts)
                    if number:
                        seconds[name].append(time.perf_counter() - begun)
            middle = {name: statistics.median(taken) for name, taken in seconds.items()}
            record[f"{count} labels"] = {
                **{f"{name}, ms a text": round(1e3 * value / args.texts, 2) for name, value in middle.items()},
                **{f"{name} / one_pass": round(value / middle["one_pass"], 2) for name, value in middle.items()},
            }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
