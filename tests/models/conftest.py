"""What the tests of families share: public models with every weight set, made once."""

import pytest

import battery


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """Each truth of the battery, made when first asked for and kept; do not change its folder."""
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return battery.Shelf(tmp_path_factory.mktemp("battery"))
