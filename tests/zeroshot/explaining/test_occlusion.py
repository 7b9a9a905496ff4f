"""What words add to a label: by a scorer whose words have known weights, and by every other kind."""

import math

import numpy as np
import pytest

import sijo
from conftest import WORDS
from generation.test_generator import pair, tokenizer  # noqa: F401
from sijo.errors import SettingError, TextError
from sijo.inference.encode import engine_of
from sijo.inference.outputs import NotFiniteError, ReadCounts
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.explaining import occlusion
from sijo.zeroshot.explaining.occlusion import explain
from sijo.zeroshot.labeller import LabelChoice, Labeller, LabelPrediction
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.scorers.scorer import Scorer
from zeroshot.scorers.test_one_pass import glass  # noqa: F401

LABELS = ("water", "money", "play")
WEIGHTS = {
    "sea": (2.0, 0.0, 0.0),
    "rain": (1.0, 0.0, 0.5),
    "bank": (0.5, 3.0, 0.0),
    "goal": (0.0, -1.0, 4.0),
    "!": (1.5, 0.0, 0.0),
}
TEMPERATURE = 0.5


class WeightScorer(Scorer):
    """A label's score is the sum of what each word of the text adds to it."""

    name, template = "weights", "{}"
    calibration = Calibration(TEMPERATURE, 1.25, "by hand")
    bad = None
    """A text that contains this has no score."""

    def __init__(self, engine):
        super().__init__(engine)
        self.read = []

    def score(self, request):
        """Sums of the weights."""
        self.read += request.texts
        order = [LABELS.index(label.name) for label in request.labels]
        rows = [[WEIGHTS.get(word, (0, 0, 0)) for word in text.replace(".", " ").split()] for text in request.texts]
        for place, text in enumerate(request.texts):
            if self.bad is not None and self.bad in text.split() and "sea" not in text:
                raise NotFiniteError("it is NaN", place)
        scores = np.array([np.sum(row or [(0, 0, 0)], axis=0) for row in rows], float)[:, order]
        tokens = np.array([len(text.split()) for text in request.texts])
        return scores, ReadCounts(tokens, np.ones_like(tokens), np.zeros(len(tokens), bool))


@pytest.fixture
def scorer(tiny_model):
    return WeightScorer(engine_of(tiny_model))


def labeller(scorer, labels=LABELS, **choice):
    return Labeller(scorer, LabelChoice(**choice), LabelSet.of(labels))


def score(text):
    return np.sum([WEIGHTS.get(word, (0, 0, 0)) for word in text.split()] or [(0, 0, 0)], axis=0) / TEMPERATURE


def lead(z, label):
    """The logarithm of a label's odds, in plain numbers."""
    return z[label] - math.log(sum(math.exp(other) for place, other in enumerate(z) if place != label))


def reported(row):
    """What `classify` tells of it."""
    return LabelPrediction(**{name: getattr(row, name) for name in LabelPrediction.__dataclass_fields__})


def test_effects_are_what_the_log_odds_lose(scorer):
    # kills: effects of the wrong sign, of another word or label; odds against the next label alone; offsets of the
    # text without the word
    text = "the sea  rain at bank"
    [row] = explain(labeller(scorer), [text], top_k=3)
    z = score(text)
    assert (row.label, [one.label for one in row.evidence]) == ("water", list(row.labels))
    assert [text[part.start : part.end] for part in row.parts] == text.split() == [part.text for part in row.parts]
    for evidence in row.evidence:
        place = LABELS.index(evidence.label)
        assert evidence.against is None and evidence.log_odds == pytest.approx(lead(z, place), abs=1e-12)
        assert evidence.probability == row.scores[row.labels.index(evidence.label)]
        assert math.log(evidence.probability / (1 - evidence.probability)) == pytest.approx(evidence.log_odds)
        for i, word in enumerate(text.split()):
            without = " ".join(other for other in text.split() if other != word)
            assert evidence.effects[i] == pytest.approx(lead(z, place) - lead(score(without), place), abs=1e-12)
    assert row.why == ["sea", "rain"] and row.strongest(1)[0][0].text == "sea"
    assert [part.text for part, _ in row.strongest(9)] == [
        "sea",
        "bank",
        "rain",
    ]
    assert row.variants == 6 and row.read_until == len(text) and row.whole_words


