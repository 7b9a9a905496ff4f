"""From labelled rows to a model that labels: read, checked, learned, measured, and the best of it kept.

OUT/settings.json      all that decides the run, but its rows
OUT/data.json          which rows those are
OUT/checkpoints/       where it can go on (`state.py`)
OUT/metrics.jsonl      what happened (`watch.py`)
OUT/evaluations.jsonl  how the evaluation rows were answered, at each checkpoint
OUT/best/              the weights that answered them best
OUT/predictions.jsonl  what those answered, a line for each evaluation row
OUT/results.json       how good that is, with 95 % intervals
OUT/model/             the model

With several seeds each has its own OUT/seed-N, OUT/summary.json compares them, and OUT/model is the best one's.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from sijo.errors import SettingError
from sijo.jobs.finetune_results import export, kept
from sijo.jobs.finetune_seed import FinetuneSeed
from sijo.jobs.finetune_settings import FinetuneSettings, LabelledFiles
from sijo.jobs.finetune_setup import FinetuneSetup
from sijo.jobs.run_folder import take_run_folder
from sijo.training.journal import check_tracker
from sijo.training.loop import Run, Step


def finetune(
    settings: FinetuneSettings,
    data: LabelledFiles,
    out: Path,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda sentence: None,
    begun: Callable[[Run], None] = lambda run: None,
) -> Iterator[Step]:
    """Fine-tune a model on labelled rows; yields each step when it is done and, where it is due, measured.

    settings  such as `defaults` gives, changed or not
    data      what it learns from and is measured on
    out       the run's folder
    resume    go on where a run in that folder stopped, with the same settings; or begin
    stop      asked before every step: whether to save and leave
    tell      where words for a person go
    begun     called with all that the loop works with, before the first step of each seed

    Raises SettingError and TextError for what cannot be learned, before anything is begun, and what `train` raises.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingError("fine-tuning runs in one process; start it without torchrun")
    check_tracker(settings.run.tracker)
    exercise = FinetuneSetup(settings, data, tell)
    with ExitStack() as stack:
        stack.enter_context(take_run_folder(out, settings, "data.json", exercise.words, resume=resume))
        seeds = range(settings.run.seed, settings.run.seed + settings.seeds)
        attempts = [
            FinetuneSeed(exercise, seed, out if settings.seeds == 1 else out / f"seed-{seed}", tell)
            for seed in seeds
        ]
        for attempt in attempts:
            yield from attempt.steps(stop, begun)
            if not attempt.finished:
                return
        best = kept(attempts, out)
        export(best, out / "model")
