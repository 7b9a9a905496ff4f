"""The modules behind a sentence encoder's pooling, run in numpy: float32, whatever the network computes in.

Of a text read in windows they see the mean of the windows' pooled vectors, and so run once a text.

Letters: n texts, D width of a vector, M width behind a Dense module.
"""

import math
from collections.abc import Sequence

import numpy as np

from sijo.checkpoints.vectors.steps import NORM_EPS, DenseStep, UnitLengthStep, VectorActivation, VectorStep
from sijo.inference.outputs import unit
from sijo.inference.vector_cache import Entry

ERF = np.vectorize(math.erf, otypes=[np.float64])


def after_steps(vectors_nD: np.ndarray, steps: Sequence[VectorStep]) -> np.ndarray:
    """What a text's vector is behind the steps, (n, M) float32.

    vectors_nD  pooled vectors, float32

    Source: the modules of sentence-transformers; Reimers & Gurevych 2019 (arXiv:1908.10084) have none behind the
    pooling, LaBSE (Feng et al. 2022, arXiv:2007.01852) a Dense one with tanh, which is BERT's pooler.

    >>> after_steps(np.array([[3.0, 4.0]], np.float32), [UnitLengthStep()]).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    for step in steps:
        if isinstance(step, UnitLengthStep):
            vectors_nD = unit(vectors_nD)
        elif isinstance(step, DenseStep):
            vectors_nD = _dense(step, vectors_nD)
        else:
            centred_nD = vectors_nD - vectors_nD.mean(-1, keepdims=True)
            spread_n1 = np.sqrt((centred_nD**2).mean(-1, keepdims=True) + np.float32(NORM_EPS))
            vectors_nD = centred_nD / spread_n1 * step.tensors["norm.weight"] + step.tensors["norm.bias"]
    return vectors_nD.astype(np.float32, copy=False)


def behind_steps(entries: Sequence[Entry], steps: Sequence[VectorStep], width: int) -> list[Entry]:
    """Entries of pooled vectors with what these are behind the steps, of so many numbers each.

    That of a text without tokens stays 0, whatever a bias makes of it; of one that is not finite it is NaN.
    """
    pooled = np.array([entry.vector for entry in entries])
    finite = np.isfinite(pooled).all(-1)
    vectors = np.full((len(entries), width), np.nan, np.float32)
    vectors[finite] = after_steps(pooled[finite], steps)
    vectors[[entry.tokens == 0 for entry in entries]] = 0
    return [entry._replace(vector=vector) for entry, vector in zip(entries, vectors, strict=True)]


def _dense(step: DenseStep, vectors_nD: np.ndarray) -> np.ndarray:
    out_nM = _products(vectors_nD, step.tensors["linear.weight"])
    if "linear.bias" in step.tensors:
        out_nM = out_nM + step.tensors["linear.bias"]
    out_nM = activated(step.activation, out_nM)
    if not step.adds_input:
        return out_nM
    residual = step.tensors.get("residual.weight")
    added: np.ndarray = out_nM + (vectors_nD if residual is None else _products(vectors_nD, residual))
    return added


def _products(vectors_nD: np.ndarray, weight_MD: np.ndarray) -> np.ndarray:
    """Each vector by the matrix, (n, M), one by one: no bit of a text's hangs on what stands beside it."""
    products_nM = np.empty((len(vectors_nD), len(weight_MD)), np.float32)
    for vector_D, product_M in zip(vectors_nD, products_nM, strict=True):
        np.matmul(weight_MD, vector_D, out=product_M)
    return products_nM


def activated(kind: VectorActivation, numbers: np.ndarray) -> np.ndarray:
    """An activation of float32 numbers, in their shape.

    >>> activated("ReLU", np.array([-1.0, 2.0], np.float32)).tolist()
    [0.0, 2.0]
    """
    out = numbers
    match kind:
        case "Tanh":
            out = np.tanh(numbers)
        case "ReLU":
            out = np.maximum(numbers, 0)
        case "GELU":
            out = numbers * (0.5 + 0.5 * ERF(numbers.astype(np.float64) / math.sqrt(2)))
        case "SiLU":
            out = numbers * _sigmoid(numbers)
        case "Sigmoid":
            out = _sigmoid(numbers)
    return out.astype(np.float32, copy=False)


def _sigmoid(numbers: np.ndarray) -> np.ndarray:
    odds: np.ndarray = 0.5 * (1 + np.tanh(0.5 * numbers))
    return odds
