"""The trained scorer against the text-classification pipeline of transformers, plain numbers, and its errors.

Each test names the fault it kills.
"""

import json
import math
import shutil

import numpy as np
import pytest
import torch

import sijo
from sijo.errors import RefusedError, SettingError
from sijo.inference.encode import engine_of
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.scorer import TrainedLabels
from sijo.zeroshot.scorers.trained import TrainedScorer

transformers = pytest.importorskip("transformers")

LIMIT = 32  # tokens the tiny models read
NAMES = ("sport", "Tax", "old news", "weather")
TEXTS = [
    "the sun and the sea",
    "old money in the bank",
    "a game of ball",
    "goal " * 70,
    "rain",
    "",
    "it's 5 {oil}.",
]
HEAD = "sequence-classification"
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": LIMIT,
}
DISTANCES = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": LIMIT}
FAMILIES = {
    "bert": ("Bert", BERT),
    "albert": ("Albert", BERT | {"embedding_size": 8}),
    "electra": ("Electra", BERT | {"embedding_size": 8}),
    "distilbert": (
        "DistilBert",
        {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": LIMIT},
    ),
    "deberta": ("Deberta", BERT | DISTANCES),
    "deberta-v2": ("DebertaV2", BERT | DISTANCES | {"position_buckets": 8, "share_att_key": True}),
    "ctrl": ("CTRL", {"n_embd": 16, "n_layer": 2, "n_head": 2, "dff": 32, "n_positions": LIMIT}),
}


def write_model(folder, tiny_model, names, *, family="bert", **fields):
    """A folder with a head of these columns as transformers saves it, every weight moved."""
    vocabulary = json.loads((tiny_model / "tokenizer.json").read_text())["model"]["vocab"]
    stem, sizes = FAMILIES[family]
    config = getattr(transformers, f"{stem}Config")(
        **sizes,
        **fields,
        vocab_size=len(vocabulary),
        pad_token_id=0,
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    torch.manual_seed(0)
    theirs = getattr(transformers, f"{stem}ForSequenceClassification")(config)
    chance = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance) * 0.3)
    theirs.save_pretrained(folder)
    shutil.copy(tiny_model / "tokenizer.json", folder)
    settings = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    settings |= {"tokenizer_class": "BertTokenizer" if family == "bert" else "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": LIMIT}))
    return folder


@pytest.fixture(scope="module")
def trained(tiny_model, tmp_path_factory):
    """`trained(names, family="bert", **config)`: the folder of such a model, made once; do not change it."""
    made = {}

    def trained(names=NAMES, **settings):
        key = (tuple(names), *settings.items())
        if key not in made:
            made[key] = write_model(tmp_path_factory.mktemp("trained"), tiny_model, names, **settings)
        return made[key]

    return trained


@pytest.fixture(scope="module")
def several(trained):
    """A folder whose labels do not exclude each other."""
    return trained(problem_type="multi_label_classification")


@pytest.fixture
def make(trained):
    return lambda labels=None, model=None, **settings: sijo.ZeroShotClassifier(
        labels, str(model or trained()), **settings
    )


def pipeline(folder, texts, names=NAMES, **settings):
    """The scores (n, C) of the pipeline, each text by itself, in the order of the names."""
    theirs = transformers.pipeline("text-classification", model=str(folder), device="cpu", top_k=None)
    answers = [{answer["label"]: answer["score"] for answer in theirs([text], **settings)[0]} for text in texts]
    return np.array([[scores[name] for name in names] for scores in answers])


def softmax(row):
    raised = [math.exp(value - max(row)) for value in row]
    return [value / math.fsum(raised) for value in raised]


# --- the numbers


@pytest.mark.parametrize("problem", [None, "single_label_classification", "multi_label_classification"])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_the_pipeline(make, trained, family, problem):
    # kills: columns out of order, one function in place of the other, padding that is read, a text cut elsewhere,
    # token types that are not 0, a head read at another token; long and short texts share a batch here
    folder = trained(family=family, **({} if problem is None else {"problem_type": problem}))
    want = pipeline(folder, TEXTS, truncation=True)
    got = make(model=folder, long_text="truncate").predict_proba(TEXTS)
    assert np.ptp(want[:, 0]) > 1e-3  # the texts are told apart
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    if problem != "multi_label_classification":
        np.testing.assert_allclose(got.sum(1), 1, atol=1e-12)


