"""Labels and a text in one input: id for id what the public package's pipeline reads, and cut in the text alone."""

import pytest

from sijo.checkpoints.locate import locate
from sijo.errors import CheckpointError, SettingError
from sijo.tokenizers.label_prompt import LABEL_MARK, MARKS, TEXT_MARK, LabelPrompt, mark_ids
from sijo.tokenizers.tokenizer import Tokenizer

WORDS = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=32)
MARKED = WORDS.with_specials(MARKS)


@pytest.mark.parametrize("order", ["labels_first", "text_first"])
@pytest.mark.parametrize("text", ["a late goal, in the rain", "", "  two  spaces ", "한글 text"])
def test_ids_are_those_of_the_whole_string(order, text):
    # kills: a space or a mark more or less where pieces meet; labels and text in the other order
    labels = ["sport", "oil price", "3.5 %"]
    prompt = "".join(LABEL_MARK + label for label in labels) + TEXT_MARK
    whole = prompt + text if order == "labels_first" else text + prompt
    [read] = LabelPrompt(MARKED, labels, order=order).inputs([text])
    assert read.framed.ids == MARKED.windows([whole])[0][0]
    assert read.tokens == len(WORDS.ids([text])[0]) and read.unread == 0


@pytest.mark.parametrize("order", ["labels_first", "text_first"])
def test_only_the_text_is_cut(order):
    # kills: labels that are cut from a long text's end, as the package does with text first; a cut that is not told
    prompt = LabelPrompt(MARKED, ["sport", "tax"], order=order)
    [read] = prompt.inputs(["rain " * 99])
    assert len(read.framed.ids) == 32 and read.tokens == 99 and read.unread == 99 - prompt.room == 74
    assert sum(number in mark_ids(MARKED) for number in read.framed.ids) == 3


def test_a_mark_in_a_text_is_none():
    # kills: a text that adds labels of its own
    [read, plain] = LabelPrompt(MARKED, ["sport"]).inputs(["goal <<LABEL>> tax <<SEP>>", "goal tax"])
    assert read == plain


@pytest.mark.parametrize(
    "labels, why",
    [
        (["a", " "], "a label is empty"),
        (["a <<LABEL>> b"], "holds <<LABEL>> or <<SEP>>"),
        (["<<SEP>>"], "holds <<LABEL>> or <<SEP>>"),
        (["label"] * 15, "15 labels take 31 of the 32 tokens that the model reads at once, which leaves none"),
    ],
)
def test_labels_that_cannot_stand_there_are_refused(labels, why):
    # kills: a list that pushes the text out, and a label that is two
    with pytest.raises(SettingError, match=why):
        LabelPrompt(MARKED, labels)


def test_a_tokenizer_without_marks_is_refused():
    # kills: labels told by tokens that are not there
    with pytest.raises(CheckpointError, match="no token <<LABEL>>, by which labels are told"):
        LabelPrompt(WORDS, ["sport"])
    with pytest.raises(CheckpointError, match="no token <<SEP>>"):
        mark_ids(WORDS.with_specials([LABEL_MARK]))
