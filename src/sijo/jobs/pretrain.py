"""From settings and text to a finished model: prepare, build once, train, export what was built.

OUT/settings.json   all that decides the run, but its text
OUT/text.json       what text that is
OUT/tokenizer/      the tokenizer, where it was trained here, or got control codes that it did not know
OUT/corpus/         the shards, where they were prepared here
OUT/checkpoints/    where it can be resumed (`training/state.py`)
OUT/metrics.jsonl   losses and rates (`training/journal.py`)
OUT/model/          the model; for rtd OUT/discriminator/ and OUT/generator/
"""

from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from sijo.checkpoints.locate import locate
from sijo.data.samples import Samples
from sijo.data.shards import Corpus
from sijo.jobs.export import export
from sijo.jobs.networks import build, check_teachers
from sijo.jobs.prepare import CorpusSource, given_tokenizer, open_tokenizer, prepare_run
from sijo.jobs.run_folder import model_words, take_run_folder
from sijo.jobs.run_settings import RunSettings
from sijo.jobs.teacher import introduce, open_teachers
from sijo.objectives.distillation import Distillation
from sijo.training.distributed import join
from sijo.training.journal import Journal
from sijo.training.loop import Training
from sijo.training.step import Step
from sijo.training.trackers import check_tracker


def pretrain(
    settings: RunSettings,
    source: CorpusSource,
    out: Path,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Generator[Step, None, bool]:
    """Run a recipe from raw text to a finished model; yields each step when it is done.

    settings  a recipe's, changed or not
    source    the text that it reads
    out       the run's folder
    resume    continue the run in that folder, with the same settings; or begin
    stop      called before every step; True saves and ends the run
    tell      called with each message for a person

    Under `torchrun` every process makes this call, and the first one writes.

    Returns whether the run is finished. Raises SettingError for what cannot be done, before anything is begun, and
    what `Training.steps` raises.
    """
    loop = settings.run
    check_tracker(loop.tracker)
    source.check()
    models = {"model": settings.start.model, "generator": settings.start.generator}
    models = {name: model for name, model in models.items() if model is not None}
    for model in models.values():
        locate(model)
    teachers = None
    if settings.teacher is not None:
        tokenizer = open_tokenizer(settings, given_tokenizer(settings, source))
        teachers = open_teachers(settings, tokenizer)
        check_teachers(settings, tokenizer, teachers)
        models["teacher"] = settings.teacher.model
        models |= {f"teacher {name}": teacher.model for name, teacher in settings.beside.items()}
    reads = teachers is not None and bool(teachers.texts)
    with ExitStack() as stack:
        world = stack.enter_context(join(strategy=loop.strategy, timeout=loop.timeout, device=loop.device))
        with world.first_alone("prepare") as first:
            if first:
                words = {name: value for name, value in asdict(source).items() if name != "skip_bad"}
                words |= {"sources": [*source.sources], **model_words(**models)}
                if source.ready:
                    words["digest of the corpus"] = Corpus.open(Path(source.sources[0]), check=False).fingerprint
                stack.enter_context(take_run_folder(out, settings, "text.json", words, resume=resume))
                tokenizer, corpus = prepare_run(settings, source, out, tell, keep_text=reads)
        if not world.first:
            tokenizer, corpus = prepare_run(settings, source, out, tell, keep_text=reads)
        samples = Samples(corpus, tokenizer, settings.data)
        settings = settings.with_steps(len(samples))
        objective = build(settings, tokenizer, corpus, teachers)
        tell = tell if world.first else lambda sentence: None
        if isinstance(objective, Distillation) and teachers is not None:
            introduce(teachers, objective, samples, settings, tell)
            if objective.inherited:
                tell(f"the student begins with its teacher's {', '.join(objective.inherited)}")
        training = Training(settings, objective.to(world.device), samples, out, world=world, tell=tell)
        with Journal(out, settings, tokenizer, step=training.state.step, writes=world.first) as journal:
            for step in training.steps(stop):
                journal.add(step)
                if step.checkpoint:
                    training.save()
                yield step
        if training.finished:
            export(settings, training, out)
        return training.finished
