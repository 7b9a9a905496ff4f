"""The command `sijo`: reads its arguments, makes one library call, and leaves with a meaning.

Results go to standard output, everything else to standard error. Exit codes: 0 done; 1 failed while
running; 2 wrong usage or setting; 3 bad input; 4 unsafe or unsupported model refused; 5 damaged
checkpoint; 74 input/output, such as a full disk; 130 and 143 after SIGINT and SIGTERM; 141 when the
reader of a pipe has gone.
"""

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal, NoReturn

from cyclopts import App, CycloptsError, Parameter, Token, UnknownOptionError, UnusedCliTokensError

from sijo.app import bench, classify, encode, export, hub, inspect
from sijo.app.again import GIVEN
from sijo.app.evaluation import evaluate
from sijo.app.evaluation.settings import EvaluateSettings
from sijo.app.fitting import fit, suggest
from sijo.app.label_settings import IN_ONE
from sijo.app.options import by_options, check_options
from sijo.app.prediction import predict
from sijo.app.results import print_line, tell, tell_story, warnings_told
from sijo.app.serving import serve
from sijo.app.training import distill, finetune, pretrain
from sijo.app.writing import attribute, generate
from sijo.errors import SettingError, SijoError, SijoWarning, TextError, not_installed
from sijo.version import __version__

app = App(
    name="sijo",
    help="Compact language models that label text nobody trained them to label, on one ordinary CPU.",
    help_epilogue=(
        "Add to any command --strict to end with exit code 3 at its first warning, and --debug for the whole story "
        "of an error."
    ),
    help_format="plaintext",  # of the list of commands alone: markdown takes 0.1 s to import
    version=__version__,
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
)


def input_name(*command: str) -> Callable[[object, Sequence[Token]], str]:
    """An input of a command as it was given: `-` is standard input, what else begins so an option nobody knows."""

    def read(kind: object, tokens: Sequence[Token]) -> str:
        source = tokens[0].value
        if source.startswith("-") and source != "-":
            options = reduce(App.__getitem__, command, app).assemble_argument_collection()
            raise UnknownOptionError(token=tokens[0], argument_collection=options)
        return source

    return read


COMMANDS = (attribute, bench, distill, export, finetune, fit, generate, inspect, pretrain, serve, suggest)
for module in COMMANDS:
    app.command(module.run, name=module.__name__.rpartition(".")[2], help_format="markdown")
for name, run_command in (("push", hub.push), ("download", hub.download)):
    app.command(run_command, name=name, help_format="markdown")
TOKENIZER = "Make a tokenizer from raw text."
LABELS = "Check a file of labels before a model reads it."
app.command("sijo.app.labels:commands", name="labels", help=LABELS)
# Opened late: it knows the families.
app.command("sijo.app.training.tokenizer:commands", name="tokenizer", help=TOKENIZER)


@app.command(name="classify", help_format="markdown")
def label_file(
    *inputs: Annotated[str, Parameter(allow_leading_hyphen=True, converter=input_name("classify"))],
    settings: classify.ClassifySettings = classify.ClassifySettings(),  # noqa: B008 (frozen)
) -> None:
    """Label each row of a file with labels that no model was trained on.

    INPUTS are .txt, .csv, .tsv, .jsonl, .json, .parquet or .xlsx files, also as .gz, .bz2, .xz or .zst, patterns
    such as 'mail/*.csv', or - for standard input, as without any. Rows of several, in the order of the files,
    have the columns that all of them have, and file.

    Every input column is kept, in order. Added to each row: label, score (its probability), margin (its lead over
    the next), tokens, windows (in how many pieces it was read), truncated and scorer; with --multi-label, labels
    and scores are lists; with --risk, also label_set and abstained; with --top-k 3, label_1 to label_3 and score_1
    to score_3. A name that the input already has gets the prefix predicted_.

        sijo classify news.csv --column text --labels "business,sport,technology" -o out.parquet

        echo "a goal in the last minute" | sijo classify --labels "football,weather,cooking"
    """
    classify.run(inputs, settings)


@app.command(name="predict", help_format="markdown")
def predict_file(
    *inputs: Annotated[str, Parameter(allow_leading_hyphen=True, converter=input_name("predict"))],
    settings: predict.PredictSettings = predict.PredictSettings(),  # noqa: B008 (frozen)
) -> None:
    """Answer each row of a file with a fine-tuned model: labels, numbers, tags, answers in a text, choices.

    INPUTS are .txt, .csv, .tsv, .jsonl, .json, .parquet or .xlsx files, also as .gz, .bz2, .xz or .zst, patterns
    such as 'mail/*.csv', or - for standard input, as without any. Rows of several, in the order of the files,
    have the columns that all of them have, and file.

    The model says what it was fine-tuned to do, and which columns hold what it reads: those of its training file,
    unless others are named. Every input column is kept, in order. Added to each row:

    - one label of several: label, score (its probability)
    - several labels: labels and scores, as lists
    - of either, with --top-k 3: label_1 to label_3 and score_1 to score_3
    - a number: number
    - tags: tags, a list of word, start, end, tag, score; and entities, of text, start, end, label, score
    - an answer in a text: answer, start, end, score, and no_answer_score where the text may hold none
    - a choice: choice, choice_place (from 0), score, choice_scores

    and tokens, windows (in how many pieces a row was read) and truncated. A name that the input already has gets
    the prefix predicted_.

        sijo predict new.csv --model runs/reviews/model -o answers.parquet

        sijo predict news.jsonl --model runs/names/model --column text -o tagged.jsonl

        sijo predict questions.csv --model runs/answers/model --dry-run
    """
    predict.run(inputs, settings)


