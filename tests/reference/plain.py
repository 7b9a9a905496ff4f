"""Arithmetic on lists of floats, in double precision: no torch, no numpy, nothing of sijo.

What stands in this folder is each mechanism again, written from the papers' and the released code's
equations in loops of plain numbers. A vector is a list of floats, a matrix a list of its rows, and the
rows of a linear map's matrix are its outputs, as they are stored.
"""

import math
import operator


def dot(a, b):
    assert len(a) == len(b)
    return math.fsum(map(operator.mul, a, b))


def add(*vectors):
    return [math.fsum(numbers) for numbers in zip(*vectors, strict=True)]


def linear(vector, matrix, bias=None):
    """W x + b, or W x."""
    out = [dot(row, vector) for row in matrix]
    return out if bias is None else add(out, bias)


def norm(vector, gain, shift, eps):
    """Layer normalisation: by the variance that divides by n, with eps under the root; a shift of None is 0."""
    shift = [0.0] * len(vector) if shift is None else shift
    mean = math.fsum(vector) / len(vector)
    variance = math.fsum((x - mean) ** 2 for x in vector) / len(vector)
    return [(x - mean) / math.sqrt(variance + eps) * g + s for x, g, s in zip(vector, gain, shift, strict=True)]


def shares(scores, may):
    """Softmax over what may be read; where nothing may be, all is read evenly, as in the released code."""
    if not any(may):
        return [1 / len(scores)] * len(scores)
    top = max(score for score, allowed in zip(scores, may, strict=True) if allowed)
    raised = [math.exp(score - top) if allowed else 0.0 for score, allowed in zip(scores, may, strict=True)]
    return [x / math.fsum(raised) for x in raised]


def gelu(x):
    """With the normal distribution itself."""
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def gelu_new(x):
    """With a tanh in its place."""
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


BENDS = {
    "gelu": gelu,
    "gelu_new": gelu_new,
    "gelu_pytorch_tanh": gelu_new,
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "swish": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "linear": lambda x: x,
}


def activation(name, vector):
    return [BENDS[name](x) for x in vector]