def test_the_contrast_is_against_the_next_label(scorer):
    # kills: the third label, or all others, in place of the runner-up; the lead the other way round
    [row] = explain(labeller(scorer), ["the sea rain at bank"], top_k=1)
    assert (row.contrast.label, row.contrast.against, row.labels[:2]) == ("water", "money", ("water", "money"))
    per_word = [(WEIGHTS.get(p.text, (0, 0))[0] - WEIGHTS.get(p.text, (0, 0))[1]) / TEMPERATURE for p in row.parts]
    assert row.contrast.effects == pytest.approx(per_word, abs=1e-12)
    assert row.contrast.log_odds == pytest.approx(sum(per_word), abs=1e-12) and len(row.evidence) == 1


def test_labels_judged_by_themselves_and_none(scorer):
    # kills: a softmax where each label is judged alone; the none score left out; a parent's evidence without
    # its part's
    [row] = explain(labeller(scorer, multi_label=True), ["sea bank"], top_k=3)
    assert row.contrast is None
    for evidence in row.evidence:
        place = LABELS.index(evidence.label)
        assert evidence.log_odds == pytest.approx(score("sea bank")[place] - 1.25 / TEMPERATURE)
        assert evidence.effects == pytest.approx([WEIGHTS[word][place] / TEMPERATURE for word in ("sea", "bank")])
    tree = LabelSet.of({"water": {}, "money": {"parent": "water"}, "play": {}})
    [row] = explain(Labeller(scorer, LabelChoice(multi_label=True), tree), ["bank"])
    effects = {evidence.label: evidence.effects[0] for evidence in row.evidence}
    assert effects["water"] == effects["money"] == pytest.approx(6.0)  # of its part, which alone lifts it
    [row] = explain(labeller(scorer, none_label="nothing"), ["the goal at bank"], top_k=4)
    z = [*score("the goal at bank"), 1.25 / TEMPERATURE]
    names = [*LABELS, "nothing"]
    for evidence in row.evidence:
        assert evidence.log_odds == pytest.approx(lead(z, names.index(evidence.label)), abs=1e-12)
    [row] = explain(labeller(scorer, none_label="nothing"), ["the old town"])
    assert row.label == "nothing" and row.evidence[0].label == "nothing" and len(row.parts) == 3


def test_each_row_is_explained_under_its_own_labels(scorer):
    # kills: one row's labels for another, columns of another order, an answer for a text too many
    texts, sets = ["sea bank", "sea bank", "goal rain"], [["money", "water"], ["play", "water"], ["money", "water"]]
    rows = list(explain(labeller(scorer, multi_label=False), texts, sets))
    for row, text, own in zip(rows, texts, sets, strict=True):
        z = {name: score(text)[LABELS.index(name)] for name in own}
        assert {*row.labels} == {*own} and row.evidence[0].log_odds == pytest.approx(
            max(z.values()) - min(z.values())
        )
    for count in (2, 4):
        with pytest.raises(SettingError, match="fewer label sets" if count == 2 else "more label sets"):
            list(explain(labeller(scorer), texts, [*sets, sets[0]][:count]))


def test_what_has_no_words_is_told(scorer):
    # kills: a crash on nothing, evidence made up of nothing; a lone word passed over
    rows = list(explain(labeller(scorer), ["", "sea", "  ", "…", None]))
    assert [len(row.parts) for row in rows] == [0, 1, 0, 1, 0]
    assert [row.variants for row in rows] == [1, 2, 1, 2, 1] and rows[0].evidence == () and rows[0].why == []
    assert rows[0].label is None and rows[0].contrast is None and rows[0].strongest(3) == []
    assert rows[1].evidence[0].effects == pytest.approx([lead(score("sea"), 0) - lead(score(""), 0)])
    [row] = explain(labeller(scorer), ["rain !"])
    assert row.why == ["rain"] and [part.text for part, _ in row.strongest(9)] == ["rain"]
    assert [part.text for part in row.parts] == ["rain", "!"] and abs(row.evidence[0].effects[1]) > abs(
        row.evidence[0].effects[0]
    )  # the mark is left out, and told, but named as no word


