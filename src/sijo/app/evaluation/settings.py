"""What `sijo evaluate` is told: data sets and ways of labelling them, several of each, and where the results go."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sijo.app.label_settings import SCORER_HELP, CalibrationName, LabelSettings, ScorerName

SEVERAL_SCORERS = f"{SCORER_HELP} Given several times, each is measured."
HIDDEN = Parameter(parse=False)
"""Of a setting that each run has one of, and the command may be given several of."""
MethodName = Literal["cosine", "conse", "eszsl", "dap"]
"""Those of `zeroshot/class_vectors/methods.py`, which costs numpy to import."""
BUILT_IN = "built-in"
"""What names the built-in model."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(LabelSettings):
    """What is measured, on what, and how it is shown."""

    task: Literal["zero-shot", "generalized-zero-shot"] = "zero-shot"
    """What the model is asked to do: label texts with labels it never saw, or, with --train, tell labels that have
    labelled texts from others that have none."""
    train: str | None = None
    """Of generalized-zero-shot: a file like --data, whose labels are the seen ones."""
    methods: Annotated[tuple[MethodName, ...], Parameter(name="--method")] = ()
    """Of generalized-zero-shot: how seen labels help others; all of them by default."""
    attributes: Path | None = None
    """Of generalized-zero-shot: a .csv (label, then a column for each attribute) or .json of what each label is
    like, in place of its words."""
    data: Annotated[tuple[str, ...], Parameter(allow_leading_hyphen=True)] = ()
    """A file with texts and their labels: .csv, .tsv, .jsonl, .json, .parquet or .xlsx, or - for standard input.
    Given several times, each is measured."""
    models: Annotated[tuple[str, ...], Parameter(name="--model")] = ()
    """A model folder or org/name; without it the built-in sentence encoder, which "built-in" names beside others.
    Given several times, each is measured."""
    model: Annotated[str | None, HIDDEN] = None
    """That of one run."""
    scorers: Annotated[tuple[ScorerName, ...], Parameter(name="--scorer", help=SEVERAL_SCORERS)] = ()
    scorer: Annotated[ScorerName, HIDDEN] = "auto"
    """That of one run."""
    calibrations: Annotated[tuple[CalibrationName, ...], Parameter(name="--calibrate")] = ()
    """What makes labels comparable without labelled texts, fitted on the first texts of the data, without their
    labels, and then frozen; auto takes batch where texts fall to five labels or more evenly, else none. Given
    several times, each is measured on the same scores."""
    calibrate: Annotated[CalibrationName, HIDDEN] = "none"
    """That of one run."""
    labels_files: Annotated[tuple[Path, ...], Parameter(name="--labels-file")] = ()
    """Labels from a file: .txt (one a line), .csv (label,description) or .json; one for all data, or one for each,
    in the same order."""
    labels_file: Annotated[Path | None, HIDDEN] = None
    """That of one run."""
    text_column: Annotated[str | None, Parameter(alias="--column")] = None
    """The column with the text: "text", or the only one, by default."""
    label_column: Annotated[str, Parameter(alias="--labels-column")] = "label"
    """The column with the right label; its values are the labels unless --labels or --labels-file names them, or
    the model was trained on its own. With --multi-label its cells hold several: a list, or names with semicolons or
    commas between."""
    multi_label: bool | None = None
    """Judge each label by itself: a text may have several labels, or none."""
    label_columns: str | None = None
    """With several labels a text: a column for each, as "sea,rain,sun", that says 1 or 0, true or false, yes or no;
    in place of --label-column, and implies --multi-label."""
    threshold: float = 0.5
    """With --multi-label: the probability from which a label is given."""
    baseline: str | None = None
    """The way that others are compared with, by words that name its model, scorer and calibration; the first by
    default."""
    format: Literal["table", "json"] | None = None
    """Tables for people, or one JSON object; by default json in a pipe."""
    predictions: Path | None = None
    """A .csv, .jsonl or .parquet to write each row's text, right label, given label, probability and margin in."""
    report: Path | None = None
    """A .md or .html to write everything in, beside printing it; .html has drawings, rows right and wrong and, of
    one run, the words that decided some of them, and needs no other file."""
    report_texts: Annotated[bool, Parameter(negative="--no-report-texts")] = True
    """Show those rows, whose texts whoever is given the .html can read."""
    plot: Path | None = None
    """A .png, .svg or .pdf to draw the confusion matrix, the reliability and the risk-coverage curve in."""
    resamples: int = 1000
    """Bootstrap resamples behind each interval."""
    seed: int = 0
    """Where the resamples start from."""
    workers: int = 1
    """Processes that share the rows where one does not fill the machine; each takes its share of the threads, and
    the answers are the same."""

    @property
    def explains(self) -> bool:
        """Whether some rows are explained, for a page that shows them."""
        return self.report is not None and self.report.suffix.lower() != ".md" and self.report_texts

    @property
    def calibration_names(self) -> tuple[CalibrationName, ...]:
        """The calibrations that are asked for."""
        return tuple(dict.fromkeys(self.calibrations)) or ("none",)

    @property
    def needs_all(self) -> bool:
        """Whether anything goes by the scores of all labels."""
        return super().needs_all or self.calibration_names != ("none",)

    @property
    def ways(self) -> list["EvaluateSettings"]:
        """These settings for each model and scorer that is asked for."""
        models = [None if model == BUILT_IN else model for model in self.models] or [None]
        several = True if self.label_columns else self.multi_label
        return [
            replace(self, model=model, scorer=scorer, multi_label=several)
            for model in dict.fromkeys(models)
            for scorer in dict.fromkeys(self.scorers or ("auto",))
        ]
