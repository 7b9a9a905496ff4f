"""What texts without labels are good for: self-training, a slower model and written texts, beside steps spent
otherwise.

    python benchmarks/without_labels.py OUT --clinc FOLDER --model M [--mixture FILE.toml] [--teacher FOLDER]
        [--writer FOLDER] [--only-arms self-training …]

Four sets of zero_shot_sets.py, named before the first run: CLINC150 domains, TREC with its definitions, Debian's
sections, and these in Korean. Of each, 400 texts are a pool without labels, and 300 others judge, 30 words of each
at most. A sentence encoder is measured on them by macro-F1 of labels by name:

    before             as it is
    refine             with calibrate="refine" fitted to the pool: no training, one pass over the pool
    self-training      one round of 24 steps of 24 texts
    self-training, two rounds    the same twice, the second on answers of the first, from the encoder as it is
    matched            24 such steps of ordinary label-matching over labelled sets of other labels (--mixture); one
                       encoder for all four sets
    distilled          24 such steps on the pool, of which a cross-encoder (--teacher, as many_labels_verifier.py
                       makes) says how well a few of the labels fit; not in Korean, which the teacher does not read
    written            24 such steps on texts that a CTRL (--writer, as model/ctrl.py makes) wrote for each label,
                       40 of each, from the beginnings in openings.toml
    written, checked   the same, of those alone that the encoder itself gives the label they were written for
    written, fit       a head (`sijo fit`) on these, over the encoder as it is: no step
    beginnings         as `written`, on the three beginnings of each label in openings.toml alone: what a person
                       says of a label, and nothing that a CTRL wrote
    beginnings, fit    a head on these
    described          the encoder as it is, each label described by these as well: no step
    described, refine  the same with calibrate="refine"

and the cross-encoder, in English, labels by name without definitions:

    teacher                  as it is, on the same 300
    teacher, self-training   one round of 24 steps of 24 pairs

Steps cost the same in all of the first; self-training reads the pool once more a round, the teacher reads it once
for each label. Differences are from `before`, of the second list from `teacher`, of the same texts, with paired
bootstrap intervals. `others` is the mean macro-F1 of the three other sets after learning from one, and its
difference from before: what is forgotten of other labels, or learned for them. A run that was stopped goes on from
what OUT holds.
"""

import json
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from zero_shot_sets import SECTIONS, drawn, source_of

import data
import sijo
from sijo.evaluation.intervals import Interval, resampled
from sijo.evaluation.metrics import metrics_of
from sijo.files.atomic import whole_file
from sijo.generation.generator import Generator
from sijo.generation.synthetic import Kind, SyntheticSettings, synthesise
from sijo.jobs.open_labels.label_matching import match_labels
from sijo.jobs.open_labels.label_matching_settings import MatchingFiles, default_matching
from sijo.jobs.open_labels.self_training import self_train
from sijo.jobs.open_labels.self_training_settings import UnlabelledFiles, default_self_training
from sijo.training.settings import with_changes
from sijo.zeroshot.labels import LabelSet

SETS = ("CLINC150 domains", "TREC, defined", "Debian sections", "Debian sections, Korean")
KOREAN = SETS[3]
ARMS = (
    *("before", "refine", "self-training", "self-training, two rounds", "matched", "distilled", "teacher"),
    *("teacher, self-training", "written, fit", "written", "written, checked", "beginnings, fit", "beginnings"),
    *("described", "described, refine"),
)
POOL, JUDGED = 400, 300
STEPS, WORDS, WRITTEN, DRAFTS = 24, 30, 40, 100
FEW = ("run.batch=24", "run.save_every=1000", "run.log_every=8", "run.keep=1")
OPENINGS = Path(__file__).with_name("openings.toml")


@dataclass(frozen=True)
class Judged:
    """One of the sets."""

    name: str
    pool: list[str]
    """Texts without labels."""
    rows: list[tuple[str, str]]
    """Those that judge, with their labels."""
    labels: LabelSet

    @property
    def bare(self) -> LabelSet:
        """The labels without definitions."""
        return LabelSet.of(list(self.labels.names))

    @property
    def openings(self) -> Any:
        """The control code, and by label how its texts may begin."""
        return tomllib.loads(OPENINGS.read_text(encoding="utf-8"))[self.name]

    @property
    def described(self) -> LabelSet:
        """The labels, described by the beginnings of their texts, too."""
        said = self.openings["labels"]
        return LabelSet.of({one.name: (*one.descriptions, *said[one.name]) for one in self.labels.labels})

    def macro_f1(self, answers: list[str]) -> Callable[[np.ndarray], float]:
        """Of the rows with these numbers."""
        gold = [type("Row", (), {"label": label}) for _, label in self.rows]
        return metrics_of("classification", gold, answers, list(self.labels.names))["macro_f1"]


