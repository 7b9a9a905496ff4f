"""The networks of a run over raw text and what they learn, built once: fresh, from weights, or from a teacher."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import Model, create, load
from sijo.checkpoints.locate import locate
from sijo.checkpoints.vectors.steps import UnitLengthStep
from sijo.data.shards import Corpus
from sijo.errors import SettingError
from sijo.jobs.new_token_rows import new_token_ids, train_only_rows, with_new_rows
from sijo.jobs.prepare import open_tokenizer, token_counts
from sijo.jobs.run_settings import RunSettings
from sijo.jobs.student import check_layers, init_from_teacher, translated_rows
from sijo.jobs.teacher import Teachers
from sijo.models import family_for, new_layout
from sijo.nn.architecture import Architecture, Learned
from sijo.nn.encoder_decoder import must_be_single
from sijo.nn.head_specs import HeadSpec
from sijo.objectives.distillation import Distillation, check_comparable
from sijo.objectives.objective import Joint, TrainingObjective
from sijo.objectives.text_teacher import TextTeachers, check_text_teachers
from sijo.tokenizers.tokenizer import Tokenizer


def build(
    settings: RunSettings, tokenizer: Tokenizer, corpus: Corpus | None = None, teachers: Teachers | None = None
) -> TrainingObjective:
    """The objective of a run with its networks, fresh from the run's seed or begun from other weights.

    corpus    whose tokens are counted, where rare ones are masked rather than frequent ones
    teachers  what `open_teachers` gave, where the settings have a teacher
    """
    torch.manual_seed(settings.run.seed)
    wanted, started = settings.objective, settings.start.model is not None
    networks = {
        folder: _network(settings, folder, heads, tokenizer, teachers) for folder, heads in wanted.networks.items()
    }
    for network in networks.values():
        network.transformer.recompute = settings.run.recompute
    by_count = wanted.masking.choice == "frequency" or teachers is not None
    counts = token_counts(corpus, tokenizer) if by_count and corpus is not None else None
    if len(networks) > 1:
        [spec] = wanted.specs.values()
        made: TrainingObjective = spec.load().build(networks, wanted, tokenizer, counts, started)
        return made
    network = networks["model"]
    objectives = [spec.load().build(wanted, tokenizer, counts) for spec in wanted.specs.values()]
    if teachers is not None and settings.teacher is not None:
        model, texts = teachers.model, None
        if teachers.texts:
            width = model.sentence.pooled_width(network.architecture.hidden_size)
            texts = TextTeachers(teachers.texts, width, tokenizer.decode)
        own, pooling = next(iter(objectives), None), model.sentence.pooling
        student = Distillation(network, teachers.language, own, pooling=pooling, texts=texts)
        rows = None
        if not teachers.language.same_tokens:
            rows = translated_rows(tokenizer, model.tokenizer, model.transformer.embeddings.tokens.weight)
        layers = () if started else settings.teacher.layers
        student.inherited = init_from_teacher(network, model, layers, counts=counts, rows=rows)
        return student
    joint = Joint(network, objectives)
    if settings.start.train == "codes":
        rows_of_codes = new_token_ids(open_tokenizer(settings, locate(settings.start.model)), tokenizer)
        if not rows_of_codes:
            raise SettingError(
                f'start.train="codes" moves the rows of control codes that {settings.start.model} does not know, '
                "and it knows all of these; leave it out, or give texts with a code of their own"
            )
        train_only_rows(joint, rows_of_codes)
    return joint


def check_teachers(settings: RunSettings, tokenizer: Tokenizer, teachers: Teachers) -> None:
    """Refuse a student that its teachers cannot teach, before a run is begun and the student built."""
    assert settings.teacher is not None
    if settings.start.model is None:
        student = _student(settings.model, tokenizer, teachers)
        check_layers(student, teachers.model.architecture, settings.teacher.layers)
        check_comparable(student, teachers.language, learns=bool(settings.objective.parts))
        check_text_teachers(teachers.texts, teachers.model.sentence.pooled_width(student.hidden_size))


def head_specs(settings: RunSettings) -> Iterator[tuple[Architecture, dict[str, HeadSpec]]]:
    """The networks of a run as values, each with the heads it learns by."""
    for folder, names in settings.objective.networks.items():
        architecture = _architecture(settings, folder)
        family, fields = family_for(architecture)
        config = family.config.read(fields)
        yield architecture, {name: new_layout(family, config, name).head(config) for name in names}


def _architecture(settings: RunSettings, folder: str) -> Architecture:
    architecture = settings.generator if folder == "generator" else settings.model
    assert architecture is not None
    return architecture


def _student(architecture: Architecture, tokenizer: Tokenizer, teachers: Teachers | None) -> Architecture:
    """The architecture with a row for each token, and as many places behind padding's where that has a row; a
    teacher's own tokenizer leaves its table as long as it was."""
    positions, places, pad = architecture.positions, architecture.places, tokenizer.pad_id
    if isinstance(positions, Learned) and positions.padding not in (None, pad) and places is not None:
        architecture = replace(architecture, positions=Learned(count=places + pad + 1, padding=pad))
    if teachers is not None and teachers.language.same_tokens:
        return architecture
    return replace(architecture, vocab_size=tokenizer.largest_id + 1)


def _network(
    settings: RunSettings, folder: str, heads: list[str], tokenizer: Tokenizer, teachers: Teachers | None
) -> Model:
    start = settings.start.generator if folder == "generator" else settings.start.model
    if start is not None:
        return _continued(start, heads, tokenizer, settings.data.length)
    architecture = _student(_architecture(settings, folder), tokenizer, teachers)
    model = create(architecture, heads, tokenizer=tokenizer)
    if teachers is not None:
        sentence = teachers.model.sentence
        trained = sentence.trained or teachers.sentence_encoder
        # it learns a text's vector from the text alone, whatever stood before it for a teacher, and by its own
        # pooling: the modules with which a teacher makes that vector are not the student's
        plain = replace(sentence, prompts={}, default_prompt=None, include_prompt=True)
        scaled = (UnitLengthStep(),) if sentence.normalized else ()
        model.sentence = replace(plain, trained=trained, steps=scaled)
    return model


def _continued(start: str, heads: list[str], tokenizer: Tokenizer, length: int) -> Model:
    """A model to go on from, with rows for tokens that only the run's tokenizer has."""
    described = describe(start)
    must_be_single(described.architecture, "what it learns from text alone, to mend a spoiled one, is not built")
    held = described.heads
    model = load(start, [name if name in held else f"new:{name}" for name in heads])
    if model.has_tokenizer and new_token_ids(model.tokenizer, tokenizer):
        model = with_new_rows(model, tokenizer)
    known, places = model.architecture.vocab_size, model.architecture.places
    if tokenizer.largest_id >= known:
        raise SettingError(
            f"{start} knows {known} tokens, and the tokenizer numbers them up to {tokenizer.largest_id}; use the "
            "model's own tokenizer"
        )
    if places is not None and places < length:
        raise SettingError(f"data.length={length} is longer than the {places} places of {start}")
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # no longer mapped from the file
    return model
