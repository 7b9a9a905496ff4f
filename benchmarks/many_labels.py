"""What a shortlist saves and how often its certificate holds; whether two scorers are better than the better one.

    python benchmarks/many_labels.py distill --clinc FOLDER --verifier FOLDER --out FOLDER
    python benchmarks/many_labels.py cascade --clinc FOLDER --verifier FOLDER [--shortlister NAME=FOLDER ...]
    python benchmarks/many_labels.py five --clinc FOLDER --verifier FOLDER
    python benchmarks/many_labels.py draws --clinc FOLDER [--verifier FOLDER]
    python benchmarks/many_labels.py seconds --clinc FOLDER --verifier FOLDER
    python benchmarks/many_labels.py fusion --clinc FOLDER [--second NAME=FOLDER]

distill  all-MiniLM-L6-v2 taught by a verifier: its opinion of every third of the texts, by label-matching with a
         teacher; they are left out of what then certifies it, and their cost is counted
cascade  CLINC150's 150 intents, requests of the test part within scope: how many labels a cross-encoder
         (many_labels_verifier.py) still reads at which certified disagreement, behind all-MiniLM-L6-v2, the
         built-in model and those that are named, such as one distilled from the verifier. The texts are the sample.
         How many times fewer labels are read is told for files of 4,500, 20,000 and 100,000 rows, the sample's in
         full counted
five     the same under five labels: the requests of five domains
draws    a certificate drawn up on texts drawn with replacement from a pool, again and again: in how many draws the
         pool's own share of other answers is above what was certified; beside it a certificate by halves
seconds  the verifier on all labels and behind the shortlist, in turns
fusion   macro-F1 of two scorers and of both together, weights found on the same texts without labels, on seven sets
         that were named before the first run: BBC News, TREC under definitions, 20 Newsgroups, CLINC150 by domain
         and by intent, Debian's sections, WordNet's nouns; with paired intervals of the gain over the better one

Scores are kept in the folder that --scores names, part by part, so that a run goes on where it was stopped.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from many_labels_scores import labeller_of, scores_of
from measuring import in_turns, median_ratio
from multilingual_e5 import folder_of
from zero_shot_sets import drawn, source_of

import data
from sijo.evaluation.intervals import Interval, resampled, share_at_most
from sijo.inference.outputs import ReadCounts
from sijo.jobs.open_labels.label_matching import match_labels
from sijo.jobs.open_labels.label_matching_settings import MatchingFiles, default_matching
from sijo.training.settings import with_changes
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.many_labels.cascade import CascadeScorer, cheapest
from sijo.zeroshot.many_labels.certificate import EACH, Certificate, certified, misses_allowed
from sijo.zeroshot.many_labels.composite import Beside
from sijo.zeroshot.many_labels.fusion import second_share, spread
from sijo.zeroshot.many_labels.shortlist import depths
from sijo.zeroshot.scorers.open import open_scorer

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
ROWS = (4_500, 20_000, 100_000)
SEVEN = (
    *("BBC News", "TREC, defined", "20 Newsgroups", "CLINC150 domains", "CLINC150 intents"),
    *("Debian sections", "WordNet nouns"),
)
LONG = {"BBC News": 200, "20 Newsgroups": 200}
"""Sets of long texts, of which fewer are read."""
THIRD = 3
"""Every so many texts teach a shortlister that is distilled, and are no part of its sample."""
FIVE = ("banking", "travel", "kitchen and dining", "work", "auto and commute")


def requests(
    args: argparse.Namespace, count: int, domains: tuple[str, ...] = ()
) -> tuple[list[str], list[str], np.ndarray]:
    """Requests within scope, all labels, which are intents or some domains, and the place of each right one."""
    rows = [row for row in data.clinc(args.clinc / "test.csv.gz") if row["domain"] != "oos"]
    if domains:
        rows = [row for row in rows if row["domain"].replace("_", " ") in domains]
    labels = domains or sorted({row["intent"].replace("_", " ") for row in rows})
    first = data.sample(rows, 1_000, args.seed)
    known = {row["text"] for row in first}
    rest = [row for row in rows if row["text"] not in known]
    rows = [*first, *data.sample(rest, max(0, count - len(first)), args.seed)][:count]
    right = [row["domain" if domains else "intent"].replace("_", " ") for row in rows]
    return [row["text"] for row in rows], list(labels), np.array([list(labels).index(label) for label in right])


def distill(args: argparse.Namespace) -> dict[str, Any]:
    """A shortlister that learns the verifier's opinion of every third text, from scores that are kept."""
    texts, labels, _ = requests(args, args.texts)
    scores = scores_of(args.scores, "clinc-v1", args.verifier, texts, labels, args.precision)
    pupils = texts[::THIRD]
    pool = data.write_csv(args.out.parent / f"{args.out.name}.csv", ["text"], [[text] for text in pupils])
    told = dict(zip(texts, scores, strict=True))
    teacher = open_scorer("auto", args.verifier, backend="torch")
    none = np.zeros(len(pupils), np.int64)
    reading = ReadCounts(none + 1, none + 1, none > 0)
    teacher.score = lambda request: (np.stack([told[text] for text in request.texts]), reading)  # type: ignore
    setup = sys.modules["sijo.jobs.open_labels.label_matching_setup"]
    setup.open_scorer = lambda *_, **__: teacher  # type: ignore
    asked = ["run.batch=24", f"run.steps={args.steps}", "questions.length=32", "questions.most=64", "held_out=0"]
    settings = with_changes(default_matching("all-minilm-l6-v2"), [*asked, "run.log_every=20"])
    files = MatchingFiles(train=str(pool), labels=LabelSet.of(labels), teacher=str(args.verifier))
    started = time.perf_counter()
    for step in match_labels(settings, files, args.out):
        if step.number % 20 == 0:
            data.say(f"step {step.number}: {step.loss:.3f}")
    return {"texts": len(pupils), "steps": args.steps, "seconds": time.perf_counter() - started}


