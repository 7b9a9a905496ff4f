"""Labels that a network cannot tell apart, or cannot read, are refused at once. Each test names its fault."""

import time
from unicodedata import normalize

import pytest

import sijo
from sijo.errors import SettingError
from sijo.inference.encode import engine_of
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers import label_tokens
from sijo.zeroshot.scorers.label_tokens import LabelTokens
from tokenizers import Tokenizer as Inner
from tokenizers import models, normalizers, pre_tokenizers

ALIKE = [
    ("👎", "👍", r"\[UNK\]"),
    ("résumé", "resume", "resume"),
    ("ክብር", "ጤና", r"\[UNK\]"),
    ("naïve", "Naive", "naive"),
    ("Zürich", "Zurich", "zurich"),
    ("very 👍", "very 👎", r"very \[UNK\]"),
    ("élan\u200b", "elan", "el ##an"),
    ("e\u0301lan", "elan", "el ##an"),
    ("ꦲ", "ꦤ", r"\[UNK\]"),
    ("coöp", "co\u00adop", "coop"),
]
UNREADABLE = ["👍", "ክብር", "🎉 🎊", "ꦲꦤ", "\u0301"]


@pytest.fixture(scope="module")
def clf(minilm):
    """`clf(labels, **settings)`: a classifier of all-MiniLM-L6-v2."""
    return lambda labels, **settings: sijo.ZeroShotClassifier(labels, minilm, **settings)


def never_read():
    pytest.fail("a text was read before the labels were refused")
    yield ""


@pytest.mark.parametrize("one, other, token", ALIKE)
@pytest.mark.parametrize("more", [(), ("sport", "weather")])
def test_two_labels_that_become_one(clf, one, other, token, more):
    # kills: the first label, which wins whatever the text says; a refusal that does not name both
    for labels in ([one, *more, other], {one: (), **dict.fromkeys(more, ()), other: ()}):
        with pytest.raises(
            SettingError, match=f"'.*' and '.*' are one to this model.*{token}.*first would always win"
        ) as told:
            list(clf(labels).stream(never_read()))
        assert repr(normalize("NFC", one)) in str(told.value) and repr(other) in str(told.value)


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_label_of_which_nothing_is_read(clf, name):
    # kills: an unknown label that stands alone in its kind, and gets the score of any unknown word
    for settings in ({"labels": [name, "sport"]}, {"labels": [name], "multi_label": True}):
        with pytest.raises(SettingError, match="says nothing to this model, whose tokenizer makes"):
            clf(**settings).predict(["rain"])


def test_descriptions_and_templates_count(clf):
    # kills: descriptions left out of the comparison, or labels refused that differ in them alone
    with pytest.raises(SettingError, match="'a thumb 👍' and 'a thumb 👎' are one"):
        clf({"a thumb 👍": "like", "a thumb 👎": "LIKE"}).predict(["rain"])
    told = clf({"a thumb 👍": "the text praises it", "a thumb 👎": "the text scolds it"})
    assert told.predict(["what a lovely place"]).tolist() == ["a thumb 👍"]
    with pytest.raises(SettingError, match="the description '👟' of the label 'sport' says nothing"):
        clf({"sport": "👟", "tax": "money"}).predict(["rain"])
    with pytest.raises(SettingError, match="are one"):
        clf(["café", "cafe"], hypothesis_template="{}").predict(["rain"])


def test_only_what_is_read_counts(tiny_model):
    # kills: ids compared beyond the last token that is read; labels refused that windows tell apart
    long = "the sea " * 20
    labels = {"sea": f"{long} rain", "sea two": f"{long} sun"}
    template = f"{long} {{}}"
    cut = {"model": str(tiny_model), "hypothesis_template": template, "long_text": "truncate"}
    with pytest.raises(
        SettingError, match=r"'sea' and 'sea two' are one .* the 30 tokens of a sentence that are read"
    ):
        sijo.ZeroShotClassifier(labels, **cut).predict(["rain"])
    sijo.ZeroShotClassifier(labels, **cut | {"long_text": "windows"}).predict(["rain"])


def test_lower_case_where_the_encoder_asks_for_it(tiny_copy):
    # kills: labels compared as they are written, where the network is given them in lower case
    import json

    settings = json.loads((tiny_copy / "tokenizer.json").read_text())
    settings["normalizer"] |= {"lowercase": False, "strip_accents": True}
    (tiny_copy / "tokenizer.json").write_text(json.dumps(settings))
    texts = ["rain"]
    with pytest.raises(SettingError, match=r"'SEA' says nothing|\[UNK\]"):
        sijo.ZeroShotClassifier(["SEA", "land"], str(tiny_copy)).predict(texts)
    (tiny_copy / "sentence_bert_config.json").write_text('{"max_seq_length": 32, "do_lower_case": true}')
    sijo.ZeroShotClassifier(["SEA", "land"], str(tiny_copy)).predict(texts)
    with pytest.raises(SettingError, match="are one"):
        sijo.ZeroShotClassifier(["SEÁ", "sea"], str(tiny_copy)).predict(texts)


