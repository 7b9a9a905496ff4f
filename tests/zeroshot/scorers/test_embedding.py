"""The vector of a label: its phrases, its language's template, and the prototype that examples make."""

import tracemalloc
import warnings

import numpy as np
import pytest

import sijo
from sijo.errors import SettingError, SijoWarning
from sijo.inference.encode import engine_of
from sijo.inference.outputs import unit
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import Label, LabelSet
from sijo.zeroshot.scorers import embedding
from sijo.zeroshot.scorers.embedding import EmbeddingScorer, KeptVectors, weight_of
from sijo.zeroshot.scorers.open import open_scorer


@pytest.fixture(scope="module")
def scorer() -> EmbeddingScorer:
    return open_scorer("embedding", None)


def test_a_prototype_joins_the_phrases(scorer):
    # kills: examples put in the template; one vector a sentence whatever its kind, or of vectors that are no units
    label = Label(
        "sea", ("salt water",), examples=("The tide came in.", "Waves broke on the beach.", "We sailed on.")
    )
    read = [unit(scorer.engine.encode([text]).vectors.astype(np.float64))[0] for text in (
        "About sea.", "salt water", *label.examples
    )]  # fmt: skip
    by_hand = (read[0] + read[1]) / 2 + 1.5 / 2**0.5 * (read[2] + read[3] + read[4]) / 3
    np.testing.assert_allclose(
        scorer.vectors([label], "About {}.")[0], by_hand / np.linalg.norm(by_hand), rtol=0, atol=1e-6
    )
    assert [weight_of(count, 1) for count in (1, 3, 8, 100)] == [0.5, 1.5, 4.0, 4.0]


def test_a_label_has_one_vector_whatever_stands_beside_it(scorer):
    # kills: vectors kept under the name alone, so that other descriptions, examples or templates change nothing
    one, other = Label("sea", examples=("The tide came in.",)), Label("sun")
    alone = scorer.vectors([one], "About {}.")
    assert np.array_equal(scorer.vectors([other, one, other], "About {}.")[1], alone[0])
    for changed, template in [
        (Label("sea"), "About {}."),
        (one, "On {}."),
        (Label("sea", template="{}"), "About {}."),
    ]:
        assert not np.allclose(scorer.vectors([changed], template), alone)


def test_labels_without_end_take_no_more_memory(scorer, monkeypatch):
    # kills: vectors kept by number, whatever their bytes; the newest let go first, or those that are asked for
    # again and again; bytes that are never taken back; answers that change as vectors go
    monkeypatch.setattr(embedding, "MOST_BYTES", 40_000)
    fresh, known, template = EmbeddingScorer(scorer.engine), Label("sea"), "About {}."
    few = fresh.vectors([known, Label("무역 1")], template)
    read, encode = [], scorer.engine.encode
    monkeypatch.setattr(scorer.engine, "encode", lambda texts: read.extend(texts) or encode(texts))
    for row in range(12):
        labels = [known, *(Label(f"무역 {row} {place}", ("salt",)) for place in range(5))]
        vectors = fresh.vectors(labels, template)
        assert fresh._kept.size <= 40_000
        np.testing.assert_array_equal(vectors[0], few[0])
    assert fresh._kept.size > 30_000 and "About sea." not in read
    np.testing.assert_allclose(fresh.vectors([Label("무역 1")], template)[0], few[1], rtol=0, atol=1e-6)
    assert read[-1] == "About 무역 1."
    again = EmbeddingScorer(scorer.engine)
    np.testing.assert_allclose(again.vectors(labels, template), vectors, rtol=0, atol=1e-6)


def test_one_call_keeps_what_it_needs(scorer, monkeypatch):
    # kills: labels read anew for each batch of texts because they are too many for the bound
    monkeypatch.setattr(embedding, "MOST_BYTES", 20_000)
    fresh, labels = EmbeddingScorer(scorer.engine), [Label(f"trade {place}") for place in range(30)]
    first = fresh.vectors(labels, "About {}.")
    assert fresh._kept.size > 20_000
    monkeypatch.setattr(scorer.engine, "encode", lambda texts: pytest.fail(f"{len(texts)} read again"))
    np.testing.assert_array_equal(fresh.vectors(labels, "About {}."), first)
    monkeypatch.undo()
    monkeypatch.setattr(embedding, "MOST_BYTES", 20_000)
    fresh.vectors([Label("sun")], "About {}.")
    assert fresh._kept.size <= 20_000


def test_the_size_of_what_is_kept_is_what_it_takes():
    # kills: a count that leaves keys, objects or long descriptions out
    tracemalloc.start()
    try:
        kept = KeptVectors()
        before = tracemalloc.get_traced_memory()[0]
        for place in range(500):
            kept.keep("{}", {Label(f"trade {place}", ("x" * (place + 500),)): np.full(384, 0.1)})
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.9 < kept.size / taken < 1.15


