"""`sijo labels check`, `show` and `convert`: a file of labels in, what is wrong with it or what it says out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App, Parameter
from rich.table import Column, Table
from rich.text import Text

from sijo.app.cli import LABELS
from sijo.app.options import call_with
from sijo.app.results import print_json, print_line, print_shown, tell, wants_json
from sijo.errors import SettingError, TextError, warn
from sijo.texts import printable
from sijo.zeroshot.scorers.registry import SCORERS

if TYPE_CHECKING:
    from sijo.zeroshot.scorers.scorer import Scorer

    ScorerChoice = str
else:
    ScorerChoice = Literal["auto", *SCORERS]

STYLES = {"error": "bold red", "warning": "yellow", "hint": "cyan"}
commands = App(name="labels", help=LABELS)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LabelModel:
    """The model that is to read the labels."""

    model: str | None = None
    """A model folder or org/name; without it the built-in sentence encoder."""
    revision: str | None = None
    """Branch, tag or commit of an org/name model."""
    scorer: ScorerChoice = "auto"
    """How labels are scored, as for sijo classify."""
    hypothesis_template: str | None = None
    """The sentence that every label is put in; by default that of the file's language, or the scorer's own."""
    format: Literal["table", "json"] | None = None
    """A table for people, or JSON lines; by default JSON in a pipe."""

    def opened(self) -> "Scorer":
        """The scorer with its model."""
        from sijo.zeroshot.scorers.open import open_scorer

        scorer = call_with(open_scorer, self, name=self.scorer)
        if scorer.caution is not None:
            warn(scorer.caution)
        return scorer


@commands.command(name="check", help_format="markdown")
def check(file: Path, *, settings: LabelModel = LabelModel()) -> None:
    """Look for labels that a model would refuse, mix up or favour, and say what to change.

    FILE is a .toml, .json, .csv or .txt of labels. Looked for are names given twice or nearly so, labels
    that the model's tokenizer cannot read or tell apart, sentences that do not fit the model, labels whose
    vectors all but coincide, labels that texts without content favour, descriptions and examples that only some
    labels have, and templates, thresholds and parents that cannot be. Exit code 3 where there are errors.

        sijo labels check labels.toml

        sijo labels check labels.toml --model intfloat/multilingual-e5-small
    """
    from sijo.zeroshot.label_check import check_labels, summed
    from sijo.zeroshot.label_files import read_label_file

    read = read_label_file(file)
    findings = check_labels(read, settings.opened, settings.hypothesis_template)
    counts = summed(findings)
    if wants_json(settings.format):
        print_json(*(finding.to_dict() for finding in findings))
    elif findings:
        table = Table(Column("", no_wrap=True), "labels", "what", "what to change", box=None, pad_edge=False)
        for finding in findings:
            severity = Text(finding.severity, style=STYLES[finding.severity])
            texts = (", ".join(finding.labels), finding.problem, finding.change)
            table.add_row(severity, *(Text(printable(text[:600])) for text in texts))
        print_shown(table)
    shown = ", ".join(f"{count:,} {name}{'s' if count != 1 else ''}" for name, count in counts.items() if count)
    tell(f"{len(read.entries):,} labels in {file}: {shown or 'nothing to change'}")
    if counts["error"]:
        raise TextError(f"{file} cannot be used; change what is told above")


@commands.command(name="show", help_format="markdown")
def show(file: Path, *, settings: LabelModel = LabelModel()) -> None:
    """Print each label of a file with the sentences that a model reads for it, and the digest of the set.

    sijo labels show labels.toml
    """
    from sijo.zeroshot.label_files import read_labels

    labels, scorer = read_labels(file), settings.opened()
    whole = settings.hypothesis_template
    worded = labels if whole is not None or scorer.known is not None else labels.worded(scorer.templates)
    rows = [
        {"label": label.name, "sentences": list(label.phrases(whole or scorer.template)), **own.record}
        for own, label in zip(labels.labels, worded.labels, strict=True)
    ]
    if wants_json(settings.format):
        print_json({"digest": labels.digest, "labels": rows})
        return
    table = Table(
        Column("label", style="bold"), "sentences", "examples", "threshold", "path", box=None, pad_edge=False
    )
    for label, said in zip(labels.labels, worded.labels, strict=True):
        sentences = "\n".join(map(printable, said.phrases(whole or scorer.template)))
        path = " > ".join(map(printable, labels.path(label.name)[:-1]))
        threshold = "" if label.threshold is None else f"{label.threshold:g}"
        table.add_row(
            Text(printable(label.name)), Text(sentences), str(len(label.examples) or ""), threshold, Text(path)
        )
    print_shown(table, Text(f"\n{len(labels.labels):,} labels, digest {labels.digest}", style="dim"))


@commands.command(name="convert", help_format="markdown")
def convert(file: Path, out: Path, /, *, overwrite: bool = False) -> None:
    """Write a file of labels in another format, told by the suffix of OUT, and print its path.

        sijo labels convert labels.csv labels.toml

    Parameters
    ----------
    overwrite
        Replace a file that is there.
    """
    from sijo.zeroshot.label_files import read_labels, write_labels

    if out.exists() and not overwrite:
        raise SettingError(f"{out} exists; pass --overwrite to replace it, or name another")
    print_line(write_labels(read_labels(file), out))
