"""`sijo generate`: a prompt and a control code in, a text out, token by token."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.table import Table

from sijo.app.options import WriterPrecision, call_with
from sijo.app.progress import RowProgress
from sijo.app.results import print_json, print_line, print_shown, print_text, tell, wants_json
from sijo.app.writing.for_labels import kinds_of
from sijo.errors import SettingError, TextError
from sijo.files.atomic import whole_file

if TYPE_CHECKING:
    from sijo.generation.generator import GeneratedText, Generator
    from sijo.generation.rules import Request
    from sijo.generation.synthetic import Check, Synthesis, SyntheticSettings, SyntheticText

MOST_TEXTS = 1_000_000
"""Of one prompt."""
NO_MODEL = "--model is needed: a folder or org/name that writes; sijo pretrain ctrl-tiny trains one"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class GenerateSettings:
    """Who writes, about what, and how each token is chosen."""

    model: str | None = None
    """A folder or org/name with a head that writes (lm), such as what sijo pretrain ctrl-tiny leaves."""
    base: str | None = None
    """The model of a LoRA adapter: a folder or org/name, where --model holds the adapter alone."""
    device: str = "auto"
    """Where it computes: cpu, cuda, cuda:N or mps; auto takes the first GPU there is, else the processor."""
    precision: WriterPrecision = "exact"
    """What it computes in; exact is float32. int8 is refused where it changes what comes next, and auto takes it
    where the processor has it and it does not."""
    prompt: Annotated[list[str] | None, Parameter(alias="-p", consume_multiple=True)] = None
    """How the text begins; several are written side by side."""
    prompts_file: Path | None = None
    """The same from a file, one a line."""
    control_code: Annotated[str | None, Parameter(alias="-c")] = None
    """What kind of text it is to be; --codes lists those that the model knows."""
    other_code: str | None = None
    """A second code: to be mixed with the first (--mixture), or to be led away from (--guidance)."""
    mixture: float | None = None
    """The share of the second code in a mixture of both, from 0 to 1."""
    guidance: float | None = None
    """How strongly the code is obeyed: 1 as it comes, 2 or more go on from what the text without it would be."""
    max_new_tokens: int = 100
    """Tokens to write at most."""
    temperature: float | None = None
    """0, as where none is given, always takes the best token; 0.7 is livelier, 1 as the model has learned."""
    top_k: int | None = None
    """Draw from so many of the likeliest tokens only."""
    top_p: float | None = None
    """Draw from the likeliest tokens that make up this share only."""
    min_p: float | None = None
    """Draw from tokens at least this times as likely as the likeliest only."""
    penalty: float = 1.2
    """By which tokens that stand in the text already are made less likely; 1 for none."""
    penalty_rule: Literal["paper", "sign_aware"] = "paper"
    """The paper divides scores whatever their sign; sign_aware multiplies those below 0, as transformers does."""
    beams: int = 1
    """Carry on so many texts at once and give the likeliest; in place of a temperature."""
    length_penalty: float = 1.0
    """Of beams that --stop ends at different lengths: 0 prefers short texts, 1 goes by the mean of a token."""
    stop: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """End before the first of these strings."""
    banned: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """Words that are not to be written."""
    seed: int = 0
    """Start of all chance; the n-th text has this and n."""
    count: int = 1
    """How many texts for each prompt; more than one needs a temperature."""
    codes: bool = False
    """Print the control codes that the model knows, and stop."""
    format: Literal["text", "json"] | None = None
    """text for people, as it is written; in a pipe one JSON object a text."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SynthesisOptions:
    """Texts for labels of which there are no examples."""

    for_labels: str | None = None
    """Write texts for each of these labels, and keep the likeliest --count of each: codes of the model, as
    "travel,banking"; labels with their codes, as "good=Reviews Rating: 5.0; bad=Reviews Rating: 1.0"; or a .csv
    (label,control_code,prompt; several lines of a label are several beginnings) or .json file. By default with
    --temperature 0.2 --top-k 10 --penalty 1.2, and up to a line's end."""
    output: Annotated[Path | None, Parameter(alias="-o")] = None
    """With --for-labels: a .csv, .tsv, .jsonl, .parquet or .xlsx to write, with text, label, mean_logprob and seed;
    it appears whole or not at all."""
    drafts: int | None = None
    """With --for-labels: how many texts are written for each label; five times --count by default."""
    min_new_tokens: int = 5
    """With --for-labels: shorter texts are dropped."""
    checked_by: str | None = None
    """With --for-labels: a model that gives each text one of the labels, "built-in" for the sentence encoder that
    comes with sijo; a text that it gives another than it was written for is dropped."""
    quiet: Annotated[bool, Parameter(alias="-q")] = False
    """With --for-labels: no progress and no summary."""


