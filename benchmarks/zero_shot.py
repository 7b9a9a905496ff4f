"""How well every model, scorer and calibration labels texts that nobody trained it to label, in one table.

    python benchmarks/zero_shot.py [NAME=MODEL ...] --clinc FOLDER --nsmc FILE --markdown TABLE.md

Eleven label sets (zero_shot_sets.py), 500 texts of each: BBC News, TREC questions under their definitions, 20
Newsgroups, CLINC150 by domain, by intent, and by intent with as many requests out of scope; Debian's descriptions
by section, WordNet's glosses of nouns by kind, snippets of film reviews; in Korean Debian's descriptions and the
reviews of NSMC. What cannot be downloaded, or is not named, is left out with a message.

The models are all-MiniLM-L6-v2, the built-in sijo-small, multilingual-e5-small out of a package
(multilingual_e5.py), and those that are named: an entailment model, an ELECTRA, a CTRL. Each is asked by every
scorer and calibration that it has; what is not possible is said in the table. Nothing else is set: labels stand in
the scorer's sentence for their language. The calls are those of `sijo evaluate`.

Every cell, a set labelled in one way, is written to a file of JSON lines when it is done; the same command goes on
where it was stopped. --only-sets, --scorer and --calibrate make a part of the table.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
from multilingual_e5 import folder_of
from zero_shot_sets import SETS, Source, ZeroShotSet, drawn, source_of

import data
from sijo.checkpoints.describe import describe
from sijo.checkpoints.locate import locate
from sijo.errors import RefusedError, SettingError, TextError
from sijo.evaluation.intervals import Interval
from sijo.evaluation.run_tables import data_set_table, markdown, word_tables
from sijo.evaluation.runs import Answers, ImpossibleRun, RunSummary, Way, numbers_of, results
from sijo.inference.vector_cache import VectorCache
from sijo.zeroshot.calibrating.fitting import SAMPLE, CalibrateName, fit_calibration
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.measured import ScoredTexts, measure, score_texts
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.registry import SCORERS
from sijo.zeroshot.scorers.scorer import Scorer

CALIBRATIONS = get_args(CalibrateName)
MINILM, BUILT_IN, E5 = "MiniLM", "sijo-small", "e5"
IMPOSSIBLE = SettingError, RefusedError, TextError


@dataclass(frozen=True)
class Cells:
    """The finished cells, in a file of JSON lines."""

    file: Path
    made_with: dict[str, Any]
    """What every cell must have been made with."""

    def read(self) -> list[dict[str, Any]]:
        """Those of this table; a line that was cut short is left out."""
        cells = []
        for line in self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []:
            try:
                cell = json.loads(line)
            except ValueError:
                continue
            if all(cell.get(name) == value for name, value in self.made_with.items()):
                cells.append(cell)
        return cells

    def add(self, cell: dict[str, Any]) -> None:
        """Write one more."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        torn = self.file.exists() and not self.file.read_bytes().endswith(b"\n") and self.file.stat().st_size
        with self.file.open("a", encoding="utf-8") as out:
            out.write(("\n" if torn else "") + json.dumps(self.made_with | cell, ensure_ascii=False) + "\n")


def key(cell: dict[str, Any]) -> tuple[str, str, str, str]:
    """Which cell it is."""
    return cell["set"], cell["model"], cell["scorer"], cell["calibrate"]


def finished(
    named: ZeroShotSet, labeller: Labeller, calibrations: list[str], resamples: int, seed: int
) -> Iterator[dict[str, Any]]:
    """The cells of one set under one model and scorer."""
    texts, gold = map(list, zip(*named.rows, strict=True))
    with TemporaryDirectory() as folder:  # what was read for the scores is not read again for a calibration
        labeller.scorer.engine.store = VectorCache(Path(folder), fingerprint="all")
        yield from _measured(
            labeller, score_texts(labeller, texts, vectors=True), texts, gold, calibrations, resamples, seed
        )
        labeller.scorer.engine.store = None


