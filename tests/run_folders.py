"""Folders as runs leave them, their reports, and a reader of these."""

import json
from html.parser import HTMLParser

from sijo.app.report import report

SETTINGS = {"recipe": "electra-tiny", "model": {"heads": 4, "schedule": [0, 1]}, "run": {"steps": 40, "clip": None}}
LINE = {"step": 10, "samples": 320, "tokens": 4000, "lr": 1e-4, "gradient_norm": 0.5, "loss": 26.5}
TIMING = {"step": 10, "seconds": 1.5, "tokens_per_second": 2666.0, "matmul_share": 0.31}
MLM = {
    "step": 20,
    "objective": "mlm",
    "text": ["[CLS]", "the", "[MASK]", "land", "##s", "[SEP]"],
    "asked": [False, False, True, True, False, False],
    "truth": ["[CLS]", "the", "old", "sea", "##s", "[SEP]"],
    "guess": [None, None, "old", "rain", None, None],
}
RTD = {
    "step": 30,
    "objective": "rtd",
    "text": ["[CLS]", "▁the", "▁new", "▁sea", "▁was", "▁salt", "y"],
    "asked": [False, False, True, True, True, False, False],
    "truth": ["[CLS]", "▁the", "▁old", "▁rain", "▁was", "▁salt", "y"],
    "guess": [None, None, "▁new", "▁sea", "▁was", None, None],
    "replaced": [False, False, True, True, False, False, False],
    "spotted": [0.01, 0.02, 0.75, 0.25, 0.5, 0.04, 0.05],
}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """What a browser would find: elements with their attributes and words, and what is not closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words, self.of, self.marked = [], [], [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))
        if name != "meta":
            self.open.append(name)
            self.marked.append((name, dict(attributes).get("class"), dict(attributes).get("title"), []))
            self.of.setdefault(len(self.open), self.marked[-1])
            self.of[len(self.open)] = self.marked[-1]

    def handle_endtag(self, name):
        assert self.open.pop() == name, f"</{name}> closes something else"

    def handle_data(self, words):
        self.words.append(words)
        for depth in range(1, len(self.open) + 1):
            self.of[depth][3].append(words)

    def having(self, name, css=None):
        """The words of all elements of a kind, and of a class where one is given."""
        return ["".join(words) for kind, classes, _, words in self.marked if (kind, classes) == (name, css)]

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def lay(folder, *, settings=SETTINGS, lines=4, timings=4, examples=(MLM, RTD), **more):
    """A run's folder; what is None is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    if settings is not None:
        (folder / "settings.json").write_text(json.dumps(settings))
    tables = {
        "metrics.jsonl": [
            LINE
            | {"step": 10 * n, "samples": 320 * n, "tokens": 4000 * n, "mlm": 7 / n, "mlm_right": n / 200, **more}
            for n in range(1, lines + 1)
        ],
        "timings.jsonl": [TIMING | {"step": 10 * n, "seconds": 900.0 * n} for n in range(1, timings + 1)],
        "examples.jsonl": examples,
    }
    for name, rows in tables.items():
        if rows:
            (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def drawn(*folders, out=None):
    report.run(folders, out)
    return (out or folders[0] / "report.html").read_text(encoding="utf-8")


def interval(value, low=0.5, high=0.9):
    return {"value": value, "low": low, "high": high}


def lay_results(folder, task, rows, labels=(), **more):
    """A finished run of fine-tuning with these predictions; what is None is not there."""
    lay(folder, settings={"task": task, "cutting": {"length": 16}}, lines=0, timings=0, examples=())
    metrics = {"accuracy": interval(0.75), "macro_f1": interval(0.7), "micro_f1": interval(0.75)}
    results = {
        "task": task, "metric": "accuracy", "seed": 0, "best_step": 30, "evaluation_rows": len(rows), "loss": 0.432,
        "metrics": metrics, "macro_f1_over": "labels in gold or predictions",
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(results | more))
    (folder / "data.json").write_text(json.dumps({"labels": list(labels)}))
    lines = [{"row": number, "text": f"text {number}"} | row for number, row in enumerate(rows, 1)]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluations = [
        {"step": step, "epoch": 1.0, "loss": 1 / step, "accuracy": step / 50, "micro_f1": step / 50}
        for step in (10, 30)
    ]
    (folder / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in evaluations))
    return folder