def test_a_long_text_is_the_mean_of_its_windows(make, trained, several):
    # kills: the first window taken for all of a text, windows that count alike whatever their length, and a mean
    # of probabilities where the classifier says logits
    words = ["goal"] * 41 + ["rain"] * 4
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained())
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(trained()).eval()
    parts = [" ".join(part) for part in (words[:30], words[30:])]  # 32 places, 2 of them special
    with torch.inference_mode():
        logits = [theirs(**tokenizer(part, return_tensors="pt")).logits[0].double().numpy() for part in parts]
    want = (logits[0] * 32 + logits[1] * 17) / 49
    [row] = make().classify([" ".join(words)])
    assert (row.tokens, row.windows, row.truncated) == (45, 2, False)
    got = dict(zip(row.labels, row.scores, strict=True))
    assert [got[name] for name in NAMES] == pytest.approx(softmax(want), abs=1e-5)
    each = make(model=several).predict_proba([" ".join(words)])
    np.testing.assert_allclose(each[0], 1 / (1 + np.exp(-want)), atol=1e-5)


def test_neighbours_and_batches_change_nothing(make, trained):
    # kills: padding that reaches a text's score, and rows in another text's place
    base = make().predict_proba(TEXTS)
    alone = np.concatenate([make().predict_proba([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, base, atol=1e-6)
    np.testing.assert_allclose(make().predict_proba(TEXTS[::-1]), base[::-1], atol=1e-6)
    scorer = TrainedScorer(engine_of(sijo.load(trained(), head=HEAD), token_budget=1))
    one_by_one = Labeller(scorer, LabelChoice(), None)
    np.testing.assert_allclose(np.concatenate([p for p, _ in one_by_one.judged(TEXTS)]), base, atol=1e-6)


def test_some_of_the_labels_share_the_probability(make, several):
    # kills: probabilities of a subset that do not sum to 1, labels in the model's order and not in the given one,
    # and a subset that changes what labels are worth that do not exclude each other
    base = make().predict_proba(TEXTS)
    got = make(["weather", "sport"]).predict_proba(TEXTS)
    np.testing.assert_allclose(got, base[:, [3, 0]] / base[:, [3, 0]].sum(1, keepdims=True), atol=1e-9)
    each = make(model=several).predict_proba(TEXTS)
    np.testing.assert_allclose(make(["weather"], several).predict_proba(TEXTS), each[:, [3]], atol=1e-12)
    rows = make().classify(TEXTS[:3], [["weather", "sport"], ["Tax", "old news", "sport"], list(NAMES)])
    assert [len(row.labels) for row in rows] == [2, 3, 4]
    assert rows[0].scores == pytest.approx(sorted(got[0], reverse=True), abs=1e-6)


# --- the labels


def test_labels_are_the_models_own_by_default(make, trained):
    # kills: labels sorted, or asked for where the model has them; generic names refused
    clf = make()
    assert list(clf.classes_) == list(NAMES) and set(clf.predict(TEXTS[:3])) <= set(NAMES)
    assert clf.fit(TEXTS[:2], ["sport", "Tax"]).classes_.tolist() == sorted(NAMES)  # not those of y alone
    generic = make(model=trained(("LABEL_0", "LABEL_1", "LABEL_2")))
    assert generic.classes_.tolist() == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert generic.classify(["rain"])[0].label.startswith("LABEL_")


def test_labels_are_known_whatever_their_case(make):
    # kills: a label that is refused for a capital letter, a column of another name, and a row whose label is not
    # spelled as it was asked for
    base = make().predict_proba(["rain"])
    clf = make(["tax", "Old  News", "sport", "WEATHER"])
    np.testing.assert_allclose(clf.predict_proba(["rain"])[0], base[0, [1, 2, 0, 3]], atol=1e-12)
    assert set(clf.classify(["rain"])[0].labels) == {"tax", "Old  News", "sport", "WEATHER"}


def test_labels_that_the_model_does_not_know_are_refused(make):
    # kills: a label scored by somebody else's column, and an error without a way out
    words = (
        r"'wether' is none of the 4 .*\(sport, Tax, old news, weather\); did you mean 'weather'\?.*zero-shot model"
    )
    for answer in (
        lambda: make(["sport", "wether"]).predict(["rain"]),
        lambda: make().classify(["rain"], [["sport", "wether"]]),
        lambda: make().set_params(labels=["sport", "wether"]).fit().predict(["rain"]),
    ):
        with pytest.raises(SettingError, match=words):
            answer()
    with pytest.raises(SettingError, match=r"none of the 40 .*and 28 more\)"):
        TrainedLabels(tuple(f"label {n}" for n in range(40)), multi_label=False).places(LabelSet.of(["x"]).labels)
    with pytest.raises(SettingError, match="'sport' has a description"):
        make({"sport": "games", "Tax": ()}).predict(["rain"])
    with pytest.raises(SettingError, match=r"one label 'sport'.*none for all 4"):
        make(["sport"]).predict(["rain"])


# --- settings that contradict the model


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"hypothesis_template": "it is {}"}, "reads the text alone; leave the template out"),
        ({"multi_label": True}, "trained to choose one of its own"),
        ({"none_label": "other"}, "none_label.*does not have; leave it out"),
        ({"none_threshold": 0.0}, "none_threshold.*does not have"),
        ({"entailment_column": 1, "scorer": "trained"}, "does not read one so"),
    ],
)
def test_settings_that_do_not_suit_it_are_refused(make, settings, words):
    # kills: a setting that is taken and has no effect, or a probability that means nothing
    with pytest.raises(SettingError, match=words):
        make(**settings).predict(TEXTS[:1])


