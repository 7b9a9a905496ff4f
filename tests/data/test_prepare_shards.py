"""Documents become shards and come back, whatever happens in between."""

import errno
import fcntl
import gc
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tokenizers
from corpora import contents, poems, told
from failing import Killed, failing, full_disk
from sijo.data import prepare_shards
from sijo.data.corpus import SourceFile, documents, sources
from sijo.data.prepare_shards import prepare
from sijo.data.shards import Corpus
from sijo.errors import CheckpointError, SettingError, TextError
from sijo.files import manifest
from sijo.files.inputs.sources import TextReading
from sijo.files.tables import TextTable
from sijo.tokenizers.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return Tokenizer.load(tiny_model / "tokenizer.json", max_length=4)  # a sentence is longer, and must stay whole


@pytest.fixture
def small(monkeypatch):
    """Batches and commits so small that a few documents need several."""
    monkeypatch.setattr(prepare_shards, "BATCH_CHARACTERS", 300)
    monkeypatch.setattr(prepare_shards, "COMMIT_TOKENS", 40)


@pytest.fixture
def no_waiting(monkeypatch):
    """A disk that answers at once."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def lay(folder, *, count=12):
    """Three files of three kinds: plain, packed with rows that are blank or repeated, and Parquet."""
    folder.mkdir(exist_ok=True)
    first, second, third = poems(count), poems(count, seed=1), poems(count, seed=2)
    (folder / "a.txt").write_text("\n\n".join("\n".join(poem) for poem in first))
    rows = ["", *(" ".join(poem) for poem in second), " ".join(first[0]).upper(), " ", " ".join(second[1])]
    (folder / "b.jsonl.gz").write_bytes(
        gzip.compress("".join(json.dumps({"text": row}) + "\n" for row in rows).encode())
    )
    pq.write_table(pa.table({"text": [" ".join(poem) for poem in third]}), folder / "c.parquet")
    return sources([str(folder)])


def expected(tokenizer, source_files):
    """The same of some sources, without shards, batches or digests."""
    kept, seen = [], set()
    for source in source_files:
        for document in documents(source):
            plain = document.code, "".join(filter(str.isalnum, "".join(document.sentences).lower()))
            ids = [tokenizer._inner.encode(text, add_special_tokens=False) for text in document.sentences]
            ids = [[number for part in (each, *each.overflowing) for number in part.ids] for each in ids]
            if plain not in seen:
                kept.append((document.code, [each for each in ids if each]))
            seen.add(plain)
    return kept


# --- what goes in comes out ---------------------------------------------------------------------


def test_what_goes_in_comes_out(tokenizer, tmp_path, small):
    # kills: a sentence cut at the model's length, ids of special tokens, borders off by one, tokens of one
    # document under another, a document lost or doubled between batches, files, shards or commits
    source_files = lay(tmp_path / "texts")
    corpus = prepare(source_files, tokenizer, tmp_path / "corpus", shard_tokens=120)
    want = expected(tokenizer, source_files)
    assert told(corpus) == told(Corpus.open(tmp_path / "corpus")) == want
    assert len(corpus.shards) > 4
    assert corpus.documents == len(want) == 36
    assert corpus.sentences == sum(len(document) for _, document in want)
    assert corpus.tokens == sum(len(ids) for _, document in want for ids in document)
    assert (corpus.vocab_size, corpus.tokenizer) == (tokenizer.vocab_size, tokenizer.text_fingerprint)
    assert corpus.codes == () and {shard.code for shard in corpus.shards} == {None}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".corpus.sijo-id", "corpus", "texts"]


def test_the_bytes_depend_on_the_documents_alone(tokenizer, tmp_path, monkeypatch):
    # kills: borders of batches, groups and commits that show; a time, a path or an order of the disk in a file
    source_files, made = lay(tmp_path / "texts"), []
    moved = sources([shutil.copytree(tmp_path / "texts", tmp_path / "moved").as_posix()])
    rows = [" ".join(document.sentences) for source in source_files for document in documents(source)]
    (tmp_path / "all.csv").write_text("text\n" + "".join(f'"{row}"\n' for row in rows))
    for batch, which in (
        (10**6, source_files),
        (1, source_files),
        (700, moved),
        (700, sources([str(tmp_path / "all.csv")])),
    ):
        monkeypatch.setattr(prepare_shards, "BATCH_CHARACTERS", batch)
        monkeypatch.setattr(prepare_shards, "COMMIT_TOKENS", batch)
        made.append(prepare(which, tokenizer, tmp_path / "corpus", overwrite=True, shard_tokens=200))
        made.append(contents(tmp_path / "corpus"))
    assert made[1] == made[3] == made[5]
    assert made[0].fingerprint == made[2].fingerprint == made[4].fingerprint != made[6].fingerprint
    blank = made[7].pop("index.json"), made[7].pop("manifest.json")  # no blank rows were counted in the last
    assert made[7] == {name: content for name, content in made[1].items() if name in made[7]} and all(blank)


def test_the_layout_others_read(tokenizer, tmp_path, write):
    # kills: another form of file, name or number than the one agreed on
    path = write("a.csv", 'text,kind\nThe sea. The sun.,Rain\n"Old, rain.",Land\n,Land\nthe sea! the sun,Rain\n')
    prepare(sources([str(path)]), tokenizer, tmp_path / "corpus", code_column="kind")
    folder = tmp_path / "corpus"
    the, sea, sun, old, rain, land, dot, comma = map(
        tokenizer.id, ["the", "sea", "sun", "old", "rain", "land", ".", ","]
    )
    assert json.loads((folder / "index.json").read_text()) == {
        "format": 1,
        "dtype": "uint16",
        "vocab_size": tokenizer.vocab_size,
        "tokenizer": tokenizer.text_fingerprint,
        "codes": [{"name": "Rain", "ids": [rain]}, {"name": "Land", "ids": [land]}],
        "shards": [
            {"name": "00000", "code": 0, "tokens": 6, "sentences": 2, "documents": 1},
            {"name": "00001", "code": 1, "tokens": 4, "sentences": 1, "documents": 1},
        ],
        "counts": {"read": 4, "kept": 2, "empty": 1, "duplicates": 1, "characters": 26, "bad": {}},
    }
    assert np.fromfile(folder / "00000.tokens", "<u2").tolist() == [the, sea, dot, the, sun, dot]
    assert np.fromfile(folder / "00000.sentences", "<u4").tolist() == [0, 3, 6]
    assert np.fromfile(folder / "00000.documents", "<u4").tolist() == [0, 2]
    assert np.fromfile(folder / "00001.tokens", "<u2").tolist() == [old, comma, rain, dot]
    parts = [f"{name}.{part}" for name in ("00000", "00001") for part in ("tokens", "sentences", "documents")]
    assert sorted(contents(folder)) == sorted(["index.json", "manifest.json", *parts])
    assert sorted(json.loads((folder / "manifest.json").read_text())["files"]) == sorted(["index.json", *parts])


def test_shards_close_before_the_bound(tokenizer, tmp_path, write):
    # kills: a document parted between two shards, a shard past its bound or closed too early, an empty one
    lengths = [3, 5, 2, 1, 9, 12, 10, 11, 4, 7]
    path = write("a.jsonl", "".join(json.dumps({"text": f"{'the ' * n}"}) + "\n" for n in lengths))
    corpus = prepare(sources([str(path)]), tokenizer, tmp_path / "corpus", shard_tokens=10)
    shares = [np.diff(shard.sentences).tolist() for shard in corpus.shards]
    assert shares == [[3, 5, 2], [1, 9], [12], [10], [11], [4], [7]]


@pytest.mark.parametrize("vocabulary, dtype", [(65_536, "uint16"), (65_537, "uint32")])
def test_which_numbers_hold_the_ids(tmp_path, write, vocabulary, dtype):
    # kills: a bound off by one, so that the last token becomes the first
    words = {"[UNK]": 0} | {f"w{number}": number for number in range(1, vocabulary)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = Tokenizer(inner, max_length=8)
    path = write("a.txt", f"w1 w{vocabulary - 1} none")
    [shard] = prepare(sources([str(path)]), tokenizer, tmp_path / "corpus").shards
    assert shard.tokens.tolist() == [1, vocabulary - 1, 0]
    assert shard.tokens.dtype == dtype
    assert (tmp_path / "corpus" / "00000.tokens").stat().st_size == 3 * shard.tokens.itemsize


# --- control codes ------------------------------------------------------------------------------


def test_a_shard_holds_one_code(tokenizer, tmp_path, write, small):
    # kills: documents of two codes in a shard, the code of the file before, a code's shards out of order
    path = write("a.jsonl", "")
    rows = [(" ".join(poem), ["sea", "land", "old money"][i * i % 3]) for i, poem in enumerate(poems(40))]
    path.write_text("".join(json.dumps({"text": text, "kind": kind}) + "\n" for text, kind in rows))
    corpus = prepare(sources([str(path)]), tokenizer, tmp_path / "corpus", code_column="kind", shard_tokens=90)
    want = []
    for kind in ("sea", "land"):  # i * i % 3 is never 2
        part = write(
            f"{kind}.txt",
            "\n\n".join("\n".join(poem) for poem, (_, code) in zip(poems(40), rows, strict=True) if code == kind),
        )
        want.append(expected(tokenizer, [SourceFile(part, kind)]))
    assert [code.name for code in corpus.codes] == ["sea", "land"]
    assert len(corpus.shards) > 4
    assert [document for document in told(corpus) if document[0] == "sea"] == want[0]
    assert [document for document in told(corpus) if document[0] == "land"] == want[1]
    both = sources([f"sea={write('s.txt', 'The sea.')}", f"land={write('l.txt', 'The sea.')}"])
    corpus = prepare(both, tokenizer, tmp_path / "two")
    assert [code for code, _ in told(corpus)] == ["sea", "land"]


def test_the_tokens_of_a_code(tiny_model, tmp_path, write):
    # kills: a special token added for a code cut into letters; a code of several words refused
    inner = tokenizers.Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    inner.add_special_tokens(["Old Poems"])
    tokenizer = Tokenizer(inner, max_length=4)
    source_files = [
        SourceFile(write(f"{i}.txt", "The sea."), code) for i, code in enumerate(["Old Poems", "Old money and zz"])
    ]
    codes = prepare(source_files, tokenizer, tmp_path / "corpus").codes
    assert codes[0].ids == (tokenizer.id("Old Poems"),)
    assert codes[1].ids == tuple(map(tokenizer.id, ["old", "money", "and", "z", "##z"]))
    assert Corpus.open(tmp_path / "corpus").codes == codes


@pytest.mark.parametrize(
    "codes, message",
    [
        (
            ["sea", "바다"],
            r"no tokens for the control code '바다'; give it another name, or train .* special token",
        ),
        (["sea", "\u0301"], r"no tokens for the control code '\u0301'"),
        (
            ["Sea", "land", "sea"],
            r"the control codes 'Sea' and 'sea' are the same tokens; give one of them another",
        ),
    ],
)
def test_codes_a_tokenizer_cannot_tell(tokenizer, tmp_path, write, codes, message):
    # kills: a code that is [UNK] or nothing at all, and two that a network would take for one
    source_files = [SourceFile(write(f"{i}.txt", "The sea."), code) for i, code in enumerate(codes)]
    before = contents(tmp_path)
    with pytest.raises(SettingError, match=message), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            prepare_shards, "read_documents", lambda *table, **how: pytest.fail("told after hours of work")
        )
        prepare(source_files, tokenizer, tmp_path / "corpus")
    assert contents(tmp_path) == before
    rows = write("a.csv", "text,kind\n" + "".join(f"{'the ' * i}sea,{code}\n" for i, code in enumerate(codes)))
    with pytest.raises(SettingError, match=message):
        prepare([SourceFile(rows)], tokenizer, tmp_path / "corpus", code_column="kind")


def test_a_column_of_too_many_codes(tokenizer, tmp_path, write, monkeypatch):
    # kills: thousands of shards of one document each, for the column of titles
    monkeypatch.setattr(prepare_shards, "MOST_CODES", 3)
    path = write("a.csv", "text,id\n" + "".join(f"{'the ' * i},{i}\n" for i in range(1, 5)))
    with pytest.raises(SettingError, match=r"more than 3 control codes, of which '4' is one; name a column"):
        prepare([SourceFile(path)], tokenizer, tmp_path / "corpus", code_column="id")


# --- what is dropped ----------------------------------------------------------------------------


def test_what_is_dropped_is_counted(tokenizer, tmp_path, write, small):
    # kills: a document dropped and not counted, counted twice, or under another name
    rows = ["The sea.", "the sea", "", None, " \n ", "\u200b", "Old rain!", "THE, SEA", "old  rain", "land"]
    path = write("a.jsonl", "".join(json.dumps({"text": row}) + "\n" for row in rows * 20))
    counts = prepare([SourceFile(path), SourceFile(path)], tokenizer, tmp_path / "corpus").counts
    assert counts.read == 400 == counts.kept + counts.empty + counts.duplicates
    assert counts.kept == 3 and counts.characters == len("The sea.Old rain!land")
    assert counts.empty == 3 * 40 + 1  # the zero-width space leaves no token once, and is like itself then
    assert counts.bad == {}


@pytest.mark.parametrize("content", ["\n \n\n", "\u200b\n\n\u200b"])
def test_a_corpus_of_nothing(tokenizer, tmp_path, write, content):
    # kills: a corpus that no batch can be cut from, and litter of one
    source_files = [SourceFile(write("a.txt", content)), SourceFile(write("b.csv", 'text\n""\n" "\n'))]
    with pytest.raises(
        TextError, match=r"nothing is left of 2 files: of \d documents [23] were empty and [01] like"
    ):
        prepare(source_files, tokenizer, tmp_path / "corpus")
    assert sorted(contents(tmp_path)) == ["a.txt", "b.csv"]


def test_bad_files_are_named_and_skipped_only_when_asked(tokenizer, tmp_path, write, small):
    # kills: a fault passed over unasked, sound documents lost with it, a fault that stops a run that was
    # asked to go on, a file skipped and not named, work before a fault done again, or a fault met twice
    poem = "\n\n".join("\n".join(lines) for lines in poems(12))
    source_files = [
        SourceFile(write("a.txt", poem)),
        SourceFile(write("b.csv", "text\nThe öld séä.\nna".encode() + b"\xefve\nlost\n")),
        SourceFile(write("c.txt.gz", b"no gzip")),
        SourceFile(
            write("d.jsonl", '{"text": "Rain of money."}\n' + '{"text": "And bread. It rain."}\n{"text": 7}\n')
        ),
        SourceFile(write("e.txt", "The end.")),
    ]
    with pytest.raises(TextError, match=r"b\.csv, line 3: byte 3"):
        prepare(source_files[:2], tokenizer, tmp_path / "corpus")
    assert (tmp_path / ".corpus.preparing" / "progress.json").exists()
    shutil.rmtree(tmp_path / ".corpus.preparing")
    with pytest.raises(TextError, match=r"c\.txt\.gz is cut short or damaged"):  # told before hours of work
        prepare(
            source_files, tokenizer, tmp_path / "corpus", tell=lambda progress: pytest.fail("something was read")
        )
    corpus = prepare(source_files, tokenizer, tmp_path / "corpus", skip_bad=True)
    whole = [write("b2.csv", "text\nThe öld séä.\n"), write("d2.txt", "Rain of money.\n\nAnd bread.\nIt rain.")]
    assert told(corpus) == expected(
        tokenizer, [source_files[0], SourceFile(whole[0]), SourceFile(whole[1]), source_files[4]]
    )
    assert {Path(name).name: reason.partition(tmp_path.name)[2] for name, reason in corpus.counts.bad.items()} == {
        "b.csv": "/b.csv, line 3: byte 3 of the line, 0xef, is not UTF-8; mend it, or name the encoding of the "
        "whole file by --encoding",
        "c.txt.gz": "/c.txt.gz is cut short or damaged (Not a gzipped file (b'no')); copy it or make it again",
        "d.jsonl": "/d.jsonl, line 3: the text is a number, not a string; put quotes around it",
    }
    assert Corpus.open(tmp_path / "corpus").counts == corpus.counts


def test_a_run_stopped_by_a_fault_goes_on_past_it_when_asked(tokenizer, tmp_path, write, small):
    # kills: skip_bad taken for a setting that may not change, when the fault is found after hours
    lines = "".join(json.dumps({"text": " ".join(poem)}) + "\n" for poem in poems(30))
    source_files = [SourceFile(write("a.jsonl", lines + "{\n")), SourceFile(write("b.txt", "The end."))]
    with pytest.raises(TextError, match=r"a\.jsonl, line 31 is not JSON"):
        prepare(source_files, tokenizer, tmp_path / "corpus")
    progress = json.loads((tmp_path / ".corpus.preparing" / "progress.json").read_text())
    assert progress["documents"] > 20
    with pytest.raises(TextError, match=r"a\.jsonl, line 31 is not JSON"):
        prepare(source_files, tokenizer, tmp_path / "corpus", resume=True)
    corpus = prepare(source_files, tokenizer, tmp_path / "corpus", resume=True, skip_bad=True)
    assert corpus.documents == 31
    assert corpus.fingerprint == prepare(source_files, tokenizer, tmp_path / "other", skip_bad=True).fingerprint


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems have no such names")
def test_a_name_that_is_no_utf8(tokenizer, tmp_path):
    # kills: an index that cannot be written at the very end
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    path.write_bytes("The séä ö.\n\n".encode() + b"\xff")
    corpus = prepare([SourceFile(path)], tokenizer, tmp_path / "corpus", skip_bad=True)
    assert [name.rpartition("/")[2] for name in corpus.counts.bad] == ["caf\\udce9.txt"]


# --- whatever happens ---------------------------------------------------------------------------


@pytest.mark.parametrize("overwrite", [False, True])
def test_death_at_any_step_loses_nothing(tokenizer, tmp_path, small, no_waiting, overwrite):
    # kills: progress told before it is on the disk, ends of files kept that no progress speaks of, shards moved
    # away before all are there, an old corpus touched too early or taken for the new one's, litter
    source_files = lay(tmp_path / "texts", count=4)[:2]
    prepare(source_files, tokenizer, tmp_path / "want", shard_tokens=100)
    prepare(source_files[:1], tokenizer, tmp_path / "old")
    want, old = contents(tmp_path / "want"), contents(tmp_path / "old")
    at, alive = 0, False
    while not alive:
        at += 1
        place = tmp_path / str(at)
        target = place / "corpus"
        place.mkdir()
        if overwrite:
            shutil.copytree(tmp_path / "old", target)
        how = {"shard_tokens": 100, "overwrite": overwrite}
        try:
            steps = ["fsync", "replace", "rename", "link", "unlink", "truncate", "mkdir", "rmdir"]
            with failing(at, Killed(), steps, for_ever=True):
                prepare(source_files, tokenizer, target, **how)
            alive = True
        except Killed:
            placed = contents(target) if target.exists() else None
            assert placed in (None, old, want) and (overwrite or placed != old), at
            begun = (place / ".corpus.preparing" / "settings.json").exists()
            how["overwrite"] = overwrite and not begun
            prepare(source_files, tokenizer, target, resume=not how["overwrite"], **how)
        assert contents(target) == want, at
        names = {path.name for path in place.iterdir() if not path.name.endswith((".old", ".part"))}
        assert names == {".corpus.sijo-id", "corpus"}, at
    assert at > 40


def test_a_full_disk_at_any_write_loses_nothing(tokenizer, tmp_path, small, no_waiting):
    # kills: half a write taken for a whole one, or appended to; progress lost with the write that failed
    source_files = lay(tmp_path / "texts", count=5)[:2]
    prepare(source_files, tokenizer, tmp_path / "want", shard_tokens=100)
    want = contents(tmp_path / "want")
    at, whole, kept = 0, False, []
    while not whole:
        at += 1
        target = tmp_path / str(at) / "corpus"
        target.parent.mkdir()
        try:
            with full_disk(at):
                prepare(source_files, tokenizer, target, shard_tokens=100)
            whole = True
        except OSError as error:
            assert error.errno == errno.ENOSPC
            assert not target.exists() or contents(target) == want  # only what is beside it may fail then
            progress = target.parent / ".corpus.preparing" / "progress.json"
            kept.append(json.loads(progress.read_text())["counts"]["kept"] if progress.exists() else 0)
            prepare(source_files, tokenizer, target, shard_tokens=100, resume=True)
        assert contents(target) == want
        assert {path.name for path in target.parent.iterdir()} == {".corpus.sijo-id", "corpus"}
    assert at > 15
    assert kept == sorted(kept) and kept[-1] == 10


def test_a_disk_that_is_truly_full(tokenizer, tmp_path, small_disk, monkeypatch):
    # kills: what only a real file system does; a second copy of the shards, for which there is no room
    monkeypatch.setattr(prepare_shards, "COMMIT_TOKENS", 2_000)
    monkeypatch.setattr(prepare_shards, "BATCH_CHARACTERS", 2_000)
    source_files = lay(tmp_path / "texts", count=1_000)
    prepare(source_files, tokenizer, tmp_path / "want", shard_tokens=20_000)
    size = sum(map(len, contents(tmp_path / "want").values()))
    disk = small_disk(size // 2)
    with pytest.raises(OSError) as caught:
        prepare(source_files, tokenizer, disk / "corpus", shard_tokens=20_000)
    assert caught.value.errno == errno.ENOSPC
    assert not (disk / "corpus").exists()
    progress = json.loads((disk / ".corpus.preparing" / "progress.json").read_text())
    assert progress["counts"]["kept"] > 500
    small_disk(size * 3 // 2)
    prepare(source_files, tokenizer, disk / "corpus", shard_tokens=20_000, resume=True)
    assert contents(disk / "corpus") == contents(tmp_path / "want")
    assert {path.name for path in disk.iterdir()} == {".corpus.sijo-id", "corpus"}


FORKS = """
import os, sys
from pathlib import Path
import pyarrow.parquet
from sijo.data import prepare_shards
from sijo.data.corpus import sources
from sijo.files.tables import TextTable
from sijo.tokenizers.tokenizer import Tokenizer

