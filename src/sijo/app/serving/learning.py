"""A model that is improved while it serves: why it answers so, what to label next, heads fitted to a few labels.

A fitted head is a model of the service from then on, in a folder that goes when the service goes.
"""

import asyncio
import io
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO

from sijo.app.serving.batcher import Batcher
from sijo.app.serving.limits import Refusal
from sijo.app.serving.served_models import ServedModel, ServedModels, about
from sijo.checkpoints.describe import describe
from sijo.zeroshot.explaining.evidence import Explanation
from sijo.zeroshot.explaining.occlusion import LIMIT, explain
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import Labels, LabelSet

if TYPE_CHECKING:
    from sijo.jobs.fitting.few_labels import FewLabels
    from sijo.jobs.fitting.fit import FittedModel
    from sijo.jobs.fitting.suggest import Suggestion

MOST_FITTED_TO = 50_000
"""Of labelled texts times labels: some ten seconds."""
MOST_FITTED = 8
"""Models that are kept; the oldest goes when another comes."""
PIECE = 2**20
"""Bytes of an archive that are read at a time."""


async def explained(
    model: ServedModel,
    texts: Sequence[str],
    labels: Sequence[Labels] | None,
    choice: LabelChoice,
    *,
    top_k: int,
    seconds: float,
) -> list[Explanation]:
    """The answer for each text, and what each of its words added to it."""
    sets = model.label_sets(texts, labels, choice)
    costs = [
        cost * min(about(text) + 1, LIMIT)
        for text, cost in zip(texts, model.costs(texts, sets, choice), strict=True)
    ]
    model.check_tokens(costs)

    def work(items: Sequence[tuple[str, LabelSet | None]]) -> list[Explanation]:
        own = [given for _, given in items if given is not None]
        return list(
            explain(Labeller(model.scorer, choice, None), [text for text, _ in items], own or None, top_k=top_k)
        )

    key = ("explain", model.name, choice, top_k, labels is None)
    return await model.queue.ask(key, work, list(zip(texts, sets, strict=True)), costs, seconds=seconds)


async def suggested(
    model: ServedModel,
    texts: Sequence[str],
    gold: Sequence[list[str] | None],
    labels: Labels | None,
    *,
    multi_label: bool,
    count: int,
    aside: Batcher,
    seconds: float,
) -> "list[Suggestion]":
    """The texts to label next, the most uncertain first.

    aside  the queue of what takes long
    """
    from sijo.jobs.fitting.few_labels import none_yet
    from sijo.jobs.fitting.suggest import suggest

    some = None
    if any(names is not None for names in gold):
        some = await _few_labels(texts, gold, labels, multi_label=multi_label)
    elif labels is not None:
        some = none_yet(labels, texts, multi_label=multi_label)
    known = [names is not None for names in gold]
    work = partial(suggest, labelled=known, some=some, count=count)
    found: list[Suggestion] = await _alone(model, aside, texts, lambda: work(texts, model.encoder), seconds)
    return found


async def fitted(
    model: ServedModel,
    texts: Sequence[str],
    gold: Sequence[list[str] | None],
    labels: Labels | None,
    *,
    multi_label: bool,
    aside: Batcher,
    seconds: float,
) -> "FittedModel":
    """A head over the model's vectors, fitted to the texts whose labels are known.

    aside  the queue of what takes long
    """
    from sijo.jobs.fitting.fit import fit_few

    some = await _few_labels(texts, gold, labels, multi_label=multi_label)
    if (size := len(some.texts) * len(some.labels.labels)) > MOST_FITTED_TO:
        raise Refusal(
            413,
            f"{len(some.texts):,} labelled texts and {len(some.labels.labels):,} labels make {size:,}, and a "
            f"head is fitted to {MOST_FITTED_TO:,} here; sijo fit takes more",
        )
    made: FittedModel = await _alone(model, aside, texts, lambda: fit_few(some, model.encoder), seconds)
    return made


async def _alone(
    model: ServedModel, aside: Batcher, texts: Sequence[str], work: Callable[[], Any], seconds: float
) -> Any:
    """What work of one request gives, in its turn."""
    model.must("vectors", "give sentence vectors")
    costs = [about(text) for text in texts]
    model.check_tokens(costs)
    key = ("alone", secrets.token_hex(8))
    [found] = await aside.ask(key, lambda _: [work()], [None], [sum(costs)], seconds=seconds)
    return found