def test_a_korean_name_stands_in_a_korean_sentence(scorer):
    # kills: the English template around a name in Hangul, or the Korean one where the user gave another
    labels = LabelSet.of(["경제", "health"])

    def sentences(choice: LabelChoice) -> list[str]:
        labeller = Labeller(scorer, choice, labels)
        return [label.phrases(labeller.template)[0] for label in labeller.labels.labels]

    assert sentences(LabelChoice()) == ["이 글은 경제를 다룬다.", "This is about health."]
    assert sentences(LabelChoice(template="{}!")) == ["경제!", "health!"]
    assert sentences(LabelChoice(template="{}{이/가} 주제")) == ["경제가 주제", "health가 주제"]


def test_examples_change_the_answer():
    # kills: examples that are read and never used; a classifier that loses them on the way
    text = ["The gate was left open all night and the sheep got out."]
    names = ["alpha", "beta"]
    described = {"alpha": {"examples": ["Our sheep broke through the fence."]}, "beta": ()}
    before, after = (sijo.ZeroShotClassifier(labels=labels).predict_proba(text)[0] for labels in (names, described))
    assert after[0] > 0.9 > before[0]


def test_scorers_that_read_no_examples_say_so(tmp_path):
    # kills: examples dropped in silence
    head = sijo.load(head="new:sequence-classification", labels=["not_entailment", "entailment"])
    labels = LabelSet.of({"sea": {"examples": ["The tide came in."]}, "sun": ()})
    with pytest.warns(SijoWarning, match="the entailment scorer reads no examples"):
        Labeller(open_scorer("entailment", head), LabelChoice(), labels)
    trained = sijo.load(head="new:sequence-classification", labels=["sea", "sun"])
    with pytest.raises(SettingError, match="'sea' has an example, which a head"):
        Labeller(open_scorer("trained", trained), LabelChoice(), labels)


GUESS = "has no modules.json, so it was not trained to give sentence vectors"
TEXTS, LABELS = ["the sea", "a goal", "rain", "the bank"], ["sport", "money"]
DOORS = {
    "encode": lambda model: sijo.encode(model, TEXTS),
    "pipeline": lambda model: sijo.pipeline("zero-shot-classification", model)(TEXTS, LABELS),
    "predict": lambda model: sijo.ZeroShotClassifier(LABELS, model).predict(TEXTS),
    "stream": lambda model: [*sijo.ZeroShotClassifier(LABELS, model).stream(TEXTS)],
    "few labels": lambda model: sijo.FewShotClassifier(model=model).fit(TEXTS, LABELS * 2).predict(TEXTS * 2),
    "class vectors": lambda model: (
        sijo.ClassVectorClassifier(method="cosine", gamma=0, model=model).fit(TEXTS, LABELS * 2).predict(TEXTS)
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_vectors_of_a_model_that_was_not_trained_for_them_are_told_once(door, tiny_copy):
    # kills: a door that says nothing of a guess, one that says it for each call of the network, and a guess that is
    # told of an encoder, or of a model that is not opened by its folder alone
    for opened, told in ((lambda: tiny_copy, 0), (lambda: tiny_copy, 1), (lambda: sijo.load(tiny_copy), 1)):
        model = opened()
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always", SijoWarning)
            DOORS[door](model)
        assert [GUESS in str(warning.message) for warning in given].count(True) == told
        (tiny_copy / "modules.json").unlink(missing_ok=True)


def test_a_model_that_is_compared_otherwise_is_told_in_python_too(tiny_copy):
    # kills: a caution that the command line alone gives
    (tiny_copy / "config_sentence_transformers.json").write_text('{"similarity_fn_name": "euclidean"}')
    classifier = sijo.ZeroShotClassifier(LABELS, tiny_copy)
    with pytest.warns(SijoWarning, match="compared by euclidean") as given:
        classifier.predict(TEXTS)
        classifier.predict(TEXTS)
    assert ["euclidean" in str(warning.message) for warning in given].count(True) == 1


def test_commands_tell_a_guess_once(tiny_copy, sijo_cli):
    # kills: a command that says nothing of it, and one where two doors say it
    (tiny_copy / "modules.json").unlink()
    for arguments in (["encode"], ["classify", "--labels", "sport,money"]):
        ran = sijo_cli(*arguments, "--model", tiny_copy, stdin="\n".join(TEXTS).encode())
        assert ran.code == 0 and ran.err.count(GUESS) == 1


def test_a_model_that_is_learning_is_not_called_a_guess(tiny_copy):
    # kills: a warning of what training is about to change, as --contrastive and label-matching measure it
    (tiny_copy / "modules.json").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error", SijoWarning)
        engine_of(sijo.load(tiny_copy), learning=True).encode(TEXTS)
