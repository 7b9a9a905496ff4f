"""The house keeps its shape: who may import whom, what starts fast, and that the installed package is tested."""

import ast
import importlib.metadata
from pathlib import Path

import pytest

import sijo

PACKAGE = Path(sijo.__file__).parent
GROUND = {"errors", "version", "random", "batching", "names"}
MAY_IMPORT = {room: {"errors"} for room in GROUND} | {
    "files": GROUND,
    "tokenizers": GROUND | {"files"},
    "data": GROUND | {"files", "tokenizers"},
    "nn": GROUND,
    "models": GROUND | {"nn", "tokenizers"},
    "objectives": GROUND | {"data", "tokenizers", "nn", "models"},
    "checkpoints": GROUND | {"files", "tokenizers", "nn", "models"},
    "inference": GROUND | {"files", "tokenizers", "nn", "models", "checkpoints"},
    "generation": GROUND | {"data", "tokenizers", "nn", "models", "checkpoints", "inference"},
    "evaluation": GROUND | {"files"},
    "training": GROUND | {"files", "data", "tokenizers", "nn", "models", "objectives", "checkpoints"},
    "zeroshot": GROUND
    | {"files", "data", "tokenizers", "nn", "models", "checkpoints", "inference", "generation", "evaluation"},
}
MAY_IMPORT["jobs"] = {*MAY_IMPORT}
MAY_IMPORT["app"] = {*MAY_IMPORT}
MAY_IMPORT_TORCH = {
    "app": "pretrain",
    "checkpoints": "convert int8 load names pickled save tensorflow weights",
    "generation": "attribute beams cached_reader rules write",
    "inference": "engine",
    "jobs": "finetune_seed finetune_setup new_token_rows predictions pretrain student",
    "nn": "attention cache distances dropout embeddings heads int8 linear transformer",
    "objectives": "clm distillation ensemble joint mlm posed_batch rtd sop supervised tally",
    "training": "average cost distributed examples journal loop optimizers state",
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    """The room a file is in; `errors.py`, `files/folders.py` and `files/cache.py` are each one by itself."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_every_room_is_in_the_table():
    """Catches a room nobody decided on, such as `utils`."""
    assert {room(path) for path in FILES} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path):
    """Catches a room that imports upward, a relative import, and transformers in the package."""
    for node in imported(path):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"line {node.lineno}: relative import"
        for name in names:
            first, _, rest = name.partition(".")
            assert first != "transformers", f"line {node.lineno}: transformers is for tests and benchmarks"
            assert name != "sijo" or room(path) == "app", f"line {node.lineno}: `import sijo` is for users"
            if first == "sijo" and rest:
                other = rest.partition(".")[0]
                assert other == room(path) or other in MAY_IMPORT[room(path)], (
                    f"line {node.lineno}: {room(path)} may not import {other}"
                )


def imports_torch(path: Path) -> bool:
    """Whether a file imports torch itself, at its head or inside a function; not for its types alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    modules = [
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    ]
    return any(name.partition(".")[0] == "torch" for name in modules)


def test_the_files_that_may_import_torch():
    """Catches a part that says what a model is, and takes two seconds to say it."""
    listed = {PACKAGE / room / f"{name}.py" for room, names in MAY_IMPORT_TORCH.items() for name in names.split()}
    assert {path for path in FILES if imports_torch(path)} == listed


def test_every_module_says_what_it_is_for():
    """Catches a file whose border nobody wrote down."""
    silent = [str(path) for path in FILES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent


def test_the_installed_package_is_tested():
    """Catches tests that import the source folder while the built package lacks a file."""
    try:
        installed = importlib.metadata.distribution("sijo")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("sijo is not installed here; `make test` installs it")
    assert Path(str(installed.locate_file("sijo/__init__.py"))) == Path(sijo.__file__)
    assert (PACKAGE / "py.typed").is_file()
    assert installed.version == sijo.__version__


def test_public_names_are_there():
    """Catches a public name whose room was renamed."""
    for name in sijo.__all__:
        assert getattr(sijo, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Classifier'"):
        _ = sijo.Classifier
