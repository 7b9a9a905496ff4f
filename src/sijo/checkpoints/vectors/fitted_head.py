"""A linear head over a sentence encoder's vectors: what `sijo fit` leaves beside the encoder's own files.

    logits = W unit(vector) + b        W (L, D), b (L,)

It lies in a folder of its own as a Dense module of sentence-transformers, whose activation is the identity, and is
not named in modules.json: whoever opens the folder as an encoder gets vectors, as from the one it was made from.
The names of its columns are in config.json, where transformers has those of a classification head (`id2label`,
`problem_type`).

Letters: L labels, D width of a vector.
"""

from collections.abc import Sequence
from pathlib import Path

from sijo.checkpoints.vectors.steps import DenseStep, read_step, write_step
from sijo.errors import CheckpointError, RefusedError
from sijo.files.paths import present

FITTED = "fitted_Dense"
"""The folder of the head, in that of the model."""


def read_fitted_head(folder: Path, labels: Sequence[str], width: int) -> DenseStep | None:
    """The fitted head of a model's folder; None where it has none.

    labels  the names of its columns, by config.json
    width   of the vectors that it is for

    Raises what `read_step` does, CheckpointError where there is not a row for each label, and RefusedError for what
    is no linear map with a bias.
    """
    if present(folder, f"{FITTED}/config.json") is None:
        return None
    step = read_step(folder, FITTED, "Dense", width)
    assert isinstance(step, DenseStep)
    if step.activation != "Identity" or step.adds_input or "linear.bias" not in step.tensors:
        raise RefusedError(
            f"{folder / FITTED} is no linear map with a bias, which is what a fitted head is; fit it again"
        )
    if step.outputs != len(labels):
        raise CheckpointError(
            f"{folder / FITTED} has {step.outputs} rows, and config.json names {len(labels)} labels; its parts are "
            "of different models, so copy the folder again"
        )
    return step


def write_fitted_head(head: DenseStep, folder: Path) -> None:
    """Write a head into a model's folder that is being written."""
    (folder / FITTED).mkdir()
    write_step(head, folder / FITTED)