def test_entailment_reads_labels_too_and_a_trained_head_does_not(tiny_model):
    # kills: a scorer left out; a model refused for its own labels, which no network reads
    judge = sijo.load(tiny_model, "new:sequence-classification", labels=["entailment", "contradiction"])
    with pytest.raises(SettingError, match="'séa' and 'sea' are one"):
        sijo.ZeroShotClassifier(["séa", "sea"], judge, "entailment").predict(["rain"])
    with pytest.raises(SettingError, match="'👍' says nothing"):
        sijo.ZeroShotClassifier(["👍"], judge, "entailment", multi_label=True).predict(["rain"])
    trained = sijo.load(tiny_model, "new:sequence-classification", labels=["👍", "👎", "séa", "sea"])
    assert len(sijo.ZeroShotClassifier(None, trained, "trained").predict_proba(["rain"])[0]) == 4


def test_a_none_label_is_never_read(clf):
    # kills: a name refused that only stands in the output
    assert clf(["sport", "tax"], none_label="🤷", none_threshold=2.0).predict(["rain"]).tolist() == ["🤷"]


def test_labels_of_each_row(clf, sijo_cli, write):
    # kills: labels by row that pass the check of those given once; a row that is not named
    with pytest.raises(SettingError, match="'naïve' and 'naive' are one"):
        clf(None).classify(["rain", "sun"], [["sport", "tax"], ["naïve", "naive"]])
    rows = write("rows.csv", 'text,own\nrain,"sport,tax"\nsun,"👍,👎"\n')
    ran = sijo_cli("classify", rows, "--labels-column", "own", "--column", "text", "--model", "all-minilm-l6-v2")
    ran.must_say(3, "row 2, column 'own'", "'👍' and '👎' are one", "[UNK]")


@pytest.mark.parametrize("labels", ["👎,👍", "résumé,resume", "ክብር,ጤና", "sport,👍"])
def test_the_commands_refuse_before_they_read(refused, write, tmp_path, labels):
    # kills: an output begun, or a row answered, under labels that cannot be told apart
    rows = write("rows.csv", "text,label\nrain,a\nsun,b\n")
    told = ("--labels", labels, "--model", "all-minilm-l6-v2")
    refused(2, "to this model", "classify", rows, "--column", "text", *told, "-o", tmp_path / "o.csv")
    refused(2, "to this model", "evaluate", "--data", rows, *told)


def opened(model, normalizer=None, splitter=None):
    inner = Inner(model)
    if normalizer is not None:
        inner.normalizer = normalizer
    inner.pre_tokenizer = splitter or pre_tokenizers.Metaspace()
    return Tokenizer(inner, max_length=64)


@pytest.mark.parametrize(
    "tokenizer",
    [
        opened(models.Unigram([("<unk>", 0.0), ("▁", -1.0), ("▁sport", -2.0), ("▁tax", -2.0)], unk_id=0)),
        opened(
            models.WordLevel({"<none>": 0, "sport": 1, "tax": 2}, unk_token="<none>"),
            None,
            pre_tokenizers.Whitespace(),
        ),
        opened(models.BPE({"[UNK]": 0, "▁": 1, "s": 2, "t": 3}, [], unk_token="[UNK]", fuse_unk=True)),
    ],
    ids=["unigram", "words", "pairs"],
)
def test_the_unknown_token_is_known_in_every_kind(tokenizer):
    # kills: an unknown token of another name, or the mark of a word's beginning taken for something read
    with pytest.raises(SettingError, match="says nothing to this model"):
        LabelTokens(tokenizer).check([Label("👍"), Label("sport")], "{}")
    with pytest.raises(SettingError, match="are one"):
        LabelTokens(tokenizer).check([Label("👍"), Label("👎")], "{}")
    LabelTokens(tokenizer).check([Label("sport"), Label("tax")], "{}")


def test_what_no_token_is_left_of(clf):
    # kills: a label that a normalizer takes away as a whole
    tokenizer = opened(
        models.WordLevel({"[UNK]": 0, "sport": 1}, unk_token="[UNK]"),
        normalizers.Replace("x", ""),
        pre_tokenizers.Whitespace(),
    )
    with pytest.raises(SettingError, match="makes no token of it"):
        LabelTokens(tokenizer).check([Label("xx"), Label("sport")], "{}")


def test_what_is_kept_is_bounded_by_its_tokens(minilm, monkeypatch):
    # kills: long labels counted as short ones; what is kept cleared though nothing is new, so that a long list is
    # tokenized again for each block; a list that is half forgotten while it is looked at
    monkeypatch.setattr(label_tokens, "MOST_KEPT", 2_000)
    tokens = LabelTokens(minilm.tokenizer)
    long = [Label(f"{'sea ' * 90}{n}") for n in range(12)]
    tokens.check(long, "{}")
    assert len(tokens._kept) == 12
    before = dict(tokens._kept)
    tokens.check(long[:5], "{}")
    assert tokens._kept == before
    tokens.check([*long[:3], Label("land")], "{}")
    assert len(tokens._kept) == 4
    tokens.check([Label(f"word {n}") for n in range(30)], "{}")  # short ones are many more
    assert len(tokens._kept) == 34


def test_thousands_of_labels_cost_little(minilm):
    # kills: labels compared in pairs, or tokenized again for each row
    labels = [Label(f"topic number {n} of many") for n in range(5_000)]
    tokens = LabelTokens(minilm.tokenizer)
    started = time.perf_counter()
    tokens.check(labels, "This is about {}.")
    first = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(5):
        tokens.check(labels, "This is about {}.")
    assert first < 5 and (time.perf_counter() - started) / 5 < max(0.2, first / 2)
    assert engine_of(minilm).encode(["a"]).tokens.tolist() == [1]
