"""The backend that runs ONNX files with onnxruntime, on the processor, and imports no torch.

Letters: B batch, L length, D width of the hidden states, C columns of a head's logits.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from sijo.checkpoints.describe import FolderDescription, fingerprint
from sijo.checkpoints.onnx.files import onnx_file, onnx_files
from sijo.checkpoints.onnx.opened import session_source
from sijo.checkpoints.onnx.outputs import JUDGING, TAGGER
from sijo.errors import CheckpointError, SettingError
from sijo.files.paths import FolderFile
from sijo.inference.backends.backend import Backend, IdBatch, Precision
from sijo.inference.backends.onnx_session import new_session, reason
from sijo.inference.pooling import pooled
from sijo.inference.threads import thread_count
from sijo.nn.encoder_decoder import EncoderDecoder, without_end
from sijo.nn.head_specs import CLASSIFIER


class OnnxBackend(Backend):
    """A folder's network out of an ONNX file.

    described  the folder
    file       its ONNX file
    head       the head that is to answer; None for vectors
    precision  what the file computes in
    threads    how many compute; None for `thread_count`'s
    """

    name = "onnx"
    call_cost = 64

    def __init__(
        self,
        described: FolderDescription,
        file: FolderFile,
        head: str | None = None,
        precision: Precision = "exact",
        threads: int | None = None,
    ) -> None:
        self.precision, self.device = precision, "cpu"
        self.heads = frozenset(() if head is None else (head,))
        self._described, self._file = described, file
        with session_source(file, described) as source:
            self._outputs, self._files = source.outputs, source.files
            self._must_answer(head)
            self._session = new_session(source, thread_count(threads))
        described.onnx_contents.clear()
        self._end = self._end_of(head)
        self._inputs = {
            given.name: np.int32 if "int32" in given.type else np.int64 for given in self._session.get_inputs()
        }

    @classmethod
    def open(
        cls,
        described: FolderDescription,
        *,
        head: str | None,
        device: str = "auto",
        precision: Precision = "exact",
        threads: int | None = None,
    ) -> "OnnxBackend":
        """The file of a precision in a folder; SettingError where there is none, or it does not give what is
        asked."""
        file = onnx_file(described.folder, precision)
        if file is None and described.onnx_alone is not None:
            raise SettingError(
                f"{described.folder} holds no ONNX file of precision {precision}, and no weights that another "
                f"backend would read; use --precision {' or '.join(onnx_files(described.folder))} (in Python: "
                "precision=)"
            )
        if file is None:
            raise SettingError(
                f"{described.folder} holds no ONNX file of precision {precision}; make one with `sijo export "
                f"{described.folder} --to onnx`, or use --backend torch (in Python: backend=)"
            )
        return cls(described, file, head, precision, threads)

    def _must_answer(self, head: str | None) -> None:
        """Raise SettingError where the file does not give what is asked of it."""
        otherwise = ""
        if self._described.onnx_alone is None:
            otherwise = ", or use --backend torch (in Python: backend=)"
        if head is not None and (self._outputs.logits is None or head not in JUDGING):
            raise SettingError(
                f"{self._file} gives no logits, so it was exported without the head {head}; export it with that "
                f"head{otherwise}"
            )
        if head is None and not self._outputs.gives_vectors(steps=bool(self._described.sentence.steps)):
            raise SettingError(
                f"{self._file} gives no states of tokens to make vectors of (last_hidden_state); export it as an "
                f"encoder{otherwise}"
            )

    def _end_of(self, head: str | None) -> int | None:
        """The token that each text must have for a head that judges it there; None for another head."""
        a = self._described.architecture
        if head != CLASSIFIER or not isinstance(a, EncoderDecoder):
            return None
        held = None if self._described.onnx_alone is not None else self._described.head_value(head)
        return a.decoder.end if held is None or getattr(held, "reads", None) == "end" else None

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """A digest of what decides the answers: the file and its tensors, the settings, the tokenizer."""
        told = f"onnx {self.precision} {sorted(self.heads)}"
        return fingerprint(self._described, self._files, told, self._files)

    def vectors(self, batch: IdBatch, skips: Sequence[int] = ()) -> np.ndarray:
        """One pooled vector for each input, (B, D) float32.

        By the file's own pooling where it has it and nothing stands behind it: of the windows of a long text the
        pooled vectors are averaged before any such step. Else by ours, over the states.
        """
        sentence, found, width = self._described.sentence, self._outputs, self._described.architecture.hidden_size
        count, length = batch.input_ids.shape
        if found.sentence is not None and not any(skips) and not sentence.steps:
            return self._answer(found.sentence, batch, (count, sentence.width(width)))
        if found.hidden is None:
            raise SettingError(
                f"{self._file} gives no states of tokens, so a prompt cannot be left out of its vectors; export it "
                "as an encoder, or use --backend torch (in Python: backend=)"
            )
        return pooled(
            self._answer(found.hidden, batch, (count, length, width)), batch.keep, sentence.pooling, skips
        )

    def logits(self, batch: IdBatch, head: str = CLASSIFIER) -> np.ndarray:
        """The head's logits for each input, (B, C) float32, or for each of its tokens, (B, L, C).

        Raises TextError for a text without the token at which a head behind a decoder judges it.
        """
        assert self._outputs.logits is not None
        if self._end is not None:
            ends = batch.input_ids == self._end
            ended = (ends if batch.keep is None else ends & batch.keep).any(1)
            if not ended.all():
                raise without_end(int(ended.argmin()), self._end)
        places = batch.input_ids.shape if head == TAGGER else batch.input_ids.shape[:1]
        return self._answer(self._outputs.logits, batch, (*places, len(self._described.labels)))

    def why_not_finite(self) -> str:
        """By the precision."""
        if self.precision == "exact":
            return (
                f"its numbers are beyond float32, or {self._file} is damaged; make it anew with `sijo export`, or "
                "choose another model (--model)"
            )
        return f"it computes in {self.precision}; use --precision exact (in Python: precision=)"

    def _answer(self, output: str, batch: IdBatch, shape: tuple[int, ...]) -> np.ndarray:
        """An output for a batch, in float32; CheckpointError where it is not of that shape, or there is none."""
        keep, types = batch.keep, batch.token_type_ids
        given = {
            "input_ids": batch.input_ids,
            "attention_mask": np.ones_like(batch.input_ids) if keep is None else keep,
            "token_type_ids": np.zeros_like(batch.input_ids) if types is None else types,
        }
        feed = {name: given[name].astype(dtype, copy=False) for name, dtype in self._inputs.items()}
        try:
            answer: np.ndarray = self._session.run([output], feed)[0]
        except Exception as error:  # onnxruntime's have no base of their own
            raise CheckpointError(
                f"{self._file} does not compute on {batch.input_ids.shape}: {reason(error)}"
            ) from None
        if answer.shape != shape:
            raise CheckpointError(
                f"{self._file} gives {output} of shape {answer.shape}, and by config.json it is {shape}: it was "
                "made of another model; make it anew with `sijo export`"
            )
        return answer.astype(np.float32, copy=False)