prepare_shards.COMMIT_TOKENS = prepare_shards.BATCH_CHARACTERS = 2_000
os.fsync = lambda handle: None  # what a process has written survives it
texts, tokenizer, target = sys.argv[1:]
while sys.stdin.readline():  # one more preparation; nothing has a thread before the fork
    if (child := os.fork()) == 0:
        tokenizer = Tokenizer.load(Path(tokenizer), max_length=4)
        prepare_shards.prepare(sources([texts]), tokenizer, Path(target), shard_tokens=3_000, resume=True)
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()  # until here the number is still the child's own
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_kill_9_at_any_instant_then_resume(tokenizer, tiny_model, tmp_path):
    # kills: all that the steps above do not think of, such as a lock that stays or a cut within a write
    texts, target = tmp_path / "texts", tmp_path / "out" / "corpus"
    want = prepare(lay(texts, count=1_500), tokenizer, tmp_path / "want", shard_tokens=3_000).fingerprint
    command = [sys.executable, "-c", FORKS, str(texts), str(tiny_model / "tokenizer.json"), str(target)]
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
    chance, codes, progress = random.Random(9), [], target.parent / ".corpus.preparing" / "progress.json"
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as forks:
        while not target.exists():
            print(file=forks.stdin, flush=True)
            child = int(forks.stdout.readline())
            before = progress.stat().st_mtime_ns if progress.exists() else 0
            end = time.monotonic() + 30  # at any instant, but not before it has come further than the one before
            while not target.exists() and before == (progress.stat().st_mtime_ns if progress.exists() else 0):
                assert time.monotonic() < end, "waited in vain"
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.03))
            os.kill(child, signal.SIGKILL)
            print(file=forks.stdin, flush=True)
            codes.append(int(forks.stdout.readline()))
        print("\n", file=forks.stdin, flush=True)
        forks.stdout.readline()
        assert forks.stdout.readline() == "0\n"
        forks.stdin.close()
    assert Corpus.open(target).fingerprint == want
    assert {path.name for path in target.parent.iterdir()} == {".corpus.sijo-id", "corpus"}
    assert codes.count(-signal.SIGKILL) >= 4


