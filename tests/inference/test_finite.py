"""Outputs that are NaN or infinite: no label, vector or probability comes of them. Each test names its fault."""

import math
import warnings

import numpy as np
import pytest
import torch

import sijo
from sijo.errors import SettingError
from sijo.inference.encode import engine_of
from sijo.inference.outputs import NotFiniteError, unit
from sijo.inference.vector_cache import Entry, VectorCache
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.scorers.embedding import EmbeddingScorer

LABELS = ["sea", "bank", "game"]
TEXTS = ["the sun", "rain", "money", "the oil"]
BAD_TEXT = "the oil"
"""Of the texts the one with the word whose row in the table is spoilt."""


def spoilt(folder, value=3e38, head=None, labels=None, dtype="float32"):
    """A model whose weights are all finite, and that overflows on the word oil alone."""
    model = sijo.load(folder, head, dtype=dtype, labels=labels)
    table = model.transformer.embeddings.tokens.weight
    table.data = table.data.clone()
    row = table.data[model.tokenizer.id("oil")]
    row[:] = value
    row[::2] = -value
    segment = model.transformer.embeddings.segments.weight
    segment.data = (
        torch.where(row > 0, 1e4, -1e4)[None].repeat(2, 1).to(segment.dtype)
    )  # in float16, the sum overflows
    return model


@pytest.fixture
def model(tiny_model):
    return spoilt(tiny_model)


def judge(folder, labels, value=3e38):
    return spoilt(folder, value, "new:sequence-classification", labels)