def sets_of(args: Any) -> dict[str, Judged]:
    """The four sets; the pools are written into OUT."""
    source = source_of(args.data, args.clinc, None, Path(mkdtemp(prefix="sijo-")))
    sets = {}
    for name in SETS:
        one = drawn(name, source, POOL + JUDGED, args.seed)
        assert one is not None
        more = []
        if len(one.rows) < POOL + JUDGED:  # of the Korean set the rest is of the part that taught sijo-small
            known = {text for text, _ in one.rows}
            more = [(text, SECTIONS[section][1]) for text, section in source.sections("ko", teaching=True)]
            more = data.sample(sorted({row for row in more if row[0] not in known}), JUDGED, args.seed)
            one = replace(one, rows=[*one.rows[:POOL], *more])
        rows = [(" ".join(text.split()[:WORDS]), label) for text, label in one.rows]
        pool = len(rows) - len(more) if more else POOL
        sets[name] = Judged(name, [text for text, _ in rows[:pool]], rows[pool:], LabelSet.of(one.labels))
        if not (args.out / f"{name}.csv").is_file():
            data.write_csv(args.out / f"{name}.csv", ["text"], [[text] for text in sets[name].pool])
    return sets


class Study:
    """The models and answers of each arm, kept in OUT as they are made."""

    def __init__(self, args: Any, sets: dict[str, Judged]) -> None:
        self.args, self.out, self.sets = args, args.out, sets
        (self.out / "answers").mkdir(parents=True, exist_ok=True)

    def has(self, arm: str, name: str) -> bool:
        """Whether an arm is asked for, and can be had, for a set."""
        needed = {"matched": self.args.mixture, "wri": self.args.writer, "distilled": self.args.teacher}
        needed["teacher"] = self.args.teacher
        can = all(value is not None for start, value in needed.items() if arm.startswith(start))
        english_alone = arm.startswith("teacher") or arm == "distilled"
        return arm in self.args.only_arms and can and not (english_alone and name == KOREAN)

    def answers(self, arm: str, name: str, *, of: str | None = None) -> list[str]:
        """The labels that an arm gives the texts of a set that judge.

        of  the set that it learned from, if not the same
        """
        file = self.out / "answers" / (f"{name} - {arm}.json" if of is None else f"{name} - {arm} from {of}.json")
        if not file.is_file():
            one, model = self.sets[name], self.model(arm, of or name)
            texts = [text for text, _ in one.rows]
            if arm.endswith(", fit"):
                learned_from = self.made(arm, name)
                fitted = sijo.FewShotClassifier(one.labels, model).fit(*zip(*learned_from, strict=True))
                given = fitted.predict(texts)
            else:
                calibrate = "refine" if arm.endswith("refine") else "none"
                kept = self.out / "vectors" if not arm.startswith("teacher") else None
                labels = one.bare if arm.startswith("teacher") else one.labels
                labels = one.described if arm.startswith("described") else labels
                classifier = sijo.ZeroShotClassifier(labels, model=model, calibrate=calibrate, cache=kept)
                given = classifier.fit(one.pool).predict(texts)
            with whole_file(file) as out:
                out.write(json.dumps([str(label) for label in given]).encode())
        return json.loads(file.read_text(encoding="utf-8"))

    def model(self, arm: str, name: str) -> str | None:
        """The model of an arm for a set, learned where it has to be."""
        match arm:
            case "before" | "refine" | "written, fit" | "beginnings, fit" | "described" | "described, refine":
                return self.args.model
            case "teacher":
                return self.args.teacher
            case "self-training" | "self-training, two rounds" | "teacher, self-training":
                one, of_teacher = self.sets[name], arm.startswith("teacher")
                start, labels = (self.args.teacher, one.bare) if of_teacher else (self.args.model, one.labels)
                own = with_changes(default_self_training(start), [*self.few(arm, STEPS), "agreement=1.0"])
                if of_teacher:
                    own = replace(own, rounds=1)
                files = UnlabelledFiles(train=str(self.out / f"{name}.csv"), labels=labels)
                folder = self.out / f"{name} - {'teacher, own' if of_teacher else 'own'}"
                last = learned(lambda out: self_train(own, files, out, resume=True), folder)
                return str(folder / "round-1" / "model") if arm == "self-training" else last
        settings = with_changes(default_matching(self.args.model), [*self.few(arm, STEPS), "held_out=0"])
        labels, folder = self.sets[name].labels, self.out / f"{name} - {arm}"
        if arm == "matched":
            matching, folder = MatchingFiles(train=str(self.args.mixture)), self.out / arm
        elif arm == "distilled":
            pool = str(self.out / f"{name}.csv")
            matching = MatchingFiles(train=pool, labels=labels, teacher=self.args.teacher)
        else:
            table = self.out / f"{name} - {arm}.csv"
            data.write_csv(table, ["text", "label"], self.made(arm, name))
            matching = MatchingFiles(train=str(table), labels=labels, text="text", label="label")
        return learned(lambda out: match_labels(settings, matching, out, resume=True), folder)

    def few(self, arm: str, steps: int) -> list[str]:
        """The settings that all runs share."""
        length = "length=64" if arm == "teacher, self-training" else "questions.length=48"
        return [*FEW, length, f"run.steps={steps}", f"run.seed={self.args.seed}"]

    def made(self, arm: str, name: str) -> list[tuple[str, str]]:
        """Texts that the CTRL wrote for the labels of a set, or their beginnings alone, with these."""
        file, labels = self.out / f"{name} - made.json", self.sets[name].labels
        asked = self.sets[name].openings
        if arm.startswith("beginnings"):
            return [(text, label) for label in labels.names for text in asked["labels"][label]]
        if not file.is_file():
            started = time.perf_counter()
            kinds = [
                Kind(label=label, control_code=asked["code"], beginnings=tuple(asked["labels"][label]))
                for label in labels.names
            ]
            settings = SyntheticSettings(count=WRITTEN, drafts=DRAFTS, max_new_tokens=WORDS, seed=self.args.seed)
            texts = synthesise(Generator(sijo.load(self.args.writer, "lm")), kinds, settings)
            with whole_file(file) as out:
                rows = [(text.text, text.label) for text in texts]
                out.write(json.dumps(rows, ensure_ascii=False, indent=0).encode())
            data.say(f"{file.name}: {len(rows)} texts, {time.perf_counter() - started:.0f} s")
        rows = [(text, label) for text, label in json.loads(file.read_text(encoding="utf-8"))]
        if arm == "written":
            return rows
        own = sijo.ZeroShotClassifier(labels, model=self.args.model, cache=self.out / "vectors")
        given = own.predict([text for text, _ in rows])
        kept = [row for row, label in zip(rows, given, strict=True) if row[1] == label]
        data.say(f"{name}: {len(kept)} of {len(rows)} written texts pass the check, {Counter(b for _, b in kept)}")
        return kept

    def figures(self, arm: str, name: str) -> dict[str, object]:
        """Macro-F1 of an arm with its difference from where it began, and of the other sets."""
        one, base = self.sets[name], "teacher" if arm.startswith("teacher") else "before"
        after, before = (one.macro_f1(self.answers(which, name)) for which in (arm, base))

        def both(rows: np.ndarray) -> list[float]:
            return [after(rows), after(rows) - before(rows)]

        count = len(one.rows)
        drawn_R2 = resampled(both, count, resamples=1000, seed=0)
        value, gain = (Interval.of(*both_) for both_ in zip(both(np.arange(count)), drawn_R2.T, strict=True))
        record: dict[str, object] = {"macro_f1": value.to_dict(), "gain": gain.to_dict(), "rows": count}
        said = f"{name}: {arm:22} {value} gain {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        if self.args.others and arm in ("self-training", "distilled", "written, checked"):
            others = [other for other in SETS if other != name]
            means = [
                np.mean([self.whole(other, self.answers(which, other, of=of)) for other in others])
                for which, of in ((arm, name), ("before", None))
            ]
            record |= {"others": float(means[0]), "others_before": float(means[1])}
            said += f" others {means[0]:.3f}, before {means[1]:.3f}"
        data.say(said)
        return record

    def whole(self, name: str, answers: list[str]) -> float:
        """Macro-F1 of all rows."""
        return self.sets[name].macro_f1(answers)(np.arange(len(answers)))


