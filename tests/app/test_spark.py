"""examples/spark_classify.py: what Spark's `mapInPandas` is given, called with batches as Spark would."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.filterwarnings("ignore::sijo.errors.SijoWarning")


@pytest.fixture
def example():
    path = Path(__file__).parents[2] / "examples" / "spark_classify.py"
    spec = importlib.util.spec_from_file_location("spark_classify", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    module.classifier.cache_clear()


def test_batches_keep_rows_and_columns_and_open_one_model(example, tiny_model, monkeypatch):
    # kills: rows lost at a border, a null text that is labelled, a column of another type than Spark was told, a
    # model for each batch
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    texts = ["the old sea", None, "the land", "", "the sea and the land"]
    whole = pd.DataFrame({"text": texts, "id": range(5)}, index=[7, 7, 8, 9, 1])
    labels = ("sea", "land")
    alone = pd.concat(example.classify([whole], labels, str(tiny_model)))
    cut = pd.concat(example.classify(iter([whole[:2], whole[2:2], whole[2:]]), labels, str(tiny_model)))
    pd.testing.assert_frame_equal(alone, cut, check_dtype=False)  # of an empty batch it is not known
    names = [part.split()[0] for part in example.ADDED.split(", ")]
    assert [*cut.columns] == ["text", "id", *names] and cut["id"].tolist() == [*range(5)]
    assert cut["label"].isna().tolist() == cut["score"].isna().tolist() == [False, True, False, True, False]
    assert {*cut["label"].dropna()} <= {*labels} and cut["tokens"].tolist()[1] == 0
    assert example.classifier.cache_info().misses == 1
