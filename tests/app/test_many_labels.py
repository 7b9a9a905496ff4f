"""Long lists of labels at the command line and from Python. Each test names its fault."""

import csv
import json
import pickle

import pytest
from sklearn.base import clone

import sijo
from sijo.errors import SettingError, SijoWarning
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.many_labels import cascade, composing
from sijo.zeroshot.many_labels.composing import ManyLabels, drawn_from
from sijo.zeroshot.many_labels.composite import Beside
from sijo.zeroshot.scorers.open import open_scorer

TEXTS = [
    f"{verb} {what}"
    for verb in ("bake", "win", "sell", "report", "measure", "play", "draw", "mend")
    for what in (
        "bread",
        "the game",
        "a house",
        "the storm",
        "an atom",
        "a song",
        "the bank",
        "a car",
        "oil",
        "rain",
    )
]
LABELS = "cooking,sport,money,weather,science,music,travel,law"
MINILM = ("--model", "all-minilm-l6-v2")


@pytest.fixture
def table(write):
    """Eighty short texts."""
    return write("in.csv", "text\n" + "\n".join(TEXTS) + "\n")


def rows(path):
    """A written table."""
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.usefixtures("minilm")
def test_a_cascade_from_a_file(sijo_cli, table, tmp_path, refused):
    # kills: a certificate that nobody sees, answers that depend on the sample, a shortlist that is no part of a
    # run, so that it is resumed under another
    full, short = tmp_path / "full.csv", tmp_path / "short.csv"
    made = ("classify", table, "--labels", LABELS, *MINILM)
    assert sijo_cli(*made, "-o", full).code == 0
    behind = (*made, "-o", short, "--cascade", "built-in", "--disagreement", "0.3", "--cascade-sample", "40")
    ran = sijo_cli(*behind)
    assert ran.code == 0
    assert "cascade: 40 texts are read beside all 8 labels" in ran.err
    assert "at most 0.3 of texts answered otherwise than in full (95 % certain" in ran.err
    assert "labels verified: about" in ran.err
    pairs = list(zip(rows(full), rows(short), strict=True))
    assert sum(one["label"] != other["label"] for one, other in pairs) <= 0.3 * len(TEXTS)
    assert {other["scorer"] for _, other in pairs} == {"cascade"}
    again = sijo_cli(*behind, "--overwrite")
    assert again.code == 0 and list(zip(rows(full), rows(short), strict=True)) == pairs
    assert "is complete already" in sijo_cli(*behind, "--resume").err
    sample = (*behind[:-4], "--disagreement", "0.4", "--cascade-sample", "30", "--resume")
    refused(2, "was made with cascade: ", *sample)


@pytest.mark.usefixtures("minilm")
def test_a_run_that_ends_half_way_goes_on_with_the_same_shortlist(sijo_cli, table, tmp_path, monkeypatch):
    # kills: a shortlist found anew on the rows that are left, rows read twice or never, a lesson lost between runs
    monkeypatch.setattr(cascade, "MOST_PAIRS", 8 * 16)  # sixteen rows at a time
    how = ("--labels", LABELS, *MINILM, "--cascade", "built-in", "--disagreement", "0.2", "--cascade-sample", "60")
    whole, half = tmp_path / "whole.csv", tmp_path / "half.csv"
    ran = sijo_cli("classify", table, *how, "-o", whole)
    assert ran.code == 0 and "95 % certain" in ran.err
    score, asked = cascade.CascadeScorer.score, []

    def failing(self, request):
        asked.append(len(request.texts))
        if len(asked) > 2:
            raise KeyboardInterrupt
        return score(self, request)

    with monkeypatch.context() as at:
        at.setattr(cascade.CascadeScorer, "score", failing)
        assert sijo_cli("classify", table, *how, "-o", half).code == 130
    assert asked == [16, 16, 16] and not half.exists()
    ran = sijo_cli("classify", table, *how, "-o", half, "--resume")
    assert ran.code == 0 and half.read_bytes() == whole.read_bytes(), ran.err


