"""What a run over raw text reads: a tokenizer and a corpus, given, there from before, or made now."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sijo.checkpoints.locate import locate
from sijo.data.corpus import Document, documents, must_concern, open_source, sources
from sijo.data.prepare_shards import PreparationProgress, prepare
from sijo.data.shards import Corpus
from sijo.errors import SettingError, TextError
from sijo.files.atomic import whole_folder
from sijo.files.inputs.sources import TextReading
from sijo.files.json_files import read_object
from sijo.files.paths import present
from sijo.files.records import AS_TOLD
from sijo.jobs.run_settings import RunSettings
from sijo.models import tokenizer_family, tokenizer_style
from sijo.tokenizers.codes import code_token, known_codes
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.tokenizers.train import train_tokenizer

EVERY_SECONDS = 10.0
"""Between two words about the corpus."""


@dataclass(frozen=True, kw_only=True)
class CorpusSource:
    """What a run reads."""

    sources: Sequence[str]
    """Files, folders, globs, `code=PATH`; or the one folder of a prepared corpus."""
    column: str | None = None
    """The column with the text."""
    code_column: str | None = None
    """The column with each document's control code."""
    how: TextReading = AS_TOLD
    """What was said of the files beside their names."""
    skip_bad: bool = False
    """Whether files that cannot be read are named and skipped."""
    tokenizer: str | None = None
    """A folder or org/name whose tokenizer is used; None to train one, or to use that of `start`."""

    @property
    def ready(self) -> bool:
        """Whether the text is a corpus that was prepared before."""
        return len(self.sources) == 1 and (Path(self.sources[0]) / "index.json").is_file()

    def check(self) -> None:
        """Refuse what is sure to fail, before a run is begun."""
        files = [] if self.ready else sources(self.sources)
        must_concern(self.how, files)
        for file in files:
            with suppress(TextError) if self.skip_bad else nullcontext():
                open_source(file, column=self.column, code_column=self.code_column, how=self.how)
        if self.tokenizer is not None:
            locate(self.tokenizer)


def prepare_run(
    settings: RunSettings,
    source: CorpusSource,
    out: Path,
    tell: Callable[[str], None],
    *,
    keep_text: bool = False,
) -> tuple[Tokenizer, Corpus]:
    """The run's tokenizer and corpus: given, in its folder from before, or made there now.

    keep_text  keep what was written beside the tokens, for a teacher with another tokenizer
    """
    own, shards = out / "tokenizer", Path(source.sources[0])
    model = source.tokenizer or settings.start.model
    like = own if model is None and settings.teacher is None else given_tokenizer(settings, source)
    if like == own and not own.exists():
        if source.ready:
            raise SettingError(
                f"{shards} is a prepared corpus; give the tokenizer that it was prepared with too (--tokenizer)"
            )
        tell("training a tokenizer")
        with whole_folder(own) as fresh:
            _trained(settings, source).save(fresh)
    own_exists = own.exists()  # it was trained, or got more codes, when this run was begun
    tokenizer = open_tokenizer(settings, own if own_exists else like, like=like)
    if source.ready:
        corpus = Corpus.open(shards)
        if keep_text and not corpus.keeps_text:
            tell(
                f"{shards} keeps no text, so teachers read what its tokens spell, which need not be what was "
                "written; give the files that it was made of, and they read these"
            )
        return tokenizer, corpus
    made = (out / "corpus").exists()
    if not (made or own_exists) and settings.teacher is None:  # a student reads with the very tokens of its teacher
        known = known_codes(tokenizer)
        if new := [name for name in _codes(source) if name not in known]:
            tell(f"{model} does not know the control codes {', '.join(new)}: each gets a token of its own")
            with whole_folder(own) as fresh:
                tokenizer.with_specials([code_token(name) for name in new]).save(fresh)
            tokenizer = open_tokenizer(settings, own, like=like)
    tell = (lambda sentence: None) if made else tell  # it is only made sure that it is still of this text
    return tokenizer, _corpus(source, tokenizer, out / "corpus", tell, keep_text=keep_text)


def given_tokenizer(settings: RunSettings, source: CorpusSource) -> Path:
    """The folder of the tokenizer that is given: by itself, or with the model to go on from, or the teacher's."""
    model = source.tokenizer or settings.start.model
    if model is None and settings.teacher is not None:
        model = settings.teacher.model
    return locate(model)


def open_tokenizer(settings: RunSettings, folder: Path, *, like: Path | None = None) -> Tokenizer:
    """The tokenizer in a folder, for inputs as long as the run's.

    like  where the model is whose tokenizer it is, or was before it got more codes
    """
    family: str = settings.tokenizer.family
    if config := present(like or folder, "config.json"):
        family = str(read_object(config).get("model_type", family))
    return Tokenizer.open(folder, tokenizer_family(family), max_length=settings.data.length)


def token_counts(corpus: Corpus, tokenizer: Tokenizer) -> np.ndarray:
    """How often each token occurs in a corpus, (V,) int64; read shard by shard."""
    counts = np.zeros(tokenizer.largest_id + 1, dtype=np.int64)
    for shard in corpus.shards:
        for start in range(0, len(shard.tokens), 1 << 24):
            counts += np.bincount(shard.tokens[start : start + (1 << 24)], minlength=len(counts))
    return counts


def _corpus(
    source: CorpusSource, tokenizer: Tokenizer, folder: Path, tell: Callable[[str], None], *, keep_text: bool
) -> Corpus:
    """The text as shards, with words about it now and then."""
    last = time.monotonic()

    def progress(far: PreparationProgress) -> None:
        nonlocal last
        if time.monotonic() - last > EVERY_SECONDS:
            last = time.monotonic()
            tell(f"preparing the corpus: {far.share:.0%}, {far.documents:,} documents, {far.tokens:,} tokens")

    tell("preparing the corpus")
    corpus = prepare(
        sources(source.sources),
        tokenizer,
        folder,
        column=source.column,
        code_column=source.code_column,
        how=source.how,
        skip_bad=source.skip_bad,
        keep_text=keep_text,
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
    return corpus


def _documents(source: CorpusSource) -> Iterator[Document]:
    for file in sources(source.sources):
        with suppress(TextError) if source.skip_bad else nullcontext():
            yield from documents(file, column=source.column, code_column=source.code_column, how=source.how)


def _trained(settings: RunSettings, source: CorpusSource) -> Tokenizer:
    """A tokenizer of the run's text; every control code that stands beside it becomes a token."""
    codes: set[str] = set()

    def sentences() -> Iterator[str]:
        for document in _documents(source):
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


def _codes(source: CorpusSource) -> list[str]:
    """The control codes that a text has, in order of their names; for those of a column all of it is read."""
    codes = {file.code for file in sources(source.sources) if file.code is not None}
    if not codes and source.code_column is not None:
        codes = {str(document.code) for document in _documents(source)}
    return sorted(codes)
