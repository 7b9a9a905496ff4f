"""Label 300 real requests with the names of ten domains, and say how well that went.

python examples/demo.py
"""

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import sijo
from sijo.errors import SijoError
from sijo.evaluation.zero_shot import evaluate
from sijo.files.tables import TextTable
from sijo.zeroshot.label_files import read_labels

HERE = Path(__file__).parent


def main() -> None:
    """Classify, show a handful of rows, measure, and tell what to type next."""
    console = Console(highlight=False)
    blocks = list(TextTable(HERE / "requests.csv").blocks())
    texts = [text for block in blocks for text in block.texts]
    gold = [str(domain) for block in blocks for domain in block.values("domain")]
    described = {label.name: label.descriptions for label in read_labels(HERE / "domains.csv").labels}
    names = list(described)

    model = sijo.load()
    classifier = sijo.ZeroShotClassifier(labels=names, model=model)
    classifier.classify(texts[:8])  # the first batch also warms torch up
    started = time.perf_counter()
    rows = classifier.classify(texts)
    seconds = time.perf_counter() - started

    table = Table(box=None, pad_edge=False)
    for heading in ("request", "label", "score", "people say"):
        table.add_column(heading, justify="right" if heading == "score" else "left")
    for text, row, domain in list(zip(texts, rows, gold, strict=True))[:8]:
        right = "[green]" if row.label == domain else "[red]"
        table.add_row(text, f"{right}{row.label}", f"{row.score:.2f}", domain)
    console.print(table)

    by_name = evaluate(gold, classifier.predict_proba(texts), names)
    by_meaning = evaluate(gold, sijo.ZeroShotClassifier(described, model).predict_proba(texts), names)
    console.print(
        f"\n{len(rows)} real requests, {len(names)} labels, no training: "
        f"{seconds:.1f} s, {len(rows) / seconds:,.0f} rows/s\n"
        f"  labels by name alone            accuracy {by_name.accuracy} (95 % interval)\n"
        f"  with two descriptions each      accuracy {by_meaning.accuracy}\n"
    )
    console.print(
        "Now with a file of your own (.csv, .jsonl, .parquet or .txt):\n\n"
        '  .venv/bin/sijo classify YOUR.csv --column text --labels "billing,delivery,praise" -o labelled.csv\n\n'
        "Describe the labels, as examples/domains.csv does, and pass --labels-file; measure with sijo evaluate.",
        markup=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    try:
        main()
    except SijoError as error:
        raise SystemExit(f"demo: {error}") from None
