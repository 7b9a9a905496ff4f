"""How good a classifier is after 8, 16 and 64 labels a class, and which texts are worth a label.

    python benchmarks/few_labels.py --clinc FOLDER --setfit OTHER/bin/python

Four sets: TREC's questions (6 labels), CLINC150's training requests by domain (10), WordNet's glosses of nouns by
kind (25), and Debian's Korean descriptions in the five sections that have enough (5). The first two were looked at
while `sijo fit` was made, with other draws; the last two were not. The last comes again with the first letters of
each text, and half the pairs and steps, as its encoder is dear to train. all-MiniLM-L6-v2 reads the English ones,
multilingual-e5-small the Korean ones, the same for every way:

    zero-shot     the labels' names alone
    fit           `sijo fit`, with up to 500 texts without a label beside
    fit, alone    the same without these
    contrastive   `sijo fit --contrastive`, measured on the test texts alone
    plain         scikit-learn's LogisticRegression on the same unit vectors, as it comes
    setfit        SetFit's own package, 800 pairs in batches of 16 (num_iterations), its other settings as they come

Each on 500 test texts, which the same seed draws for all; labels are drawn anew by each seed. Vectors are kept with
--data. `suggest` and `random` are told ten labels at a time, and asked at 20, 40, 80, 160 and 320.

Every cell is written to a file of JSON lines when it is done; the same command goes on where it was stopped.
"""

import argparse
import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measuring import mean
from multilingual_e5 import folder_of
from sklearn.linear_model import LogisticRegression
from zero_shot import Cells
from zero_shot_sets import SECTIONS, Source, source_of, trec

import data
from sijo.checkpoints.locate import locate
from sijo.inference.outputs import unit
from sijo.jobs.fitting.few_labels import FewLabels, few_labels
from sijo.jobs.fitting.fit import FewVectors, head_of, label_vectors
from sijo.jobs.fitting.pairs import ContrastiveSettings, trained_scorer
from sijo.jobs.fitting.suggest import PLAIN, chosen
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.open import open_scorer

SHORT = 32
"""Letters of a Korean description that are read in the last set, whose encoder is dear to train."""
KOREAN = ("games", "graphics", "science", "sound", "text")
COUNTS, MARKS = (8, 16, 64), (20, 40, 80, 160, 320)
TESTS, MOST, UNLABELLED, PAIRS, LONGEST = 500, 200, 500, 800, 128
SEEDS = {"zero-shot": 1, "fit": 5, "fit, alone": 5, "plain": 5, "contrastive": 1, "setfit": 1}
CURVES = ("suggest", "random")
SHOWN = ("zero-shot", "plain", "fit", "contrastive", "setfit")
COMPARED = (
    *(("fit", "zero-shot"), ("contrastive", "zero-shot"), ("fit", "plain")),
    *(("fit", "setfit"), ("contrastive", "setfit")),
)
NOT_RUN = "–"


def _trec(source: Source, args: argparse.Namespace) -> tuple[list[tuple[str, str]], list[str]]:
    whole = trec(source)
    return list(whole.rows), list(whole.labels)


def _domains(source: Source, args: argparse.Namespace) -> tuple[list[tuple[str, str]], list[str]]:
    if args.clinc is None:
        raise SystemExit("CLINC150 is in no package: name the folder of its train.csv.gz by --clinc")
    rows = data.clinc(args.clinc / "train.csv.gz")
    kept = [(row["text"], row["domain"].replace("_", " ")) for row in rows if row["domain"] != "oos"]
    return kept, sorted({label for _, label in kept})


def _nouns(source: Source, args: argparse.Namespace) -> tuple[list[tuple[str, str]], list[str]]:
    rows = list(source.wordnet())
    return rows, sorted({label for _, label in rows})


def _korean(source: Source, args: argparse.Namespace) -> tuple[list[tuple[str, str]], list[str]]:
    rows = [row for teaching in (False, True) for row in source.sections("ko", teaching=teaching)]
    return [(text, SECTIONS[name][1]) for text, name in rows if name in KOREAN], [SECTIONS[k][1] for k in KOREAN]


def _short(source: Source, args: argparse.Namespace) -> tuple[list[tuple[str, str]], list[str]]:
    rows, labels = _korean(source, args)
    return [(text[:SHORT], label) for text, label in rows], labels


SETS = {
    "TREC": _trec,
    "CLINC150 domains": _domains,
    "WordNet nouns": _nouns,
    "Debian sections, Korean": _korean,
    "Debian sections, Korean, short": _short,
}