# --- resumed, refused, finished -----------------------------------------------------------------


@pytest.fixture
def unfinished(tokenizer, tmp_path, small):
    """What an unfinished preparation was begun with."""
    source_files = lay(tmp_path / "texts")

    def stop(progress):
        if progress.documents > 20:
            raise Killed

    with pytest.raises(Killed):
        prepare(source_files, tokenizer, tmp_path / "corpus", shard_tokens=100, tell=stop)
    return source_files


def test_a_resumed_preparation_goes_on_and_does_nothing_twice(unfinished, tokenizer, tmp_path, monkeypatch):
    # kills: a resumed run that starts over, and one that reads again what is done
    want = prepare(unfinished, tokenizer, tmp_path / "want", shard_tokens=100).fingerprint
    done = json.loads((tmp_path / ".corpus.preparing" / "progress.json").read_text())["counts"]["kept"]
    seen = (tmp_path / ".corpus.preparing" / "seen").stat().st_size
    first, real, texts = [], Tokenizer.ids, 0

    def ids(self, batch):
        nonlocal texts
        texts += len(batch)
        return real(self, batch)

    monkeypatch.setattr(Tokenizer, "ids", ids)
    corpus = prepare(unfinished, tokenizer, tmp_path / "corpus", shard_tokens=100, resume=True, tell=first.append)
    assert corpus.fingerprint == want
    assert first[0].documents > done > 15
    assert seen == 8 * done  # 8 bytes for each, and each once
    assert texts == sum(len(document) for _, document in told(corpus)[done:])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"column": "body"}, r'begun with column: null, and now it is "body"; give it as it was, or start over'),
        ({"code_column": "kind"}, r'begun with code_column: null, and now it is "kind"'),
        ({"shard_tokens": 99}, r"begun with shard_tokens: 100, and now it is 99"),
        ("tokenizer", r'begun with tokenizer: "[0-9a-f]{64}", and now it is "[0-9a-f]{64}"'),
        ("sijo", r'begun with sijo: ".*", and now it is "0\.0\.0"'),
        ("fewer", r"begun with the number of files: 3, and now it is 2"),
        ("other", r"begun with /.*/d\.txt: not given, and now it is \"8 bytes, changed 20"),
        ("order", r"begun with the same in another order"),
        ("code", r"begun with sea=/.*/a\.txt: not given, and now it is"),
        ("longer", r'begun with /.*/a\.txt: "(\d+) bytes, .*", and now it is "(?!\1 )\d+ bytes'),
        ("touched", r'begun with /.*/a\.txt: "(\d+) bytes, .*", and now it is "\1 bytes, changed 20'),
    ],
)
def test_a_resumed_preparation_must_be_the_same(unfinished, tokenizer, tmp_path, monkeypatch, change, message):
    # kills: shards of two corpora, or of two tokenizers, under one index
    source_files, how = list(unfinished), {"shard_tokens": 100}
    first = source_files[0].path
    match change:
        case "tokenizer":
            inner = tokenizers.Tokenizer.from_str(tokenizer._inner.to_str())
            inner.add_special_tokens(["[NEW]"])
            tokenizer = Tokenizer(inner, max_length=4)
        case "sijo":
            monkeypatch.setattr("sijo.data.prepare_shards.__version__", "0.0.0")
        case "fewer":
            source_files.pop()
        case "other":
            (tmp_path / "d.txt").write_text("The sea.")
            source_files[1] = SourceFile(tmp_path / "d.txt")
        case "order":
            source_files.reverse()
        case "code":
            source_files = [SourceFile(source.path, "sea") for source in source_files]
        case "longer":
            first.write_text(first.read_text() + "More.")
        case "touched":
            os.utime(first, ns=(0, first.stat().st_mtime_ns + 1))
        case _:
            how |= change
    work = contents(tmp_path / ".corpus.preparing")
    with pytest.raises(SettingError, match=message):
        prepare(source_files, tokenizer, tmp_path / "corpus", resume=True, **how)
    assert contents(tmp_path / ".corpus.preparing") == work


