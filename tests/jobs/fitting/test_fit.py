"""A fitted model, from labels to a folder that any call opens, and what such a folder may not be."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import sijo
from sijo.checkpoints.describe import describe
from sijo.checkpoints.vectors.fitted_head import FITTED
from sijo.checkpoints.vectors.steps import DenseStep, write_step
from sijo.errors import CheckpointError, RefusedError, SettingError, SijoWarning, TextError
from sijo.evaluation.intervals import Interval
from sijo.files.manifest import write_manifest
from sijo.inference.outputs import unit
from sijo.jobs.fitting.classifier import FewShotClassifier
from sijo.jobs.fitting.few_labels import few_labels
from sijo.jobs.fitting.fit import ENOUGH, fit_few, head_of, vectors_of
from sijo.jobs.fitting.head import Prior
from sijo.zeroshot.scorers.open import open_scorer

TEXTS = [
    *("the team and the ball", "a goal for the old team", "it was a good game", "the ball is not in the goal"),
    *("money in the bank", "the tax and the price", "a price for the bank", "old money and a new tax"),
]
LABELS = ["game"] * 4 + ["money"] * 4
LONG = " ".join(["rain in the land and the sea"] * 30)


def fitted(model, texts=TEXTS, cells=LABELS, **how):
    return fit_few(few_labels(texts, cells, **how), open_scorer("embedding", model))


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    """What `sijo fit` leaves of the tiny model; do not change it."""
    model = fitted(tiny_model, [*TEXTS, LONG, "salt and oil"], [*LABELS, None, None])
    return model.save(tmp_path_factory.mktemp("fitted") / "model", data="rows.csv")


def test_a_prompt_stands_before_texts_as_it_did(tiny_copy, tmp_path):
    # kills: texts fitted with the encoder's prompt, and asked without
    told = {"prompts": {"query": "the sea: "}, "default_prompt_name": "query"}
    (tiny_copy / "config_sentence_transformers.json").write_text(json.dumps(told))
    model = fitted(tiny_copy)
    saved = model.save(tmp_path / "model")
    vectors = unit(sijo.encode(tiny_copy, TEXTS).astype(np.float64))
    logits = model.head.logits(vectors)
    want = np.exp(logits[:, 1]) / np.exp(logits).sum(-1)
    np.testing.assert_allclose(sijo.ZeroShotClassifier(model=saved).predict_proba(TEXTS)[:, 1], want, atol=1e-6)
    np.testing.assert_allclose([row.label_scores["money"] for row in sijo.predict(saved, TEXTS)], want, atol=1e-6)


@pytest.fixture
def spoiled(folder, tmp_path):
    """A copy that a test may spoil, without its manifest."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "manifest.json").unlink()
    return copy


def test_every_call_gives_the_heads_answer(tiny_model, folder):
    # kills: a head over vectors that are not scaled; logits of a long text's windows averaged in place of its
    # vector's; labels in another order; classify and predict that differ
    model = fitted(tiny_model, [*TEXTS, LONG, "salt and oil"], [*LABELS, None, None])
    texts = [*TEXTS, LONG, "bread"]
    vectors = unit(model.scorer.engine.encode(texts).vectors.astype(np.float64))
    logits = model.head.logits(vectors)
    want = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    classifier = sijo.ZeroShotClassifier(model=folder)
    assert classifier.classes_.tolist() == ["game", "money"]
    np.testing.assert_allclose(classifier.predict_proba(texts), want, atol=1e-6)
    assert classifier.scorer_.name == "trained" and "fitted" in classifier.scorer_.reason
    answers = sijo.predict(folder, texts)
    np.testing.assert_allclose([answer.label_scores["money"] for answer in answers], want[:, 1], atol=1e-6)
    assert answers[-2].windows > 1 and not answers[-2].truncated
    assert sijo.predict(folder, [""])[0].label is None
    told = sijo.pipeline("text-classification", model=folder)(texts, top_k=None)
    scores = [{row["label"]: row["score"] for row in rows}["money"] for rows in told]
    np.testing.assert_allclose(scores, want[:, 1], atol=1e-6)
    with pytest.raises(SettingError, match="judges no inputs of token ids or of two texts"):
        sijo.pipeline("text-classification", model=folder)({"text": "rain", "text_pair": "sun"})
    assert (classifier.predict(TEXTS) == LABELS).mean() > 0.6


