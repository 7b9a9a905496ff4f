"""The one-pass scorer beside the public pipeline, and what lists of labels must not do to each other."""

import json

import numpy as np
import pytest
import torch

import battery
import sijo
from sijo.checkpoints.load import load
from sijo.checkpoints.save import save
from sijo.errors import CheckpointError, SettingError
from sijo.jobs.open_labels.one_pass_settings import default_one_pass
from sijo.jobs.open_labels.one_pass_setup import with_one_pass
from sijo.tokenizers.label_prompt import LabelPrompt
from sijo.training.settings import with_changes
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import Label, LabelSet
from sijo.zeroshot.scorers.one_pass import OnePassScorer
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.scorer import ScoreRequest

pytest.importorskip("gliclass")
TEXTS = ["the sun and the sea", "old money in the bank", "a game of ball", "goal rain " * 60]
NAMES = ["sea", "oil price", "game", "tax"]
LABELS = [Label(name) for name in NAMES]
LIMIT = 64


@pytest.fixture(scope="module")
def glass(tiny_model, tmp_path_factory):
    """A tiny GLiClass with every weight moved, as the package saves it; and the package's own pipeline over it."""
    from gliclass import GLiClassModel, GLiClassModelConfig, ZeroShotClassificationPipeline
    from transformers import DebertaV2Config, PreTrainedTokenizerFast

    special = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tiny_model / "tokenizer.json"), **special)
    tokenizer.add_tokens(["<<LABEL>>", "<<SEP>>", "<<EXAMPLE>>"], special_tokens=True)
    tokenizer.model_max_length = LIMIT
    size = len(tokenizer)
    encoder = DebertaV2Config(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=LIMIT,
        relative_attention=True,
        position_buckets=8,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
    )
    config = GLiClassModelConfig(
        encoder_config=encoder,
        encoder_model="made up",
        class_token_index=size - 3,
        text_token_index=size - 2,
        vocab_size=size,
        scorer_type="mlp",
        prompt_first=True,
        pooling_strategy="avg",
    )
    model = battery.scramble(GLiClassModel(config), 0.15)
    folder = tmp_path_factory.mktemp("gliclass") / "model"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = {"device": "cpu", "progress_bar": False, "max_length": LIMIT}
    return folder, ZeroShotClassificationPipeline(model, tokenizer, **settings)


@pytest.fixture(scope="module")
def scorer(glass):
    return open_scorer("auto", str(glass[0]))


def scored(scorer, texts=TEXTS, labels=LABELS, **settings):
    return scorer.score(ScoreRequest(texts, labels, "{}", **settings))


def test_logits_and_probabilities_are_those_of_the_package(glass, scorer):
    # kills: another layout, order or template; a softmax where each is judged by itself; a text cut elsewhere
    folder, pipeline = glass
    assert scorer.name == "one_pass" and "one pass" in scorer.choice.reason
    want = np.array([pipeline.get_embeddings([text], NAMES)[0]["logits"] for text in TEXTS])  # alone: no padding
    got, reading = scored(scorer)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    assert reading.truncated.tolist() == [False, False, False, True]
    several = sijo.ZeroShotClassifier(labels=NAMES, model=str(folder), multi_label=True).fit()
    np.testing.assert_allclose(several.predict_proba(TEXTS), 1 / (1 + np.exp(-want)), atol=1e-6)
    one = sijo.ZeroShotClassifier(labels=NAMES, model=str(folder)).fit()
    shares = np.exp(want - want.max(1, keepdims=True))
    np.testing.assert_allclose(one.predict_proba(TEXTS), shares / shares.sum(1, keepdims=True), atol=1e-6)


