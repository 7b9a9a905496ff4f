"""What unlabelled texts are good for: self-training and distilling a cross-encoder, beside steps spent otherwise.

    python benchmarks/without_labels.py OUT --clinc FOLDER --teacher FOLDER --mixture FILE.toml [--model M]

Four sets of zero_shot_sets.py, named before the first run: CLINC150 domains, TREC with its definitions, Debian's
sections, and these in Korean. Of each, 400 texts are a pool without labels, and 300 others judge, 30 words of each
at most. The encoder (the built-in one) is measured on them by macro-F1 of labels by name:

    before           as it is
    refine           with calibrate="refine" fitted to the pool: no training, one pass over the pool
    self-training    two rounds of 24 steps of 24 texts
    distilled        48 steps of 24 texts of the pool, of which a teacher, a cross-encoder such as
                     many_labels_verifier.py makes, says how well a few of the labels fit
    distilled+refine the same, and refine over it
    matched          48 such steps of ordinary label-matching over labelled sets of other labels (--mixture)
    teacher          the teacher itself, on 100 of the 300

Steps cost the same in all of them; self-training reads the pool three times more, the teacher reads it once for
each label. With --others also the mean of the three other sets' macro-F1 after learning from one: what is forgotten
of other labels. A run that was stopped goes on from what OUT holds. Differences from `before` are of the same
texts, with paired bootstrap intervals. The built-in encoder has learned from labelled texts of two of these sets;
figures in docs/learning-without-labels.md are of the student that it was made from (model/make.py), which has not.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from zero_shot_sets import SECTIONS, drawn, source_of

import data
import sijo
from sijo.evaluation.intervals import Interval, resampled
from sijo.evaluation.metrics import metrics_of
from sijo.files.atomic import whole_file
from sijo.jobs.open_labels.label_matching import match_labels
from sijo.jobs.open_labels.label_matching_settings import MatchingFiles, default_matching
from sijo.jobs.open_labels.self_training import self_train
from sijo.jobs.open_labels.self_training_settings import UnlabelledFiles, default_self_training
from sijo.training.settings import with_changes
from sijo.zeroshot.labels import LabelSet

SETS = ("CLINC150 domains", "TREC, defined", "Debian sections", "Debian sections, Korean")
POOL, JUDGED, OF_TEACHER = 400, 300, 100
STEPS, WORDS = 24, 30
FEW = ("run.batch=24", "run.save_every=1000", "run.log_every=8", "run.keep=1", "questions.length=48")


class Measured:
    """Texts, and the label given to each: kept in OUT/answers as they are made."""

    def __init__(self, out: Path, sets: dict[str, tuple[list[str], list[tuple[str, str]], LabelSet]]) -> None:
        self.folder, self.sets = out / "answers", sets
        self.folder.mkdir(parents=True, exist_ok=True)

    def answers(
        self, name: str, arm: str, model: str | None, *, calibrate: str = "none", most: int = JUDGED
    ) -> list[str]:
        """The labels of a set's judged texts by a model."""
        file = self.folder / f"{name} - {arm}.json"
        if not file.is_file():
            pool, rows, labels = self.sets[name]
            kept = self.folder.parent / "vectors"
            classifier = sijo.ZeroShotClassifier(labels=labels, model=model, calibrate=calibrate, cache=kept)
            given = classifier.fit(pool).predict([text for text, _ in rows[:most]])
            with whole_file(file) as made:
                made.write(json.dumps([str(one) for one in given]).encode())
        return json.loads(file.read_text(encoding="utf-8"))

    def macro_f1(self, name: str, answers: list[str]) -> Callable[[np.ndarray], float]:
        """Of the rows with these numbers."""
        _, rows, labels = self.sets[name]
        gold = [type("Row", (), {"label": label}) for _, label in rows[: len(answers)]]
        return metrics_of("classification", gold, answers, list(labels.names))["macro_f1"]


def learned(run: Callable[[Path], object], folder: Path) -> str:
    """The model of a run, made or gone on with."""
    if not (folder / "model" / "manifest.json").is_file():
        started = time.perf_counter()
        for _ in run(folder):  # type: ignore[attr-defined]
            pass
        data.say(f"{folder.name}: {time.perf_counter() - started:.0f} s")
    return str(folder / "model")


