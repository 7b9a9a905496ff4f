"""The engine changes how fast texts are read, never what comes out or in which order."""

import itertools
import json
import warnings

import numpy as np
import pytest
import torch

import sijo
from sijo.batching import by_length, groups, padded_length
from sijo.errors import SettingError, SijoWarning
from sijo.inference.encode import engine_of
from sijo.inference.outputs import unit
from sijo.inference.vector_cache import Entry, VectorCache

TEXTS = [
    "the sun and the sea",
    "",
    "goal " * 90,
    "bread",
    "old money in the bank",
    "rain " * 31,
    "   ",
    "sea " * 30,
]


@pytest.fixture(scope="module")
def model(tiny_model):
    return sijo.load(tiny_model)


def one_by_one(model, text):
    """The vector of a text the long way: each window alone, no padding, averaged token by token."""
    ids = model.tokenizer._inner.encode(text, add_special_tokens=False)
    inner = [ids.ids, *[window.ids for window in ids.overflowing]]
    tokens = [token for window in inner for token in window]
    room = model.tokenizer.max_length - 2
    states = []
    for start in range(0, len(tokens), room):
        window = [2, *tokens[start : start + room], 3]  # [CLS] … [SEP]
        with torch.inference_mode():
            states.append(model(torch.tensor([window])).last_hidden_state[0])
    return (torch.cat(states).mean(0).numpy(), len(tokens), len(states)) if states else (np.zeros(16), 0, 1)


@pytest.mark.parametrize("budget", [1, 40, 4096])
def test_vectors_counts_and_order_are_those_of_one_text_at_a_time(model, budget):
    """Catches results in length order, padding in the mean, windows weighted alike whatever their length,

    special tokens counted as text, and a last window lost.
    """
    got = engine_of(model, token_budget=budget).encode(TEXTS)
    for i, text in enumerate(TEXTS):
        vector, tokens, windows = one_by_one(model, text)
        assert (got.tokens[i], got.windows[i], got.truncated[i]) == (tokens, windows, False), text[:20]
        np.testing.assert_allclose(got.vectors[i], vector, rtol=0, atol=2e-6, err_msg=text[:20])


def test_truncate_reads_the_first_window_and_says_so(model):
    """Catches a cut that nobody is told of, and a count of tokens that stops at the cut."""
    got = engine_of(model, long_text="truncate").encode(TEXTS)
    assert got.truncated.tolist() == [len(text.split()) > 30 for text in TEXTS]
    assert got.tokens[2] == 90 and set(got.windows.tolist()) == {1}
    np.testing.assert_allclose(got.vectors[2], one_by_one(model, "goal " * 30)[0], rtol=0, atol=2e-6)


def test_equal_texts_are_read_once(model, monkeypatch):
    """Catches duplicates that cost a forward pass each."""
    engine, read = engine_of(model), []
    vectors = engine._vectors
    monkeypatch.setattr(engine, "_vectors", lambda ids: read.extend(ids) or vectors(ids))
    got = engine.encode(["sea", "sun", "sea"] * 50)
    assert len(read) == 2 and len(got) == 150
    assert np.array_equal(got.vectors[0], got.vectors[2])


def test_a_stream_is_read_a_group_at_a_time(model):
    """Catches a stream that is drawn in whole before the first answer."""
    drawn = itertools.count()
    stream = engine_of(model).stream(f"sea {next(drawn)}" for _ in iter(int, 1))  # never ends
    assert len(next(stream)) == 2048
    assert next(drawn) == 2048


def test_batches_stay_within_the_budget_and_hold_each_sequence_once():
    """Catches an over-full batch (memory), a sequence lost or doubled, and padding that sorting should save."""
    lengths = np.random.default_rng(0).integers(1, 60, size=300).tolist()
    batches = list(by_length(lengths, token_budget=128))
    assert sorted(itertools.chain(*batches)) == list(range(300))
    assert all(len(batch) * max(lengths[i] for i in batch) <= 128 for batch in batches if len(batch) > 1)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded <= 1.1 * sum(lengths)


def test_a_model_may_read_any_number_of_tokens(tiny_copy):
    """Catches padding past a model's last place: 30 tokens are padded to 32 where there is room."""
    (tiny_copy / "sentence_bert_config.json").write_text('{"max_seq_length": 63}')
    model = sijo.load(tiny_copy)
    model.transformer.embeddings.places.weight.data = model.transformer.embeddings.places.weight.data[:63]
    got = engine_of(model).encode(["sea " * 100, "sun"])
    assert (got.tokens.tolist(), got.windows.tolist()) == ([100, 1], [2, 1])
    np.testing.assert_allclose(got.vectors[1], one_by_one(model, "sun")[0], rtol=0, atol=2e-6)


