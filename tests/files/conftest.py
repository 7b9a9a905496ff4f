"""A folder to test on."""

import pytest

from sijo.files.atomic import whole_folder

FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 1000, "1_Pooling/config.json": b"[]"}


@pytest.fixture
def saved(tmp_path):
    """A folder that was saved whole, alone in its parent."""
    target = tmp_path / "runs/model"
    with whole_folder(target) as folder:
        for name, content in FILES.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
    return target
