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
from sijo.evaluation.intervals import intervals
from sijo.evaluation.metrics import best_threshold
from sijo.files.atomic import whole_file
from sijo.files.json_files import read_object
from sijo.files.json_lines import json_leaves
from sijo.jobs.finetune_seed import FinetuneSeed
from sijo.jobs.finetune_setup import PROBLEMS

PLACES = ("model", "teacher.model")
"""Settings that may be paths of this machine, which a card does not tell."""
PIPELINES = {"tagging": "token-classification", "question-answering": "question-answering"}
"""Tasks of the Hub; those that are not here are text classification, or have no name there."""


def measure(seed: FinetuneSeed) -> dict[str, Any]:
    """How good the best weights of a run are, with intervals; their predictions are written beside."""
    setup = seed.setup
    seed.use_best()
    predictions = seed.predictions()
    rows = setup.evaluation.rows
    measured = intervals(setup.metrics(predictions), len(rows))
    with whole_file(seed.folder / "predictions.jsonl") as file:
        for number, (row, label, beside) in enumerate(
            zip(rows, predictions.labels, predictions.scores, strict=True)
        ):
            file.write(json.dumps(_line(number, row, label) | beside, ensure_ascii=False).encode() + b"\n")
    results: dict[str, Any] = {
        "task": setup.task,
        "metric": setup.metric,
        "seed": seed.seed,
        "best_step": seed.best()["step"],
        "evaluation_rows": len(rows),
        "loss": predictions.loss,
        "metrics": {name: interval.to_dict() for name, interval in measured.items()},
    }
    if predictions.spans and not setup.always_answers:
        gold = [[answer.text for answer in row.label] for row in rows]
        threshold, f1 = best_threshold(predictions.spans, gold)
        results |= {"best_threshold": threshold, "f1_at_best_threshold": f1}
    _write(seed.folder / "results.json", results)
    return results


def export(seed: FinetuneSeed, folder: Path) -> None:
    """The model that was trained, with its best weights, labels as names, and its card."""
    results = read_object(seed.folder / "results.json")
    setup, settings, files = seed.setup, seed.settings, seed.setup.files
    base, teacher = settings.model, settings.teacher.model
    metrics = [
        Metric(name, interval["value"], interval["low"], interval["high"], results["evaluation_rows"])
        for name, interval in results["metrics"].items()
        if interval["value"] is not None
    ]
    on = Path(files.evaluation).name if files.evaluation else f"rows held out of {Path(files.train).name}"
    card = Card(
        title=f"{folder.parent.resolve().name}: {setup.task}",
        task=_pipeline(setup.task),
        base_model=base or "sentence-transformers/all-MiniLM-L6-v2",
        teacher=teacher,
        labels=setup.names,
        data={Path(files.train).name: len(setup.train.rows)},
        metrics=metrics,
        measured_on=f"{on}, by which the checkpoint was chosen too",
        settings={path: value for path, value in json_leaves(settings.to_json()) if path not in PLACES},
        base_licence=licence(locate(base)),
        teacher_licence=None if teacher is None else licence(locate(teacher)),
        tags=("fine-tuned",),
    )
    save(seed.model, folder, overwrite=True, card=card)


def _pipeline(task: Task) -> str:
    if task in PROBLEMS and task != "regression":
        return "text-classification"
    return PIPELINES.get(task, task)


def _line(number: int, row: LabelledRow, predicted: Any) -> dict[str, Any]:
    """A line of predictions.jsonl, but for how sure it is."""
    line: dict[str, Any] = {"row": number + 1}
    if row.name:
        line["id"] = row.name
    gold = row.label
    if gold and isinstance(gold, tuple) and not isinstance(gold[0], str):
        gold = [answer.text for answer in gold]
    line |= {"words": row.words} if row.words else {"text": row.texts[0]}
    if row.choices:
        gold, predicted = row.choices[gold], row.choices[predicted]
    return line | {"gold": gold, "predicted": predicted}


def summarise(
    seeds: Sequence[FinetuneSeed], results: Sequence[dict[str, Any]], best: FinetuneSeed, out: Path
) -> None:
    """Write how the seeds compare, and the results and predictions of the best one."""
    names = results[0]["metrics"]
    by_metric = {name: [result["metrics"][name]["value"] for result in results] for name in names}
    summary = {
        "metric": best.setup.metric,
        "best_seed": best.seed,
        "seeds": {
            str(seed.seed): {name: by_metric[name][number] for name in names} for number, seed in enumerate(seeds)
        },
        "metrics": {
            name: _spread([value for value in by_seed if value is not None]) for name, by_seed in by_metric.items()
        },
    }
    for name, content in (("summary.json", summary), ("results.json", results[seeds.index(best)])):
        _write(out / name, content)
    with whole_file(out / "predictions.jsonl") as file:
        file.write((best.folder / "predictions.jsonl").read_bytes())


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, standard deviation over seeds, and both ends."""
    if not values:
        return dict.fromkeys(("mean", "deviation", "lowest", "highest"))
    return {
        "mean": statistics.fmean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else 0.0,
        "lowest": min(values),
        "highest": max(values),
    }


def _write(file: Path, content: object) -> None:
    with whole_file(file) as out:
        out.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