def run(*, options: GenerateSettings = GenerateSettings(), data: SynthesisOptions | None = None) -> None:
    """Write a text that goes on from a prompt, of the kind that a control code names.

    Results appear as they are written; in a pipe, one JSON object for each text.

        sijo generate --model runs/ctrl/model --codes

        sijo generate --model runs/ctrl/model --control-code travel --prompt "book a" --max-new-tokens 20

        sijo generate --model runs/ctrl/model -c travel --temperature 0.8 --top-p 0.9 --count 5 --guidance 2

    With --for-labels it writes texts for a classifier to learn from, where a label has no examples:

        sijo generate --model runs/ctrl/model --for-labels travel,banking --count 200 --output made.csv

    What it writes is a file for sijo finetune, with --task label-matching too, and for sijo fit.
    """
    if data is not None:
        write_table(options, data)
        return
    if options.model is None:
        raise SettingError(NO_MODEL)
    if not 1 <= options.count <= MOST_TEXTS or (options.count > 1 and not options.temperature):
        raise SettingError(
            f"--count {options.count} would write the same text again: it must be 1 or more, up to {MOST_TEXTS:,}, "
            "and above 1 it needs a --temperature"
        )
    from sijo.generation.generator import Generator
    from sijo.tokenizers.codes import known_codes

    requests = [] if options.codes else requests_of(options)  # before the model is opened
    writer = call_with(Generator, options)
    if options.codes:
        for name in known_codes(writer.model.tokenizer):
            print_line(name)
    elif wants_json(options.format):
        for request, written in zip(requests, writer.each(requests), strict=True):
            print_json(record(request, written))
    else:
        stream(writer, requests)


