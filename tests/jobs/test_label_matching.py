"""An encoder that learns to fit labels: what a run leaves, how it goes on, what it refuses before it begins."""

import csv
import hashlib
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

import sijo
from runs import REQUESTS
from sijo.checkpoints.load import load
from sijo.errors import SettingError, SijoError, TextError
from sijo.inference.encode import engine_of
from sijo.jobs.open_labels.label_matching import match_labels
from sijo.jobs.open_labels.label_matching_settings import MatchingFiles, default_matching
from sijo.jobs.open_labels.label_matching_setup import LabelMatchingSetup
from sijo.jobs.open_labels.mixture import read_mixture
from sijo.jobs.open_labels.recast import read_set
from sijo.objectives.posed_batch import unposed
from sijo.training import state
from sijo.training.settings import with_changes
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.scorer import ScoreRequest

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ("run.steps=9", "run.batch=8", "run.save_every=4", "run.log_every=2", "schedule.peak=0.01", "top_layers=1")


@pytest.fixture
def place(tmp_path):
    """A folder with two sets to learn from and one to measure on, of real requests; and mixtures of them."""
    with REQUESTS.open(encoding="utf-8", newline="") as file:
        every = list(csv.DictReader(file))
    for name, domains in (
        ("one", ("travel", "banking", "home")),
        ("two", ("work", "meta")),
        ("kept", ("small talk", "utility", "kitchen and dining")),
    ):
        rows = [row for row in every if row["domain"] in domains]
        text = "".join(json.dumps({"text": row["text"], "label": row["domain"]}) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    (tmp_path / "train.toml").write_text(
        '[[sets]]\nfile = "one.jsonl"\nlabels = "one.toml"\nnames = {travel = "trip", banking = "bank", '
        'home = "house"}\n'
        '[[sets]]\nfile = "two.jsonl"\nweight = 0.5\n'
    )
    (tmp_path / "one.toml").write_text(
        '[labels]\ntravel = ["to land and sea"]\nbanking = ["money in a bank", "tax"]\nhome = []\n'
    )
    (tmp_path / "eval.toml").write_text('[[sets]]\nfile = "kept.jsonl"\n')
    return tmp_path


@pytest.fixture
def run(place, tiny_model):
    """`run(out, *changes)` makes a whole run; gives its steps."""

    def make(out, *changes, train="train.toml", evaluation="eval.toml", model=tiny_model, **options):
        settings = with_changes(default_matching(model), [*SMALL, *changes])
        files = MatchingFiles(
            train=str(place / train), evaluation=None if evaluation is None else str(place / evaluation)
        )
        return list(match_labels(settings, files, place / out, **options))

    return make


def lines(out):
    return [json.loads(line) for line in (out / "evaluations.jsonl").read_text().splitlines()]


def left(out):
    """SHA-256 of all that a run must leave alike, however often it was interrupted."""
    _, last = state.steps(out / "checkpoints")[-1]
    names = ("metrics.jsonl", "evaluations.jsonl", "results.json", "model/model.safetensors", "model/config.json")
    files = [*sorted(last.glob("*.safetensors")), *(out / name for name in names)]
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_what_a_run_leaves(run, place, tiny_model):
    # kills: frozen layers that move, a top layer that does not, weights that are not the last ones, a folder that
    # is no sentence encoder, an evaluation that is left out or is of another model
    out, told = place / "run", []
    steps = run("run", tell=told.append)
    assert [step.number for step in steps] == list(range(1, 10))
    assert [line["step"] for line in lines(out)] == [0, 4, 8, 9] and told[0].startswith("step 0: macro-F1 ")
    before, after = load(tiny_model).state_dict(), load(out / "model").state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all(name.startswith("transformer.blocks.1.") for name in moved)
    assert len(moved) == 16  # of the top layer all
    last = state.newest(out / "checkpoints").weights
    assert all(torch.equal(after[name], last[f"network.{name}"]) for name in after)
    for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
        assert (out / "model" / name).is_file()
    assert load(out / "model").sentence == load(tiny_model).sentence
    assert "macro_f1 kept (en)" in (out / "model" / "README.md").read_text()


def test_what_is_measured_is_what_the_classifier_answers(run, place, tiny_model):
    # kills: another template or other names than `sijo classify` takes, predictions of other rows, results from
    # the wrong end of the run
    run("run")
    results = json.loads((place / "run" / "results.json").read_text())
    rows = [json.loads(line) for line in (place / "kept.jsonl").read_text().splitlines()]
    gold, texts = [row["label"] for row in rows], [row["text"] for row in rows]
    names = sorted({*gold})
    for when, model in (("before", tiny_model), ("after", place / "run" / "model")):
        scorer = EmbeddingScorer(engine_of(model))
        scores, _ = scorer.score(ScoreRequest(texts, [Label(name) for name in names], scorer.template))
        want = f1_score(gold, [names[place] for place in scores.argmax(1)], average="macro")
        assert results["sets"]["kept (en)"][when]["value"] == pytest.approx(want) == results[when]
        answers = sijo.ZeroShotClassifier(labels=names, model=model, scorer="embedding").fit().predict(texts)
        assert f1_score(gold, answers, average="macro") == pytest.approx(want)
    assert results["sets"]["kept (en)"]["rows"] == len(rows) and results["steps"] == 9
    assert results["before"] != results["after"]


@pytest.mark.parametrize("prompt", [None, "we sea: ", "two"])
def test_training_and_the_scorer_see_the_same_vectors(run, place, tiny_copy, prompt):
    # kills: a prompt that training leaves out, or the exported model; another pooling, or prompt tokens that one
    # of the two pools; labels cased otherwise
    (tiny_copy / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True, "include_prompt": False})
    )
    prompts = {"prompts": {"two": "two of them: "}, "default_prompt_name": None}
    (tiny_copy / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    changes = () if prompt is None else (f"prompt={json.dumps(prompt)}",)
    run("run", *changes, model=tiny_copy)
    settings = with_changes(default_matching(place / "run" / "model"), SMALL)
    files = MatchingFiles(train=str(place / "two.jsonl"), evaluation=str(place / "eval.toml"))
    setup = LabelMatchingSetup(settings, files)
    assert setup.before == {None: "", "two": "two of them: "}.get(prompt, prompt)
    setup.objective.eval()
    batch = setup.train.batch(0, 8, seed=0)
    with torch.no_grad():
        cosines = setup.objective.cosines(unposed(batch)).numpy()
    engine = engine_of(place / "run" / "model")
    texts = [setup.train.sets[0].texts[number] for number in batch.numbers]
    whole = batch.keep.sum(1) < 32  # a longer one is read in windows by the scorer
    assert whole.sum() > 4
    made = [engine.encode(words).vectors for words in (texts, _sentences(setup, batch))]
    texts_BD, labels_KD = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in made)
    np.testing.assert_allclose(cosines[whole], (texts_BD @ labels_KD.T)[whole], atol=1e-5)


