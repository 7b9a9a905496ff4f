"""What many tests share: a tiny model, all-MiniLM-L6-v2, and ways to run the command line."""

import io
import json
import os
import shutil
import signal
import string
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

# two workers, each with a thread for each core, hinder each other more than they help
os.environ.setdefault("OMP_NUM_THREADS", "1")
# tests import what they share, `battery`, `reference`, `runs` and others, by these names
sys.path.append(str(Path(__file__).parent))
pytest_plugins = ["runs", "blank_models", "tuned_models", "hub_stand_in"]

WORDS = ["the", "a", "of", "to", "in", "and", "is", "was", "not", "for", "we", "you", "it", "they", "one", "two"]
WORDS += [
    "new",
    "old",
    "good",
    "bad",
    "sea",
    "land",
    "rain",
    "sun",
    "game",
    "team",
    "ball",
    "goal",
    "money",
    "bank",
]
WORDS += ["tax", "price", "cook", "bread", "oil", "salt", "electroencephalographic"]
WIDTH, LAYERS, POSITIONS, INNER = 16, 2, 64, 32
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [
    *SPECIAL,
    *WORDS,
    *(letter for letter in string.ascii_lowercase if letter not in WORDS),
    *(f"##{letter}" for letter in string.ascii_lowercase),
    *string.digits,
    *".,!?-{}",
]


def tiny_weights():
    """Every tensor of the tiny encoder by its published name, none of them near zero."""
    shapes = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "pooler.dense.weight": (WIDTH, WIDTH),
        "pooler.dense.bias": (WIDTH,),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        block = f"encoder.layer.{layer}"
        for name, out, into in (
            ("attention.self.query", WIDTH, WIDTH),
            ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", INNER, WIDTH),
            ("output.dense", WIDTH, INNER),
        ):
            shapes |= {f"{block}.{name}.weight": (out, into), f"{block}.{name}.bias": (out,)}
        norms += [f"{block}.attention.output.LayerNorm", f"{block}.output.LayerNorm"]
    chance = np.random.default_rng(0)
    weights = {name: chance.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    for norm in norms:
        weights[f"{norm}.weight"] = chance.normal(1, 0.3, WIDTH).astype(np.float32)
        weights[f"{norm}.bias"] = chance.normal(0, 0.3, WIDTH).astype(np.float32)
    return weights


def write_tiny_tokenizer(path):
    """A WordPiece tokenizer of the tiny vocabulary, as BERT's."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    ids = {token: number for number, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(path))


def write_tiny_model(folder):
    """Make the folder of a sentence encoder of 2 layers, width 16, 32 tokens at a time."""
    from safetensors.numpy import save_file

    (folder / "1_Pooling").mkdir(parents=True)
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": len(VOCABULARY),
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": INNER,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }
    steps = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    pooling = {"word_embedding_dimension": WIDTH, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    for name, content in {
        "config.json": config,
        "modules.json": steps,
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {"max_seq_length": 32, "do_lower_case": False},
    }.items():
        (folder / name).write_text(json.dumps(content, indent=2))
    save_file(tiny_weights(), folder / "model.safetensors", metadata={"format": "pt"})
    write_tiny_tokenizer(folder / "tokenizer.json")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The folder of a sentence encoder of 2 layers, width 16, 32 tokens at a time; do not change it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return folder


@pytest.fixture(autouse=True)
def no_model_is_open():
    """No test finds a network that another has opened, nor what it has made of it."""
    if (kept := sys.modules.get("sijo.inference.open_models")) is not None:
        kept.close_models()


@pytest.fixture
def tiny_copy(tiny_model, tmp_path):
    """A copy of the tiny model that a test may spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "spoiled"))


@pytest.fixture(scope="session")
def minilm():
    """all-MiniLM-L6-v2, opened; the test is skipped where its package is not installed."""
    import sijo
    from sijo.errors import SettingError

    try:
        return sijo.load("all-minilm-l6-v2")
    except SettingError as error:
        pytest.skip(f"this test needs all-MiniLM-L6-v2: {error}")


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    def rows(self):
        """Standard output as JSON Lines."""
        return [json.loads(line) for line in self.out.decode().splitlines()]

    def must_say(self, code, *words):
        """Check that it failed with this code and one sentence, free of traces, that has these words."""
        assert self.code == code, (self.code, self.err)
        assert "Traceback" not in self.err
        told = [line for line in self.err.splitlines() if line.startswith("sijo: ")]
        assert len(told) == 1 and self.err.endswith(told[0] + "\n"), self.err
        for word in words:
            assert word in told[0], (word, told[0])