def test_the_folder_is_still_the_encoder(tiny_model, folder):
    # kills: a head that changes what vectors are; a folder that others cannot open
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense
    from torch import from_numpy

    np.testing.assert_array_equal(sijo.encode(folder, TEXTS), sijo.encode(tiny_model, TEXTS))
    vectors = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(vectors, sijo.encode(folder, TEXTS), atol=1e-5)
    head = Dense.load(str(folder / FITTED))
    logits = head({"sentence_embedding": from_numpy(vectors)})["sentence_embedding"].detach().numpy()
    chances = sijo.ZeroShotClassifier(model=folder).predict_proba(TEXTS)
    np.testing.assert_allclose(np.log(chances[:, 0] / chances[:, 1]), logits[:, 0] - logits[:, 1], atol=1e-4)
    other = sijo.ZeroShotClassifier(["rain", "salt"], folder, "embedding")
    plain = sijo.ZeroShotClassifier(["rain", "salt"], tiny_model, "embedding")
    np.testing.assert_allclose(other.predict_proba(TEXTS), plain.predict_proba(TEXTS))


def test_what_the_folder_tells(folder):
    # kills: a card without its figures; a file outside the manifest; a column that `sijo predict` does not know
    card = (folder / "README.md").read_text()
    for words in ("| `rows.csv` | 8 |", "texts without a label` | 2", "accuracy", "zero-shot", "few-shot"):
        assert words in card, words
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    assert f"{FITTED}/model.safetensors" in listed and "model.safetensors" in listed
    fields = json.loads((folder / "config.json").read_text())
    assert fields["id2label"] == {"0": "game", "1": "money"} and fields["architectures"] == ["BertModel"]
    assert fields["sijo_fine_tuned"]["task"] == "classification"


def test_a_label_that_the_head_does_not_know_is_refused(folder):
    # kills: any label answered by a head of two columns
    with pytest.raises(SettingError, match="'rain' is none of the 2 that the model was trained on"):
        sijo.ZeroShotClassifier(["rain", "game"], folder).predict(TEXTS)


def test_damage_is_found(folder, tmp_path):
    # kills: a flipped bit in the head; a head of other labels
    copy = shutil.copytree(folder, tmp_path / "copy")
    file = copy / FITTED / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError):
        sijo.ZeroShotClassifier(model=copy).predict(TEXTS)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"outputs": 3}, CheckpointError, "has 3 rows, and config.json names 2 labels"),
        ({"inputs": 8}, CheckpointError, "is for vectors of 8 numbers, and those that come to it have 16"),
        ({"activation": "Tanh"}, RefusedError, "is no linear map with a bias"),
        ({"bias": False}, RefusedError, "is no linear map with a bias"),
    ],
)
def test_a_head_of_another_shape_is_refused(spoiled, changes, error, words):
    # kills: rows read for the wrong labels; an activation left out
    rows, width = changes.get("outputs", 2), changes.get("inputs", 16)
    tensors = {"linear.weight": np.ones((rows, width), np.float32), "linear.bias": np.ones(rows, np.float32)}
    if changes.get("bias") is False:
        del tensors["linear.bias"]
    step = DenseStep(inputs=width, outputs=rows, activation=changes.get("activation", "Identity"), tensors=tensors)
    shutil.rmtree(spoiled / FITTED)
    (spoiled / FITTED).mkdir()
    write_step(step, spoiled / FITTED)
    write_manifest(spoiled)
    with pytest.raises(error, match=words):
        sijo.ZeroShotClassifier(model=spoiled).predict(TEXTS)


