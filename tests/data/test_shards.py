"""A corpus is opened, or its damage found."""

import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from corpora import contents, poems, told
from sijo.data.corpus import SourceFile
from sijo.data.prepare_shards import prepare
from sijo.data.shards import Corpus
from sijo.errors import CheckpointError, RefusedError, SettingError
from sijo.files.manifest import write_manifest
from sijo.tokenizers.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return Tokenizer.load(tiny_model / "tokenizer.json", max_length=4)


@pytest.fixture
def made(tokenizer, tmp_path, write):
    """A corpus of two codes and five shards, which a test may spoil."""
    rows = "".join(f"{' '.join(poem)},{'sea' if i % 3 else 'land'}\n" for i, poem in enumerate(poems(12)))
    source_files = [SourceFile(write("a.csv", "text,kind\n" + rows))]
    return prepare(source_files, tokenizer, tmp_path / "corpus", code_column="kind", shard_tokens=60).folder


def test_nobody_writes_into_an_open_corpus(made, tmp_path):
    # kills: a map through which a slip in training changes the corpus, and a lock between readers
    before, first, second = contents(made), Corpus.open(made), Corpus.open(made)
    for array in (first.shards[0].tokens, first.shards[0].sentences, first.shards[0].documents):
        assert isinstance(array, np.memmap) and not array.flags.writeable
    assert told(first) == told(second)
    assert contents(made) == before
    read, write = os.pipe()
    if os.fork() == 0:  # another process
        try:
            os.write(write, json.dumps(told(Corpus.open(made))).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert list(map(tuple, json.load(pipe))) == told(first)
    os.wait()


@pytest.mark.parametrize(
    "name", ["00000.tokens", "00001.sentences", "00001.documents", "index.json", "manifest.json"]
)
@pytest.mark.parametrize("spoil", ["flip", "cut", "lengthen", "remove"])
def test_damage_is_found(made, name, spoil):
    # kills: a flipped bit read as another word, a shard cut short read to its end and beyond
    content = bytearray((made / name).read_bytes())
    if spoil == "flip":
        content[len(content) // 2] ^= 4
    elif spoil == "cut":
        del content[-1:]
    else:
        content += b"\0"
    (made / name).unlink() if spoil == "remove" else (made / name).write_bytes(content)
    if (name, spoil) == ("manifest.json", "cut"):
        assert Corpus.open(made).tokens  # the last line end
        return
    with pytest.raises(CheckpointError, match=r"copy"):
        Corpus.open(made)


def test_a_file_that_no_digest_covers_is_found(made):
    # kills: damage that the manifest does not speak of
    manifest = json.loads((made / "manifest.json").read_text())
    del manifest["files"]["00001.tokens"]
    (made / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"00001\.tokens is not among the files that manifest\.json lists"):
        Corpus.open(made)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda index: index["shards"][1].update(tokens=index["shards"][1]["tokens"] + 1),
            r"00001\.tokens has \d+ byt",
        ),
        (
            lambda index: index["shards"][1].update(sentences=1),
            r"00001\.sentences has \d+ bytes, and by index\.json",
        ),
        (lambda index: index["shards"][1].update(documents=10**9), r"00001\.documents has \d+ bytes"),
        (lambda index: index["shards"][1].update(documents=-1), r"index\.json does not say what"),
        (lambda index: index["shards"][1].update(documents="2"), r"index\.json does not say what"),
        (lambda index: index["shards"][1].update(code=2), r"index\.json does not say what"),
        (lambda index: index["shards"][1].update(code=None), r"index\.json does not say what"),
        (lambda index: index["shards"][1].pop("code"), r"index\.json does not say what"),
        (lambda index: index["shards"].pop(), r"index\.json does not say what manifest\.json lists"),
        (lambda index: index["shards"].clear(), r"index\.json does not say what"),
        (lambda index: index.update(dtype="uint32"), r"00000\.tokens has \d+ bytes"),
        (lambda index: index.update(dtype="int8"), r"index\.json does not say what"),
        (lambda index: index.pop("codes"), r"index\.json does not say what"),
        (lambda index: index["counts"].update(kept=11), r"index\.json does not say what"),
    ],
)
def test_an_index_that_does_not_fit_is_found_without_digests(made, spoil, message):
    # kills: a number of the index believed, by which a window would be cut out of nowhere
    index = json.loads((made / "index.json").read_text())
    spoil(index)
    (made / "index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=message):
        Corpus.open(made, check=False)


@pytest.mark.parametrize("name", ["00001.sentences", "00001.documents"])
def test_offsets_that_lead_out_are_found_without_digests(made, name):
    # kills: borders that cut tokens of another document, or none
    offsets = np.fromfile(made / name, "<u4")
    for place, value in ((0, 1), (-1, offsets[-1] + 1)):
        spoilt = offsets.copy()
        spoilt[place] = value
        spoilt.tofile(made / name)
        with pytest.raises(CheckpointError, match=rf"{name} leads out of its shard; copy"):
            Corpus.open(made, check=False)
    offsets[1] = offsets[2]
    offsets.tofile(made / name)
    (made / "manifest.json").unlink()
    write_manifest(made)  # with digests of what is there
    with pytest.raises(CheckpointError, match=rf"{name} leads out of its shard"):
        Corpus.open(made)


def test_what_is_no_corpus(made, tmp_path):
    # kills: a folder of something else told as damaged, a later format read as this one, a way out of the folder
    with pytest.raises(SettingError, match=r"texts is no prepared corpus: it has no index\.json; name the folder"):
        Corpus.open(tmp_path / "texts")
    index = json.loads((made / "index.json").read_text())
    (made / "index.json").write_text(json.dumps(index | {"format": 2}))
    with pytest.raises(RefusedError, match=r"index\.json is of format 2 and this sijo knows 1; update sijo"):
        Corpus.open(made, check=False)
    index["shards"][0]["name"] = "../00000"
    (made / "index.json").write_text(json.dumps(index))
    with pytest.raises(RefusedError, match=r"outside of it"):
        Corpus.open(made, check=False)


def test_more_shards_than_open_files(tokenizer, tmp_path, write):
    # kills: a large corpus that cannot be opened where a process may have few files open
    path = write("a.txt", "\n\n".join(f"{'the ' * count}" for count in range(1, 41)))
    corpus = prepare([SourceFile(path)], tokenizer, tmp_path / "corpus", shard_tokens=1)
    assert len(corpus.shards) == 40
    want = told(corpus)
    del corpus
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 50, hard))
    try:
        assert told(Corpus.open(tmp_path / "corpus")) == want
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