def test_labels_that_do_not_exclude_each_other(make, several):
    # kills: a softmax over sigmoids, several labels that must be asked for, and one label for no words at all
    clf = make(model=several)
    p = clf.predict_proba(TEXTS)
    fits = (p >= 0.5) & np.array([bool(text) for text in TEXTS])[:, None]
    assert 0 < fits.sum() < fits.size and (fits.sum(1) > 1).any() and (p[5] >= 0.5).any()
    np.testing.assert_array_equal(clf.predict(TEXTS), fits)
    for row, expected in zip(clf.classify(TEXTS), fits, strict=True):
        assert set(row.fitting) == {name for name, fit in zip(NAMES, expected, strict=True) if fit}
    np.testing.assert_array_equal(clf.set_params(multi_label=True).predict_proba(TEXTS), p)
    with pytest.raises(SettingError, match=r"multi_label=False.*judge each of its labels by itself"):
        make(model=several, multi_label=False).predict(TEXTS)
    with pytest.raises(SettingError, match=r"none_label.*a text that no label fits gets none"):
        make(model=several, none_label="other").predict(TEXTS)
    shifted = make(model=several, none_threshold=1.0, temperature=2.0).predict_proba(TEXTS)
    np.testing.assert_allclose(shifted, 1 / (1 + np.exp(-(np.log(p / (1 - p)) - 1) / 2)), atol=1e-9)


@pytest.mark.parametrize(
    "names, fields, error, words",
    [
        (("LABEL_0",), {}, SettingError, "a number and no label .*'LABEL_0'.*sijo.load.*--entailment-column"),
        (("grade",), {"problem_type": "regression"}, SettingError, "problem_type is regression"),
        (("a", "b"), {"problem_type": "regression"}, SettingError, "problem_type is regression"),
        (("a", "A "), {}, RefusedError, "cannot be labels.*given twice.*Mend id2label"),
        (("a", " "), {}, RefusedError, "cannot be labels"),
    ],
)
def test_heads_that_have_no_labels_to_give(make, trained, names, fields, error, words):
    # kills: a grade shown as the probability 1 of its only label, and columns that cannot be told apart
    with pytest.raises(error, match=words):
        make(model=trained(names, **fields)).predict(["rain"])


def test_a_problem_that_nobody_knows_is_refused(make, trained, tmp_path):
    # kills: a softmax by default over what the config says is something else
    folder = shutil.copytree(trained(), tmp_path / "odd")
    config = json.loads((folder / "config.json").read_text())
    for problem in ("ranking", 3, ["multi_label_classification"]):
        (folder / "config.json").write_text(json.dumps(config | {"problem_type": problem}))
        with pytest.raises(RefusedError, match="problem_type"):
            make(model=folder).predict(["rain"])


def test_one_column_that_was_trained_as_a_label(make, trained):
    # kills: a spam filter of one column refused as a grade
    folder = trained(("spam",), problem_type="multi_label_classification")
    want = pipeline(folder, ["rain"], ["spam"])
    np.testing.assert_allclose(make(model=folder).predict_proba(["rain"]), want, atol=1e-5)


# --- which scorer