def test_what_stands_in_the_way(unfinished, tokenizer, tmp_path):
    # kills: an unfinished preparation started over unasked, a corpus replaced unasked, one that somebody
    # else has made taken for the finished one
    target, how = tmp_path / "corpus", {"shard_tokens": 100}
    with pytest.raises(
        SettingError, match=r"unfinished preparation of .* is in .*\.corpus\.preparing; resume it, or"
    ):
        prepare(unfinished, tokenizer, target, **how)
    with pytest.raises(SettingError, match=r"pass one of them"):
        prepare(unfinished, tokenizer, target, resume=True, overwrite=True)
    prepare(unfinished[:1], tokenizer, tmp_path / "other")
    shutil.copytree(tmp_path / "other", target)
    with pytest.raises(SettingError, match=r"was made by someone else in the meantime; move it away, then resume"):
        prepare(unfinished, tokenizer, target, resume=True, **how)
    shutil.rmtree(target)
    assert prepare(unfinished, tokenizer, target, resume=True, **how).documents == 36
    with pytest.raises(SettingError, match=r"corpus exists already; name another folder, or allow"):
        prepare(unfinished, tokenizer, target, **how)
    assert prepare(unfinished[:1], tokenizer, target, overwrite=True).documents == 12
    assert {path.name for path in tmp_path.iterdir() if path.name[0] != "."} == {"corpus", "other", "texts"}