def test_fitting_again_puts_another_head_in_its_place(folder, tmp_path):
    # kills: labels of the old head left in the new one; the old head kept
    again = fitted(folder, TEXTS[:5], ["sea", "sea", "sun", "sun", "sun"]).save(tmp_path / "again")
    assert describe(again).labels == ("sea", "sun")
    assert describe(again).fitted_head != describe(folder).fitted_head


def test_a_folder_that_exists_is_left_alone(tiny_model, folder, tmp_path):
    # kills: somebody's files overwritten
    model = fitted(tiny_model)
    (tmp_path / "there").mkdir()
    with pytest.raises(SettingError, match="exists already"):
        model.save(tmp_path / "there")
    saved = model.save(tmp_path / "new")
    assert model.save(saved, overwrite=True) == saved


def test_a_model_with_a_head_has_no_room_for_another(tuned, tmp_path):
    # kills: labels of a trained head overwritten by those of a fitted one
    with pytest.raises(SettingError, match="holds a sequence-classification head"):
        fitted(tuned("classification"))


def test_labels_in_words_that_the_model_does_not_know(tiny_model):
    # kills: no head at all because names cannot be read; a zero-shot answer made of nothing
    with pytest.warns(SijoWarning, match="labels' names are left out"):
        model = fitted(tiny_model, TEXTS, ["웹"] * 4 + ["글꼴"] * 4)
    assert model.zero_shot is None
    vectors = unit(model.scorer.engine.encode(TEXTS).vectors.astype(np.float64))
    assert (model.head.logits(vectors).argmax(-1) == model.some.right.argmax(-1)).mean() >= 0.75


def test_a_text_without_words_is_told_by_its_row(tiny_model):
    # kills: a zero vector learned from
    with pytest.raises(TextError, match="row 9 has a label, and no words that the model reads"):
        fitted(tiny_model, [*TEXTS, "\ufffd"], [*LABELS, "game"])


def test_texts_without_labels_take_part(tiny_model):
    # kills: unlabelled texts read and not used; labels drawn to too few of them
    chance = np.random.default_rng(0)
    words = ["game", "team", "ball", "goal", "money", "bank", "tax", "price", "sea", "rain"]
    others = [" ".join(chance.permutation(words)[:4]) for _ in range(ENOUGH)]
    heads = [
        fitted(tiny_model, [*TEXTS, *some], [*LABELS, *[None] * len(some)]) for some in (others, others[:3], [])
    ]
    assert [model.unlabelled for model in heads] == [len(set(others)), 3, 0]
    weights = [model.head.weight_LD for model in heads]
    assert np.abs(weights[0] - weights[2]).max() > 1e-3
    some = few_labels([*TEXTS, *others[:3]], [*LABELS, *[None] * 3])
    vectors = vectors_of(some, heads[1].scorer)
    plain = Prior.of(vectors.labels_LD, np.concatenate(vectors[:2]))
    assert np.allclose(head_of(some, vectors).weight_LD, heads[1].head.weight_LD)
    assert plain.weight_LD.shape == (2, 16)


def test_several_labels_a_text(tiny_model, tmp_path):
    # kills: a softmax over labels that may all fit; a folder that does not say so
    cells = [["game"]] * 3 + [["game", "money"]] + [["money"]] * 3 + [[]]
    classifier = FewShotClassifier(model=tiny_model, multi_label=True).fit(TEXTS, cells)
    chances = classifier.predict_proba(TEXTS)
    assert chances.shape == (8, 2) and (np.abs(chances.sum(-1) - 1) > 1e-3).any()
    saved = classifier.save(tmp_path / "several")
    opened = sijo.ZeroShotClassifier(model=saved)
    np.testing.assert_allclose(opened.predict_proba(TEXTS), chances, atol=1e-6)
    assert opened.predict(TEXTS).shape == (8, 2)
    assert sijo.predict(saved, TEXTS[:1])[0].labels == tuple(
        np.array(["game", "money"])[np.argsort(-chances[0])][np.sort(chances[0])[::-1] >= 0.5]
    )


