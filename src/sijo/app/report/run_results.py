"""What a run of fine-tuning has come to, from its own files: metrics, labels, confusions, rows right and wrong.

results.json      the metrics of the best weights, with intervals; of open labels those of each set
predictions.jsonl their answer to each evaluation row, with its text: read line by line, however many there are
summary.json      of several seeds
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sijo.app.numbers import percent, three_digits
from sijo.app.report.answers import (
    RIGHT,
    SUREST,
    WRONG,
    Bar,
    BarItem,
    HighestRows,
    ShownAnswers,
    confusion_shown,
    label_bars,
)
from sijo.app.report.explanations import LONGEST, ShownRow, clipped
from sijo.errors import TextError
from sijo.evaluation.intervals import Interval
from sijo.evaluation.run_tables import WordTable
from sijo.evaluation.runs import SHOWN
from sijo.evaluation.tag_schemes import OUTSIDE
from sijo.files.json_files import read_object
from sijo.files.json_lines import object_of
from sijo.files.paths import FolderFile, present
from sijo.texts import shortened

NAMED = 4
"""Words of a row with a wrong tag that are named."""
LONGEST_LABEL = 80
"""Characters of a label, or an answer, beside a row."""
Line = Mapping[str, Any]


@dataclass
class ReadRow:
    """A line of predictions.jsonl."""

    right: bool
    sure: float
    """How high it stands among the wrong rows, and how low among the right ones."""
    answer: str
    notes: tuple[str, ...] = ()
    pairs: Sequence[tuple[str, str]] = ()
    """The labels it has and got, where each has one: of the row, or of each of its words."""
    gold: Sequence[str] = ()
    given: Sequence[str] = ()
    """All labels it has, and all it got, where it may have several."""


def classified(line: Line) -> ReadRow:
    """A row with one label; of what has no choices beside it, the label's probability."""
    gold, given, score = str(line["gold"]), str(line["predicted"]), float(line["score"])
    return ReadRow(gold == given, score, _named(given, score), _should_be(gold == given, gold), [(gold, given)])


def labelled(line: Line) -> ReadRow:
    """A row with any number of labels; how sure it is of the label that it is least or most wrong about."""
    gold, given, scores = set(line["gold"]), set(line["predicted"]), line["scores"]
    wrong = [
        score if name in given else 1 - score for name, score in scores.items() if (name in gold) != (name in given)
    ]
    sure = max(wrong) if wrong else min(max(score, 1 - score) for score in scores.values())
    answer = ", ".join(_named(name, scores[name]) for name in line["predicted"]) or "no label"
    right = gold == given
    note = _should_be(right, ", ".join(map(_short, line["gold"])) or "no label")
    return ReadRow(right, sure, answer, note, gold=line["gold"], given=line["predicted"])


def numbered(line: Line) -> ReadRow:
    """A row with a number; all are wrong by some, and the farthest off are shown."""
    gold, given = float(line["gold"]), float(line["predicted"])
    return ReadRow(False, abs(gold - given), three_digits(given), (f"gold: {three_digits(gold)}",))


def tagged(line: Line) -> ReadRow:
    """Words with a tag each; the more are wrong, the earlier it is shown."""
    rows = list(zip(map(str, line["words"]), map(str, line["gold"]), map(str, line["predicted"]), strict=True))
    wrong = [f"{_short(word)}: {_short(given)}, gold {_short(gold)}" for word, gold, given in rows if gold != given]
    more = (f"and {len(wrong) - NAMED} more",) if len(wrong) > NAMED else ()
    answer = f"{len(wrong)} of {len(rows)} words" if wrong else f"all {len(rows)} words"
    pairs = [(gold, given) for _, gold, given in rows]
    sure = len(wrong) if wrong else -sum(gold != OUTSIDE for gold, _ in pairs)
    return ReadRow(not wrong, sure, answer, (*wrong[:NAMED], *more), pairs)


def answered(line: Line) -> ReadRow:
    """A question; how far its answer stands over there being none."""
    gold, given = [str(text) for text in line["gold"]], str(line["predicted"])
    lead = float(line["score"]) - float(line["none"])
    right = given in gold or (not given and not gold)
    named = "; ".join(_short(text) or "no answer" for text in dict.fromkeys(gold)) or "no answer"
    return ReadRow(right, lead if given else -lead, _short(given) or "no answer", _should_be(right, named))


