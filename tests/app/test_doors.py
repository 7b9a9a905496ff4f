"""Every door of a folder: whatever command reads it, by whatever name, a file there is one, and is in the folder.

What is walked is what is read: the names are those that each command asked for in a good folder, absent ones too.
"""

import ast
import io
import json
import os
import shutil
import socket
import time
from functools import partial
from pathlib import Path

import pytest
import sentencepiece

import sijo
from runs import REQUESTS, small
from sijo.errors import CheckpointError, RefusedError
from sijo.files import opener
from sijo.files.manifest import write_manifest
from sijo.models import FAMILIES
from sijo.tokenizers.tokenizer import Tokenizer

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("one_thread")]
PACKAGE = Path(sijo.__file__).parent
SECRET = "xyzzy-7f3a"
SECONDS = 15


def link_out(path, outside):
    path.symlink_to(outside / "secret")


def absolute_link_back(path, outside):
    path.with_name(f"{path.name}.kept").write_text(SECRET)
    path.symlink_to(path.with_name(f"{path.name}.kept").absolute())


def link_to_a_folder(path, outside):
    path.symlink_to(outside)


def link_through_a_link(path, outside):
    (path.parent / "way").symlink_to(outside)
    path.symlink_to("way/secret")


def dangling_link(path, outside):
    path.symlink_to("nowhere")


def circle(path, outside):
    path.symlink_to(path.name)


def long_chain(path, outside):
    for number in range(60):
        (path.parent / f"step{number}").symlink_to(f"step{number + 1}")
    (path.parent / "step60").write_text("{}")
    path.symlink_to("step0")


def device(path, outside):
    path.symlink_to("/dev/zero")


def nothing(path, outside):
    path.symlink_to("/dev/null")


def own_device(path, outside):
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # as /dev/zero
    except PermissionError:
        pytest.skip("devices are made by root alone")


def pipe(path, outside):
    os.mkfifo(path)


def folder(path, outside):
    path.mkdir()


def listening(path, outside):
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def locked(path, outside):
    if os.geteuid() == 0:
        pytest.skip("root may read all")
    path.write_text("{}")
    path.chmod(0)


TRICKS = [link_out, absolute_link_back, link_to_a_folder, link_through_a_link, dangling_link, circle, long_chain]
TRICKS += [device, nothing, own_device, pipe, folder, listening, locked]


@pytest.fixture
def outside(tmp_path):
    """A folder of somebody else's."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text(SECRET)
    return tmp_path / "outside"


@pytest.fixture
def asked(monkeypatch):
    """`asked(folder, call)`: the names below a folder that are asked for while a call runs."""
    names, real = [], opener._Walk.__init__

    def init(self, folder, name, ways):
        names.append((folder / name).resolve())
        real(self, folder, name, ways)

    def record(folder, call):
        with monkeypatch.context() as patch:
            patch.setattr(opener._Walk, "__init__", init)
            names.clear()
            call()
        found = {
            path.relative_to(folder.resolve()).as_posix() for path in names if folder.resolve() in path.parents
        }
        assert found
        return sorted(found)

    return record


def spoilt(good, name, trick, outside, place):
    """A copy of a good folder in which a name is something else than a file there."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(good, place)
    file = place / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    trick(file, outside)
    return place


# Python's doors


