"""Fine-tuning: labelled rows read and checked, a model trained on them, measured at checkpoints, the best one kept.

OUT/settings.json      all that decides the run, but its rows
OUT/data.json          which rows those are
OUT/checkpoints/       where it can be resumed (`training/state.py`)
OUT/metrics.jsonl      losses and rates (`training/journal.py`)
OUT/evaluations.jsonl  metrics over the evaluation rows, at each checkpoint
OUT/best/              the weights with the best of them
OUT/predictions.jsonl  their predictions, a line for each evaluation row
OUT/results.json       their metrics, with 95 % intervals
OUT/model/             the model

With several seeds each has its own OUT/seed-N, OUT/summary.json compares them, and OUT/model is the best one's.
"""

import os
import statistics
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sijo.checkpoints.card import Card, Metric, known_licence
from sijo.checkpoints.locate import BUILT_IN, is_built_in, locate
from sijo.checkpoints.save import save
from sijo.checkpoints.sentence import SentenceSettings
from sijo.data.labelled_rows import LabelledRow
from sijo.errors import SettingError, warn
from sijo.evaluation.intervals import intervals
from sijo.evaluation.metrics import MACRO_F1_OVER, best_threshold
from sijo.files.atomic import whole_file
from sijo.files.json_files import json_line, json_text
from sijo.files.json_lines import json_leaves
from sijo.files.paths import FolderFile
from sijo.jobs.finetune_seed import FinetuneSeed
from sijo.jobs.finetune_settings import FinetuneSettings, LabelledFiles
from sijo.jobs.finetune_setup import FinetuneSetup
from sijo.jobs.run_folder import model_words, take_run_folder
from sijo.training.step import Step
from sijo.training.trackers import check_tracker

PLACES = ("model", "teacher.model")
"""Settings that may be paths of this machine, which a card does not tell."""
PIPELINES = {
    "classification": "text-classification",
    "multi-label": "text-classification",
    "tagging": "token-classification",
}
"""The Hub's names of tasks that it calls otherwise, or not at all."""