def test_an_unfinished_preparation_is_started_over_when_asked(unfinished, tokenizer, tmp_path):
    # kills: what was begun with other files mixed into the new corpus
    corpus = prepare(unfinished[1:], tokenizer, tmp_path / "corpus", overwrite=True)
    assert corpus.fingerprint == prepare(unfinished[1:], tokenizer, tmp_path / "want").fingerprint
    assert {path.name for path in tmp_path.iterdir() if path.name[0] != "."} == {"corpus", "texts", "want"}


def test_a_finished_corpus_is_opened(tokenizer, tiny_model, tmp_path, write):
    # kills: a finished corpus made again, and one of another tokenizer passed off as this one's
    source_files = [SourceFile(write("a.txt", "The sea."))]
    want = prepare(source_files, tokenizer, tmp_path / "corpus", resume=True).fingerprint
    source_files[0].path.unlink()
    assert prepare(source_files, tokenizer, tmp_path / "corpus", resume=True).fingerprint == want
    inner = tokenizers.Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    inner.add_special_tokens(["[NEW]"])
    with pytest.raises(
        SettingError, match=r"was prepared with another tokenizer; name another folder, or overwrite"
    ):
        prepare(source_files, Tokenizer(inner, max_length=4), tmp_path / "corpus", resume=True)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"column": "text"},
            r"the corpus in .* was begun with column: null, and now it is \"text\"; give the same",
        ),
        ({"code_column": "kind"}, r"was begun with code_column: null"),
        ({"shard_tokens": 99}, r"was begun with shard_tokens: 100, and now it is 99"),
        ("fewer", r"was begun with 3 files, and now there are 2"),
        ("more", r"was begun with 3 files, and now there are 4"),
        ("order", r"was begun with other text than .*c\.parquet now holds"),
        ("other", r"was begun with other text than .*a\.txt now holds; give the same"),
        ("longer", r"was begun with other text than .*a\.txt now holds"),
        ("code", r"was begun with the control code None for .*a\.txt, not sea"),
        ("stranger", r"has no \.corpus\.sijo-id of its own beside it"),
        ("unknown", r"has no \.corpus\.sijo-id of its own beside it"),
    ],
)
def test_a_finished_corpus_of_something_else_is_refused(tokenizer, tmp_path, change, message):
    # kills: a corpus opened as finished after its texts or its settings have changed, or that somebody else made
    source_files, how = lay(tmp_path / "texts"), {"shard_tokens": 100}
    prepare(source_files, tokenizer, tmp_path / "corpus", **how)
    first = source_files[0].path
    match change:
        case "fewer":
            source_files.pop()
        case "more":
            source_files.append(SourceFile(first))
        case "order":
            source_files.reverse()
        case "other":
            first.write_text(first.read_text().swapcase())
        case "longer":
            first.write_text(first.read_text() + "More.")
        case "code":
            source_files = [SourceFile(source.path, "sea") for source in source_files]
        case "stranger":
            prepare(source_files[:1], tokenizer, tmp_path / "other")
            shutil.rmtree(tmp_path / "corpus")
            (tmp_path / "other").rename(tmp_path / "corpus")
        case "unknown":
            (tmp_path / ".corpus.sijo-id").unlink()
        case _:
            how |= change
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SettingError, match=message):
        prepare(source_files, tokenizer, tmp_path / "corpus", resume=True, **how)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_finished_corpus_of_the_same_is_opened(tokenizer, tmp_path, monkeypatch):
    # kills: a corpus refused since its texts were copied or touched, and texts read once more for nothing
    source_files = lay(tmp_path / "texts")
    want = prepare(source_files, tokenizer, tmp_path / "corpus").fingerprint
    with monkeypatch.context() as patch:
        patch.setattr("sijo.data.corpus_identity._digest", lambda source: pytest.fail("it was read once more"))
        assert prepare(source_files, tokenizer, tmp_path / "corpus", resume=True).fingerprint == want
    os.utime(source_files[0].path, (0, 0))
    assert prepare(source_files, tokenizer, tmp_path / "corpus", resume=True).fingerprint == want
    moved = sources([shutil.copytree(tmp_path / "texts", tmp_path / "moved").as_posix()])
    assert prepare(moved, tokenizer, tmp_path / "corpus", resume=True).fingerprint == want


