"""A model with the rows of the tokens that stayed: the same answers to the same tokens, and nothing left behind.

References: the whole model's own outputs, at the old ids of the same tokens.
"""

import json
from dataclasses import replace

import pytest
import torch

import sijo
from sijo.errors import SettingError
from sijo.jobs.cut_model import save_cut, with_rows_of
from sijo.tokenizers.prune import prune_tokenizer

TABLE = "transformer.embeddings.tokens.weight"
ROWS = 88
"""Of some hundred; letters and special tokens are 74."""
TEXTS = ["the sun and the sea", "old money in the bank", "a game of ball"]


def cut(tokenizer, size=ROWS):
    return prune_tokenizer(tokenizer, TEXTS, vocab_size=size)


def old_ids(whole, short):
    return [whole.id(short.token(number)) for number in range(short.vocab_size)]


HEADS = [(family, "mlm") for family in ("bert", "albert", "distilbert", "deberta", "deberta-v2")]
HEADS += [(family, head) for family in ("electra", "deberta-v3") for head in ("mlm", "rtd")]


@pytest.mark.parametrize("family, head", HEADS)
def test_answers_are_those_of_the_whole_model(blanks, tmp_path, family, head):
    # kills: a bias that is not cut, or cut in another order than the table, a head that is lost, a vocab_size of
    # before, in the config or in the folder
    whole = sijo.load(blanks(family, head), head)
    short, report = cut(whole.tokenizer)
    save_cut(whole, short, report, tmp_path, name=str(blanks(family, head)))
    few = sijo.load(tmp_path, head)
    places = old_ids(whole.tokenizer, few.tokenizer)
    assert few.architecture == replace(whole.architecture, vocab_size=ROWS) and few.family is whole.family
    assert places != list(range(ROWS)) and json.loads((tmp_path / "config.json").read_text())["vocab_size"] == ROWS
    for text in TEXTS:
        (ids,), (before,) = few.tokenizer.windows([text])[0], whole.tokenizer.windows([text])[0]
        assert [places[number] for number in ids] == before
        with torch.inference_mode():
            got, want = few(torch.tensor([ids])), whole(torch.tensor([before]))
        logits = want.logits if head == "rtd" else want.logits[..., places]
        torch.testing.assert_close(got.last_hidden_state, want.last_hidden_state, rtol=0, atol=1e-6)
        torch.testing.assert_close(got.logits, logits, rtol=0, atol=1e-5)


def test_fields_that_name_tokens_and_rows_that_pad_a_table(tiny_model):
    # kills: pad_token_id of before, the id of a token that is gone, rows of no token that are kept
    model = sijo.load(tiny_model)
    longer = replace(model.architecture, vocab_size=model.architecture.vocab_size + 7)
    whole = sijo.create(longer, "mlm", tokenizer=model.tokenizer)
    gone, stays = whole.tokenizer.id("electroencephalographic"), whole.tokenizer.id("sea")
    whole.config |= {"pad_token_id": stays, "eos_token_id": gone, "bos_token_id": None}
    short, _ = cut(whole.tokenizer)
    few = with_rows_of(whole, short)
    assert few.config["pad_token_id"] == short.id("sea") != stays and short.id("electroencephalographic") is None
    assert {"eos_token_id", "bos_token_id"}.isdisjoint(few.config)
    tensors, before = few.state_dict(), whole.state_dict()
    places = old_ids(whole.tokenizer, short)
    for name, tensor in before.items():
        kept = places if name in (TABLE, "head.mlm.bias") else slice(None)
        assert torch.equal(tensors[name], tensor[kept]), name
    assert len(tensors[TABLE]) == ROWS and whole.config["pad_token_id"] == stays


def test_a_tokenizer_that_is_not_cut_from_the_models_own(tiny_model):
    # kills: rows of other tokens, or of none, for tokens that the model does not know
    model = sijo.load(tiny_model)
    with pytest.raises(SettingError, match=r"1 of the tokenizer's [0-9]+ tokens have no row"):
        with_rows_of(model, model.tokenizer.with_specials(["<sea>"]))


def test_the_card_tells_what_was_cut(blanks, tmp_path):
    # kills: a folder without a card, a card with a path of this machine, labels of a model that has none
    place = blanks("bert", "mlm")
    whole = sijo.load(place, "mlm")
    short, report = cut(whole.tokenizer)
    save_cut(whole, short, report, tmp_path, name=str(place))
    card = (tmp_path / "README.md").read_text()
    assert f"bert, {ROWS} of its {whole.tokenizer.vocab_size} tokens" in card and str(place) not in card
    assert "made from `bert`" in card and "texts cut as before" in card and "LABEL_0" not in card
