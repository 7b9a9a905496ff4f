"""What the tests without torch share: folders with and without an ONNX file.

They need pytest and what `pip install sijo` brings, and nothing else: `make test` runs them in such an environment
once more, without the other tests' fixtures.
"""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))


@pytest.fixture(scope="session")
def onnx_folder(tmp_path_factory):
    """A sentence encoder of 2 layers, its weights in safetensors and in an ONNX file; do not change it."""
    from conftest import tiny_weights, write_tiny_model
    from onnx_networks import write_onnx

    folder = tmp_path_factory.mktemp("onnx") / "tiny"
    write_tiny_model(folder)
    write_onnx(folder, tiny_weights())
    return folder


@pytest.fixture(scope="session")
def torch_folder(tmp_path_factory):
    """The same without the ONNX file."""
    from conftest import write_tiny_model

    folder = tmp_path_factory.mktemp("torch") / "tiny"
    write_tiny_model(folder)
    return folder
