"""`sijo export`: a model's folder in, an ONNX file or its weights in few bits out, if as good as the original."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sijo.app.numbers import percent
from sijo.app.options import TEXT_COLUMN, ReadingOptions, call_with
from sijo.app.results import print_json, print_line, tell, wants_json
from sijo.errors import SettingError

if TYPE_CHECKING:
    from sijo.export.blocks import ExportedBlocks
    from sijo.export.export import Exported


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ExportSettings(ReadingOptions):
    """What is written, and what it must be as good as."""

    to: Literal["onnx", "blocks"] = "onnx"
    """An ONNX file beside the weights; or a folder that holds the weights themselves in few bits."""
    precision: Literal["float32", "int8", "int4"] | None = None
    """Of an ONNX file: float32, as by default, or the bits of the weights of all large products."""
    bits: Literal[4, 8, "auto"] | None = None
    """Of blocks: the bits of a number of the network's matrices; by default auto: 4 for a matrix that blocks of 4
    bits hold number for number, as one that was published in 4 bits, and 8 for others."""
    table_bits: Literal[4, 8, "auto"] | None = None
    """Of blocks: the bits of a number of the table of tokens; auto by default."""
    head: str | None = None
    """What the file answers: sequence-classification or token-classification; by default the first of them that the
    folder holds, else sentence vectors."""
    texts: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """A file of texts like those it is for, to compare it with the original on: .txt, .csv, .tsv, .jsonl or
    .parquet, or - for standard input. By default some that come with sijo."""
    column: Annotated[str | None, TEXT_COLUMN] = None
    """The column of --texts with the text."""
    out: Annotated[Path | None, Parameter(alias="-o")] = None
    """A folder that is not there yet, for a copy of the model with the file; by default FOLDER itself gets it.
    Blocks, which take the place of the weights, must have one."""
    keep_anyway: bool = False
    """Keep a file in integers, or blocks, also if it decides otherwise in more than 1 of 100 cases."""
    format: Literal["table", "json"] | None = None
    """Words for people, or one JSON object; by default json in a pipe."""


def run(folder: Path, /, *, options: ExportSettings = ExportSettings()) -> None:
    """Write a model as an ONNX file, which runs without torch, or with its weights in few bits.

    It is kept only if it answers as the original does. FOLDER holds the model. An ONNX file goes into its folder
    onnx, laid out as sentence-transformers and optimum do: model.onnx, model_int8.onnx, model_int4.onnx, each with
    its weights beside it.

    --to blocks writes another folder, whose weights have 4 or 8 bits, stored once: torch and onnxruntime both
    compute with them in float32. By itself it takes 4 bits where they change no number, and 8 elsewhere. `sijo
    convert` makes an ordinary folder of it again, for other programs.

    Either is compared with the original on real texts: the largest difference, the share of equal decisions with
    its interval, and the speed are printed, and written into the model's card.

        sijo export models/deberta-v3-small --to onnx

        sijo export models/deberta-v3-small --to onnx --precision int8 --texts news.csv --column text

        sijo export models/minilm --to blocks --out models/minilm-8
    """
    _must_go_together(options)
    texts = None
    if options.texts is not None:
        from sijo.files.tables import TextTable

        table = TextTable(
            options.texts, kind=options.input_format, column=options.column, **vars(options.reading())
        )
        texts = [text for block in table.blocks() for text in block.texts]
    exported: Exported | ExportedBlocks
    held = ""
    if options.to == "blocks":
        from sijo.export.blocks import export_blocks, in_words

        bits = {"bits": options.bits or "auto", "table_bits": options.table_bits or "auto"}
        exported = call_with(export_blocks, options, folder=folder, texts=texts, **bits)
        held = in_words(exported.bits, exported.table_bits)
    else:
        from sijo.export.export import export

        exported = call_with(export, options, folder=folder, texts=texts, precision=options.precision or "float32")
    seen = exported.comparison
    if wants_json(options.format):
        told = asdict(exported) | {"kind": options.to, "file": str(exported.file)}
        del told["comparison"]
        print_json(told | asdict(seen))
        return
    share = seen.agreement
    between = f"{percent(share.low)} to {percent(share.high)}"
    tell(
        f"on {seen.texts:,} texts: off by at most {seen.gap:.1e} of {seen.largest:.3g}; the same decision in "
        f"{percent(share.value)} of {seen.decisions:,} cases (95 %: {between}); "
        f"{seen.speed:.2f} times as fast as torch in float32"
    )
    if options.to == "blocks":
        tell(f"{held}: {exported.file.stat().st_size / 1e6:.1f} MB of weights")
    print_line(exported.file)


def _must_go_together(options: ExportSettings) -> None:
    """Raise SettingError for options of one kind with the other, and for blocks that would replace the weights."""
    for name, value, kind in (
        ("--bits", options.bits, "blocks"),
        ("--table-bits", options.table_bits, "blocks"),
        ("--precision", options.precision, "onnx"),
    ):
        if value is not None and kind != options.to:
            raise SettingError(f"{name} {value} is for --to {kind}, and this is --to {options.to}; leave it out")
    if options.to == "blocks" and options.out is None:
        raise SettingError("blocks take the place of the weights, which would be lost; say --out and a new folder")