def test_a_long_text_is_opened_where_it_matters(scorer):
    # kills: more variants than the limit, a word in no part or in two, the sentence that matters left closed,
    # effects of runs that were opened kept beside those of their words
    filler = "the old and new one in it. "
    text = filler * 40 + "we see the sea and bank. " + filler * 40
    for limit in (16, 40, 128):
        scorer.read.clear()
        [row] = explain(labeller(scorer), [text], limit=limit)
        assert row.variants <= limit and len(scorer.read) == row.variants + 1  # and once for the row itself
        ends = [0, *(part.end for part in row.parts)]
        assert all(not text[end : part.start].strip() for end, part in zip(ends, row.parts, strict=False))
        assert not text[ends[-1] :].strip() and not row.whole_words
        assert all(text[part.start : part.end] == part.text for part in row.parts)
        [(strongest, _)] = row.strongest(1)
        assert "bank" in strongest.text
        if limit == 128:
            assert strongest.text == "bank" and {"sea", "bank"} <= {part.text for part in row.parts}


def test_the_cost_of_a_very_long_text_is_bounded(scorer):
    # kills: as many readings of a hundred thousand words as of ten
    [row] = explain(labeller(scorer), ["sea " + "old " * 40_000])
    assert row.variants <= 8 and sum(part.words for part in row.parts) == 40_001
    assert row.parts[0].text.startswith("sea") and row.strongest(1)[0][0] is row.parts[0]
    with pytest.raises(SettingError, match="from 8 to"):
        list(explain(labeller(scorer), ["sea"], limit=7))
    with pytest.raises(SettingError, match="top_k=0"):
        list(explain(labeller(scorer), ["sea"], top_k=0))


def test_scores_that_are_no_numbers_name_their_text(scorer):
    # kills: the number of a variant told as that of a text; effects of NaN
    scorer.bad = "goal"
    texts = ["bank", "sea", "sea goal", "rain"] + ["rain"] * 80
    with pytest.raises(NotFiniteError, match="text 3: it is NaN"):
        list(explain(labeller(scorer), texts))
    with pytest.raises(NotFiniteError, match="text 84: it is NaN"):
        list(explain(labeller(scorer), [*["rain"] * 83, "sea goal"]))
    scorer.bad = None
    with pytest.raises(NotFiniteError, match=r"text 2: .*temperature=2.3e-308"):
        list(explain(labeller(scorer, temperature=2.3e-308), ["", "goal goal goal"]))


def test_saturated_probabilities_still_have_effects(scorer):
    # kills: log-odds of probabilities that were rounded to 1
    [row] = explain(labeller(scorer, temperature=0.01), ["the sea rain"])
    assert row.evidence[0].probability == 1.0
    assert row.evidence[0].effects == pytest.approx([0, 200, 50], abs=1)
    [row] = explain(labeller(scorer, temperature=0.01, multi_label=True), ["the sea rain"])
    assert row.evidence[0].effects == pytest.approx([0, 200, 100])


def models(request, name):
    """A model for each kind of scorer, and labels that suit it."""
    if name == "embedding":
        return request.getfixturevalue("tiny_model"), ["sea", "bank", "game"]
    if name in ("cloze", "replaced"):
        blanks = request.getfixturevalue("blanks")
        return (blanks("bert", "mlm") if name == "cloze" else blanks("electra", "rtd")), ["sea", "bank", "game"]
    if name == "one_pass":
        return request.getfixturevalue("glass")[0], ["sea", "bank", "game"]
    if name == "likelihood":
        return request.getfixturevalue("pair")[0], None
    tuned = request.getfixturevalue("tuned")
    if name == "trained":
        return tuned("classification", labels=("sea", "bank", "game")), None
    return tuned("classification", labels=("contradiction", "neutral", "entailment")), ["sea", "bank", "game"]


