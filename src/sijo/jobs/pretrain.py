"""From settings and text to a finished model: tokenizer, corpus, networks, the loop, and what is left at the end.

OUT/settings.json   all that decides the run, but its text
OUT/text.json       what text that is
OUT/tokenizer/      the tokenizer, where it was trained here, or got control codes that it did not know
OUT/corpus/         the shards, where they were prepared here
OUT/checkpoints/    where it can go on (`state.py`)
OUT/metrics.jsonl   what happened (`watch.py`)
OUT/model/          the model; for rtd OUT/discriminator/ and OUT/generator/
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sijo.checkpoints.card import Card, Metric, licence
from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import Model, create, load
from sijo.checkpoints.locate import locate
from sijo.checkpoints.save import save
from sijo.data.corpus import documents, open_source, sources
from sijo.data.samples import Samples
from sijo.data.shards import Corpus, PreparationProgress, prepare
from sijo.errors import CheckpointError, SettingError, TextError
from sijo.files.folders import read_object, whole_folder
from sijo.jobs.new_token_rows import merge_rows, new_token_ids, train_only_rows, with_new_rows
from sijo.jobs.run_folder import take_run_folder
from sijo.jobs.student import distillation_objective
from sijo.models import family_for, new_layout, tokenizer_family, tokenizer_style
from sijo.nn.architecture import Architecture
from sijo.nn.head_specs import HeadSpec
from sijo.objectives.clm import CausalLM
from sijo.objectives.distillation import PARTS, Distillation
from sijo.objectives.joint import Joint, Objective, TrainingObjective
from sijo.objectives.mlm import MaskedLM
from sijo.objectives.rtd import ReplacedTokenDetection
from sijo.objectives.sop import SentenceOrder
from sijo.tokenizers.codes import code_token, known_codes
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.tokenizers.train import train_tokenizer
from sijo.training import state
from sijo.training.distributed import join
from sijo.training.journal import Journal, check_tracker, read_lines
from sijo.training.loop import Run, Step, train
from sijo.training.optimizers import fill
from sijo.training.settings import RunSettings, setting_leaves

EVERY_SECONDS = 10.0
"""Between two words about the corpus."""
PLACES = ("start.model", "start.generator", "teacher.model", "teacher.cache")
"""Settings that are paths of this machine, of which a card tells the last part or nothing."""
TASKS = {"mlm": "fill-mask", "lm": "text-generation"}
"""What the Hub calls that which a head does."""
HEADS = {"mlm": "mlm", "sop": "sop", "clm": "lm", "rtd": "rtd"}
"""Which head each part of an objective trains."""


@dataclass(frozen=True, kw_only=True)
class CorpusSource:
    """What a run reads."""

    sources: Sequence[str]
    """Files, folders, globs, `code=PATH`; or the one folder of a prepared corpus."""
    column: str | None = None
    """The column with the text."""
    code_column: str | None = None
    """The column with each document's control code."""
    skip_bad: bool = False
    """Whether files that cannot be read are named and skipped."""
    tokenizer: str | None = None
    """A folder or org/name whose tokenizer is used; None to train one, or to use that of `start`."""


def pretrain(
    settings: RunSettings,
    text: CorpusSource,
    out: Path,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda sentence: None,
    begun: Callable[[Run], None] = lambda run: None,
) -> Iterator[Step]:
    """Run a recipe from raw text to a finished model; yields each step when it is done.

    settings  a recipe's, changed or not
    text      what it reads
    out       the run's folder
    resume    go on where a run in that folder stopped, with the same settings; or begin
    stop      asked before every step: whether to save and leave
    tell      where words for a person go
    begun     called once with all that the loop works with, before the first step

    Under `torchrun` every process makes this call, and the first one writes.

    Raises SettingError for what cannot be done, before anything is begun, and what `train` raises.
    """
    loop = settings.run
    _check(settings, text)
    with ExitStack() as stack:
        joined = join(strategy=loop.strategy, timeout=loop.timeout, device=loop.device)
        world = stack.enter_context(joined)
        with world.first_alone("prepare") as first:
            if first:
                stack.callback(os.close, _begin(settings, text, out, resume=resume))
                tokenizer, corpus = _prepared(settings, text, out, tell)
        if not world.first:
            tokenizer, corpus = _prepared(settings, text, out, tell)
        samples = Samples(corpus, tokenizer, settings.data)
        settings = settings.lasting(len(samples))
        objective = assemble(settings, tokenizer, corpus).to(world.device)
        if isinstance(objective, Distillation) and objective.begun and world.first:
            tell(f"the student begins with its teacher's {', '.join(objective.begun)}")
        run = Run(
            settings=settings,
            objective=objective,
            samples=samples,
            folder=out,
            watch=stack.enter_context(Journal(out, settings, tokenizer, writes=world.first)),
            world=world,
            stop=stop,
            tell=tell if world.first else lambda sentence: None,
        )
        begun(run)
        yield from train(run)
        if run.finished:
            with world.first_alone("export") as first:
                if first:
                    export(settings, tokenizer, out)