def _sentences(setup, batch):
    """What the labels of a batch say, found by their ids among all that they could."""
    made = setup.train.sets[0]
    every = [
        text
        for words in made.words.values()
        for label in words
        for text in (*(name for names in label.sentences for name in names), *label.descriptions)
    ]
    tokenizer, before = setup.model.tokenizer, setup.before
    by_ids = {
        tuple(tokenizer.framed(ids).ids): text
        for ids, text in zip(tokenizer.ids([before + t for t in every]), every, strict=True)
    }
    rows = zip(batch.beside.input_ids, batch.beside.keep, strict=True)
    return [by_ids[tuple(ids[keep].tolist())] for ids, keep in rows]


@pytest.mark.parametrize("after", [1, 4, 6])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(run, place, after):
    # kills: draws that depend on what was drawn before, nearest labels by weights that have moved, an evaluation
    # that is missing or twice there
    run("whole")
    made = []
    run("parts", stop=lambda: len(made) == after or made.append(1) is not None)
    assert not (place / "parts" / "results.json").exists()
    if after == 4:  # as if it was killed when the checkpoint was there and its evaluation was not
        file = place / "parts" / "evaluations.jsonl"
        file.write_text(file.read_text().splitlines(keepends=True)[0])
    run("parts", resume=True)
    assert left(place / "parts") == left(place / "whole")
    run("parts", resume=True)  # nothing is left to do
    assert left(place / "parts") == left(place / "whole")


