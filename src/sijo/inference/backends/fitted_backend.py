"""The backend of a fitted head: another backend's sentence vectors, and a linear map of each to logits.

Letters: n texts, B batch, D width of a vector, C columns of the head.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from sijo.checkpoints.vectors.steps import DenseStep
from sijo.errors import SettingError
from sijo.inference.backends.backend import Backend, IdBatch
from sijo.inference.outputs import unit
from sijo.nn.head_specs import CLASSIFIER


class FittedBackend(Backend):
    """A head over the vectors of an encoder that another backend runs.

    vectors_by  opened without a head
    head        as `read_fitted_head` gives it
    """

    heads = frozenset({CLASSIFIER})

    def __init__(self, vectors_by: Backend, head: DenseStep) -> None:
        self._vectors_by, self._head = vectors_by, head
        self.name = vectors_by.name  # type: ignore[misc] # of its class, for others
        self.call_cost = vectors_by.call_cost  # type: ignore[misc]
        self.precision, self.device = vectors_by.precision, vectors_by.device
        self.batch_tokens = vectors_by.batch_tokens

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """That of the vectors, and of the head."""
        told = f"{self._vectors_by.fingerprint} fitted {self._head.digest}"
        return hashlib.blake2b(told.encode(), digest_size=32).hexdigest()

    def vectors(self, batch: IdBatch, skips: Sequence[int] = ()) -> np.ndarray:
        """Those of the encoder."""
        return self._vectors_by.vectors(batch, skips)

    def logits(self, batch: IdBatch, head: str = CLASSIFIER) -> np.ndarray:
        """Never: an input by itself lacks the prompt and the other windows of its text."""
        raise SettingError(
            "this head was fitted over one vector a text, and judges no inputs of token ids or of two texts; give "
            "it texts, as sijo classify and sijo predict do"
        )

    def judged(self, vectors_nD: np.ndarray) -> np.ndarray:
        """The logits (n, C) float32 of whole texts' vectors, of any length and width: cut, then scaled to 1."""
        inputs_nD = unit(vectors_nD[:, : self._head.inputs].astype(np.float64))
        logits_nC = inputs_nD @ self._head.tensors["linear.weight"].T.astype(np.float64)
        judged: np.ndarray = (logits_nC + self._head.tensors["linear.bias"]).astype(np.float32)
        return judged

    def why_not_finite(self) -> str:
        """What the encoder's backend says."""
        return self._vectors_by.why_not_finite()
