"""The entailment scorer against the zero-shot pipeline of transformers, plain numbers, and its errors."""

import itertools
import json
import math
import shutil
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import sijo
from sijo.errors import SettingError
from sijo.inference.backends.torch_backend import TorchBackend
from sijo.inference.encode import engine_of
from sijo.inference.engine import Engine
from sijo.inference.outputs import Logits
from sijo.inference.vector_cache import Entry, VectorCache
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.scorers.entailment import EntailmentColumns, EntailmentScorer
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.registry import SCORERS

transformers = pytest.importorskip("transformers")

LIMIT = 32  # tokens the tiny models read
CASES = 200
LAYOUTS = {
    "contradiction first": ("contradiction", "neutral", "entailment"),
    "entailment first": ("entailment", "neutral", "contradiction"),
    "two columns": ("entailment", "not_entailment"),
    "odd spellings": ("Contradict", "NEUTRAL ", "ENTAILMENT"),
}
LABELS = ["sea", "bank", "game"]
ODD = ("café", "SEA", "한국어", "😀", "ﬁne", "İzmir", "e\u0301", "x" * 120, "3.5%", "co\u00adop", "\u202eoil")
TEXTS = ["the sun and the sea", "old money in the bank", "a game of ball", "goal " * 70, "rain"]


def write_model(
    folder, tiny_model, names, *, family="bert", limit=LIMIT, scale=6.0, tokenizer_class="BertTokenizer"
):
    """A folder with a head of these columns, every weight moved, so that no fresh zero hides a swap."""
    vocabulary = json.loads((tiny_model / "tokenizer.json").read_text())["model"]["vocab"]
    shared = {
        "vocab_size": len(vocabulary),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": LIMIT,
        "pad_token_id": 0,
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
    }
    torch.manual_seed(0)
    if family == "bert":
        theirs = transformers.BertForSequenceClassification(transformers.BertConfig(**shared))
    else:
        config = transformers.DebertaV2Config(
            **shared,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            position_buckets=8,
            share_att_key=True,
            norm_rel_ebd="layer_norm",
            position_biased_input=False,
            type_vocab_size=0,
        )
        theirs = transformers.DebertaV2ForSequenceClassification(config)
    chance = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance) * 0.3)
        theirs.classifier.weight.mul_(scale)
    theirs.save_pretrained(folder)
    shutil.copy(tiny_model / "tokenizer.json", folder)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    settings = special | {"tokenizer_class": tokenizer_class}
    if limit is not None:
        settings["model_max_length"] = limit
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def nli(tiny_model, tmp_path_factory):
    """`nli(names, **settings)`: the folder of a model with these columns, made once; do not change it."""
    made = {}

    def nli(names=LAYOUTS["contradiction first"], **settings):
        key = (tuple(names), *settings.items())
        if key not in made:
            made[key] = write_model(tmp_path_factory.mktemp("nli"), tiny_model, names, **settings)
        return made[key]

    return nli


@pytest.fixture(scope="module")
def model(nli):
    return sijo.load(nli(), head="sequence-classification")


@pytest.fixture
def make(model):
    """Classifiers of the tiny model, with a template of its own words."""

    def make(labels=LABELS, **settings):
        return sijo.ZeroShotClassifier(
            labels, model, **{"hypothesis_template": "it is {}", "long_text": "truncate", **settings}
        )

    return make


def pipeline(folder):
    return transformers.pipeline("zero-shot-classification", model=str(folder), device="cpu")


