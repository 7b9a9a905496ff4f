"""Options that are handed on by name: none may be dropped in silence because the library renamed its own."""

import ast
from dataclasses import fields, is_dataclass
from importlib import import_module
from inspect import getsource, signature
from pathlib import Path

import pytest

import sijo.app
from sijo.app import cli
from sijo.app.options import call_with

APP = Path(sijo.app.__file__).parent
FILES = sorted(path.relative_to(APP) for path in APP.rglob("*.py") if path.stem != "__init__")
MODULES = [import_module(f"sijo.app.{'.'.join(path.with_suffix('').parts)}") for path in FILES]
TREES = [ast.parse(getsource(module)) for module in MODULES]
OPTIONS = [
    kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module.__name__
    if module.__name__.count(".") == 2  # what commands are told stands beside them, and may be read further in
]


def parameters() -> set[str]:
    """The parameters of all that `call_with` is asked to call."""
    names: set[str] = set()
    for tree in TREES:
        sources = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            words = [part.id for part in (node.func, *node.args) if isinstance(part, ast.Name)]
            for target in words[words.index("call_with") + 1 :] if "call_with" in words else ():
                if target in sources:
                    module, name = sources[target]
                    names |= {*signature(getattr(import_module(str(module)), name)).parameters}
    return names


@pytest.mark.parametrize("kind", OPTIONS)
def test_every_option_reaches_something(kind):
    # kills: a parameter of the library renamed alone, after which the option of the old name does nothing
    read = {node.attr for tree in TREES for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {option.name for option in fields(kind)} - read <= parameters()


def test_options_and_others():
    # kills: an option that overrides what is handed on in another form
    class Options:
        def __init__(self):
            self.size, self.unknown = 3, 4

    assert call_with(lambda size, name: (size, name), Options(), name="a") == (3, "a")
    assert call_with(lambda size, name: (size, name), Options(), name="a", size=5) == (5, "a")


def test_every_command_that_reads_tables_reads_them_alike():
    # kills: an error that says --encoding or --longest-row to a command which has no such option
    reading = {"--delimiter", "--no-header", "--encoding", "--sheet", "--longest-row"}
    for name in ("classify", "distill", "encode", "evaluate", "export", "finetune", "predict", "pretrain"):
        assert reading <= _options(cli.app[name]), name
    for name in ("train", "cut"):
        assert reading | {"--input-format"} <= _options(cli.app["tokenizer"][name]), name


def _options(command):
    return {name for argument in command.assemble_argument_collection() for name in argument.names}