def test_two_preparations_do_not_meet(unfinished, tokenizer, tmp_path):
    # kills: shards that two processes append to
    with (tmp_path / ".corpus.preparing" / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SettingError, match=r"another process is at work in .*\.corpus\.preparing"):
            prepare(unfinished, tokenizer, tmp_path / "corpus", shard_tokens=100, resume=True)
    assert prepare(unfinished, tokenizer, tmp_path / "corpus", shard_tokens=100, resume=True).documents == 36


def test_a_file_that_lost_what_was_written(unfinished, tokenizer, tmp_path):
    # kills: zeros in place of tokens that a disk has lost
    os.truncate(tmp_path / ".corpus.preparing" / "00000.tokens", 3)
    with pytest.raises(CheckpointError, match=r"00000\.tokens has 3 bytes and had \d+; start over with overwrite"):
        prepare(unfinished, tokenizer, tmp_path / "corpus", shard_tokens=100, resume=True)


@pytest.mark.parametrize("shard_tokens", [0, 2**32])
def test_settings_that_cannot_be(tokenizer, tmp_path, write, shard_tokens):
    # kills: offsets that do not fit their numbers, and litter of what was refused
    source_files = [SourceFile(write("a.txt", "The sea."))]
    with pytest.raises(SettingError, match=rf"a shard of {shard_tokens} tokens cannot be; use 1 to 4,294,967,295"):
        prepare(source_files, tokenizer, tmp_path / "corpus", shard_tokens=shard_tokens)
    with pytest.raises(SettingError, match=r"no files to prepare a corpus from"):
        prepare([], tokenizer, tmp_path / "corpus")
    with pytest.raises(SettingError, match=r"b\.csv has no column 'kind'"):
        prepare([SourceFile(write("b.csv", "text\na\n"))], tokenizer, tmp_path / "corpus", code_column="kind")
    assert sorted(contents(tmp_path)) == ["a.txt", "b.csv"]