def from_scores(verifier: np.ndarray, near: np.ndarray, share: float, *, teach: bool = True) -> Certificate:
    """What `fit_cascade` gives for labels that compete, from scores (n, L) that are known."""
    best = np.arange(near.shape[1]) == verifier.argmax(1)[:, None]
    if teach:
        return cheapest(share, near, verifier, best)
    decisive: Any = {form: depths(near, form)[best] for form in ("rank", "gap")}
    return certified(share, decisive, near.shape[1], depths(near, "gap"))


def kept_by(found: Certificate, near: np.ndarray, verifier: np.ndarray) -> np.ndarray:
    """The labels (n, L) that are verified by a certificate."""
    if found.lesson is None:
        return found.shortlist.keeps(near)
    return found.shortlist.keeps(found.lesson.said(near), verifier / found.lesson.unit)


def shortlisters(args: argparse.Namespace) -> dict[str, str | Path | None]:
    """Those that rank labels."""
    named = dict(pair.split("=", 1) for pair in args.shortlister)
    return {"MiniLM": "all-minilm-l6-v2", "sijo-small": None, **{name: Path(path) for name, path in named.items()}}


def rightly(scores: np.ndarray, right: np.ndarray) -> str:
    """The share of texts whose best label is the right one, with its interval."""
    hits = (scores.argmax(1) == right).astype(float)
    drawn = resampled(lambda rows: [float(hits[rows].mean())], len(hits), resamples=1_000, seed=0)
    return str(Interval.of(float(hits.mean()), drawn[:, 0]))


def curve(args: argparse.Namespace) -> dict[str, Any]:
    """Labels read against certified disagreement."""
    five = args.what == "five"
    texts, labels, right = requests(args, args.texts, FIVE if five else ())
    kind = "five" if five else "clinc"
    verifier = scores_of(args.scores, f"{kind}-v1", args.verifier, texts, labels, args.precision)
    figures: dict[str, Any] = {"texts": len(texts), "labels": len(labels), "right": rightly(verifier, right)}
    for name, model in shortlisters(args).items():
        short = {"MiniLM": "minilm", "sijo-small": "sijo"}.get(name, name)
        near = scores_of(args.scores, f"{kind}-{short}", model, texts, labels)
        sample = np.arange(len(texts)) % THIRD > 0 if short == name else np.ones(len(texts), bool)
        pupils = int((~sample).sum())
        figures[name] = {
            "same_answer": rightly(near[sample], verifier[sample].argmax(1)),
            "right": rightly(near[sample], right[sample]),
        }
        for share in SHARES:
            for how, teach in (("as it is", False), ("taught", True)):
                found = from_scores(verifier[sample], near[sample], share, teach=teach)
                data.say(f"{name} {how}, at most {share:g}: {found}")
                costs = replace(found, taught=found.taught + pupils)
                figures[name][f"{share:g}, {how}"] = dict(found.record) | {
                    "times_fewer": {str(rows): round(costs.times_fewer(rows), 2) for rows in ROWS},
                    "without_sample": round(found.labels / found.mean_labels, 2),
                }
    return figures