@pytest.mark.usefixtures("minilm")
def test_a_dry_run_finds_no_shortlist(sijo_cli, table, tmp_path, refused):
    # kills: a dry run that reads a sample beside all labels, one that refuses what it was told of a cascade, or
    # takes what the run itself would refuse; an output that is made all the same
    made = ("classify", table, "--labels", LABELS, *MINILM, "--dry-run")
    how = ("--cascade", "built-in", "--disagreement", "0.3", "--cascade-sample", "40")
    before = sorted(tmp_path.iterdir())
    ran = sijo_cli(*made, *how, "--format", "jsonl")
    assert ran.code == 0 and ran.rows()[0]["rows"] == len(TEXTS), ran.err
    assert "a dry run finds no shortlist" in ran.err and "cascade: " not in ran.err
    assert sijo_cli(*made, "--fuse", "built-in", "-o", tmp_path / "out.csv").code == 0
    assert sorted(tmp_path.iterdir()) == before
    for option in ("--cascade", "--fuse"):
        refused(2, "there is no folder nowhere", *made, option, "nowhere")
    refused(2, "reads few of them; leave one of the two out", *made, *how, "--calibrate", "batch")
    refused(2, "name what ranks the labels", *made, *how[2:4])


@pytest.mark.usefixtures("minilm")
def test_a_sample_that_is_too_small_is_told(sijo_cli, table, tmp_path):
    # kills: a shortlist that nothing vouches for; a file read twice over, once for its sample
    made = ("classify", table, "--labels", LABELS, *MINILM, "--cascade", "built-in", "-o")
    ran = sijo_cli(*made, tmp_path / "all.csv")
    assert "every label is verified: the sample would be all of the texts" in ran.err
    ran = sijo_cli(*made, tmp_path / "few.csv", "--cascade-sample", "50")
    assert "50 texts are too few to be certain of at most 0.01: that takes 368" in ran.err
    assert "labels verified" not in ran.err
    assert rows(tmp_path / "all.csv") == rows(tmp_path / "few.csv")


@pytest.mark.usefixtures("minilm")
def test_pipes_workers_and_evaluation(sijo_cli, table, tmp_path):
    # kills: a pipe that is read to its end for a sample, processes that fit for themselves, an evaluation of the
    # model alone
    made = ("--labels", LABELS, *MINILM, "--cascade", "built-in", "--disagreement", "0.3", "--cascade-sample", "40")
    lines = "\n".join(TEXTS).encode()
    ran = sijo_cli("classify", "-", *made, stdin=lines)
    assert ran.code == 0 and len(ran.rows()) == len(TEXTS)
    assert ran.rows()[0]["scorer"] == "cascade"
    labelled = tmp_path / "gold.csv"
    labelled.write_text("text,label\n" + "\n".join(f"{text},cooking" for text in TEXTS))
    ran = sijo_cli("evaluate", "--data", labelled, *made, "--format", "json")
    record = json.loads(ran.out)
    assert record["scorer"] == "cascade"
    assert record["cascade"]["texts"] + record["cascade"]["taught"] == 40
    ran = sijo_cli("evaluate", "--data", labelled, *made[:4], "--fuse", "built-in", "--format", "json")
    assert 0.25 <= json.loads(ran.out)["fused"]["share"] <= 0.75


