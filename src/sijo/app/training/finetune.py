"""`sijo finetune`: a model and labelled rows in, a model that labels out."""

import json
import tomllib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

from cyclopts import Parameter

from sijo.app.label_names import named_labels
from sijo.app.options import FileReading
from sijo.app.progress import follow_run
from sijo.app.results import print_json, print_line, print_rows, print_table, tell, wants_json
from sijo.app.training.pretrain import show_settings
from sijo.errors import SettingError, nearest
from sijo.files.json_files import read_object
from sijo.files.paths import FolderFile, present

if TYPE_CHECKING:
    from sijo.data.labelled_rows import Task as RowTask
    from sijo.jobs.finetune_settings import FinetuneSettings
    from sijo.jobs.open_labels.label_matching_settings import LabelMatchingSettings
    from sijo.jobs.open_labels.one_pass_settings import OnePassSettings
    from sijo.jobs.open_labels.self_training_settings import SelfTrainingSettings

Task = Literal[
    "classification",
    "multi-label",
    "regression",
    "tagging",
    "question-answering",
    "multiple-choice",
    "label-matching",
    "one-pass",
    "self-training",
]
TASKS = get_args(Task)
"""As `data/labelled_rows.py` has them, which costs numpy to import; and three more."""
MATCHING: tuple[Task, ...] = ("label-matching", "one-pass", "self-training")
"""Those that learn from sets whose labels are open."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FinetuneCommand(FileReading):
    """What is learned from what, and where it goes."""

    model: str | None = None
    """A folder or org/name to start from; without it the built-in encoder."""
    task: Task = "classification"
    """What is learned; --list says what the rows of each look like."""
    train: str | None = None
    """The file to learn from: .csv, .tsv, .json, .jsonl, .parquet or .xlsx, compressed or not; for label-matching
    also a .toml file that names several, with what their labels mean."""
    eval: str | None = None
    """The file to measure on, by which the best checkpoint is chosen; without it training rows are held out. For
    label-matching sets that are not learned from, which choose nothing."""
    out: Annotated[Path | None, Parameter(alias="-o")] = None
    """The run's folder: checkpoints, evaluations, predictions, and at the end the model."""
    teacher: str | None = None
    """A model that was fine-tuned on the same labels, to learn from beside them (task distillation); for
    label-matching any model that scores labels, such as a cross-encoder; of texts without labels it tells alone."""
    labels: str | None = None
    """Of self-training, and of label-matching from a table: what to choose among, as "business,sport,tech"."""
    labels_file: Path | None = None
    """The same from a file: .txt (one a line), .csv (label,description), .json or .toml."""
    text_column: Annotated[str | None, Parameter(alias="--column")] = None
    """The column with the text; guessed by default, as are the others."""
    second_column: str | None = None
    """The column with a second text, read as one input with the first."""
    label_column: Annotated[str | None, Parameter(alias="--labels-column")] = None
    """The column with the label."""
    labels_separator: str | None = None
    """For multi-label, what stands between the names in a cell that is no list; semicolons or commas by default."""
    seeds: int | None = None
    """How many runs are made, with other seeds; the best one is kept, and all are compared in OUT/summary.json."""
    set: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """Change a setting: path=value, such as run.epochs=5 or schedule.peak=1e-4; --settings lists them."""
    resume: bool = False
    """Go on with the run in that folder, bit for bit as if it had not been stopped; or begin it."""
    list: bool = False
    """Print the tasks and what their rows look like, and stop."""
    settings: bool = False
    """Print every setting with its value and what it means, and stop."""
    format: Literal["table", "json"] | None = None
    """How results are printed: a table for people, JSON lines in a pipe."""
    quiet: Annotated[bool, Parameter(alias="-q")] = False
    """No progress."""