def test_a_model_that_wants_lower_case_gets_it(tiny_copy):
    """Catches a setting of the folder passed over in silence: capitals would then be unknown words."""
    tokenizer = json.loads((tiny_copy / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (tiny_copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    cased = sijo.encode(str(tiny_copy), ["The Sea", "the sea"])
    (tiny_copy / "sentence_bert_config.json").write_text('{"max_seq_length": 32, "do_lower_case": true}')
    lowered = sijo.encode(str(tiny_copy), ["The Sea", "the sea"])
    assert np.array_equal(lowered[0], lowered[1]) and not np.allclose(cased[0], cased[1])


def test_batches_come_in_few_shapes():
    """Catches a width for every length: kernels are kept for each shape, and memory would grow with the file."""
    rng = np.random.default_rng(0)
    widths = set()
    for _ in range(50):
        lengths = rng.integers(3, 257, size=500).tolist()
        widths |= {padded_length(lengths[batch[0]]) for batch in by_length(lengths, token_budget=4096)}
    assert len(widths) <= 36
    assert all(length <= padded_length(length) <= length + 7 for length in range(1, 600))


def test_groups_close_by_rows_or_characters():
    """Catches one huge text that brings others with it, and a last group lost."""
    assert list(groups(["a" * 9, "b", "c"], characters=5)) == [["a" * 9], ["b", "c"]]
    assert list(groups(list("abcde"), rows=2)) == [["a", "b"], ["c", "d"], ["e"]]


def test_settings_are_refused(model):
    with pytest.raises(SettingError, match="neither 'windows' nor"):
        engine_of(model, long_text="cut")
    with pytest.raises(SettingError, match="token_budget=0"):
        engine_of(model, token_budget=0)


def test_encode_gives_unit_vectors_in_order(tiny_model, model):
    """Catches a raw pooled vector passed off as normalised, and zeros turned into NaN."""
    vectors = sijo.encode(str(tiny_model), ["sea", "", "sun"])
    assert vectors.dtype == np.float32 and vectors.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1], atol=1e-6)
    raw = sijo.encode(model, ["sea", "", "sun"], normalize=False)
    np.testing.assert_allclose(unit(raw), vectors, atol=1e-7)
    with pytest.raises(SettingError, match="one string"):
        sijo.encode(model, "the sea")
    assert sijo.encode(model, []).shape == engine_of(model).encode([]).vectors.shape == (0, 16)


def test_the_store_gives_back_the_same_bits_and_saves_the_model_work(model, tmp_path, monkeypatch):
    """Catches vectors rounded on the way, counts lost, and a cache that is written but never read."""
    first = engine_of(model, store=VectorCache(tmp_path, fingerprint="a")).encode(TEXTS)
    again = engine_of(model, store=VectorCache(tmp_path, fingerprint="a"))
    monkeypatch.setattr(again, "_vectors", lambda ids: pytest.fail("the model was run"))
    second = again.encode(TEXTS[::-1])
    for field in ("vectors", "tokens", "windows", "truncated"):
        assert np.array_equal(getattr(first, field), getattr(second, field)[::-1]), field


def test_the_store_tells_many_texts_apart(tmp_path):
    """Catches keys that collide, and a request for more texts than one query may name."""
    store = VectorCache(tmp_path, fingerprint="a")
    store.put({f"text {n}": Entry(np.full(2, n, np.float32), n, 1, n % 2 == 1) for n in range(3_000)})
    entries = store.get([f"text {n}" for n in range(2_999, -1, -1)])
    assert all(entries[f"text {n}"].tokens == n == entries[f"text {n}"].vector[0] for n in range(3_000))


def test_the_store_keeps_models_apart(model, tmp_path):
    """Catches vectors of one model served to another."""
    engine_of(model, store=VectorCache(tmp_path, fingerprint="a")).encode(["sea"])
    assert VectorCache(tmp_path, fingerprint="b").get(["sea"]) == {}


def test_a_damaged_store_gives_what_the_model_does(tmp_path, model):
    """Catches a damaged vector served as the model's, a whole one read again, and a warning where none is due."""
    want = engine_of(model).encode(TEXTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            store = VectorCache(tmp_path, fingerprint="a")
            engine = engine_of(model, store=store)
            engine.encode(TEXTS)
    assert engine.read == 0
    content = store.file.read_bytes()
    [entry] = store.get(["bread"]).values()
    store.file.write_bytes(content.replace(entry.vector.tobytes(), (-entry.vector).tobytes()))
    damaged = engine_of(model, store=VectorCache(tmp_path, fingerprint="a"))
    with pytest.warns(SijoWarning, match="1 result was damaged"):
        assert np.array_equal(damaged.encode(TEXTS).vectors, want.vectors)
    assert damaged.read == 1
    with pytest.raises(SettingError, match="is a file; name a folder"):
        VectorCache(store.file, fingerprint="a")