def main() -> None:
    """Learn from each pool in each way, and print the table."""
    parser = data.parser(__doc__)
    parser.add_argument("out", type=Path, help="where models and answers are kept")
    parser.add_argument("--clinc", type=Path, required=True)
    parser.add_argument("--teacher", required=True, help="a cross-encoder trained on entailment")
    parser.add_argument("--mixture", type=Path, help="labelled sets of other labels, for `matched`")
    parser.add_argument("--others", action="store_true", help="measure what is forgotten of other labels, too")
    parser.add_argument("--model", help="the encoder that learns; the built-in one")
    args = parser.parse_args()
    source = source_of(args.data, args.clinc, None, Path(mkdtemp(prefix="sijo-")))
    sets = {}
    for name in SETS:
        one = drawn(name, source, POOL + JUDGED, args.seed)
        assert one is not None
        labels = LabelSet.of(one.labels)
        more = []
        if len(one.rows) < POOL + JUDGED:  # of the Korean set the rest is of the part that taught sijo-small
            known = {text for text, _ in one.rows}
            more = [(text, SECTIONS[section][1]) for text, section in source.sections("ko", teaching=True)]
            more = data.sample(sorted({row for row in more if row[0] not in known}), JUDGED, args.seed)
            one = replace(one, rows=[*one.rows[:POOL], *more])
        rows = [(" ".join(text.split()[:WORDS]), label) for text, label in one.rows]
        pool = len(rows) - len(more) if more else POOL
        sets[name] = ([text for text, _ in rows[:pool]], rows[pool:], labels)
        data.write_csv(args.out / f"{name}.csv", ["text"], [[text] for text in sets[name][0]])
    measured = Measured(args.out, sets)
    models: dict[str, dict[str, str]] = {name: {} for name in SETS}
    for name in SETS:
        pool = str(args.out / f"{name}.csv")
        few = [*FEW, f"run.seed={args.seed}"]
        own = with_changes(default_self_training(args.model), [*few, f"run.steps={STEPS}", "agreement=1.0"])
        files = UnlabelledFiles(train=pool, labels=sets[name][2])
        models[name]["self-training"] = learned(
            lambda out, own=own, files=files: self_train(own, files, out, resume=True), args.out / f"{name} - own"
        )
        show(args, measured, name, models[name])
    for name in SETS:
        few = [*FEW, f"run.seed={args.seed}"]
        pool = str(args.out / f"{name}.csv")
        if "Korean" not in name:  # the teacher knows English alone
            taught = with_changes(default_matching(args.model), [*few, f"run.steps={2 * STEPS}", "held_out=0"])
            lesson = MatchingFiles(train=pool, labels=sets[name][2], teacher=args.teacher)
            models[name]["distilled"] = learned(
                lambda out, taught=taught, lesson=lesson: match_labels(taught, lesson, out, resume=True),
                args.out / f"{name} - taught",
            )
        if args.mixture is not None:
            plain = with_changes(default_matching(args.model), [*few, f"run.steps={2 * STEPS}", "held_out=0"])
            others = MatchingFiles(train=str(args.mixture))
            models[name]["matched"] = learned(
                lambda out, plain=plain, others=others: match_labels(plain, others, out, resume=True),
                args.out / "matched",
            )
        show(args, measured, name, models[name])
    figures = {name: show(args, measured, name, models[name], others=args.others) for name in SETS}
    data.report(args, {"pool": POOL, "judged": JUDGED, "steps": 2 * STEPS, "batch": 24}, figures)


def show(args, measured: Measured, name: str, models: dict[str, str], *, others: bool = False) -> dict[str, object]:
    """Macro-F1 of each arm with its difference from before, and of other sets."""
    arms = {"before": measured.answers(name, "before", args.model)}
    arms["refine"] = measured.answers(name, "refine", args.model, calibrate="refine")
    for arm, model in models.items():
        arms[arm] = measured.answers(name, arm, model)
    if "distilled" in models:
        arms["distilled+refine"] = measured.answers(
            name, "distilled+refine", models["distilled"], calibrate="refine"
        )
        arms["teacher"] = measured.answers(name, "teacher", args.teacher, most=OF_TEACHER)
    figures: dict[str, object] = {}
    for arm, answers in arms.items():
        after, before = (measured.macro_f1(name, one) for one in (answers, arms["before"][: len(answers)]))

        def both(rows: np.ndarray, after=after, before=before) -> list[float]:
            return [after(rows), after(rows) - before(rows)]

        values = both(np.arange(len(answers)))
        drawn_RM = resampled(both, len(answers), resamples=1000, seed=0)
        value, gap = (Interval.of(one, drawn_R) for one, drawn_R in zip(values, drawn_RM.T, strict=True))
        record = {"macro_f1": value.to_dict(), "gain": gap.to_dict(), "rows": len(answers)}
        if others and arm in ("before", "self-training"):
            model = args.model if arm == "before" else models[arm]
            means = []
            for other in SETS:
                if other != name:
                    label = "before" if arm == "before" else f"{arm} from {name}"
                    given = measured.answers(other, label, model)
                    means.append(measured.macro_f1(other, given)(np.arange(len(given))))
            record["others"] = float(np.mean(means))
        figures[arm] = record
        data.say(
            f"{name}: {arm:17} {value} gain {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] "
            f"{record.get('others', '')}"
        )
    return figures


if __name__ == "__main__":
    main()