def logits_of(folder, text, hypothesis):
    """What the model itself says of a pair, cut as `only_first` cuts, by transformers."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    pair = tokenizer([[text, hypothesis]], truncation="only_first", max_length=LIMIT, return_tensors="pt")
    with torch.inference_mode():
        return theirs(**pair).logits[0].tolist()


def generated(vocabulary):
    """Cases of (text, labels, template, whether each label is judged by itself), the same each time."""
    chance = np.random.default_rng(0)
    words = [word for word in vocabulary if word.isalpha() and len(word) > 1]
    phrase = lambda count, more=(): " ".join(chance.choice([*words, *more], count))  # noqa: E731
    templates = ["This example is {}.", "{}", "it is {} , is it not ?", "not {} but good"]
    for case in range(CASES):
        length = (0, 1, int(chance.integers(2, 12)), int(chance.integers(12, 30)), int(chance.integers(30, 90)))
        labels = sorted({phrase(int(chance.integers(1, 4))) for _ in range((1, 1, 2, 2, 3, 4, 7)[case % 7])})
        chance.shuffle(labels)
        yield (
            phrase(length[case % 5], ODD if case % 2 else ()) or " ",
            labels,
            templates[case // 5 % 4],
            bool(chance.integers(2)),
        )


@pytest.mark.parametrize(
    "layout, family",
    [
        ("contradiction first", "bert"),
        ("entailment first", "deberta-v2"),
        ("two columns", "bert"),
        ("odd spellings", "bert"),
    ],
)
def test_scores_are_those_of_the_pipeline(nli, tiny_model, layout, family):
    # kills: a column by its place, token types left at 0, padding that is read, a hypothesis cut or a text
    # cut elsewhere, one softmax in place of the other, labels out of order, a template of our own
    folder = nli(LAYOUTS[layout], family=family)
    vocabulary = json.loads((tiny_model / "tokenizer.json").read_text())["model"]["vocab"]
    theirs, cases = pipeline(folder), list(generated(vocabulary))
    assert sum(len(case[1]) == 1 for case in cases) > 10 and sum(case[0] == " " for case in cases) == 40
    ours = [None] * len(cases)
    # by template and mode, so that texts of all lengths with labels of their own share our batches
    ways = {(case[2], case[3] or len(case[1]) == 1) for case in cases}
    for template, alone in ways:
        numbers = [
            n for n, case in enumerate(cases) if (case[2], case[3] or len(case[1]) == 1) == (template, alone)
        ]
        clf = sijo.ZeroShotClassifier(model=str(folder), multi_label=alone, hypothesis_template=template)
        rows = clf.classify([cases[n][0] for n in numbers], [cases[n][1] for n in numbers])
        for n, row in zip(numbers, rows, strict=True):
            ours[n] = row
    gap, cut = 0.0, 0
    for (text, labels, template, alone), row in zip(cases, ours, strict=True):
        answer = theirs(text, labels, hypothesis_template=template, multi_label=alone)
        want = dict(zip(answer["labels"], answer["scores"], strict=True))
        for label, score in zip(row.labels, row.scores, strict=True):
            gap = max(gap, abs(score - want[label]))
        ranked = [want[label] for label in row.labels]
        assert all(a > b - 1e-6 for a, b in itertools.pairwise(ranked)), (text, labels)  # 1e-6: equals in float32
        cut += row.truncated
    assert gap <= 1e-5
    assert cut >= CASES / 5  # a fifth of the texts is too long by itself, others beside their labels


# --- where the pipeline errs, and what is done here


def test_contradiction_is_looked_up_and_not_taken_to_be_the_first_column(nli):
    # kills: the neutral column in contradiction's place, as in the pipeline
    folder = nli(("neutral", "entailment", "contradiction"))
    clf = sijo.ZeroShotClassifier(LABELS, str(folder), hypothesis_template="it is {}")
    text = "the sun and the sea"
    ranked = lambda answer: dict(zip(answer["labels"], answer["scores"], strict=True))  # noqa: E731
    theirs = pipeline(folder)
    single = ranked(theirs(text, LABELS, hypothesis_template="it is {}"))
    assert dict(zip(LABELS, clf.predict_proba([text])[0], strict=True)) == pytest.approx(single, abs=1e-5)
    multi = ranked(theirs(text, LABELS, hypothesis_template="it is {}", multi_label=True))
    for label, p in zip(LABELS, clf.set_params(multi_label=True).predict_proba([text])[0], strict=True):
        neutral, entailed, contradicted = logits_of(folder, text, f"it is {label}")
        assert p == pytest.approx(1 / (1 + math.exp(contradicted - entailed)), abs=1e-5)
        assert multi[label] == pytest.approx(1 / (1 + math.exp(neutral - entailed)), abs=1e-5)
        assert abs(p - multi[label]) > 0.05


def test_columns_without_a_name_are_refused_until_they_are_named(nli):
    # kills: the last column taken for entailment because nothing was found, as in the pipeline
    folder = nli(("LABEL_0", "LABEL_1", "LABEL_2"))
    for settings in ({}, {"scorer": "entailment"}):
        with pytest.raises(SettingError, match=r"LABEL_0'?, '?LABEL_1'?, '?LABEL_2.*--entailment-column"):
            sijo.ZeroShotClassifier(LABELS, str(folder), **settings).predict(TEXTS)
    named = {"entailment_column": "LABEL_2", "contradiction_column": 0}  # what the pipeline guesses
    clf = sijo.ZeroShotClassifier(LABELS, str(folder), multi_label=True, **named)
    [row] = clf.classify(["rain"])
    want = pipeline(folder)("rain", LABELS, multi_label=True)
    assert row.labels == tuple(want["labels"]) and row.scores == pytest.approx(want["scores"], abs=1e-5)
    other = clf.set_params(entailment_column=0, contradiction_column=2).classify(["rain"])[0]
    assert dict(zip(other.labels, other.scores, strict=True)) == pytest.approx(
        {label: 1 - score for label, score in zip(row.labels, row.scores, strict=True)}, abs=1e-6
    )


def test_large_logits_do_not_overflow(nli):
    # kills: exp before the largest is taken away, which is NaN in the pipeline from logits of about 88
    folder = nli(scale=-300.0)
    text = "the sun and the sea"
    logits = np.array([logits_of(folder, text, f"This example is {label}.") for label in LABELS])
    assert logits[:, 2].max() > 100
    for alone in (False, True):
        with np.errstate(all="ignore"):
            assert np.isnan(pipeline(folder)(text, LABELS, multi_label=alone)["scores"]).any()
        [got] = sijo.ZeroShotClassifier(LABELS, str(folder), multi_label=alone).predict_proba([text])
        rivals = logits[:, 0] if alone else np.full(3, logits[:, 2].max())
        raised = np.exp(np.clip(logits[:, 2] - rivals, -700, 700))
        np.testing.assert_allclose(got, raised / (raised + 1) if alone else raised / raised.sum(), atol=1e-3)


def test_a_pair_longer_than_the_model_is_cut_though_nobody_set_a_length(nli):
    # kills: places past the last one the model knows: the pipeline fails there, or reads what was never trained
    text = "goal " * 70
    failing, reading = (nli(limit=None, family=family) for family in ("bert", "deberta-v2"))
    with pytest.raises((IndexError, RuntimeError)):
        pipeline(failing)(text, LABELS)
    want = pipeline(nli(family="deberta-v2"))(text, LABELS)
    uncut = pipeline(reading)(text, LABELS)
    [row] = sijo.ZeroShotClassifier(LABELS, str(reading)).classify([text])
    assert row.truncated and row.tokens == 70
    assert dict(zip(row.labels, row.scores, strict=True)) == pytest.approx(
        dict(zip(want["labels"], want["scores"], strict=True)), abs=1e-5
    )
    assert np.abs(np.subtract(sorted(row.scores), sorted(uncut["scores"]))).max() > 1e-3


def test_a_label_longer_than_the_model_is_refused(make, nli):
    # kills: a hypothesis cut in silence, or, as in the pipeline, one too many read past the model's end
    label = "game " * 40
    with pytest.raises((IndexError, RuntimeError)):
        pipeline(nli())("rain", [label, "sea"])
    with pytest.raises(SettingError, match=r"label 'game game.*32 tokens"):
        make([label, "sea"]).predict(["rain"])


def test_an_empty_text_gets_no_label(make, nli):
    # kills: a confident label for no words at all; the pipeline refuses "" and labels " "
    with pytest.raises(ValueError, match="at least one sequence"):
        pipeline(nli())("", LABELS)
    rows = make().classify(["", " ", "rain"])
    assert [row.label is None for row in rows] == [True, True, False]
    assert make(none_label="other").classify([""])[0].label == "other"
    assert make(multi_label=True).classify([""])[0].fitting == ()


def test_token_types_are_given_though_a_tokenizer_does_not_list_them(nli):
    # kills: text and hypothesis told apart by nothing: the pipeline's answer under a generic tokenizer class
    folder = nli(tokenizer_class="PreTrainedTokenizerFast")
    clf = sijo.ZeroShotClassifier(LABELS, str(folder))
    want, blurred = (pipeline(where)("the sea", LABELS)["scores"] for where in (nli(), folder))
    assert clf.classify(["the sea"])[0].scores == pytest.approx(want, abs=1e-5)
    assert np.abs(np.subtract(want, blurred)).max() > 1e-3


# --- the formulas, in plain numbers


def stub(columns, answers):
    """An engine whose model says what `said` holds for each hypothesis, whatever the text."""

    def score_pairs(firsts, seconds):
        logits = np.array([answers[second] for second in seconds], np.float32)
        ones = np.ones(len(seconds), np.int64)
        return Logits(ones, ones, ones > 1, logits)

    read = sijo.load("all-minilm-l6-v2")
    model = SimpleNamespace(labels=columns, tokenizer=read.tokenizer, sentence=read.sentence, source=None)
    return SimpleNamespace(model=model, score_pairs=score_pairs)


@pytest.mark.parametrize(
    "columns, logits, settings, want",
    [
        (LAYOUTS["contradiction first"], [(-1, 0, 2), (0, 1, 1), (2, 0, -1)], {}, [0.705385, 0.259496, 0.035119]),
        (
            LAYOUTS["contradiction first"],
            [(-1, 0, 2), (0, 1, 1), (2, 0, -1)],
            {"multi_label": True},
            [0.952574, 0.731059, 0.047426],
        ),
        # e - c of 3, 1 and -3
        (
            LAYOUTS["contradiction first"],
            [(-1, 0, 2), (0, 1, 1), (2, 0, -1)],
            {"entailment_score": "margin"},
            [0.878878, 0.118943, 0.002179],
        ),
        (("entailment",), [(1.0,), (-1.0,)], {"entailment_score": "margin"}, [0.880797, 0.119203]),
        (LAYOUTS["two columns"], [(1.5, -0.5)], {"multi_label": True}, [0.880797]),
        (LAYOUTS["two columns"], [(1.5, -0.5)], {"none_label": "other"}, [0.880797, 0.119203]),
        (("neutral", "entailment", "contradiction"), [(0.5, 1, -2)], {"multi_label": True}, [0.952574]),
        (LAYOUTS["contradiction first"], [(0, 0, 100), (0, 0, 99)], {}, [0.731059, 0.268941]),
        (("entailment",), [(1.0,), (-1.0,)], {"multi_label": True}, [0.731059, 0.268941]),
        # none: e - c of -3 and -1 against 0
        (("entailment", "no"), [(0, 3), (5, 6)], {"none_label": "other"}, [0.035119, 0.259496, 0.705385]),
        (LAYOUTS["two columns"], [(2, 0), (0, 0)], {"multi_label": True, "temperature": 2.0}, [0.731059, 0.5]),
        (LAYOUTS["two columns"], [(2, 0)], {"multi_label": True, "none_threshold": 1.0}, [0.731059]),
    ],
)
def test_scores_by_hand(columns, logits, settings, want):
    # kills: neutral in the sum, logits of other labels in a label's own, an overflow, a temperature that is not 1,
    # a margin from neutral or one that labels do not compete by
    names = ["a", "b", "c"][: len(logits)]
    answers = {f"This example is {n}.": row for n, row in zip(names, logits, strict=True)}
    choice = {name: value for name, value in settings.items() if name != "entailment_score"}
    scorer = EntailmentScorer(stub(columns, answers), entailment_score=settings.get("entailment_score", "logit"))
    labeller = Labeller(scorer, LabelChoice(**choice), LabelSet.of(names))
    [(probabilities, _)] = labeller.judged(["some text"])
    np.testing.assert_allclose(probabilities[0], want, atol=1e-6)


def test_what_all_labels_have_more_changes_nothing():
    # kills: a score that depends on where a head's logits lie, not on how they differ
    logits = {"a": (-1.0, 0.0, 2.0), "b": (0.0, 1.0, 1.0)}
    more = {name: (row[0], row[1], row[2] + 50) for name, row in logits.items()}
    columns, labels = LAYOUTS["contradiction first"], LabelSet.of(list(logits))
    ours = [
        Labeller(EntailmentScorer(stub(columns, answers)), LabelChoice(template="{}"), labels)
        for answers in (logits, more)
    ]
    (first, _), (second, _) = (next(labeller.judged(["some text"])) for labeller in ours)
    np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize(
    "labels, named, want",
    [
        (("contradiction", "neutral", "entailment"), {}, (2, 0)),
        (("ENTAILMENT", "NEUTRAL", "CONTRADICTION"), {}, (0, 2)),
        (("Entailed", "contradict", "unknown"), {}, (0, 1)),
        (("not_entailment", "entailment"), {}, (1, 0)),
        (("Non-Entailment", "neutral", " entailment "), {}, (2, 0)),
        (("yes", "no"), {}, (0, 1)),
        (("false", "true", "maybe"), {}, (1, 0)),
        (("entailment", "neutral"), {}, (0, 1)),  # of two, the other one is the rival
        (("entailment", "LABEL_1"), {}, (0, 1)),
        (("entailment",), {}, (0, None)),
        (("LABEL_0",), {"entailment": 0}, (0, None)),
        (("LABEL_0", "LABEL_1"), {"entailment": "LABEL_1"}, (1, 0)),
        (("LABEL_0", "LABEL_1", "LABEL_2"), {"entailment": "2", "contradiction": 1}, (2, 1)),
        (("2", "1", "0"), {"entailment": "2", "contradiction": "0"}, (0, 2)),  # a name before a number
        (("entailment", "neutral", "refuted"), {"contradiction": "refuted"}, (0, 2)),
        (("entailment", "yes", "contradiction"), {"entailment": "yes"}, (1, 2)),
    ],
)
def test_columns_are_found(labels, named, want):
    # kills: a column by its place, "not_entailment" read as entailment, case or punctuation that counts
    assert EntailmentColumns.find(labels, **named) == EntailmentColumns(*want)


@pytest.mark.parametrize(
    "labels, named, words",
    [
        (("LABEL_0", "LABEL_1", "LABEL_2"), {}, "none of them says entailment.*rival by contradiction_column"),
        (("LABEL_0", "LABEL_1"), {}, "none of them says entailment"),
        (("LABEL_0",), {}, "none of them says entailment"),
        (("positive", "negative"), {}, r"\['positive', 'negative'\].*--entailment-column"),
        (("contradiction", "neutral"), {}, "none of them says entailment"),
        (("entailment", "neutral", "refuted"), {}, "none of them says contradiction.*--contradiction-column"),
        (("entailment", "contradiction", "not_entailment"), {}, "all say contradiction"),
        (("entailment", "yes", "no"), {}, "all say entailment"),
        (("a", "b", "c"), {"entailment": 2}, "none of them says contradiction"),
        (("entailment", "neutral"), {"entailment": "entailmnt"}, "did you mean 'entailment'"),
        (("a", "b"), {"entailment": 2}, "number from 0 to 1"),
        (("a", "b"), {"entailment": -1}, "number from 0 to 1"),
        (("a", "b"), {"entailment": True}, "number from 0 to 1"),
        (("a", "b"), {"entailment": "²"}, "number from 0 to 1"),
        (("a", "b"), {"entailment": 1, "contradiction": "b"}, "name two columns"),
        (("entailment",), {"contradiction": 0}, "leave the contradiction column out"),
    ],
)
def test_columns_that_cannot_be_told_are_refused(labels, named, words):
    # kills: a guess, and a refusal that leaves the person without a way out
    with pytest.raises(SettingError, match=words):
        EntailmentColumns.find(labels, **named)


# --- what must not change the answers, and what must


def test_order_neighbours_and_duplicates_change_nothing(make, model, monkeypatch):
    # kills: scores in another label's place, another text's padding, pairs that share a row
    base = make().predict_proba(TEXTS)
    scorer, choice = EntailmentScorer(engine_of(model, long_text="truncate")), LabelChoice(template="it is {}")
    for order in itertools.permutations(range(3)):
        scores = [
            Labeller(scorer, choice, LabelSet.of(names)).scored(TEXTS)
            for names in (LABELS, [LABELS[i] for i in order])
        ]
        (want, _), (permuted, _) = map(next, scores)
        np.testing.assert_array_equal(permuted, want[:, order])  # to the last bit
    read, inner = [], TorchBackend.logits
    with monkeypatch.context() as patched:
        patched.setattr(
            TorchBackend, "logits", lambda own, batch: read.append(batch.input_ids) or inner(own, batch)
        )
        for texts in (TEXTS, TEXTS[::-1]):
            np.testing.assert_array_equal(make().predict_proba(texts), base[:: 1 if texts is TEXTS else -1])
    assert [ids.tolist() for ids in read[: len(read) // 2]] == [ids.tolist() for ids in read[len(read) // 2 :]]
    alone = np.concatenate([make().predict_proba([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, base, atol=1e-6)
    np.testing.assert_array_equal(make().predict_proba(TEXTS * 2), np.concatenate([base, base]))
    scorer = EntailmentScorer(engine_of(model, token_budget=1, long_text="truncate"))
    one_by_one = Labeller(scorer, choice, LabelSet.of(LABELS))
    np.testing.assert_allclose(np.concatenate([p for p, _ in one_by_one.judged(TEXTS)]), base, atol=1e-6)


def test_another_label_leaves_the_others_as_they_were(make):
    # kills: one softmax for labels that are judged by themselves, and a rival of its own for one that is not
    base, wider = (make(labels).predict_proba(TEXTS) for labels in (LABELS, [*LABELS, "rain"]))
    np.testing.assert_allclose(wider[:, :2] / wider[:, 1:3], base[:, :2] / base[:, 1:3], rtol=1e-5)
    base, wider = (make(labels, multi_label=True).predict_proba(TEXTS) for labels in (LABELS, [*LABELS, "rain"]))
    np.testing.assert_allclose(wider[:, :3], base, atol=1e-6)
    np.testing.assert_allclose(make(LABELS[:1], multi_label=True).predict_proba(TEXTS), base[:, :1], atol=1e-6)


def test_only_the_text_is_cut_and_every_cut_is_told(make, model, monkeypatch):
    # kills: a hypothesis that loses its end, a cut by the longest label that the row keeps quiet
    read = []
    inner = TorchBackend.logits
    monkeypatch.setattr(
        TorchBackend, "logits", lambda self, batch: read.append(batch.input_ids) or inner(self, batch)
    )
    long = "game of the old land"
    rows = make([long, "sea"]).classify(["sun " * 27, "sun " * 23, "sun " * 22])
    # 32 places, 3 of them special: 26 tokens of text fit beside "it is sea", 22 beside the longer one
    assert [(row.tokens, row.truncated, row.windows) for row in rows] == [
        (27, True, 1),
        (23, True, 1),
        (22, False, 1),
    ]
    ends = {tuple(ids[ids != 0].tolist()[-4:]) for batch in read for ids in batch}
    [short] = model.tokenizer.windows(["it is sea"])[0]
    [longer] = model.tokenizer.windows([f"it is {long}"])[0]
    assert ends == {tuple(short[-4:]), tuple(longer[-4:])}


def test_predict_warns_of_a_cut_that_nobody_asked_for(make):
    # kills: an array of answers to the first lines of a long text, with nothing said
    for answer in ("predict", "predict_proba"):
        with pytest.warns(UserWarning, match="1 of the texts did not fit"):
            getattr(make(long_text=None), answer)(TEXTS)
        with warnings.catch_warnings(action="error"):
            getattr(make(), answer)(TEXTS)
            getattr(make(long_text=None), answer)(TEXTS[:3])


def test_none_wins_exactly_where_every_label_is_more_contradicted_than_entailed(make):
    # kills: none held against entailment's logit alone, which has no zero
    at = {"none_threshold": -6.0}  # of the tiny model, whose logits mean nothing
    alone = make(multi_label=True, **at).predict_proba(TEXTS)
    assert 0 < (alone < 0.5).all(1).sum() < len(TEXTS)
    none = make(none_label="other", **at).predict(TEXTS) == "other"
    assert none.tolist() == (alone < 0.5).all(1).tolist()
    single = make(["sea"], none_label="other").predict_proba(TEXTS)
    np.testing.assert_allclose(single[:, 0], make(["sea"], multi_label=True).predict_proba(TEXTS)[:, 0], atol=1e-12)


def test_the_best_of_a_labels_sentences_counts(make):
    # kills: descriptions left out, averaged, or put in the template
    descriptions = {"sea": "we cook bread", "bank": ["not for money", "the tax"]}
    phrases = {"sea": ["it is sea", "we cook bread"], "bank": ["it is bank", "not for money", "the tax"]}
    each = make([p for group in phrases.values() for p in group], hypothesis_template="{}", multi_label=True)
    p = each.predict_proba(TEXTS)
    want = np.stack([p[:, :2].max(1), p[:, 2:].max(1)], axis=1)
    np.testing.assert_allclose(make(descriptions, multi_label=True).predict_proba(TEXTS), want, atol=1e-6)


def test_labels_by_row_cost_only_their_own_pairs(make, model, monkeypatch):
    # kills: every text of a group read with every label of the group
    sets = [["sea", "bank"], ["game", "rain", "oil"], ["bank", "sea"], ["tax", "sun"], ["sea", "bank"]]
    hypotheses = []
    inner = Engine.score_pairs
    monkeypatch.setattr(Engine, "score_pairs", lambda self, a, b: hypotheses.extend(b) or inner(self, a, b))
    rows = make(labels=None).classify(TEXTS, sets)
    assert len(hypotheses) == sum(map(len, sets))
    for text, labels, row in zip(TEXTS, sets, rows, strict=True):
        [want] = make(labels).classify([text])
        assert row.labels == want.labels and row.scores == pytest.approx(want.scores, abs=1e-6)
    with pytest.raises(SettingError, match="nothing to choose between"):
        make().classify(TEXTS[:1], [["sea"]])


def test_a_fitted_temperature_is_not_used_for_other_scores(make):
    # kills: a none score fitted to bare logits held against differences of logits
    clf = make(temperature="fit").fit(TEXTS, ["sea", "bank", "game", "game", "sea"])
    assert clf.used_calibration.origin == "fit on 5 texts"
    with pytest.raises(SettingError, match=r"call fit.* again"):
        clf.set_params(multi_label=True).predict(TEXTS)
    assert make().used_calibration.temperature == 1 and make().used_calibration.none_score == 0
    assert "not fitted" in make().used_calibration.origin


# --- which scorer, and which model


def test_auto_takes_the_scorer_that_suits_the_model(nli, tiny_model, model):
    # kills: an entailment model labelled by its vectors, a sentence encoder refused
    assert open_scorer("auto", str(nli())).name == "entailment"
    assert open_scorer("auto", str(tiny_model)).name == "embedding"
    assert open_scorer("embedding", str(nli())).name == "embedding"
    assert open_scorer("auto", model).engine.model is model
    bare = sijo.load(nli())  # the encoder alone: opened again, with the head its folder holds
    assert open_scorer("auto", bare).name == open_scorer("entailment", bare).name == "entailment"
    assert open_scorer("embedding", bare).engine.model is bare
    assert open_scorer("auto", str(nli(("a", "b"))), entailment_column="b").columns == EntailmentColumns(1, 0)
    assert open_scorer("auto", str(nli(("a", "b")))).name == "trained"
    assert set(SCORERS) == {"embedding", "cloze", "entailment", "trained", "replaced", "likelihood", "one_pass"}


def test_auto_says_what_it_took_and_why(nli, tiny_model, sijo_cli, blanks):
    # kills: a choice that nobody is told of, a reason of another scorer, words that --quiet does not silence
    for folder, settings, want in (
        (nli(), {}, "entailment: its head has a column named entailment"),
        (nli(LAYOUTS["odd spellings"]), {}, "entailment: its head has a column named ENTAILMENT"),
        (nli(("a", "b")), {"entailment_column": "b"}, "entailment: entailment_column= is an option of its own"),
        (nli(("a", "b")), {}, "trained: its head was trained on labels, none of them called entailment"),
        (tiny_model, {}, "embedding: the model was trained to give sentence vectors"),
        (blanks("bert", "mlm"), {}, "embedding: a BERT's vectors labelled three sets"),
        (blanks("electra", "rtd"), {}, "replaced: its rtd head tells replaced tokens from a text's own"),
    ):
        clf = sijo.ZeroShotClassifier(["a", "b"], str(folder), **settings)
        assert str(clf.scorer_).startswith(want)
        assert clf.set_params(scorer="embedding", entailment_column=None).scorer_.reason == "as asked"
        ran = sijo_cli("inspect", folder, "--format", "table")
        if not settings:
            assert f"auto takes {want.split(':')[0]}" in ran.out.decode()
        options = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
        told = ("classify", "--model", folder, "--labels", "a,b", *options)
        ran = sijo_cli(*told, stdin=b"rain\n")
        assert ran.code == 0 and f"scorer {want}" in ran.err, ran.err
        assert "scorer " not in sijo_cli(*told, "--quiet", stdin=b"rain\n").err
    ran = sijo_cli("inspect", nli(("positive", "negative")), "--format", "json")
    assert ran.rows()[0]["scorer"]["auto"] == "trained"


def test_margins_are_logits_of_the_head_less_its_rivals(nli, sijo_cli):
    # kills: a margin from another column, an option of the command that changes nothing
    folder = nli(LAYOUTS["entailment first"])
    clf = sijo.ZeroShotClassifier(LABELS, str(folder), entailment_score="margin", hypothesis_template="it is {}")
    for text in TEXTS:
        logits = [logits_of(folder, text, f"it is {label}") for label in LABELS]
        raised = [math.exp(entailed - contradicted) for entailed, _, contradicted in logits]
        [got] = clf.set_params(long_text="truncate").predict_proba([text])
        assert got == pytest.approx([value / math.fsum(raised) for value in raised], abs=1e-5)
    told = ("classify", "--model", folder, "--labels", ",".join(LABELS), "--hypothesis-template", "it is {}")
    [row] = sijo_cli(*told, "--entailment-score", "margin", stdin=b"rain\n").rows()
    assert row["score"] == pytest.approx(max(clf.predict_proba(["rain"])[0]), abs=1e-6)
    with pytest.raises(SettingError, match="neither 'logit'"):
        clf.set_params(entailment_score="best").predict(["rain"])


@pytest.mark.parametrize("names", [("negative", "positive"), ("no", "yes"), ("LABEL_0",)])
def test_auto_refuses_labels_for_a_head_that_may_be_for_something_else(nli, names):
    # kills: a sentiment or yes/no head taken for entailment, or its encoder compared in silence
    with pytest.raises(SettingError, match=r"--entailment-column.*--scorer embedding"):
        sijo.ZeroShotClassifier(LABELS, str(nli(names))).predict(["rain"])


def test_settings_that_do_not_suit_the_scorer_are_refused(nli, tiny_model, make, model):
    # kills: a setting that is taken and has no effect
    for settings, words in (
        ({"long_text": "windows"}, "nothing the entailment scorer can do"),
        ({"long_text": "cut"}, "neither 'windows' nor"),
        ({"scorer": "entailmnt"}, "did you mean 'entailment'"),
        ({"scorer": "embedding", "entailment_column": 1}, "leave one of the two out"),
    ):
        with pytest.raises(SettingError, match=words):
            make(**settings).predict(TEXTS)
    with pytest.raises(SettingError, match="sequence-classification"):
        open_scorer("entailment", str(tiny_model))
    with pytest.raises(SettingError, match="opened without a head"):
        engine_of(sijo.load(nli())).score_pairs(["rain"], ["sea"])


# --- the cache


def test_a_label_added_costs_only_its_own_pairs(make, model, tmp_path, monkeypatch):
    # kills: a cache by text alone, scores kept in place of logits, a text's count lost on the way
    read = []
    inner = model.tokenizer.pairs
    monkeypatch.setattr(model.tokenizer, "pairs", lambda a, b: read.append(len(a)) or inner(a, b))
    before = make(LABELS, cache=tmp_path).classify(TEXTS)
    wider = make([*LABELS, "rain"], cache=tmp_path, multi_label=True).classify(TEXTS)
    assert read == [len(TEXTS) * len(LABELS), len(TEXTS)]
    assert make(LABELS, cache=tmp_path).classify(TEXTS) == before
    assert len(read) == 2
    for row, fresh in zip(wider, make([*LABELS, "rain"], multi_label=True).classify(TEXTS), strict=True):
        assert row.labels == fresh.labels and row.scores == pytest.approx(fresh.scores, abs=1e-6)
        assert (row.tokens, row.truncated) == (fresh.tokens, fresh.truncated)


def test_the_cache_tells_pairs_and_models_apart(make, nli, tmp_path):
    # kills: "a b" with "c" served for "a" with "b c", a pair for a text, one model's logits for another's
    keys = [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", ""), "abc"]
    store = VectorCache(tmp_path, fingerprint="a")
    store.put({key: Entry(np.full(3, n, np.float32), n, 1, False) for n, key in enumerate(keys)})
    assert [store.get([key])[key].tokens for key in keys] == [0, 1, 2, 3, 4]
    rows = [make(cache=tmp_path).classify(["rain"])[0]]
    other = sijo.load(nli(scale=-300.0), head="sequence-classification")
    rows.append(make(cache=tmp_path).set_params(model=other).classify(["rain"])[0])
    rows.append(make(cache=tmp_path, scorer="embedding").classify(["rain"])[0])
    assert len({row.scores for row in rows}) == 3


def test_each_pair_is_read_once(model, monkeypatch):
    # kills: a pass through the model for each copy of a text, and a tokenizer asked pair by pair
    engine, read, counts = engine_of(model, long_text="truncate"), [], []
    monkeypatch.setattr(
        engine, "_logits", lambda ids, types, inner=engine._logits: read.extend(ids) or inner(ids, types)
    )
    monkeypatch.setattr(
        model.tokenizer, "pairs", lambda a, b, inner=model.tokenizer.pairs: counts.append(len(a)) or inner(a, b)
    )
    got = engine.score_pairs(["sea", "sun", "sea"] * 50, ["it is rain"] * 150)
    assert len(read) == 2 and counts == [2] and got.logits.shape == (150, 3)
    np.testing.assert_array_equal(got.logits[0], got.logits[2])
    assert engine.score_pairs([], []).logits.shape == (0, 3)


# --- the command line


def test_the_command_labels_by_entailment(sijo_cli, make, nli):
    # kills: a command that opens the encoder alone, a cut that the summary keeps quiet, half a class's settings
    arguments = ["classify", "--model", nli(), "--labels", "sea,bank,game", "--hypothesis-template", "it is {}"]
    ran = sijo_cli(*arguments, "--all-scores", stdin="\n".join(TEXTS).encode())
    assert ran.code == 0, ran.err
    for row, want in zip(ran.rows(), make().classify(TEXTS), strict=True):
        assert (row["label"], row["truncated"]) == (want.label, want.truncated)
        assert row["score"] == pytest.approx(want.score, abs=1e-6)
    assert "texts cut to fit the model's 32 tokens together with a label's sentence: 1" in ran.err
    assert "modules.json" not in ran.err
    ran = sijo_cli(*arguments, "--scorer", "embedding", "--quiet", stdin=b"rain\n")
    assert ran.code == 0 and ran.rows()[0]["score"] != pytest.approx(make().classify(["rain"])[0].score)
    sijo_cli(*arguments, "--long-text", "windows", stdin=b"rain\n").must_say(2, "entailment scorer", "leave it out")
    sijo_cli(*arguments[:3], "--labels", "game " * 40 + ",sea", stdin=b"rain\n").must_say(
        2, "game game", "32 tokens"
    )


def test_columns_are_named_on_the_command_line(sijo_cli, nli, write, tmp_path):
    # kills: options that are not handed on, and one output with answers by two columns
    path, output = write("a.csv", "text\n" + "the sea\n" * 200 + "a,b\n"), tmp_path / "out.csv"
    arguments = ["classify", path, "--model", nli(("LABEL_0", "LABEL_1", "LABEL_2")), "--labels", "sea,bank"]
    sijo_cli(*arguments).must_say(2, "LABEL_2", "--entailment-column", "--scorer embedding")
    arguments += ["--output", output, "--contradiction-column", "LABEL_0"]
    sijo_cli(*arguments, "--entailment-column", "LABEL_2").must_say(3, "line 202")
    write("a.csv", "text\n" + "the sea\n" * 200)
    sijo_cli(*arguments, "--entailment-column", "1", "--resume").must_say(2, "entailment_column")
    ran = sijo_cli(*arguments, "--entailment-column", "2", "--resume")
    assert ran.code == 0, ran.err
    assert len(output.read_text().splitlines()) == 201


def test_evaluate_measures_by_entailment(sijo_cli, nli, write):
    # kills: an evaluation that does not say what it measured, or that texts were cut
    path = write("a.csv", "text,label\n" + "".join(f"{text},{LABELS[n % 3]}\n" for n, text in enumerate(TEXTS)))
    ran = sijo_cli("evaluate", "--data", path, "--model", nli(), "--quiet", "--format", "json")
    assert ran.code == 0, ran.err
    [record] = ran.rows()
    assert (record["scorer"], record["texts_cut"], record["rows"]) == ("entailment", 1, 5)
    assert (record["temperature"], record["none_score"]) == (1, 0) and "not fitted" in record["calibration"]
    ran = sijo_cli("evaluate", "--data", path, "--model", nli(), "--format", "table")
    assert "1 of the texts" in ran.out.decode()


def test_a_shorter_length_of_the_tokenizer_is_kept(nli):
    # kills: a text cut at the network's places though its tokenizer says fewer, as the pipeline reads them
    folder = nli(limit=24)
    [row] = sijo.ZeroShotClassifier(LABELS, str(folder)).classify(["goal sea " * 10])
    want = pipeline(folder)("goal sea " * 10, LABELS)
    assert row.truncated
    assert dict(zip(row.labels, row.scores, strict=True)) == pytest.approx(
        dict(zip(want["labels"], want["scores"], strict=True)), abs=1e-5
    )
