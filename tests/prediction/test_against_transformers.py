"""The answers are those of the pipelines of transformers, on models whose every head weight was moved."""

import shutil

import numpy as np
import pytest
import torch
import transformers

import sijo

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = [
    "the old sea and the new land",
    "rain, sun and bread.",
    "we was not in (the bank)!",
    "the game of one team is good money for the tax",
    "sea",
]
CLOSE = 1e-5


def public_tokenizer(folder):
    """The same tokenizer, read by transformers."""
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def pipeline(task, folder, **settings):
    """One of transformers, which reads the same tokenizer."""
    return transformers.pipeline(
        task, model=str(folder), tokenizer=public_tokenizer(folder), device="cpu", **settings
    )


@pytest.mark.parametrize("task", ["classification", "multi-label"])
def test_classes(tuned, task):
    # kills: a softmax where each label is judged by itself, a label of another column
    folder = tuned(task)
    public = pipeline("text-classification", folder, top_k=None)(TEXTS)
    for ours, theirs in zip(sijo.predict(folder, TEXTS), public, strict=True):
        assert list(ours.label_scores) == [one["label"] for one in theirs]
        assert list(ours.label_scores.values()) == pytest.approx([one["score"] for one in theirs], abs=CLOSE)


def test_pairs(tuned):
    # kills: token types left out, two texts in the other order
    folder = tuned("classification")
    pairs = list(zip(TEXTS, reversed(TEXTS), strict=True))
    public = pipeline("text-classification", folder, top_k=None)
    for ours, (text, second) in zip(sijo.predict(folder, pairs), pairs, strict=True):
        theirs = {one["label"]: one["score"] for one in public({"text": text, "text_pair": second})}
        assert ours.label_scores == pytest.approx(theirs, abs=CLOSE)


def test_numbers(tuned):
    # kills: a sigmoid over a number
    folder = tuned("regression")
    public = pipeline("text-classification", folder, function_to_apply="none")(TEXTS)
    assert [one.number for one in sijo.predict(folder, TEXTS)] == pytest.approx(
        [one["score"] for one in public], abs=CLOSE
    )


@pytest.mark.parametrize("seed", range(3, 7))
def test_tags_and_entities(tuned, seed):
    # kills: the tag of a word's second piece, places of tokens for those of words, an entity cut or run together
    folder = tuned("tagging", seed=seed)
    public = pipeline("token-classification", folder, aggregation_strategy="first")(TEXTS)
    for text, ours, theirs in zip(TEXTS, sijo.predict(folder, TEXTS), public, strict=True):
        got = [(one.label, one.start, one.end) for one in ours.entities]
        assert got == [(one["entity_group"], one["start"], one["end"]) for one in theirs]
        assert [one.score for one in ours.entities] == pytest.approx([one["score"] for one in theirs], abs=CLOSE)
        assert all(text[one.start : one.end] == one.text for one in ours.entities)
        assert all(text[one.start : one.end] == one.word for one in ours.tags)


def best_span(model, tokenizer, question, text, longest):
    """The best answer as the pipeline of transformers 4 finds it, which later versions lack; written from that.

    The first token and those of the text share the probability; the most probable span counts whose end is not
    before its start.
    """
    encoded = tokenizer(question, text, return_tensors="pt", return_offsets_mapping=True)
    places = encoded.pop("offset_mapping")[0].tolist()
    with torch.inference_mode():
        output = model(**encoded)
    allowed = np.array([side == 1 for side in encoded.sequence_ids(0)])
    allowed[0] = True
    shares = []
    for logits in (output.start_logits[0].double().numpy(), output.end_logits[0].double().numpy()):
        powers = np.where(allowed, np.exp(logits - logits.max()), 0)
        shares.append(powers / powers.sum())
    shares[0][0] = shares[1][0] = 0
    spans = np.tril(np.triu(np.outer(*shares)), longest - 1)
    start, end = np.unravel_index(spans.argmax(), spans.shape)
    return text[places[start][0] : places[end][1]], places[start][0], places[end][1], spans.max()


@pytest.mark.parametrize("seed", range(3, 7))
def test_answers_in_a_text(tuned, seed):
    # kills: an answer out of the question, an end before its start, shares among padding or the question's tokens
    folder = tuned("question-answering", seed=seed)
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    for text, question in zip(TEXTS, reversed(TEXTS), strict=True):
        [ours] = sijo.predict(folder, [(question, text)])
        answer, start, end, score = best_span(model, public_tokenizer(folder), question, text, 30)
        assert (ours.answer, ours.start, ours.end) == (answer, start, end)
        assert ours.score == pytest.approx(score, abs=CLOSE)


@pytest.mark.parametrize(
    "made",
    [
        "BertForSequenceClassification",
        "BertForTokenClassification",
        "BertForQuestionAnswering",
        "BertForMultipleChoice",
    ],
)
def test_a_model_that_was_fine_tuned_elsewhere(tiny_model, tmp_path, made):
    # kills: a task that is told by sijo's own record alone, or taken for the one that shares its tensors' names
    config = transformers.AutoConfig.from_pretrained(tiny_model)
    torch.manual_seed(1)
    getattr(transformers, made)(config).save_pretrained(tmp_path / made)
    shutil.copy(tiny_model / "tokenizer.json", tmp_path / made)
    row = {
        "BertForSequenceClassification": "the sea",
        "BertForTokenClassification": "the sea",
        "BertForQuestionAnswering": ("the sea", "the old sea"),
        "BertForMultipleChoice": ("the sea", ["is old", "is new"]),
    }[made]
    kind = {
        "BertForSequenceClassification": "LabelAnswer",
        "BertForTokenClassification": "TagsAnswer",
        "BertForQuestionAnswering": "TextAnswer",
        "BertForMultipleChoice": "ChoiceAnswer",
    }[made]
    [answer] = sijo.predict(tmp_path / made, [row])
    assert type(answer).__name__ == kind