@pytest.fixture
def sijo_cli(tmp_path, monkeypatch):
    """`sijo_cli(*arguments, stdin=b"")` runs the command line in this process; gives a `Ran`."""
    from sijo.app import cli

    def run(*arguments, stdin=b""):
        earlier = signal.getsignal(signal.SIGTERM)
        # a real file for standard output: after an I/O error the command lays /dev/null over its handle
        with (
            (tmp_path.parent / f"{tmp_path.name}.stdout").open("w+", encoding="utf-8") as out,
            monkeypatch.context() as at,
        ):
            at.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
            at.setattr(sys, "stdout", out)
            at.setattr(sys, "stderr", err := io.StringIO())
            try:
                code = cli.run([str(argument) for argument in arguments])
            finally:
                signal.signal(signal.SIGTERM, earlier)
            out.flush()
            return Ran(code, Path(out.name).read_bytes(), err.getvalue())

    return run


def tree(folder):
    """Every file under a folder with its bytes, and every folder."""
    return {path: None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}


@pytest.fixture
def refused(sijo_cli, tmp_path):
    """`refused(code, words, *arguments)`: the command must fail so, print no result and touch no file."""

    def run(code, words, *arguments, stdin=b""):
        before = tree(tmp_path)
        ran = sijo_cli(*arguments, stdin=stdin)
        ran.must_say(code, *([words] if isinstance(words, str) else words))
        assert ran.out == b""
        assert tree(tmp_path) == before
        return ran

    return run


class Process:
    """A `sijo` of its own, forked from a process that has imported everything but done nothing yet."""

    numbers = count()

    def __init__(self, nursery, arguments, folder, *, stdin, stdout, environment):
        self._nursery = nursery
        number = next(Process.numbers)
        self._out, self._err = folder / f"{number}.out", folder / f"{number}.err"
        order = {
            "arguments": [str(argument) for argument in arguments],
            "environment": environment,
            "files": [str(stdin), str(stdout or self._out), str(self._err)],
        }
        print(json.dumps(order), file=nursery.stdin, flush=True)
        self.pid = int(nursery.stdout.readline())

    def said(self):
        """Standard error so far."""
        return self._err.read_text()

    def wait(self):
        """Wait for its end. A signal that killed it is a negative code, as in `subprocess`."""
        print(json.dumps({"wait": self.pid}), file=self._nursery.stdin, flush=True)
        code = int(self._nursery.stdout.readline())
        out = self._out.read_bytes() if self._out.exists() else b""
        err = self.said()
        for file in (self._out, self._err):
            file.unlink(missing_ok=True)
        return Ran(code, out, err)


@pytest.fixture(scope="session")
def nursery():
    """The process that the others are forked from: torch is imported once, not for each."""
    script = Path(__file__).with_name("nursery.py")
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as nursery:
        yield nursery
        nursery.stdin.close()


@pytest.fixture
def start(nursery, tmp_path_factory):
    """`start(*arguments)` begins a command in a process of its own; gives a `Process`."""
    folder = tmp_path_factory.mktemp("processes")

    def start(*arguments, stdin="/dev/null", stdout=None, **environment):
        return Process(nursery, arguments, folder, stdin=stdin, stdout=stdout, environment=environment)

    return start


def until(true, *, seconds=30):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


@pytest.fixture(name="until")
def until_fixture():
    """`until(call)` waits for a call to give a true value."""
    return until


@pytest.fixture(scope="session")
def cluster():
    """A Ray cluster of this machine with two processors, shared since it takes seconds to start; pools find it."""
    import ray

    from sijo.inference.ray_workers import LocalCluster

    earlier = signal.getsignal(signal.SIGTERM)
    local = LocalCluster(2, 1, 0)
    ray.init(**local.options, log_to_driver=False, logging_level="error")
    signal.signal(signal.SIGTERM, earlier)
    yield
    ray.shutdown()
    local.close()


@pytest.fixture(scope="session")
def needs_jail():
    """Skips the test where the system has no jail for the reader of a pickle; what it refuses then is tested."""
    from sijo.errors import RefusedError
    from sijo.files.jail import landlock_version

    try:
        landlock_version()
    except RefusedError as error:
        pytest.skip(str(error))


@pytest.fixture
def write(tmp_path):
    """Write bytes or UTF-8 text to a file of that name; gives its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def small_disk(tmp_path):
    """`small_disk(size)` mounts a file system of that size, or changes it; skips where that is not permitted."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def sized(size):
        options = f"remount,size={size}" if disk.is_mount() else f"size={size}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        try:
            permitted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            permitted = False
        if not permitted:
            pytest.skip("mounting a file system is not permitted here")
        return disk

    yield sized
    if disk.is_mount():
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """Each truth of the battery, made when first asked for and kept; do not change its folder."""
    transformers = pytest.importorskip("transformers")
    import battery

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return battery.Shelf(tmp_path_factory.mktemp("battery"))


@pytest.fixture
def one_thread():
    """So small a network is slower with two."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