@dataclass(frozen=True)
class Question:
    """A set, its vectors, and what is asked of it."""

    labels: list[str]
    tests: list[tuple[str, str]]
    pool: list[tuple[str, str]]
    model: Path
    cache: Path
    fewer: int
    """What divides the pairs of SetFit and the steps of `--contrastive`, where the encoder is dear to train."""

    @cached_property
    def scorer(self) -> EmbeddingScorer:
        """The encoder."""
        scorer = open_scorer("embedding", self.model, cache=self.cache)
        assert isinstance(scorer, EmbeddingScorer)
        return scorer

    def vectors(self, rows: list[tuple[str, str]], scorer: EmbeddingScorer | None = None) -> np.ndarray:
        """Unit vectors of some texts."""
        engine = (scorer or self.scorer).engine
        return unit(engine.encode([text for text, _ in rows]).vectors.astype(np.float64))

    @cached_property
    def test_vectors(self) -> np.ndarray:
        """Of the test texts."""
        return self.vectors(self.tests)

    @cached_property
    def pool_vectors(self) -> np.ndarray:
        """Of the texts that may be labelled."""
        return self.vectors(self.pool)

    @property
    def right(self) -> np.ndarray:
        """The place of each test text's label."""
        return np.array([self.labels.index(label) for _, label in self.tests])

    def drawn(self, count: int, seed: int) -> list[int]:
        """The places in the pool of so many texts of each label, or of all that there are."""
        order = random.Random(seed).sample(range(len(self.pool)), len(self.pool))
        return [
            place
            for label in self.labels
            for place in [place for place in order if self.pool[place][1] == label][:count]
        ]

    def some(self, places: list[int], seed: int, unlabelled: int = UNLABELLED) -> tuple[FewLabels, list[int]]:
        """Those labels, with other texts beside, and the places of these."""
        others = random.Random(-1 - seed).sample(
            sorted({*range(len(self.pool))} - {*places}), len(self.pool) - len(places)
        )
        others = others[:unlabelled]
        rows = [self.pool[place] for place in [*places, *others]]
        cells = [label if number < len(places) else None for number, (_, label) in enumerate(rows)]
        return few_labels([text for text, _ in rows], cells, labels=self.labels), others


def question(name: str, source: Source, args: argparse.Namespace) -> Question:
    """A set, split once: tests, and a pool of at most 200 texts of each label."""
    rows, labels = SETS[name](source, args)
    rows = data.sample(sorted(dict(rows).items()), None, 0)
    random.Random(args.seed).shuffle(rows)
    tests, pool, counts = rows[:TESTS], [], dict.fromkeys(labels, 0)
    for text, label in rows[TESTS:]:
        counts[label] += 1
        if counts[label] <= MOST:
            pool.append((text, label))
    model = folder_of(args.data) if "Korean" in name else locate("all-minilm-l6-v2")
    fewer = 2 if SETS[name] is _short else 1
    return Question(labels, tests, pool, model, args.data.expanduser() / "few-labels-vectors", fewer)


def _zero_shot(asked: Question, count: int, seed: int, args: argparse.Namespace) -> tuple[np.ndarray, float]:
    some, _ = asked.some(asked.drawn(1, 0), 0)
    return (asked.test_vectors @ label_vectors(some, asked.scorer).T).argmax(-1), 0.0


def _fit(asked: Question, count: int, seed: int, unlabelled: int) -> tuple[np.ndarray, float]:
    places = asked.drawn(count, seed)
    some, others = asked.some(places, seed, unlabelled)
    labels_LD = label_vectors(some, asked.scorer)
    vectors = FewVectors(asked.pool_vectors[places], asked.pool_vectors[others], labels_LD)
    started = time.process_time()
    head = head_of(some, vectors, seed=seed)
    return head.logits(asked.test_vectors).argmax(-1), time.process_time() - started


def _plain(asked: Question, count: int, seed: int, args: argparse.Namespace) -> tuple[np.ndarray, float]:
    places = asked.drawn(count, seed)
    gold = [asked.labels.index(asked.pool[place][1]) for place in places]
    started = time.process_time()
    head = LogisticRegression(max_iter=1000).fit(asked.pool_vectors[places], gold)
    return head.predict(asked.test_vectors), time.process_time() - started