def test_a_list_of_labels_keeps_its_order(glass, scorer):
    # kills: rows with labels of their own read in the order in which another row named them, and a store whose key
    # does not hold the order
    pipeline = glass[1]
    lists = [["tax", "sea"], ["sea", "tax", "game"], ["tax", "sea"], ["game", "sea"]]
    labeller = Labeller(scorer, LabelChoice(multi_label=True), None)
    rows = list(labeller.stream(TEXTS, lists))
    for text, names, row in zip(TEXTS, lists, rows, strict=True):
        want = pipeline.get_embeddings([text], names)[0]["logits"]
        logits = dict(zip(row.labels, np.log(np.array(row.scores) / (1 - np.array(row.scores))), strict=True))
        np.testing.assert_allclose([logits[name] for name in names], want, atol=1e-4)
    turned, _ = scored(scorer, labels=LABELS[::-1])
    assert np.abs(turned[:, ::-1] - scored(scorer)[0]).max() > 1e-3


def test_the_store_keeps_each_ordered_list_apart(glass, tmp_path, monkeypatch):
    # kills: an answer for one list given for another, of other labels, order or words; one read twice
    scorer = open_scorer("one_pass", str(glass[0]), cache=tmp_path)
    want, _ = scored(scorer)
    turned, _ = scored(scorer, labels=LABELS[::-1])
    again = open_scorer("one_pass", str(glass[0]), cache=tmp_path)
    monkeypatch.setattr(type(again.engine.backend), "logits", None)
    np.testing.assert_array_equal(scored(again)[0], want)
    np.testing.assert_array_equal(scored(again, labels=LABELS[::-1])[0], turned)
    with pytest.raises(TypeError):
        scored(again, labels=LABELS[:3])
    with pytest.raises(TypeError):
        scored(again, labels=[*LABELS[:3], Label("tax", ("money",))])


@pytest.fixture(scope="module")
def alone(tiny_model, tmp_path_factory):
    """A folder whose labels are hidden from each other, with every weight of the head moved."""
    settings = with_changes(default_one_pass(tiny_model), ["neighbours=hidden"])
    model = with_one_pass(settings)
    battery.scramble(model.head)
    model.head["one-pass"].scale.data.fill_(20.0)
    folder = tmp_path_factory.mktemp("hidden") / "model"
    save(model, folder)
    return folder


def test_hidden_labels_are_scored_as_if_each_was_asked_alone(alone, scorer):
    # kills: a score that hangs on the list, on its order, on rows with lists of their own, or on how much of a long
    # text is read beside other labels; labels that take several passes; a cascade that asks again for nothing
    assert scorer.reads_others
    scorer = open_scorer("auto", str(alone))
    assert not scorer.reads_others
    want, counts = scored(scorer)
    assert scorer.name == "one_pass" and counts.truncated.tolist() == [False, False, False, True]
    assert np.abs(np.diff(want)).min() > 5e-4
    for column, label in enumerate(LABELS):
        np.testing.assert_allclose(scored(scorer, labels=[label])[0][:, 0], want[:, column], atol=2e-5)
    np.testing.assert_allclose(scored(scorer, labels=LABELS[::-1])[0][:, ::-1], want, atol=2e-5)
    part, _ = scored(scorer, lists=[[3, 0], [0, 3, 2], [3, 0], [2]])
    wanted = np.array([[1, 0, 0, 1], [1, 0, 1, 1], [1, 0, 0, 1], [0, 0, 1, 0]], bool)
    np.testing.assert_allclose(part[wanted], want[wanted], atol=2e-5)
    many = [*LABELS, *(Label(f"{name} {other}") for name in NAMES for other in ("rain", "ball", "sun"))]
    tokens = scorer.engine.model.tokenizer.ids([label.name for label in many])
    assert sum(map(len, tokens)) > 2 * scorer.label_room
    np.testing.assert_allclose(scored(scorer, labels=many)[0][:, :4], want, atol=2e-5)
    with pytest.raises(SettingError, match="are kept for labels beside a text; shorten it"):
        scored(scorer, labels=[Label("rain " * 30)])