def test_labels_that_say_nothing_have_no_texts_that_stand_in(tiny_model):
    # kills: texts without a label taken for those of the first label, though no label's name was read
    some = few_labels([*TEXTS, LONG, "rain"], [*LABELS, None, None], labels=["sea", "game", "money"])
    read = vectors_of(some, open_scorer("embedding", tiny_model))
    head = head_of(some, read._replace(labels_LD=np.zeros_like(read.labels_LD)))
    assert not head.weight_LD[0].any() and head.bias_L[0] == 0
    assert head_of(some, read).weight_LD[0].any()
    assert (head.logits(read.texts_nD).argmax(-1) == some.right.argmax(-1)).mean() >= 0.75


def test_no_text_has_a_label(tiny_model, tmp_path):
    # kills: a crash where somebody says of each text that none of the labels fits
    classifier = FewShotClassifier(["game", "money"], tiny_model, multi_label=True).fit(TEXTS, [[]] * 8)
    saved = classifier.save(tmp_path / "none")
    np.testing.assert_allclose(
        sijo.ZeroShotClassifier(model=saved).predict_proba(TEXTS), classifier.predict_proba(TEXTS), atol=1e-6
    )


def test_the_estimator(tiny_model):
    # kills: settings that a clone loses; labels that y lacks left out; an answer before any fit
    from sklearn.base import clone

    with pytest.raises(SettingError, match="nothing was fitted yet"):
        FewShotClassifier().predict(TEXTS)
    classifier = clone(FewShotClassifier(["money", "game", "rain"], tiny_model, seed=3))
    assert classifier.get_params()["seed"] == 3
    classifier.fit([*TEXTS, "rain and sun"], [*LABELS, None])
    assert classifier.classes_.tolist() == ["money", "game", "rain"]
    assert classifier.predict_proba([]).shape == (0, 3)
    np.testing.assert_allclose(classifier.predict_proba(TEXTS).sum(-1), 1)
    assert classifier.score(TEXTS, LABELS) > 0.5


@pytest.mark.filterwarnings("ignore:the label")
def test_numbers_are_answered_by_numbers(tiny_model):
    # kills: '1' answered for 1, which scikit-learn does not compare; 10 before 2; bools answered by their names
    from sklearn.metrics import log_loss
    from sklearn.model_selection import cross_val_score

    for low, high, kind in ((2, 10, np.int8), (0.0, 1.0, float), (False, True, bool)):
        y = np.array([low if label == "game" else high for label in LABELS], kind)
        classifier = FewShotClassifier(model=tiny_model).fit(TEXTS, y)
        assert classifier.classes_.dtype == y.dtype and classifier.classes_.tolist() == [low, high]
        assert classifier.predict(TEXTS).dtype == y.dtype and classifier.score(TEXTS, y) > 0.5
        assert log_loss(y, classifier.predict_proba(TEXTS)) < 0.69
    assert np.isfinite(cross_val_score(FewShotClassifier(model=tiny_model), TEXTS, y, cv=2)).all()
    missing = FewShotClassifier(model=tiny_model).fit(TEXTS, [0, 1, *[None] * 4, 1, 1])
    assert missing.classes_.tolist() == [0, 1]
    known = FewShotClassifier(["0", "300"], tiny_model).fit(TEXTS[:2], np.zeros(2, np.int8))
    assert known.classes_.tolist() == [0, 300]
    words = FewShotClassifier(["0", "rain"], tiny_model).fit(TEXTS[:2], [0, 0])
    assert words.classes_.tolist() == ["0", "rain"]


def test_contrastive_pairs_train_the_encoder(tiny_model, folder, tmp_path):
    # kills: an encoder that stays as it was; a folder with the old encoder's weights; the given one trained
    before = sijo.encode(tiny_model, TEXTS)
    classifier = FewShotClassifier(model=tiny_model, contrastive=True).fit(TEXTS, LABELS)
    saved = classifier.save(tmp_path / "pairs")
    after = sijo.encode(saved, TEXTS)
    np.testing.assert_array_equal(sijo.encode(tiny_model, TEXTS), before)

    def apart(vectors):
        cosines = vectors @ vectors.T
        return cosines[:4, :4].mean() + cosines[4:, 4:].mean() - 2 * cosines[:4, 4:].mean()

    assert apart(after) > apart(before)
    np.testing.assert_allclose(
        sijo.ZeroShotClassifier(model=saved).predict_proba(TEXTS), classifier.predict_proba(TEXTS), atol=1e-5
    )
    assert classifier.fitted_.head.tried == 2  # a fifth of eight texts, seen by neither encoder nor head
    assert "contrastive = true" in (saved / "README.md").read_text()