@pytest.mark.parametrize(
    "name", ["embedding", "entailment", "cloze", "replaced", "trained", "one_pass", "likelihood"]
)
def test_every_scorer_is_explained_by_its_own_probabilities(name, request):
    # kills: an explainer with a probability of its own; a scorer that fails on a text of no words; a text that is
    # cut explained by words that were never read
    model, labels = models(request, name)
    clf = sijo.ZeroShotClassifier(labels, model, scorer=name)
    long = " ".join(np.random.default_rng(0).choice(WORDS[:-1], 60))
    texts = ["the old sea, and rain.", "game", "", "we see a bank in it", long]
    rows = clf.explain(texts)
    assert [reported(row) for row in rows] == clf.classify(texts)
    for row in rows:
        for evidence in row.evidence:
            odds = math.log(evidence.probability / (1 - evidence.probability))
            assert evidence.log_odds == pytest.approx(odds, abs=1e-4)
        for place in range(0, len(row.parts), 3):
            part = row.parts[place]
            rest = row.text[: part.start] + row.text[part.end :]
            after = clf.classify([rest[: row.read_until - len(part.text)] if row.truncated else rest])[0]
            want = dict(zip(after.labels, after.scores, strict=True))[row.evidence[0].label]
            assert row.evidence[0].log_odds - row.evidence[0].effects[place] == pytest.approx(
                math.log(want / (1 - want)), abs=1e-3
            )
    cut = rows[-1]
    assert cut.truncated == (name in ("entailment", "cloze", "replaced", "one_pass"))
    assert (cut.read_until < len(long)) == cut.truncated
    if cut.truncated:
        read = long[: cut.read_until]
        assert len(cut.parts) == len(read.split())
        [alone] = clf.classify([read])
        assert alone.scores == pytest.approx(cut.scores, abs=1e-6)
        if name == "one_pass":
            room = clf._scorer().room_beside(LabelSet.of(labels).labels, "{}")
            assert len(clf._scorer().engine.model.tokenizer.ids([read])[0]) == room  # each word here is a token
            return
        [short] = clf.classify([read.rsplit(" ", 3)[0]])
        assert short.scores != pytest.approx(cut.scores, abs=1e-6)  # nothing that counts was cut off, nor much kept


def test_explanations_are_the_same_again_and_in_any_company(tiny_model):
    # kills: chance in what is left out; a text's parts mixed up with its neighbours'
    clf = sijo.ZeroShotClassifier(["sea", "bank", "game"], tiny_model)
    texts = [" ".join(np.random.default_rng(seed).choice(WORDS[:-1], 3 + seed % 9)) for seed in range(70)]
    rows = clf.explain(texts)
    assert rows == clf.explain(texts)
    for place in (0, 31, 69):
        [alone] = clf.explain([texts[place]])
        assert alone.parts == rows[place].parts and alone.label == rows[place].label
        assert alone.evidence[0].effects == pytest.approx(rows[place].evidence[0].effects, abs=1e-3)
    with pytest.raises(SettingError, match="one string"):
        clf.explain("the sea")
    with pytest.raises(TextError, match="text 2"):
        clf.explain(["the sea", 3])


def test_memory_is_bounded_where_labels_are_many(scorer, monkeypatch):
    # kills: the scores of thousands of labels held for every variant of many texts
    held = []
    of_texts = occlusion.log_odds

    def log_odds(labeller, texts, labels=None):
        odds = of_texts(labeller, texts, labels)
        held.append(odds.size)
        return odds

    monkeypatch.setattr(occlusion, "log_odds", log_odds)
    monkeypatch.setattr(occlusion, "MOST_SCORES", 100)
    rows = list(explain(labeller(scorer), ["sea bank rain goal old new one two"] * 6, limit=16))
    assert max(held) <= 100 and len(rows) == 6 and len(rows[5].parts) == 8
