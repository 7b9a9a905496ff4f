"""Tiny folders with heads that answer for tokens, every weight moved, and their inputs put together by hand."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

import sijo
from sijo.models import published
from sijo.nn.architecture import Disentangled
from sijo.tokenizers.tokenizer import Tokenizer

LIMIT = 32  # tokens the tiny models read
TEMPLATE = "it is for {}."
LABELS = [("sea",), ("oil price",), ("old game", ("goals",)), ("money in the bank",)]
TEXTS = ["the sun and the sea", "old money in the bank", "", "a game of ball", "goal rain " * 35, "rain"]
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": LIMIT,
}
DISTANCES = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": LIMIT}
DISTILBERT = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": LIMIT}
MODERNBERT = (
    {name: BERT[name] for name in BERT}
    | {"local_attention": 8}
    | dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0)
)
FAMILIES = {
    "bert": {"mlm": ("BertForMaskedLM", BERT)},
    "albert": {"mlm": ("AlbertForMaskedLM", BERT | {"embedding_size": 8})},
    "distilbert": {"mlm": ("DistilBertForMaskedLM", DISTILBERT)},
    "electra": {
        "mlm": ("ElectraForMaskedLM", BERT | {"embedding_size": 8}),
        "rtd": ("ElectraForPreTraining", BERT | {"embedding_size": 8}),
    },
    "modernbert": {"mlm": ("ModernBertForMaskedLM", MODERNBERT)},
    "deberta": {"mlm": ("DebertaForMaskedLM", BERT | DISTANCES)},
    "deberta-v2": {"mlm": ("DebertaV2ForMaskedLM", BERT | DISTANCES | {"position_buckets": 8})},
    "deberta-v3": {"mlm": None, "rtd": None},
}
"""By family and head, the class in transformers and its config; None where there is none: made by sijo."""


def move(model):
    """Move every weight, so that no fresh zero hides a swap."""
    chance = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance) * 0.3)
    return model.eval()


def write_model(folder, tiny_model, family, heads):
    """A folder with these heads, as transformers saves it, or as sijo does."""
    vocabulary = json.loads((tiny_model / "tokenizer.json").read_text())["model"]["vocab"]
    torch.manual_seed(0)
    if FAMILIES[family][heads[0]] is None:
        small = published("deberta-v3-small")[1].architecture()
        assert isinstance(small.distances, Disentangled)
        architecture = replace(
            small,
            vocab_size=len(vocabulary),
            hidden_size=16,
            embedding_size=16,
            heads=2,
            intermediate_size=32,
            schedule=(0, 1),
            distances=replace(small.distances, span=LIMIT, buckets=8),
        )
        tokenizer = Tokenizer.load(tiny_model / "tokenizer.json", max_length=LIMIT)
        sijo.save(move(sijo.create(architecture, list(heads), tokenizer=tokenizer)), folder)
        return folder
    import transformers

    name, sizes = FAMILIES[family][heads[0]]
    kind = getattr(transformers, name)
    move(kind(kind.config_class(**sizes, vocab_size=len(vocabulary), pad_token_id=0))).save_pretrained(folder)
    shutil.copy(tiny_model / "tokenizer.json", folder)
    special = ("pad", "unk", "cls", "sep", "mask")
    settings = {f"{role}_token": f"[{role.upper()}]" for role in special} | {"model_max_length": LIMIT}
    settings |= {"tokenizer_class": "BertTokenizer" if family == "bert" else "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="session")
def blanks(tiny_model, tmp_path_factory):
    """`blanks(family, *heads)`: the folder of such a model, made once; do not change it."""
    pytest.importorskip("transformers")
    made = {}

    def blanks(family, *heads):
        if (family, heads) not in made:
            folder = tmp_path_factory.mktemp("blanks") / family
            made[family, heads] = write_model(folder, tiny_model, family, heads)
        return made[family, heads]

    return blanks


def by_hand(tokenizer, text, label, limit=LIMIT):
    """The ids of an input, and the places of the label's tokens, by a tokenizer of transformers.

    The sentence is "it is for", the label, and a full stop: 3 tokens before the label's, and 1 behind them.
    """
    cut = lambda words: tokenizer(words, add_special_tokens=False)["input_ids"]  # noqa: E731
    own, count = cut(TEMPLATE.format(label)), len(cut(label))
    kept = cut(text)[: limit - 2 - len(own)]
    start = 1 + len(kept) + 3
    ids = [tokenizer.cls_token_id, *kept, *own, tokenizer.sep_token_id]
    assert ids[start : start + count] == cut(label)
    return ids, list(range(start, start + count))