def test_what_was_loaded_is_saved_with_its_head(folder, tmp_path):
    # kills: a folder that was loaded and saved, converted, or cut to fewer tokens, and has lost its head in silence
    from sijo.checkpoints.conversion.convert import convert
    from sijo.jobs.cut_model import with_rows_of

    model = sijo.load(folder)
    want = sijo.ZeroShotClassifier(model=folder).predict_proba(TEXTS)
    kept = {token for ids in model.tokenizer.ids(TEXTS) for token in ids} | model.tokenizer.essential_ids
    copies = [sijo.save(model, tmp_path / "saved"), convert(folder, tmp_path / "converted")]
    copies.append(sijo.save(with_rows_of(model, model.tokenizer.only(sorted(kept))), tmp_path / "cut"))
    for copy in copies:
        np.testing.assert_allclose(sijo.ZeroShotClassifier(model=copy).predict_proba(TEXTS), want, atol=1e-6)


def test_a_head_stays_with_the_weights_it_was_fitted_over(folder, tmp_path):
    # kills: a head saved beside an encoder that was trained on, whose vectors it does not know
    model = sijo.load(folder)
    model.transformer.embeddings.tokens.weight.data[5, 0] += 0.01
    with pytest.warns(SijoWarning, match="the head that was fitted over the vectors of .* is not saved"):
        saved = sijo.save(model, tmp_path / "moved")
    assert not (saved / FITTED).exists()
    again = FewShotClassifier(model=saved, contrastive=True).fit(TEXTS, LABELS)  # over a folder that names labels
    over = FewShotClassifier(model=folder, contrastive=True).fit(TEXTS, LABELS)
    for number, classifier in enumerate((again, over)):
        own = sijo.ZeroShotClassifier(model=classifier.save(tmp_path / f"again{number}"))
        np.testing.assert_allclose(own.predict_proba(TEXTS), classifier.predict_proba(TEXTS), atol=1e-5)


def test_advice_where_little_was_right(tiny_model):
    # kills: --contrastive pointed at where all was right, where it was just done, or where nobody measured it
    words = ["rain", "sun", "salt", "oil", "sea", "land", "goal", "tax"]
    poor = fitted(tiny_model, words, ["a", "b"] * 4)
    poor = replace(poor, zero_shot=poor.head.held_out)
    assert poor.head.held_out.value < 0.8 and "--contrastive" in poor.advice
    easy = [f"{word} {number}" for word in ("the sea and the rain", "money") for number in range(8)]
    good = fitted(tiny_model, easy, ["a"] * 8 + ["b"] * 8)
    assert good.head.held_out.value >= 0.8 and good.advice is None
    assert fitted(tiny_model, words, [["a"], ["b"]] * 4, multi_label=True).advice is None
    some = few_labels(words, ["a", "b"] * 4)
    trained = fit_few(some, open_scorer("embedding", tiny_model), contrastive=True)
    assert replace(trained, zero_shot=None).advice is None


def test_a_head_below_its_labels_words_is_told(tiny_model):
    # kills: a model that is worse than no fitting, given away without a word
    words = ["rain", "sun", "salt", "oil", "sea", "land", "goal", "tax"]
    model = fitted(tiny_model, words, ["a", "b"] * 4)
    better = replace(model, zero_shot=Interval(model.head.held_out.value + 0.1, 0.5, 1.0))
    assert "by the labels' words alone" in better.advice and "contrastive" not in better.advice
    assert "words alone" not in replace(model, zero_shot=model.head.held_out).advice
