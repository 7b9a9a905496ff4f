"""Every data set labelled in every way that is asked for and possible; each text is scored once by a scorer."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from sijo.app.calibrating import calibrated_by
from sijo.app.evaluation.gold_rows import GoldRows
from sijo.app.evaluation.settings import BUILT_IN, EvaluateSettings
from sijo.app.progress import RowProgress
from sijo.app.report.answers import RIGHT, WRONG
from sijo.batching import groups
from sijo.checkpoints.describe import describe
from sijo.errors import RefusedError, SettingError, SijoError, TextError, warn
from sijo.evaluation.runs import ImpossibleRun, RunSummary, Way, numbers_of
from sijo.inference.outputs import NotFiniteError
from sijo.inference.precision import FIRST_TEXTS
from sijo.inference.workers import WorkerPool
from sijo.names import composed
from sijo.version import __version__
from sijo.zeroshot.explaining.evidence import Explanation
from sijo.zeroshot.explaining.occlusion import explain
from sijo.zeroshot.labeller import Labeller
from sijo.zeroshot.many_labels.composing import drawn_from
from sijo.zeroshot.measured import Gold, MeasuredTexts, ScoredTexts, measure, score_texts

READINGS = 32
"""Of a row that is explained: with as many words, or runs of words, left out in turn."""
LABELS = 3
"""For which it is explained."""


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """One data set, labelled in one way."""

    summary: RunSummary
    about: dict[str, Any]
    """What it was made with and what it cost, for the record."""
    measured: MeasuredTexts
    rows: GoldRows
    texts_cut: int
    """Texts that were read in part."""
    explained: Mapping[int, Explanation] = field(default_factory=dict)
    """By its number, why some rows got their label; those that a report shows, of one run alone."""

    @property
    def record(self) -> dict[str, Any]:
        """All that is known of the run but its rows, for JSON."""
        return self.about | self.measured.evaluation.to_dict()


def finished_runs(
    settings: EvaluateSettings, sets: Sequence[GoldRows], progress: RowProgress
) -> tuple[list[FinishedRun], list[ImpossibleRun]]:
    """Every data set in every way that can label it, and the ways that cannot.

    Where only one run is asked for, or none is possible, what forbids it is raised; so is it where a model is not
    there.
    """
    ways = settings.ways
    alone = len(sets) * len(ways) * len(settings.calibration_names) == 1
    for model in {} if alone else {way.model: None for way in ways}:
        describe(model, settings.revision, settings.base)
    models = [way.model or BUILT_IN for way in ways]
    total, runs, impossible = sum(len(rows.texts) for rows in sets) * len(ways), list[FinishedRun](), []
    done = 0
    faults: list[SijoError] = []
    for rows, data in zip(sets, shown_names([rows.source for rows in sets]), strict=True):
        for way, model in zip(ways, shown_names(models), strict=True):
            try:
                labeller, gold = opened(way, rows)
                scored = _scored(way, labeller, gold, progress, done=done, total=total)
            except (SettingError, RefusedError, TextError) as error:
                if alone:
                    raise
                faults.append(error)
                impossible += [
                    ImpossibleRun(data, Way(model, way.scorer, how), str(error))
                    for how in settings.calibration_names
                ]
                continue
            finally:
                done += len(rows.texts)
            for how in settings.calibration_names:
                named = Way(model, labeller.scorer.name, how if settings.calibration is None else "file")
                if any((run.summary.data, run.summary.way) == (data, named) for run in runs):
                    continue  # auto is one of the scorers that were named
                try:
                    own = replace(way, calibrate=how)
                    runs.append(_measured(labeller, scored, gold, data, named, own, alone=alone))
                except (SettingError, TextError) as error:
                    if alone:
                        raise
                    faults.append(error)
                    impossible.append(ImpossibleRun(data, named, str(error)))
    if not runs:
        raise faults[0]
    return runs, impossible


def opened(way: EvaluateSettings, rows: GoldRows) -> tuple[Labeller, GoldRows]:
    """What labels these rows in that way, not calibrated, once it is sure that it may give their labels; and the
    rows as it knows their labels."""
    occurring, twice = rows.occurring(way.none_label)
    plain = replace(way, calibration=None, calibration_sample=None, calibration_label_column=None)
    labeller = plain.opened(
        rows.labels,
        lambda _: (rows.texts[:FIRST_TEXTS], None),
        lambda most: rows.texts[:most],
        column=way.text_column,
        otherwise=occurring,
        draw=drawn_from(rows.texts),
    )
    if labeller.choice.multi_label and not rows.several:
        raise SettingError(
            "the model was trained to judge each label by itself, and may give a text several or none; what is "
            "measured here is one label a text. Use a model that chooses one, or say --multi-label"
        )
    assert labeller.labels is not None
    if rows.labels is None and labeller.scorer.known is None:  # the file's own
        if twice is not None:
            raise twice
        for caution in () if rows.several else rows.cautions():
            warn(caution)
    known = labeller.scorer.known
    rows = rows.by_place(labeller.labels.names if known is None else known.names)
    rows.check([*labeller.labels.names, *([composed(way.none_label)] if way.none_label else [])])
    return labeller, rows


def _scored(
    way: EvaluateSettings, labeller: Labeller, rows: GoldRows, progress: RowProgress, *, done: int, total: int
) -> ScoredTexts:
    """The scores of all texts, by this process or several that share them; `done` of `total` rows came before."""
    progress.rows = 0
    with progress:
        progress.skip(done / total)
        return _shared(
            way, labeller, rows, lambda count: progress.add(count, (done + progress.rows + count) / total)
        )


def _shared(way: EvaluateSettings, labeller: Labeller, rows: GoldRows, tell: Callable[[int], None]) -> ScoredTexts:
    started, parts = time.perf_counter(), list[ScoredTexts]()
    try:
        if way.workers == 1:
            return score_texts(labeller, rows.texts, tell, vectors=_moves_labels(way))
        with WorkerPool(partial(_scoring, way.reopening(labeller), _moves_labels(way)), way.workers) as pool:
            for group, part in pool.each(groups(rows.texts, rows=labeller.rows)):
                parts.append(part)
                tell(len(group))
    except NotFiniteError as error:
        raise error.after(sum(len(part.scores) for part in parts), "row") from None
    return ScoredTexts.joined(parts, time.perf_counter() - started)


def _scoring(opens: Callable[[], Labeller], vectors: bool) -> Callable[[Sequence[str]], ScoredTexts]:
    """What scores texts in a process of its own."""
    return partial(score_texts, opens(), vectors=vectors)


def _moves_labels(way: EvaluateSettings) -> bool:
    """Whether some calibration may move the vectors of labels."""
    return way.calibration is not None or not {"auto", "refine"}.isdisjoint(way.calibration_names)


def _measured(
    labeller: Labeller,
    scored: ScoredTexts,
    rows: GoldRows,
    data: str,
    way: Way,
    settings: EvaluateSettings,
    *,
    alone: bool,
) -> FinishedRun:
    """One run, measured under the calibration of its settings; where it is the only one, with reasons to show."""
    gold: Gold = rows.gold if rows.several else [names[0] for names in rows.gold]
    engine, started = labeller.scorer.engine, time.perf_counter()
    read = engine.read
    try:
        labeller = calibrated_by(
            settings, labeller, lambda most: rows.texts[:most], column=settings.text_column, say=settings.say
        )
        seconds = scored.seconds + time.perf_counter() - started
        measured = measure(labeller, scored, gold, resamples=settings.resamples, seed=settings.seed)
        read = scored.read + engine.read - read
        explained = (
            _explained(labeller, measured, rows.texts)
            if alone and settings.explains and not settings.reads_few
            else {}
        )
    except NotFiniteError as error:
        raise error.after(0, "row") from None
    summary = RunSummary(
        data=data,
        way=way,
        rows=len(rows.texts),
        numbers=numbers_of(measured.evaluation),
        seconds=seconds,
        read=read,
        kept=scored.kept,
        answers=measured.answers,
    )
    calibration, scorer = labeller.calibration, labeller.scorer
    cut = int(scored.reading.truncated.sum())
    about = {
        "task": settings.task,
        "data": rows.source,
        "model": str(scorer.engine.model.source),
        "scorer": scorer.name,
        **{
            name: value for name, value in scorer.settings.items() if name in ("prompt", "cascade", "fused", "beam")
        },
        "calibrate": way.calibrate,
        "way": str(way),
        "texts_cut": cut,
        "temperature": calibration.temperature,
        "none_score": calibration.none_score,
        "calibration": calibration.origin,
        "seconds": round(seconds, 3),
        "rows_per_second": round(len(rows.texts) / max(seconds, 1e-9), 1),
        "read": summary.read,
        "kept": scored.kept,
        "sijo": __version__,
    }
    return FinishedRun(
        summary=summary, about=about, measured=measured, rows=rows, texts_cut=cut, explained=explained
    )


def _explained(labeller: Labeller, measured: MeasuredTexts, texts: Sequence[str]) -> dict[int, Explanation]:
    """Why the first of the rows that a report shows got their label, for at most half of what all rows cost."""
    wrong_n, right_n = measured.told_rows()
    rows = [*wrong_n[:WRONG].tolist(), *right_n[:RIGHT].tolist()][: max(2, len(texts) // (2 * READINGS))]
    reasons = explain(labeller, [texts[row] for row in rows], top_k=LABELS, limit=READINGS)
    return dict(zip(rows, reasons, strict=True))


def shown_names(sources: Sequence[str]) -> list[str]:
    """What a table calls files and models: the last part of a path, or all of it where two would be alike.

    >>> shown_names(["a/news.csv", "b/mail.csv"]), shown_names(["a/x.csv", "b/x.csv"]), shown_names(["-"])
    (['news.csv', 'mail.csv'], ['a/x.csv', 'b/x.csv'], ['standard input'])
    """
    short = ["standard input" if source == "-" else Path(source).name or source for source in sources]
    alike = len({*sources}) > len({*short})
    return [source if alike and source != "-" else name for source, name in zip(sources, short, strict=True)]
