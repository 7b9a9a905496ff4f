"""A corpus cut into inputs, and laid out."""

from types import SimpleNamespace

import numpy as np
import pytest

from objectives.conftest import corpus_of, documents
from sijo.data.samples import Samples, SampleSettings, parted_near_middle
from sijo.errors import SettingError
from sijo.tokenizers.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return Tokenizer.load(tiny_model / "tokenizer.json", max_length=32)


@pytest.fixture(scope="module")
def corpus(tokenizer):
    return corpus_of(tokenizer, documents(60))


def text_of(batch, row):
    return batch.input_ids[row][~batch.special[row]].tolist()


@pytest.mark.parametrize("cut", ["documents", "stream"])
def test_every_token_is_read_once_an_epoch(tokenizer, corpus, cut):
    # kills: text lost where an input is full, an input read twice, an epoch that ends early
    samples = Samples(corpus, tokenizer, SampleSettings(length=16, cut=cut))
    tokens = corpus.shards[0].tokens
    for epoch in (0, 1):
        batch = samples.batch(epoch * len(samples), len(samples), seed=4)
        assert sorted(batch.numbers) == list(range(len(samples))) and set(batch.epochs) == {epoch}
        rows = sorted((number, text_of(batch, row)) for row, number in enumerate(batch.numbers))
        read = [token for _, row in rows for token in row]
        whole = len(tokens) if cut == "documents" else len(tokens) // samples.room * samples.room
        assert read == tokens[:whole].tolist()


def test_inputs_are_whole_sentences_of_one_document(tokenizer, corpus):
    # kills: an input over the border of two documents, a sentence torn though it would have fitted
    samples = Samples(corpus, tokenizer, SampleSettings(length=16))
    shard, [edges] = corpus.shards[0], samples._edges
    borders, ends = set(shard.sentences.tolist()), set(shard.sentences[shard.documents].tolist())
    assert ends <= set(edges.tolist())
    torn = [edge for edge in edges.tolist() if edge not in borders]
    for edge in torn:
        at = np.searchsorted(shard.sentences, edge)
        assert shard.sentences[at] - shard.sentences[at - 1] > samples.room
    assert np.diff(edges.astype(int)).max() <= samples.room and torn


def test_a_batch_may_begin_in_one_epoch_and_end_in_the_next(tokenizer, corpus):
    # kills: a batch cut short at the end of an epoch, or filled with the same epoch again
    samples = Samples(corpus, tokenizer, SampleSettings(length=32))
    batch = samples.batch(len(samples) - 3, 8, seed=0)
    assert batch.epochs.tolist() == [0] * 3 + [1] * 5
    assert batch.numbers[:3].tolist() == samples.batch(len(samples) - 3, 3, seed=0).numbers.tolist()


def test_layout(tokenizer):
    # kills: [SEP] of the wrong type, padding that is text, a row wider than the longest input
    document = corpus_of(tokenizer, [["the sea", "was old"], ["one"]])
    samples = Samples(document, tokenizer, SampleSettings(length=12, segments="two"))
    batch = samples.batch(0, 2, seed=0)
    long = int(batch.parts[:, 1].argmax())
    the, sea, was, old = tokenizer.ids(["the sea was old"])[0]
    cls, sep, pad = tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id
    assert batch.input_ids[long].tolist()[:7] == [cls, the, sea, sep, was, old, sep]
    assert batch.token_type_ids[long].tolist()[:7] == [0, 0, 0, 0, 1, 1, 1]
    assert batch.special[long].tolist()[:7] == [True, False, False, True, False, False, True]
    assert batch.input_ids.shape == (2, 8) and batch.input_ids[long, 7] == pad
    assert not batch.keep[long, 7] and batch.special[long, 7] and batch.keep[long, :7].all()


def test_one_in_ten_is_one_segment_and_the_others_are_two_near_the_middle(tokenizer):
    # kills: ELECTRA's segments always two, always one, or parted anywhere
    sentences = [["the sea was old", "and the land was new", "one team won", "two of them lost"] * 2] * 400
    samples = Samples(corpus_of(tokenizer, sentences), tokenizer, SampleSettings(length=48, segments="one_or_two"))
    batch = samples.batch(0, len(samples), seed=1)
    single = (batch.parts[:, 1] == 0).mean()
    assert abs(single - 0.1) < 4 * (0.09 / len(samples)) ** 0.5
    first = batch.parts[batch.parts[:, 1] > 0, 0]
    assert abs(first.mean() - samples.room / 2) < 6 and first.std() > 0
    coin = SimpleNamespace(random=lambda: 0.9)
    assert parted_near_middle([0, 40, 80, 120], coin, 126) == 40  # the one that would cross goes to the second
    coin = SimpleNamespace(random=lambda: 0.1)
    assert parted_near_middle([0, 40, 80, 120], coin, 126) == 80


def test_short_inputs_are_a_share(tokenizer, corpus):
    # kills: short_share that does nothing, or shortens all
    samples = Samples(corpus, tokenizer, SampleSettings(length=32, short=0.25))
    whole = Samples(corpus, tokenizer, SampleSettings(length=32))
    count = 40 * len(samples)
    cut = samples.batch(0, count, seed=1).keep.sum(1) < whole.batch(0, count, seed=1).keep.sum(1)
    assert 0.08 < cut.mean() < 0.25  # of those drawn, some had only one sentence, or were shorter already


def test_what_cannot_be_cut_is_refused(tokenizer, corpus):
    # kills: an input with no room for text, segments of a window, ids of another tokenizer
    with pytest.raises(SettingError, match="cuts windows without regard to sentences"):
        SampleSettings(cut="stream", segments="two")
    with pytest.raises(SettingError, match="8 to 100,000"):
        SampleSettings(length=4)
    long = SimpleNamespace(name="x", ids=tuple(range(10)))
    coded = corpus_of(tokenizer, [["the sea"]], code=0, codes=(long,))
    with pytest.raises(SettingError, match="leaves 2 tokens for text"):
        Samples(coded, tokenizer, SampleSettings(length=12))
    with pytest.raises(SettingError, match="another tokenizer"):
        Samples(SimpleNamespace(**(vars(corpus) | {"tokenizer": "x"})), tokenizer, SampleSettings())