def finetune(
    settings: FinetuneSettings,
    files: LabelledFiles,
    out: Path,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Generator[Step, None, bool]:
    """Fine-tune a model on labelled rows; yields each step when it is done and, where it is due, measured.

    settings  such as `default_settings` gives, changed or not
    files     what it learns from and is measured on
    out       the run's folder
    resume    continue the run in that folder, with the same settings; or begin
    stop      called before every step; True saves and ends the run
    tell      called with each message for a person

    Returns whether the run is finished. Raises SettingError and TextError for what cannot be learned, before
    anything is begun, and what `Training.steps` raises.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingError("fine-tuning runs in one process; start it without torchrun")
    check_tracker(settings.run.tracker)
    setup = FinetuneSetup(settings, files)
    if setup.scheme is not None:
        tell(f"the tags are {setup.scheme.name}, and entities are measured by it")
    with ExitStack() as stack:
        models = {"model": settings.model}
        if settings.teacher.model is not None:
            models["teacher"] = settings.teacher.model
        words = setup.words | model_words(**models)
        stack.enter_context(take_run_folder(out, settings, "data.json", words, resume=resume))
        seeds: list[FinetuneSeed] = []
        results: list[dict[str, Any]] = []
        best: FinetuneSeed | None = None
        for number in range(settings.run.seed, settings.run.seed + settings.seeds):
            seed = FinetuneSeed(setup, number, out if settings.seeds == 1 else out / f"seed-{number}", tell)
            if not (yield from seed.steps(stop)):
                return False
            seeds.append(seed)
            results.append(measure(seed))
            best = seed if best is None or seed.better(seed.best(), best.best()) else best
            for other in seeds:
                if other is not best:
                    other.release()
        assert best is not None
        if len(seeds) > 1:
            summarise(seeds, results, best, out)
        export(best, results[seeds.index(best)], out / "model")
        return True


def measure(seed: FinetuneSeed) -> dict[str, Any]:
    """The metrics of a run's best weights, with intervals; their predictions are written beside."""
    setup = seed.setup
    seed.use_best()
    predictions = seed.predictions(seed.best()["step"])
    rows = setup.evaluation.rows
    measured = intervals(setup.metrics(predictions.labels), len(rows))
    pairs = setup.task != "question-answering"  # whose second text would stand there for each of its questions
    with whole_file(seed.folder / "predictions.jsonl") as file:
        for number, (row, label, shares) in enumerate(
            zip(rows, predictions.labels, predictions.scores, strict=True), 1
        ):
            line = _line(number, row, label, pairs=pairs) | shares
            file.write(json_line(line))
    results: dict[str, Any] = {
        "task": setup.task,
        "metric": setup.metric,
        "seed": seed.seed,
        "best_step": seed.best()["step"],
        "evaluation_rows": len(rows),
        "loss": predictions.loss,
        "metrics": {name: interval.to_dict() for name, interval in measured.items()},
    }
    if seed.best()[setup.metric] is None:
        warn(
            f"{setup.metric} is not defined on the evaluation rows, as where all of them have one answer, so the "
            "loss decided which checkpoint is best"
        )
    if "macro_f1" in measured:
        results["macro_f1_over"] = MACRO_F1_OVER
    if setup.scheme is not None:
        results["tag_scheme"] = setup.scheme.name
    if predictions.spans and not setup.always_answers:
        gold = [[answer.text for answer in row.label] for row in rows]
        threshold, f1 = best_threshold(predictions.spans, gold)
        results |= {"best_threshold": threshold, "f1_at_best_threshold": f1}
    _write(seed.folder / "results.json", results)
    return results


def export(seed: FinetuneSeed, results: Mapping[str, Any], folder: Path) -> None:
    """The model that was trained, with its best weights, labels as names, and its card with its results."""
    setup, settings, files = seed.setup, seed.settings, seed.setup.files
    base, teacher = settings.model, settings.teacher.model
    metrics = [
        Metric(name, interval["value"], interval["low"], interval["high"], results["evaluation_rows"])
        for name, interval in results["metrics"].items()
        if interval["value"] is not None
    ]
    on = Path(files.evaluation).name if files.evaluation else f"rows held out of {Path(files.train).name}"
    on += ", by which the checkpoint was chosen too"
    if "macro_f1_over" in results:
        on += f"; macro_f1 is over {results['macro_f1_over']}"
    if setup.scheme is not None:
        on += f"; entities are read strictly as {setup.scheme.name}"
    card = Card(
        title=f"{folder.parent.resolve().name}: {setup.task}",
        task=PIPELINES.get(setup.task, setup.task),
        base_model=BUILT_IN if is_built_in(base) else base,
        teacher=teacher,
        labels=setup.names,
        data={Path(files.train).name: len(setup.train.rows)},
        metrics=metrics,
        measured_on=on,
        settings={path: value for path, value in json_leaves(settings.to_json()) if path not in PLACES},
        base_licence=known_licence(locate(base)),
        teacher_licence=None if teacher is None else known_licence(locate(teacher)),
        tags=("fine-tuned",),
    )
    seed.model.sentence = SentenceSettings()  # it learned to answer by a head, and its vectors went along
    save(seed.model, folder, overwrite=True, card=card)


def _line(number: int, row: LabelledRow, predicted: Any, *, pairs: bool) -> dict[str, Any]:
    """A line of predictions.jsonl, without the scores; of pairs with both texts."""
    gold = row.label
    if gold and isinstance(gold, tuple) and not isinstance(gold[0], str):
        gold = [answer.text for answer in gold]
    if row.choices:
        gold, predicted = row.choices[gold], row.choices[predicted]
    name = {"id": row.name} if row.name else {}
    text: dict[str, Any] = {"words": row.words} if row.words else {"text": row.texts[0]}
    if pairs and len(row.texts) > 1:
        text["second"] = row.texts[1]
    return {"row": number, **name, **text, "gold": gold, "predicted": predicted}


def summarise(
    seeds: Sequence[FinetuneSeed], results: Sequence[dict[str, Any]], best: FinetuneSeed, out: Path
) -> None:
    """Write the metrics of all seeds, and the results and predictions of the best one."""
    values = [{name: metric["value"] for name, metric in result["metrics"].items()} for result in results]
    summary = {
        "metric": best.setup.metric,
        "best_seed": best.seed,
        "seeds": {str(seed.seed): by_metric for seed, by_metric in zip(seeds, values, strict=True)},
        "metrics": {
            name: _spread([of_seed[name] for of_seed in values if of_seed[name] is not None]) for name in values[0]
        },
    }
    _write(out / "summary.json", summary)
    _write(out / "results.json", results[seeds.index(best)])
    with whole_file(out / "predictions.jsonl") as file:
        file.write(FolderFile(best.folder, "predictions.jsonl").read_bytes(sys.maxsize))


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
        out.write(json_text(content).encode())
