"""The front door: texts and labels in, labels with probabilities out, nothing trained in between."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags

from sijo.errors import SettingError, TextError, nearest, warn
from sijo.inference.backends.backend import Precision
from sijo.inference.engine import LongText
from sijo.inference.precision import FIRST_TEXTS, Dtype, PrecisionChoice, named_precision
from sijo.names import composed, folded
from sijo.texts import texts_in, values_in
from sijo.zeroshot.automatic import automatic
from sijo.zeroshot.calibrating.fitting import CalibrateName, calibrated, fit_calibration
from sijo.zeroshot.calibrating.methods import WITHOUT_TEXTS, LabelShares
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.class_types import NAMES, as_given, label_dtype, label_names, other_forms
from sijo.zeroshot.explaining.evidence import Explanation
from sijo.zeroshot.explaining.occlusion import LIMIT, TOP_K, explain
from sijo.zeroshot.labeller import LabelChoice, Labeller, LabelPrediction
from sijo.zeroshot.labels import Labels, LabelSet
from sijo.zeroshot.many_labels.composing import ManyLabels, drawn_from
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.registry import ScorerChoice
from sijo.zeroshot.scorers.scorer import Scorer

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model


@dataclass(eq=False, repr=False)
class ZeroShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Labels text with classes that nobody trained it for; a scikit-learn classifier.

    labels               names, a mapping of names to descriptions, or a `LabelSet`; None for those the model was
                         trained on
    model                a folder, an `org/name`, an opened model, or None for the built-in one
    scorer               the name of one of `SCORERS`, such as "entailment", or "auto" for the one that suits the
                         model, and `scorer_` tells which, and why: see `open_scorer`
    multi_label          judge each label by itself, so that several or none may fit; None for what the model
                         was trained to do, and one label a text where it was trained for neither
    hypothesis_template  the sentence a label is put in, with {} for its name; None for the scorer's own
    none_label           a name for "none of these"; None leaves that answer out
    none_threshold       raw score below which no label fits: a cosine for embeddings, for entailment its logit
                         above the contradiction's; None for the scorer's own
    threshold            with `multi_label`, the probability from which a label is given
    temperature          softmax temperature; None for the scorer's own, or with `calibrate` for one fitted without
                         labels; "fit" to fit it (and the none threshold, unless given) on the texts passed to `fit`
    calibrate            what makes labels comparable, fitted on the texts passed to `fit` and frozen: "none",
                         "refine", "batch", "standardize", "prior", "contextual", "dcpmi", or "auto"; see
                         `fit_calibration`. Without `fit`, contextual and dcpmi need no texts, and batch,
                         standardize and prior the background that a model carries
    calibration          a file: the calibration in it is used, or, where there is none, `fit` writes it there
    label_shares         of the labels among the texts, for calibrate="prior": "equal", "estimate", or a mapping
    risk                 the share of texts, at most, that may be given a wrong label: others get none, and their
                         row says `abstained`. Needs fit(X, y), or a calibration so fitted; see `conformal.py`
    none_risk            the share of texts in scope, at most, that may be called none: fits the none score to the
                         texts passed to `fit`, which are taken to be in scope unless y says `none_label`
    long_text            "windows" reads all of a long text, "truncate" its first window; None for what the
                         scorer does: entailment, cloze and replaced cut, and know nothing else; the others
                         read windows
    cache                a folder where text vectors, or logits, are kept between runs
    dtype                the old name of `precision`: float32, bfloat16, float16
    entailment_column    name or number of the column of the model's head that says entailment; None to
                         look it up among the names in its config
    contradiction_column  the same for the column that says the opposite
    entailment_score     "logit" or "margin": what labels compete by under entailment; see `EntailmentScorer`
    cloze_score          "mean" or "sum" of the log-probabilities of a label's tokens; see `ClozeScorer`
    prompt               what stands before texts and labels, for a sentence encoder: the name of one of its
                         prompts, or words such as "query: "; "" for nothing, None for the encoder's own
    base                 a folder or `org/name`: the model of a LoRA adapter that stands alone
    cascade              for long lists of labels: a second model, or "built-in", that ranks them, so that `model`
                         reads those alone that may win. How many, `fit(texts)` finds, and
                         `many_labels_.certificate` tells; labels that were not read have the probability 0
    disagreement         the share of texts, at most, that a cascade may answer otherwise than `model` alone, with
                         95 % confidence
    fuse                 a second model, or "built-in", that is heard beside `model`, by weights that `fit(texts)`
                         finds without labels
    beam                 for labels with parents: how many labels of a level are gone into, from the top down
    backend              what runs the network: "torch", "onnx", or "auto": onnx where the folder holds an ONNX file
                         of that precision and the processor runs it, else torch
    device               where: "auto", "cpu", "cuda", "cuda:N", "mps"
    precision            what it computes in: "exact" (float32), "bf16", "fp16", "int8", "int4"; or "auto": the
                         first of int8 and bf16, where the processor has them, that decides the first texts it is
                         given as float32 does, in 99 of 100 cases. `precision_` then tells what was taken, until
                         `fit`
    threads              how many compute on the processor; None for what `OMP_NUM_THREADS` says, else the cores
                         there are, or fewer where a container has a quota. The same number gives the same bytes

    Nothing needs fitting. `fit` without labels of its own takes them from y, unless the model was trained on its
    own.

    A folder is opened once in a process, for all classifiers, clones and calls; `sijo.close_models` frees it. A
    classifier is pickled without weights, and each process of `n_jobs=` opens the folder for itself, once. An
    opened model as `model=` is copied with each clone: for searches over settings give its folder.

    >>> clf = ZeroShotClassifier(labels=["cooking", "football"])
    >>> clf.predict(["Knead the dough for ten minutes.", "He scored in extra time."]).tolist()
    ['cooking', 'football']
    """

    labels: Labels | None = None
    model: "str | Path | Model | None" = None
    scorer: str = "auto"
    multi_label: bool | None = None
    hypothesis_template: str | None = None
    none_label: str | None = None
    _: KW_ONLY
    none_threshold: float | None = None
    threshold: float = 0.5
    temperature: float | Literal["fit"] | None = None
    calibrate: CalibrateName = "none"
    calibration: str | Path | None = None
    label_shares: LabelShares = "equal"
    risk: float | None = None
    none_risk: float | None = None
    long_text: LongText | None = None
    cache: str | Path | None = None
    dtype: Dtype | None = None
    entailment_column: str | int | None = None
    contradiction_column: str | int | None = None
    entailment_score: Literal["logit", "margin"] | None = None
    cloze_score: Literal["mean", "sum"] | None = None
    prompt: str | None = None
    base: str | Path | None = None
    cascade: "str | Path | Model | None" = None
    disagreement: float = 0.01
    fuse: "str | Path | Model | None" = None
    beam: int | None = None
    backend: str = "auto"
    device: str = "auto"
    precision: Precision | Literal["auto"] = "exact"
    threads: int | None = None

    def fit(self, X: Iterable[str] | None = None, y: Iterable[Any] | None = None) -> "ZeroShotClassifier":
        """Check the labels; take them from y where none were given; fit what is asked for, and freeze it.

        With y, `classes_` and the columns of `predict_proba` are sorted from here on, in whatever order the labels
        were given: scikit-learn's scorers of probabilities, such as neg_log_loss, and its ensembles take them so.

        What is fitted for labels that compete does not do for labels judged by themselves or against
        none, when it was calibrated or entailment scores them: after such a change, fit again. Where a calibration
        is fitted, every second text of (X, y) is kept apart, for a stated risk.

        X  texts, needed only for `calibrate`, a risk and temperature="fit"
        y  a label for each text; read only for labels, a risk, and temperature="fit". Where all are numbers, or
           true and false, and the labels are too, so are `classes_` and answers
        """
        texts = None if X is None else list(texts_in(X, "X"))
        gold: Any = y if y is None or hasattr(y, "__len__") else list(values_in(y, "y"))
        if texts is not None and gold is not None and len(texts) != len(gold):
            raise SettingError(f"there are {len(texts)} texts and {len(gold)} labels; give one label for each text")
        for fitted in [name for name in vars(self) if name.endswith("_")]:
            self.__dict__.pop(fitted, None)
        if self.labels is not None or gold is None or self._scorer().known is not None:
            self.labels_ = self._labels()
        else:
            self.labels_ = LabelSet.of(list(dict.fromkeys(label_names(gold))))
        if gold is not None:
            one_each = not self.multi_label and getattr(gold, "ndim", 1) == 1
            self.label_dtype_ = label_dtype(gold) if one_each else NAMES
            self.y_names_ = {*label_names(gold)} if one_each else set()
            forms = other_forms(self.labels, self.y_names_)
            order = np.argsort(as_given(self.labels_.names, self.label_dtype_, forms), kind="stable")
            self.labels_ = replace(self.labels_, labels=tuple(self.labels_.labels[place] for place in order))
        self._choice().check(self.labels_)
        if (asked := self._many_labels()).fits:
            self._tried(texts or ())
            alone = Labeller(self._scorer(), self._choice(), self.labels_)
            self.many_labels_ = asked.fit(alone, drawn_from(texts))
        if self._calibrates:
            self._fit_calibration(texts, None if gold is None else label_names(gold))
        elif self.temperature == "fit":
            if not texts or gold is None:
                raise SettingError('temperature="fit" needs texts and their labels: call fit(X, y)')
            columns = {folded(name): column for column, name in enumerate(self.labels_.names)}
            names = label_names(gold)
            for label in names:
                if folded(label) not in columns:
                    raise TextError(f"y holds {label!r}, which is not a label{nearest(label, self.labels_.names)}")
            labeller = self._whole(Labeller(self._scorer(), self._choice(), self.labels_))
            scores = np.concatenate([scores for scores, _ in labeller.scored(texts)])
            places = np.array([columns[folded(label)] for label in names])
            self.calibration_ = Calibration.fit(scores, places, origin=f"fit on {len(names)} texts")
            self._fitted_absolute = labeller.choice.absolute
        return self

    def predict(self, X: Iterable[str]) -> np.ndarray:
        """The label of each text, one of `classes_`, (n,); with `multi_label` (n, L) of 0 and 1, in their order.

        With a stated risk (n,) of objects, None where it abstains.

        Raises TextError for a text without tokens when there is no `none_label` to give it.
        """
        X, _ = self._tried(X)
        labeller = self._labeller()
        if labeller.choice.multi_label:
            probabilities, tokens = self._judged(labeller, X)
            return (labeller.fits(probabilities) & (tokens > 0)[:, None]).astype(int)
        classes: dict[str | None, Any] = dict(zip(self._names(), self.classes_, strict=True)) | {None: None}
        labels, cut = list[Any](), 0
        for number, row in enumerate(labeller.stream(X), start=1):
            if row.label is None and not row.abstained:
                raise TextError(
                    f"text {number} has no words to label; leave it out, or give none_label= a name for it"
                )
            labels.append(classes[row.label])
            cut += row.truncated
        self._warn_of_cuts(cut)
        return np.array(labels, dtype=self.classes_.dtype if self.risk is None else object)

    def predict_proba(self, X: Iterable[str]) -> np.ndarray:
        """Probabilities, (n, number of `classes_`) float64, in the order of `classes_`.

        They sum to 1 in each row, unless `multi_label`. Embeddings give a text without tokens the same
        for each label; entailment gives what its head makes of the label alone, a trained head what it
        makes of no words.
        """
        X, _ = self._tried(X)
        return self._judged(self._labeller(), X)[0]

    def classify(
        self, texts: Iterable[str], labels: Sequence[Labels] | None = None, *, top_k: int | None = None
    ) -> list[LabelPrediction]:
        """A `LabelPrediction` for each text: label, probability, every candidate, how much of the text was read.

        labels  a label set for each text, in place of the classifier's own
        top_k   how many candidates a row keeps, the best; None for all

        >>> ZeroShotClassifier().classify(["a sonata in B minor"], [["music", "chess"]])[0].label
        'music'
        """
        return list(self.stream(texts, labels, top_k=top_k))

    def stream(
        self, texts: Iterable[str], labels: Iterable[Labels] | None = None, *, top_k: int | None = None
    ) -> Iterator[LabelPrediction]:
        """As `classify`, row by row for a stream of any length, in constant memory."""
        texts, labels = self._tried(texts, labels)
        return self._labeller(own=labels is None).stream(texts, labels, top_k=top_k)

    def explain(
        self,
        texts: Iterable[str],
        labels: Sequence[Labels] | None = None,
        *,
        top_k: int = TOP_K,
        limit: int = LIMIT,
    ) -> list[Explanation]:
        """An `Explanation` for each text: the row that `classify` gives, and what each word added to its labels.

        labels  a label set for each text, in place of the classifier's own
        top_k   for how many of the most probable labels
        limit   variants of a text, at most, that are read to tell: see `sijo.zeroshot.explaining.occlusion.explain`

        >>> row = ZeroShotClassifier(labels=["cooking", "football"]).explain(["He scored in extra time!"])[0]
        >>> row.label, row.why[0], row.text[row.parts[1].start : row.parts[1].end]
        ('football', 'scored', 'scored')
        """
        texts, own = self._tried(texts, labels)
        return list(explain(self._labeller(own=labels is None), texts, own, top_k=top_k, limit=limit))

    @property
    def classes_(self) -> np.ndarray:
        """The labels in the order of `predict_proba`: as given, or sorted by `fit(X, y)`; the none label last."""
        forms = other_forms(self.labels, [self.none_label], getattr(self, "y_names_", None))
        return as_given(self._names(), getattr(self, "label_dtype_", NAMES), forms)

    def _names(self) -> list[str]:
        names = list(self._labels().names)
        return names if self.none_label is None else [*names, composed(self.none_label)]

    @property
    def scorer_(self) -> ScorerChoice:
        """The scorer in use, and why it was taken."""
        return self._scorer().choice

    @property
    def used_calibration(self) -> Calibration:
        """The temperature and none score in use, and where they came from."""
        return self._labeller().calibration

    def save_calibration(self, path: str | Path) -> None:
        """Write what `fit` has fitted to a file, for `calibration=` or `sijo classify --calibration`."""
        if not hasattr(self, "frozen_"):
            raise SettingError("no calibration was fitted: say calibrate=, and call fit(texts)")
        self.frozen_.save(path)

    @property
    def _calibrates(self) -> bool:
        asked = (self.calibration, self.risk, self.none_risk)
        return self.calibrate != "none" or any(setting is not None for setting in asked)

    def _fit_calibration(self, texts: Sequence[str] | None, gold: Sequence[str] | None) -> None:
        """Fit what is asked for, unless its file is there."""
        if self.calibration is not None and Path(self.calibration).exists():
            self._labeller()  # refused now where it does not suit
            return
        fits_texts = any(setting is not None for setting in (self.calibration, self.risk, self.none_risk))
        if texts is None and self.calibrate in WITHOUT_TEXTS and not fits_texts:
            return
        if texts is None:
            raise SettingError(f"calibrate={self.calibrate!r} is fitted to texts, and frozen: call fit(texts)")
        self._tried(texts)  # what is fitted is fitted in the precision that will be taken
        self.frozen_ = fit_calibration(
            self._whole(Labeller(self._scorer(), self._choice(), self.labels_)),
            texts,
            self.calibrate,
            gold=gold,
            temperature_by_gold=self.temperature == "fit",
            shares=self.label_shares,
            none_risk=self.none_risk,
        )
        if self.calibration is not None:
            self.frozen_.save(self.calibration)

    def _judged(self, labeller: Labeller, X: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (n, number of `classes_`), and the tokens (n,) of each text; warns of cuts."""
        judged = list(labeller.judged(X))
        self._warn_of_cuts(sum(int(reading.truncated.sum()) for _, reading in judged))
        if not judged:
            return np.zeros((0, len(self.classes_))), np.zeros(0, np.int64)
        return np.concatenate([group for group, _ in judged]), np.concatenate([r.tokens for _, r in judged])

    def _warn_of_cuts(self, cut: int) -> None:
        if cut and self.long_text is None:  # an array has no room to say so
            warn(
                f"{cut:,} of the texts did not fit the model beside their labels, and only the start of each was "
                'read: classify() tells which; long_text="truncate" says that this is meant'
            )

    def _labels(self) -> LabelSet:
        if hasattr(self, "labels_"):
            fitted: LabelSet = self.labels_
            return fitted
        if self.labels is not None:
            if isinstance(self.labels, Iterator):
                kind = type(self.labels).__name__
                raise SettingError(f"labels is of type {kind}, which can be read once; pass a list: list(labels)")
            labels = LabelSet.of(self.labels)
            return labels if self.multi_label else labels.leaves()
        known = self._scorer().known
        if known is None:
            raise SettingError("there are no labels: pass labels= to the classifier, or y to fit")
        return LabelSet.of(known.names)

    def _choice(self) -> LabelChoice:
        names = ("multi_label", "threshold", "none_label", "none_threshold", "temperature")
        settings: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.temperature == "fit":
            settings["temperature"] = None
        return LabelChoice(template=self.hypothesis_template, **settings)

    def _labeller(self, *, own: bool = True) -> Labeller:
        """What answers under the present settings; `own` is False where each text brings its labels."""
        labeller = self._uncalibrated(own=own)
        if not self._calibrates:
            return labeller
        frozen = getattr(self, "frozen_", None)
        return calibrated(
            labeller, self.calibrate, self.calibration, frozen, risk=self.risk, none_risk=self.none_risk
        )

    def _uncalibrated(self, *, own: bool = True, alone: bool = False) -> Labeller:
        """The same, not calibrated; `alone` leaves out what is asked for beside the model."""
        if self.temperature == "fit" and not hasattr(self, "calibration_") and not self._calibrates:
            raise SettingError('temperature="fit" was asked for but not done yet: call fit(X, y) first')
        labels, choice = (self._labels() if own else None), self._choice()
        if labels is not None:
            choice.check(labels)  # before the model is opened
        scorer, fitted = self._scorer(), getattr(self, "calibration_", None)
        labeller = Labeller(scorer, choice, labels, fitted)
        labeller = labeller if alone else self._whole(labeller)
        if fitted is not None and not scorer.one_scale and labeller.choice.absolute != self._fitted_absolute:
            raise SettingError(
                "the temperature was fitted before multi_label or none_label changed, and with them what the "
                f"{scorer.name} scorer's scores mean; call fit(X, y) again"
            )
        return labeller

    def _many_labels(self) -> ManyLabels:
        names = ("cascade", "disagreement", "fuse", "beam", "cache", "backend", "device", "threads")
        settings: dict[str, Any] = {name: getattr(self, name) for name in names}
        return ManyLabels(needs_all=self._calibrates or self.temperature == "fit", **settings)

    def _whole(self, labeller: Labeller) -> Labeller:
        """The labeller of `model` alone, with what is asked for beside it."""
        return self._many_labels().applied_to(labeller, getattr(self, "many_labels_", None), tree=self.labels)

    def _tried(
        self, texts: Iterable[str], labels: Iterable[Labels] | None = None
    ) -> tuple[Iterable[str], Iterable[Labels] | None]:
        """Texts, and their labels, as they were given; the first decide a precision that is yet to be taken."""
        if self.precision != "auto" or hasattr(self, "precision_"):
            return texts, labels
        rest = texts_in(texts)
        first = list(islice(rest, FIRST_TEXTS))
        sets = own = None
        if labels is not None:
            own = values_in(labels, "labels")
            sets = list(islice(own, len(first)))

        def open_with(precision: Precision) -> Labeller:
            self.precision_: Precision | PrecisionChoice = precision
            return self._uncalibrated(own=labels is None, alone=True)

        try:
            _, self.precision_ = automatic(open_with, first, sets, backend=self.backend, device=self.device)
        except BaseException:
            self.__dict__.pop("precision_", None)
            raise
        return chain(first, rest), None if sets is None or own is None else chain(sets, own)

    def _scorer(self) -> Scorer:
        """The scorer with its model, opened at first use; again after a fork, and when a setting changes."""
        options = ("entailment_column", "contradiction_column", "entailment_score", "cloze_score")
        names = ("long_text", "cache", *options, "prompt", "base")
        run_by = ("backend", "device", "precision", "threads")
        settings: dict[str, Any] = {name: getattr(self, name) for name in (*names, *run_by)}
        if self.dtype is not None:
            settings["precision"] = named_precision(self.precision, self.dtype)
        if self.precision == "auto":
            taken = getattr(self, "precision_", "exact")
            settings["precision"] = getattr(taken, "precision", taken)
        key = (self.model, self.scorer, os.getpid(), *settings.values())
        if getattr(self, "_opened", (None, None))[0] != key:
            self._opened = key, open_scorer(self.scorer, self.model, **settings)
        scorer: Scorer = self._opened[1]
        return scorer

    def __getstate__(self) -> dict[str, Any]:
        # a copy finds the model open where it lands, or opens it there
        return {name: value for name, value in super().__getstate__().items() if name != "_opened"}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.classifier_tags.multi_label = True
        tags.no_validation = True
        return tags
