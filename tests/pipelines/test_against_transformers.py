"""`sijo.pipeline` beside transformers' own, argument by argument, on models that the peer saved.

Each test names the fault it is to catch.
"""

import numpy as np
import pytest
import torch
import transformers

import sijo
from battery import scramble
from sijo.errors import SettingError, TextError
from sijo.models import tokenizer_style
from sijo.tokenizers.train import train_tokenizer

TEXTS = ["a late goal", "The bank of the old town, and rain at home", "비가 오는 날에는 바다로 간다", "x"]
LONG = "the sea and the sun " * 30
LABELS = ["sea", "old town", "바다", "goal in the rain"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`folder(family, labels, ...)`: a classifier saved by transformers, every weight moved; do not change it."""
    words = [*TEXTS, *map(str.lower, TEXTS), LONG, *LABELS, "This example is about not. 이 글은"] * 3
    tokenizer, _ = train_tokenizer(words, tokenizer_style("wordpiece"), vocab_size=300, cased=True)
    made = {}

    def make(family="bert", labels=("contradiction", "neutral", "entailment"), problem=None):
        if (key := (family, labels, problem)) in made:
            return made[key]
        sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20, "hidden_size": 16}
        if family == "distilbert":
            sizes = {"n_layers": 2, "n_heads": 2, "hidden_dim": 20, "dim": 16}
        names = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
        config = transformers.AutoConfig.for_model(
            family,
            vocab_size=tokenizer.vocab_size,
            max_position_embeddings=48,
            problem_type=problem,
            **sizes,
            **names,
        )
        path = tmp_path_factory.mktemp(family)
        model = transformers.AutoModelForSequenceClassification.from_config(config)
        scramble(model, 0.3).save_pretrained(path)
        tokenizer.save(path)
        settings = {"model_max_length": 48, "tokenizer_class": "PreTrainedTokenizerFast"}
        theirs = transformers.AutoTokenizer.from_pretrained(path, **settings)
        theirs.save_pretrained(path)
        made[key] = path
        return path

    return make


@pytest.fixture(scope="module")
def both(folder):
    """`both(task, ...)`: the peer's pipeline and ours, over one folder."""

    def make(task, *kind, ours=None, **arguments):
        path = folder(*kind)
        theirs = transformers.pipeline(task, model=str(path), device="cpu", **arguments)
        return theirs, sijo.pipeline(task, model=str(path), device="cpu", **(arguments if ours is None else ours))

    return make


def same(got, want, path="answer"):
    """Plain values of one shape, with the same words and the same numbers."""
    assert type(got) is type(want), path
    if isinstance(want, dict):
        assert list(got) == list(want), path
        for name in want:
            same(got[name], want[name], f"{path}.{name}")
    elif isinstance(want, list):
        assert len(got) == len(want), path
        for number, (one, other) in enumerate(zip(got, want, strict=True)):
            same(one, other, f"{path}[{number}]")
    elif isinstance(want, float):
        assert got == pytest.approx(want, abs=1e-5), path
    else:
        assert got == want, path


ZERO_SHOT = {
    "a list": {"candidate_labels": LABELS},
    "one text with commas": {"candidate_labels": "sea, old town,바다,, goal "},
    "one label": {"candidate_labels": ["sea"]},
    "each by itself": {"candidate_labels": LABELS, "multi_label": True},
    "a template": {"candidate_labels": LABELS, "hypothesis_template": "the {} is here"},
    "one in Korean": {"candidate_labels": LABELS, "hypothesis_template": "이 글은 {}", "multi_label": True},
    "a place by number": {"candidate_labels": LABELS, "hypothesis_template": "not {0}."},
    "a label twice": {"candidate_labels": ["sea", "goal", "sea"]},
    "a label in braces": {"candidate_labels": ["{sea}", "goal"]},
}
COLUMNS = [("contradiction", "neutral", "entailment"), ("entailment", "neutral", "contradiction")]
COLUMNS += [("entailment", "not_entailment")]


@pytest.mark.parametrize("arguments", ZERO_SHOT)
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_zero_shot_is_that_of_transformers(family, arguments, both):
    # kills: a softmax over the wrong columns, commas taken for words, another template, another order of labels
    theirs, ours = both("zero-shot-classification", family)
    given = ZERO_SHOT[arguments]
    for inputs in (TEXTS[0], TEXTS, LONG, [LONG, TEXTS[2]]):
        same(ours(inputs, **given), theirs(inputs, **given))


@pytest.mark.parametrize("columns", COLUMNS, ids=str)
@pytest.mark.parametrize("several", [True, False])
def test_columns_may_stand_in_any_order(columns, several, both):
    # kills: entailment looked for in a place, and its rival in another
    theirs, ours = both("zero-shot-classification", "bert", columns)
    given = {"candidate_labels": LABELS, "multi_label": several}
    same(ours(TEXTS, **given), theirs(TEXTS, **given))


@pytest.mark.parametrize("several", [True, False])
def test_columns_without_names_can_be_named(several, folder, both):
    # kills: an error that advises what the call does not take; columns taken in the order of their names
    labels = ("LABEL_0", "LABEL_1", "LABEL_2")
    columns = {"contradiction_column": "LABEL_0", "entailment_column": 2}
    theirs, ours = both("zero-shot-classification", "bert", labels, ours=columns)
    given = {"candidate_labels": LABELS, "multi_label": several}
    same(ours(TEXTS, **given), theirs(TEXTS, **given))
    with pytest.raises(SettingError, match="was trained to choose" if several else "entailment_column"):
        sijo.pipeline("zero-shot-classification", folder("bert", labels))(TEXTS, **given)
    with pytest.raises(SettingError, match="entailment_column= is for zero-shot"):
        sijo.pipeline("text-classification", folder("bert", labels), entailment_column=2)


@pytest.mark.parametrize("truncation", [False, "longest_first", "only_second", "do_not_truncate"])
def test_what_need_not_be_cut_may_be_forbidden_to_be(truncation, both):
    # kills: texts that fit refused for an argument that changes nothing of them; an argument passed over
    theirs, ours = both("zero-shot-classification", "bert")
    given = {"candidate_labels": LABELS, "truncation": truncation}
    same(ours(TEXTS, **given), theirs(TEXTS, **given))
    with pytest.raises(TextError, match=r"1 of the texts do not fit .* truncation="):
        ours([TEXTS[0], LONG], **given)
    with pytest.raises(SettingError, match="truncation='some'"):
        ours(TEXTS, **given | {"truncation": "some"})


def test_a_text_that_was_cut_is_told_of(both, recwarn):
    # kills: answers for the start of a text, without a word
    ours = both("zero-shot-classification", "bert")[1]
    ours(TEXTS, LABELS)
    assert not [one for one in recwarn if "only their start" in str(one.message)]
    ours([LONG, TEXTS[0]], LABELS)
    assert [str(one.message)[:16] for one in recwarn if "only their start" in str(one.message)] == [
        "1 of the texts d"
    ]


def test_zero_shot_calls_in_every_form(both):
    # kills: labels as the second argument, sequences by name, defaults of the constructor, streams
    given = {"candidate_labels": LABELS, "multi_label": True, "hypothesis_template": "the {}."}
    theirs, ours = both("zero-shot-classification", "bert", **given)
    same(ours(TEXTS[0]), theirs(TEXTS[0]))
    same(ours(TEXTS, multi_label=False), theirs(TEXTS, multi_label=False))
    same(ours(TEXTS[0], ["sea", "goal"]), theirs(TEXTS[0], ["sea", "goal"]))
    same(ours(sequences=TEXTS), theirs(sequences=TEXTS))
    want = list(theirs(text for text in TEXTS))
    stream = ours(text for text in TEXTS)
    assert not isinstance(stream, list)
    same(list(stream), want)


@pytest.mark.parametrize(
    ("inputs", "given"),
    [
        (TEXTS[0], {"candidate_labels": []}),
        (TEXTS[0], {"candidate_labels": ""}),
        ("", {"candidate_labels": LABELS}),
        (TEXTS[0], {"candidate_labels": LABELS, "hypothesis_template": "no place"}),
    ],
)
def test_what_no_answer_fits_is_a_value_error_in_both(inputs, given, both):
    # kills: an answer for no labels, or for a template that leaves labels out
    for pipe in both("zero-shot-classification"):
        with pytest.raises(ValueError, match=r"label|text|template"):
            pipe(inputs, **given)


KINDS = {
    "three": (("bad", "so so", "좋음"), None),
    "one": (("score",), None),
    "several at once": (("a", "b", "c"), "multi_label_classification"),
    "a number": (("value",), "regression"),
}
CALLS = [
    {},
    {"top_k": None},
    {"top_k": 1},
    {"top_k": 2},
    {"top_k": 99},
    {"top_k": 0},
    {"function_to_apply": "sigmoid"},
    {"function_to_apply": "softmax", "top_k": 2},
    {"function_to_apply": "none"},
    {"function_to_apply": "SIGMOID"},
]
PAIR = {"text": TEXTS[1], "text_pair": TEXTS[0]}


@pytest.mark.parametrize("kind", KINDS)
def test_text_classification_is_that_of_transformers(kind, both):
    # kills: another function by the kind of head, another shape for one text or for a list, another order
    theirs, ours = both("text-classification", "bert", *KINDS[kind])
    for call in CALLS:
        for inputs in (TEXTS[0], TEXTS, [TEXTS[0]], {"text": TEXTS[1]}, PAIR, [PAIR, PAIR | {"text": "x"}]):
            same(ours(inputs, **call), theirs(inputs, **call))
    same(ours([[[TEXTS[0], "x"]]]), theirs([[[TEXTS[0], "x"]]]))
    same(list(ours(iter(TEXTS))), [theirs(text)[0] for text in TEXTS])
    same(list(ours(text for text in TEXTS)), list(theirs(text for text in TEXTS)))


@pytest.mark.parametrize(
    "call",
    [
        {"truncation": True},
        {"truncation": True, "max_length": 9},
        {"truncation": "longest_first", "max_length": 8},
        {"max_length": 12},
        {"truncation": True, "max_length": 9, "padding": "max_length"},
        {"truncation": True, "padding": True, "max_length": 500},
        {"truncation": True, "max_length": 9, "add_special_tokens": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_texts_are_cut_alike(call, family, both):
    # kills: the end of another text cut, another length, padding that is read
    theirs, ours = both("text-classification", family, ("a", "b"))
    call = {"max_length": 48, **call} if call.get("max_length", 0) > 48 else call
    if call.get("max_length") == 500:
        call = call | {"max_length": 48}
    for text, other in ((LONG, None), (LONG, "x"), ("x", LONG), (LONG, LONG + " x"), (TEXTS[1], TEXTS[1])):
        inputs = {"text": text} if other is None else {"text": text, "text_pair": other}
        same(ours(inputs, top_k=None, **call), theirs(inputs, top_k=None, **call))


@pytest.mark.parametrize("truncation", ["only_first", "only_second"])
def test_one_of_two_texts_is_cut_alike(truncation, both):
    # kills: the wrong one of the two cut
    theirs, ours = both("text-classification", "bert", ("a", "b"))
    inputs = {"text": LONG, "text_pair": "x"} if truncation == "only_first" else {"text": "x", "text_pair": LONG}
    call = {"truncation": truncation, "max_length": 10, "top_k": None}
    same(ours(inputs, **call), theirs(inputs, **call))


@pytest.mark.parametrize("arguments", [{"top_k": 2}, {"top_k": None}, {"function_to_apply": "none"}], ids=str)
def test_arguments_of_the_constructor_are_those_of_calls(arguments, both):
    # kills: a default that is passed over, or whose answers have another shape than a call's
    theirs, ours = both("sentiment-analysis", "bert", ("a", "b", "c"), **arguments)
    for inputs in (TEXTS[0], TEXTS[:2], {"text": "x"}):
        same(ours(inputs), theirs(inputs))
        same(ours(inputs, top_k=1), theirs(inputs, top_k=1))


def test_all_scores_are_told_as_version_4_did(both):
    # kills: an argument of old code that is passed over
    theirs, ours = both("text-classification", "bert", ("a", "b", "c"))
    want = sorted(theirs(TEXTS[0], top_k=None), key=lambda row: row["label"])
    same(ours(TEXTS[0], return_all_scores=True), [want])
    same(ours(TEXTS[:1], return_all_scores=True), [want])
    same(ours(TEXTS[0], return_all_scores=False), theirs(TEXTS[0]))


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_feature_extraction_is_that_of_transformers(family, both):
    # kills: states of padding, a missing dimension, a tensor for a list
    theirs, ours = both("feature-extraction", family)
    cut = {"truncation": True, "max_length": 7}
    calls = (
        {},
        {"truncation": True},
        *({"tokenize_kwargs": cut | {"add_special_tokens": way}} for way in (True, False)),
    )
    for given in calls:
        texts = TEXTS if not given else [*TEXTS, LONG]
        for inputs in (texts[0], texts, texts[-1]):
            want, got = theirs(inputs, **given), ours(inputs, **given)
            many = isinstance(inputs, list)
            for one, other in zip(got if many else [got], want if many else [want], strict=True):
                np.testing.assert_allclose(np.array(one), np.array(other), rtol=0, atol=1e-5)
    want, got = theirs(TEXTS, return_tensors=True), ours(TEXTS, return_tensors=True)
    for one, other in zip(got, want, strict=True):
        assert isinstance(one, torch.Tensor) and one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


REFUSED = [
    ({"trust_remote_code": True}, "runs no code"),
    ({"framework": "tf"}, "backend="),
    ({"token": "hf_abcdefgh"}, "HF_TOKEN"),
    ({"use_auth_token": "hf_abcdefgh"}, "HF_TOKEN"),
    ({"device_map": "auto"}, "device="),
    ({"model_kwargs": {"dtype": "float16"}}, "dtype="),
    ({"processor": "x"}, "text alone"),
]


@pytest.mark.parametrize("task", ["zero-shot-classification", "text-classification", "feature-extraction"])
def test_an_argument_that_is_not_known_is_named(task, folder):
    # kills: a slip of the pen that changes nothing, in silence; another argument's reason; a token that is told
    pipe = sijo.pipeline(task, model=folder())
    with pytest.raises(SettingError, match="hypotesis"):
        pipe(TEXTS[0], hypotesis="x")
    with pytest.raises(SettingError, match="hypotesis"):
        sijo.pipeline(task, model=folder(), hypotesis="x")
    for given, why in REFUSED:
        with pytest.raises(SettingError, match=f"{next(iter(given))}=.*{why}") as error:
            sijo.pipeline(task, model=folder(), **given)
        assert "hf_" not in str(error.value)
    same_as_plain = sijo.pipeline(task, model=folder(), framework="pt", use_fast=True, tokenizer=str(folder()))
    given = {"candidate_labels": LABELS} if task.startswith("zero") else {}
    assert same_as_plain(TEXTS[0], **given) == pipe(TEXTS[0], **given)


def test_devices_and_dtypes_by_either_name(folder):
    # kills: an argument of old code that is refused, or read as something else
    exact = sijo.pipeline("text-classification", folder(), device=-1, torch_dtype=torch.float32)(TEXTS[0])
    assert exact == sijo.pipeline("text-classification", folder(), device=torch.device("cpu"), dtype="auto")(
        TEXTS[0]
    )
    half = sijo.pipeline("text-classification", folder(), device="cpu", dtype=torch.bfloat16)(TEXTS[0])
    assert half[0]["score"] != exact[0]["score"] and abs(half[0]["score"] - exact[0]["score"]) < 0.05
    for wrong in (
        {"dtype": "int3"},
        {"dtype": "float16", "precision": "int8"},
        {"dtype": "auto", "torch_dtype": "auto"},
        {"precision": "auto"},
    ):
        with pytest.raises(SettingError, match=r"dtype|measured on texts"):
            sijo.pipeline("text-classification", folder(), **wrong)
    with pytest.raises(SettingError, match="zero-shot-classification"):
        sijo.pipeline("zero-shot-clasification", folder())


def test_a_text_that_is_too_long_is_named_with_what_would_do(folder):
    # kills: an index error, or a text that is cut unasked
    pipe = sijo.pipeline("text-classification", folder())
    with pytest.raises(TextError, match="truncation=True"):
        pipe(LONG)
    with pytest.raises(TextError, match="is for pairs"):
        pipe(LONG, truncation="only_second")
    for wrong in (3, [["a", "b"]], [{"texts": "a"}], [{"text": "a", "text_pair": 3}]):
        with pytest.raises(SettingError):
            pipe(wrong)


def test_other_models_label_too(tiny_model):
    # kills: a sentence encoder that is refused, though sijo labels with it
    got = sijo.pipeline("zero-shot-classification", model=tiny_model)(["the sea", "rain"], ["sea", "rain"])
    assert [row["sequence"] for row in got] == ["the sea", "rain"]
    assert all(sum(row["scores"]) == pytest.approx(1) and row["scores"][0] >= row["scores"][1] for row in got)


def test_a_model_is_opened_once(tiny_model, monkeypatch):
    # kills: a model that is opened anew for every call, and in a stream for every text
    pipe = sijo.pipeline("zero-shot-classification", model=tiny_model)
    want = pipe(["the sea", "rain"], ["sea", "rain"])
    monkeypatch.setattr("sijo.zeroshot.scorers.open._opened", None)
    same(list(pipe(iter(["the sea", "rain"]), ["sea", "rain"])), want)
    alone = pipe("the sea", ["sea"])
    assert 0 < alone["scores"][0] < 1 and pipe("the sea", ["sea", "rain"], multi_label=True)["scores"][0] < 1


def test_a_stream_is_read_as_it_comes(folder):
    # kills: a stream that is drawn in whole before the first answer
    drawn = []
    pipe = sijo.pipeline("text-classification", folder(), batch_size=2)
    answers = pipe(drawn.append(number) or "x" for number in range(10))
    first = next(answers)
    assert drawn == [0, 1] and first["label"] == pipe("x")[0]["label"]


@pytest.mark.parametrize(
    ("task", "call"),
    [
        ("ner", "sijo.predict"),
        ("token-classification", "sijo.predict"),
        ("question-answering", r"\(question, text\)"),
        ("fill-mask", 'head="mlm"'),
        ("text-generation", "sijo.generate"),
        ("text-clasification", "did you mean 'text-classification'"),
    ],
)
def test_a_task_that_another_call_answers_is_sent_there(task, call):
    # kills: the task that is spelled most like it, or a call that does not answer it
    with pytest.raises(SettingError, match=call) as error:
        sijo.pipeline(task)
    assert ("did you mean" in str(error.value)) == (task == "text-clasification")


def test_a_model_without_a_classifier_is_told_what_does(tiny_model):
    # kills: advice on arguments that a pipeline lacks, and a path inside the package where no model was named; a
    # fresh head that is refused
    for model, name in ((None, "the built-in model"), (tiny_model, "tiny"), (sijo.load(tiny_model), "tiny")):
        with pytest.raises(SettingError, match=f'{name} has no head .*zero-shot-classification"') as error:
            sijo.pipeline("text-classification", model)
        assert "new:" not in str(error.value) and "site-packages" not in str(error.value)
    fresh = sijo.load(tiny_model, head="new:sequence-classification", labels=["a", "b"])
    assert sijo.pipeline("text-classification", fresh)("rain")[0]["label"] in "ab"
