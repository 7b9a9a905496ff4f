"""Labels in a sentence's blank: where their tokens stand in the sentence as a whole; what order and cuts do."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import sijo
from blank_models import FAMILIES, LABELS, LIMIT, TEMPLATE, TEXTS
from sijo.checkpoints.locate import locate
from sijo.errors import SettingError
from sijo.inference.engine import Engine
from sijo.models import tokenizer_styles
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.tokenizers.train import train_tokenizer
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.blanks import FilledBlank
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.scorer import ScoreRequest

sys.path.append(str(Path(__file__).parents[2] / "tokenizers"))
import tokenizer_references as references

WORDS = sum(1 + len(words) for _, *more in LABELS for words in more or [()])
STYLES = {name: style for name, style in tokenizer_styles().items() if "mask_token" in style.special}
SENTENCES = [
    ("This is about ", "world politics", "."),
    ("This text is about ", "credit cards", " and nothing else."),
    ("", "sport", " is the topic."),
    ("topic: ", "컴퓨터", ""),
    ("이 글은 ", "컴퓨터 그래픽", "에 대한 글이다."),
    ("(", "science/technology", ")"),
    ("It was ", "great", "!"),
]


@pytest.fixture(scope="module")
def learned():
    """A tokenizer of each style that has a mask, of English and Korean."""
    texts = [*references.english()[:300], *references.korean(120)]
    return {name: train_tokenizer(texts, style, vocab_size=1500)[0] for name, style in STYLES.items()}


@pytest.mark.parametrize("style", STYLES)
def test_a_filled_blank_is_the_sentence_as_a_whole(learned, style):
    # kills: a label cut from the middle of a text by another rule than at its start (no space before it), tokens
    # found by counting characters, a mark behind a label that becomes a word of its own
    tokenizer = learned[style]
    for before, words, after in SENTENCES:
        filled = FilledBlank.of(tokenizer, before, words, after)
        assert list(filled.ids) == tokenizer.ids([f" {before}{words}{after}"])[0], (before, words, after)
        label = tokenizer.decode(filled.ids[filled.start : filled.end]).strip()
        assert label.replace(" ", "") == tokenizer.decode(tokenizer.ids([words])[0]).strip().replace(" ", "")


def test_where_a_token_holds_more_than_the_label_it_stands_as_a_mask_would(learned):
    # kills: a token of the template taken for the label's, a label that loses its end to what follows
    for style, tokenizer in learned.items():
        for before, words, after in (("un", "happy", ""), ("", "happy", "ness"), ("", "U.S", "."), ("a", "b", "c")):
            filled = FilledBlank.of(tokenizer, before, words, after)
            text = lambda ids: tokenizer.decode(ids).replace("##", "").replace(" ", "")  # noqa: B023, E731
            assert text(filled.ids[filled.start : filled.end]) == text(tokenizer.ids([words])[0]), (style, words)
            assert tokenizer.mask_id not in filled.ids
            assert text(filled.ids) == text(tokenizer.ids([f"{before}{words}{after}"])[0]), (style, words)


def test_english_words_in_a_published_vocabulary():
    # kills: a label of two words that ends after the first
    tokenizer = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=256)
    filled = FilledBlank.of(tokenizer, "This is about ", "cryptographic hockey", ".")
    tokens = [tokenizer.token(number) for number in filled.ids]
    assert tokens == ["this", "is", "about", "crypt", "##ographic", "hockey", "."]
    assert tokens[filled.start : filled.end] == ["crypt", "##ographic", "hockey"]


# --- both scorers, on folders as transformers saves them


@pytest.fixture(scope="module", params=["cloze", "replaced"])
def scorer(request, blanks):
    """A scorer of a tiny model."""
    return open_scorer(request.param, str(blanks("electra", "mlm" if request.param == "cloze" else "rtd")))


def scored(scorer, texts=TEXTS, labels=LABELS, **settings):
    return scorer.score(ScoreRequest(texts, [Label(*label) for label in labels], TEMPLATE, **settings))


@pytest.mark.parametrize("absolute", [False, True])
def test_the_order_of_labels_and_of_rows_changes_no_bit(scorer, absolute):
    # kills: a score that hangs on the labels before it, or a batch on the order of its rows
    want, reading = scored(scorer, absolute=absolute)
    got, _ = scored(scorer, labels=LABELS[::-1], absolute=absolute)
    np.testing.assert_array_equal(got[:, ::-1], want)
    turned, counts = scored(scorer, texts=TEXTS[::-1], absolute=absolute)
    np.testing.assert_array_equal(turned[::-1], want)
    np.testing.assert_array_equal(counts.tokens[::-1], reading.tokens)
    assert np.ptp(want, 0).min() > 1e-3 and np.ptp(want[0]) > 1e-3  # all are told apart


def test_neighbours_change_nothing(scorer):
    # kills: padding that is read, one text's tokens beside another's label
    want, reading = scored(scorer)
    for row, text in enumerate(TEXTS):
        for column, label in enumerate(LABELS):
            got, alone = scored(scorer, [text], [label])
            assert abs(got[0, 0] - want[row, column]) < 1e-5
            assert alone.tokens[0] == reading.tokens[row]


def test_only_wanted_pairs_are_read(scorer, monkeypatch):
    # kills: every text of a group read with every label of the group
    asked, inner = [], Engine.scores_at
    monkeypatch.setattr(Engine, "scores_at", lambda self, head, part: asked.extend(part) or inner(self, head, part))
    wanted = np.zeros((len(TEXTS), len(LABELS)), bool)
    wanted[[0, 3], [1, 2]] = wanted[[1, 2, 4, 5], 0] = True
    got, _ = scored(scorer, lists=[np.flatnonzero(row).tolist() for row in wanted])
    whole, _ = scored(scorer)
    assert len(asked) == 7 + len(TEXTS) * WORDS  # one of the six labels has two words
    np.testing.assert_allclose(got[wanted], whole[wanted], atol=1e-6)
    assert np.isneginf(got[~wanted]).all()


def test_a_label_scores_the_mean_of_its_words(scorer):
    # kills: descriptions left out, the best in place of the mean, a description that is not put in the blank
    each, _ = scored(scorer, labels=[("sea",), ("new game",), ("salt",)])
    got, _ = scored(scorer, labels=[("sea", ("new game", "salt")), ("salt",)])
    np.testing.assert_allclose(got, np.stack([each.mean(1), each[:, 2]], 1), atol=1e-5)


def test_the_text_is_cut_and_never_the_sentence(scorer):
    # kills: a label's sentence cut at its end, a cut that is not told, a cut where both fit exactly
    sentence = scorer.sentences(Label("sea"), TEMPLATE)[0]
    room = scorer.room(sentence)
    for count in (room - 1, room, room + 1, 3 * LIMIT):
        got, reading = scored(scorer, [" ".join(["goal"] * count)], [("sea",)])
        assert (reading.tokens[0], reading.truncated[0], reading.windows[0]) == (count, count > room, 1)
        want, _ = scored(scorer, [" ".join(["goal"] * min(count, room))], [("sea",)])
        np.testing.assert_array_equal(got, want)


def test_a_label_that_leaves_no_room_is_refused(scorer):
    # kills: a sentence that is cut in silence, or read past the model's end; an error that names no label
    with pytest.raises(SettingError, match=r"the label 'game game.*no room for a text in the 32 tokens"):
        scored(scorer, labels=[("sea",), ("game " * 30,)])
    with pytest.raises(SettingError, match="no token to the model's tokenizer"):
        scored(scorer, labels=[("\u0301",)])


def test_what_was_read_is_kept(scorer, tmp_path, monkeypatch):
    # kills: a cache by text alone or by the sentence without the label's place in it, another head's scores
    read, inner = [], Engine.scores_at
    monkeypatch.setattr(
        Engine, "scores_at", lambda self, head, part: read.append(len(part)) or inner(self, head, part)
    )
    model = str(scorer.engine.model.source)
    opened = lambda: open_scorer(scorer.name, model, cache=tmp_path)  # noqa: E731
    want, reading = scored(opened())
    again, counts = scored(opened())
    assert read == [len(TEXTS) * WORDS]
    np.testing.assert_array_equal(want, again)
    np.testing.assert_array_equal(reading.truncated, counts.truncated)
    one = opened().score(ScoreRequest(["rain"], [Label("sea")], "{} and bank"))[0]
    other = opened().score(ScoreRequest(["rain"], [Label("bank")], "sea and {}"))[0]
    assert abs(one - other).item() > 1e-3
    assert len(list(tmp_path.glob("*mlm-*" if scorer.name == "cloze" else "*rtd-*"))) >= 1


def test_the_classifier_and_the_command_line(sijo_cli, scorer, write):
    # kills: an option that is not handed on, a label for no text, an empty text's probabilities that are none
    model = scorer.engine.model.source
    names = [name for name, *_ in LABELS]
    plain = [(name,) for name in names]
    clf = sijo.ZeroShotClassifier(names, str(model), scorer=scorer.name, hypothesis_template=TEMPLATE)
    clf.set_params(long_text="truncate")
    rows = clf.classify(TEXTS)
    scores, _ = scored(scorer, labels=plain)
    raised = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(clf.predict_proba(TEXTS), raised / raised.sum(1, keepdims=True), atol=1e-6)
    assert [row.label is None for row in rows] == [text == "" for text in TEXTS]
    absolute, _ = scored(scorer, labels=plain, absolute=True)
    several = clf.set_params(multi_label=True).predict_proba(TEXTS)
    np.testing.assert_allclose(several, 1 / (1 + np.exp(-absolute)), atol=1e-6)
    none = clf.set_params(multi_label=None, none_label="other").predict([text for text in TEXTS if text])
    assert ((absolute < 0).all(1)[[bool(text) for text in TEXTS]] == (none == "other")).all()
    table = write("a.csv", "text\n" + "".join(f"{text}\n" for text in TEXTS if text))
    told = ("classify", table, "--model", model, "--labels", ",".join(names), "--hypothesis-template", TEMPLATE)
    ran = sijo_cli(*told, "--scorer", scorer.name)
    assert ran.code == 0, ran.err
    assert [row["label"] for row in ran.rows()] == [row.label for row in rows if row.label]
    assert "together with a label's sentence: 1" in ran.err and "scorer " not in ran.err
    sijo_cli(*told, "--scorer", scorer.name, "--long-text", "windows").must_say(2, f"{scorer.name} scorer")
    sijo_cli(*told, "--scorer", scorer.name, "--backend", "onnx").must_say(2, "runs in torch")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_folder_with_such_a_head_is_labelled(blanks, family):
    # kills: a family whose tokenizer, places or mask decoder a scorer cannot do with
    for head, name in (("mlm", "cloze"), ("rtd", "replaced")):
        if head in FAMILIES[family]:
            scores, _ = scored(open_scorer(name, str(blanks(family, head))))
            assert np.isfinite(scores).all()


def test_a_label_stands_in_its_own_sentence(scorer):
    # kills: the sentence for all used for a label that has one, particles left in two forms
    korean = Label("sea", template="game {}{을/를} rain")
    assert [json.loads(part) for part in scorer.sentences(korean, TEMPLATE)] == [["game ", "sea", "를 rain"]]
    got = scorer.score(ScoreRequest(TEXTS, [Label("sea", template="game {}")], TEMPLATE))[0]
    want = scorer.score(ScoreRequest(TEXTS, [Label("sea")], "game {}"))[0]
    np.testing.assert_array_equal(got, want)