@pytest.mark.usefixtures("minilm")
def test_weights_and_certificate_are_of_other_texts(sijo_cli, table, tmp_path, monkeypatch):
    # kills: a certificate for texts that chose the weights, a sample by the order of the file, weights that a short
    # file has no texts for
    seen = {}

    def watched(name):
        fit = getattr(composing, name)
        monkeypatch.setattr(
            composing,
            name,
            lambda one, beside, texts, *more: seen.update({name: texts}) or fit(one, beside, texts, *more),
        )

    watched("fit_fusion")
    watched("fit_cascade")
    fuse, short = {"fuse": "built-in"}, {"cascade": "built-in", "disagreement": 0.3}
    labeller = Labeller(open_scorer("auto", "all-minilm-l6-v2"), LabelChoice(), LabelSet.of(LABELS.split(",")))
    ManyLabels(**fuse, **short).fit(labeller, drawn_from(TEXTS))
    weighing, certified = seen["fit_fusion"], seen["fit_cascade"]
    assert (len(weighing), len(certified)) == (46, 34)
    assert sorted([*weighing, *certified]) == sorted(TEXTS)
    seen.clear()
    spare = lambda count: TEXTS[:count] if count < len(TEXTS) else []  # noqa: E731
    ManyLabels(**fuse, **short).fit(labeller, spare)
    weighing, certified = seen["fit_fusion"], seen["fit_cascade"]
    assert (len(weighing), len(certified)) == (32, 34)
    assert set(weighing).isdisjoint(certified) and set(certified) != set(TEXTS[32:66])
    seen.clear()
    found = ManyLabels(**fuse, **short, sample=70).fit(labeller, spare)
    assert len(seen["fit_fusion"]) == 64 and "fit_cascade" not in seen and not found.certificate.held
    made = ("classify", table, "--labels", LABELS, *MINILM, "--fuse", "built-in", "-o", tmp_path / "out.csv")
    assert sijo_cli(*made).code == 0


def test_a_tree_from_a_labels_file(sijo_cli, table, tmp_path, write, refused):
    # kills: parents that are lost on the way to the walk, a walk of labels without any
    labels = write(
        "tree.csv",
        "label,parent\nfree time,\nwork,\nsport,free time\nmusic,free time\nmoney,work\nlaw,work\nscience,work\n",
    )
    out = tmp_path / "out.csv"
    ran = sijo_cli("classify", table, "--labels-file", labels, "--beam", "1", "-o", out)
    assert ran.code == 0, ran.err
    assert "labels looked at: at most 5 a text" in ran.err
    assert {len(json.loads(row["path"])) for row in rows(out)} == {2}
    refused(2, "none of these has a parent", "classify", table, "--labels", LABELS, "--beam", "1")
    both = ("classify", table, "--labels-file", labels, "--beam", "1", "--cascade", "built-in")
    refused(2, "leave one out", *both)
    circle = write("circle.csv", "label,parent\nsea,land\nland,sea\n")
    refused(2, "lead back to it", "classify", table, "--labels-file", circle, "--beam", "1")


@pytest.mark.usefixtures("minilm")
def test_what_cannot_be_is_refused(sijo_cli, table, write, refused):
    # kills: labels of each row behind one shortlist, a calibration to scores that nobody has
    own = write("own.csv", "text,own\n" + "\n".join(f'{text},"sport,law"' for text in TEXTS))
    made = ("classify", own, "--column", "text", "--labels-column", "own", *MINILM)
    for more in (("--cascade", "built-in"), ("--fuse", "built-in"), ("--beam", "2")):
        refused(2, "here each text brings its own; leave it out", *made, *more)
    made = ("classify", table, "--labels", LABELS, *MINILM, "--cascade", "built-in")
    for more in (("--calibrate", "batch"), ("--explain",), ("--disagreement", "0"), ("--cascade-sample", "0")):
        refused(2, "leave" if "sample" not in more[0] else "give", *made, *more)
    labelled = write("gold.csv", "text,label\n" + "\n".join(f"{text},sport" for text in TEXTS))
    made = ("evaluate", "--data", labelled, "--labels", LABELS, "--model", "nowhere", "--cascade", "built-in")
    for more in (("--calibrate", "batch"), ("--calibrate", "none", "--calibrate", "auto"), ("--calibration", own)):
        refused(2, "go by all labels' scores, and cascade= (--cascade) reads few", *made, *more)
    for model in ((), ("--model", "built-in"), ("--model", "sijo-small")):
        made = ("classify", table, "--labels", LABELS, *model, "--cascade", "built-in")
        refused(2, "names the model that labels", *made)
    assert sijo_cli("classify", table, "--labels", LABELS, "--model", "built-in").code == 0


