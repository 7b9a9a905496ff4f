"""Labels on a Spark cluster: spark-submit examples/spark_classify.py s3a://bucket/mail/ s3a://bucket/labelled/

INPUT and OUTPUT are folders of Parquet; the text is in a column `text`. Each of Spark's Python workers opens the
model once, with one thread, as Spark gives each task one core, and keeps it for all batches that it is handed. On
every machine: pip install sijo pandas. SIJO_LABELS="billing,delivery" says what to choose from, SIJO_MODEL which
model; the built-in one by default.

Spark makes the rows of a lost task again, and takes the files of each task once. Which rows stand together in a
file is Spark's affair: where that must be the same in every run, `sijo classify --parts` is the way.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import pandas as pd

ADDED = "label string, score double, tokens int, truncated boolean"
"""The columns that are added, as Spark calls them."""


@cache
def classifier(labels: tuple[str, ...], model: str | None) -> Any:
    """The model, opened once in each of Spark's Python workers."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import sijo

    return sijo.ZeroShotClassifier(labels=list(labels), model=model)


def classify(
    batches: Iterable[pd.DataFrame], labels: tuple[str, ...], model: str | None = None
) -> Iterator[pd.DataFrame]:
    """What `mapInPandas` calls: every batch of rows, with the columns added; a null text has no label."""
    for batch in batches:
        rows = classifier(labels, model).classify(batch["text"].fillna("").tolist())
        yield batch.assign(
            label=[row.label if row.tokens else None for row in rows],
            score=[row.score if row.tokens else None for row in rows],
            tokens=[row.tokens for row in rows],
            truncated=[row.truncated for row in rows],
        )


if __name__ == "__main__":
    from functools import partial

    import spark_classify  # this file by its name, as workers know it, so that what is opened in one stays open
    from pyspark.sql import SparkSession

    source, target = sys.argv[1:]
    chosen = tuple(label.strip() for label in os.environ["SIJO_LABELS"].split(","))
    spark = SparkSession.builder.appName("sijo").getOrCreate()
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "2048")
    spark.sparkContext.addPyFile(__file__)
    texts = spark.read.parquet(source)
    columns = ", ".join(f"`{field.name}` {field.dataType.simpleString()}" for field in texts.schema)
    work = partial(spark_classify.classify, labels=chosen, model=os.environ.get("SIJO_MODEL"))
    texts.mapInPandas(work, f"{columns}, {ADDED}").write.mode("errorifexists").parquet(target)
