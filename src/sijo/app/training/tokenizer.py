"""`sijo tokenizer train` and `cut`: raw text in, a tokenizer and what it is worth out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import App, Parameter
from rich.table import Column, Table
from rich.text import Text

from sijo.app.cli import TOKENIZER, input_name
from sijo.app.options import TEXT_COLUMN, ReadingOptions, call_with
from sijo.app.progress import RowProgress
from sijo.app.results import print_json, print_shown, tell, wants_json
from sijo.errors import SettingError
from sijo.files.atomic import whole_folder
from sijo.files.json_files import write_json
from sijo.texts import printable
from sijo.tokenizers.style import Kind

if TYPE_CHECKING:
    from sijo.files.tables import TextTable
    from sijo.tokenizers.prune import PruneReport
    from sijo.tokenizers.tokenizer import Tokenizer
    from sijo.tokenizers.tokenizer_report import TokenizerReport

Report = TypeVar("Report", "TokenizerReport", "PruneReport")


def _style_names() -> Any:
    """The type of --family: evaluated when options are read, so that no other command waits for the families."""
    from sijo.models import tokenizer_styles

    return Literal[tuple(tokenizer_styles())]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainSettings(ReadingOptions):
    """What kind of tokenizer, how large, and where it goes."""

    kind: Kind
    """How words are cut: WordPiece (BERT's), unigram (SentencePiece's) or byte pairs."""
    vocab_size: int
    """Tokens, special ones included; a short text may hold fewer."""
    out: Annotated[Path, Parameter(alias="-o")]
    """The folder to be; it appears whole or not at all."""
    family: "_style_names() | None" = None  # type: ignore[valid-type]
    """Whose special tokens, template and way to cut; by default bert, albert or deberta, as the kind is."""
    cased: bool = False
    """Keep capitals and accents, which BERT's family and ALBERT fold; the others keep them always."""
    special: tuple[str, ...] = ()
    """One more special token, such as a control code, at the end of the vocabulary; repeat for each."""
    max_length: int = 512
    """Tokens of the longest input, special ones included."""
    characters: int = 20_000_000
    """To learn from; of a longer text so much is chosen, and memory holds no more."""
    seed: int = 0
    """Of that choice."""
    column: Annotated[str | None, TEXT_COLUMN] = None
    """The column with the text: "text", or the only one, by default."""
    format: Literal["table", "json"] | None = None
    """How the report is printed: a table for people, or one JSON object; by default json in a pipe."""
    overwrite: bool = False
    """Replace a tokenizer that is there."""
    quiet: Annotated[bool, Parameter(alias="-q")] = False
    """No progress."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CutSettings(ReadingOptions):
    """Whose tokenizer, how much of it, and where that goes."""

    model: str | None = None
    """A folder or org/name with a WordPiece or unigram tokenizer; without it, the built-in sentence encoder."""
    vocab_size: int
    """Tokens that stay, special ones and letters included."""
    out: Annotated[Path, Parameter(alias="-o")]
    """The folder to be; it appears whole or not at all."""
    with_model: bool = False
    """Write the model too, its table cut to the rows of these tokens."""
    script: tuple[str, ...] = ()
    """A script whose letters all stay, whether the text has them or not, such as hangul, latin, cjk, or signs for
    what is no letter; repeat for each."""
    column: Annotated[str | None, TEXT_COLUMN] = None
    """The column with the text: "text", or the only one, by default."""
    overwrite: bool = False
    """Replace a tokenizer that is there."""
    quiet: Annotated[bool, Parameter(alias="-q")] = False
    """No progress."""


def _written(
    tables: Sequence["TextTable"],
    settings: TrainSettings | CutSettings,
    learn: "Callable[[Iterator[str]], tuple[Tokenizer, Report]]",
    write: "Callable[[Tokenizer, Report, Path], None] | None" = None,
) -> "Report":
    """Learn from the texts, write the folder, and tell what it is worth.

    write  more than the tokenizer
    """
    with (
        whole_folder(settings.out, overwrite=settings.overwrite) as folder,  # refused before an hour's work
        RowProgress(shown=not settings.quiet) as progress,
    ):
        tokenizer, report = learn(_texts(tables, progress))
        if write is None:
            tokenizer.save(folder)
        else:
            write(tokenizer, report, folder)
        write_json(folder / "report.json", report.to_dict())
    return report


def _opened(files: Sequence[str], settings: TrainSettings | CutSettings) -> list["TextTable"]:
    """Every file, folder or pattern, and standard input, at its start."""
    from sijo.data.corpus import must_concern, open_source, sources
    from sijo.files.tables import TextTable

    if not files:
        raise SettingError("name the files to learn from: .txt, .csv, .jsonl or .parquet, folders, or - for a pipe")
    how, column = settings.reading(), settings.column
    named = sources([name for name in files if name != "-"])
    if "-" in files:
        piped = [TextTable("-", kind=settings.input_format, column=column, **vars(how))]
    else:
        must_concern(how, named)
        piped = []
    return [open_source(source, column=column, how=how) for source in named] + piped


def _texts(tables: Sequence["TextTable"], progress: RowProgress) -> Iterator[str]:
    for place, table in enumerate(tables):
        for block in table.blocks():
            yield from block.texts
            share = table.share()
            progress.add(len(block.texts), None if share is None else (place + share) / len(tables))


def _print(report: "TokenizerReport") -> None:
    left_out = f"{report.letters_left_out:,} rarer ones left out" if report.letters_left_out else ""
    where = "text held back" if report.held_back else "the text it has learned from"
    style = f"{report.family}'s {report.kind}"
    rows = {
        "tokens": (f"{report.vocab_size:,}", f"of {report.vocab_size_asked:,} asked for, {style}"),
        "letters": (f"{report.letters:,}", left_out),
        "texts": (f"{report.texts:,}", f"{report.characters:,} characters"),
        "learned from": (f"{report.characters_learned_from:,}", f"characters, chosen with seed {report.seed}"),
        "measured on": (f"{report.characters_measured:,}", f"characters of {where}"),
        "characters covered": (f"{report.characters_covered:.2%}", ""),
        "words covered": (f"{report.words_covered:.2%}", ""),
        "tokens a word": (f"{report.tokens_per_word:.3f}", f"{report.tokens_per_character:.3f} a character"),
        "single letters": (f"{report.single_letters:.2%}", "of all tokens"),
        "unknown": (f"{report.unknown:.2%}", "of all tokens"),
    }
    columns = Column(style="bold"), Column(justify="right", style="cyan"), Column(style="dim")
    table = Table(*columns, box=None, pad_edge=False, show_header=False)
    for name, (value, note) in rows.items():
        table.add_row(name, value, Text(note))
    longest = " ".join(map(printable, report.longest))
    print_shown(table, Text(f"\nlongest tokens: {longest}", style="dim"))


commands = App(name="tokenizer", help=TOKENIZER)


@commands.command(name="train", help_format="markdown")
def train(
    *files: Annotated[str, Parameter(allow_leading_hyphen=True, converter=input_name("tokenizer", "train"))],
    settings: TrainSettings,
) -> None:
    """Learn a tokenizer's vocabulary from raw text, and measure it on text it has not seen.

    FILES are .txt, .csv, .tsv, .jsonl or .parquet files, also as .gz, .bz2 or .xz, folders of them,
    patterns such as "data/*.txt", or - for standard input. The same text gives the same bytes. OUT holds
    tokenizer.json and tokenizer_config.json, which sijo and transformers open, and report.json; the
    report is also printed.

        sijo tokenizer train --kind wordpiece --vocab-size 8000 --out words corpus/

        zcat web.jsonl.gz | sijo tokenizer train --kind bpe --vocab-size 32000 --out pairs --input-format jsonl -
    """
    from sijo.models import tokenizer_style
    from sijo.tokenizers.train import train_tokenizer

    def learned(texts: Iterator[str]) -> "tuple[Tokenizer, TokenizerReport]":
        style = tokenizer_style(settings.kind, settings.family)
        return call_with(train_tokenizer, settings, texts=texts, style=style, specials=settings.special)

    report = _written(_opened(files, settings), settings, learned)
    if wants_json(settings.format):
        print_json({"folder": str(settings.out)} | report.to_dict())
    else:
        _print(report)
    if report.vocab_size < report.vocab_size_asked and not settings.quiet:
        tell(f"{report.vocab_size_asked:,} tokens were asked for, and the text holds only {report.vocab_size:,}")


@commands.command(name="cut", help_format="markdown")
def cut(
    *files: Annotated[str, Parameter(allow_leading_hyphen=True, converter=input_name("tokenizer", "cut"))],
    settings: CutSettings,
) -> None:
    """Cut a model's vocabulary down to the tokens that some text uses most.

    FILES are as for sijo tokenizer train. Every letter of the text stays, and a text none of whose tokens is gone
    is cut as before; the report tells how many are, and which letters become unknown. With --with-model OUT is a
    model, with the row of each token that stays: of a model of a hundred languages one of two, whose vectors for
    such a text are what they were.

        sijo tokenizer cut --model multilingual --vocab-size 24000 --script hangul --with-model --out small corpus/

    Without it OUT is a tokenizer for a student, which begins with its teacher's own rows.

        sijo tokenizer cut --vocab-size 11500 --out words corpus/

        sijo distill sentence --corpus corpus/ --tokenizer words --out runs/small
    """
    from sijo.checkpoints.describe import describe
    from sijo.inference.engine import lowered
    from sijo.tokenizers.prune import prune_tokenizer

    tables, described = _opened(files, settings), describe(settings.model)
    whole, sentence = described.tokenizer, described.sentence
    always = list(sentence.prompts.values())

    def learn(texts: Iterator[str]) -> "tuple[Tokenizer, PruneReport]":
        read = map(lowered, texts) if sentence.lowercase else texts
        return call_with(
            prune_tokenizer, settings, tokenizer=whole, texts=read, scripts=settings.script, always=always
        )

    write = None
    if settings.with_model:
        from sijo.checkpoints.load import load
        from sijo.jobs.cut_model import save_cut

        write = partial(save_cut, load(settings.model, described.heads or None), name=settings.model)
    report = _written(tables, settings, learn, write)
    print_json({"folder": str(settings.out)} | report.to_dict())
