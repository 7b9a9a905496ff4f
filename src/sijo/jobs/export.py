"""What a run leaves: its networks as they were trained, in Hugging Face layout, with cards."""

from pathlib import Path

from sijo.checkpoints.card import Card, Metric, known_licence
from sijo.checkpoints.load import Model
from sijo.checkpoints.locate import BUILT_IN, is_built_in, locate
from sijo.checkpoints.save import save
from sijo.files.json_files import read_object
from sijo.files.json_lines import json_leaves, read_lines
from sijo.files.paths import present
from sijo.jobs.new_token_rows import merge_rows
from sijo.jobs.run_settings import RunSettings
from sijo.objectives.registry import OBJECTIVES
from sijo.training.loop import Training
from sijo.training.optimizers import whole

PLACES = ("start.model", "start.generator", "teacher.model", "teacher.cache")
"""Settings that are paths of this machine, of which a card tells the last part or nothing."""


def export(settings: RunSettings, training: Training, out: Path) -> list[Path]:
    """Save the networks that were trained; returns their folders. All processes take part, the first writes.

    What is kept is the average of the weights where the run has one, and tables with their offset added.
    """
    objective = training.objective
    with training.averaged():
        merge_rows(objective)
        objective.merge()
        weights = {
            folder: {name: whole(tensor) for name, tensor in network.state_dict().items()}
            for folder, network in objective.networks().items()
        }
        with training.world.first_alone("export") as first:
            if not first:
                return []
            return [
                save(
                    model,
                    out / folder,
                    card=_card(settings, training, model, out),
                    overwrite=True,
                    tensors=weights[folder],
                )
                for folder, model in objective.networks().items()
                if isinstance(model, Model)
            ]


def _model_name(model: str | None) -> str:
    """What others call a model: its name on the Hub, or the last part of its folder that says something."""
    if model is None or is_built_in(model):
        return BUILT_IN
    folder = Path(model).expanduser()
    return next(part for part in (*folder.parts[::-1], "") if part != "model") if folder.is_dir() else model


def _is_place(path: str) -> bool:
    return path in PLACES or (path.startswith("beside.") and path.endswith(".model"))


def _card(settings: RunSettings, training: Training, model: Model, out: Path) -> Card:
    """The card of a trained model: its data, its teachers, the last losses, the settings of the run."""
    teacher, last = settings.teacher, read_lines(out / "metrics.jsonl")[-1:]
    text = present(out, "text.json")
    sources = [] if text is None else read_object(text)["sources"]
    tasks = [spec.task for spec in OBJECTIVES.values() if spec.task and spec.head in model.head_values]
    return Card(
        title=settings.recipe or "a model of sijo",
        task="sentence-similarity" if model.sentence.trained else next(iter(tasks), None),
        base_model=settings.start.model,
        teacher=None if teacher is None else _model_name(teacher.model),
        teachers_beside={
            _model_name(other.model): known_licence(locate(other.model)) for other in settings.beside.values()
        },
        teacher_licence=None if teacher is None else known_licence(locate(teacher.model)),
        data={Path(source).name: None for source in sources},
        metrics=[
            Metric(f"loss: {part}", line[part], None, None, None)
            for line in last
            for part in line
            if part in training.objective.weights
        ],
        measured_on="the text it learned from, at the end",
        settings={path: value for path, value in json_leaves(settings.to_json()) if not _is_place(path)},
    )
