"""The fastest precision in which labels come out as in float32, found on the first texts.

Letters: n texts.
"""

from collections.abc import Callable, Sequence

from sijo.checkpoints.describe import FolderDescription
from sijo.inference.backends.backend import Precision
from sijo.inference.precision import PrecisionChoice, choose, ranked
from sijo.zeroshot.labeller import Labeller
from sijo.zeroshot.labels import Labels


def automatic(
    open_with: Callable[[Precision], Labeller],
    texts: Sequence[str],
    labels: Sequence[Labels] | None = None,
    *,
    backend: str = "auto",
    device: str = "auto",
) -> tuple[Labeller, PrecisionChoice]:
    """What labels texts in the precision that is taken, and why it is.

    open_with  opens what labels them in a precision
    texts      the first ones, (n,)
    labels     a label set for each, where they bring their own

    `backend` and `device` are what was asked for. A model that was opened before has its own precision.

    >>> from sijo.zeroshot.labeller import LabelChoice
    >>> from sijo.zeroshot.labels import LabelSet
    >>> from sijo.zeroshot.scorers.open import open_scorer
    >>> def opened(precision):
    ...     scorer = open_scorer("auto", None, precision=precision)
    ...     return Labeller(scorer, LabelChoice(), LabelSet.of(["sport", "tax"]))
    >>> str(automatic(opened, ["a late goal"])[1])
    'exact: 1 texts are too few to try another on'
    """
    opened: dict[Precision, Labeller] = {"exact": open_with("exact")}
    engine = opened["exact"].scorer.engine
    candidates: list[Precision] = []
    if isinstance(engine.model, FolderDescription):
        candidates = ranked(
            engine.model, head=next(iter(engine.backend.heads), None), backend=backend, device=device
        )

    def decide(precision: Precision) -> list[object]:
        if precision not in opened:
            opened[precision] = open_with(precision)
        return decisions(opened[precision], texts, labels)

    choice = choose(candidates, len(texts), decide)
    return opened[choice.precision], choice


def decisions(labeller: Labeller, texts: Sequence[str], labels: Sequence[Labels] | None = None) -> list[object]:
    """What is decided for each text: its label, or of each candidate, judged by itself, whether it fits."""
    rows = labeller.stream(texts, labels)
    if labeller.choice.multi_label:
        return [name in row.fitting for row in rows for name in sorted(row.labels)]
    return [row.label for row in rows]
