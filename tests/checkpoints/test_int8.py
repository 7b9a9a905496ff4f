"""Weights of eight bits: what rounding does to a network, and that it is refused where it does too much."""

import logging
import math

import pytest
import torch
import transformers
from scipy.special import log_softmax

import sijo
from objectives.conftest import moved
from sijo.checkpoints import int8
from sijo.checkpoints.int8 import to_int8
from sijo.errors import SettingError, TextError
from sijo.generation.generator import Generator, Request
from sijo.nn.int8 import Int8Linear, Int8Matrix, Int8Table
from sijo.tokenizers.tokenizer import Tokenizer

WINDOW = 40


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    """A CTRL with every weight moved, as transformers saves it, and a tokenizer."""
    tokenizer = Tokenizer.load(tiny_model / "tokenizer.json", max_length=WINDOW)
    config = transformers.CTRLConfig(
        vocab_size=tokenizer.largest_id + 1, n_positions=WINDOW, n_embd=64, dff=96, n_layer=3, n_head=2
    )
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("ctrl") / "model"
    moved(transformers.CTRLLMHeadModel(config), size=0.15, seed=1).save_pretrained(place)
    tokenizer.save(place)
    return place


@pytest.fixture(scope="module")
def half(folder, tmp_path_factory):
    """The same, saved in bfloat16."""
    return sijo.save(sijo.load(folder, "lm", dtype="bfloat16"), tmp_path_factory.mktemp("ctrl") / "half")


