"""The command `sijo`: reads its arguments, makes one library call, and leaves with a meaning.

Results go to standard output, everything else to standard error. Exit codes: 0 done; 1 failed while
running; 2 wrong usage or setting; 3 bad input; 4 unsafe or unsupported model refused; 5 damaged
checkpoint; 74 input/output, such as a full disk; 130 and 143 after SIGINT and SIGTERM; 141 when the
reader of a pipe has gone.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal, NoReturn

from cyclopts import App, CycloptsError, Parameter, Token, UnknownOptionError

from sijo.app import attribute as attributing
from sijo.app import classify as classifying
from sijo.app import distill as distilling
from sijo.app import evaluate as evaluating
from sijo.app import finetune as finetuning
from sijo.app import generate as generating
from sijo.app import inspect as inspecting
from sijo.app import pretrain as pretraining
from sijo.app import synthetic as synthesising
from sijo.app.results import printable, tell
from sijo.errors import SettingError, SijoError
from sijo.version import __version__

app = App(
    name="sijo",
    help="Compact language models that label text nobody trained them to label, on one ordinary CPU.",
    help_epilogue="Add --debug to any command for the whole story of an error.",
    help_format="plaintext",  # of the list of commands alone: markdown takes 0.1 s to import
    version=__version__,
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
)


def input_name(*command: str) -> Callable[[object, Sequence[Token]], str]:
    """The INPUT of a command as it was given: `-` is standard input, what else begins so an option nobody knows."""

    def read(kind: object, tokens: Sequence[Token]) -> str:
        source = tokens[0].value
        if source.startswith("-") and source != "-":
            options = reduce(App.__getitem__, command, app).assemble_argument_collection()
            raise UnknownOptionError(token=tokens[0], argument_collection=options)
        return source

    return read


@app.command(help_format="markdown")
def classify(
    input: Annotated[str, Parameter(allow_leading_hyphen=True, converter=input_name("classify"))] = "-",
    /,
    *,
    settings: classifying.ClassifySettings | None = None,
) -> None:
    """Label each row of a file with labels that no model was trained on.

    INPUT is a .txt, .csv, .tsv, .jsonl or .parquet file, also as .gz, .bz2, .xz or .zst, or - for standard
    input. Every input column is kept, in order. Added to each row: label, score (its probability),
    tokens, windows (in how many pieces it was read) and truncated; with --multi-label, labels and
    scores are lists. A name that the input already has gets the prefix predicted_.

        sijo classify news.csv --column text --labels "business,sport,technology" -o out.parquet

        echo "the pitch was soaked" | sijo classify --labels "football,weather,cooking"
    """
    classifying.run(input, settings or classifying.ClassifySettings())


@app.command(help_format="markdown")
def evaluate(*, settings: evaluating.EvaluateSettings | None = None) -> None:
    """Measure how well a model labels texts whose labels are known, with 95 % intervals.

    Prints accuracy, macro-F1, calibration error (ECE), a line for each label and the confusion
    matrix; as one JSON object in a pipe or with --format json.

        sijo evaluate --data examples/requests.csv --text-column text --label-column domain

    Give --labels-file to put a description beside each label.
    """
    evaluating.run(settings or evaluating.EvaluateSettings())


@app.command(help_format="markdown")
def pretrain(recipe: str | None = None, /, *, settings: pretraining.PretrainSettings | None = None) -> None:
    """Train a model from raw text, by a published recipe or a tiny one.

    RECIPE is a name, such as electra-tiny (--list tells all), or the settings.json of an earlier run. Text is
    cut into documents and sentences, duplicates left out; without --tokenizer one is trained on it. Checkpoints
    stand in OUT/checkpoints, curves in OUT/metrics.jsonl (sijo report OUT draws them), the model at the end
    in OUT/model, or OUT/discriminator and OUT/generator. A run that was stopped, even by kill -9, goes on with
    --resume, bit for bit.

        sijo pretrain electra-tiny --corpus novels/ news.jsonl.gz --out runs/electra

        sijo pretrain ctrl-tiny --corpus reviews.csv --code-column rating --out runs/ctrl --set run.max_time=15m

        torchrun --nproc-per-node 2 --no-python sijo pretrain bert-tiny --corpus novels/ --out runs/bert
    """
    pretraining.run(recipe, settings or pretraining.PretrainSettings())


@app.command(help_format="markdown")
def distill(recipe: str | None = None, /, *, settings: distilling.DistillSettings | None = None) -> None:
    """Teach a smaller model what a larger one knows, from raw text without labels.

    RECIPE is a way to teach (--list tells all), or the settings.json of an earlier run: by default
    `distilbert-tiny` for a teacher with a language modelling head, `sentence` for an encoder of sentences. The
    student is half as deep as its teacher and begins with every other of its layers; --set model.… makes it
    otherwise: fewer layers, narrower tables, shared blocks, another attention. Checkpoints, curves and --resume are
    those of sijo pretrain; the student is left in OUT/model.

        sijo distill --teacher sentence-transformers/all-MiniLM-L6-v2 --corpus notes.txt --out runs/small

        sijo distill distilbert --teacher bert-base-uncased --corpus books/ --out runs/distilbert

        sijo distill minilm-tiny --teacher bert-base-uncased --corpus books/ --out runs/mini \
            --set teacher.cache=lessons --set model.hidden_size=384 --set model.embedding_size=384 \
            --set model.intermediate_size=1536 --set teacher.relation_heads=12
    """
    distilling.run(recipe, settings or distilling.DistillSettings())


@app.command(help_format="markdown")
def finetune(*, settings: finetuning.FinetuneCommand | None = None) -> None:
    """Fine-tune a model on labelled rows: classes of texts or pairs, tags, numbers, answers, choices.

    --task says what is learned; --list shows what the rows of each look like. Columns are guessed by their usual
    names. Rates and decays are those published for such a model; --settings tells them, --set changes them. The
    evaluation rows are answered after each epoch, and the checkpoint that does it best is kept: OUT/model is a
    folder that sijo and transformers open, OUT/predictions.jsonl its answers, OUT/results.json how good they are,
    with 95 % intervals. A run that was stopped, even by kill -9, goes on with --resume, bit for bit.

        sijo finetune --train examples/requests.csv --label-column domain --out runs/requests

        sijo finetune --task tagging --model bert-base-cased --train train.jsonl --eval dev.jsonl --out runs/names

        sijo finetune --teacher runs/large/model --train train.csv --eval dev.csv --out runs/small --seeds 3

    Then: sijo classify new.csv --model runs/requests/model
    """
    finetuning.run(settings or finetuning.FinetuneCommand())


@app.command(help_format="markdown")
def generate(
    *,
    settings: generating.GenerateSettings | None = None,
    data: synthesising.SynthesisOptions | None = None,
) -> None:
    """Write a text that goes on from a prompt, of the kind that a control code names.

    Results appear as they are written; in a pipe, one JSON object for each text.

        sijo generate --model runs/ctrl/model --codes

        sijo generate --model runs/ctrl/model --control-code travel --prompt "book a" --max-new-tokens 20

        sijo generate --model runs/ctrl/model -c travel --temperature 0.8 --top-p 0.9 --count 5 --guidance 2

    With --for-labels it writes texts for a classifier to learn from, where a label has no examples:

        sijo generate --model runs/ctrl/model --for-labels travel,banking --count 200 --output made.csv
    """
    if data is None:
        generating.run(settings or generating.GenerateSettings())
    else:
        synthesising.run(settings or generating.GenerateSettings(), data)


@app.command(help_format="markdown")
def attribute(*texts: str, settings: attributing.AttributeSettings | None = None) -> None:
    """Tell which control code a text looks like, and how surely: CTRL's source attribution.

    TEXTS are judged one by one. sijo classify --model M does the same for a whole file.

        sijo attribute --model runs/ctrl/model "I would like a room with a view of the sea"

        sijo attribute --model runs/ctrl/model --codes travel,banking --prior travel=1,banking=9 "book a flight"
    """
    attributing.run(texts, settings or attributing.AttributeSettings())


@app.command(help_format="markdown")
def report(*runs: Path, out: Path | None = None) -> None:
    """Draw what happened in a run of pretraining into one HTML file, and print its path.

    RUNS are folders that sijo pretrain was given as --out; several are drawn beside each other. The file
    needs no network, script or other file: loss by objective, learning rate, gradient norm and speed, what
    the run has cost, its settings, and texts with what was hidden and guessed, or replaced and spotted. A run
    that is under way or was interrupted is drawn as far as it has come.

        sijo report runs/electra

        sijo report runs/electra runs/bert --out both.html

    Parameters
    ----------
    out
        The file to write; report.html in the run's folder by default.
    """
    from sijo.app.report import report as reporting

    reporting.run(runs, out)


@app.command(help_format="markdown")
def inspect(model: str | None = None, /, *, settings: inspecting.InspectSettings | None = None) -> None:
    """Show what is in a model's folder: architecture, parameters, heads, tokenizer, files, licence.

    MODEL is a folder or an org/name; without it the built-in model. Encoder and heads are opened as
    any command opens them, and nothing is run. What would not load is named with the reason, which is
    also the exit code: 4 for what is unsafe or unsupported, 5 for damage.

        sijo inspect models/deberta-v3-small

        sijo inspect models/deberta-v3-small --format json | jq .parameters_by_part
    """
    inspecting.run(model, settings or inspecting.InspectSettings())


@app.command(help_format="markdown")
def convert(
    source: Path,
    out: Path,
    /,
    *,
    size: str | None = None,
    model_type: str | None = None,
    part: Literal["discriminator", "generator"] | None = None,
    overwrite: bool = False,
) -> None:
    """Make a folder that sijo and transformers open of a checkpoint in another form.

    SOURCE is a folder, or a file of weights: a pickle by torch.save (.bin, .pt, .pth, .ckpt), which is
    read by a separate process without network that takes tensors alone; or safetensors, also by the
    names of the papers' first code in TensorFlow. The config, tokenizer and card beside it go along.

    OUT appears whole, once its encoder and heads have been opened, or not at all. Its path is printed;
    what was left out and why is told on standard error.

        sijo convert old/pytorch_model.bin models/new

        sijo convert old/electra.safetensors models/spotter --size electra-small-discriminator --part discriminator

    Parameters
    ----------
    size
        A published size, such as albert-base-v2, where there is no config.json.
    model_type
        What it is (bert, albert, …), where its config does not say so.
    part
        Which of the two networks of an ELECTRA that was saved with both.
    overwrite
        Replace a model that is there.
    """
    from sijo.checkpoints.convert import convert as converted

    def tell_safely(sentence: str) -> None:
        tell(printable(sentence))

    target = converted(
        source, out, size=size, model_type=model_type, part=part, overwrite=overwrite, tell=tell_safely
    )
    print(target)  # noqa: T201


TOKENIZER = "Make a tokenizer from raw text."
app.command("sijo.app.tokenizer:commands", name="tokenizer", help=TOKENIZER)  # opened late: it knows the families


class Terminated(BaseException):
    """SIGTERM came. Not an Exception, so that nothing on the way takes it for a failure."""


def main() -> NoReturn:
    """Run the command that the arguments name; leaves by `sys.exit`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and give its exit code; an error is one sentence on standard error."""
    debug = "--debug" in arguments
    tokens = [argument for argument in arguments if argument != "--debug"]
    signal.signal(signal.SIGTERM, _terminate)
    if sys.stderr is None:  # closed by the caller; print would otherwise write to standard output
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    try:
        if sys.stdout is None:
            raise OSError("standard output is closed; give it a file or /dev/null")
        app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
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
        tell(f"sijo: {printable(sentence)}")
    return code


def _meaning(error: BaseException) -> tuple[int, str]:
    match error:
        case SystemExit() if isinstance(error.__context__, BrokenPipeError):
            return 141, ""  # rich found the reader gone
        case SystemExit():
            return (error.code if isinstance(error.code, int) else 0), ""
        case SijoError():
            return error.exit_code, str(error)
        case CycloptsError():
            return SettingError.exit_code, " ".join(str(error).split()) + " See: sijo --help"
        case KeyboardInterrupt():
            return 130, "interrupted"
        case Terminated():
            return 143, "terminated"
        case BrokenPipeError():
            return 141, ""
        case OSError():
            where = f": {error.filename}" if error.filename else ""
            return 74, f"{error.strerror or error}{where}"
        case _:
            return (
                1,
                f"failed: {type(error).__name__}: {error}. Run it again with --debug for the whole story",
            )