@app.command(name="encode", help_format="markdown")
def encode_file(
    *inputs: Annotated[str, Parameter(allow_leading_hyphen=True, converter=input_name("encode"))],
    settings: encode.EncodeSettings = encode.EncodeSettings(),  # noqa: B008 (frozen)
) -> None:
    """Turn each row of a file into a vector, for search, clustering or a classifier of your own.

    INPUTS are .txt, .csv, .tsv, .jsonl, .json, .parquet or .xlsx files, also as .gz, .bz2, .xz or .zst, patterns
    such as 'mail/*.csv', or - for standard input, as without any. Rows of several, in the order of the files,
    have the columns that all of them have, and file.

    Texts that mean alike get vectors that point alike: their dot product is their cosine. A text longer than the
    model is read in windows; a row without text gets zeros.

    Every input column is kept, in order, and vector is added (in Parquet a list of D float32; in .csv, .tsv and
    .xlsx JSON text); a .npy is the array (rows, D) alone. Without --output, JSON lines are printed.

        sijo encode news.csv --column text -o vectors.parquet

        sijo encode questions.txt --model intfloat/multilingual-e5-small --prompt "query: " -o questions.npy

        echo "a goal in the last minute" | sijo encode
    """
    encode.run(inputs, settings)


@app.command(name="evaluate", help_format="markdown")
def evaluate_files(
    *files: Annotated[str, Parameter(allow_leading_hyphen=True, converter=input_name("evaluate"))],
    settings: EvaluateSettings = EvaluateSettings(),  # noqa: B008 (frozen)
) -> None:
    """Measure how well models label texts whose labels are known, with 95 % intervals.

    FILES are tables of texts and their labels, each measured by itself, as --data names them: .csv, .tsv, .jsonl,
    .json, .parquet or .xlsx, or - for standard input.

    Prints accuracy, macro-F1, calibration error (ECE), risk and coverage, a line for each label and the confusion
    matrix; as one JSON object in a pipe or with --format json. With --none-label, and rows of that label, also how
    well these are told from the others.

        sijo evaluate examples/requests.csv --text-column text --label-column domain

    Give --labels-file to put a description beside each label. Give several files, or --model or --scorer several
    times, to see every combination in one table, with the mean over data sets and each way's difference to the
    first.

        sijo evaluate news.csv mail.csv --model built-in --model FOLDER --report table.md

    With --task generalized-zero-shot some labels have labelled texts, in --train, and others have none: accuracy of
    both kinds among all labels, their harmonic mean H and the area under their curve (AUSUC), by four methods.

        sijo evaluate --task generalized-zero-shot all.csv --train seen.csv --plot curve.svg
    """
    evaluate.run(files, settings)


@app.command(help_format="markdown")
def report(
    *runs: Path,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    texts: Annotated[bool, Parameter(negative="--no-texts")] = True,
) -> None:
    """Draw what happened in a run of training into one HTML file, and print its path.

    RUNS are folders that sijo pretrain, distill or finetune was given as --out; several are drawn beside each
    other. The file needs no network, script or other file: loss by objective, learning rate, gradient norm and
    speed, what the run has cost, its settings, and texts with what was hidden and guessed, or replaced and spotted.
    Of fine-tuning, how good it is, label by label, what was taken for what, and rows right and wrong. A run that is
    under way or was interrupted is drawn as far as it has come. sijo evaluate --report draws an evaluation.

        sijo report runs/electra

        sijo report runs/electra runs/bert --out both.html

        sijo report runs/requests --no-texts

    Parameters
    ----------
    out
        The file to write; report.html in the run's folder by default.
    texts
        Show texts of the data, which whoever is given the file can read.
    """
    from sijo.app.report import report as reporting

    reporting.run(runs, out, texts=texts)