def _contrastive(asked: Question, count: int, seed: int, args: argparse.Namespace) -> tuple[np.ndarray, float]:
    places = asked.drawn(count, seed)
    some, others = asked.some(places, seed)
    started = time.process_time()
    usual = ContrastiveSettings()
    steps = {name: getattr(usual, name) // asked.fewer for name in ("passes", "fewest", "most")}
    scorer = trained_scorer(asked.scorer, some, settings=replace(usual, **steps), seed=seed)
    texts_nD = asked.vectors([asked.pool[place] for place in places], scorer)
    others_nD = asked.vectors([asked.pool[place] for place in others], scorer)
    vectors = FewVectors(texts_nD, others_nD, label_vectors(some, scorer))
    head = head_of(some, vectors, judged=(np.zeros((0, 0)), np.zeros((0, 0), bool)))
    seconds = time.process_time() - started
    return head.logits(asked.vectors(asked.tests, scorer)).argmax(-1), seconds


def _setfit(asked: Question, count: int, seed: int, args: argparse.Namespace) -> tuple[np.ndarray, float]:
    if args.setfit is None:
        raise SystemExit("SetFit needs an environment of its own: name its Python by --setfit")
    rows = [asked.pool[place] for place in asked.drawn(count, seed)]
    told = {
        "model": str(asked.model),
        "prompt": asked.scorer.engine.before,
        "texts": [text for text, _ in rows],
        "labels": [asked.labels.index(label) for _, label in rows],
        "asked": [text for text, _ in asked.tests],
        "iterations": max(1, PAIRS // asked.fewer // (2 * len(rows))),
        "seed": seed,
        "longest": LONGEST,
    }
    script = Path(__file__).with_name("setfit_peer.py")
    ran = subprocess.run([args.setfit, script], input=json.dumps(told), capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"SetFit failed: {ran.stderr[-2000:]}")
    said = json.loads(ran.stdout.splitlines()[-1])
    return np.array(said["answers"]), float(said["seconds"])


WAYS: dict[str, Callable[[Question, int, int, argparse.Namespace], tuple[np.ndarray, float]]] = {
    "zero-shot": _zero_shot,
    "fit": lambda asked, count, seed, args: _fit(asked, count, seed, UNLABELLED),
    "fit, alone": lambda asked, count, seed, args: _fit(asked, count, seed, 0),
    "plain": _plain,
    "contrastive": _contrastive,
    "setfit": _setfit,
}


def curve(asked: Question, way: str, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Which test texts are right after so many labels, of four fifths of the pool."""
    order = random.Random(seed).sample(range(len(asked.pool)), len(asked.pool) * 4 // 5)
    texts_nD = asked.pool_vectors[order]
    gold = np.array([asked.labels.index(asked.pool[place][1]) for place in order])
    none = few_labels([text for text, _ in asked.pool], [label for _, label in asked.pool], labels=asked.labels)
    labels_LD, labelled = label_vectors(none, asked.scorer), list[int]()
    logits_nL, calibration = texts_nD @ labels_LD.T, asked.scorer.calibration
    while len(labelled) < MARKS[-1]:
        left = np.setdiff1d(np.arange(len(order)), labelled)
        if way == "random":
            labelled += left[np.random.default_rng([seed, len(labelled)]).permutation(len(left))[:10]].tolist()
        else:
            shares = np.sort(calibration.softmax(logits_nL[left]), axis=-1)
            labelled += left[chosen(texts_nD[left], 1 - (shares[:, -1] - shares[:, -2]), 10)].tolist()
        if way == "random" and len(labelled) not in MARKS:
            continue
        right = np.eye(len(asked.labels), dtype=bool)[gold[labelled]]
        some = replace(none, texts=tuple(map(str, labelled)), right=right, rows=tuple(labelled))
        others = np.setdiff1d(np.arange(len(order)), labelled)
        head = head_of(some, FewVectors(texts_nD[labelled], texts_nD[others], labels_LD), seed=seed)
        logits_nL, calibration = head.logits(texts_nD), Calibration(PLAIN.temperature, 0.0, "")
        if len(labelled) in MARKS:
            yield len(labelled), head.logits(asked.test_vectors).argmax(-1) == asked.right


def fill(args: argparse.Namespace, source: Source, cells: Cells) -> None:
    """Finish the cells that are asked for."""
    done = {(cell["set"], cell["way"], cell["count"], cell["seed"]) for cell in cells.read()}
    for name in args.only_sets:
        asked = question(name, source, args)
        for count in args.counts:
            for way in args.ways:
                for seed in range(SEEDS.get(way, 0)):
                    number = 0 if way == "zero-shot" else count
                    if (name, way, number, seed) in done:
                        continue
                    answers, seconds = WAYS[way](asked, count, seed, args)
                    right = answers == asked.right
                    cells.add(
                        {
                            "set": name,
                            "way": way,
                            "count": number,
                            "seed": seed,
                            "seconds": seconds,
                            "right": right.astype(int).tolist(),
                        }
                    )
                    done.add((name, way, number, seed))
                    data.say(f"{name}, {way}, {number} a class, seed {seed}: {right.mean():.3f}, {seconds:.1f} s")
        for way in (way for way in CURVES if way in args.ways):
            for seed in range(5):
                if (name, way, MARKS[-1], seed) in done:
                    continue
                for count, right in curve(asked, way, seed):
                    cells.add(
                        {
                            "set": name,
                            "way": way,
                            "count": count,
                            "seed": seed,
                            "seconds": 0.0,
                            "right": right.astype(int).tolist(),
                        }
                    )
                data.say(f"{name}, {way}, seed {seed}: {right.mean():.3f} after {MARKS[-1]}")


class Figures:
    """Accuracies, the mean of a way's seeds, and differences on the same test texts; intervals are over these."""

    def __init__(self, cells: list[dict[str, Any]]) -> None:
        self.right: dict[tuple[str, int, str], dict[int, np.ndarray]] = {}
        for cell in cells:
            own = self.right.setdefault((cell["set"], cell["count"], cell["way"]), {})
            own[cell["seed"]] = np.array(cell["right"], float)
        self.drawn = np.random.default_rng(0).integers(0, TESTS, (2_000, TESTS))

    def accuracy(self, name: str, count: int, way: str) -> str:
        """Of a way; a dash where nothing was run."""
        own = self.of(name, count, way)
        return self._told(np.mean([*own.values()], axis=0)) if own else NOT_RUN

    def less(self, name: str, count: int, way: str, other: str) -> str:
        """A way less another, told the same labels."""
        ours, theirs = self.of(name, count, way), self.of(name, count, other)
        if other == "zero-shot" and theirs:  # which no labels change
            theirs = dict.fromkeys(ours, theirs[0])
        both = [ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]
        return self._told(np.mean(both, axis=0)) if both else NOT_RUN

    def of(self, name: str, count: int, way: str) -> dict[int, np.ndarray]:
        """By seed, which test texts are right."""
        return self.right.get((name, 0 if way == "zero-shot" else count, way), {})

    def _told(self, scores: np.ndarray) -> str:
        own = mean(scores, self.drawn)
        return f"{own.value:.3f} [{own.low:.3f}, {own.high:.3f}]"


def tables(cells: list[dict[str, Any]]) -> Iterator[str]:
    """As docs/fitting.md has them: accuracies, how they differ, and labels suggested beside labels drawn."""
    figures = Figures(cells)
    yield from _rows("set", "a class", *SHOWN)
    for name in SETS:
        for count in COUNTS:
            yield _row(name, count, *(figures.accuracy(name, count, way) for way in SHOWN))
    yield ""
    yield from _rows("set", "a class", *(f"{way} less {other}" for way, other in COMPARED))
    for name in SETS:
        for count in COUNTS:
            yield _row(name, count, *(figures.less(name, count, *both) for both in COMPARED))
    yield ""
    yield from _rows("set", "way", *MARKS)
    for name in SETS:
        for way in CURVES:
            yield _row(name, way, *(figures.accuracy(name, count, way) for count in MARKS))


def _row(*values: object) -> str:
    return f"| {' | '.join(map(str, values))} |"


def _rows(*headings: object) -> Iterator[str]:
    yield _row(*headings)
    yield _row(*("---" for _ in headings))


def main() -> None:
    """Finish the cells that are asked for, and print the table of all that there are."""
    parser = data.parser(__doc__)
    parser.add_argument("--clinc", type=Path, help="the folder of CLINC150's train.csv.gz")
    parser.add_argument("--setfit", type=Path, help="a Python that has setfit")
    parser.add_argument("--only-sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS, *CURVES], default=[*WAYS, *CURVES])
    parser.add_argument("--counts", nargs="+", type=int, default=list(COUNTS), help="labels a class (8 16 64)")
    parser.add_argument(
        "--cells", type=Path, help="the file of finished cells (few-labels-cells.jsonl with --data)"
    )
    args = parser.parse_args()
    cells = Cells(args.cells or args.data.expanduser() / "few-labels-cells.jsonl", {"split": args.seed})
    with TemporaryDirectory() as scratch:
        fill(args, source_of(args.data, None, None, Path(scratch)), cells)
    print("\n".join(tables(cells.read())))


if __name__ == "__main__":
    main()