def test_auto_takes_it_where_the_head_says_nothing_of_entailment(trained, tiny_model, tmp_path):
    # kills: an entailment head taken for two classes, a head overlooked because its encoder also gives vectors,
    # and an encoder without a head taken for one with fresh weights
    assert open_scorer("auto", str(trained())).name == "trained"
    assert open_scorer("auto", str(trained(("entailment", "contradiction")))).name == "entailment"
    assert open_scorer("trained", str(trained(("entailment", "contradiction")))).name == "trained"
    assert open_scorer("embedding", str(trained())).name == "embedding"
    assert open_scorer("auto", str(trained(("a", "b"))), entailment_column="b").name == "entailment"
    assert open_scorer("auto", sijo.load(trained())).name == "trained"  # opened again, with its head
    assert open_scorer("auto", str(tiny_model)).name == "embedding"
    encoder = sijo.load(tiny_model, head=f"new:{HEAD}", labels=["a", "b"])
    sijo.save(encoder, tmp_path / "tuned")
    assert (tmp_path / "tuned/modules.json").exists()
    assert open_scorer("auto", str(tmp_path / "tuned")).known.names == ("a", "b")
    with pytest.raises(SettingError, match="holds no sequence-classification head"):
        open_scorer("trained", str(tiny_model))


def test_auto_does_not_take_a_tagger_for_it(trained, tmp_path):
    # kills: a head that names single tokens asked of whole texts, in silence
    folder = shutil.copytree(trained(), tmp_path / "silent")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": None}))
    for source in (str(folder), sijo.load(folder)):
        with pytest.raises(SettingError, match=r"judges single tokens.*--scorer trained.*--scorer embedding"):
            open_scorer("auto", source)
        assert open_scorer("trained", source).known.names == NAMES
    assert open_scorer("auto", sijo.load(folder, head=HEAD)).name == "trained"
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertForTokenClassification"]}))
    assert open_scorer("auto", str(folder)).name == "embedding"


def test_what_sijo_saves_is_used_as_well(make, trained, several, tmp_path):
    # kills: a problem_type or a name lost on the way through sijo.save, in a family's folder or in a mix's
    for number, folder in enumerate((trained(), several, trained(family="ctrl"))):
        model = sijo.load(folder, head=HEAD)
        saved = sijo.save(model, tmp_path / str(number))
        got, want = (make(model=either).predict_proba(TEXTS) for either in (saved, folder))
        np.testing.assert_array_equal(got, want)
    both = sijo.load(several, head=[HEAD, "new:token-classification"])  # of one name there: no family can say both
    mixed = sijo.load(sijo.save(both, tmp_path / "mix"), head=HEAD)
    assert mixed.family.model_type == "sijo"
    clf = sijo.ZeroShotClassifier(model=mixed)
    np.testing.assert_allclose(clf.predict_proba(TEXTS), make(model=several).predict_proba(TEXTS), atol=1e-6)


# --- the cache


def test_the_cache_keeps_logits_apart_from_vectors(trained, tmp_path, monkeypatch):
    # kills: a text's vector served for its logits, or logits of one way of reading for another's; labels that are
    # read anew
    model = sijo.load(trained(), head=HEAD)
    clf = lambda **settings: sijo.ZeroShotClassifier(  # noqa: E731
        settings.pop("labels", None), model, cache=tmp_path, **settings
    )
    vectors = clf(labels=["sea", "bank"], scorer="embedding").predict_proba(TEXTS)
    got = clf().predict_proba(TEXTS)
    cut = clf(long_text="truncate").predict_proba(TEXTS)
    monkeypatch.setattr(model, "forward", lambda *_: pytest.fail("read anew"))
    np.testing.assert_array_equal(clf().predict_proba(TEXTS), got)
    np.testing.assert_array_equal(clf(long_text="truncate").predict_proba(TEXTS), cut)
    assert np.abs(cut[3] - got[3]).max() > 1e-6 and vectors.shape == (len(TEXTS), 2)
    share = got[:, [2, 0]] / got[:, [2, 0]].sum(1, keepdims=True)
    np.testing.assert_allclose(clf(labels=["old news", "sport"]).predict_proba(TEXTS), share, atol=1e-9)


# --- the command line


