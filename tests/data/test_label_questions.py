"""Batches of texts with labels to choose among: what is drawn, from what, and that it is drawn alike again."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sijo.data.label_questions import LabelQuestions, LabelWords, QuestionSettings, RecastSet, Taught
from sijo.errors import SettingError

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    from sijo.tokenizers.tokenizer import Tokenizer

    return Tokenizer.load(tiny_model / "tokenizer.json", max_length=32)


def a_set(name, labels, *, weight=1.0, rows=4, languages=("en",), mark="", near=None, without=()):
    """Texts "<letter> <number>" of labels called by a letter; sentences tell language, template and name."""
    texts = [(f"{mark} {LETTERS[n]} {row}", n) for n in range(labels) for row in range(rows) if n not in without]
    words = {
        language: tuple(
            LabelWords(
                tuple((f"{one} {LETTERS[n]} is {mark}", f"{one} {LETTERS[n]} was {mark}") for one in starts),
                (f"not {LETTERS[n]} {mark}",) if n % 2 == 0 else (),
            )
            for n in range(labels)
        )
        for language, starts in {"en": ("the", "a"), "ko": ("sea", "land")}.items()
        if language in languages
    }
    order = [[other for other in range(labels) if other != n] for n in range(labels)] if near is None else near
    texts, numbers = zip(*texts, strict=True)
    return RecastSet(name, weight, texts, numbers, words, np.array(order))


def spelled(tokenizer, batch):
    """The words of each input of a batch."""
    return [
        tokenizer.decode(ids[keep][1:-1].tolist()) for ids, keep in zip(batch.input_ids, batch.keep, strict=True)
    ]


def drawn(tokenizer, questions, steps, *, count=8, seed=0):
    """Of each step the texts with their labels' sentences, and the sentences to choose among."""
    for step in range(steps):
        batch = questions.batch(step * count, count, seed=seed)
        labels = spelled(tokenizer, batch.beside)
        yield spelled(tokenizer, batch), [labels[place] for place in batch.labels], labels


def test_each_text_has_its_own_label_among_few_or_many(tokenizer):
    # kills: a text whose label is not among them, a place in another order, a label twice, a number of labels that
    # is never the least or the most, labels of another set beside texts of one
    sets = [a_set("one", 9, mark="sea"), a_set("two", 3, mark="rain")]
    questions = LabelQuestions(sets, tokenizer, QuestionSettings(most=6, descriptions=0))
    sizes = {"sea": Counter(), "rain": Counter()}
    for texts, own, labels in drawn(tokenizer, questions, 300):
        mark = texts[0].split()[0]
        assert all(text.startswith(mark) for text in texts) and all(label.endswith(mark) for label in labels)
        assert [text.split()[1] for text in texts] == [label.split()[1] for label in own]
        assert len({label.split()[1] for label in labels}) == len(labels)
        sizes[mark][len(labels)] += 1
    assert set(sizes["sea"]) == {2, 3, 4, 5, 6} and set(sizes["rain"]) == {2, 3}
    # ln((n + 1) / n) / ln(7 / 2) of the batches: 0.32 of two labels and 0.12 of six
    assert 1.5 < sizes["sea"][2] / sizes["sea"][6] < 6


def test_a_batch_is_a_function_of_seed_and_step(tokenizer):
    # kills: a random state that is carried from step to step, draws that forget the seed or the step
    made = [a_set("one", 9)]
    first = [*drawn(tokenizer, LabelQuestions(made, tokenizer, QuestionSettings()), 6)]
    again = LabelQuestions(made, tokenizer, QuestionSettings())
    assert [*drawn(tokenizer, again, 6)][5] == first[5]
    batch, direct = (
        again.batch(5 * 8, 8, seed=0),
        LabelQuestions(made, tokenizer, QuestionSettings()).batch(40, 8, seed=0),
    )
    assert (batch.input_ids == direct.input_ids).all() and (batch.beside.input_ids == direct.beside.input_ids).all()
    assert len({str(step) for step in first}) == 6
    assert first != [*drawn(tokenizer, again, 6, seed=1)]


def test_sets_are_drawn_by_weight(tokenizer):
    # kills: weights that are not heeded, a set that is never drawn
    sets = [a_set("one", 3, mark="sea"), a_set("two", 3, mark="rain", weight=3.0)]
    questions = LabelQuestions(sets, tokenizer, QuestionSettings())
    counts = Counter(texts[0].split()[0] for texts, _, _ in drawn(tokenizer, questions, 400))
    assert 260 < counts["rain"] < 340 and counts.total() == 400


def test_right_labels_are_about_equally_frequent_and_texts_are_not_repeated(tokenizer):
    # kills: texts drawn by how many there are of a label, a text twice in a batch where there are others
    few = a_set("one", 2, rows=4)
    many = replace(
        few,
        texts=(*few.texts, *(f"b {LETTERS[n % 26]} {n // 26}" for n in range(40))),
        labels=(*few.labels, *[1] * 40),
    )
    questions = LabelQuestions([many], tokenizer, QuestionSettings())
    for texts, own, _ in drawn(tokenizer, questions, 30):
        assert Counter(Counter(own).values()) == {4: 2}
        assert len({*texts}) == 8


