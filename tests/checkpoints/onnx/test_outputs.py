"""What a network is said to answer by, from its outputs alone."""

from types import SimpleNamespace

import pytest

from sijo.checkpoints.onnx.graph import FLOAT, INT64, GraphValue
from sijo.checkpoints.onnx.outputs import JUDGING, OnnxOutputs, judging_heads

CLASSIFIER, TAGGER = JUDGING


def model(**outputs):
    values = {
        name: value if isinstance(value, GraphValue) else GraphValue(name, FLOAT, value)
        for name, value in outputs.items()
    }
    return SimpleNamespace(outputs=values)


@pytest.mark.parametrize(
    ("outputs", "heads"),
    [
        ({"logits": (None, 3)}, (CLASSIFIER,)),
        ({"logits": (None, None, 3)}, (TAGGER,)),
        ({"logits": None}, JUDGING),
        ({"logits": (3,)}, ()),
        ({"logits": ()}, ()),
        ({"logits": (None, None, None, 3)}, ()),
        ({"logits": GraphValue("logits", INT64, (None, 3))}, ()),
        ({"last_hidden_state": (None, None, 16)}, ()),
        ({"token_embeddings": (None, None, 16), "sentence_embedding": (None, 16)}, ()),
        ({"output_0": (None, None, 16)}, ()),
        ({"output_0": (None, 3)}, (CLASSIFIER,)),
        ({"output_0": (None, None, 3)}, (TAGGER,)),
        ({"output_0": None}, ()),
    ],
)
def test_heads_by_the_shape_of_logits(outputs, heads):
    # kills: a tagger taken for a classifier, states for logits, and a guess where the file does not say
    assert judging_heads(model(**outputs), 16) == heads


def test_vectors_are_made_of_states_or_of_what_is_not_scaled():
    # kills: windows of a long text averaged after they were scaled
    states, pooled, both = OnnxOutputs("h", None, None), OnnxOutputs(None, "s", None), OnnxOutputs("h", "s", None)
    assert [one.gives_vectors(steps=True) for one in (states, pooled, both)] == [True, False, True]
    assert [one.gives_vectors(steps=False) for one in (states, pooled, both)] == [True, True, True]
    assert not OnnxOutputs(None, None, "logits").gives_vectors(steps=False)
