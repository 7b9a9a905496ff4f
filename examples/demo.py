"""Label 300 requests in English and 120 in Korean with the names of ten domains, and say how well that went.

python examples/demo.py
"""

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

import sijo
from sijo.errors import SijoError
from sijo.evaluation.zero_shot import evaluate
from sijo.files.tables import TextTable
from sijo.zeroshot.label_files import read_labels

HERE = Path(__file__).parent
SHOWN = 5
"""Rows of each language."""


@dataclass(frozen=True)
class Requests:
    """What people asked for, which domain that is, and what the domains are called."""

    language: str
    texts: list[str]
    gold: list[str]
    described: dict[str, tuple[str, ...]]

    @classmethod
    def read(cls, language: str, requests: str, domains: str) -> "Requests":
        """Those of two files beside this one."""
        blocks = list(TextTable(HERE / requests).blocks())
        return cls(
            language,
            [text for block in blocks for text in block.texts],
            [str(domain) for block in blocks for domain in block.values("domain")],
            {label.name: label.descriptions for label in read_labels(HERE / domains).labels},
        )


def main() -> None:
    """Classify in two languages, show a handful of rows, measure, and tell what to type next."""
    console = Console(highlight=False)
    began = time.perf_counter()
    for requests in (
        Requests.read("English", "requests.csv", "domains.csv"),
        Requests.read("Korean", "requests.ko.csv", "domains.ko.csv"),
    ):
        with TemporaryDirectory() as kept:
            show(requests, console, Path(kept))
    console.print(
        f"{time.perf_counter() - began:.1f} s in all. Now with a file of your own (.csv, .jsonl, .parquet or .txt):"
    )
    console.print(
        '\n  .venv/bin/sijo classify YOUR.csv --column text --labels "billing,delivery,praise" -o labelled.csv\n\n'
        "Describe the labels, as examples/domains.csv does, and pass --labels-file; add --calibrate auto; measure "
        "with sijo evaluate.",
        markup=False,
        soft_wrap=True,
    )


def show(requests: Requests, console: Console, kept: Path) -> None:
    """Label requests, and print some of them and how many are right; their vectors are read once, and kept."""
    names, texts, gold = list(requests.described), requests.texts, requests.gold
    classifier = sijo.ZeroShotClassifier(labels=names, backend="onnx", cache=kept)
    classifier.classify(texts[:1])  # opens the model
    started = time.perf_counter()
    rows = classifier.classify(texts)
    seconds = time.perf_counter() - started

    table = Table(box=None, pad_edge=False)
    for heading in ("request", "label", "score", "people say"):
        table.add_column(heading, justify="right" if heading == "score" else "left")
    for text, row, domain in list(zip(texts, rows, gold, strict=True))[:: len(texts) // SHOWN][:SHOWN]:
        right = "[green]" if row.label == domain else "[red]"
        table.add_row(text, f"{right}{row.label}", f"{row.score:.2f}", domain)
    console.print(table)

    by_name = evaluate(gold, classifier.predict_proba(texts), names)
    classifier.set_params(labels=requests.described)
    described = evaluate(gold, classifier.predict_proba(texts), names)
    classifier.set_params(calibrate="auto").fit(texts)  # which sees no label of theirs
    calibrated = evaluate(gold, classifier.predict_proba(texts), names)
    console.print(
        f"\n{len(rows)} requests in {requests.language}, {len(names)} labels, no training: "
        f"{seconds:.1f} s, {len(rows) / seconds:,.0f} rows/s\n"
        f"  labels by name alone            accuracy {by_name.accuracy} (95 % interval)\n"
        f"  with two descriptions each      accuracy {described.accuracy}\n"
        f"  and calibrated without labels   accuracy {calibrated.accuracy}\n"
    )


if __name__ == "__main__":
    try:
        main()
    except SijoError as error:
        raise SystemExit(f"demo: {error}") from None
