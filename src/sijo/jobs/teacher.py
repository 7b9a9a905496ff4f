"""A run's teachers: compared with their student before a run is begun, opened once, their lessons cached."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
from safetensors.torch import load as unpack
from safetensors.torch import save as pack

from sijo.checkpoints.describe import FolderDescription, describe
from sijo.checkpoints.load import Model, load
from sijo.data.samples import Samples
from sijo.errors import SettingError
from sijo.files.cache import SqliteCache
from sijo.inference.encode import engine_of
from sijo.inference.vector_cache import VectorCache
from sijo.jobs.run_folder import model_words
from sijo.jobs.run_settings import BesideTeacher, RunSettings, TeacherSettings
from sijo.nn.cost import flops_per_token
from sijo.nn.encoder_decoder import must_be_single
from sijo.objectives.distillation import Distillation
from sijo.objectives.language_teacher import LanguageTeacher, Lesson
from sijo.objectives.posed_batch import unposed
from sijo.objectives.text_teacher import TextTeacher
from sijo.tokenizers.coverage import coverage
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.training.cost import training_flops

MANY_UNREAD = 0.1
"""Share of words that a teacher cannot read, from which it is told."""
LOOKED_AT = 1_024
"""Texts of a corpus of which it is told for how many each teacher speaks; the next as many, if for none."""


@dataclass
class LessonCache:
    """A teacher's lessons on disk, a file for each teacher and choice of outputs, made at the first use."""

    folder: Path
    """Where."""
    fingerprint: str
    """Of the teacher, and the outputs that are wanted."""

    @cached_property
    def _cache(self) -> SqliteCache:
        return SqliteCache(self.folder, fingerprint=self.fingerprint, columns="lesson BLOB")

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Lesson]:
        """Those that are cached."""
        return {key: unpack(packed) for key, (packed,) in self._cache.get(keys).items()}

    def put(self, lessons: Mapping[bytes, Lesson]) -> None:
        """Cache lessons."""
        packed = {key: {name: part.clone() for name, part in lesson.items()} for key, lesson in lessons.items()}
        self._cache.put({key: (pack(lesson),) for key, lesson in packed.items()})


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """Who teaches a run's student."""

    model: Model
    """The first one, opened: the student begins with its layers and tables, and makes vectors as it does."""
    language: LanguageTeacher
    """What it says of the very tokens that the student reads, if it is asked."""
    texts: tuple[TextTeacher, ...]
    """Those that read what was written; the first is among them where it does not read the student's own tokens."""
    described: Mapping[str, FolderDescription]
    """What each of those is, by name."""

    @property
    def sentence_encoder(self) -> bool:
        """Whether the student learns from several sentence encoders, and so is one."""
        return self.texts[-1:] != () and self.texts[-1].among_others


def open_teachers(settings: RunSettings, tokenizer: Tokenizer) -> Teachers:
    """The models that teach: the first with the head that the student learns by, further ones when they are read.

    tokenizer  the student's

    Raises SettingError for a teacher without that head, one that is no sentence encoder beside others, one that is
    there twice, or that cannot teach what is wanted.
    """
    wanted = settings.teacher
    assert wanted is not None
    heads = [spec.head for spec in settings.objective.specs.values()]
    head = heads[0] if heads and wanted.of_tokens else None
    if head is not None and head not in describe(wanted.model).heads:
        raise SettingError(
            f"{wanted.model} has no {head} head, so it gives no distributions over tokens; choose another "
            "teacher, or learn its states: sijo distill minilm or sentence"
        )
    _must_differ(settings)
    model = load(wanted.model, head)
    must_be_single(model.architecture, "nothing is learned from its layers; fine-tuning may have it for a teacher")
    same_tokens = tokenizer.text_fingerprint == model.tokenizer.text_fingerprint
    reads_texts = _reads_texts(settings, same_tokens)
    texts: dict[str, TeacherSettings | BesideTeacher] = {wanted.name: wanted} if reads_texts else {}
    texts |= settings.beside
    described = {name: describe(teacher.model) for name, teacher in texts.items()}
    return Teachers(
        model=model,
        language=LanguageTeacher(
            model,
            wanted,
            head=head,
            pooling=model.sentence.pooling,
            lessons=_lessons(wanted, model, head),
            top=wanted.top,
            reads_texts=reads_texts,
            same_tokens=same_tokens,
        ),
        texts=tuple(_text_teacher(settings, name, teacher, described[name]) for name, teacher in texts.items()),
        described=described,
    )


def _reads_texts(settings: RunSettings, same_tokens: bool) -> bool:
    """Whether what the first teacher says of whole texts is of what was written, not of the student's tokens."""
    wanted = settings.teacher
    assert wanted is not None
    if not (wanted.vectors or wanted.text_relations):
        if wanted.scripts or wanted.prompt is not None:
            raise SettingError(
                "teacher.scripts and teacher.prompt are about whole texts, of which nothing is learned from it; "
                "set teacher.vectors or teacher.text_relations above 0, or leave them out"
            )
        return False
    sentence = describe(wanted.model).sentence
    alone = same_tokens and not settings.beside and not sentence.learned_steps  # they are on no token
    prompt = sentence.prompt(wanted.prompt)
    return bool(not alone or prompt or wanted.scripts or wanted.text_relations or wanted.vectors_by == "map")