def learned(run: Callable[[Path], Iterable[object]], folder: Path) -> str:
    """The model of a run, made or gone on with."""
    if not (folder / "model" / "manifest.json").is_file():
        started = time.perf_counter()
        for _ in run(folder):
            pass
        data.say(f"{folder.name}: {time.perf_counter() - started:.0f} s")
    return str(folder / "model")


def main() -> None:
    """Learn from each pool in each way, and print the table."""
    parser = data.parser(__doc__)
    parser.add_argument("out", type=Path, help="where models and answers are kept")
    parser.add_argument("--clinc", type=Path, required=True)
    parser.add_argument("--model", help="the encoder that learns; the built-in one, which two of the sets taught")
    parser.add_argument("--teacher", help="a cross-encoder trained on entailment")
    parser.add_argument("--mixture", type=Path, help="labelled sets of other labels, for `matched`")
    parser.add_argument("--writer", help="a CTRL with the codes of openings.toml")
    parser.add_argument("--others", action="store_true", help="measure what becomes of other labels, too")
    parser.add_argument("--only-sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--only-arms", nargs="+", choices=ARMS, default=ARMS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    study = Study(args, sets_of(args))
    figures = {
        f"{name}: {arm}": study.figures(arm, name)
        for arm in ARMS
        for name in args.only_sets
        if study.has(arm, name)
    }
    data.report(args, {"pool": POOL, "judged": JUDGED, "steps": STEPS, "batch": 24}, figures)


if __name__ == "__main__":
    main()