def assemble(settings: RunSettings, tokenizer: Tokenizer, corpus: Corpus | None = None) -> TrainingObjective:
    """The objective with its network or networks, fresh from the run's seed or begun from other weights.

    corpus  whose tokens are counted, where rare ones are asked for rather than frequent ones
    """
    wanted, networks = settings.objective, _networks(settings, tokenizer)
    for network in networks.values():
        network.transformer.recompute = settings.run.recompute
    by_count = wanted.masking.choice == "frequency" or settings.teacher is not None
    counts = _counted(corpus, tokenizer) if by_count else None
    if wanted.parts == ("rtd",):
        return ReplacedTokenDetection(
            networks["generator"],
            networks["discriminator"],
            MaskedLM(wanted.masking, tokenizer, counts),
            sharing=wanted.sharing,
            weight=wanted.weight,
            started=settings.start.model is not None,
        )
    if settings.teacher is not None:
        own: MaskedLM | CausalLM | None = None
        if wanted.parts:
            own = CausalLM() if "clm" in wanted.parts else MaskedLM(wanted.masking, tokenizer, counts)
        begun = settings.start.model is not None  # from weights of its own, then
        teacher = replace(settings.teacher, layers=()) if begun else settings.teacher
        return distillation_objective(teacher, networks["model"], own, tokenizer, counts)
    made: dict[str, Callable[[], Objective]] = {
        "sop": SentenceOrder,  # first, since it moves the tokens that mlm hides
        "mlm": lambda: MaskedLM(wanted.masking, tokenizer, counts),
        "clm": CausalLM,
    }
    joint = Joint(networks["model"], [make() for part, make in made.items() if part in wanted.parts])
    if settings.start.train == "codes":
        rows = new_token_ids(_opened(settings, locate(settings.start.model)), tokenizer)
        if not rows:
            raise SettingError(
                f'start.train="codes" moves the rows of control codes that {settings.start.model} does not know, '
                "and it knows all of these; leave it out, or give texts with a code of their own"
            )
        train_only_rows(joint, rows)
    return joint


def export(settings: RunSettings, tokenizer: Tokenizer, out: Path) -> list[Path]:
    """Make models of a run's newest checkpoint, in Hugging Face layout; returns their folders.

    What is kept is the average of the weights where the run has one, and tables with their offset
    added. Raises CheckpointError when there is no whole checkpoint.
    """
    found = state.newest(out / "checkpoints")
    if found is None:
        raise CheckpointError(f"{out} has no whole checkpoint to make a model of; run it again with --resume")
    objective = assemble(settings, tokenizer)
    fill(dict(objective.named_parameters()), found.weights | _averaged(found.average), "weights of the run")
    merge_rows(objective)
    folders = []
    for name, model in _networks(settings, tokenizer).items():
        model.load_state_dict(objective.networks()[name])
        folders.append(save(model, out / name, card=_card(settings, model, out), overwrite=True))
    return folders


def _card(settings: RunSettings, model: Model, out: Path) -> Card:
    """What there is to say of a model that a run leaves: what it read, whom it learned from, how well at last."""
    teacher, last = settings.teacher, read_lines(out / "metrics.jsonl")[-1:]
    sources = read_object(out / "text.json")["sources"] if (out / "text.json").is_file() else []
    tasks = [task for head, task in TASKS.items() if head in model.head_values]
    return Card(
        title=settings.recipe or "a model of sijo",
        task="sentence-similarity" if model.sentence.trained else next(iter(tasks), None),
        base_model=settings.start.model,
        teacher=None if teacher is None else locate(teacher.model).name,
        teacher_licence=None if teacher is None else licence(locate(teacher.model)),
        data={Path(source).name: None for source in sources},
        metrics=[
            Metric(f"loss: {part}", line[part], None, None, None)
            for line in last
            for part in line
            if f"{part}_right" in line or part in PARTS
        ],
        measured_on="the text it learned from, at the end",
        settings={path: value for path, value in setting_leaves(settings.to_json()) if path not in PLACES},
    )