def test_wrong_labels_are_the_nearest_ones_as_often_as_asked(tokenizer):
    # kills: near labels that are not those nearest to a right one, a share that is not heeded
    ring = [[(n + 1) % 12, (n + 2) % 12, (n + 3) % 12] for n in range(12)]
    near = a_set("one", 12, near=ring)
    for share, least, most in ((1.0, 1.0, 1.0), (0.0, 0.2, 0.34), (0.5, 0.5, 0.66)):
        settings = QuestionSettings(fewest=4, most=4, near=share)
        questions = LabelQuestions([near], tokenizer, settings)
        hits = []
        for step in range(200):
            first, *others = questions.chosen_labels(0, np.random.default_rng(step))
            hits.append(len({*others} & {*ring[first]}) / 3)
        assert least <= np.mean(hits) <= most
    two = LabelQuestions([near], tokenizer, QuestionSettings(fewest=3, most=3, near=1.0))
    for step in range(20):  # of three that are near, the nearest two
        first, *others = two.chosen_labels(0, np.random.default_rng(step))
        assert others == ring[first][:2]


def test_a_label_without_texts_is_always_wrong(tokenizer):
    # kills: labels that no text has left out, or taken for a right one
    questions = LabelQuestions([a_set("one", 5, without=(1, 3))], tokenizer, QuestionSettings(descriptions=0))
    right, wrong = set(), set()
    for _, own, labels in drawn(tokenizer, questions, 60):
        right |= {label.split()[1] for label in own}
        wrong |= {label.split()[1] for label in labels}
    assert right == {"a", "c", "e"} and wrong == {"a", "b", "c", "d", "e"}


def test_all_labels_of_a_batch_stand_in_one_template_of_one_language(tokenizer):
    # kills: templates drawn label by label, a language or a template or a name that is never drawn, descriptions
    # where none are wanted
    questions = LabelQuestions(
        [a_set("one", 9, languages=("en", "ko"))], tokenizer, QuestionSettings(descriptions=0)
    )
    starts, verbs = Counter(), Counter()
    for _, _, labels in drawn(tokenizer, questions, 120):
        assert len({label.split()[0] for label in labels}) == 1
        starts[labels[0].split()[0]] += 1
        verbs.update(label.split()[2] for label in labels)
    assert set(starts) == {"the", "a", "sea", "land"} and min(starts.values()) > 15
    assert set(verbs) == {"is", "was"}


def test_a_share_of_labels_is_described(tokenizer):
    # kills: descriptions never or always given, a description of another label, a label without one left out
    questions = LabelQuestions([a_set("one", 8)], tokenizer, QuestionSettings(fewest=8, most=8, descriptions=0.5))
    described = Counter()
    for texts, own, labels in drawn(tokenizer, questions, 60):
        assert [text.split()[0] for text in texts] == [label.split()[1] for label in own]
        described.update(label.split()[1] for label in labels if label.startswith("not"))
    assert set(described) == {"a", "c", "e", "g"} and all(15 < count < 45 for count in described.values())


def test_what_stands_before_texts_stands_before_labels_too(tokenizer):
    # kills: a prompt before texts alone, a text cut in place of its end, a count of cut texts that is off
    long = a_set("one", 2)
    long = replace(long, texts=("sea " * 30, *long.texts[1:]))
    settings = QuestionSettings(length=8, descriptions=0)
    questions = LabelQuestions([long], tokenizer, settings, lambda text: f"we {text}")
    for texts, _, labels in drawn(tokenizer, questions, 20):
        assert all(words.startswith("we ") for words in (*texts, *labels))
    assert questions.truncated == 1 and questions.batch(0, 8, seed=0).input_ids.shape[1] <= 8
    assert questions.fingerprint != LabelQuestions([long], tokenizer, settings).fingerprint


@pytest.mark.parametrize(
    "values", [{"fewest": 1}, {"fewest": 9, "most": 8}, {"near": 1.5}, {"descriptions": -0.1}, {"length": 2}]
)
def test_settings_that_cannot_be(values):
    # kills: a range that is not checked
    with pytest.raises(SettingError, match=f"questions.{next(iter(values))}"):
        QuestionSettings(**values)


def test_a_teacher_scores_the_labels_of_the_batch(tokenizer):
    # kills: scores of other texts or in the set's order of labels, a set's teacher that teaches the others too,
    # a run that goes on after another teacher's
    plain, draw = a_set("one", 9, mark="sea"), np.random.default_rng(0)
    vectors = (
        draw.normal(size=(len(plain.texts), 5)).astype(np.float32),
        draw.normal(size=(9, 5)).astype(np.float32),
    )
    sets = [replace(plain, taught=Taught(*vectors, "a")), a_set("two", 3, mark="rain")]
    questions = LabelQuestions(sets, tokenizer, QuestionSettings(descriptions=0))
    kinds = set()
    for step in range(20):
        batch = questions.batch(step * 8, 8, seed=0)
        texts, labels = spelled(tokenizer, batch), spelled(tokenizer, batch.beside)
        kinds.add(batch.labels.dtype)
        if texts[0].startswith("sea"):
            rows = [plain.texts.index(text) for text in texts]
            chosen = [LETTERS.index(label.split()[1]) for label in labels]
            np.testing.assert_allclose(batch.labels, vectors[0][rows] @ vectors[1][chosen].T, rtol=1e-5)
        else:
            assert batch.labels.dtype == np.int64 and batch.labels.shape == (8,)
    assert kinds == {np.dtype("int64"), np.dtype("float32")}
    other = LabelQuestions([replace(sets[0], taught=Taught(*vectors, "b")), sets[1]], tokenizer, QuestionSettings())
    without = LabelQuestions([plain, sets[1]], tokenizer, QuestionSettings())
    assert len({questions.fingerprint, other.fingerprint, without.fingerprint}) == 3
