"""What the tests of exported files share: a network's parts, and its file opened without any folder."""

import numpy as np

from sijo.export.export import parts_of
from sijo.export.network import onnx_model


def parts(model, head=None):
    """The parts of a model that `export` would write."""
    return parts_of(model, head)


def opened(written, *, precision="float32", ranges=None, states=False, threads=1):
    """A session of `NetworkParts`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    proto = onnx_model(written, {}, precision=precision, ranges=ranges, states=states)
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def answers(session, ids, keep=None, types=None):
    """Every output of a session by its name."""
    ids = np.asarray(ids, np.int64)
    feed = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids) if keep is None else np.asarray(keep, np.int64),
        "token_type_ids": np.zeros_like(ids) if types is None else np.asarray(types, np.int64),
    }
    known = [entry.name for entry in session.get_inputs()]
    names = [entry.name for entry in session.get_outputs()]
    return dict(zip(names, session.run(None, {name: feed[name] for name in known}), strict=True))
