"""What the outputs of an ONNX file are: states of tokens, a pooled vector, or a head's logits."""

from dataclasses import dataclass

from sijo.checkpoints.onnx.graph import FLOAT, FLOAT16, OnnxModel
from sijo.nn.head_specs import CLASSIFIER

HIDDEN, SENTENCE, LOGITS = ("last_hidden_state", "token_embeddings"), "sentence_embedding", "logits"
"""What outputs are called: the states of all tokens by transformers and by sentence-transformers; and others."""
OLD_OUTPUT = "output_0"
"""What older exporters called whatever came first."""
TAGGER = "token-classification"
JUDGING = (CLASSIFIER, TAGGER)
"""The heads of a network whose logits are of a folder's labels: (B, C) and (B, L, C)."""


@dataclass(frozen=True)
class OnnxOutputs:
    """The outputs of a network by what they are; None for what it does not give."""

    hidden: str | None
    """The states of all tokens, (B, L, D)."""
    sentence: str | None
    """A pooled vector, (B, D)."""
    logits: str | None
    """Of a head, (B, C), or (B, L, C) for one that judges each token."""

    @classmethod
    def of(cls, model: OnnxModel, width: int) -> "OnnxOutputs":
        """Those of a network, by their names or, of one that an older exporter named, by its rank.

        width  of the states of its tokens
        """
        floats = {name: value for name, value in model.outputs.items() if value.data_type in (FLOAT, FLOAT16)}
        hidden = next((name for name in HIDDEN if name in floats), None)
        logits = LOGITS if LOGITS in floats else None
        old = floats.get(OLD_OUTPUT)
        if hidden is None and logits is None and old is not None and old.dims is not None:
            hidden = OLD_OUTPUT if len(old.dims) == 3 and old.dims[2] in (None, width) else None
            logits = OLD_OUTPUT if hidden is None else None
        return cls(hidden, SENTENCE if SENTENCE in floats else None, logits)

    def gives_vectors(self, *, steps: bool) -> bool:
        """Whether vectors of texts can be made of them.

        steps  whether something is done to the folder's pooled vectors, such as scaling: the file's vectors are
               behind it, and of those no average of windows can be taken
        """
        return self.hidden is not None or (self.sentence is not None and not steps)


def judging_heads(model: OnnxModel, width: int) -> tuple[str, ...]:
    """The heads that a network may have been exported with: by the shape of its logits, both where it is not told.

    width  of the states of its tokens
    """
    logits = OnnxOutputs.of(model, width).logits
    if logits is None:
        return ()
    dims = model.outputs[logits].dims
    return JUDGING if dims is None else {2: (CLASSIFIER,), 3: (TAGGER,)}.get(len(dims), ())
