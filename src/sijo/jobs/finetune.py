"""From labelled rows to a model that labels: read, checked, learned, measured, and the best of it kept.

OUT/settings.json      all that decides the run, but its rows
OUT/data.json          which rows those are
OUT/checkpoints/       where it can go on (`training/state.py`)
OUT/metrics.jsonl      what happened (`training/journal.py`)
OUT/evaluations.jsonl  how the evaluation rows were answered, at each checkpoint
OUT/best/              the weights that answered them best
OUT/predictions.jsonl  what those answered, a line for each evaluation row
OUT/results.json       how good that is, with 95 % intervals
OUT/model/             the model

With several seeds each has its own OUT/seed-N, OUT/summary.json compares them, and OUT/model is the best one's.
"""

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sijo.errors import SettingError
from sijo.jobs.finetune_results import export, measure, summarise
from sijo.jobs.finetune_seed import FinetuneSeed
from sijo.jobs.finetune_settings import FinetuneSettings, LabelledFiles
from sijo.jobs.finetune_setup import FinetuneSetup
from sijo.jobs.run_folder import take_run_folder
from sijo.training.step import Step
from sijo.training.trackers import check_tracker


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
    resume    go on where a run in that folder stopped, with the same settings; or begin
    stop      asked before every step: whether to save and leave
    tell      where words for a person go

    Returns whether the run is finished. Raises SettingError and TextError for what cannot be learned, before
    anything is begun, and what `Training.steps` raises.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingError("fine-tuning runs in one process; start it without torchrun")
    check_tracker(settings.run.tracker)
    setup = FinetuneSetup(settings, files, tell)
    with ExitStack() as stack:
        stack.enter_context(take_run_folder(out, settings, "data.json", setup.words, resume=resume))
        seeds: list[FinetuneSeed] = []
        results: list[dict[str, Any]] = []
        best: FinetuneSeed | None = None
        for number in range(settings.run.seed, settings.run.seed + settings.seeds):
            seed = FinetuneSeed(setup, number, out if settings.seeds == 1 else out / f"seed-{number}", tell)
            if not (yield from seed.steps(stop)):
                return False
            seeds.append(seed)
            results.append(measure(seed))
            if best is None or seed.better(seed.best(), best.best()):
                best, worse = seed, best
            else:
                worse = seed
            if worse is not None:
                worse.release()
        assert best is not None
        if len(seeds) > 1:
            summarise(seeds, results, best, out)
        export(best, out / "model")
        return True
