"""What --calibrate and --calibration do: fit on the first texts, or on a sample, freeze, keep, and use."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sijo.app.results import tell
from sijo.errors import SettingError
from sijo.names import label_in

if TYPE_CHECKING:
    from sijo.files.inputs.sources import TextReading
    from sijo.zeroshot.calibrating.fitting import CalibrateName
    from sijo.zeroshot.calibrating.methods import LabelShares
    from sijo.zeroshot.labeller import Labeller

MOST_TEXTS = 100_000
Texts = Callable[[int], Sequence[str]]
"""The first texts of the input, at most so many."""


class CalibrationOptions(Protocol):
    """The options of a command that say how to calibrate."""

    @property
    def calibrate(self) -> "CalibrateName":
        """By which method; "none" for whatever a file holds."""
        ...

    @property
    def calibration(self) -> Path | None:
        """The file."""
        ...

    @property
    def calibration_texts(self) -> int:
        """How many texts at most."""
        ...

    @property
    def calibration_sample(self) -> Path | None:
        """A table of other texts."""
        ...

    @property
    def calibration_label_column(self) -> str | None:
        """Its column with right labels."""
        ...

    def reading(self) -> "TextReading":
        """What was said of tables."""
        ...

    @property
    def label_shares(self) -> "LabelShares":
        """What "prior" matches."""
        ...

    @property
    def none_risk(self) -> float | None:
        """The share of texts in scope, at most, that are called none."""
        ...

    @property
    def risk(self) -> float | None:
        """The share of wrong labels, at most."""
        ...


def check_calibration(options: CalibrationOptions) -> None:
    """Raise SettingError for options that do not go together, before a model is opened."""
    fits = _fits(options)
    if options.calibration_sample is None and options.calibration_label_column is not None:
        raise SettingError(
            "--calibration-label-column is a column of --calibration-sample; name that file too, whose texts have "
            "their right labels"
        )
    if options.calibration_sample is not None and not fits:
        raise SettingError(
            "--calibration-sample is what a calibration is fitted to; say how with --calibrate, as in --calibrate "
            "auto"
        )
    if not 1 <= options.calibration_texts <= MOST_TEXTS:
        raise SettingError(
            f"--calibration-texts {options.calibration_texts} is no number of texts that are kept in memory; give "
            f"512, say, and {MOST_TEXTS:,} at most"
        )
    for name, share in (("risk", options.risk), ("none_risk", options.none_risk)):
        if share is not None:
            from sijo.zeroshot.calibrating.conformal import check_risk

            check_risk(share, name)
    if options.calibrate != "none" or options.label_shares != "equal":
        from sijo.zeroshot.calibrating.fitting import check_method

        check_method(options.calibrate, options.label_shares)
    file = options.calibration
    if file is not None and not fits and not file.exists():
        raise SettingError(
            f"the calibration {file} is not there; name a file, or say by --calibrate how to fit it, as in "
            "--calibrate auto"
        )
    if options.risk is not None and file is None and options.calibration_label_column is None:
        raise SettingError(
            "--risk needs texts whose right labels are known: give --calibration-sample with "
            "--calibration-label-column, or a --calibration that was so fitted"
        )


def _fits(options: CalibrationOptions) -> bool:
    """Whether there is something to fit, where no file holds it."""
    return (
        options.calibrate != "none" or options.calibration_label_column is not None or options.none_risk is not None
    )


def calibrates(options: CalibrationOptions) -> bool:
    """Whether anything goes by the scores of all labels."""
    return _fits(options) or options.calibration is not None or options.risk is not None


def calibrated_by(
    options: CalibrationOptions,
    labeller: "Labeller",
    texts: Texts,
    *,
    column: str | None = None,
    say: Callable[[str], None] = tell,
) -> "Labeller":
    """The labeller, calibrated as the options say; a file that is not there is fitted, and written.

    texts   the first of the input
    column  the text column of a sample, where it is named
    """
    from sijo.zeroshot.calibrating.fitting import WITH_TEXTS, calibrated, fit_calibration
    from sijo.zeroshot.calibrating.methods import WITHOUT_TEXTS

    method, file = options.calibrate, options.calibration
    if file is None and not _fits(options):
        return labeller
    if file is not None and file.exists():
        return calibrated(labeller, method, file, risk=options.risk, none_risk=options.none_risk)
    own = labeller.labels is None and file is None and options.risk is None and options.none_risk is None
    if own and method in WITHOUT_TEXTS:
        return calibrated(labeller, method, None)
    if labeller.labels is None:
        from sijo.zeroshot.calibrating.background import own_background

        if own and method not in ("none", *WITH_TEXTS) and own_background(labeller.scorer):
            return calibrated(labeller, method, None)
        raise SettingError(
            f"--calibrate {method} is fitted for one set of labels, and --labels-column gives each row its own; "
            "use contextual, a model with a background of its own, or a --calibration that was fitted with all "
            "of the labels"
        )
    gold = None
    if options.calibration_sample is not None:
        sample, gold = _sample(options.calibration_sample, options, column)
    else:
        sample = texts(options.calibration_texts)
    fitted = fit_calibration(
        labeller,
        sample,
        method,
        gold=gold,
        temperature_by_gold=gold is not None,
        shares=options.label_shares,
        none_risk=options.none_risk,
    )
    if file is not None:
        fitted.save(file)
    say(f"calibration {fitted.method}: {fitted.numbers.origin}, temperature {fitted.numbers.temperature:.4f}")
    return fitted.applied_to(labeller, options.risk)


def _sample(
    file: Path, options: CalibrationOptions, column: str | None
) -> tuple[Sequence[str], Sequence[str] | None]:
    """The first texts of a sample, and their right labels."""
    from sijo.files.table_formats import SUFFIXES, ending
    from sijo.files.tables import TextTable

    how = options.reading().fitting(SUFFIXES.get(ending(file)[0], "text"))
    block = TextTable(file, column=column, **vars(how)).first_block(options.calibration_texts)
    if options.calibration_label_column is None:
        return block.texts, None
    column = options.calibration_label_column
    values = enumerate(block.values(column), start=1)
    return block.texts, [label_in(value, column, f"{file}, row {row}", "--multi-label") for row, value in values]
