"""A session of onnxruntime: its settings, and its errors in one sentence."""

from typing import Any

from sijo.checkpoints.onnx.opened import SessionSource
from sijo.errors import CheckpointError

FATAL = 4
"""What is logged on standard error: nothing but an end; errors are raised besides."""


def new_session(source: SessionSource, threads: int) -> Any:
    """A session on the processor.

    source   the checked file
    threads  how many compute together; the same number gives the same bits

    No library of operators is loaded, nothing is counted or sent, and outside of a call no thread spins.
    Raises CheckpointError where onnxruntime cannot make one of the file.
    """
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = FATAL
    if source.folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", source.folder)
    try:
        return onnxruntime.InferenceSession(source.model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's have no base of their own
        raise CheckpointError(
            f"onnxruntime cannot make a network of {next(iter(source.files))}: {reason(error)}"
        ) from None


def reason(error: Exception) -> str:
    """The first line of an error of onnxruntime, without places in its own source."""
    line = str(error).strip().partition("\n")[0]
    return line.encode("unicode_escape").decode()[:300] or type(error).__name__
