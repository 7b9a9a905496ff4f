"""A run's teacher: opened once, compared with its student before a run is begun, its lessons cached on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from safetensors.torch import load as unpack
from safetensors.torch import save as pack

from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import Model, load
from sijo.errors import SettingError, warn
from sijo.files.cache import SqliteCache
from sijo.inference.engine import lowered
from sijo.jobs.run_settings import RunSettings
from sijo.objectives.language_teacher import LanguageTeacher, Lesson
from sijo.tokenizers.tokenizer import Tokenizer


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


def open_teacher(settings: RunSettings, tokenizer: Tokenizer) -> tuple[Model, LanguageTeacher]:
    """The model that teaches, with the head that the student learns by, and the `LanguageTeacher` over it.

    tokenizer  the student's

    Raises SettingError for a teacher without that head, or that cannot teach what is wanted.
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
    model = load(wanted.model, head)
    if wanted.vectors and (prompt := model.sentence.prompt(None)):
        warn(f"{wanted.model} puts {prompt!r} before each text, and its vectors are learned here without it")
    same_tokens = tokenizer.text_fingerprint == model.tokenizer.text_fingerprint

    def translate(ids: Sequence[int]) -> list[int]:
        text = tokenizer.decode(ids)
        return model.tokenizer.windows([lowered(text) if model.sentence.lowercase else text])[0][0]

    lessons = None
    if wanted.cache is not None:  # by the teacher and what is wanted of it alone: no weights of the loss
        parts = wanted.of_tokens, wanted.cosine > 0, wanted.relations > 0, wanted.vectors > 0
        numbers = str((wanted.temperature, wanted.top, wanted.relation_layer, parts))
        about = (model.fingerprint, head or "", numbers, "" if same_tokens else tokenizer.fingerprint)
        digest = blake2b("\n".join(about).encode(), digest_size=32).hexdigest()
        lessons = LessonCache(Path(wanted.cache), digest)
    return model, LanguageTeacher(
        model,
        wanted,
        head=head,
        pooling=model.sentence.pooling,
        lessons=lessons,
        top=wanted.top,
        translate=None if same_tokens else translate,
    )