def test_a_new_label_costs_itself_alone(alone, tmp_path, monkeypatch):
    # kills: a store whose key holds the list, so that one label more is a pass over all; a logit of another pair
    scorer = open_scorer("one_pass", str(alone), cache=tmp_path)
    want, _ = scored(scorer, labels=LABELS[:3])
    again = open_scorer("one_pass", str(alone), cache=tmp_path)
    asked = []
    inputs = LabelPrompt.inputs
    monkeypatch.setattr(
        LabelPrompt, "inputs", lambda self, texts: asked.append((self.ids, len(texts))) or inputs(self, texts)
    )
    got, _ = scored(again, labels=[LABELS[3], *LABELS[2::-1]])
    np.testing.assert_array_equal(got[:, :0:-1], want)
    [(ids, texts)] = asked
    assert texts == len(TEXTS) and ids == LabelPrompt(again.engine.model.tokenizer, [NAMES[3]]).ids


def test_rows_do_not_change_each_other(scorer):
    # kills: a score that hangs on which texts share a batch
    whole, _ = scored(scorer)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(scored(scorer, [text])[0][0], whole[row], atol=1e-5)


def test_descriptions_stand_behind_the_name(scorer):
    # kills: a description as a label of its own, or left unread
    described = [Label("sea", ("salt in rain", "land"))]
    same = [Label("sea: salt in rain; land")]
    np.testing.assert_array_equal(scored(scorer, labels=described)[0], scored(scorer, labels=same)[0])


def test_none_and_the_best_few(glass):
    # kills: a none label that does not stand at a logit of 0; a row that keeps all labels
    classifier = sijo.ZeroShotClassifier(labels=NAMES, model=str(glass[0]), none_label="none").fit()
    [row] = classifier.classify(TEXTS[:1], top_k=2)
    logits = np.append(
        scored(
            classifier.labeller_.scorer if hasattr(classifier, "labeller_") else open_scorer("auto", str(glass[0])),
            TEXTS[:1],
        )[0][0],
        0.0,
    )
    best = np.argsort(-logits)[:2]
    assert list(row.labels) == [[*NAMES, "none"][place] for place in best]
    np.testing.assert_allclose(row.scores, (np.exp(logits) / np.exp(logits).sum())[best], atol=1e-6)


def test_more_labels_than_fit_are_named(scorer):
    # kills: labels cut from the end, or a text of which nothing is read, in silence
    with pytest.raises(SettingError, match=r"40 labels take 81 of the 64 tokens .* leaves none for a text; give"):
        scored(scorer, labels=[Label("sea")] * 40)
    with pytest.raises(SettingError, match="holds <<LABEL>>"):
        scored(scorer, labels=[Label("a <<LABEL>> b"), Label("sea")])
    assert scorer.room_beside(LABELS, "{}") == LIMIT - 2 - len(scorer._prompt(LABELS, "{}").ids)


def test_marks_of_another_model_are_refused(glass, tmp_path):
    # kills: labels looked for by a token that the tokenizer never makes
    folder = glass[0]
    fields = json.loads((folder / "config.json").read_text())
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(fields | {"class_token_index": 5}))
    with pytest.raises(CheckpointError, match="and 5 and"):
        open_scorer("one_pass", str(tmp_path))
    text = (tmp_path / "tokenizer.json").read_text().replace("<<LABEL>>", "<<LABELS>>")
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(CheckpointError, match="no token <<LABEL>>"):
        open_scorer("auto", str(tmp_path))


def test_what_is_not_finite_names_its_text(glass):
    # kills: NaN as an answer, or another text blamed
    model = load(glass[0], "one-pass")
    with torch.no_grad():
        model.transformer.embeddings.tokens.weight[model.tokenizer.id("ball")] = float("nan")
    scorer = open_scorer("one_pass", model)
    assert isinstance(scorer, OnePassScorer)
    with pytest.raises(SettingError, match="text 3:"):
        scored(scorer, TEXTS[:3])


def test_a_none_label_and_labels_of_one_name(scorer):
    # kills: two labels that are one to the model
    with pytest.raises(SettingError, match="are one to this model"):
        Labeller(scorer, LabelChoice(), LabelSet.of(["☃", "☄"]))
