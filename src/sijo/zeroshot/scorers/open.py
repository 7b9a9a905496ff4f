"""From a scorer's name and a model to a scorer that is ready: the one that is named, or the one that suits."""

from pathlib import Path
from pkgutil import resolve_name
from typing import get_args

from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import Dtype, Model, load
from sijo.checkpoints.locate import locate
from sijo.errors import SettingError, nearest
from sijo.inference.engine import Engine, LongText
from sijo.inference.vector_cache import VectorCache
from sijo.zeroshot.scorers.registry import SCORERS, ModelFacts
from sijo.zeroshot.scorers.scorer import Scorer


def open_scorer(
    name: str,
    model: str | Path | Model | None,
    *,
    revision: str | None = None,
    long_text: LongText | None = None,
    cache: str | Path | None = None,
    dtype: Dtype = "float32",
    prompt: str | None = None,
    base: str | Path | None = None,
    **options: str | int | None,
) -> Scorer:
    """A scorer with its model opened.

    name      one of `SCORERS`, or "auto" for the one that suits the model: `trained` where its folder holds
              a classification head none of whose columns is called entailment; `entailment` where one
              is, and the folder is no sentence encoder, or where a column is named here; `likelihood` where
              it holds a head that writes; else `embedding`
    model     a folder, an `org/name`, an opened model, or None for the built-in one. A model that was
              opened without the head its scorer needs is opened again, with it
    revision  branch, tag or commit on the Hub
    base      the model of an adapter that stands alone; see `load`
    options   of one scorer alone, such as `entailment_column`; None is as good as none

    The other settings are those of `ZeroShotClassifier`. Raises SettingError for settings that do not
    suit the scorer, and for a head that it cannot score labels by.

    >>> open_scorer("auto", None).name
    'embedding'
    >>> head = load(head="new:sequence-classification", labels=["not_entailment", "entailment"])
    >>> open_scorer("entailment", head).settings["entailment_column"]
    1
    >>> open_scorer("auto", load(head="new:sequence-classification", labels=["sport", "tax"])).known.names
    ('sport', 'tax')
    """
    if name != "auto" and name not in SCORERS:
        raise SettingError(f"no scorer {name!r}{nearest(name, SCORERS)}; there are auto, {', '.join(SCORERS)}")
    options = {option: value for option, value in options.items() if value is not None}
    if isinstance(model, Model) and base is not None:
        raise SettingError("base= is for a model that is yet to be opened; give it to sijo.load")
    located = model if isinstance(model, Model) else locate(model, revision=revision)
    suited = _suited(located, options, base) if name == "auto" else name
    row, scorer = SCORERS[suited], scorer_class(suited)
    for option, value in options.items():
        if option not in row.options:
            raise SettingError(
                f"{option}={value!r} says how the {_owner(option)} scorer reads a head, "
                f"but scorer={name!r} does not read one so; leave one of the two out"
            )
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
    opened = _opened(located, row.head, dtype, base)
    engine = Engine(opened, long_text=chosen, prompt=prompt if row.head is None else None)
    if cache is not None:
        fingerprint = engine.fingerprint if row.head is None else opened.fingerprint
        engine.store = VectorCache(Path(cache), fingerprint=f"{row.cache_key}{chosen}-{fingerprint}")
    return scorer(engine, **options)


def _suited(model: Path | Model, options: dict[str, str | int | None], base: str | Path | None) -> str:
    """The name of the scorer whose options these are, or else of the last that suits the model."""
    if options:
        return _owner(next(iter(options)))
    facts = model_facts(model, base)
    return next(name for name, row in reversed(SCORERS.items()) if row.suits(facts))


def model_facts(model: Path | Model, base: str | Path | None = None) -> ModelFacts:
    """What decides which scorers suit an opened model, or the one in a folder.

    >>> from sijo.checkpoints.locate import built_in
    >>> facts = model_facts(built_in())
    >>> facts.columns, facts.says_entailment, facts.gives_sentence_vectors
    (('LABEL_0', 'LABEL_1'), False, True)
    """
    if isinstance(model, Model):
        opened = frozenset(model.head_values)
        return ModelFacts(model.source, opened.union(model.heads), opened, model.labels, model.sentence.trained)
    folder = describe(model, base=base)
    return ModelFacts(model, frozenset(folder.heads), frozenset(), folder.labels, folder.sentence.trained)


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


def _opened(model: Path | Model, head: str | None, dtype: Dtype, base: str | Path | None) -> Model:
    """The model with its head: as it is given, or opened from its folder."""
    if not isinstance(model, Model):
        return load(model, head=head, dtype=dtype, base=base)
    if head is None or head in model.head_values or model.source is None:
        return model
    return load(model.source, head=head, dtype=model.dtype, base=model.base)
