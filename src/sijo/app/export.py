"""`sijo export`: a model's folder in, an ONNX file in it out, if it is as good as the original."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sijo.app.numbers import percent
from sijo.app.options import call_with
from sijo.app.results import print_json, print_line, tell, wants_json


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What is written, and what it must be as good as."""

    to: Literal["onnx"] = "onnx"
    """The kind of file."""
    precision: Literal["float32", "int8", "int4"] = "float32"
    """float32, or the bits of the weights of all large products."""
    head: str | None = None
    """What the file answers: sequence-classification or token-classification; by default the first of them that the
    folder holds, else sentence vectors."""
    texts: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """A file of texts like those it is for, to compare it with the original on: .txt, .csv, .tsv, .jsonl or
    .parquet, or - for standard input. By default some that come with sijo."""
    column: str | None = None
    """The column of --texts with the text."""
    out: Path | None = None
    """A folder that is not there yet, for a copy of the model with the file; by default FOLDER itself gets it."""
    keep_anyway: bool = False
    """Keep a file in integers also if it decides otherwise in more than 1 of 100 cases."""
    format: Literal["table", "json"] | None = None
    """Words for people, or one JSON object; by default json in a pipe."""


def run(folder: Path, /, *, options: ExportSettings = ExportSettings()) -> None:
    """Write a model as an ONNX file, which runs without torch; it is kept only if it answers as the original does.

    FOLDER holds the model. The file goes into its folder onnx, laid out as sentence-transformers and optimum do:
    model.onnx, model_int8.onnx, model_int4.onnx, each with its weights beside it. It is compared with the
    original on real texts: the largest difference, the share of equal decisions with its interval, and the speed
    are printed, and written into the model's card.

        sijo export models/deberta-v3-small --to onnx

        sijo export models/deberta-v3-small --to onnx --precision int8 --texts news.csv --column text
    """
    from sijo.export.export import export

    texts = None
    if options.texts is not None:
        from sijo.files.tables import TextTable

        table = TextTable(options.texts, column=options.column)
        texts = [text for block in table.blocks() for text in block.texts]
    exported = call_with(export, options, folder=folder, texts=texts)
    seen = exported.comparison
    if wants_json(options.format):
        print_json(
            {"file": str(exported.file), "kind": options.to, "precision": exported.precision, "head": exported.head}
            | asdict(seen)
        )
        return
    share = seen.agreement
    between = f"{percent(share.low)} to {percent(share.high)}"
    tell(
        f"on {seen.texts:,} texts: off by at most {seen.gap:.1e} of {seen.largest:.3g}; the same decision in "
        f"{percent(share.value)} of {seen.decisions:,} cases (95 %: {between}); "
        f"{seen.speed:.2f} times as fast as torch in float32"
    )
    print_line(exported.file)