def _counted(corpus: Corpus | None, tokenizer: Tokenizer) -> np.ndarray:
    """How often each token occurs in a corpus, (V,) int64; read shard by shard."""
    counts = np.zeros(tokenizer.largest_id + 1, dtype=np.int64)
    for shard in () if corpus is None else corpus.shards:
        for start in range(0, len(shard.tokens), 1 << 24):
            counts += np.bincount(shard.tokens[start : start + (1 << 24)], minlength=len(counts))
    return counts


def _averaged(average: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in average.items() if name != "updates"}


def _check(settings: RunSettings, text: CorpusSource) -> None:
    """Refuse what is sure to fail, before a folder is begun."""
    check_tracker(settings.run.tracker)
    if not _ready(text):
        for source in sources(text.sources):
            with suppress(TextError) if text.skip_bad else nullcontext():
                open_source(source, column=text.column, code_column=text.code_column)
    for model in (text.tokenizer, settings.start.model, settings.start.generator):
        if model is not None:
            locate(model)
    if settings.teacher is not None:  # made once for nothing: whether the two can be compared is then known
        tokenizer = _opened(settings, locate(text.tokenizer or settings.start.model or settings.teacher.model))
        assemble(replace(settings, teacher=replace(settings.teacher, cache=None)), tokenizer)


def _ready(text: CorpusSource) -> bool:
    """Whether the text is a corpus that was prepared before."""
    return len(text.sources) == 1 and (Path(text.sources[0]) / "index.json").is_file()


def _begin(settings: RunSettings, text: CorpusSource, out: Path, *, resume: bool) -> int:
    """Take a run's folder, new or begun with the same settings and text; returns the handle of its lock."""
    words = {name: value for name, value in asdict(text).items() if name != "skip_bad"}
    words["sources"] = [*text.sources]
    return take_run_folder(out, settings, "text.json", words, resume=resume)


def _prepared(
    settings: RunSettings, text: CorpusSource, out: Path, tell: Callable[[str], None]
) -> tuple[Tokenizer, Corpus]:
    """The run's tokenizer and corpus: given, there from before, or made now."""
    shards, ready = Path(text.sources[0]), _ready(text)
    given = text.tokenizer or settings.start.model
    place = like = own = out / "tokenizer"
    if given is not None:
        like = locate(given)
    elif settings.teacher is not None:
        like = locate(settings.teacher.model)
    if not own.exists():  # else it was trained, or got more codes, when this run was begun
        place = like
    if place == own and not own.exists():
        if ready:
            raise SettingError(
                f"{shards} is a prepared corpus; give the tokenizer that it was prepared with too (--tokenizer)"
            )
        tell("training a tokenizer")
        with whole_folder(place) as fresh:
            _trained(settings, text).save(fresh)
    tokenizer = _opened(settings, place, like=like)
    if ready:
        return tokenizer, Corpus.open(shards)
    if (out / "corpus").exists():
        return tokenizer, Corpus.open(out / "corpus")
    if place != own and settings.teacher is None:  # a student reads with the very tokens of its teacher
        known = known_codes(tokenizer)
        if new := [name for name in _codes(text) if name not in known]:
            tell(f"{given} does not know the control codes {', '.join(new)}: each gets a token of its own")
            with whole_folder(own) as fresh:
                tokenizer.with_specials([code_token(name) for name in new]).save(fresh)
            tokenizer = _opened(settings, own, like=like)
    told = [time.monotonic()]

    def progress(far: PreparationProgress) -> None:
        if time.monotonic() - told[0] > EVERY_SECONDS:
            told[0] = time.monotonic()
            tell(f"preparing the corpus: {far.share:.0%}, {far.documents:,} documents, {far.tokens:,} tokens")

    tell("preparing the corpus")
    corpus = prepare(
        sources(text.sources),
        tokenizer,
        out / "corpus",
        column=text.column,
        code_column=text.code_column,
        skip_bad=text.skip_bad,
        resume=True,
        tell=progress,
    )
    counts = corpus.counts
    tell(
        f"{counts.kept:,} documents, {corpus.tokens:,} tokens; left out: {counts.duplicates:,} duplicates, "
        f"{counts.empty:,} empty"
    )
    for file, fault in counts.bad.items():
        tell(f"skipped: {file}: {fault}")
    return tokenizer, corpus