def test_the_command_needs_no_labels(sijo_cli, make, trained, write, tmp_path):
    # kills: labels that must be given, a run's record that does not know what it chose among
    ran = sijo_cli("classify", "--model", trained(), "--all-scores", stdin="\n".join(TEXTS[:5]).encode())
    assert ran.code == 0, ran.err
    for row, want in zip(ran.rows(), make().classify(TEXTS[:5]), strict=True):
        assert (row["label"], row["windows"]) == (want.label, want.windows)
        assert row["label_scores"] == pytest.approx(dict(zip(want.labels, want.scores, strict=True)), abs=1e-6)
    assert "read in windows: 1" in ran.err and "modules.json" not in ran.err
    path, output = write("a.csv", "text\n" + "the sea\n" * 2100 + "a,b\n"), tmp_path / "out.csv"
    arguments = ["classify", path, "--model", trained(), "--output", output]
    sijo_cli(*arguments).must_say(3, "line 2102")
    write("a.csv", "text\n" + "the sea\n" * 2100)
    sijo_cli(*arguments, "--resume", "--labels", "sport,tax").must_say(2, "labels")
    ran = sijo_cli(*arguments, "--resume", "--labels", ",".join(NAMES))
    assert ran.code == 0, ran.err


def test_the_command_says_what_will_not_do(sijo_cli, trained, tiny_model, several, write):
    # kills: a trace, an exit code of another remedy, a model with labels told to give some
    arguments = ["classify", "--model", trained(), "--labels"]
    sijo_cli(*arguments, "sport,wether", stdin=b"rain\n").must_say(2, "did you mean 'weather'", "zero-shot")
    sijo_cli(*arguments, "sport,tax", "--hypothesis-template", "{}", stdin=b"rain\n").must_say(2, "template")
    sijo_cli(*arguments, "sport,tax", "--multi-label", stdin=b"rain\n").must_say(2, "--multi-label")
    sijo_cli(*arguments, "sport,tax", "--none-label", "other", stdin=b"rain\n").must_say(2, "--none-label")
    sijo_cli("classify", "--model", tiny_model, stdin=b"rain\n").must_say(2, "--labels-file", "trained on labels")
    rows = write("a.csv", 'text,own\nrain,"sport,tax"\nsea,"sport,wether"\n')
    ran = sijo_cli("classify", rows, "--model", trained(), "--labels-column", "own")
    ran.must_say(3, "row 2", "'own'", "did you mean 'weather'")
    sijo_cli("evaluate", "--data", write("b.csv", "text,label\nrain,sport\n"), "--model", several).must_say(
        2, "one label a text"
    )
    ran = sijo_cli("classify", "--model", several, "--quiet", stdin=b"rain\n")
    assert ran.code == 0 and isinstance(ran.rows()[0]["labels"], list)


def test_evaluate_measures_it_among_all_its_labels(sijo_cli, make, trained, write):
    # kills: rivals left out because the file happens not to hold them, and gold labels of another case refused
    gold = ["sport", "TAX", "sport", "tax", "Sport"]
    path = write("a.csv", "text,label\n" + "".join(f"{t},{g}\n" for t, g in zip(TEXTS, gold, strict=False)))
    ran = sijo_cli("evaluate", "--data", path, "--model", trained(), "--quiet", "--format", "json")
    assert ran.code == 0, ran.err
    [record] = ran.rows()
    assert (record["scorer"], record["labels"], record["rows"]) == ("trained", list(NAMES), 5)
    predicted = make().predict(TEXTS[:5])
    right = [name.casefold() == want.casefold() for name, want in zip(predicted, gold, strict=True)]
    assert record["accuracy"]["value"] == pytest.approx(np.mean(right))
    write("a.csv", "text,label\nrain,sport\nsea,wether\n")
    ran = sijo_cli("evaluate", "--data", path, "--model", trained())
    ran.must_say(3, "row 2", "'wether'", "did you mean 'weather'")


def test_a_temperature_is_fitted_to_it(make):
    # kills: a fitted temperature that is refused or has no effect
    clf = make(temperature="fit").fit(TEXTS[:5], ["sport", "Tax", "sport", "weather", "old news"])
    assert clf.used_calibration.origin == "fit on 5 texts" and clf.used_calibration.temperature != 1
    base = make().predict_proba(TEXTS)
    want = [softmax(np.log(row) / clf.used_calibration.temperature) for row in base[:, np.argsort(NAMES)]]
    np.testing.assert_allclose(clf.predict_proba(TEXTS), want, atol=1e-9)
    assert "not fitted" in make().used_calibration.origin
