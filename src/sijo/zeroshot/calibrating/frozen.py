"""A calibration that was fitted once and is frozen: kept in a file, and refused for what it was not fitted for.

The file is JSON, whole or absent:

    format, method           1; one of `METHODS`, or "none" where numbers alone were fitted
    identity                 model, scorer, template and choice: another of any is refused, and named
    temperature, none_score, origin
    labels                   each with its sentences, by which it is known, its shift and scale, and for "refine"
                             its prototype, a byte for each number in base64; none for "none"
    level                    added to all
    none_risk                the share of texts in scope that the none score gives up, or null
    texts, digest            how many it was fitted on, and what they were
    gold_probabilities       what the right labels of texts kept apart got, for a stated risk; may be empty
    checksum                 of all the rest, so that a digit that a disk or a copy has changed is found; may be
                             absent, as in files of earlier versions and where a person has changed one

A label that stands in the file may be left out or put elsewhere; one that does not is refused.

Letters: L labels, D width of a vector.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sijo.errors import CheckpointError, RefusedError, SettingError, nearest
from sijo.files.atomic import whole_file
from sijo.files.json_files import LONGEST_JSON, json_text, parse_json
from sijo.files.resumable import differences
from sijo.inference.outputs import unit
from sijo.zeroshot.calibrating.conformal import LabelSets
from sijo.zeroshot.calibrating.label_free import Adjustment
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labeller import Labeller
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.embedding import EmbeddingScorer

METHODS = ("refine", "batch", "standardize", "prior", "contextual", "dcpmi")
"""What makes labels comparable."""
FORMAT = 1
CHECKSUM = "checksum"
FIELDS = {
    "format",
    "method",
    "identity",
    "temperature",
    "none_score",
    "origin",
    "labels",
    "level",
    "texts",
    "digest",
}
FIELDS |= {"none_risk", "gold_probabilities"}
Phrases = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenCalibration:
    """What was fitted, on what, and for what."""

    method: str
    """One of `METHODS`, or "none"."""
    identity: Mapping[str, object]
    """What it was fitted for: see `identity_of`."""
    numbers: Calibration
    """Temperature and none score, of scores that were adjusted."""
    labels: tuple[tuple[str, Phrases], ...] = ()
    """Each label's name and the sentences that stand for it."""
    adjusted: Adjustment | None = None
    """In the order of `labels`; None for the method "none"."""
    prototypes: np.ndarray | None = None
    """(L, D) int8, the directions to which label vectors are drawn by the method "refine"."""
    texts: int = 0
    """How many it was fitted on."""
    digest: str = ""
    """Of those texts."""
    gold_probabilities: tuple[float, ...] = ()
    """What the right labels of texts kept apart got."""
    none_risk: float | None = None
    """The share of texts in scope, at most, that the none score calls none; None where it is the scorer's own."""

    @cached_property
    def _places(self) -> dict[Phrases, int]:
        return {phrases: place for place, (_, phrases) in enumerate(self.labels)}

    def adjustment(self, labels: Sequence[Label], template: str) -> Adjustment:
        """That of these labels, in their order, worded by that template; SettingError for one it does not know."""
        if self.adjusted is None:
            return Adjustment(np.zeros(len(labels)), np.ones(len(labels)), 0.0)
        for label in labels:
            if label.wording(template) not in self._places:
                names = [name for name, _ in self.labels]
                why = "has other words there" if label.name in names else "is none of them"
                raise SettingError(
                    f"the calibration was fitted to {len(names)} labels, and {label.name!r} {why}"
                    f"{'' if label.name in names else nearest(label.name, names)}; fit it again with these labels, "
                    "to another file"
                )
        return self.adjusted.columns([self._places[label.wording(template)] for label in labels])

    def sets(self, risk: float) -> LabelSets:
        """From which probability on labels are in, at that risk."""
        if not self.gold_probabilities:
            raise SettingError(
                "a stated risk (risk=, --risk) needs a calibration that was fitted with labelled texts: fit(X, "
                "y), or --calibration-sample FILE --calibration-label-column COLUMN"
            )
        return LabelSets.fit(self.gold_probabilities, risk)

    def applied_to(self, labeller: Labeller, risk: float | None = None) -> Labeller:
        """The labeller with this calibration; SettingError where it was fitted for another."""
        if different := differences(dict(self.identity), identity_of(labeller)):
            raise SettingError(
                f"the calibration was fitted for another {'; '.join(different[:3])}. Fit it again, to another file"
            )
        sets = None if risk is None else self.sets(risk)
        scorer = labeller.scorer
        if self.prototypes is not None:
            assert isinstance(scorer, EmbeddingScorer)  # as the identity says
            if self.prototypes.shape[1] != scorer.engine.width:
                raise SettingError(
                    f"the calibration holds prototypes of width {self.prototypes.shape[1]}, and the model's "
                    f"vectors have {scorer.engine.width}. Fit it again, to another file"
                )
            phrases = (phrases for _, phrases in self.labels)
            scorer = scorer.refined(dict(zip(phrases, unit(self.prototypes.astype(np.float64)), strict=True)))
        return Labeller(scorer, labeller.choice, labeller.labels, self.numbers, adjuster=self, sets=sets)

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        rows: list[dict[str, object]] = []
        if self.adjusted is not None:
            numbers = zip(self.adjusted.shift.tolist(), self.adjusted.scale.tolist(), strict=True)
            rows = [
                {"label": name, "sentences": list(phrases), "shift": shift, "scale": scale}
                for (name, phrases), (shift, scale) in zip(self.labels, numbers, strict=True)
            ]
        for row, prototype in zip(rows, () if self.prototypes is None else self.prototypes, strict=False):
            row["prototype"] = base64.b64encode(prototype.tobytes()).decode()
        return {
            "format": FORMAT,
            "method": self.method,
            "identity": dict(self.identity),
            "temperature": self.numbers.temperature,
            "none_score": self.numbers.none_score,
            "origin": self.numbers.origin,
            "labels": rows,
            "level": 0.0 if self.adjusted is None else self.adjusted.level,
            "texts": self.texts,
            "digest": self.digest,
            "none_risk": self.none_risk,
            "gold_probabilities": list(self.gold_probabilities),
        }

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all of it, 64 hexadecimal digits, for the record of a run."""
        return hashlib.blake2b(json.dumps(self.to_dict()).encode(), digest_size=32).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write it to a file, whole or not at all; SettingError where something else is there."""
        path = Path(path)
        if path.exists():
            open_calibration(path)  # only a calibration is replaced
        if not path.parent.is_dir():
            raise SettingError(
                f"calibration {path}: there is no folder {path.parent}; make it, or name another file"
            )
        fields = self.to_dict()
        content = json_text({**fields, CHECKSUM: _checksum(fields)}).encode()
        if len(content) > LONGEST_JSON:
            raise SettingError(
                f"the calibration of {len(self.labels):,} labels takes {len(content) / 1e6:.0f} MB, and a file of "
                f"more than {LONGEST_JSON / 1e6:.0f} is not read again; fit it to fewer labels, or leave it out"
            )
        with whole_file(path) as out:
            out.write(content)