def test_progress_rises_to_all(tokenizer, tmp_path, small):
    # kills: a share of one file told as that of all, counts of a batch told as those of the run
    source_files, seen = lay(tmp_path / "texts"), []
    corpus = prepare(source_files, tokenizer, tmp_path / "corpus", tell=seen.append)
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares) and 0 < shares[0] < 0.5 and shares[-1] == 1
    assert [Path(progress.file).name for progress in seen][:: len(seen) - 1] == ["a.txt", "c.parquet"]
    assert (seen[-1].documents, seen[-1].tokens) == (corpus.documents, corpus.tokens)
    assert 0 < seen[0].documents < seen[1].documents < seen[2].documents


def test_memory_does_not_grow_with_the_corpus(tokenizer, tmp_path, small, no_waiting, monkeypatch):
    # kills: documents, tokens or sentences held until the end
    peaks = []
    monkeypatch.setitem(TextTable.blocks.__kwdefaults__, "characters", 500)
    # files are hashed two at a time, 256 KiB each: whether both are held at once is up to the threads
    monkeypatch.setattr(manifest, "ThreadPoolExecutor", lambda workers: ThreadPoolExecutor(1))
    for count in (100, 100, 3_000):  # the first time makes what every later one finds there
        text = "\n\n".join("\n".join(poem) for poem in poems(count, seed=count))
        (tmp_path / "a.txt").write_text(text)
        gc.collect()  # what others left, and would be cleared away in between
        tracemalloc.start()
        prepare([SourceFile(tmp_path / "a.txt")], tokenizer, tmp_path / "corpus", overwrite=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + len(text), (peaks, len(text))


def test_what_was_said_of_files_decides(tokenizer, tmp_path):
    # kills: a corpus read as one encoding and gone on with as another; one that a raised limit begins anew
    file = tmp_path / "a.csv"
    file.write_bytes("text;n\n비가 왔다;1\n".encode("cp949"))
    target, files = tmp_path / "corpus", [SourceFile(file)]
    korean = TextReading(encoding="cp949", delimiter=";")
    made = prepare(files, tokenizer, target, column="text", how=korean)
    assert made.documents == 1
    raised = replace(korean, longest_row=2 * korean.longest_row)
    assert prepare(files, tokenizer, target, column="text", how=raised, resume=True).fingerprint == made.fingerprint
    for other in (replace(korean, encoding="cp932"), replace(korean, delimiter=None), TextReading()):
        with pytest.raises(SettingError, match=r"encoding|delimiter"):
            prepare(files, tokenizer, target, column="text", how=other, resume=True)
