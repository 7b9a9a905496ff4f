"""`sijo.pipeline` over the families that came last: XLM-R, BART and GLiClass, beside their own libraries.

Each test names the fault it is to catch.
"""

import numpy as np
import pytest
import torch
import transformers

import sijo
from battery import scramble
from roberta_folders import NLI, folders, lines, public_tokenizer  # noqa: F401
from sijo.errors import TextError

TEXTS = ["old money in the bank", "비가 오는 날 바다", "a game of ball and a goal"]
LABELS = ["sea", "bank", "한국"]
NAMES = {"id2label": NLI, "label2id": {name: number for number, name in NLI.items()}}


def bart(place):
    """A BART for entailment, and a tokenizer of bytes in its own two files."""
    from tokenizers import ByteLevelBPETokenizer

    learned = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    learned.train_from_iterator([*TEXTS, *LABELS], vocab_size=300, min_frequency=1, special_tokens=special)
    learned.save_model(str(place))
    transformers.BartTokenizerFast.from_pretrained(str(place), model_max_length=64).save_pretrained(place)
    sizes = {
        f"{stack}_{name}": size
        for stack in ("encoder", "decoder")
        for name, size in (("layers", 2), ("ffn_dim", 20))
    }
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 3}
    config = transformers.BartConfig(
        vocab_size=300, d_model=24, max_position_embeddings=64, **sizes, **heads, **NAMES
    )
    scramble(transformers.BartForSequenceClassification(config)).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def peers(folders, tmp_path_factory):  # noqa: F811
    """`peers(family, ending)`: a folder, and what opens it at the peer's."""
    made = {}

    def make(family, ending="ForSequenceClassification"):
        if (family, ending) not in made:
            if family == "bart":
                place = bart(tmp_path_factory.mktemp("bart"))
                tokenizer = transformers.AutoTokenizer.from_pretrained(place)
            else:
                place = folders("xlm-roberta", ending, **NAMES)
                tokenizer = public_tokenizer("xlm-roberta", place)
            made[family, ending] = place, tokenizer
        return made[family, ending]

    return make


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("family", ["xlm-roberta", "bart"])
def test_zero_shot(peers, family, multi_label):
    # kills: one separator in a pair, the state of another token, columns by number
    place, tokenizer = peers(family)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(place)
    theirs = transformers.pipeline("zero-shot-classification", model=model, tokenizer=tokenizer, device="cpu")
    ours = sijo.pipeline("zero-shot-classification", str(place), device="cpu")
    for template in ("This example is {}.", "이 글은 {}"):
        given = {"candidate_labels": LABELS, "hypothesis_template": template, "multi_label": multi_label}
        for got, want in zip(ours(TEXTS, **given), theirs(TEXTS, **given), strict=True):
            assert got["labels"] == want["labels"] and np.allclose(got["scores"], want["scores"], atol=1e-5)


@pytest.mark.parametrize("family", ["xlm-roberta", "bart"])
def test_text_classification(peers, family):
    # kills: a text by itself judged where a pair is, special tokens left in that are asked away
    place, tokenizer = peers(family)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(place)
    theirs = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    ours = sijo.pipeline("text-classification", str(place), device="cpu")
    pair = {"text": TEXTS[0], "text_pair": TEXTS[1]}
    for inputs in (*TEXTS, pair):
        got, want = ours(inputs, top_k=None), theirs(inputs, top_k=None)
        assert [row["label"] for row in got] == [row["label"] for row in want]
        assert np.allclose([row["score"] for row in got], [row["score"] for row in want], atol=1e-5)
    if family == "bart":
        with pytest.raises(TextError, match="has no token 2"):
            ours(TEXTS[0], add_special_tokens=False)


@pytest.mark.parametrize("family", ["xlm-roberta", "bart"])
@pytest.mark.parametrize(
    "kwargs", [{}, {"add_special_tokens": False}, {"truncation": True, "max_length": 5}], ids=str
)
def test_feature_extraction(peers, family, kwargs):
    # kills: the encoder's states for the decoder's; special tokens put in though they are asked away
    place, tokenizer = peers(family)
    model = transformers.AutoModel.from_pretrained(place)
    theirs = transformers.pipeline("feature-extraction", model=model, tokenizer=tokenizer, device="cpu")
    ours = sijo.pipeline("feature-extraction", str(place), device="cpu")
    given = {"tokenize_kwargs": kwargs, "return_tensors": True}
    for text in TEXTS:
        torch.testing.assert_close(ours(text, **given), theirs(text, **given), rtol=0, atol=1e-5)


def test_a_gliclass_labels_as_its_package(tmp_path, peers):
    # kills: the entailment pipeline's template put around labels that a GLiClass reads bare; one pass not taken
    gliclass = pytest.importorskip("gliclass")
    _, tokenizer = peers("bart")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=64
    )
    tokenizer.add_tokens(["<<LABEL>>", "<<SEP>>", "<<EXAMPLE>>"], special_tokens=True)
    size = len(tokenizer)
    inner = transformers.DebertaV2Config(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        relative_attention=True,
        position_buckets=8,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
    )
    marks = {"class_token_index": size - 3, "text_token_index": size - 2, "vocab_size": size, "prompt_first": True}
    config = gliclass.GLiClassModelConfig(
        encoder_config=inner, encoder_model="made up", pooling_strategy="first", **marks
    )
    model = scramble(gliclass.GLiClassModel(config), 0.15)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    theirs = gliclass.ZeroShotClassificationPipeline(
        model, tokenizer, device="cpu", progress_bar=False, max_length=64
    )
    ours = sijo.pipeline("zero-shot-classification", str(tmp_path), device="cpu")
    for text in TEXTS:
        want = 1 / (1 + np.exp(-np.array(theirs.get_embeddings([text], LABELS)[0]["logits"])))
        got = ours(text, LABELS, multi_label=True)
        assert np.allclose(
            [dict(zip(got["labels"], got["scores"], strict=True))[name] for name in LABELS], want, atol=1e-5
        )