@app.command(help_format="markdown")
def convert(
    source: Path,
    out: Path,
    /,
    *,
    size: str | None = None,
    model_type: str | None = None,
    part: Literal["discriminator", "generator"] | None = None,
    base: str | None = None,
    overwrite: bool = False,
) -> None:
    """Make a folder that sijo and transformers open of a checkpoint in another form.

    SOURCE is a folder, sijo-small for the built-in model, or a file of weights: a pickle by torch.save (.bin, .pt,
    .pth, .ckpt), of which tensors alone are taken; or safetensors, also by the names of the papers' first code in
    TensorFlow.
    The config, tokenizer and card beside it go along.

    A pickle is read by a process in a jail of the kernel, without files, network or other programs. That
    takes Linux 5.13 or later with Landlock and seccomp, on x86_64 or aarch64; elsewhere, as on macOS,
    no pickle is read.

    OUT appears whole, once its encoder and heads have been opened, or not at all. Its path is printed;
    what was left out and why is told on standard error.

        sijo convert old/pytorch_model.bin models/new

        sijo convert old/electra.safetensors models/spotter --size electra-small-discriminator --part discriminator

        sijo convert adapters/reviews models/reviews --base models/deberta-v3-small

    Parameters
    ----------
    size
        A published size, such as albert-base-v2, where there is no config.json.
    model_type
        What it is (bert, albert, …), where its config does not say so.
    part
        Which of the two networks of an ELECTRA that was saved with both.
    base
        The model of a LoRA adapter: a folder or org/name, where SOURCE holds the adapter alone. Both are merged.
    overwrite
        Replace a model that is there.
    """
    from sijo.checkpoints.conversion.convert import convert as converted

    target = converted(
        source,
        out,
        size=size,
        model_type=model_type,
        part=part,
        base=base,
        overwrite=overwrite,
        tell=tell,
    )
    print_line(target)


class Terminated(BaseException):
    """SIGTERM came. Not an Exception, so that nothing on the way takes it for a failure."""


def main() -> NoReturn:
    """Run the command that the arguments name; leaves by `sys.exit`."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # the Hub is told what is asked for, and no more
    if sys.stderr is None or not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    sys.excepthook = tell_story
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and give its exit code; an error is one sentence on standard error."""
    GIVEN.set(tuple(arguments))
    debug, strict = "--debug" in arguments, "--strict" in arguments
    tokens = [argument for argument in arguments if argument not in ("--debug", "--strict")]
    signal.signal(signal.SIGTERM, _terminate)
    if sys.stderr is None:  # closed by the caller; print would otherwise write to standard output
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    try:
        if sys.stdout is None:
            raise OSError("standard output is closed; give it a file or /dev/null")
        with warnings_told(strict=strict) as told:
            command, arguments_of, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
            check_options(arguments_of.arguments)
            command(*arguments_of.args, **arguments_of.kwargs)
        sys.stdout.flush()
        if told:
            tell("1 warning" if len(told) == 1 else f"{len(told)} warnings")
    except BaseException as error:
        if debug:
            raise
        return _report(error)
    return 0


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _report(error: BaseException) -> int:
    """Print what went wrong; returns the exit code that stands for it."""
    code, sentence = _meaning(error)
    if isinstance(error, OSError) and sys.stdout is not None:
        # what is left in the buffer of a closed pipe or a full disk must not fail again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if sentence:
        tell(f"sijo: {sentence}")
    return code


INPUTS = {"finetune": "--train", "generate": "--prompt"}
"""The option that takes what a person may give such a command alone."""


def _of_arguments(error: CycloptsError) -> str:
    """What is wrong with the arguments of a command, and where that is told."""
    command = " ".join(("sijo", *(error.command_chain or ())))
    words = re.sub(r"(\d{20})\d{40,}", r"\1…", " ".join(str(error).split()))
    if isinstance(error, UnusedCliTokensError):
        words = f"{command} has no use for {', '.join(map(repr, error.unused_tokens or ()))}."
        if any(token in ("--labels", "--for-labels") for token in error.root_input_tokens or ()):
            words += f" If that is a label, {IN_ONE}."
        elif (option := INPUTS.get(command.rpartition(" ")[2])) is not None:
            words += f" Give it as {option}."
    return f"{words} See: {command} --help"


def _meaning(error: BaseException) -> tuple[int, str]:
    match error:
        case SystemExit() if isinstance(error.__context__, BrokenPipeError):
            return 141, ""  # rich found the reader gone
        case SystemExit():
            return (error.code if isinstance(error.code, int) else 0), ""
        case SijoError():
            return error.exit_code, by_options(str(error))
        case ModuleNotFoundError() if (missing := not_installed(error)) is not None:
            return missing.exit_code, str(missing)
        case SijoWarning():
            return error.exit_code, f"{error} (an error by --strict)"
        case CycloptsError():
            return SettingError.exit_code, _of_arguments(error)
        case KeyboardInterrupt() | Terminated():
            return (143, "terminated") if isinstance(error, Terminated) else (130, "interrupted")
        case BrokenPipeError():
            return 141, ""
        case UnicodeEncodeError():
            half = f"U+{ord(error.object[error.start]):04X}"
            return TextError.exit_code, f"half of a character ({half}) cannot be written as UTF-8; remove it"
        case OSError():
            where = f": {error.filename}" if error.filename else ""
            return 74, f"{error.strerror or error}{where}"
        case MemoryError():
            return 1, "the memory is full; close other programs, or give shorter texts or a smaller model"
        case _:
            return (
                1,
                f"failed: {type(error).__name__}: {error}. Run it again with --debug for the whole story",
            )
