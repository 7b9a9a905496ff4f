"""Control codes from a table to the front of every window, and which of them a tokenizer knows."""

import numpy as np
import pytest

from sijo.data.corpus import SourceFile, documents
from sijo.data.prepare_shards import prepare
from sijo.data.samples import Samples, SampleSettings
from sijo.generation.beams import code
from sijo.tokenizers import codes as module
from sijo.tokenizers.codes import code_ids, known_codes
from sijo.tokenizers.tokenizer import Tokenizer

TABLE = "text,rating\nThe sea is good. The sun is old.,5\n ,1\nThe rain was bad.,1\nThe rain was bad.,2\n"


@pytest.fixture
def tokenizer(tiny_model):
    return Tokenizer.load(tiny_model / "tokenizer.json", max_length=32)


def windows(tokenizer, sources, folder, **how):
    """The ids of every input of 9 tokens that a table becomes."""
    corpus = prepare(sources, tokenizer, folder, code_column="rating")
    samples = Samples(corpus, tokenizer, SampleSettings(length=9, **how))
    batch = samples.batch(0, len(samples), seed=0)
    order = np.argsort(batch.numbers)
    return [row[keep].tolist() for row, keep in zip(batch.input_ids[order], batch.keep[order], strict=True)]


def test_numbers_of_a_column_are_codes(tokenizer, write, tmp_path):
    # kills: a rating that is the digit of a text, a window without its code, a code in the middle of a stream
    tokenizer = tokenizer.with_specials([f"<{rating}>" for rating in (1, 2, 5)])
    ids = {rating: tokenizer.id(f"<{rating}>") for rating in (1, 2, 5)}
    assert tokenizer.id("5") not in (None, ids[5])
    good, bad = tokenizer.ids(["The sea is good. The sun is old.", "The rain was bad."])
    path = write("reviews.csv", TABLE)
    found = windows(tokenizer, [SourceFile(path)], tmp_path / "corpus", cut="stream")
    assert found == [[ids[5], *good[:8]], [ids[1], *bad], [ids[2], *bad]]
    found = windows(tokenizer, [SourceFile(path)], tmp_path / "other")
    assert found == [[ids[5], *good[:5]], [ids[5], *good[5:]], [ids[1], *bad], [ids[2], *bad]]
    assert code("5", tokenizer) == (ids[5],)


def test_a_second_code_is_how_a_text_begins(tokenizer, write, tmp_path):
    # kills: a second code in the place of the first, in every window, or left out of what tells duplicates; a front
    # that is written with other tokens than were read; a second code taken from a blank row
    tokenizer = tokenizer.with_specials(["<Reviews>"])
    path = write("reviews.csv", TABLE)
    source = SourceFile(path, "Reviews")
    assert [(one.sentences, one.code) for one in documents(source, code_column="rating")] == [
        (["5", "The sea is good.", "The sun is old."], "Reviews"),
        (["1", "The rain was bad."], "Reviews"),
        (["2", "The rain was bad."], "Reviews"),
    ]
    good, bad, five, one, two = tokenizer.ids(["The sea is good. The sun is old.", "The rain was bad.", *"512"])
    front = tokenizer.id("<Reviews>")
    stream = [*five, *good, *one, *bad, *two, *bad]
    found = windows(tokenizer, [source], tmp_path / "corpus", cut="stream")
    assert found == [[front, *stream[at : at + 8]] for at in range(0, len(stream) - 7, 8)]
    assert tuple(found[0][:2]) == code("Reviews 5", tokenizer)
    found = windows(tokenizer, [source], tmp_path / "other")
    assert found == [[front, *five, *good[:5]], [front, *good[5:]], [front, *one, *bad], [front, *two, *bad]]


def test_a_url_is_a_second_code(tokenizer, write):
    # kills: an address cut into sentences, or taken for a code of its own
    path = write("links.csv", "text,url\nThe sea.,https://www.cnn.com/2018/09/20/us-president. He\n")
    (found,) = documents(SourceFile(path, "Links"), code_column="url")
    assert found.sentences == ["https://www.cnn.com/2018/09/20/us-president. He", "The sea."]
    tokenizer = tokenizer.with_specials(["<Links>"])
    asked = code(f"Links {found.sentences[0]}", tokenizer)
    assert asked == (tokenizer.id("<Links>"), *tokenizer.ids([found.sentences[0]])[0])


def test_published_codes_and_ones_own(tokenizer, monkeypatch):
    # kills: published codes forgotten with the first code of one's own, or one listed twice; a word of a small
    # vocabulary taken for a code
    monkeypatch.setattr(module, "PUBLISHED", {"sea": 0.6, "Reviews": 0.3, "land": 0.1})
    tokenizer = tokenizer.with_specials(["<moby>", "<land>"])
    assert known_codes(tokenizer) == ["moby", "land"]
    monkeypatch.setattr(module, "WORDS", tokenizer.vocab_size)
    assert known_codes(tokenizer) == ["sea", "moby", "land"]
    assert code_ids("sea", tokenizer) == (tokenizer.id("sea"),)
    assert code_ids("land", tokenizer) == (tokenizer.id("<land>"),)
