"""What the files of a run say: settings, metrics, timings, texts, and the sizes of its networks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sijo.checkpoints.weight_files import read_header
from sijo.errors import CheckpointError, SettingError, TextError
from sijo.files.json_files import read_object
from sijo.files.json_lines import RUN_FILES, read_lines
from sijo.files.paths import present
from sijo.objectives.registry import OBJECTIVES

LARGEST = 1e30
"""Of the numbers that are drawn: differences and sums of greater ones may be infinite."""
EVALUATIONS = "evaluations.jsonl"
"""Of fine-tuning: metrics over the evaluation rows, a line for each time."""
FINISHED = "finished"
"""The state of a run that has left its model."""
Curve = tuple[list[float], list[float]]
"""Steps, and a value at each."""
JsonLines = Sequence[Mapping[str, Any]]


def title_of(part: str) -> str:
    """An objective in words; its own name where it has no title."""
    return OBJECTIVES[part].title if part in OBJECTIVES else part


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The files of a run."""

    name: str
    folder: Path
    settings: Mapping[str, Any]
    metrics: JsonLines
    timings: JsonLines
    examples: JsonLines
    evaluations: JsonLines
    """Of fine-tuning: metrics over the evaluation rows, at checkpoints."""
    parameters: Mapping[str, int]
    """Of each network."""
    state: str
    """How far it is, in words."""

    @property
    def texts_to_come(self) -> bool:
        """Whether it learns from raw text, of which a text is kept at each checkpoint, and goes on."""
        return self.state != FINISHED and "cutting" not in self.settings and not self.evaluations


def read_run(folder: Path, name: str) -> RunRecord:
    """The record of a run, as far as there is one, under a name; SettingError where there is none."""
    if not any(present(folder, file) for file in ("settings.json", *RUN_FILES)):
        raise SettingError(
            f"{folder} holds no run: neither settings.json nor metrics.jsonl is there; name the folder that "
            "sijo pretrain, distill or finetune was given as --out"
        )
    settings, curves = present(folder, "settings.json"), curves_of(folder)
    metrics, timings, examples, evaluations = (read_lines(curves / file) for file in (*RUN_FILES, EVALUATIONS))
    for file, lines in ((RUN_FILES[0], metrics), (RUN_FILES[1], timings), (EVALUATIONS, evaluations)):
        for number, line in enumerate(lines, 1):
            for key, value in line.items():
                if isinstance(value, int | float) and not abs(value) <= LARGEST:
                    where = f"line {number} of {curves / file}"
                    raise TextError(f"{where} cannot be drawn: its {key} is {float(value):.3g}; remove that line")
    done = any(present(folder, f"{model}/config.json") for model in ("model", "discriminator"))
    return RunRecord(
        name=name,
        folder=folder,
        settings={} if settings is None else read_object(settings),
        metrics=metrics,
        timings=timings,
        examples=examples,
        evaluations=evaluations,
        parameters=count_parameters(curves),
        state=FINISHED if done else "under way, or interrupted" if metrics else "just begun",
    )


def curves_of(folder: Path) -> Path:
    """Where a run has its curves: its folder or, of several seeds, that of the best, or the last that was begun."""
    own = {place.name: place for place in folder.glob("seed-*") if place.is_dir() and not place.is_symlink()}
    summary = present(folder, "summary.json")
    best = None if summary is None else f"seed-{read_object(summary).get('best_seed')}"
    if best in own:
        return own[best]
    begun = [name for name in own if name.removeprefix("seed-").isdecimal()]
    return own[max(begun, key=lambda name: int(name.removeprefix("seed-")))] if begun else folder


def count_parameters(folder: Path) -> dict[str, int]:
    """How many weights each network of a run has, from the header of the newest checkpoint's file."""
    counts: dict[str, int] = {}
    for path in sorted(folder.glob("checkpoints/step-*/weights.safetensors"))[-1:]:
        file = present(folder, path.relative_to(folder).as_posix())
        try:
            entries = {} if file is None else read_header(file)
        except CheckpointError:  # cleared away this moment, or damaged: `--resume` will tell
            return {}
        for name, entry in entries.items():
            network = name.partition(".")[0]
            counts[network] = counts.get(network, 0) + math.prod(entry.shape)
    return counts


def curve(lines: JsonLines, key: str) -> Curve:
    """The steps at which there is a number of this name, and the numbers."""
    pairs = ((line.get("step"), line.get(key)) for line in lines)
    points = [pair for pair in pairs if all(isinstance(number, int | float) for number in pair)]
    return [step for step, _ in points], [value for _, value in points]  # type: ignore[misc]
