"""What an ONNX file must be for its network to be this folder's: operators, inputs, outputs, widths and tables.

What is not is refused by name, before onnxruntime is given anything.
"""

import math

from sijo.checkpoints.describe import FolderDescription
from sijo.checkpoints.onnx.block_nodes import must_fit
from sijo.checkpoints.onnx.graph import INT32, INT64, GraphNode, GraphValue, OnnxModel
from sijo.checkpoints.onnx.outputs import HIDDEN, LOGITS, OnnxOutputs
from sijo.errors import RefusedError, SettingError
from sijo.files.paths import FolderFile
from sijo.processor import adds_bytes_exactly

NEWEST_IR, NEWEST_OPSET, OLDEST_OPSET = 14, 28, 9
"""What onnxruntime 1.32 knows of the format and of its plain operators, and since when exporters write encoders."""
OPERATORS = {
    "": """
        Abs Add And ArgMax ArgMin Attention BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Clip
        Concat Constant ConstantOfShape Conv Cos CumSum DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum
        Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm Greater
        GreaterOrEqual HardSigmoid Identity IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
        MatMul MatMulInteger Max Mean Min Mish Mod Mul Neg NonZero Not OneHot Or Pad Pow QLinearMatMul
        QuantizeLinear RMSNormalization Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
        ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round ScatterElements ScatterND Shape
        Sigmoid Sign SimplifiedLayerNormalization Sin Size Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub
        Sum Swish Tan Tanh Tile TopK Transpose Trilu Unsqueeze Where Xor
    """,
    "com.microsoft": """
        Attention BiasGelu BiasSoftmax BiasSplitGelu DequantizeLinear DynamicQuantizeMatMul EmbedLayerNormalization
        FastGelu FusedGemm FusedMatMul GatedRelativePositionBias GatherBlockQuantized GatherND Gelu
        MatMulIntegerToFloat MatMulNBits MultiHeadAttention QAttention QEmbedLayerNormalization QGemm QLinearAdd
        QLinearMul QLinearSigmoid QLinearSoftmax QOrderedMatMul QuantizeLinear QuickGelu RelativePositionBias
        SkipLayerNormalization SkipSimplifiedLayerNormalization TransposeMatMul Trilu
    """,
}
"""The operators that may be there, by domain: those of encoders, as exported, rounded or fused by others. None
reads a file, runs a part of the graph again or keeps anything from one call to the next."""
ALLOWED = {domain: frozenset(names.split()) for domain, names in OPERATORS.items()}
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
LARGEST_MADE = 1 << 31
"""Numbers that a graph may ask for by a constant shape."""
SHAPED_BY = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Pad": 1, "OneHot": 1, "Range": 1}
"""Operators that make as many numbers as an input says, and which."""


NEEDS, VNNI = "sijo.needs", "vnni"
"""The key of a file's metadata that says what the processor must have, and what it may say."""
BY_BATCH = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul"})
"""Operators that round by one scale for all rows of a batch."""


def must_suit(model: OnnxModel, file: FolderFile, described: FolderDescription) -> OnnxOutputs:
    """What the network gives, once it is sure that it is made of known operators and of the size of the folder's.

    Raises RefusedError where it is not, and SettingError where this processor does not compute it rightly.
    """
    _check_versions(model, file)
    _check_needs(model, file)
    for what in model.unsupported:
        raise RefusedError(f"{file} has {what}, which no network for text needs; this is not opened")
    unknown = sorted({_named(node) for node in model.nodes if node.operator not in ALLOWED.get(node.domain, ())})
    if unknown:
        raise RefusedError(
            f"{file} asks for {', '.join(unknown[:5])}{', …' if len(unknown) > 5 else ''}, which sijo does not let "
            "a file ask for: it knows the operators of encoders, and loads no others. Make the file anew with "
            f"`sijo export {described.folder} --to onnx`, or use --backend torch"
        )
    must_fit(model, file)
    _check_growth(model, file)
    _check_inputs(model, file)
    _check_table(model, file, described)
    return _outputs(model, file, described)


def _check_versions(model: OnnxModel, file: FolderFile) -> None:
    opset = model.opsets.get("", model.opsets.get("ai.onnx", 0))
    if model.ir_version > NEWEST_IR or opset > NEWEST_OPSET:
        raise RefusedError(
            f"{file} is of ONNX format {model.ir_version} and operators {opset}, and this sijo knows up to "
            f"{NEWEST_IR} and {NEWEST_OPSET}; update sijo, or export it for an older opset"
        )
    if opset < OLDEST_OPSET:
        raise RefusedError(
            f"{file} is of the operators {opset} of ONNX, and sijo reads {OLDEST_OPSET} to {NEWEST_OPSET}; export "
            "it anew"
        )