def run(*, options: FinetuneCommand = FinetuneCommand()) -> None:
    """Fine-tune a model on labelled rows: classes of texts or pairs, tags, numbers, answers, choices, open labels.

    --task says what is learned; --list shows what the rows of each look like. Columns are guessed by their usual
    names. Rates and decays are those published for such a model; --settings tells them, --set changes them. The
    evaluation rows are answered after each epoch, and the checkpoint that does it best is kept: OUT/model is a
    folder that sijo and transformers open, OUT/predictions.jsonl its answers, OUT/results.json how good they are,
    with 95 % intervals. A run that was stopped, even by kill -9, goes on with --resume, bit for bit.

        sijo finetune --train examples/requests.csv --label-column domain --out runs/requests

        sijo finetune --task tagging --model bert-base-cased --train train.jsonl --eval dev.jsonl --out runs/names

        sijo finetune --teacher runs/large/model --train train.csv --eval dev.csv --out runs/small --seeds 3

    With --task label-matching a sentence encoder learns which of some labels, given in words, fits a text: from
    many sets, so that it fits labels that it never saw. It stays an encoder, for any labels at all.

        sijo finetune --task label-matching --train mixture.toml --eval others.toml --out runs/labels

    With --teacher it learns, from texts without labels, what a slower model thinks of any few of the labels:

        sijo finetune --task label-matching --train texts.csv --labels "sea,home" --teacher LARGE --out runs/taught

    With --task self-training it learns from its own surest answers to texts without labels, and so does a
    cross-encoder that was trained on entailment.

        sijo finetune --task self-training --train texts.csv --labels "travel,banking,home" --out runs/own

    With --task one-pass any encoder learns to judge all labels beside a text in one pass, as GLiClass does.

        sijo finetune --task one-pass --train mixture.toml --eval others.toml --out runs/one-pass

    Then: sijo predict new.csv --model runs/requests/model
    """
    if options.list:
        tasks = tomllib.loads(Path(__file__).with_name("finetune_tasks.toml").read_text(encoding="utf-8"))
        print_rows(tasks["tasks"], options.format)
        return
    reading = options.reading()
    if options.settings:
        settings_of = resolved_matching if options.task in MATCHING else resolved
        show_settings(settings_of(options), options.format)
        return
    if options.train is None or options.out is None:
        raise SettingError(
            "--train and --out are needed: what to learn from, and the folder that the run is kept in"
        )
    if options.task in MATCHING:
        run_matching(options, options.train, options.out)
        return
    if options.labels is not None or options.labels_file is not None:
        raise SettingError(
            f"--labels and --labels-file have no part in --task {options.task}, whose labels are those of "
            "the rows; leave them out"
        )
    from sijo.jobs.finetune import finetune
    from sijo.jobs.finetune_settings import LabelledFiles

    settings = resolved(options)
    files = LabelledFiles(train=options.train, evaluation=options.eval, how=reading)
    job = partial(finetune, settings, files, options.out, resume=options.resume)
    follow_run(job, options.out, shown=not options.quiet)
    show_results(options.out, options.format)


def run_matching(options: FinetuneCommand, train: str, out: Path) -> None:
    """Teach a sentence encoder to fit labels, and show how well it did before and does now."""
    settings: Any = resolved_matching(options)
    labels = named_labels(options.labels, options.labels_file, None, (lambda line: None) if options.quiet else tell)
    job: Any
    told: dict[str, Any] = {"train": train, "evaluation": options.eval, "how": options.reading()}
    told |= {"text": options.text_column, "label": options.label_column}
    if options.task == "self-training":
        from sijo.jobs.open_labels.self_training import self_train
        from sijo.jobs.open_labels.self_training_settings import UnlabelledFiles

        if labels is None:
            raise SettingError("--task self-training needs labels to choose among: --labels or --labels-file")
        job = partial(self_train, settings, UnlabelledFiles(labels=labels, **told), out)
    else:
        from sijo.jobs.open_labels.label_matching import match_labels
        from sijo.jobs.open_labels.label_matching_settings import MatchingFiles

        files = MatchingFiles(labels=labels, teacher=options.teacher, **told)
        job = partial(match_labels, settings, files, out)
    follow_run(partial(job, resume=options.resume), out, shown=not options.quiet)
    results = read_object(FolderFile(out, "results.json"))
    if wants_json(options.format):
        print_json(results | {"model": str(out / "model")})
        return
    if not results["sets"]:
        print_line(out / "model")
        return
    rows = [
        [name, f"{one['labels']:,}", f"{one['rows']:,}", *(_with_ends(one[when]) for when in ("before", "after"))]
        for name, one in results["sets"].items()
    ]
    rows.append(["mean", "", "", *(_number(results[when]) for when in ("before", "after"))])
    print_table(("set", "labels", "rows", "before", "after"), rows, note="macro-F1 of labels by name, 95 %")
    print_line(out / "model")