def chosen(line: Line) -> ReadRow:
    """A row with choices of its own; how likely the chosen one is."""
    gold, given, share = str(line["gold"]), str(line["predicted"]), max(map(float, line["scores"]))
    return ReadRow(gold == given, share, _named(given, share), _should_be(gold == given, gold))


READERS: Mapping[str, tuple[Callable[[Line], ReadRow], tuple[str, str]]] = {
    "classification": (classified, SUREST),
    "multi-label": (labelled, SUREST),
    "regression": (numbered, ("the farthest off first", "")),
    "tagging": (tagged, ("most wrong words first", "most named words first")),
    "question-answering": (answered, SUREST),
    "multiple-choice": (chosen, SUREST),
}
"""Of each task, how a line of its predictions is read, and how its rows are ordered, in words."""


@dataclass(kw_only=True)
class RunResults:
    """What is shown of the results of a run."""

    tables: list[WordTable] = field(default_factory=list)
    answers: ShownAnswers | None = None
    points: list[tuple[float, float]] = field(default_factory=list)
    """Of regression, gold and predicted numbers, at most `POINTS`."""
    rows: int = 0
    headline: tuple[str, str] | None = None
    """What decides, and its value."""

    @property
    def shows_texts(self) -> bool:
        """Whether texts of the data are among it."""
        return self.answers is not None and bool(self.answers.wrong or self.answers.right)


POINTS = 2_000
"""Of a drawing of numbers; every so many-th row of more."""