def test_the_loss_falls(run, place):
    # kills: a step against the gradient, targets that are not the texts' own
    words = {"sea": "salt rain land oil", "money": "bank tax price new", "game": "team ball goal two"}
    rows = [
        {"text": f"{one} {verb} {other}", "label": label}
        for label, content in words.items()
        for one in content.split()
        for other in content.split()
        for verb in ("is", "was")
    ]
    (place / "clear.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fixed = ("questions.fewest=3", "questions.most=3", "top_layers=null", "schedule.peak=0.003")
    run("run", "run.steps=60", "run.log_every=20", "run.batch=16", *fixed, train="clear.jsonl")
    losses = [json.loads(line)["labels"] for line in (place / "run" / "metrics.jsonl").read_text().splitlines()]
    assert losses[2] < 0.5 * losses[0]


def test_all_layers_learn_where_none_is_frozen(run, place, tiny_model):
    # kills: embeddings that are frozen by default
    run("run", "top_layers=null")
    before, after = load(tiny_model).state_dict(), load(place / "run" / "model").state_dict()
    assert sum(not torch.equal(before[name], after[name]) for name in before) >= 33


def test_rows_are_held_out_where_no_sets_are_given(run, place):
    # kills: rows that are learned from and measured on, more of them measured than asked
    run("run", "held_out=0.2", "evaluation_rows=15", evaluation=None)
    data = json.loads((place / "run" / "data.json").read_text())
    assert data["train_rows"] == {"one": 72, "two": 48} and data["evaluation_rows"] == {"one": 15, "two": 12}
    assert set(lines(place / "run")[0]["sets"]) == {"one (en)", "two (en)"}


def test_texts_that_judge_are_not_learned_from(run, place):
    # kills: a text that is measured on and learned from, a copy that differs in capitals or blanks, a count that
    # nobody is told
    row = json.loads((place / "kept.jsonl").read_text().splitlines()[0])
    with (place / "two.jsonl").open("a") as file:
        file.write(json.dumps({"text": f"  {row['text'].upper()} ", "label": "work"}) + "\n")
    with pytest.warns(sijo.SijoWarning, match="1 rows are left out, since their texts are measured on: 1 of two"):
        run("run")
    assert json.loads((place / "run" / "data.json").read_text())["train_rows"] == {"one": 90, "two": 60}
    with pytest.raises(TextError, match="every text of the set 'kept' is measured on"):
        run("other", train="kept.jsonl")


def test_every_language_is_measured_by_itself(run, place):
    # kills: names of one language measured in the template of another, or left out
    (place / "eval.toml").write_text(
        '[[sets]]\nfile = "kept.jsonl"\n[sets.names]\n"small talk" = "잡담"\nutility = "도구"\n'
        '"kitchen and dining" = "요리"\n'
    )
    run("run")
    first = lines(place / "run")[0]
    assert set(first["sets"]) == {"kept (en)", "kept (ko)"}
    assert first["macro_f1"] == pytest.approx(np.mean([one["value"] for one in first["sets"].values()]))
    assert first["sets"]["kept (ko)"]["value"] < first["sets"]["kept (en)"]["value"]  # of which it reads nothing


def test_near_labels_are_near(place, tiny_model):
    # kills: the farthest labels taken for the nearest, a label that is its own nearest, names in another order
    files = MatchingFiles(train=str(place / "one.jsonl"), evaluation=str(place / "eval.toml"))
    setup = LabelMatchingSetup(default_matching(tiny_model), files)
    made = setup.train.sets[0]
    scorer = EmbeddingScorer(engine_of(tiny_model))
    names = [label.sentences[1][0] for label in made.words["en"]]  # in the template "{}"
    vectors = scorer.vectors([Label(name) for name in names], scorer.template)
    for number, row in enumerate(made.near.tolist()):
        others = [other for other in range(3) if other != number]
        assert row == sorted(others, key=lambda other: -float(vectors[number] @ vectors[other]))


def test_any_encoder_becomes_a_sentence_encoder(run, place, tiny_copy):
    # kills: a model without modules.json that stays without, and is then taken for no sentence encoder
    (tiny_copy / "modules.json").unlink()
    run("run", "questions.length=32", model=tiny_copy)
    sentence = load(place / "run" / "model").sentence
    assert sentence.trained and sentence.pooling == "mean"


def test_names_stand_in_the_templates_of_their_language(place):
    # kills: a particle that does not fit its noun, a name in the template of another language, a description in a
    # template, other names that are lost, the code in a column taken for a name
    (place / "mixture.toml").write_text(
        '[templates]\nfr = ["Il s\'agit de {}."]\n'
        '[[sets]]\nfile = "two.jsonl"\nlabels = "two.json"\nown_names = false\n'
        'names = [{work = ["the office", "건강"], meta = ["settings", "경제"]}, "fr.toml"]\n'
        'templates = {en = ["On {}.", "{}"]}\n'
    )
    (place / "two.json").write_text(json.dumps({"work": "what people do", "meta": ["여러 가지"]}))
    (place / "fr.toml").write_text(
        'language = "fr"\ntemplates = {fr = "Sur {}."}\n[labels]\nwork = ["travail"]\nmeta = ["réglages"]\n'
    )
    (entry,) = read_mixture(place / "mixture.toml")
    made = read_set(entry)
    words = made.words()
    place_of = made.labels.names.index
    work, meta = place_of("work"), place_of("meta")
    assert set(words) == {"en", "fr", "ko"}
    assert words["en"][work].sentences == (("On the office.",), ("the office",))
    assert words["en"][work].descriptions == ("what people do",) and words["en"][meta].descriptions == ()
    assert words["ko"][meta].descriptions == ("여러 가지",)
    korean = {words["ko"][work].sentences[0][0], words["ko"][meta].sentences[0][0]}
    assert korean == {"이 글은 건강을 다룬다.", "이 글은 경제를 다룬다."}
    assert words["fr"][meta].sentences == (("Il s'agit de réglages.",),)
    text = (place / "mixture.toml").read_text()
    (place / "mixture.toml").write_text(text[text.index("[[sets") :])  # a labels file's own template then stands
    assert read_set(read_mixture(place / "mixture.toml")[0]).words()["fr"][work].sentences == (("Sur travail.",),)
    assert made.plain_template("en") == "This is about {}." and made.plain_template("fr") == "Il s'agit de {}."


def test_parents_are_no_labels_to_choose(place):
    # kills: a label that its own parent is held against
    (place / "nested.toml").write_text('[labels]\njob = []\n[labels.work]\nparent = "job"\n[labels.meta]\n')
    (place / "mixture.toml").write_text('[[sets]]\nfile = "two.jsonl"\nlabels = "nested.toml"\n')
    assert read_set(read_mixture(place / "mixture.toml")[0]).labels.names == ("work", "meta")


FAULTS = {
    "one label": ('[[sets]]\nfile = "single.jsonl"', TextError, "has one label, 'sea'"),
    "an unknown label": ('[[sets]]\nfile = "one.jsonl"\nlabels = "short.txt"', TextError, "no label 'home'"),
    "a blank text": ('[[sets]]\nfile = "blank.jsonl"', TextError, "line 2: the text is empty"),
    "pairs": ('[[sets]]\nfile = "pairs.csv"', TextError, "pairs of texts"),
    "two labels of one name": (
        '[[sets]]\nfile = "two.jsonl"\nnames = {work = "Job", meta = "job"}', SettingError, "nobody could tell"),
    "some names": ('[[sets]]\nfile = "two.jsonl"\nnames = {work = "일"}', SettingError, "for 1 of 2 labels"),
    "a name of no label": ('[[sets]]\nfile = "two.jsonl"\nnames = {wrok = "job"}', SettingError, "mean 'work'"),
    "no name": ('[[sets]]\nfile = "two.jsonl"\nown_names = false', SettingError, "no other name of 'meta'"),
    "no template": ('[[sets]]\nfile = "two.jsonl"\nlanguage = "de"', SettingError, "names in 'de'"),
    "a template without a slot": ('[[sets]]\nfile = "two.jsonl"\ntemplates = {en = ["On."]}', TextError, "once"),
    "no templates": ('[[sets]]\nfile = "two.jsonl"\ntemplates = {en = []}', TextError, "list of sentences"),
    "an unknown key": ('[[sets]]\nfile = "two.jsonl"\nwieght = 2', TextError, "1 has 'wieght'; did you"),
    "a wrong kind": ('[[sets]]\nfile = "two.jsonl"\nweight = "2"', TextError, "give a number above 0"),
    "no weight": ('[[sets]]\nfile = "two.jsonl"\nweight = 0', TextError, "weight is 0"),
    "no file": ('[[sets]]\nname = "two"', TextError, "names no file"),
    "no sets": ("sets = []", TextError, "tells of no sets"),
    "a set of nothing": ('sets = ["two.jsonl"]', TextError, "tells of no sets"),
    "an unknown table": ('[[set]]\nfile = "two.jsonl"', TextError, "has 'set'; did you mean 'sets'"),
    "two sets of one name": ('[[sets]]\nfile = "two.jsonl"\n[[sets]]\nfile = "two.jsonl"', TextError, "both"),
    "no TOML": ("[[sets", TextError, "is not TOML"),
    "an absent file": ('[[sets]]\nfile = "absent.jsonl"', SettingError, "absent.jsonl"),
}  # fmt: skip


@pytest.mark.parametrize("content, error, words", FAULTS.values(), ids=FAULTS)
def test_sets_that_cannot_be_learned_from(run, place, content, error, words):
    # kills: each a check that is not made before anything is begun
    (place / "single.jsonl").write_text('{"text": "salt", "label": "sea"}\n{"text": "waves", "label": "sea"}\n')
    (place / "blank.jsonl").write_text('{"text": "salt", "label": "sea"}\n{"text": " ", "label": "sun"}\n')
    (place / "pairs.csv").write_text("sentence1,sentence2,label\na,b,sea\nc,d,sun\n")
    (place / "short.txt").write_text("travel\nbanking\n")
    (place / "faulty.toml").write_text(content)
    with pytest.raises(error, match=words):
        run("run", train="faulty.toml")
    assert not (place / "run").exists()


@pytest.mark.parametrize(
    "change, words",
    [
        ('prompt="we we we we we we we "', "leaves no room for a text in questions.length=8"),
        ("questions.length=64", "longer than the 32 tokens"),
        ("top_layers=3", "3 top layers cannot be trained of a network of 2"),
        ("top_layers=0", "train nothing"),
        ("temperature=0", "temperature=0"),
        ("evaluation_rows=0", "measures nothing"),
        ("held_out=1", "no share of the rows"),
    ],
)
def test_settings_that_cannot_be(run, place, change, words):
    # kills: a setting that is found wanting when the run is under way
    with pytest.raises(SettingError, match=words):
        run("run", "questions.length=8", change)
    assert not (place / "run").exists()


def test_another_mixture_is_another_run(run, place):
    # kills: a run that goes on with other sets than it was begun with
    run("run", stop=lambda: True)
    with (place / "two.jsonl").open("a") as file:
        file.write('{"text": "one more", "label": "work"}\n')
    with pytest.raises(SijoError, match="digest"):
        run("run", resume=True)
    with pytest.raises(SijoError, match="--resume"):
        run("run")


def test_a_file_that_is_not_there(run):
    # kills: a stack trace in place of a sentence
    with pytest.raises(SettingError, match="there is no file"):
        run("run", train="absent.toml")


def test_a_teacher_is_learned_from_in_place_of_the_right_label(run, place, tiny_model, minilm):
    # kills: a teacher that is not read, that reads other words, whose scores are not of the run's temperature, or
    # that is forgotten when a run goes on; a folder beside the mixture that is looked for elsewhere
    (place / "taught.toml").write_text('[[sets]]\nfile = "two.jsonl"\nteacher = "all-minilm-l6-v2"\n')
    settings = with_changes(default_matching(tiny_model), ["temperature=0.1"])
    setup = LabelMatchingSetup(settings, MatchingFiles(train=str(place / "taught.toml")))
    batch = setup.train.batch(0, 8, seed=0)
    texts = [setup.train.sets[0].texts[number] for number in batch.numbers]
    teacher = EmbeddingScorer(engine_of(minilm))
    labels = [Label(["meta", "work"][number]) for number in batch.beside.numbers]
    scores, _ = teacher.score(ScoreRequest(texts, labels, "This is about {}."))
    np.testing.assert_allclose(batch.labels, scores / 0.1, atol=1e-4)
    run("taught", train="taught.toml")
    run("plain", train="two.jsonl")
    assert left(place / "taught") != left(place / "plain")
    calls = iter([False] * 5 + [True])
    run("halves", train="taught.toml", stop=lambda: next(calls, False))
    run("halves", train="taught.toml", resume=True)
    assert left(place / "halves") == left(place / "taught")


def test_a_teacher_is_a_folder_beside_the_mixture_or_a_name(run, place, tiny_model):
    # kills: a folder that is looked for elsewhere, a teacher that is not there and is found out late
    (place / "teacher").symlink_to(tiny_model)
    (place / "taught.toml").write_text('[[sets]]\nfile = "two.jsonl"\nteacher = "teacher"\n')
    assert read_mixture(place / "taught.toml")[0].teacher == str(place / "teacher")
    (place / "taught.toml").write_text('[[sets]]\nfile = "two.jsonl"\nteacher = "no-such"\n')
    with pytest.raises(SettingError, match="no-such"):
        run("run", train="taught.toml")
    assert not (place / "run").exists()
