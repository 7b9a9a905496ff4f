"""Runs small enough to be made whole in a second, over the real requests of examples/requests.csv."""

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

REQUESTS = Path(__file__).parents[1] / "examples" / "requests.csv"
SMALL = [
    "run.steps=12",
    "run.batch=6",
    "run.micro_tokens=96",
    "run.save_every=4",
    "run.log_every=2",
    "data.length=32",
    "tokenizer.vocab_size=500",
    "schedule.peak=0.01",
]


def small(name, *changes):
    """A tiny recipe, made smaller still."""
    from sijo.jobs.recipes import RECIPES
    from sijo.training.settings import with_changes

    settings = RECIPES[f"{name}-tiny"].settings
    networks = {"model": settings.model, "generator": settings.generator}
    shrunk = {
        place: None
        if network is None
        else replace(
            network,
            embedding_size=16,
            hidden_size=16,
            heads=2,
            intermediate_size=32,
            widening=None,
            schedule=(0, 0) if name == "albert" else (0, 1),
        )
        for place, network in networks.items()
    }
    return with_changes(replace(settings, **shrunk), [*SMALL, *changes])


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """The requests as documents of a few lines, and with their domain as a control code."""
    folder = tmp_path_factory.mktemp("text")
    with REQUESTS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    paragraphs = ["\n".join(row["text"] for row in rows[at : at + 5]) for at in range(0, len(rows), 5)]
    (folder / "requests.txt").write_text("\n\n".join(paragraphs), encoding="utf-8")
    (folder / "requests.csv").write_bytes(REQUESTS.read_bytes())
    return folder


@pytest.fixture(scope="session")
def prepared(text, tmp_path_factory):
    """`prepared(name)` gives the tokenizer and the corpus of a recipe, made once."""
    from sijo.jobs.prepare import prepare_run

    made = {}

    def prepare(name):
        settings = small(name)
        key = (settings.tokenizer.kind, settings.tokenizer.family)
        if key not in made:
            out = tmp_path_factory.mktemp("prepared")
            prepare_run(settings, reading(text, name), out, lambda sentence: None)
            made[key] = out
        return made[key]

    return prepare


def reading(text, name):
    """What a recipe reads."""
    from sijo.jobs.prepare import CorpusSource

    if name == "ctrl":
        return CorpusSource(sources=[str(text / "requests.csv")], column="text", code_column="domain")
    return CorpusSource(sources=[str(text / "requests.txt")])


@pytest.fixture
def run(prepared):
    """`run(name, out, *changes)` makes a whole run of a recipe over its prepared corpus; gives its steps."""
    from sijo.jobs.prepare import CorpusSource
    from sijo.jobs.pretrain import pretrain

    def make(name, out, *changes, settings=None, **options):
        place = prepared(name)
        text = CorpusSource(sources=[str(place / "corpus")], tokenizer=str(place / "tokenizer"))
        return list(pretrain(settings or small(name, *changes), text, out, **options))

    return make


def digest(out):
    """SHA-256 of all that a run must leave alike, however often it was interrupted."""
    from sijo.training.state import steps

    _, last = steps(out / "checkpoints")[-1]
    files = [*sorted(last.glob("*.safetensors")), out / "metrics.jsonl"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