CALLS = {
    "predict": lambda clf: clf.predict(TEXTS),
    "predict_proba": lambda clf: clf.predict_proba(TEXTS),
    "classify": lambda clf: clf.classify(TEXTS),
    "stream": lambda clf: list(clf.stream(iter(TEXTS))),
    "labels of each row": lambda clf: clf.classify(TEXTS, [LABELS] * len(TEXTS)),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("settings", [{}, {"multi_label": True}, {"none_label": "other"}])
@pytest.mark.parametrize("scorer", ["embedding", "entailment", "trained"])
def test_no_label_comes_of_nan(tiny_model, scorer, settings, call):
    # kills: argmax of NaN, which is the first label; [] from --multi-label; a scorer or a call past the check
    if scorer == "trained" and settings:
        pytest.skip("a head that was trained on its labels has neither")
    columns = {"entailment": ["entailment", "contradiction"], "trained": LABELS}.get(scorer)
    model = spoilt(tiny_model) if columns is None else judge(tiny_model, columns)
    clf = sijo.ZeroShotClassifier(LABELS, model, scorer=scorer, **settings)
    with pytest.raises(NotFiniteError, match=r"text 4: .*beyond float32, though each weight is finite"):
        CALLS[call](clf)


@pytest.mark.parametrize(
    "dtype, way", [("float16", "--precision exact or bf16"), ("bfloat16", "--precision exact")]
)
def test_the_precision_and_the_way_out_are_named(tiny_model, dtype, way):
    # kills: an overflow of half precision taken for a damaged file
    with pytest.raises(SettingError, match=rf"text 2: .*{dtype}.*{way}"):
        sijo.encode(spoilt(tiny_model, {"float16": 6e4, "bfloat16": 3e38}[dtype], dtype=dtype), ["sea", "oil"])


def test_weights_spoilt_in_memory_are_named(tiny_model):
    # kills: "each weight is finite", said of one that is not
    model = sijo.load(tiny_model)
    bias = model.transformer.blocks[0].state_dict()
    name = next(name for name in bias if name.endswith("bias"))
    model.transformer.blocks[0].load_state_dict(bias | {name: torch.full_like(bias[name], math.nan)})
    with pytest.raises(NotFiniteError, match=rf"{name} among its weights"):
        sijo.encode(model, ["sea"])


def test_the_text_is_counted_over_groups(model):
    # kills: a place in the batch, or in the group, told as the place in the input
    many = ["sea"] * 5_000
    many[4_321] = BAD_TEXT
    with pytest.raises(NotFiniteError, match=r"text 4,322: "):
        sijo.encode(model, iter(many))
    with pytest.raises(NotFiniteError, match=r"text 4,322: "):
        sijo.ZeroShotClassifier(LABELS, model).predict(many)
    own = [LABELS if n % 2 else LABELS[:2] for n in range(5_000)]
    with pytest.raises(NotFiniteError, match=r"text 4,322: "):
        sijo.ZeroShotClassifier(None, model).classify(many, own)


def test_texts_before_it_are_answered(model):
    # kills: a stream that is lost as a whole for its last text
    stream = sijo.ZeroShotClassifier(LABELS, model).stream(iter(["sea"] * 2_048 + [BAD_TEXT]))
    assert sum(1 for _ in zip(range(2_048), stream, strict=False)) == 2_048
    with pytest.raises(NotFiniteError, match=r"text 2,049"):
        next(stream)


def test_a_label_that_overflows_is_named(model):
    # kills: the label's number told as a text's
    with pytest.raises(SettingError, match=r"the label 'oil': .*beyond float32"):
        sijo.ZeroShotClassifier(["sea", "oil"], model).predict(["rain"])


def test_beside_which_label(tiny_model):
    # kills: the number of a pair told as the number of a text
    clf = sijo.ZeroShotClassifier(["sea", "oil"], judge(tiny_model, ["entailment", "contradiction"]), "entailment")
    with pytest.raises(NotFiniteError, match=r"text 1: beside the label 'oil', "):
        clf.predict(["rain", "sun"])


def test_nothing_of_it_is_kept_and_what_was_kept_is_not_believed(model, tmp_path):
    # kills: NaN in the cache, of this version or an older one, that becomes a label in the next run
    for text in (BAD_TEXT, "sea"):
        store = VectorCache(tmp_path, fingerprint="a")
        engine = engine_of(model, store=store)
        store.put({"sea": Entry(np.full(16, math.nan, np.float32), tokens=1, windows=1, truncated=False)})
        if text == BAD_TEXT:
            with pytest.raises(NotFiniteError):
                engine.encode(["sun", BAD_TEXT])
            assert BAD_TEXT not in store.get([BAD_TEXT])
        else:
            assert np.array_equal(engine.encode(["sea"]).vectors, engine_of(model).encode(["sea"]).vectors)
            assert np.isfinite(store.get(["sea"])["sea"].vector).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("settings", [{}, {"multi_label": True}, {"none_label": "other"}])
def test_scores_of_any_scorer_are_checked(tiny_model, settings, bad):
    # kills: a scorer whose own arithmetic overflows, behind a model that does not
    class Odd(EmbeddingScorer):
        def score(self, request):
            scores, reading = super().score(request)
            scores[2, 1] = bad
            return scores, reading

    labeller = Labeller(Odd(engine_of(sijo.load(tiny_model))), LabelChoice(**settings), LabelSet.of(LABELS))
    with pytest.raises(NotFiniteError, match=r"text 3: .*NaN or infinite.* temperature=0.0655"):
        list(labeller.stream(TEXTS))
    with pytest.raises(NotFiniteError, match=r"text 3: "):
        list(labeller.judged(TEXTS))


@pytest.mark.parametrize("temperature", [1e-320, 5e-324, 2e-308, math.nan, math.inf, 0.0, -0.0, -1.0])
def test_a_temperature_that_nothing_can_be_divided_by(temperature):
    # kills: 0/0 in the softmax
    for make in (lambda t: LabelChoice(temperature=t), lambda t: Calibration(t, 0.0, "by hand")):
        with pytest.raises(SettingError, match=f"temperature={temperature}"):
            make(temperature)


@pytest.mark.parametrize("temperature", [1e-307, 1e-30, 1e3, 1e20, 1e307])
@pytest.mark.parametrize("threshold", [-1e12, 0.1, 1e12])
@pytest.mark.parametrize("settings", [{}, {"multi_label": True}, {"none_label": "other"}])
def test_numbers_at_the_ends_still_choose_the_best(tiny_model, temperature, threshold, settings):
    # kills: a warning of numpy, NaN from an overflow; the first label where rounding makes equals of all
    model = sijo.load(tiny_model)
    text, labels = "old money in the bank", ["game", "sea", "money"]
    best = max(labels, key=lambda name: score(model, name, text))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf = sijo.ZeroShotClassifier(
            labels,
            model,
            hypothesis_template="{}",
            temperature=temperature,
            none_threshold=threshold,
            **settings,
        )
        [row] = clf.classify([text])
    assert all(0 <= share <= 1 for share in row.scores)
    assert next(name for name in row.labels if name != "other") == best


def score(model, name, text):
    one, other = sijo.encode(model, [name, text]).astype(float)
    return one @ other


def test_nothing_is_fitted_to_nan():
    # kills: a temperature of NaN, kept and used without a word
    scores, gold = np.array([[0.1, 0.2], [0.3, math.nan], [0.5, 0.1]]), np.array([0, 1, 0])
    with pytest.raises(SettingError, match="text 2 are NaN"):
        Calibration.fit(scores, gold, origin="here")
    with pytest.raises(SettingError, match="the same"):
        Calibration.fit(np.zeros((3, 2)), gold, origin="here")
    with pytest.raises(SettingError, match="none_score=nan"):
        Calibration(1.0, math.nan, "here")


def test_a_fit_names_the_text(model):
    # kills: fit(X, y) that goes on with what overflowed
    clf = sijo.ZeroShotClassifier(["sea", "bank"], model, temperature="fit")
    with pytest.raises(NotFiniteError, match="text 3"):
        clf.fit(["the sea", "a bank", "oil", "sea"], ["sea", "bank", "sea", "sea"])


def test_long_vectors_keep_their_direction():
    # kills: vectors of float32 whose length is beyond it, scaled to zeros
    vectors = np.array([[3e30, 4e30], [0, 0], [3, 4], [1e38, 0]], np.float32)
    np.testing.assert_allclose(unit(vectors), [[0.6, 0.8], [0, 0], [0.6, 0.8], [1, 0]], atol=1e-6)


@pytest.fixture
def folder(tiny_copy):
    """The tiny model in a file whose weights are finite in float16 too, and that overflows there on one word."""
    from safetensors.torch import load_file, save_file

    weights = load_file(tiny_copy / "model.safetensors")
    row = weights["embeddings.word_embeddings.weight"][sijo.load(tiny_copy).tokenizer.id("oil")]
    row[:], row[::2] = 6e4, -6e4
    weights["embeddings.token_type_embeddings.weight"][:] = row / 6  # the sum is beyond float16
    save_file(weights, tiny_copy / "model.safetensors", metadata={"format": "pt"})
    return tiny_copy


def test_the_command_names_the_row_and_keeps_what_is_done(sijo_cli, folder, tmp_path, write):
    # kills: exit 0 with a score of null; the row's number within its block; blocks that were done thrown away
    rows = ["sea"] * 3_000
    rows[2_500] = "oil"
    source, out = write("rows.csv", "\n".join(["text", *rows]) + "\n"), tmp_path / "out.csv"
    common = ("classify", source, "--labels", "sea,land", "--model", folder)
    ran = sijo_cli(*common, "--precision", "fp16", "-o", out)
    ran.must_say(2, "row 2,501", "float16", "--precision exact or bf16")
    assert "2,048 rows are done and kept" in ran.err and not out.exists()
    printed = sijo_cli(*common, "--precision", "fp16", "--format", "jsonl")
    printed.must_say(2, "row 2,501")
    assert sijo_cli(*common, "--precision", "exact").code == 0
    gold = write("gold.csv", "text,label\nsea,sea\nland,land\noil,sea\n")
    sijo_cli("evaluate", "--data", gold, "--model", folder, "--precision", "fp16").must_say(2, "row 3: ", "float16")
    own = write("own.csv", 'text,own\nsea,"sea,land"\noil,"sea,land"\n')
    sijo_cli(
        *("classify", own, "--labels-column", "own", "--column", "text", "--model", folder, "--precision", "fp16")
    ).must_say(2, "row 2: ", "float16")