def _opened(settings: RunSettings, place: Path, *, like: Path | None = None) -> Tokenizer:
    """The tokenizer in a folder, for inputs as long as the run's.

    like  where the model is whose tokenizer it is, or was before it got more codes
    """
    family: str = settings.tokenizer.family
    if (config := (like or place) / "config.json").is_file():
        family = str(read_object(config).get("model_type", family))
    return Tokenizer.open(place, tokenizer_family(family), max_length=settings.data.length)


def _trained(settings: RunSettings, text: CorpusSource) -> Tokenizer:
    """A tokenizer of the run's text; every control code that stands beside it becomes a token."""
    codes: set[str] = set()

    def sentences() -> Iterator[str]:
        for source in sources(text.sources):
            with suppress(TextError) if text.skip_bad else nullcontext():
                for document in documents(source, column=text.column, code_column=text.code_column):
                    if document.code is not None:
                        codes.add(document.code)
                    yield from document.sentences

    wanted = settings.tokenizer
    tokenizer, _ = train_tokenizer(
        sentences(),
        tokenizer_style(wanted.kind, wanted.family),
        vocab_size=wanted.vocab_size,
        cased=wanted.cased,
        max_length=settings.data.length,
    )
    return tokenizer.with_specials([code_token(code) for code in sorted(codes)]) if codes else tokenizer


def _codes(text: CorpusSource) -> list[str]:
    """The control codes that a text has, in order of their names; for those of a column all of it is read."""
    found = sources(text.sources)
    codes = {source.code for source in found if source.code is not None}
    for source in () if codes or text.code_column is None else found:
        with suppress(TextError) if text.skip_bad else nullcontext():
            for document in documents(source, column=text.column, code_column=text.code_column):
                codes.add(str(document.code))
    return sorted(codes)


def heads(settings: RunSettings) -> Iterator[tuple[Architecture, dict[str, HeadSpec]]]:
    """The networks of a run as values, each with the heads it learns by."""
    for architecture, names in _wanted(settings).values():
        family, fields = family_for(architecture)
        config = family.config.read(fields)
        yield architecture, {name: new_layout(family, config, name).head(config) for name in names}


def _wanted(settings: RunSettings) -> dict[str, tuple[Architecture, list[str]]]:
    """Networks by the folder they will be left in, and the names of their heads."""
    parts = settings.objective.parts
    if parts == ("rtd",) and settings.generator is not None:
        return {"generator": (settings.generator, ["mlm"]), "discriminator": (settings.model, ["rtd"])}
    return {"model": (settings.model, [HEADS[part] for part in ("sop", "mlm", "clm") if part in parts])}


def _networks(settings: RunSettings, tokenizer: Tokenizer) -> dict[str, Model]:
    """The networks of a run by the folder they will be left in, fresh or begun from others."""
    torch.manual_seed(settings.run.seed)
    starts = {"generator": settings.start.generator}
    return {
        name: _network(architecture, names, starts.get(name, settings.start.model), tokenizer, settings)
        for name, (architecture, names) in _wanted(settings).items()
    }


def _network(
    architecture: Architecture, names: list[str], start: str | None, tokenizer: Tokenizer, settings: RunSettings
) -> Model:
    if start is None:
        teacher = None if settings.teacher is None else load(settings.teacher.model)
        if teacher is None or teacher.tokenizer.text_fingerprint != tokenizer.text_fingerprint:
            architecture = replace(architecture, vocab_size=tokenizer.largest_id + 1)
        model = create(architecture, names, tokenizer=tokenizer)
        if teacher is not None:
            model.sentence = teacher.sentence
        return model
    held = describe(start).heads
    model = load(start, [name if name in held else f"new:{name}" for name in names])
    if model.has_tokenizer and new_token_ids(model.tokenizer, tokenizer):
        model = with_new_rows(model, tokenizer)
    known, places = model.architecture.vocab_size, model.architecture.places
    if tokenizer.largest_id >= known:
        raise SettingError(
            f"{start} knows {known} tokens, and the tokenizer numbers them up to {tokenizer.largest_id}; use the "
            "model's own tokenizer"
        )
    if places is not None and places < settings.data.length:
        raise SettingError(f"data.length={settings.data.length} is longer than the {places} places of {start}")
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # no longer mapped from the file
    return model
