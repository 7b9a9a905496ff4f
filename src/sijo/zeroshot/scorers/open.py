"""From a scorer's name and a model to a scorer that is ready: the one that is named, or the one that suits."""

from collections.abc import Iterable
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, get_args

from sijo.checkpoints.describe import FolderDescription, describe
from sijo.errors import SettingError, SijoError, nearest
from sijo.inference.backends.backend import Precision
from sijo.inference.encode import described_engine, engine_of
from sijo.inference.engine import Engine, LongText
from sijo.inference.vector_cache import VectorCache
from sijo.zeroshot.scorers.registry import SCORERS, ModelFacts, ScorerChoice, ScorerRow
from sijo.zeroshot.scorers.scorer import Scorer

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model


def open_scorer(
    name: str,
    model: "str | Path | Model | None",
    *,
    revision: str | None = None,
    long_text: LongText | None = None,
    cache: str | Path | None = None,
    prompt: str | None = None,
    base: str | Path | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: Precision = "exact",
    threads: int | None = None,
    **options: str | int | None,
) -> Scorer:
    """A scorer with its model opened.

    name      one of `SCORERS`, or "auto" for what suits the model: `one_pass` where its folder holds a head for
              labels beside a text; `trained` for a classification head none of whose columns is called entailment;
              `entailment` for one with such a column, in no sentence encoder, or where a column is named here;
              `likelihood` for a head that writes; `replaced` for one that tells replaced tokens, in no sentence
              encoder; else `embedding`. The scorer's `choice` tells which it was, and why
    model     a folder, an `org/name`, an opened model, or None for the built-in one. A model that was
              opened without the head its scorer needs is opened again, with it
    revision  branch, tag or commit on the Hub
    base      the model of an adapter that stands alone; see `load`
    options   of one scorer alone, such as `entailment_column`; None is as good as none

    The other settings are those of `ZeroShotClassifier`, and of `open_backend`. Raises SettingError for settings
    that do not suit the scorer, and for a head that it cannot score labels by.

    >>> open_scorer("auto", None).name
    'embedding'
    >>> from sijo.checkpoints.load import load
    >>> head = load(head="new:sequence-classification", labels=["not_entailment", "entailment"])
    >>> open_scorer("entailment", head).settings["entailment_column"]
    1
    >>> open_scorer("auto", load(head="new:sequence-classification", labels=["sport", "tax"])).known.names
    ('sport', 'tax')
    """
    if name != "auto" and name not in SCORERS:
        raise SettingError(f"no scorer {name!r}{nearest(name, SCORERS)}; there are auto, {', '.join(SCORERS)}")
    options = {option: value for option, value in options.items() if value is not None}
    located: FolderDescription | Model
    if model is None or isinstance(model, str | Path):
        located = describe(model, revision, base)
    elif base is not None:
        raise SettingError("base= is for a model that is yet to be opened; give it to sijo.load")
    else:
        located = model
    choice = _suited(located, options) if name == "auto" else ScorerChoice(name, "as asked")
    row, scorer = SCORERS[choice.name], scorer_class(choice.name)
    _check_options(name, row, options)
    chosen = scorer.long_texts[0] if long_text is None else long_text
    if chosen not in scorer.long_texts and chosen in get_args(LongText):
        raise SettingError(
            f"long_text={chosen!r} is nothing the {scorer.name} scorer can do, which reads text and label "
            f"together; leave it out, say {scorer.long_texts[0]!r}, or part long texts beforehand"
        )
    if prompt and row.head is not None:
        raise SettingError(
            f"prompt={prompt!r} stands before the texts of a sentence encoder, and the {scorer.name} scorer reads "
            'texts by a head; leave it out, or say scorer="embedding" (--scorer embedding)'
        )
    engine = _opened(
        located,
        head=row.head,
        long_text=chosen,
        prompt=prompt if row.head is None else None,
        backend=_backend(row, choice.name, backend),
        device=device,
        precision=precision,
        threads=threads,
    )
    if cache is not None:
        fingerprint = engine.fingerprint if row.head is None else engine.backend.fingerprint
        engine.store = VectorCache(Path(cache), fingerprint=f"{row.cache_key}{chosen}-{fingerprint}")
    opened = scorer(engine, **options)
    opened.choice = choice
    return opened


def _check_options(name: str, row: ScorerRow, options: Iterable[str]) -> None:
    """Raise SettingError for an option of another scorer."""
    for option in options:
        if option not in row.options:
            raise SettingError(
                f"{option}= says how the {_owner(option)} scorer reads a head, but scorer={name!r} does not read "
                "one so; leave one of the two out"
            )


def _backend(row: ScorerRow, name: str, wanted: str) -> str:
    """The backend that is asked for, or that the scorer needs."""
    if row.backend != "auto" and wanted not in ("auto", row.backend):
        raise SettingError(
            f"the {name} scorer runs in {row.backend}, not in {wanted}; leave backend= (--backend) out"
        )
    return row.backend if wanted == "auto" else wanted


def _suited(model: "FolderDescription | Model", options: dict[str, str | int | None]) -> ScorerChoice:
    """The scorer whose options these are, or else the last that suits the model."""
    if options:
        option = next(iter(options))
        return ScorerChoice(_owner(option), f"{option}= is an option of its own")
    return suited(model_facts(model))


def suited(facts: ModelFacts) -> ScorerChoice:
    """What `auto` takes for a model, and why; SettingError where that cannot be told.

    >>> print(suited(model_facts(describe(None))))
    embedding: the model was trained to give sentence vectors
    """
    reasons = ((name, row.suits(facts)) for name, row in reversed(SCORERS.items()))
    return next(ScorerChoice(name, reason) for name, reason in reasons if reason is not None)


def scorer_of(described: FolderDescription) -> dict[str, str | None] | None:
    """What `auto` takes for a folder, and why, or why none; None where its heads cannot be read."""
    try:
        facts = model_facts(described)
    except (SijoError, OSError):
        return None
    try:
        choice = suited(facts)
    except SettingError as error:
        return {"auto": None, "reason": str(error)}
    return {"auto": choice.name, "reason": choice.reason}


def model_facts(model: "FolderDescription | Model") -> ModelFacts:
    """What decides which scorers suit an opened model, or the one in a folder.

    >>> facts = model_facts(describe(None))
    >>> facts.columns, facts.says_entailment, facts.gives_sentence_vectors
    (('LABEL_0', 'LABEL_1'), False, True)
    """
    fitted = isinstance(model, FolderDescription) and model.fitted_head is not None
    opened = frozenset() if isinstance(model, FolderDescription) else frozenset(model.head_values)
    heads = opened.union(model.heads)
    return ModelFacts(model.source, heads, opened, model.labels, model.sentence.trained, fitted)


def _owner(option: str) -> str:
    """The name of the scorer that takes an option."""
    for name, row in SCORERS.items():
        if option in row.options:
            return name
    raise TypeError(f"no scorer takes {option}")


def scorer_class(name: str) -> type[Scorer]:
    """The class of a scorer."""
    scorer: type[Scorer] = resolve_name(SCORERS[name].place)
    return scorer


def _opened(model: "FolderDescription | Model", *, head: str | None, **settings: Any) -> Engine:
    """The engine of a folder, or of a model as it is given, unless it lacks the head: then of its folder."""
    if isinstance(model, FolderDescription):
        return described_engine(model, head=head, **settings)
    if head is None or head in model.head_values or model.source is None:
        return engine_of(model, **settings)
    from sijo.checkpoints.load import load

    return engine_of(load(model.source, head=head, dtype=model.dtype, base=model.base), **settings)
