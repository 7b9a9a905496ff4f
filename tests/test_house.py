"""The house keeps its shape: who may import whom, how large a file may be, and what is tested.

`SIJO_HOUSE=write python -m pytest tests/test_house.py` writes the table of rooms into CONTRIBUTING.md.
"""

import ast
import importlib.metadata
import io
import os
import tokenize
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

import sijo
from sijo.objectives.registry import OBJECTIVES

PACKAGE = Path(sijo.__file__).parent
GUIDE = Path(__file__).parents[1] / "CONTRIBUTING.md"
GROUND = ("errors", "version", "random", "batching", "names", "texts", "processor")
BELOW = ("files", "data", "tokenizers", "nn", "models", "objectives", "checkpoints")
HOUSE = {
    "files": (
        "safe paths, whole files and folders, a jail, work that can be resumed, a cache, tables in, rows out",
        (),
    ),
    "tokenizers": ("one tokenizer and its style; published files; training, pruning; control codes", ("files",)),
    "data": ("documents, shards, samples; labelled rows and the inputs made of them", ("files", "tokenizers")),
    "nn": ("tensors to tensors: no files, no text, no loss", ()),
    "models": ("published families as data: sizes, config fields, tensor names, rates", ("nn", "tokenizers")),
    "objectives": (
        "a clean batch becomes a posed batch, a posed batch becomes sums and counts",
        ("data", "tokenizers", "nn", "models"),
    ),
    "checkpoints": (
        "folders in Hugging Face layout: told, opened, saved, converted safely",
        ("files", "tokenizers", "nn", "models"),
    ),
    "inference": (
        "the engine that makes a model fast; vectors kept between runs",
        ("files", "tokenizers", "nn", "models", "checkpoints", "evaluation"),
    ),
    "generation": (
        "rules for choosing tokens, the generating loop, streaming, attribution",
        ("data", "tokenizers", "nn", "models", "checkpoints", "inference"),
    ),
    "evaluation": ("metrics, intervals, tables, plots, for every task alike", ("files",)),
    "export": (
        "networks as ONNX files: written node by node, compared with the original, and then kept",
        ("files", "tokenizers", "nn", "models", "checkpoints", "inference", "evaluation"),
    ),
    "prediction": (
        "what fine-tuned heads answer: the task of a model, rows in, answers out",
        ("files", "data", "tokenizers", "nn", "models", "checkpoints", "inference", "evaluation"),
    ),
    "training": ("the machine: settings, step, loop, journal, optimizers, state, processes", BELOW),
    "zeroshot": (
        "label sets, scorers, calibration, the classifier",
        (
            *("files", "data", "tokenizers", "nn", "models", "checkpoints"),
            *("inference", "generation", "evaluation"),
        ),
    ),
    "pipelines": (
        "the calls of transformers' pipelines, over what is below",
        ("tokenizers", "nn", "models", "checkpoints", "inference", "prediction", "zeroshot"),
    ),
    "jobs": (
        "pretrain, distill, finetune: prepare, build once, train, export what was built; recipes",
        (
            *BELOW,
            "inference",
            "generation",
            "evaluation",
            "export",
            "prediction",
            "training",
            "zeroshot",
            "pipelines",
        ),
    ),
    "app": (
        "the command line and the report: reads arguments, makes one call, shows the result",
        (
            *(*BELOW, "inference", "generation", "evaluation", "export", "prediction", "training", "zeroshot"),
            *("pipelines", "jobs"),
        ),
    ),
}
"""What lives in each room, and what it may import besides itself and the ground floor; nothing imports app."""
MAY_IMPORT = {name: {"errors"} for name in GROUND} | {
    room: {*others, *GROUND} for room, (_, others) in HOUSE.items()
}
MAY_IMPORT_TORCH = {
    "app": "",
    "checkpoints": "int8 load names save weights",
    "checkpoints/lora": "merge",
    "checkpoints/conversion": "convert pickled tensorflow",
    "export": "blocks calibrate compare export",
    "generation": "attribute beams generator rules",
    "inference/backends": "devices torch_backend",
    "jobs": "finetune_seed finetune_setup networks new_token_rows recipes student",
    "jobs/fitting": "pairs",
    "jobs/open_labels": "one_pass_setup",
    "nn": (
        "attention cache decoder distances dropout embeddings feed_forward heads int8 label_scoring linear norm "
        "packing pooling prepared prepared_attention prepared_linear relative_bias rotary transformer window"
    ),
    "objectives": (
        "clm distillation ensemble label_matching language_teacher mlm objective one_pass posed_batch rtd scoring "
        "sop supervised tally text_teacher token_loss"
    ),
    "pipelines": "feature_extraction",
    "training": "average cost distributed loop optimizers state trackers",
}
LINES, FUNCTION_LINES, FOLDER_CODE_LINES = 450, 80, 2_500
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
NAMED = [pytest.param(path, id=str(path.relative_to(PACKAGE))) for path in FILES]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def room(path: Path) -> str:
    """The room a file is in: a folder of the package, or a file beside them such as `errors.py`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> list[tuple[int, str]]:
    """Every module that a file imports, wherever in it and if only for types, with the line."""
    nodes = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level], "relative import"
    modules = [(node.lineno, alias.name) for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            whole = [name for name in names if file_of(name) in FILES]  # `from sijo.training import state`
            modules += [(node.lineno, name) for name in whole or [str(node.module)]]
    return modules


def file_of(module: str) -> Path:
    return PACKAGE.parent / (module.replace(".", "/") + ".py")


def test_every_room_is_in_the_table():
    """Catches a room nobody decided on, such as `utils`."""
    assert {room(path) for path in FILES} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", NAMED)
def test_imports_go_one_way(path: Path):
    """Catches a room that imports upward, a relative import, and transformers in the package."""
    for line, name in imported(path):
        first, _, rest = name.partition(".")
        assert first != "transformers", f"line {line}: transformers is for tests and benchmarks"
        assert name != "sijo" or room(path) == "app", f"line {line}: `import sijo` is for users"
        if first == "sijo" and rest:
            other = rest.partition(".")[0]
            assert other == room(path) or other in MAY_IMPORT[room(path)], (
                f"line {line}: {room(path)} may not import {other}"
            )


def test_no_file_imports_itself_by_way_of_others():
    """Catches two files that can only be understood together, if only their types."""
    graph = {path: {file_of(name) for _, name in imported(path)} & {*FILES} for path in FILES}
    while leaves := [path for path, others in graph.items() if not others & graph.keys()]:
        for path in leaves:
            del graph[path]
    assert not [str(path.relative_to(PACKAGE)) for path in graph]


def imports_torch(path: Path) -> bool:
    """Whether a file imports torch itself, at its head or inside a function; not for its types alone."""
    at_run_time = ast.parse(path.read_text())
    for node in ast.walk(at_run_time):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    modules = [
        name
        for node in ast.walk(at_run_time)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    ]
    return any(name.partition(".")[0] == "torch" for name in modules)


def test_the_files_that_may_import_torch():
    """Catches a part that says what a model is, and takes two seconds to say it."""
    listed = {PACKAGE / room / f"{name}.py" for room, names in MAY_IMPORT_TORCH.items() for name in names.split()}
    assert {path for path in FILES if imports_torch(path)} == listed


def test_a_class_name_occurs_once():
    """Catches two classes of one name, which a reader or an error message would take for each other."""
    names = Counter(node.name for path in FILES for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))
    assert not [name for name, count in names.items() if count > 1]


@pytest.mark.parametrize("path", NAMED)
def test_files_and_functions_are_short(path: Path):
    """Catches a file of two trades, and a function that nobody reads to its end."""
    assert path.read_text().count("\n") <= LINES
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not [node.name for node in functions if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES]


def code_lines(path: Path) -> int:
    """Lines that are not blank, a comment or a docstring."""
    words = {
        number
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for number in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    lines = {n for token in tokens if token.type not in blank for n in range(token.start[0], token.end[0] + 1)}
    return len(lines - words)


def test_rooms_are_small():
    """Catches a room in which nothing can be found any more."""
    sizes = Counter[Path]()
    for path in FILES:
        sizes[path.parent] += code_lines(path)
    assert not [str(folder) for folder, size in sizes.items() if size > FOLDER_CODE_LINES]


HEAD_NAMES = {"nn", "models", "checkpoints", "zeroshot/scorers"}
"""Where "mlm" or "rtd" may stand for the head of that name."""


@pytest.mark.parametrize("path", NAMED)
def test_an_objective_is_named_where_it_is_registered(path: Path):
    """Catches an objective that must be registered in a second place before it works."""
    place = path.relative_to(PACKAGE).as_posix()
    if room(path) == "objectives" or place == "jobs/recipes.py" or place.rpartition("/")[0] in HEAD_NAMES:
        return
    strings = [node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant)]
    assert not {*map(repr, strings)} & {*map(repr, OBJECTIVES)}


def test_every_module_says_what_it_is_for():
    """Catches a file whose border nobody wrote down."""
    silent = [str(path) for path in FILES if not ast.get_docstring(tree(path))]
    assert not silent


def test_the_guide_has_the_table():
    """Catches a table for people that is not the one that is held."""
    rows = [f"| {', '.join(f'`{name}.py`' for name in GROUND)} | the ground floor | errors |"]
    for name, (what, others) in HOUSE.items():
        every = set(HOUSE) - {name, "app"}
        allowed = "everything" if {*others} == every else ", ".join(others) or "the ground floor alone"
        rows.append(f"| `{name}/` | {what} | {allowed} |")
    table = "\n".join(["| room | what lives there | may import |", "| --- | --- | --- |", *rows])
    text = GUIDE.read_text()
    if os.environ.get("SIJO_HOUSE") == "write":
        before, _, rest = text.partition("| room |")
        GUIDE.write_text(before + table + "\n" + rest[rest.index("\n\n") + 1 :])
    assert table + "\n\n" in GUIDE.read_text()


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
