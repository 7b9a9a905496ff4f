"""How good what was learned is, and the model with a card that says so."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sijo.checkpoints.card import Card, Metric, licence
from sijo.checkpoints.locate import locate
from sijo.checkpoints.save import save
from sijo.data.labelled_rows import LabelledRow, Task
from sijo.evaluation.metrics import best_threshold, intervals
from sijo.files.atomic import whole_file
from sijo.files.json_files import read_object
from sijo.jobs.finetune_seed import FinetuneSeed
from sijo.jobs.finetune_setup import PROBLEMS
from sijo.training.settings import setting_leaves

PLACES = ("model", "teacher.model")
"""Settings that may be paths of this machine, which a card does not tell."""
PIPELINES = {"tagging": "token-classification", "question-answering": "question-answering"}
"""Tasks of the Hub; those that are not here are text classification, or have no name there."""


def measure(attempt: FinetuneSeed) -> dict[str, Any]:
    """How good the best weights of a run are, with intervals; their answers are written beside."""
    exercise = attempt.exercise
    answers = attempt.answers(attempt.best_objective().to(attempt.device))
    rows = exercise.evaluation.rows
    measured = intervals(exercise.metrics(answers), len(rows))
    with whole_file(attempt.folder / "predictions.jsonl") as file:
        for number, (row, given, beside) in enumerate(zip(rows, answers.given, answers.surely, strict=True)):
            file.write(json.dumps(_written(number, row, given) | beside, ensure_ascii=False).encode() + b"\n")
    results: dict[str, Any] = {
        "task": exercise.task,
        "metric": exercise.metric,
        "seed": attempt.seed,
        "best_step": attempt.best()["step"],
        "evaluation_rows": len(rows),
        "loss": answers.loss,
        "metrics": {name: one.to_dict() for name, one in measured.items()},
    }
    if answers.found and not exercise.always_answers:
        gold = [[answer.text for answer in row.label] for row in rows]
        threshold, f1 = best_threshold(answers.found, gold)
        results |= {"best_threshold": threshold, "f1_at_best_threshold": f1}
    _write(attempt.folder / "results.json", results)
    return results


def export(attempt: FinetuneSeed, folder: Path) -> None:
    """The model with the best weights of a run, labels as names, and its card."""
    model = attempt.network(attempt.best_objective())
    results = read_object(attempt.folder / "results.json")
    exercise, settings = attempt.exercise, attempt.settings
    base, taught = settings.model, settings.teacher.model
    metrics = [
        Metric(name, one["value"], one["low"], one["high"], results["evaluation_rows"])
        for name, one in results["metrics"].items()
        if one["value"] is not None
    ]
    data = exercise.data
    on = Path(data.evaluation).name if data.evaluation else f"rows held out of {Path(data.train).name}"
    card = Card(
        title=f"{folder.parent.resolve().name}: {exercise.task}",
        task=_pipeline(exercise.task),
        base_model=base or "sentence-transformers/all-MiniLM-L6-v2",
        teacher=taught,
        labels=exercise.names,
        data={Path(data.train).name: len(exercise.train.rows)},
        metrics=metrics,
        measured_on=f"{on}, by which the checkpoint was chosen too",
        settings={path: value for path, value in setting_leaves(settings.to_json()) if path not in PLACES},
        base_licence=licence(locate(base)),
        teacher_licence=None if taught is None else licence(locate(taught)),
        tags=("fine-tuned",),
    )
    save(model, folder, overwrite=True, card=card)


def _pipeline(task: Task) -> str:
    if task in PROBLEMS and task != "regression":
        return "text-classification"
    return PIPELINES.get(task, task)


def _written(number: int, row: LabelledRow, given: Any) -> dict[str, Any]:
    """A line of predictions.jsonl, but for how sure it is."""
    said: dict[str, Any] = {"row": number + 1}
    if row.name:
        said["id"] = row.name
    gold = row.label
    if gold and isinstance(gold, tuple) and not isinstance(gold[0], str):
        gold = [answer.text for answer in gold]
    said |= {"words": row.words} if row.words else {"text": row.texts[0]}
    if row.choices:
        gold, given = row.choices[gold], row.choices[given]
    return said | {"gold": gold, "predicted": given}


def kept(attempts: Sequence[FinetuneSeed], out: Path) -> FinetuneSeed:
    """Measure every seed's best, write the summary, and say which is kept."""
    results = [measure(attempt) for attempt in attempts]
    metric = attempts[0].exercise.metric
    best = attempts[0]
    for attempt in attempts[1:]:
        best = attempt if attempt.better(attempt.best(), best.best()) else best
    if len(attempts) == 1:
        return best
    names = results[0]["metrics"]
    by_metric = {name: [one["metrics"][name]["value"] for one in results] for name in names}
    summary = {
        "metric": metric,
        "best_seed": best.seed,
        "seeds": {
            str(attempt.seed): {name: by_metric[name][n] for name in names} for n, attempt in enumerate(attempts)
        },
        "metrics": {
            name: _spread([value for value in some if value is not None]) for name, some in by_metric.items()
        },
    }
    for name, content in (("summary.json", summary), ("results.json", results[attempts.index(best)])):
        _write(out / name, content)
    with whole_file(out / "predictions.jsonl") as file:
        file.write((best.folder / "predictions.jsonl").read_bytes())
    return best


def _spread(some: Sequence[float]) -> dict[str, float | None]:
    """Mean, standard deviation over seeds, and both ends."""
    if not some:
        return dict.fromkeys(("mean", "deviation", "lowest", "highest"))
    return {
        "mean": statistics.fmean(some),
        "deviation": statistics.stdev(some) if len(some) > 1 else 0.0,
        "lowest": min(some),
        "highest": max(some),
    }


def _write(file: Path, content: object) -> None:
    with whole_file(file) as out:
        out.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