def by_halves(deepest: np.ndarray, share: float) -> tuple[float, bool]:
    """The rank that one half of the texts suggests, and whether the other half certifies it."""
    half = len(deepest) // 2
    place = min(int(np.ceil((half + 1) * (1 - share / 2))), half) - 1
    limit = np.sort(deepest[:half])[place]
    return float(limit), share_at_most(int((deepest[half:] > limit).sum()), len(deepest) - half) <= share


def draws(args: argparse.Namespace) -> dict[str, Any]:
    """How often certificates hold."""
    figures: dict[str, Any] = {}
    pools = {"MiniLM behind sijo-small": ("minilm", "all-minilm-l6-v2", "sijo", None, 1_000)}
    if args.verifier is not None:
        pools["cross-encoder behind MiniLM"] = ("v1", args.verifier, "minilm", "all-minilm-l6-v2", args.texts)
    for name, (one, verifier, other, shortlister, count) in pools.items():
        texts, labels, _ = requests(args, count)
        full = scores_of(args.scores, f"clinc-{one}", verifier, texts, labels, args.precision)
        near = scores_of(args.scores, f"clinc-{other}", shortlister, texts, labels)
        best, random = full.argmax(1), np.random.default_rng(args.seed)
        ranks = depths(near, "rank")[np.arange(count), best]
        for share, sample in ((0.05, 200), (0.05, 500), (0.02, 500), (0.01, 1_000)):
            above = held = halves = halves_above = 0
            saved, halves_saved = [], []
            for _ in range(args.draws):
                rows = random.integers(count, size=sample)
                found = from_scores(full[rows], near[rows], share)
                lost = ~kept_by(found, near, full)[np.arange(count), best]
                above, held = above + (lost.mean() > share), held + found.held
                saved.append(found.labels / found.mean_labels)
                limit, passed = by_halves(ranks[rows], share)
                halves, halves_above = halves + passed, halves_above + (passed and (ranks > limit).mean() > share)
                halves_saved.append(len(labels) / limit if passed else 1.0)
            figures[f"{name}, at most {share:g}, {sample} texts"] = {
                "above": above / args.draws,
                "limit_of_above": share_at_most(above, args.draws),
                "held": held / args.draws,
                "times_fewer": float(np.mean(saved)),
                "misses_allowed": misses_allowed(sample, share, EACH),
                "by_halves": {
                    "passed": halves / args.draws,
                    "above": halves_above / args.draws,
                    "times_fewer": float(np.mean(halves_saved)),
                },
            }
            data.say(f"{name}, {share:g}, {sample}: {figures[f'{name}, at most {share:g}, {sample} texts']}")
    return figures


def seconds(args: argparse.Namespace) -> dict[str, Any]:
    """The verifier in full, and behind a shortlist that was fitted elsewhere."""
    texts, labels, _ = requests(args, args.texts)
    labeller = labeller_of(args.verifier, labels, args.precision)
    verifier = scores_of(args.scores, "clinc-v1", args.verifier, texts, labels, args.precision)
    near = scores_of(args.scores, "clinc-minilm", "all-minilm-l6-v2", texts, labels)
    found = from_scores(verifier, near, args.share)
    beside = Beside.of(open_scorer("auto", "all-minilm-l6-v2"), labeller, "--shortlister")
    cascade = type(labeller)(CascadeScorer(labeller, beside, found), labeller.choice, LabelSet.of(labels))
    few = texts[: args.timed]
    works = {
        "full": lambda: [scores for scores, _ in labeller.scored(few)],
        "cascade": lambda: [scores for scores, _ in cascade.scored(few)],
    }
    taken, _ = in_turns(works, rounds=args.rounds)
    times = median_ratio(taken["full"], taken["cascade"], seed=args.seed)
    return {
        "certificate": str(found),
        "texts": len(few),
        "pairs_a_second": len(few) * len(labels) / float(np.median(taken["full"])),
        "seconds": {name: float(np.median(one)) for name, one in taken.items()},
        "times": times,
    }


