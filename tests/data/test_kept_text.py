"""A corpus that keeps its text beside the tokens, for a reader with another tokenizer."""

import json

import numpy as np
import pytest

from corpora import contents
from failing import Killed, failing
from sijo.data import prepare_shards
from sijo.data.corpus import SourceFile, documents
from sijo.data.prepare_shards import prepare
from sijo.data.samples import Samples, SampleSettings
from sijo.data.shards import Corpus
from sijo.errors import CheckpointError, SettingError
from sijo.objectives.posed_batch import unposed
from sijo.tokenizers.tokenizer import Tokenizer

LINES = [
    "Don't STOP: it's 3.5 %!",
    "비가 왔다. 우산이 없었다!",
    "The old Sea…  and rain.",
    "Game, MONEY: 비 x 비.",
]


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return Tokenizer.load(tiny_model / "tokenizer.json", max_length=32)


@pytest.fixture
def source(write, monkeypatch):
    """Documents in two languages, prepared in small steps."""
    monkeypatch.setattr(prepare_shards, "BATCH_CHARACTERS", 300)
    monkeypatch.setattr(prepare_shards, "COMMIT_TOKENS", 40)
    rows = [f"{number} {LINES[number % 4]}\n{LINES[(number * 3 + 1) % 4]}" for number in range(60)]
    return SourceFile(write("a.txt", "\n\n".join(rows)))


def test_every_sentence_is_kept_as_it_was_written(tokenizer, source, tmp_path):
    # kills: text in the tokenizer's spelling, a shard whose text begins at
    # another's place
    corpus = prepare([source], tokenizer, tmp_path / "corpus", shard_tokens=150, keep_text=True)
    corpus = Corpus.open(tmp_path / "corpus")
    read = [
        shard.written(start, end)
        for shard in corpus.shards
        for start, end in zip(shard.sentences[:-1].tolist(), shard.sentences[1:].tolist(), strict=True)
    ]
    assert read == [sentence for document in documents(source) for sentence in document.sentences]
    assert len(corpus.shards) > 3 and all(len(shard.places) == len(shard.tokens) for shard in corpus.shards)
    plain = prepare([source], tokenizer, tmp_path / "plain", shard_tokens=150)
    for shard, without in zip(corpus.shards, plain.shards, strict=True):
        assert np.array_equal(shard.tokens, without.tokens) and without.written(0, 1) is None


@pytest.mark.parametrize("settings", [{}, {"cut": "stream"}, {"short": 0.6}], ids=str)
def test_an_input_comes_with_its_text(tokenizer, source, tmp_path, settings):
    # kills: the text of the whole document, of an input before it was shortened, or of another row; a piece of a
    # sentence that begins a token too late, characters counted for bytes
    corpus = prepare([source], tokenizer, tmp_path / "corpus", keep_text=True)
    batch = Samples(corpus, tokenizer, SampleSettings(length=16, **settings)).batch(3, 80, seed=1)
    again = tokenizer.ids(batch.texts)
    same = 0
    for row, text in enumerate(batch.texts):
        ids = batch.input_ids[row][~batch.special[row]].tolist()
        assert abs(len(again[row]) - len(ids)) <= 4, text  # a word that is parted is cut otherwise
        same += again[row] == ids
    assert same > 60
    part = unposed(batch).rows([5, 2])
    assert part.texts == (batch.texts[5], batch.texts[2])


def test_a_preparation_that_was_killed_goes_on_with_the_text(tokenizer, source, tmp_path):
    # kills: text that is not cut back to the last commit, places that begin at 0 again
    prepare([source], tokenizer, tmp_path / "want", keep_text=True, shard_tokens=200)
    want = contents(tmp_path / "want")
    for at in (3, 20, 41, 60):
        target = tmp_path / str(at) / "corpus"
        target.parent.mkdir()
        with pytest.raises(Killed), failing(at, Killed(), ["fsync"], for_ever=True):
            prepare([source], tokenizer, target, keep_text=True, shard_tokens=200)
        prepare([source], tokenizer, target, keep_text=True, shard_tokens=200, resume=True)
        assert contents(target) == want


def test_a_corpus_without_its_text_is_not_taken_for_one_with_it(tokenizer, source, tmp_path):
    # kills: a finished corpus opened whatever it keeps
    prepare([source], tokenizer, tmp_path / "corpus")
    with pytest.raises(SettingError, match="keep_text"):
        prepare([source], tokenizer, tmp_path / "corpus", keep_text=True, resume=True)


def test_places_beyond_the_text_are_refused(tokenizer, source, tmp_path):
    # kills: half a text read without a word
    corpus = prepare([source], tokenizer, tmp_path / "corpus", keep_text=True)
    file = tmp_path / "corpus" / "00000.places"
    places = np.fromfile(file, "<u4")
    places[-1] = len(corpus.shards[0].text) + 1
    places.tofile(file)
    manifest = json.loads((tmp_path / "corpus" / "manifest.json").read_text())
    from hashlib import sha256

    manifest["files"]["00000.places"] = {
        **manifest["files"]["00000.places"],
        "sha256": sha256(file.read_bytes()).hexdigest(),
    }
    (tmp_path / "corpus" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="leads out of its text"):
        Corpus.open(tmp_path / "corpus")