def resolved_matching(options: FinetuneCommand) -> "LabelMatchingSettings | OnePassSettings | SelfTrainingSettings":
    """The settings for the encoder, with what was changed."""
    none = ["second_column", "labels_separator", "seeds"]
    none += [] if options.task == "label-matching" else ["teacher"]
    none += ["labels", "labels_file"] if options.task == "one-pass" else []
    for name in none:
        if getattr(options, name) is not None:
            raise SettingError(f"--{name.replace('_', '-')} has no part in --task {options.task}; leave it out")
    from sijo.training.settings import with_changes

    if options.task == "one-pass":
        from sijo.jobs.open_labels.one_pass_settings import default_one_pass

        return with_changes(default_one_pass(options.model), options.set or [])
    if options.task == "self-training":
        from sijo.jobs.open_labels.self_training_settings import default_self_training

        return with_changes(default_self_training(options.model), options.set or [])
    from sijo.jobs.open_labels.label_matching_settings import default_matching

    return with_changes(default_matching(options.model), options.set or [])


def resolved(options: FinetuneCommand) -> "FinetuneSettings":
    """The settings for the model and the task, with what was changed."""
    if options.task not in TASKS:
        raise SettingError(f"no task {options.task!r}{nearest(options.task, TASKS)}; there are {', '.join(TASKS)}")
    from sijo.jobs.finetune_settings import default_settings
    from sijo.training.settings import with_changes

    label = {"tagging": "tags", "question-answering": "answers"}.get(options.task, "label")
    text = {"tagging": "words", "question-answering": "context"}.get(options.task, "text")
    values = {
        f"columns.{text}": options.text_column,
        "columns.second": options.second_column,
        f"columns.{label}": options.label_column,
        "columns.separator": options.labels_separator,
        "teacher.model": options.teacher,
        "seeds": options.seeds,
    }
    changes = [f"{path}={json.dumps(value)}" for path, value in values.items() if value is not None]
    task = cast("RowTask", options.task)
    return with_changes(default_settings(task, options.model), [*changes, *(options.set or [])])


def show_results(out: Path, format: str | None) -> None:
    """How good the best weights are, and where the model is."""
    results = read_object(FolderFile(out, "results.json"))
    more = present(out, "summary.json")
    summary = None if more is None else read_object(more)
    if wants_json(format):
        print_json(results | {"model": str(out / "model")})
        return
    rows = []
    for name, metric in results["metrics"].items():
        mark = " (decides)" if name == results["metric"] else ""
        value, low, high = (_number(metric[key]) for key in ("value", "low", "high"))
        rows.append([f"{name}{mark}", value, f"{low} to {high}"])
        if summary:
            spread = summary["metrics"][name]
            rows[-1].append(f"{_number(spread['mean'])} ± {_number(spread['deviation'])}")
    seed = f" of seed {results['seed']}" if summary else ""
    note = f"{results['evaluation_rows']:,} rows; best at step {results['best_step']:,}{seed}"
    if "macro_f1_over" in results:
        note += f"; macro_f1 over {results['macro_f1_over']}"
    if "tag_scheme" in results:
        note += f"; tags are {results['tag_scheme']}"
    print_table(("metric", "value", "95 %", *(["over seeds"] if summary else [])), rows, note=note)
    print_line(out / "model")


def _with_ends(metric: dict[str, float | None]) -> str:
    """A value with its interval."""
    value, low, high = (_number(metric[end]) for end in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