async def _few_labels(
    texts: Sequence[str], gold: Sequence[list[str] | None], labels: Labels | None, *, multi_label: bool
) -> "FewLabels":
    from sijo.jobs.fitting.few_labels import few_labels

    cells = [names if multi_label or names is None else names[0] for names in gold]
    chosen = None if labels is None else LabelSet.of(labels)
    how: Any = {"column": "gold", "labels": chosen, "multi_label": multi_label}
    return await asyncio.to_thread(few_labels, texts, cells, **how)


class FittedModels:
    """Models that were fitted here, each in a folder of the service's own."""

    def __init__(self, models: ServedModels) -> None:
        self.models = models
        self._folder: TemporaryDirectory[str] | None = None
        self._own: list[str] = []
        self._made = 0

    async def add(self, model: ServedModel, made: "FittedModel") -> str:
        """Make a model of a head, and give its name; SettingError for a folder that cannot be written.

        Who asked for it may go meanwhile: it is made all the same, and goes as others do.
        """
        return await asyncio.shield(asyncio.ensure_future(self._add(model, made)))

    async def _add(self, model: ServedModel, made: "FittedModel") -> str:
        self._made += 1
        while (name := f"fitted-{self._made}") in self.models.by_name:
            self._made += 1
        folder = await asyncio.to_thread(made.save, self._place() / name)
        own = ServedModel(name, describe(folder), model.queue, model.limits, model.run_by)
        for opens in own.opened():
            await asyncio.to_thread(opens)
        self.models.by_name[name] = own
        self._own.append(name)
        while len(self._own) > MOST_FITTED:
            oldest = self._own.pop(0)
            del self.models.by_name[oldest]
            await asyncio.to_thread(shutil.rmtree, self._place() / oldest, ignore_errors=True)
        return name

    def __contains__(self, name: str) -> bool:
        """Whether a model was fitted here, and is still there."""
        return name in self._own

    async def archive(self, name: str) -> Iterator[bytes]:
        """A .zip of the folder of a model, piece by piece; Refusal for one that was not fitted here."""
        if name not in self:
            raise Refusal(404, f"no model {name[:100]!r} was fitted here", kind="model_not_found")
        return await asyncio.to_thread(zipped, self._place() / name, name)

    def close(self) -> None:
        """Let go of the folder."""
        if self._folder is not None:
            self._folder.cleanup()

    def _place(self) -> Path:
        """Their folder, made for the first: else nothing is written, and a service runs where nothing can be.

        Raises Refusal there.
        """
        if self._folder is None:
            try:
                self._folder = TemporaryDirectory(prefix="sijo-serve-")
            except OSError:
                raise Refusal(
                    424, "a head that is fitted needs a folder, and this service may write nowhere; it needs a /tmp"
                ) from None
        return Path(self._folder.name)


class Spilled(io.RawIOBase):
    """A file that is only written to, and taken piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, content: Any) -> int:
        """Keep it until it is taken."""
        self._pieces.append(bytes(content))
        return len(content)

    def taken(self) -> bytes:
        """What was written since it was last taken."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def zipped(folder: Path, name: str) -> Iterator[bytes]:
    """A .zip of a folder, whatever its size in a few pieces of memory.

    All files are opened first: one that cannot be is told at once, and a folder that goes meanwhile is still read.
    """
    with ExitStack() as begun:
        files = [
            (
                zipfile.ZipInfo.from_file(path, f"{name}/{path.relative_to(folder).as_posix()}"),
                begun.enter_context(path.open("rb")),
            )
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        return _pieces(files, begun.pop_all())


def _pieces(files: Sequence[tuple[zipfile.ZipInfo, BinaryIO]], opened: ExitStack) -> Iterator[bytes]:
    out = Spilled()
    with opened:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # weights do not get smaller
            for info, file in files:
                with archive.open(info, "w") as entry:
                    while piece := file.read(PIECE):
                        entry.write(piece)
                        yield out.taken()
        yield out.taken()