def _measured(
    labeller: Labeller,
    scored: ScoredTexts,
    texts: list[str],
    gold: list[str],
    calibrations: list[str],
    resamples: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """A cell for each calibration of the scores."""
    for how in calibrations:
        try:
            fitted = labeller
            if how != "none":
                fitted = fit_calibration(labeller, texts[:SAMPLE], how).applied_to(labeller)
            measured = measure(fitted, scored, gold, resamples=resamples, seed=seed)
        except IMPOSSIBLE as error:
            yield {"calibrate": how, "why": str(error)}
            continue
        numbers = {name: value.to_dict() for name, value in numbers_of(measured.evaluation).items()}
        yield {
            "calibrate": how,
            "rows": len(texts),
            "numbers": numbers,
            "seconds": scored.seconds,
            "read": scored.read,
            "kept": scored.kept,
            "classes": measured.answers.classes,
            "gold": measured.answers.gold_NC[:, 0].tolist(),
            "given": measured.answers.given_NC[:, 0].tolist(),
        }


def fill(args: argparse.Namespace, models: dict[str, Path | None], source: Source, cells: Cells) -> None:
    """Finish every cell that is not yet done."""
    done = {key(cell) for cell in cells.read()}
    sets: dict[str, ZeroShotSet | None] = {}
    for model, folder in models.items():
        for scorer in args.scorer or SCORERS:
            missing = {
                name: [how for how in args.calibrate if (name, model, scorer, how) not in done]
                for name in args.only_sets or SETS
            }
            missing = {name: calibrations for name, calibrations in missing.items() if calibrations}
            opened: Scorer | Exception | None = None
            for name, calibrations in missing.items():
                if name not in sets:
                    sets[name] = drawn(name, source, args.texts, args.seed)
                if (named := sets[name]) is None:
                    continue
                opened = opened or _opened(scorer, folder)
                for cell in _set(named, opened, calibrations, args):
                    cells.add({"set": name, "model": model, "scorer": scorer} | cell)
                    shown = {number: round(ends["value"], 3) for number, ends in cell.get("numbers", {}).items()}
                    data.say(f"{name}, {model}, {scorer}, {cell['calibrate']}: {shown or cell['why']}")


def _opened(scorer: str, model: Path | None) -> Scorer | Exception:
    """A scorer, or why there is none for this model, which is not named by its path."""
    try:
        return open_scorer(scorer, model)
    except IMPOSSIBLE as error:
        return SettingError(str(error).replace(str(describe(model).source), "the model"))


def _set(
    named: ZeroShotSet, scorer: Scorer | Exception, calibrations: list[str], args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """The cells of one set under one model and scorer, possible or not."""
    try:
        if isinstance(scorer, Exception):
            raise scorer
        choice = LabelChoice(none_label=named.none_label)
        labeller = Labeller(scorer, choice, LabelSet.of(named.labels))
        yield from finished(named, labeller, calibrations, args.resamples, args.seed)
    except IMPOSSIBLE as error:
        yield from ({"calibrate": how, "why": str(error)} for how in calibrations)


def summaries(cells: list[dict[str, Any]]) -> tuple[list[RunSummary], list[ImpossibleRun]]:
    """The cells as what tables are made of."""
    runs, impossible = [], []
    for cell in cells:
        name, *way = key(cell)
        if "why" in cell:
            impossible.append(ImpossibleRun(name, Way(*way), cell["why"]))
            continue
        answers = Answers(
            gold_NC=np.array(cell["gold"])[:, None],
            given_NC=np.array(cell["given"])[:, None],
            classes=cell["classes"],
            several=False,
        )
        runs.append(
            RunSummary(
                data=name,
                way=Way(*way),
                rows=cell["rows"],
                numbers={
                    number: Interval(**{end: np.nan if value is None else value for end, value in ends.items()})
                    for number, ends in cell["numbers"].items()
                },
                seconds=cell["seconds"],
                read=cell["read"],
                kept=cell["kept"],
                answers=answers,
            )
        )
    return runs, impossible


def main() -> None:
    """Finish the cells that are asked for, and write the table of all that there are."""
    parser = data.parser(__doc__)
    parser.add_argument("models", nargs="*", help="NAME=MODEL, more models")
    parser.add_argument("--clinc", type=Path, help="the folder of CLINC150's test.csv.gz")
    parser.add_argument("--nsmc", type=Path, help="NSMC's reviews, .tsv.xz")
    parser.add_argument("--texts", type=int, default=500, help="of each set, drawn at random (500)")
    parser.add_argument("--only-models", nargs="+", help=f"of {MINILM}, {BUILT_IN}, {E5} and those that are named")
    parser.add_argument("--only-sets", nargs="+", choices=SETS, metavar="SET", help=f"of {', '.join(SETS)}")
    parser.add_argument("--scorer", nargs="+", choices=SCORERS, help="all by default")
    parser.add_argument("--calibrate", nargs="+", choices=CALIBRATIONS, default=list(CALIBRATIONS), help="all")
    parser.add_argument("--baseline", help=f"the way others are compared with ({MINILM}, embedding, none)")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples (1000)")
    parser.add_argument("--cells", type=Path, help="the file of finished cells (zero-shot-cells.jsonl with --data)")
    parser.add_argument("--markdown", type=Path, help="a file for the table, beside printing it")
    args = parser.parse_args()
    models: dict[str, Path | None] = {MINILM: locate("all-minilm-l6-v2"), BUILT_IN: None, E5: None}
    models |= {name: Path(folder) for name, _, folder in (other.partition("=") for other in args.models)}
    models = {name: folder for name, folder in models.items() if name in (args.only_models or models)}
    if E5 in models:
        try:
            models[E5] = folder_of(args.data)
        except SystemExit as error:
            data.say(f"{E5} is left out: {error}")
            del models[E5]
    made_with = {"texts": args.texts, "seed": args.seed}
    cells = Cells(args.cells or args.data.expanduser() / "zero-shot-cells.jsonl", made_with)
    with TemporaryDirectory() as scratch:
        fill(args, models, source_of(args.data, args.clinc, args.nsmc, Path(scratch)), cells)
    places = {name: place for place, name in enumerate(SETS)}
    asked = [cell for cell in cells.read() if cell["set"] in (args.only_sets or SETS) and cell["model"] in models]
    asked = [cell for cell in asked if cell["scorer"] in (args.scorer or SCORERS)]
    runs, impossible = summaries(sorted(asked, key=lambda cell: places[cell["set"]]))
    table = results(runs, impossible, baseline=args.baseline, resamples=args.resamples, seed=args.seed)
    text = markdown([*([data_set_table(table)] if table.means else []), *word_tables(table)], level=3)
    print(text)
    if args.markdown is not None:
        args.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