def requests_of(options: GenerateSettings) -> list["Request"]:
    """A request for each text that is wanted."""
    from sijo.generation.rules import Request, Sampling

    prompts = list(options.prompt or [])
    if (file := options.prompts_file) is not None:
        try:
            prompts += [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise TextError(f"{file} cannot be read ({error}); name a text file, a prompt a line") from None
    sampling = call_with(Sampling, options, temperature=options.temperature or 0.0)
    stop, banned = tuple(options.stop or ()), tuple(options.banned or ())
    request = partial(call_with, Request, options, stop=stop, banned=banned, sampling=sampling)
    return [
        request(prompt=prompt, seed=options.seed + number)
        for number, prompt in enumerate(prompt for prompt in prompts or [""] for _ in range(options.count))
    ]


def stream(writer: "Generator", requests: list["Request"]) -> None:
    """Print each text with its prompt while it is written; an interrupted one still ends its line."""
    writer.stream(requests)  # refuses what cannot be written, before anything is
    for number, request in enumerate(requests):
        print_text(("\n" if number else "") + (f"{request.prompt} " if request.prompt else ""))
        try:
            for token in writer.stream([request]):
                print_text(token.text)
        finally:
            print_text("\n")


def record(request: "Request", written: "GeneratedText") -> dict[str, Any]:
    """A text as a JSON object."""
    return {
        "prompt": request.prompt,
        "control_code": request.control_code,
        "text": written.text,
        "tokens": len(written.ids),
        "mean_logprob": sum(written.logprobs) / len(written.logprobs),
        "stopped": written.stopped,
        "seed": request.seed,
    }


def write_table(writing: GenerateSettings, options: SynthesisOptions) -> None:
    """Write texts for each label to a file, and say how many were kept."""
    if options.for_labels is None:
        raise SettingError("--output and --drafts are for data: say of what by --for-labels")
    if options.output is None:
        raise SettingError("--for-labels writes a table; name it with --output made.csv")
    if options.output.exists():
        raise SettingError(f"{options.output} is there already; name another --output, or move it away")
    if writing.model is None:
        raise SettingError(NO_MODEL)
    for name in ("prompt", "prompts_file", "control_code", "other_code", "mixture", "format"):
        if getattr(writing, name) is not None:
            raise SettingError(
                f"--{name.replace('_', '-')} is about single texts; with --for-labels each label has a code and "
                "beginnings of its own, which a labels file can say, and texts go to --output"
            )
    from sijo.files.row_writers import format_of
    from sijo.generation.generator import Generator
    from sijo.generation.synthetic import Synthesis

    format, kinds = format_of(options.output), kinds_of(options.for_labels)
    settings = settings_of(writing, options)
    check = checked_by(options.checked_by, [kind.label for kind in kinds])
    synthesis = Synthesis(call_with(Generator, writing), kinds, settings, check=check)
    with whole_file(options.output) as out:
        with RowProgress(shown=not options.quiet) as progress:
            for written in synthesis.write():
                progress.add(written - progress.rows, written / synthesis.drafts)
        texts = synthesis.best()
        write_rows(texts, format, out)
    if not options.quiet:
        show(synthesis, texts)
        tell(f"{len(texts):,} rows in {options.output}")


def checked_by(model: str | None, labels: list[str]) -> "Check | None":
    """What gives texts one of the labels, by the model of --checked-by; None without one."""
    if model is None:
        return None
    from sijo.zeroshot.classifier import ZeroShotClassifier

    classifier = ZeroShotClassifier(labels=labels, model=model).fit()
    return lambda texts: [str(name) for name in classifier.predict(list(texts))]


def settings_of(writing: GenerateSettings, options: SynthesisOptions) -> "SyntheticSettings":
    """The settings by the command line, with SuperGen's numbers where it is silent."""
    from sijo.generation.rules import Sampling
    from sijo.generation.synthetic import SAMPLING, SyntheticSettings

    silent = writing.top_k is None and writing.top_p is None and writing.min_p is None
    return call_with(
        SyntheticSettings,
        writing,
        drafts=options.drafts,
        min_new_tokens=options.min_new_tokens,
        stop=("\n",) if writing.stop is None else tuple(writing.stop),
        banned=tuple(writing.banned or ()),
        sampling=call_with(
            Sampling,
            writing,
            temperature=SAMPLING.temperature if writing.temperature is None else writing.temperature,
            top_k=SAMPLING.top_k if silent else writing.top_k,
        ),
    )


def write_rows(texts: "list[SyntheticText]", format: Any, out: Any) -> None:
    """The texts as a table."""
    import pyarrow as pa

    from sijo.files.row_writers import WRITERS, ColumnPlan, OutputRows

    types = {"text": pa.string(), "label": pa.string(), "mean_logprob": pa.float64(), "seed": pa.int64()}
    columns = {name: pa.array([getattr(text, name) for text in texts], kind) for name, kind in types.items()}
    piece = OutputRows(pa.table({"text": columns.pop("text")}), pa.table(columns), "csv")
    writer = WRITERS[format](out, ColumnPlan.of([piece]))
    writer.write(piece)
    writer.close()


def show(synthesis: "Synthesis", texts: "list[SyntheticText]") -> None:
    """Print how many texts of each label were kept and why others were not, on standard error."""
    table = Table("label", box=None, pad_edge=False)
    for name in ("written", "too short", "bad", "repeated", "doubted", "kept", "mean log p"):
        table.add_column(name, justify="right")
    for label, fates in synthesis.fates.items():
        kept = [text.mean_logprob for text in texts if text.label == label]
        counts = [*(fates[fate] for fate in ("written", "short", "bad", "repeated", "doubted")), len(kept)]
        table.add_row(label, *(f"{count:,}" for count in counts), f"{sum(kept) / len(kept):.2f}")
    print_shown(table, stderr=True)
