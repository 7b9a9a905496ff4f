"""A model learns to fit labels, by vectors, in pairs or in one pass: sets recast, learned, measured, exported.

OUT/settings.json      all that decides the run, but its sets
OUT/data.json          which sets those are
OUT/checkpoints/       where it can be resumed (`training/state.py`)
OUT/metrics.jsonl      losses and rates (`training/journal.py`)
OUT/evaluations.jsonl  macro-F1 of each set that is measured on: before the first step, at checkpoints, at the end
OUT/results.json       the first and the last of these, with 95 % intervals
OUT/model/             the model

What is measured chooses nothing: the weights of the last step are exported.
"""

import os
import statistics
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sijo.checkpoints.card import Card, Metric, known_licence
from sijo.checkpoints.locate import BUILT_IN, is_built_in, locate
from sijo.checkpoints.save import save
from sijo.errors import CheckpointError, SettingError
from sijo.files.atomic import whole_file
from sijo.files.json_files import json_text
from sijo.files.json_lines import JsonLinesFile, json_leaves
from sijo.jobs.open_labels.entailment_settings import EntailmentSettings
from sijo.jobs.open_labels.entailment_setup import EntailmentSetup
from sijo.jobs.open_labels.label_matching_settings import LabelMatchingSettings, MatchingFiles
from sijo.jobs.open_labels.label_matching_setup import LabelMatchingSetup
from sijo.jobs.open_labels.one_pass_settings import OnePassSettings
from sijo.jobs.open_labels.one_pass_setup import OnePassSetup
from sijo.jobs.run_folder import model_words, take_run_folder
from sijo.training.distributed import join
from sijo.training.journal import Journal
from sijo.training.loop import Training
from sijo.training.step import Step
from sijo.training.trackers import check_tracker

MatchingSetup = LabelMatchingSetup | EntailmentSetup | OnePassSetup


def match_labels(
    settings: LabelMatchingSettings | EntailmentSettings | OnePassSettings,
    files: MatchingFiles,
    out: Path,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Generator[Step, None, bool]:
    """Teach a model to fit labels; yields each step when it is done and, where it is due, measured.

    settings  such as `default_matching`, `default_entailment` or `default_one_pass` gives, changed or not
    files     what it learns from and is measured on
    out       the run's folder
    resume    continue the run in that folder, with the same settings; or begin
    stop      called before every step; True saves and ends the run
    tell      called with each message for a person

    Returns whether the run is finished. Raises SettingError and TextError for sets that cannot be learned from,
    before anything is begun, and what `Training.steps` raises.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingError("fine-tuning runs in one process; start it without torchrun")
    check_tracker(settings.run.tracker)
    setup: MatchingSetup
    if isinstance(settings, OnePassSettings):
        setup = OnePassSetup(settings, files)
    elif isinstance(settings, EntailmentSettings):
        setup = EntailmentSetup(settings, files)
    else:
        setup = LabelMatchingSetup(settings, files)
    with ExitStack() as stack:
        words = setup.words | model_words(model=settings.model)
        stack.enter_context(take_run_folder(out, settings, "data.json", words, resume=resume))
        loop = setup.settings.run
        world = stack.enter_context(join(strategy=loop.strategy, timeout=loop.timeout, device=loop.device))
        training = Training(
            setup.settings, setup.objective.to(world.device), setup.train, out, world=world, tell=tell
        )
        begun = training.state.step
        lines = stack.enter_context(JsonLinesFile(out / "evaluations.jsonl", last_step=begun))
        measured = {line["step"]: line for line in lines.kept}
        tokenizer = setup.model.tokenizer
        journal = stack.enter_context(Journal(out, setup.settings, tokenizer, step=begun))

        def measure() -> None:
            step = training.state.step
            if step in measured:
                return
            with training.averaged():
                measured[step] = _line(step, setup)
            lines.write(measured[step])
            lines.to_disk()
            if measured[step]["sets"]:
                value = measured[step]["macro_f1"]
                tell(f"step {step:,}: macro-F1 {value:.4f}, the mean of {_told(measured[step])}")

        if begun % loop.save_every == 0:
            measure()
        for step in training.steps(stop):
            journal.add(step)
            if step.checkpoint:
                training.save()
                measure()
            yield step
        if not training.finished:
            return False
        measure()
        if 0 not in measured:
            raise CheckpointError(f"{out}/evaluations.jsonl has lost its first line; begin the run again elsewhere")
        results = _results(measured[0], measured[training.state.step], setup)
        with whole_file(out / "results.json") as file:
            file.write(json_text(results).encode())
        with training.averaged():
            _export(setup, results, out / "model")
        return True


def _line(step: int, setup: MatchingSetup) -> dict[str, Any]:
    """What is measured of the model as it is now."""
    measured = [*setup.measure()]
    return {
        "step": step,
        "macro_f1": statistics.fmean(one.macro_f1.value for one in measured) if measured else None,
        "sets": {one.name: {"labels": one.labels, "rows": one.rows} | one.macro_f1.to_dict() for one in measured},
    }


def _told(line: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {one['value']:.4f}" for name, one in line["sets"].items())


def _results(before: Mapping[str, Any], after: Mapping[str, Any], setup: MatchingSetup) -> dict[str, Any]:
    """What the encoder was worth before it learned, and is now."""
    ends = ("value", "low", "high")
    return {
        "task": setup.settings.task,
        "metric": "macro_f1",
        "steps": after["step"],
        "before": before["macro_f1"],
        "after": after["macro_f1"],
        "sets": {
            name: {"labels": one["labels"], "rows": one["rows"]}
            | {
                when: {end: line["sets"][name][end] for end in ends}
                for when, line in (("before", before), ("after", after))
            }
            for name, one in after["sets"].items()
        },
    }


def _export(setup: MatchingSetup, results: Mapping[str, Any], folder: Path) -> None:
    """The encoder as it is now, with its pooling and prompt, and its card."""
    settings, files = setup.settings, setup.files
    metrics = [
        Metric(f"macro_f1 {name}", one["after"]["value"], one["after"]["low"], one["after"]["high"], one["rows"])
        for name, one in results["sets"].items()
    ]
    sets = "rows held out of the sets it learned from" if files.evaluation is None else "sets it did not learn from"
    setup.model.sentence = setup.sentence()
    card = Card(
        title=f"{folder.parent.resolve().name}: {setup.title}",
        task=setup.hub_task,
        base_model=BUILT_IN if is_built_in(settings.model) else settings.model,
        data=setup.rows,
        metrics=metrics,
        measured_on=f"{sets}, {setup.measured_by}",
        settings={path: value for path, value in json_leaves(settings.to_json()) if path != "model"},
        base_licence=known_licence(locate(settings.model)),
        tags=setup.tags,
    )
    save(setup.model, folder, overwrite=True, card=card)
