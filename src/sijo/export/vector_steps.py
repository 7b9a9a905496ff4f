"""The modules behind a sentence encoder's pooling, in a graph, always in float32.

Letters: B batch, D width of a vector, M width behind a Dense module.
"""

from collections.abc import Sequence

from sijo.checkpoints.vectors.steps import NORM_EPS, DenseStep, UnitLengthStep, VectorStep
from sijo.export.graph import GraphBuilder


def add_steps(graph: GraphBuilder, steps: Sequence[VectorStep], vector: str) -> str:
    """What the pooled vector (B, D) is behind the steps, (B, M), as `inference/vector_steps.py` has it."""
    for number, step in enumerate(steps):
        if isinstance(step, UnitLengthStep):
            length = graph.op("ReduceL2", vector, graph.integers(-1), keepdims=1)
            vector = graph.op("Div", vector, graph.op("Max", length, graph.floats(1e-12)))
            continue
        names = {name: graph.constant(f"step.{number}.{name}", step.tensors[name]) for name in step.tensors}
        if isinstance(step, DenseStep):
            vector = _dense(graph, step, names, vector)
        else:
            own = names["norm.weight"], names["norm.bias"]
            vector = graph.op("LayerNormalization", vector, *own, axis=-1, epsilon=NORM_EPS)
    return vector


def _dense(graph: GraphBuilder, step: DenseStep, names: dict[str, str], vector: str) -> str:
    bias = (names["linear.bias"],) if "linear.bias" in names else ()
    out = graph.op("Gemm", vector, names["linear.weight"], *bias, transB=1)
    match step.activation:
        case "SiLU":
            out = graph.op("Mul", out, graph.op("Sigmoid", out))
        case "ReLU":
            out = graph.op("Relu", out)
        case "Tanh" | "Sigmoid":
            out = graph.op(step.activation, out)
        case "GELU":
            out = graph.op("Gelu", out)
    if not step.adds_input:
        return out
    if "residual.weight" in names:
        vector = graph.op("Gemm", vector, names["residual.weight"], transB=1)
    return graph.op("Add", out, vector)
