"""What every command that labels is told: the labels, the model that chooses among them, and how."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sijo.app.calibrating import Texts, calibrated_by, calibrates, check_calibration
from sijo.app.label_names import named_labels
from sijo.app.options import CALIBRATING, HEADS, MANY_LABELS, ComputeOptions, call_with
from sijo.app.table_job import TableOptions
from sijo.errors import SettingError, warn
from sijo.zeroshot.labels import Labels, LabelSet
from sijo.zeroshot.scorers.registry import SCORERS

if TYPE_CHECKING:
    from sijo.zeroshot.calibrating.frozen import FrozenCalibration
    from sijo.zeroshot.labeller import Labeller
    from sijo.zeroshot.many_labels.composing import FittedManyLabels, ManyLabels

    ScorerName = str
else:
    ScorerName = Literal["auto", *SCORERS]

CalibrationName = Literal["none", "refine", "batch", "standardize", "prior", "contextual", "dcpmi", "auto"]
SCORER_HELP = f"How labels are scored: {', '.join(row.help for row in SCORERS.values())}, or as suits the model."
IN_ONE = 'labels go in one argument, with commas between, as in --labels "billing,shipping"'
"""What would do where labels stand behind each other."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LabelSettings(ComputeOptions, TableOptions):
    """What to choose from, and the model that chooses: the same for every command that labels."""

    labels: str | None = None
    """What to choose from, as "business,sport,tech"; a label that holds a comma stands in double quotes. A model
    that was trained on labels needs none: it chooses among all of its own."""
    labels_file: Path | None = None
    """Labels from a file: .txt (one a line), .csv (label,description), .json or .toml, with descriptions,
    examples, parents, thresholds and templates: see sijo labels."""
    labels_separator: str | None = None
    """What stands between labels, in --labels and in cells: semicolons by default, or commas where are none."""
    model: str | None = None
    """A model folder or org/name; without it the built-in sentence encoder."""
    revision: Annotated[str | None, HEADS] = None
    """Branch, tag or commit of an org/name model."""
    base: Annotated[str | None, HEADS] = None
    """The model of a LoRA adapter: a folder or org/name, where --model holds the adapter alone."""
    scorer: Annotated[ScorerName, Parameter(help=SCORER_HELP)] = "auto"
    entailment_column: Annotated[str | None, HEADS] = None
    """The column of the model's head that says entailment, by name or number; its config tells by default."""
    contradiction_column: Annotated[str | None, HEADS] = None
    """The column that says the opposite, likewise."""
    entailment_score: Annotated[Literal["logit", "margin"] | None, HEADS] = None
    """What labels compete by: entailment's logit, by default, or the margin by which it exceeds contradiction's."""
    cloze_score: Annotated[Literal["mean", "sum"] | None, HEADS] = None
    """Of a label of several tokens in a blank, the mean of their log-probabilities, by default, or the sum."""
    none_label: str | None = None
    """A name for "none of these", which may then win."""
    none_threshold: float | None = None
    """The score below which no label fits: a cosine, fitted, or for entailment its logit above its rival's, 0."""
    hypothesis_template: str | None = None
    """The sentence a label is put in; "This is about {}." by default, for entailment "This example is {}."; by
    embeddings a name in Hangul stands in a Korean sentence. Behind a Korean name {을/를} gives what it wants."""
    prompt: str | None = None
    """What stands before texts and labels, for a sentence encoder: the name of one of its prompts, or words such as
    "query: "; "" for nothing. The encoder's own by default."""
    temperature: Annotated[float | None, CALIBRATING] = None
    """Softmax temperature of the scores; fitted for embeddings, 1 for heads by default."""
    calibrate: CalibrationName = "none"
    """What makes labels comparable without labelled texts, fitted on the first texts and then frozen; auto takes
    refine for embeddings, which draws each label to the texts near it. All but none fit the temperature too."""
    calibration: Annotated[Path | None, CALIBRATING] = None
    """The file of a calibration: used where it is there, else fitted and written."""
    calibration_texts: Annotated[int, CALIBRATING] = 512
    """How many of the first texts a calibration is fitted to."""
    calibration_sample: Annotated[Path | None, CALIBRATING] = None
    """A table of other texts to fit it to, with the same text column."""
    calibration_label_column: Annotated[str | None, CALIBRATING] = None
    """The column of --calibration-sample with right labels: half of them fit the temperature, half --risk."""
    label_shares: Annotated[Literal["equal", "estimate"], CALIBRATING] = "equal"
    """With --calibrate prior: the labels are equally frequent, or as frequent as the texts suggest."""
    none_risk: Annotated[float | None, CALIBRATING] = None
    """With --none-label: the share of texts in scope, at most, that may be called none; fitted to the first texts,
    or to the sample, which are taken to be in scope."""
    risk: Annotated[float | None, CALIBRATING] = None
    """The share of texts, at most, that may be given a wrong label: others get none, and say abstained."""
    cascade: Annotated[str | None, MANY_LABELS] = None
    """For long lists of labels: a model, or "built-in", that ranks them, so that --model reads those alone that may
    win. How many is found on texts drawn from the input, without right labels, and told."""
    disagreement: Annotated[float, MANY_LABELS] = 0.01
    """With --cascade: the share of texts, at most, that may get another label than in full, 95 % certain."""
    cascade_sample: Annotated[int | None, MANY_LABELS] = None
    """With --cascade: how many texts are read beside all labels; 10 / --disagreement by default."""
    fuse: Annotated[str | None, MANY_LABELS] = None
    """A second model, or "built-in", heard beside --model, by weights that are found without right labels."""
    beam: Annotated[int | None, MANY_LABELS] = None
    """For labels with parents: how many labels of each level are gone into, from the top down."""
    long_text: Literal["windows", "truncate"] | None = None
    """Read a text longer than the model in windows (the default), or only its start (entailment always does)."""
    cache: Path | None = None
    """A folder that keeps what the model gave, so that other labels on the same texts cost only what is new."""
    dtype: Annotated[Literal["float32", "bfloat16", "float16"] | None, Parameter(show=False)] = None
    """The old name of --precision, kept for one release."""
    quiet: Annotated[bool, Parameter(alias="-q")] = False
    """No progress and no summary."""

    def label_set(self) -> LabelSet | None:
        """The labels given by --labels or --labels-file; None when neither was."""
        return named_labels(self.labels, self.labels_file, self.labels_separator, self.say)

    def opened(
        self,
        labels: LabelSet | None,
        first: Callable[["Labeller"], tuple[Sequence[str], Sequence[Labels] | None]],
        texts: Texts,
        *,
        column: str | None,
        otherwise: Sequence[str] | None = None,
        draw: Texts | None = None,
    ) -> "Labeller":
        """What labels texts by these settings, calibrated; bad labels are refused before its model is opened.

        first      gives the first texts, and their labels where they bring their own; asked by --precision auto
        texts      gives the first texts, at most so many; asked by --calibrate
        column     where the texts are, also in a sample
        otherwise  the labels where none are given, unless the model was trained on its own
        draw       gives so many texts, drawn at random; asked by --cascade and --fuse. None for the first
        """
        check_calibration(self)
        self.check_many_labels()
        labeller = self._opened(labels, first, otherwise)
        if self.reads_few:
            asked = self.many_labels()
            fitted = asked.fit(labeller, draw or texts, self.say) if asked.fits and labeller.labels else None
            labeller = asked.applied_to(labeller, fitted, tree=labels)
        return calibrated_by(self, labeller, texts, column=column, say=self.say)

    @property
    def reads_few(self) -> bool:
        """Whether the model's scorer does not stand alone."""
        return self.cascade is not None or self.fuse is not None or self.beam is not None

    @property
    def needs_all(self) -> bool:
        """Whether anything goes by the scores of all labels."""
        return calibrates(self)

    def check_many_labels(self) -> None:
        """Raise SettingError for what does not go together, and for a second model that is not there, before any is
        opened."""
        if self.reads_few or self.cascade_sample is not None or self.disagreement != LabelSettings.disagreement:
            self.many_labels()
        for model in (self.cascade, self.fuse):
            if model is not None:
                from sijo.checkpoints.describe import describe

                describe(model)

    def many_labels(self) -> "ManyLabels":
        """What is asked for beside it."""
        from sijo.zeroshot.many_labels.composing import ManyLabels

        return call_with(ManyLabels, self, sample=self.cascade_sample, needs_all=self.needs_all)

    def _opened(
        self,
        labels: LabelSet | None,
        first: Callable[["Labeller"], tuple[Sequence[str], Sequence[Labels] | None]],
        otherwise: Sequence[str] | None,
    ) -> "Labeller":
        """The same, not calibrated."""
        from sijo.inference.precision import named_precision
        from sijo.zeroshot.automatic import automatic

        precision = named_precision(self.precision, self.dtype)
        open_with = partial(self.opened_in, labels=labels, otherwise=otherwise)
        labeller = open_with("exact" if precision == "auto" else precision)
        if self.scorer == "auto" and self.model is not None:  # of the built-in model there is nothing to choose
            self.say(f"scorer {labeller.scorer.choice}")
        if precision != "auto":
            return labeller
        exact = labeller
        labeller, choice = automatic(
            lambda name: exact if name == "exact" else open_with(name),
            *first(exact),
            backend=self.backend,
            device=self.device,
        )
        self.say(f"precision {choice}")
        return labeller

    def opened_in(
        self, precision: str, labels: LabelSet | None, otherwise: Sequence[str] | None = None
    ) -> "Labeller":
        """What labels texts in that precision, not calibrated; `labels` and `otherwise` as for `opened`."""
        from sijo.zeroshot.labeller import LabelChoice, Labeller
        from sijo.zeroshot.scorers.open import open_scorer

        choice = call_with(LabelChoice, self, template=self.hypothesis_template)
        if labels is not None:
            choice.check(labels)
        scorer = call_with(
            open_scorer,
            self,
            name=self.scorer,
            precision=precision,
            entailment_column=self.entailment_column,
            contradiction_column=self.contradiction_column,
            entailment_score=self.entailment_score,
            cloze_score=self.cloze_score,
        )
        if scorer.caution is not None:
            warn(scorer.caution)
        if labels is None and otherwise is not None and scorer.known is None:
            labels = LabelSet.of(otherwise)
        return Labeller(scorer, choice, labels)

    def reopening(self, labeller: "Labeller") -> Callable[[], "Labeller"]:
        """What opens the same in a process of its own: in the precision that was taken, calibrated as fitted."""
        from sijo.inference.precision import named_precision
        from sijo.zeroshot.calibrating.frozen import FrozenCalibration

        asked = named_precision(self.precision, self.dtype)
        settled: Any = labeller.scorer.engine.backend.precision if asked == "auto" else asked
        taken = replace(self, precision=settled, dtype=None, threads=None, quiet=True)  # it is told its threads
        fitted = labeller.adjuster if isinstance(labeller.adjuster, FrozenCalibration) else None
        found = None
        if self.reads_few:
            from sijo.zeroshot.many_labels.composing import fitted_in

            found = fitted_in(labeller)
        return partial(_reopened, taken, labeller.labels, fitted, found)


def _reopened(
    settings: LabelSettings,
    labels: LabelSet | None,
    fitted: "FrozenCalibration | None",
    found: "FittedManyLabels | None",
) -> "Labeller":
    labeller = settings.opened_in(settings.precision, labels)
    if settings.reads_few:
        labeller = settings.many_labels().applied_to(labeller, found, tree=settings.label_set())
    if fitted is None and settings.calibrate == "none":
        return labeller
    from sijo.zeroshot.calibrating.fitting import calibrated

    return calibrated(labeller, settings.calibrate, None, fitted, risk=settings.risk, none_risk=settings.none_risk)


def check_sources(sources: Sequence[str], labels: str | None) -> None:
    """Raise SettingError for an input that is no file by its name or in fact, where it may be a label."""
    if labels is None:
        return
    from sijo.files.inputs.sources import readable
    from sijo.files.table_formats import SUFFIXES, ending
    from sijo.files.urls import is_url

    for source in sources:
        path = Path(source)
        if source == "-" or is_url(source) or has_magic(source) or path.exists() or ending(path)[0] in SUFFIXES:
            continue
        try:
            readable(path)
        except SettingError as error:
            raise SettingError(f"{error}. If it is a label, {IN_ONE}") from None