def macro_f1(gold: np.ndarray, given: np.ndarray) -> float:
    """The mean over labels that are gold or given."""
    values = []
    for label in np.union1d(gold, given):
        both = ((gold == label) & (given == label)).sum()
        values.append(2 * both / ((gold == label).sum() + (given == label).sum()))
    return float(np.mean(values))


def fused_sets(args: argparse.Namespace, folder: Path) -> Iterator[tuple[str, list[str], list[str], Any]]:
    """The seven sets, their texts, right labels and labels."""
    source = source_of(args.data, args.clinc, None, folder)
    for name in args.only_sets or SEVEN:
        named = drawn(name, source, args.texts, args.seed)
        if named is not None:
            rows = named.rows[: LONG.get(name, args.texts)]
            yield name, [text for text, _ in rows], [label for _, label in rows], dict(named.labels)


def fusion(args: argparse.Namespace) -> dict[str, Any]:
    """Both scorers and their sum on each set."""
    figures: dict[str, Any] = {}
    name, _, path = (args.second or "e5=").partition("=")
    second = Path(path) if path else folder_of(args.data, None)
    with TemporaryDirectory() as folder:
        for title, texts, right, labels in fused_sets(args, Path(folder)):
            places = {label: place for place, label in enumerate(LabelSet.of(labels).names)}
            gold = np.array([places[label] for label in right])
            one = scores_of(args.scores, f"fuse-minilm-{title}", "all-minilm-l6-v2", texts, labels)
            two = scores_of(args.scores, f"fuse-{name}-{title}", second, texts, labels, args.precision)
            share = second_share(one, two)
            fused = (1 - share) * one / spread(one) + share * two / spread(two)
            given = {"MiniLM": one.argmax(1), name: two.argmax(1), "fused": fused.argmax(1)}
            better = max(("MiniLM", name), key=lambda who: macro_f1(gold, given[who]))

            def measured(
                rows: np.ndarray, given: Any = given, gold: Any = gold, better: str = better
            ) -> list[float]:
                f1 = {who: macro_f1(gold[rows], own[rows]) for who, own in given.items()}
                return [*f1.values(), f1["fused"] - f1[better]]

            values = measured(np.arange(len(gold)))
            spreads = resampled(measured, len(gold), resamples=args.resamples, seed=args.seed)
            told = dict(zip((*given, "gain"), map(Interval.of, values, spreads.T), strict=True))
            figures[title] = {"texts": len(gold), "share": share, "better": better} | told
            data.say(f"{title}, share {share:.2f}: " + ", ".join(f"{who} {value}" for who, value in told.items()))
    return figures


def main() -> None:
    """Measure, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("what", choices=("distill", "cascade", "five", "draws", "seconds", "fusion"))
    parser.add_argument("--clinc", type=Path, required=True, help="the folder of CLINC150's test.csv.gz")
    parser.add_argument("--verifier", type=Path, help="the folder of a cross-encoder")
    parser.add_argument("--precision", default="exact", help="of the verifier's scores, exact or int8 (exact)")
    parser.add_argument("--out", type=Path, help="of distill, the folder of the run")
    parser.add_argument("--steps", type=int, default=120, help="of distill, of 24 texts each (120)")
    parser.add_argument("--shortlister", action="append", default=[], help="NAME=FOLDER of one more")
    parser.add_argument("--second", help="of fusion, NAME=FOLDER of the second scorer (multilingual-e5-small)")
    parser.add_argument("--scores", type=Path, default=Path("runs/many-labels"), help="where scores are kept")
    parser.add_argument("--texts", type=int, default=500, help="of each set (500)")
    parser.add_argument("--only-sets", nargs="+", help="of fusion, some of the seven")
    parser.add_argument("--draws", type=int, default=1_000, help="of draws (1,000)")
    parser.add_argument("--share", type=float, default=0.02, help="of seconds, the disagreement (0.02)")
    parser.add_argument("--timed", type=int, default=20, help="of seconds, the texts (20)")
    parser.add_argument("--rounds", type=int, default=3, help="of seconds (3)")
    parser.add_argument("--resamples", type=int, default=1_000, help="behind each interval (1,000)")
    args = parser.parse_args()
    measures = {"distill": distill, "cascade": curve, "five": curve, "draws": draws, "seconds": seconds}
    figures = (measures | {"fusion": fusion})[args.what](args)
    data.report(args, {"texts": args.texts}, figures)


if __name__ == "__main__":
    main()