def _check_needs(model: OnnxModel, file: FolderFile) -> None:
    """Refuse a file whose sums of bytes saturate on this processor, and other numbers would come of them."""
    needs = model.metadata.get(NEEDS)
    if needs not in (None, VNNI):
        raise RefusedError(f"{file} needs {needs!r:.60} of a processor, which this sijo does not know; update sijo")
    if needs == VNNI and not adds_bytes_exactly():
        raise SettingError(
            f"{file} was made for processors with VNNI, and on this one its sums would saturate; use --precision "
            "exact (in Python: precision=), or export it anew here"
        )


def _check_growth(model: OnnxModel, file: FolderFile) -> None:
    """Refuse a step that makes, of a constant shape, more numbers than any text has."""
    for node in model.nodes:
        place = SHAPED_BY.get(node.operator)
        if place is None or len(node.inputs) <= place:
            continue
        shape = model.stored.get(node.inputs[place]) or model.constants.get(node.inputs[place])
        sizes = () if shape is None else shape.numbers or ()
        if (count := math.prod(size for size in sizes if size > 0)) > LARGEST_MADE:
            raise RefusedError(
                f"{file} makes {count:,} numbers at once in {_named(node)}, which no network for text needs; this "
                "is not opened"
            )


def _check_inputs(model: OnnxModel, file: FolderFile) -> None:
    for name, value in model.inputs.items():
        if name not in INPUTS:
            raise RefusedError(
                f"{file} asks for an input {name!r:.100}, and sijo gives {', '.join(INPUTS)}; export it as an "
                "encoder"
            )
        if value.data_type not in (INT32, INT64) or (value.dims is not None and len(value.dims) != 2):
            raise RefusedError(f"{file} asks for an input {name} that is no table of whole numbers; export it anew")
        if value.dims is not None and any(size is not None for size in value.dims):
            raise RefusedError(
                f"{file} reads only inputs of shape {_shape(value)}; export it with dynamic axes, as `sijo export` "
                "does"
            )
    if "input_ids" not in model.inputs:
        raise RefusedError(f"{file} has no input input_ids, so it is no network for token ids; export it anew")


def _check_table(model: OnnxModel, file: FolderFile, described: FolderDescription) -> None:
    """Refuse a file that has no table with a row for each of the folder's tokens."""
    rows = described.architecture.vocab_size
    tables = (*model.stored.values(), *model.constants.values())
    if not any(len(tensor.dims) >= 2 and tensor.dims[0] == rows for tensor in tables):
        raise RefusedError(
            f"{file} holds no table of {rows:,} rows, the number of tokens that config.json says (vocab_size): it "
            f"was made of another model. Make it anew with `sijo export {described.folder} --to onnx`"
        )


def _outputs(model: OnnxModel, file: FolderFile, described: FolderDescription) -> OnnxOutputs:
    """What each output is, once it is sure that it is of the folder's size."""
    outputs, width, labels = model.outputs, described.architecture.hidden_size, len(described.labels)
    found = OnnxOutputs.of(model, width)
    for name, ranks, last, what in (
        (found.hidden, (3,), width, "hidden_size"),
        (found.sentence, (2,), described.sentence.width(width), "hidden_size, and the pooling,"),
        (found.logits, (2, 3), labels, "id2label"),
    ):
        dims = None if name is None else outputs[name].dims
        if dims is not None and (len(dims) not in ranks or dims[-1] not in (None, last)):
            raise RefusedError(
                f"{file} gives {name} of shape {_shape(outputs[str(name)])}, and by config.json its last size is "
                f"{last} ({what} of the folder): it was made of another model. Make it anew with `sijo export "
                f"{described.folder} --to onnx`"
            )
    if found == OnnxOutputs(None, None, None):
        raise RefusedError(
            f"{file} gives {', '.join(outputs) or 'nothing'}, and neither states of tokens ({' or '.join(HIDDEN)}) "
            f"nor {LOGITS}; export it as an encoder or a classifier"
        )
    return found


def _named(node: GraphNode) -> str:
    return f"{node.domain or 'ai.onnx'}:{node.operator}"[:100].encode("unicode_escape").decode()


def _shape(value: GraphValue) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in value.dims or ())})"