def identity_of(labeller: Labeller) -> dict[str, object]:
    """What a calibration is fitted for: the scorer with its settings, the template, the choice, and the model."""
    scorer, backend = labeller.scorer, labeller.scorer.engine.backend
    return {
        "scorer": scorer.name,
        **scorer.settings,
        "template": labeller.template,
        "choice": {"labels": "one label", "labels and none": "one label or none", "none": "each by itself"}[
            labeller.choice.rivals
        ],
        "precision": str(backend.precision),
        "model": backend.fingerprint,  # last, for what is part of it is told by name before
    }


def open_calibration(path: str | Path) -> FrozenCalibration:
    """A calibration from its file.

    Raises SettingError where there is none or it is no calibration, RefusedError for one of a later sijo, and
    CheckpointError for one that is damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_JSON)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        what = "is a folder" if path.is_dir() else "is not there"
        raise SettingError(
            f"the calibration {path} {what}; name a file, or say by calibrate= (--calibrate) how to fit it"
        ) from None
    try:
        fields = parse_json(content)
    except ValueError as error:
        raise SettingError(f"{path} is no calibration, for it is not JSON ({error}); name another file") from None
    if not isinstance(fields, dict) or not {"format", "method", "identity"} <= fields.keys():
        raise SettingError(f"{path} is no calibration that sijo wrote; name another file")
    if fields["format"] != FORMAT:
        raise RefusedError(
            f"{path} is a calibration of format {fields['format']!r:.60} and this sijo knows {FORMAT}; update sijo"
        )
    try:
        checksum = fields.pop(CHECKSUM, None)
        if checksum not in (None, _checksum(fields)):
            raise ValueError(f"its {CHECKSUM} is of other contents; whoever has changed it takes that field out")
        return _calibration(fields)
    except (KeyError, TypeError, ValueError, SettingError) as error:
        raise CheckpointError(
            f"the calibration {path} is damaged ({error}); copy it again, or fit it anew"
        ) from None


def _checksum(fields: Mapping[str, Any]) -> str:
    """A digest of a file's fields, whatever their order and the blanks between them."""
    return hashlib.blake2b(json.dumps(fields, sort_keys=True).encode(), digest_size=16).hexdigest()


def _calibration(fields: dict[str, Any]) -> FrozenCalibration:
    """Raise KeyError, TypeError or ValueError for fields that are absent, of another kind, or unknown."""
    if strange := fields.keys() - FIELDS:
        raise ValueError(f"it has a field {min(strange)!r:.60}, which no calibration has")
    if fields["method"] not in ("none", *METHODS):
        raise ValueError(f"no method {fields['method']!r:.60}")
    labels, shifts, scales, prototypes = [], [], [], []
    for row in fields["labels"]:
        phrases = tuple(_of(str, phrase) for phrase in _of(list, row["sentences"]))
        labels.append((_of(str, row["label"]), phrases))
        shifts.append(_number(row["shift"]))
        scales.append(_number(row["scale"], above=0.0))
        if fields["method"] == "refine":
            prototypes.append(np.frombuffer(base64.b64decode(_of(str, row["prototype"]), validate=True), np.int8))
    if (fields["method"] == "none") != (not labels) or len(set(labels)) < len(labels):
        raise ValueError(f"{len(labels)} labels for the method {fields['method']}")
    gold = tuple(_number(value, above=-1e-9) for value in _of(list, fields["gold_probabilities"]))
    return FrozenCalibration(
        method=fields["method"],
        identity=_of(dict, fields["identity"]),
        numbers=Calibration(
            _number(fields["temperature"], above=0.0), _number(fields["none_score"]), _of(str, fields["origin"])
        ),
        labels=tuple(labels),
        adjusted=Adjustment(np.array(shifts), np.array(scales), _number(fields["level"])) if labels else None,
        prototypes=np.stack(prototypes) if prototypes else None,
        texts=_of(int, fields["texts"]),
        digest=_of(str, fields["digest"]),
        gold_probabilities=gold,
        none_risk=None if fields["none_risk"] is None else _number(fields["none_risk"], above=0.0),
    )


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{value!r:.60} in place of {kind.__name__}")
    return value


def _number(value: Any, *, above: float = -math.inf) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not above < value < math.inf:
        raise TypeError(f"{value!r:.60} in place of a number")
    return float(value)
