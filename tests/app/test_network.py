"""No command asks the network for anything unless a model of the Hub is named."""

import socket
import sys

import pytest

from app.test_doors import COMMANDS, ROWS
from sijo.app import cli

ASKED, WATCHING = [], []
OF_THE_HUB = {"push", "download"}
SERVES = {"serve"}
"""Listens, and asks nobody: `tests/app/serving` has no network either."""


def watch(event, arguments):
    """An audit hook, which no library goes round: names that are looked up, and connections to other machines."""
    if WATCHING and event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        if isinstance(arguments[0], socket.socket) and arguments[0].family == socket.AF_UNIX:
            return
        ASKED.append((event, arguments[1:]))
        raise OSError(101, "the network was asked")


@pytest.fixture
def no_network(monkeypatch):
    """Whatever asks is noted and fails, with nothing in the environment that forbids it."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    if not ASKED and not hasattr(sys, "_sijo_watched"):
        sys.addaudithook(watch)
        sys._sijo_watched = True
    ASKED.clear()
    WATCHING.append(True)
    yield ASKED
    WATCHING.clear()


def calls(model, rows, few, labels, run, place):
    """A call of every command that names no model of the Hub."""
    yield from ((name, make(model, rows, place / name)) for name, make in COMMANDS.items())
    given = ("--model", model)
    yield "predict", ("predict", rows, "--model", place / "finetune/model")
    yield "encode", ("encode", rows, *given, "--column", "text")
    yield "fit", ("fit", rows, "--labels-column", "label", *given, "--out", place / "fit")
    yield "suggest", ("suggest", few, "--labels-column", "label", *given, "--rows", "1")
    yield "evaluate", ("evaluate", "--data", rows, "--text-column", "text", "--label-column", "label", *given)
    yield "export", ("export", model, "--texts", rows, "--column", "text", "--out", place / "export")
    yield "labels", ("labels", "check", labels, *given)
    yield "tokenizer", ("tokenizer", "train", rows, "--kind", "bpe", "--vocab-size", "300", "--out", place / "t")
    yield "bench", ("bench", model, "--rounds", "1", "--device", "cpu")
    yield "generate", ("generate", "--model", run / "model", "--prompt", "a", "--max-new-tokens", "2")
    yield "attribute", ("attribute", "a sea", "--model", run / "model")
    yield "report", ("report", run, "--out", place / "report.html")


@pytest.mark.usefixtures("one_thread")
def test_no_command_asks_the_network(sijo_cli, no_network, run, tiny_copy, tmp_path, write):
    # kills: telemetry, a look for news, a model that is fetched though a folder was named
    rows, labels = write("rows.csv", ROWS), write("labels.txt", "sea\nland\n")
    few = write("few.csv", f"{ROWS}a rain,\n")
    run("ctrl", tmp_path / "ctrl", "run.steps=1")
    asked = set()
    for name, arguments in calls(tiny_copy, rows, few, labels, tmp_path / "ctrl", tmp_path / "out"):
        ran = sijo_cli(*arguments)
        assert (ran.code, no_network) == (0, []), (name, ran.err)
        asked.add(name)
    assert asked == {name for name in cli.app if not name.startswith("-")} - OF_THE_HUB - SERVES
    ran = sijo_cli("inspect")
    assert (ran.code, no_network) == (0, [])


def test_the_watch_sees_a_model_of_the_hub(sijo_cli, no_network, monkeypatch, tmp_path):
    # kills: a test that would find nothing
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert sijo_cli("classify", "--model", "org/name", "--labels", "a,b", stdin=b"x\n").code == 1
    assert no_network