def run_results(folder: Path, *, texts: bool) -> RunResults | None:
    """What is in the files of a finished run; None where there are no results.

    texts  show rows, with their texts

    Raises TextError that names the file, and the line, that are not as a run leaves them.
    """
    file = present(folder, "results.json")
    if file is None:
        return None
    results = read_object(file)
    more = present(folder, "summary.json")
    try:
        if "sets" in results:
            headline = ("mean macro-F1", _number(results["after"])) if results["sets"] else None
            tables = [_rounds(results)] if results.get("rounds") else []
            return RunResults(answers=_sets(results), tables=tables, headline=headline)
        decides = str(results["metric"])
        headline = (_title(decides), _number(results["metrics"][decides]["value"]))
        shown = RunResults(tables=[_metrics(results)], rows=int(results["evaluation_rows"]), headline=headline)
        if more is not None:
            shown.tables.append(_seeds(read_object(more)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TextError(
            f"{folder} holds results that no run left ({error!r}); draw the report of another"
        ) from None
    predictions = present(folder, "predictions.jsonl")
    if predictions is not None and results.get("task") in READERS:
        data = present(folder, "data.json")
        names = [] if data is None else read_object(data).get("labels") or []
        _read_predictions(shown, predictions, str(results["task"]), names, texts=texts)
    return shown


def _read_predictions(shown: RunResults, file: FolderFile, task: str, names: Sequence[str], *, texts: bool) -> None:
    """Count what each label got, and keep the few rows that are shown."""
    reader, order = READERS[task]
    wrong, right = HighestRows[ShownRow](WRONG), HighestRows[ShownRow](RIGHT)
    pairs, hits, gold, given = (Counter[Any]() for _ in range(4))
    every = max(1, math.ceil(shown.rows / POINTS))
    for number, line in _lines(file):
        try:
            row = reader(line)
            if not math.isfinite(row.sure):
                raise ValueError("a number is NaN or infinite")
            pairs.update(row.pairs)
            gold.update(row.gold)
            given.update(row.given)
            hits.update(set(row.gold) & set(row.given))
            own = ShownRow(int(line["row"]), row.answer, list(row.notes), _text(line), [])
            if task == "regression" and number % every == 0:
                shown.points.append((float(line["gold"]), float(line["predicted"])))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TextError(
                f"line {number} of {file.path} is no prediction of a run ({error!r}); remove it"
            ) from None
        (right if row.right else wrong).add(-row.sure if row.right else row.sure, own)
    bars, matrix, confused, what = list[BarItem](), None, None, "Each label"
    if pairs:
        names = list(dict.fromkeys([*names, *(name for pair in sorted(pairs) for name in pair)]))
        place = {name: column for column, name in enumerate(names)}
        confusion = np.zeros((len(names), len(names)), np.int64)
        for (one, other), count in pairs.items():
            confusion[place[one], place[other]] = count
        bars, matrix, confused = confusion_shown(names, confusion)
        if task == "tagging":
            bars, what = [bar for bar in bars if bar.name != OUTSIDE], "Each tag, by words"
    elif task == "multi-label":
        names = list(dict.fromkeys([*names, *sorted(gold | given)]))
        bars = label_bars(names, *([counts[name] for name in names] for counts in (hits, gold, given)))
    shown.answers = ShownAnswers(
        what=what,
        bars=bars,
        matrix=matrix,
        confused=confused,
        wrong=list(wrong) if texts else (),
        right=list(right) if texts else (),
        counts=(wrong.count, right.count),
        order=order,
    )


def _lines(file: FolderFile) -> Iterator[tuple[int, Line]]:
    """The objects of a file of lines, one after another; TextError names what is none."""
    with file.open() as stream:
        for number, line in enumerate(stream, 1):
            yield number, object_of(line, number, file.path)


def _text(line: Line) -> str:
    """A row's text, and its second one behind a line."""
    words = line.get("words")
    text = " ".join(map(str, words)) if words else str(line.get("text", ""))
    second = line.get("second")
    return clipped(f"{text}\n{second}" if second else text, LONGEST // 6)


def _metrics(results: Line) -> WordTable:
    """All metrics with their intervals, the one first that decided which weights are best."""
    decides = results["metric"]
    metrics = {name: _interval(metric) for name, metric in results["metrics"].items()}
    if metrics.get("micro_f1") == metrics.get("accuracy"):  # of one label a row they are one
        metrics.pop("micro_f1", None)
    rows = [
        [_title(name), *_numbers(interval)]
        for name, interval in sorted(metrics.items(), key=lambda pair: pair[0] != decides)
    ]
    rows.append(["loss", three_digits(results["loss"]), "–"])
    count, step = results["evaluation_rows"], results["best_step"]
    note = f"{count:,} rows, whose {_title(decides)} chose the weights of step {step:,}."
    if "macro_f1_over" in results:
        note += f" macro-F1 is over {results['macro_f1_over']}."
    return WordTable(title="On the evaluation rows", headings=("measure", "value", "95 %"), rows=rows, note=note)


def _seeds(summary: Line) -> WordTable:
    """How far seeds are apart."""
    rows = [
        [_title(name), *(_number(spread[key]) for key in ("mean", "deviation", "lowest", "highest"))]
        for name, spread in summary["metrics"].items()
    ]
    note = f"All else is of seed {summary['best_seed']}, the best by {_title(summary['metric'])}."
    headings = ("measure", "mean", "deviation", "lowest", "highest")
    return WordTable(title=f"Over {len(summary['seeds'])} seeds", headings=headings, rows=rows, note=note)


def _sets(results: Line) -> ShownAnswers:
    """Of open labels: macro-F1 of each set before and after."""
    bars = []
    for name, one in results["sets"].items():
        of = f" macro-F1, {one['labels']:,} labels, {one['rows']:,} rows"
        before, after = (_interval(one[when]) for when in ("before", "after"))
        bars.append(BarItem(name, _number(after.value), (Bar("after", after, of), Bar("before", before, ""))))
    return ShownAnswers(what="Each set of labels, before and after", bars=bars)


def _rounds(results: Line) -> WordTable:
    """Of self-training: what each round learned from, and how many texts kept the label that they had before."""
    rows = []
    for number, one in enumerate(results["rounds"]):
        learned = sum(label["learned"] for label in one["labels"].values())
        rows.append([f"{number + 1}", _number(one["agreement"]), f"{learned:,}"])
    headings = ("round", "kept the label they had before", "texts that are sure enough")
    return WordTable(title=f"Rounds over {results['texts']:,} texts", headings=headings, rows=rows)


def _interval(metric: Line) -> Interval:
    """A value and its ends as JSON has them; NaN for none."""
    return Interval(*(math.nan if metric[key] is None else float(metric[key]) for key in ("value", "low", "high")))


def _numbers(interval: Interval) -> tuple[str, str]:
    known = math.isfinite(interval.low) and math.isfinite(interval.high)
    return _number(interval.value), f"[{interval.low:.3f}, {interval.high:.3f}]" if known else "–"


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _title(name: str) -> str:
    return SHOWN.get(name, name.replace("_", " "))


def _short(name: str) -> str:
    return shortened(name, LONGEST_LABEL)


def _named(name: str, share: float) -> str:
    return f"{_short(name)} {percent(share)}"


def _should_be(right: bool, gold: str) -> tuple[str, ...]:
    return () if right else (f"gold: {_short(gold)}",)
