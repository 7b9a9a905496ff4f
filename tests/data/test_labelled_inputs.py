"""Rows that people labelled, cut into inputs that lose nothing."""

import numpy as np
import pytest

from sijo.data.labelled_inputs import NOT_ASKED, InputSettings, LabelledInputs, fitted
from sijo.data.labelled_rows import LabelledRow
from sijo.errors import TextError
from sijo.tokenizers.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return Tokenizer.load(tiny_model / "tokenizer.json", max_length=32)


def rows(*labels):
    return [
        LabelledRow(f"row {number}", (f"text {number}",), label=label) for number, label in enumerate(labels, 1)
    ]


def test_the_order_of_an_epoch_is_a_function_of_seed_and_epoch(tokenizer):
    # kills: rows left out or read twice in an epoch, the same order in each, a batch that depends on the one before
    data = LabelledInputs(rows(*"ababababa"), "classification", ("a", "b"), tokenizer, InputSettings())
    first = data.batch(0, 9, seed=1)
    assert sorted(first.numbers.tolist()) == list(range(9))
    across = data.batch(7, 4, seed=1)
    assert across.epochs.tolist() == [0, 0, 1, 1]
    assert across.numbers[:2].tolist() == first.numbers[7:].tolist()
    second = data.batch(9, 9, seed=1)
    assert (
        second.numbers.tolist() != first.numbers.tolist()
        and across.numbers[2:].tolist() == second.numbers[:2].tolist()
    )
    assert (first.labels == [[0, 1][number % 2] for number in first.numbers]).all()
    assert (
        len(
            {
                data.fingerprint,
                LabelledInputs(
                    rows(*"abababab"), "classification", ("a", "b"), tokenizer, InputSettings()
                ).fingerprint,
            }
        )
        == 2
    )


def test_a_pair_is_cut_where_it_is_longer(tokenizer):
    # kills: only the first text cut, token types of the wrong side, a cut that nobody hears of
    pair = [
        LabelledRow("1", ("the sea the sea the sea the sea", "old"), label="a"),
        LabelledRow("2", ("sea", "old"), label="b"),
    ]
    data = LabelledInputs(pair, "classification", ("a", "b"), tokenizer, InputSettings(length=8))
    batch = data.at(np.array([0, 1]))
    assert batch.input_ids.shape == (2, 8) and data.truncated == 1
    assert [tokenizer.token(number) for number in batch.input_ids[0]] == [
        *("[CLS]", "the", "sea", "the", "sea", "[SEP]", "old", "[SEP]")
    ]
    assert batch.token_type_ids[0].tolist() == [0] * 6 + [1] * 2
    assert batch.keep.sum(1).tolist() == [8, 5] and batch.special[1].tolist() == [
        True,
        False,
        True,
        False,
        *[True] * 4,
    ]


@pytest.mark.parametrize("lengths", [(9, 7), (7, 9), (3, 9), (9, 3)])
def test_two_long_texts_share_the_room(lengths):
    # kills: one of the texts left out where the other is long, room that nobody uses
    first, second = list(range(lengths[0])), list(range(100, 100 + lengths[1]))
    for room in range(2, 20):
        kept_first, kept_second, cut = fitted(first, second, room)
        assert (kept_first, kept_second) == (first[: len(kept_first)], second[: len(kept_second)])
        assert len(kept_first) + len(kept_second) == min(room, sum(lengths)) and cut == (room < sum(lengths))
        assert min(len(kept_first), len(kept_second)) >= min(room // 2, *lengths)


def test_a_words_first_piece_has_its_tag_and_windows_lose_no_word(tokenizer):
    # kills: a tag for every piece, a tag that slips to the next word, words behind the length never asked
    words = ("the", "electro", "sea", ",", "seas", "old", "sea", "abc", "land")
    tags = tuple(f"B-{number}" for number in range(9))
    row = LabelledRow("1", words=words, label=tags)
    for length in (8, 9, 12, 64):
        data = LabelledInputs([row, row], "tagging", tags, tokenizer, InputSettings(length=length))
        tags_of_words = {}
        for number in range(len(data)):
            batch = data.at(np.array([number]))
            if data.owners[number]:
                continue
            ids, labels = batch.input_ids[0], batch.labels[0]
            assert batch.keep.sum() <= length and not batch.special[0][labels >= 0].any()
            for place in np.flatnonzero(labels >= 0):
                word = int(data.words[data.span(number)][place])
                assert word not in tags_of_words
                tags_of_words[word] = labels[place]
                assert words[word].startswith(tokenizer.token(int(ids[place])))
        assert tags_of_words == {number: number for number in range(9)}, length
        assert (data.at(np.array([0])).labels[0] != NOT_ASKED).sum() > 0


def test_long_texts_are_read_in_windows_that_overlap(tokenizer):
    # kills: an answer of another window, one that is cut at a border taken for whole, characters of the wrong token
    context = "the old sea was not for you and the new land was for me"
    answer = "new land"
    row = LabelledRow("1", ("sea ?", context), label=read_answer(context, answer))
    data = LabelledInputs([row], "question-answering", (), tokenizer, InputSettings(length=12, stride=3))
    room, answered = 12 - 3 - 2, 0
    assert len(data) == -(-(len(context.split()) + 1 - room) // 3) + 1  # "me" is two letters, two tokens
    for number in range(len(data)):
        batch = data.at(np.array([number]))
        first, last = batch.labels[0]
        places = data.places[data.span(number)]
        assert (places[:4] == -1).all() and places[4].min() >= 0
        inside = "new" in context[places[4, 0] : places[-2, 1]] and "land" in context[places[4, 0] : places[-2, 1]]
        if first:
            assert context[places[first, 0] : places[last, 1]] == answer
            answered += 1
        assert bool(first) == inside
    assert 1 < answered < len(data)
    with pytest.raises(TextError, match="leaves no room"):
        long = LabelledRow("1", ("sea " * 20, context), label=())
        LabelledInputs([long], "question-answering", (), tokenizer, InputSettings(length=12))


def read_answer(context, answer):
    from sijo.data.labelled_rows import Answer

    return (Answer(answer, context.index(answer)),)


def test_choices_stand_side_by_side(tokenizer):
    # kills: choices of the next row, a missing choice that can be chosen
    questions = [
        LabelledRow("1", ("the sea",), choices=("old", "new land", "sun"), label=1),
        LabelledRow("2", ("rain",), choices=("one", "two"), label=0),
    ]
    data = LabelledInputs(questions, "multiple-choice", (), tokenizer, InputSettings())
    batch = data.at(np.array([1, 0]))
    assert batch.input_ids.shape == (2, 3, 8) and batch.labels.tolist() == [0, 1]
    assert batch.keep.sum(-1).tolist() == [[5, 5, 0], [6, 7, 6]]
    assert data.lengths == [19, 10]