def ids_of(model, count=30):
    return torch.randint(5, model.architecture.vocab_size, (count,), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", ["folder", "half"])
def test_what_rounding_does_is_measured_against_float32(name, request, monkeypatch):
    # kills: a divergence the other way round, or of other places; a network cast to bfloat16 first, or whose
    # layers stand in another order; a perplexity of the token that is read in place of the next
    monkeypatch.setattr(int8, "AT_ONCE", 7)
    place = request.getfixturevalue(name)
    monkeypatch.setattr(int8, "MOST", math.inf)
    exact = sijo.load(place, "lm")
    ids = ids_of(exact)
    rounded = sijo.load(place, "lm", dtype={"folder": "float32", "half": "bfloat16"}[name])
    with torch.no_grad():
        for model in (exact, rounded):
            for block in model.transformer.blocks:  # coarse numbers, so that one way round is not the other
                block.output_norm.weight[1] = block.output_norm.bias[1] = 0
                block.widen.weight[:, 1] = 40.0
    found = to_int8(rounded, ids)
    with torch.no_grad():
        p, q = (log_softmax(model(ids[None]).logits[0].double().numpy(), -1) for model in (exact, rounded))
    want, other = (
        sum(math.exp(a) * (a - b) for row in zip(*pair, strict=True) for a, b in zip(*row, strict=True)) / len(ids)
        for pair in ((p, q), (q, p))
    )
    assert want > 0.01 and abs(want - other) > 0.015 * want
    assert found.divergence == pytest.approx(want, rel=0.005)
    for logs, perplexity in ((p, found.before), (q, found.after)):
        nats = -sum(row[token] for row, token in zip(logs[:-1], ids[1:].tolist(), strict=True)) / (len(ids) - 1)
        assert perplexity == pytest.approx(math.exp(nats), rel=1e-4)
    assert found.tokens == len(ids)


@pytest.mark.parametrize("name", ["folder", "half"])
def test_opened_in_int8(name, request, caplog):
    # kills: a matrix that is left in float, a scale cast to float32, a dtype that the folder decides
    with caplog.at_level(logging.INFO):
        model = sijo.load(request.getfixturevalue(name), "lm", dtype="int8")
    assert "nats a token from float32" in caplog.text
    assert model.dtype == "int8" and not model.training
    assert isinstance(model.transformer.embeddings.tokens, Int8Table)
    assert sum(isinstance(part, Int8Linear) for part in model.modules()) == 3 * 6
    assert all(weight.dtype == torch.float32 and weight.dim() == 1 for weight in model.parameters())
    assert all(part.scales.dtype == torch.bfloat16 for part in model.modules() if isinstance(part, Int8Matrix))
    exact = sijo.load(request.getfixturevalue(name), "lm")
    ids = ids_of(exact)[None]
    with torch.no_grad():
        far = (model(ids).logits - exact(ids).logits).abs().max()
    assert 1e-4 < far < 0.3
    assert model.fingerprint != exact.fingerprint


def test_it_writes_each_text_as_if_it_were_alone(folder):
    # kills: a scale of states that neighbours share
    writer = Generator(sijo.load(folder, "lm", dtype="int8"))
    requests = [Request(prompt=prompt, max_new_tokens=12) for prompt in ("the sea", "a good old game of", "tax")]
    together = writer.write(requests)
    for request, found in zip(requests, together, strict=True):
        alone = writer.write([request])[0]
        assert found.ids == alone.ids and found.logprobs == pytest.approx(alone.logprobs, abs=0.02)


def test_what_moves_too_far_is_refused(folder, tmp_path):
    # kills: a bound that is not looked at, or that NaN passes
    model = sijo.load(folder, "lm")
    with torch.no_grad():
        for block in model.transformer.blocks:  # a channel that is always 0, whose weights take all of the numbers
            block.output_norm.weight[1] = block.output_norm.bias[1] = 0
            block.widen.weight[:, 1] = 100.0
    place = sijo.save(model, tmp_path / "outliers")
    with pytest.raises(SettingError, match=r"move by \d+\.\d{4} nats a token \(perplexity .* becomes .*bfloat16"):
        sijo.load(place, "lm", dtype="int8")
    with torch.no_grad():
        model.transformer.blocks[1].narrow.weight[0, 0] = torch.nan
    with pytest.raises(SettingError, match="nan nats"):
        to_int8(model, ids_of(model))


def test_a_text_of_ones_own_is_what_it_is_tried_on(folder, caplog):
    # kills: a probe that is not read, or read beyond the window
    seen = []
    for probe in (None, "the sea " * 3, "the sea " * 100):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            sijo.load(folder, "lm", dtype="int8", probe=probe)
        seen.append(caplog.text)
    assert "on 40 tokens" in seen[0] and "on 6 tokens" in seen[1] and "on 40 tokens" in seen[2]
    assert len(set(seen)) == 3
    with pytest.raises(TextError, match="this has 1"):
        sijo.load(folder, "lm", dtype="int8", probe="sea")


def test_a_folder_without_a_tokenizer(folder, tmp_path):
    # kills: a network that cannot be rounded because nobody can spell for it
    model = sijo.load(folder, "lm")
    model._tokenizer = None
    place = sijo.save(model, tmp_path / "mute")
    assert sijo.load(place, "lm", dtype="int8").dtype == "int8"
    with pytest.raises(SettingError, match="no tokenizer to read the probe"):
        sijo.load(place, "lm", dtype="int8", probe="the sea")


@pytest.mark.parametrize("head", [None, "new:lm", ["lm", "new:sequence-classification"]])
def test_int8_is_for_what_writes(folder, head):
    # kills: an encoder rounded without being tried
    with pytest.raises(SettingError, match='give head="lm", or use dtype="bfloat16"'):
        sijo.load(folder, head, dtype="int8")


def test_other_settings_that_cannot_be(folder, tmp_path):
    # kills: a probe that is dropped in silence, numbers saved under the names of weights
    with pytest.raises(SettingError, match="probe= is the text"):
        sijo.load(folder, "lm", probe="the sea")
    with pytest.raises(SettingError, match="no dtype 'int4'; did you mean 'int8'"):
        sijo.load(folder, "lm", dtype="int4")
    with pytest.raises(SettingError, match="are not saved; keep the folder"):
        sijo.save(sijo.load(folder, "lm", dtype="int8"), tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