def _must_differ(settings: RunSettings) -> None:
    """Refuse a teacher that is there twice."""
    assert settings.teacher is not None
    if not settings.beside:
        return
    seen: dict[str, str] = {}
    models = {settings.teacher.name: settings.teacher.model}
    for name, model in (models | {name: teacher.model for name, teacher in settings.beside.items()}).items():
        [digest] = model_words(teacher=model).values()
        if digest in seen:
            raise SettingError(
                f"the teachers {seen[digest]} and {name} are the same model ({model or 'the built-in one'}); name "
                "it once, and give it more weight if it is to count for more"
            )
        seen[digest] = name


def _text_teacher(
    settings: RunSettings, name: str, wanted: TeacherSettings | BesideTeacher, described: FolderDescription
) -> TextTeacher:
    """A teacher that is opened when it is first asked, where the student computes."""
    several = bool(settings.beside)
    if several and not described.sentence.trained:
        raise SettingError(
            f"the teacher {name} ({wanted.model}) is no sentence encoder: it has no modules.json, so nothing says "
            "that its vectors mean anything; choose one that was trained for vectors of texts"
        )
    described.sentence.prompt(wanted.prompt)  # a name that it does not know is refused now
    kept = settings.teacher and settings.teacher.cache
    return TextTeacher(
        name=name,
        teaching=wanted,
        width=described.sentence.width(described.architecture.hidden_size),
        read=_reader(wanted, Path(kept) if kept else None),
        among_others=several,
    )


def _reader(
    wanted: TeacherSettings | BesideTeacher, kept: Path | None
) -> Callable[[Sequence[str], str], np.ndarray]:
    """What reads texts as `sijo encode` does, and keeps their vectors where a folder is given."""

    @cache
    def opened(device: str):  # type: ignore[no-untyped-def]
        whole = describe(wanted.model)
        width = whole.sentence.width(whole.architecture.hidden_size)
        engine = engine_of(
            wanted.model, backend="torch", device=device, keep_open=False, prompt=wanted.prompt, dimensions=width
        )
        engine.store = None if kept is None else VectorCache(kept, fingerprint=engine.fingerprint)
        return engine

    return lambda texts, device: np.asarray(opened(device).encode(texts).vectors)


def _lessons(wanted: TeacherSettings, model: Model, head: str | None) -> LessonCache | None:
    """Where answers about tokens are kept: by the teacher and what is wanted of it, not by weights of the loss."""
    if wanted.cache is None:
        return None
    parts = wanted.of_tokens, wanted.cosine > 0, wanted.relations > 0, wanted.vectors > 0
    numbers = str((wanted.temperature, wanted.top, wanted.relation_layer, parts))
    digest = blake2b("\n".join((model.fingerprint, head or "", numbers)).encode(), digest_size=32).hexdigest()
    return LessonCache(Path(wanted.cache), digest)


def introduce(
    teachers: Teachers, student: Distillation, samples: Samples, settings: RunSettings, tell: Callable[[str], None]
) -> None:
    """Tell for how many of the texts each teacher of texts speaks, and what its reading costs.

    Raises SettingError for one that speaks for none of the corpus.
    """
    if student.texts is None:
        return
    size, seed = min(LOOKED_AT, len(samples)), settings.run.seed
    posed = student.texts.posed(unposed(samples.batch(0, size, seed=seed)))
    length = sum(posed.lengths) / len(posed)
    training = training_flops([student.student], length, share=student.share)
    for column, teacher in enumerate(teachers.texts):
        heard = [text for text in posed.texts or () if teacher.speaks_for(text)]
        share = len(heard) / size
        reading = flops_per_token(teachers.described[teacher.name].architecture, length, training=False)
        tell(
            f"the teacher {teacher.name} speaks for {share:.0%} of the first {size:,} texts; reading them costs "
            f"{share * reading / training:.0%} of what training on all does"
        )
        at = size
        unread = coverage(teachers.described[teacher.name].tokenizer, heard).share if heard else 0.0
        if unread >= MANY_UNREAD:
            tell(
                f"{unread:.0%} of the words in these are unknown to its tokenizer, or spelled letter by letter, as "
                "happens in a language that it has not learned; its scripts can leave such texts to others"
            )
        while not share and at < len(samples):
            more = student.texts.posed(unposed(samples.batch(at, size, seed=seed)))
            assert more.spoken_for is not None
            share, at = more.spoken_for[:, column].float().mean().item(), at + size
        if not share:
            raise SettingError(
                f"the teacher {teacher.name} speaks for texts in {', '.join(teacher.teaching.scripts)} alone, and "
                "no text of the corpus has only such letters; change its scripts, or leave it out"
            )