@pytest.fixture(scope="module")
def spellings(tmp_path_factory):
    """Folders of a tokenizer as every family publishes it, by family and file."""
    place = tmp_path_factory.mktemp("tokenizers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]

    def unigram(**settings):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(REQUESTS.read_text().splitlines()[:200]),
            model_writer=(written := io.BytesIO()),
            **{"vocab_size": 300, "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1, **settings},
        )
        return written.getvalue()

    def pairs(to, family):
        ctrl = family == "ctrl"
        names = ["<unk>", "ab", "a@@", "b"] if ctrl else [*words, "ab"]
        (to / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
        (to / "merges.txt").write_text("#version: 0.2\na b</w>\n" if ctrl else "#version: 0.2\na b\n")

    ids = {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "control_symbols": "[CLS],[SEP],[MASK]"}
    pieces = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "pad_piece": "[PAD]", "bos_piece": "[CLS]"}
    pieces |= {"eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    fairseq = {"unk_id": 0, "bos_id": 1, "eos_id": 2}
    makers = {
        "sentencepiece.bpe.model": lambda to, _: (to / "sentencepiece.bpe.model").write_bytes(unigram(**fairseq)),
        "vocab.txt": lambda to, _: (to / "vocab.txt").write_text("\n".join(words)),
        "spiece.model": lambda to, _: (to / "spiece.model").write_bytes(unigram(**ids)),
        "spm.model": lambda to, _: (to / "spm.model").write_bytes(unigram(**pieces)),
        "vocab.json": pairs,
    }
    folders = {}
    for family in FAMILIES.values():
        for name in family.vocabularies:
            to = place / f"{family.model_type}-{name}"
            to.mkdir()
            makers[name](to, family.model_type)
            folders[family.model_type, name] = to
    return folders


@pytest.mark.parametrize("trick", TRICKS)
def test_no_tokenizer_is_read_from_elsewhere(spellings, asked, outside, tmp_path, trick):
    # kills: a guard that stands at one caller, while the reader opens by name
    for (family, vocabulary), good in spellings.items():
        read = partial(Tokenizer.open, family=FAMILIES[family], max_length=32)
        names = asked(good, partial(read, good))
        expected = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}
        assert {*names} >= expected | {vocabulary}
        for name in names:
            place = spoilt(good, name, trick, outside, tmp_path / "spoilt")
            with pytest.raises((RefusedError, CheckpointError)) as caught:
                read(place)
            assert name in str(caught.value) and SECRET not in str(caught.value), (family, name)


def sharded(folder):
    weights = sijo.checkpoints.weights
    tensors = weights.read_weights(folder)
    (folder / "model.safetensors").unlink()
    weights.write_weights(folder, tensors, shard_bytes=sum(t.nbytes for t in tensors.values()) * 6 // 10)


@pytest.mark.parametrize("kind", ["plain", "sharded", "sealed"])
@pytest.mark.parametrize("trick", TRICKS)
def test_no_model_is_read_from_elsewhere(tiny_copy, asked, outside, tmp_path, kind, trick):
    # kills: any one file of a model that is opened by its path
    if kind == "sharded":
        sharded(tiny_copy)
    if kind == "sealed":
        write_manifest(tiny_copy)
    names = asked(tiny_copy, lambda: sijo.load(tiny_copy))
    assert len(names) >= 9, names
    for name in [*names, "1_Pooling"]:
        place = tmp_path / "tricked"
        shutil.rmtree(place, ignore_errors=True)
        if name == "1_Pooling":
            if trick is folder:
                continue
            shutil.copytree(tiny_copy, place)
            shutil.rmtree(place / name)
            trick(place / name, outside)
        else:
            spoilt(tiny_copy, name, trick, outside, place)
        for call in (partial(sijo.load, place), partial(sijo.encode, place, ["a"])):
            started = time.monotonic()
            with pytest.raises((RefusedError, CheckpointError)) as caught:
                call()
            assert SECRET not in str(caught.value) and time.monotonic() - started < SECONDS


# The commands' doors


def as_teacher(model, to):
    return sijo.save(sijo.load(model, "new:mlm"), to)


ROWS = "text,label\n" + "".join(f"the {word} of {n},{word}\n" for n in range(8) for word in ("sea", "land"))
FEW = ("run.epochs=null", "run.steps=1", "run.batch=4", "data.length=16")
COMMANDS = {
    "classify": lambda m, rows, out: ("classify", rows, "--model", m, "--labels", "sea,land", "--column", "text"),
    "inspect": lambda m, rows, out: ("inspect", m),
    "convert": lambda m, rows, out: ("convert", m, out),
    "finetune": lambda m, rows, out: (
        *("finetune", "--model", m, "--train", rows, "--eval", rows, "--label-column", "label", "-o", out, "-q"),
        *("--set", "run.epochs=1", "run.batch=8", "cutting.length=16"),
    ),
    "distill": lambda m, rows, out: (
        *("distill", "--teacher", m, "--corpus", rows, "--column", "text", "-o", out, "-q", "--set", *FEW),
    ),
    "pretrain": lambda m, rows, out: (
        *("pretrain", "electra-tiny", "--tokenizer", m, "--corpus", REQUESTS, "--column", "text"),
        *("-o", out, "-q", "--set", *FEW),
    ),
}


AT_A_COMMAND = (link_out, link_to_a_folder, dangling_link, device, pipe)
"""What a reader that goes round the opener would follow, wait at, or call a failure; the opener itself has met all
tricks above."""


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_reads_from_elsewhere(sijo_cli, tiny_copy, asked, outside, tmp_path, write, command):
    # kills: a reader of one command that goes round the opener; words of another file in an error
    rows = write("rows.csv", ROWS)
    (tiny_copy / "README.md").write_text("---\nlicense: mit\n---\n")
    ran = []
    names = asked(tiny_copy, lambda: ran.append(sijo_cli(*COMMANDS[command](tiny_copy, rows, tmp_path / "good"))))
    assert ran[0].code == 0, ran[0].err
    assert "tokenizer.json" in names, names
    for number, (name, trick) in enumerate((name, trick) for name in names for trick in AT_A_COMMAND):
        place = spoilt(tiny_copy, name, trick, outside, tmp_path / "tricked")
        out = tmp_path / f"out{number}"
        started = time.monotonic()
        ran = sijo_cli(*COMMANDS[command](place, rows, out))
        told = ran.out.decode() + ran.err
        assert SECRET not in told, (name, trick)
        if name == "README.md" and command != "convert":  # it decides nothing: left alone, but no run ends by it
            assert ran.code == 0, (command, trick, ran.err)
            written = [file for file in out.rglob("*") if file.is_file()]
            assert not [file for file in written if SECRET.encode() in file.read_bytes()]
        else:
            assert ran.code in (4, 5) and "failed" not in told, (name, trick, told)
            assert time.monotonic() - started < SECONDS, (name, trick)
        shutil.rmtree(out, ignore_errors=True)


@pytest.mark.parametrize("command", ["generate", "attribute"])
def test_no_control_code_is_read_from_elsewhere(sijo_cli, run, asked, outside, tmp_path, command):
    # kills: the tokens of a generating network, opened by name
    run("ctrl", tmp_path / "run", "run.steps=1")
    model = tmp_path / "run/model"

    def call(folder):
        words = ("--prompt", "a sea", "--max-new-tokens", "2") if command == "generate" else ("a sea",)
        return sijo_cli(command, *words, "--model", folder)

    ran = []
    names = asked(model, lambda: ran.append(call(model)))
    assert ran[0].code == 0, ran[0].err
    for name in names:
        for trick in AT_A_COMMAND:
            place = spoilt(model, name, trick, outside, tmp_path / "tricked")
            ran = call(place)
            assert ran.code in (4, 5) and SECRET not in ran.out.decode() + ran.err, (name, trick, ran.err)


def test_no_report_reads_from_elsewhere(sijo_cli, run, asked, outside, tmp_path):
    # kills: a journal, settings or a checkpoint of a run that are opened by name
    out = tmp_path / "run"
    run("bert", out, "run.steps=2", "run.save_every=2")
    ran = []
    names = asked(out, lambda: ran.append(sijo_cli("report", out, "--out", tmp_path / "report.html")))
    assert ran[0].code == 0, ran[0].err
    assert {"settings.json", "metrics.jsonl", "timings.jsonl", "examples.jsonl"} <= {*names}, names
    for name in names:
        for trick in (link_out, link_to_a_folder, pipe, own_device, dangling_link, folder, listening):
            place = spoilt(out, name, trick, outside, tmp_path / "tricked")
            ran = sijo_cli("report", place, "--out", tmp_path / "report.html")
            page = (tmp_path / "report.html").read_text()
            assert SECRET not in ran.out.decode() + ran.err + page
            if name.startswith("checkpoints/") and ran.code == 0:  # of it only sizes are told, where it has any
                continue
            assert ran.code in (4, 5), (name, trick, ran.err)


def test_no_run_goes_on_from_elsewhere(run, asked, outside, tmp_path):
    # kills: a state of training that is a link, and one of another run under this one's name
    settings = small("bert", "run.steps=4", "run.save_every=2")
    run("bert", tmp_path / "run", settings=settings)
    for trick in (link_out, pipe, own_device, dangling_link, folder):
        for name in ("state.json", "weights.safetensors", "manifest.json"):
            place = tmp_path / f"{trick.__name__}-{name}"
            shutil.copytree(tmp_path / "run", place)
            last = max((place / "checkpoints").glob("step-*"))
            (last / name).unlink()
            trick(last / name, outside)
            try:
                run("bert", place, settings=settings, resume=True)
            except (RefusedError, CheckpointError) as error:
                assert SECRET not in str(error)
            else:
                assert (last.with_name(f"{last.name}.damaged")).is_dir()
            shutil.rmtree(place)


# No other door


OPENING = {
    "open",
    "read_text",
    "read_bytes",
    "safe_open",
    "memmap",
    "fromfile",
    "connect",
    "copyfile",
}
OPENING |= {
    "Tokenizer.from_file",
    "np.load",
    "json.load",
    "tomllib.load",
    "torch.load",
    "pickle.load",
    "joblib.load",
}
"""Calls that may open a file by its path, by their whole name or the last part of it."""
HARMLESS = {"Corpus.open", "resolve_name(row.place).open", "Tokenizer.open", "cache.open"}
"""Methods that only have such a name."""
MAY_OPEN = {
    # what the package holds itself, read by its own path
    "app/training/finetune.py": {"Path(__file__).with_name('finetune_tasks.toml').read_text"},
    "app/report/run_results.py": {"file.open"},  # a FolderFile's, as a card's
    "checkpoints/card.py": {"Path(__file__).with_name('hub.toml').read_text", "card.open"},
    "checkpoints/conversion/tensorflow.py": {"Path(__file__).with_name('tensorflow.toml').read_text"},
    "data/labelled_rows.py": {"Path(__file__).with_name('columns.toml').read_text"},
    "jobs/open_labels/recast.py": {"Path(__file__).with_name('label_templates.toml').read_text"},
    "jobs/recipes.py": {"Path(__file__).with_name('recipes.toml').read_text"},
    "models/family.py": {"Path(__file__).with_name(f'{name}.toml').read_text"},
    "tokenizers/codes.py": {"Path(__file__).with_name('ctrl_codes.json').read_text"},
    # what the system tells of the processor
    "app/bench.py": {"Path('/proc/cpuinfo').read_text"},
    # what the user names as input, and writing
    "app/cli.py": {"Path(os.devnull).open", "os.open"},
    "app/writing/for_labels.py": {"path.read_text"},
    "app/writing/generate.py": {"file.read_text"},
    "app/serving/learning.py": {"path.open", "archive.open"},  # a model that was fitted here, for its archive
    "app/serving/page_routes.py": {"path.read_bytes"},
    "app/serving/request_log.py": {"os.open"},
    "app/serving/serve.py": {"path.read_text"},
    "data/corpus.py": {"path.open"},
    "data/corpus_identity.py": {"source.path.open"},
    "files/output_job.py": {"path.open"},
    "jobs/open_labels/mixture.py": {"file.read_text"},
    "files/private.py": {"os.open"},
    "files/reading/workbook_size.py": {"archive.open"},
    "files/records.py": {"path.open"},
    "files/table_formats.py": {"path.open"},
    "files/tables.py": {"self._path.open", "path.open"},
    "zeroshot/calibrating/frozen.py": {"path.open"},
    "zeroshot/label_files.py": {"path.read_bytes"},
    "files/atomic.py": {"temporary.open", "os.open", "(fresh / name).open"},
    "files/cache.py": {"sqlite3.connect"},
    "checkpoints/weights.py": {"file.open"},
    # the confined process that converts
    "checkpoints/conversion/pickled.py": {"open", "file.open", "(Path(out) / WEIGHTS).open", "torch.load"},
    "files/jail.py": {"os.open", "Path('/proc/self/statm').read_text"},
    "data/prepare_shards.py": {
        *("path.open", "file.open", "FolderFile(self.folder, 'seen').open", "np.fromfile", "shutil.copyfile"),
    },
    # the opener, and handles that it gave
    "checkpoints/load.py": {"file.open"},
    "jobs/run_folder.py": {"file.open"},
    "checkpoints/weight_files.py": {"FolderFile(file.folder, file.name, check=False).open"},
    "checkpoints/onnx/opened.py": {"file.open", "data.open", "os.open"},
    "checkpoints/onnx/same_weights.py": {"FolderFile(file.folder, file.name, check=False).open"},
    "checkpoints/describe.py": {"file.open"},
    "export/file.py": {"file.with_name(file.name + DATA).open"},
    "files/opener.py": {"os.open", "open"},
    "files/system.py": {"os.open"},
    # what the system tells of itself
    "processor.py": {"Path('/proc/cpuinfo').read_text"},
    "inference/threads.py": {"file.read_text"},
    "data/shards.py": {"file.open", "np.memmap"},
}


def test_nothing_goes_round_the_opener():
    """Catches a new reader of a folder that opens by path; what may do so, and why, is in the table above."""
    strange = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            call = ast.unparse(node.func)
            ours = call.endswith(".read_bytes") and node.args  # a path's own takes no length
            may = HARMLESS | MAY_OPEN.get(place, set())
            if {call, call.rpartition(".")[2]} & OPENING and call not in may and not ours:
                strange.append(f"{place}:{node.lineno}: {call}({', '.join(map(ast.unparse, node.args))})")
    assert not strange, "\n".join(strange)