@pytest.mark.usefixtures("minilm")
def test_a_classifier_with_a_cascade():
    # kills: settings lost by clone and pickle, a predict before fit that is silently in full, a shortlist that
    # outlives its labels
    clf = sijo.ZeroShotClassifier(
        labels=LABELS.split(","), model="all-minilm-l6-v2", cascade="built-in", disagreement=0.3
    )
    with pytest.raises(SettingError, match=r"call fit\(texts\) first"):
        clf.predict(TEXTS[:2])
    with pytest.raises(SettingError, match=r"call fit\(texts\)"):
        clf.fit()
    clf.fit(TEXTS)
    assert clf.many_labels_.certificate.held
    chances = clf.predict_proba(TEXTS)
    assert chances.sum(1) == pytest.approx(1.0) and (chances == 0).any()
    copied = pickle.loads(pickle.dumps(clf))
    assert (copied.predict_proba(TEXTS) == chances).all()
    with pytest.raises(SettingError, match=r"call fit\(texts\) first"):
        clone(clf).predict(TEXTS[:2])
    with pytest.warns(SijoWarning, match="that takes 368"):
        clf.set_params(disagreement=0.01).fit(TEXTS)
    alone = sijo.ZeroShotClassifier(labels=LABELS.split(","), model="all-minilm-l6-v2")
    assert (clf.predict_proba(TEXTS) == alone.predict_proba(TEXTS)).all()


def test_a_shortlister_that_knows_its_own_labels(minilm):
    # kills: a column of another label, an error that does not say which of two models it is about
    head = sijo.load("all-minilm-l6-v2", head="new:sequence-classification", labels=["sport", "law", "music"])
    made = {"model": None, "cascade": head, "disagreement": 0.3}
    clf = sijo.ZeroShotClassifier(labels=["sport", "law", "sea"], **made)
    with pytest.raises(SettingError, match=r"cascade= \(--cascade\): the label 'sea' is none of the 3"):
        clf.fit(TEXTS)
    known = sijo.ZeroShotClassifier(labels={"Law": "courts", "sport": (), "music": ()}, **made).fit(TEXTS)
    assert known.many_labels_.certificate is not None
    assert len(known.predict(TEXTS[:3])) == 3


def test_korean_labels_are_worded_for_each_model(minilm):
    # kills: one model's sentence put before the other's network; a Korean name in an English sentence
    head = sijo.load(
        "all-minilm-l6-v2", head="new:sequence-classification", labels=["not_entailment", "entailment"]
    )
    labels = LabelSet.of({"요리": (), "경제": "돈과 은행"})
    built_in, entails = open_scorer("auto", None), open_scorer("entailment", head)
    for first, second, said, other in (
        (built_in, entails, "This example is 요리.", "This example is 경제."),
        (entails, built_in, "이 글은 요리를 다룬다.", "이 글은 경제를 다룬다."),
    ):
        beside = Beside.of(second, Labeller(first, LabelChoice(), labels), "fuse=")
        assert [label.phrases(beside.template)[0] for label in beside.labels] == [said, other]
        assert beside.labels[1].descriptions == ("돈과 은행",)
    texts = ["빵을 굽는 법", "은행 금리가 올랐다", "국을 끓인다", "환율이 내렸다"] * 10
    made = {"model": head, "scorer": "entailment", "cascade": "built-in", "disagreement": 0.3}
    clf = sijo.ZeroShotClassifier(labels=labels, **made).fit(texts)
    assert set(clf.predict(texts)) <= {"요리", "경제"}
