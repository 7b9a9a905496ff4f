"""The background that a model carries: what it needs to centre labels for one text alone.

In the model's folder lies one of two files:

    zero_shot_background.safetensors   vectors of texts in 8 bits, for the `embedding` scorer: the labels' scores on
                                       all of them cost one product, whatever the labels
    zero_shot_background.txt           the texts themselves, one a line, for any scorer, which reads them once for
                                       each set of labels

Letters: B texts of the background, D width of a vector, L labels.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from sijo.checkpoints.weight_files import payload_begins, read_header
from sijo.errors import CheckpointError, SettingError
from sijo.files.atomic import whole_file
from sijo.files.paths import present
from sijo.inference.outputs import unit
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest

VECTORS, TEXTS = "zero_shot_background.safetensors", "zero_shot_background.txt"
MOST_BYTES = 64_000_000
MOST_TEXTS = 10_000


class OwnBackground:
    """The scores of labels on the texts that a model carries."""

    def __init__(self, scorer: Scorer, vectors: np.ndarray | None, texts: Sequence[str] = ()) -> None:
        self._scorer, self._vectors, self._texts = scorer, vectors, texts

    def __len__(self) -> int:
        return len(self._texts) if self._vectors is None else len(self._vectors)

    @cached_property
    def digest(self) -> str:
        """Of the vectors or texts, 32 hexadecimal digits."""
        content = repr(list(self._texts)).encode() if self._vectors is None else self._vectors.tobytes()
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    def scores(self, labels: Sequence[Label], template: str, *, absolute: bool) -> np.ndarray:
        """Scores (B, L) float64."""
        if self._vectors is not None:
            assert isinstance(self._scorer, EmbeddingScorer)
            return self._scorer.nearness(self._vectors, labels, template)
        parts = [self._texts[start : start + self._scorer.rows] for start in range(0, len(self), self._scorer.rows)]
        requests = [ScoreRequest(part, labels, template, absolute) for part in parts]
        return np.concatenate([self._scorer.score(request)[0] for request in requests])


def own_background(scorer: Scorer) -> OwnBackground | None:
    """What the scorer's model carries; None where it carries nothing for this scorer, or was not opened from a
    folder.

    Vectors were read with the model's own prompt, and are none for another.

    Raises CheckpointError for a file that is damaged, or is of another model's width.
    """
    folder = scorer.engine.model.source
    if folder is None:
        return None
    if isinstance(scorer, EmbeddingScorer) and scorer.engine.before == scorer.engine.model.sentence.prompt(None):
        vectors = _vectors(folder, scorer.engine.width)
        if vectors is not None:
            return OwnBackground(scorer, vectors)
    file = present(folder, TEXTS)
    if file is None:
        return None
    try:
        lines = file.read_bytes(MOST_BYTES).decode().splitlines()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{file} is not UTF-8 ({error.reason}); copy it again") from None
    texts = [line for line in lines if line.strip()]
    if not 0 < len(texts) <= MOST_TEXTS:
        raise CheckpointError(f"{file} holds {len(texts):,} texts; a background has 1 to {MOST_TEXTS:,}")
    return OwnBackground(scorer, None, texts)


def _vectors(folder: Path, width: int) -> np.ndarray | None:
    """Unit vectors (B, D) float64."""
    file = present(folder, VECTORS)
    if file is None:
        return None
    content = file.read_bytes(MOST_BYTES)
    entries = read_header(file, content)
    vectors, scales = (entries.get(name) for name in ("vectors", "scales"))
    if (
        vectors is None
        or scales is None
        or (vectors.dtype, scales.dtype) != ("I8", "F32")
        or vectors.shape != (*scales.shape, width)
        or vectors.shape[0] == 0
    ):
        raise CheckpointError(
            f"{file} does not hold vectors (B, {width}) of 8 bits and scales (B,) of 32, so it is of another "
            "model, or of none; copy it again, or write it anew"
        )
    begin = payload_begins(content)
    bits_BD = np.frombuffer(content[begin + vectors.begin : begin + vectors.end], np.int8).reshape(vectors.shape)
    scales_B = np.frombuffer(content[begin + scales.begin : begin + scales.end], "<f4").astype(np.float64)
    if not np.isfinite(scales_B).all():
        raise CheckpointError(f"{file} holds a scale that is NaN or infinite; copy it again, or write it anew")
    return unit(bits_BD * scales_B[:, None])


def write_background(folder: Path, vectors: np.ndarray) -> Path:
    """Put vectors of texts into a model's folder, in 8 bits each number; returns the file, whole or not there.

    Write it before the folder's manifest is made.

    folder   that of a sentence encoder
    vectors  (B, D) of texts such as will be labelled, read with the model's own prompt; 512 are plenty

    Raises SettingError for vectors of no length, or that are not finite.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_background(folder, np.array([[0.6, 0.8], [1.0, 0.0]])).name
    'zero_shot_background.safetensors'
    >>> _vectors(folder, 2).round(2).tolist()
    [[0.6, 0.8], [1.0, 0.0]]
    """
    from safetensors.numpy import save

    largest = np.abs(vectors).max(-1)
    if not (np.isfinite(largest) & (largest > 0)).all():
        raise SettingError("a vector of the background is zero or not finite; leave texts without words out")
    scales = (largest / 127).astype(np.float32)
    bits = np.round(vectors / scales[:, None]).clip(-127, 127).astype(np.int8)
    file = folder / VECTORS
    with whole_file(file) as out:
        out.write(save({"vectors": bits, "scales": scales}))
    return file
