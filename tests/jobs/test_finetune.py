"""A run over labelled rows: what it leaves, how it stops and goes on, what it refuses before it begins."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
import transformers

import sijo
from runs import REQUESTS
from sijo.errors import SettingError, TextError
from sijo.files.paths import FolderFile
from sijo.jobs import finetune as finetuning
from sijo.jobs import finetune_seed as attempt
from sijo.jobs.finetune import finetune
from sijo.jobs.finetune_settings import FinetuneSettings, LabelledFiles, default_settings
from sijo.objectives.supervised import HEADS, Supervised
from sijo.training import state
from sijo.training.loop import DivergedError
from sijo.training.settings import read_settings, setting_descriptions, with_changes
from sijo.zeroshot.scorers.open import open_scorer

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = (
    "run.batch=8",
    "run.micro_tokens=64",
    "run.log_every=2",
    "schedule.peak=0.01",
    "cutting.length=24",
    "run.epochs=4",
    "held_out=0.25",
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """48 real requests of three domains, as a file."""
    import csv

    with REQUESTS.open(encoding="utf-8", newline="") as file:
        every = list(csv.DictReader(file))
    some = [row for name in ("travel", "banking", "home") for row in [r for r in every if r["domain"] == name][:16]]
    path = tmp_path_factory.mktemp("rows") / "requests.jsonl"
    path.write_text("".join(json.dumps({"text": row["text"], "label": row["domain"]}) + "\n" for row in some))
    return path


@pytest.fixture
def run(rows, tiny_model):
    """`run(out, *changes)` makes a whole run over the requests; gives its steps."""

    def make(out, *changes, task="classification", train=None, evaluation=None, model=tiny_model, **options):
        settings = with_changes(default_settings(task, str(model)), [*SMALL, *changes])
        data = LabelledFiles(train=str(train or rows), evaluation=evaluation and str(evaluation))
        return list(finetune(settings, data, out, **options))

    return make


def left(out):
    """SHA-256 of all that a run must leave alike, however often it was interrupted."""
    _, last = state.steps(out / "checkpoints")[-1]
    names = ("metrics.jsonl", "evaluations.jsonl", "predictions.jsonl", "results.json", "best/weights.safetensors")
    files = [
        *sorted(last.glob("*.safetensors")),
        *(out / name for name in names),
        *sorted((out / "model").iterdir()),
    ]
    files = [file for file in files if file.is_file() and file.name not in ("README.md", "manifest.json")]
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def lines(out):
    return [json.loads(line) for line in (out / "evaluations.jsonl").read_text().splitlines()]


def test_what_a_run_leaves(run, rows, tmp_path, tiny_model):
    # kills: a label that is a number, weights that are not the best ones, predictions of other rows,
    # numbers in the results that are not those of the predictions
    out, told = tmp_path / "run", []
    steps = run(out, tell=told.append)
    assert steps[-1].number == 18  # 36 rows, 4 epochs, batches of 8
    assert [line["step"] for line in lines(out)] == [5, 10, 15, 18]
    model = sijo.load(out / "model", "sequence-classification")
    assert model.labels == ("banking", "home", "travel")
    config = json.loads((out / "model" / "config.json").read_text())
    assert config["problem_type"] == "single_label_classification"
    assert config["architectures"] == ["BertForSequenceClassification"]
    results = json.loads((out / "results.json").read_text())
    best = max(lines(out), key=lambda line: line["accuracy"])
    assert results["macro_f1_over"] == "labels in gold or predictions"
    assert results["metrics"]["accuracy"]["value"] == best["accuracy"] and results["best_step"] == best["step"]
    said = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert len(said) == 12 and results["evaluation_rows"] == 12
    assert sum(one["gold"] == one["predicted"] for one in said) / 12 == best["accuracy"]
    read = [model.tokenizer.framed(model.tokenizer.ids([one["text"]])[0][:22]).ids for one in said]
    again = [model.labels[int(model(torch.tensor([ids])).logits.argmax())] for ids in read]
    assert again == [one["predicted"] for one in said]
    card = (out / "model" / "README.md").read_text()
    for words in ("banking", "accuracy", "requests.jsonl", "tiny", "schedule.peak = 0.01", "chosen"):
        assert words in card, words
    assert str(tmp_path) not in card and str(tiny_model) not in card
    public = transformers.AutoModelForSequenceClassification.from_pretrained(out / "model").eval()
    assert public.config.label2id == {"banking": 0, "home": 1, "travel": 2}
    for ids in read:
        torch.testing.assert_close(
            public(torch.tensor([ids])).logits, model(torch.tensor([ids])).logits, rtol=1e-4, atol=1e-4
        )
    assert any(sentence.startswith("step 5,") for sentence in told)


ENSEMBLE = ("ensemble.every=3", "ensemble.fewest=4", "ensemble.rise=3", "smoothing=0.15")


@pytest.mark.parametrize(
    "changes", [("run.average=0.9", "patience=3"), ("sift.weight=1", "class_weights=balanced"), ENSEMBLE]
)
def test_a_run_that_was_stopped_is_one_that_was_not(run, tmp_path, changes):
    # kills: an evaluation that is lost or made twice, the best weights of a later step, chance that is remembered,
    # an ensemble that begins anew, or takes a reading in twice
    run(tmp_path / "whole", *changes)
    for stop_at in (1, 3, 6, 0, 11):
        seen = []

        def stop(seen=seen, at=stop_at):
            seen.append(1)
            return len(seen) > at

        run(tmp_path / "parts", *changes, resume=True, stop=stop)
    run(tmp_path / "parts", *changes, resume=True)
    assert left(tmp_path / "parts") == left(tmp_path / "whole")
    run(tmp_path / "parts", *changes, resume=True)
    assert left(tmp_path / "parts") == left(tmp_path / "whole")


def test_a_run_under_an_ensemble(run, tmp_path):
    # kills: readings that are not made, or not told; a loss that rises with the ramp taken for one that is lost
    told = []
    changes = ("ensemble.every=5", "ensemble.rise=1", "ensemble.weight=50")
    steps = run(tmp_path / "run", *changes, "run.divergence=1e9", tell=told.append)
    assert [step.losses["ensemble"] > 0 for step in steps] == [False] * 5 + [True] * 13
    saved = state.newest(tmp_path / "run" / "checkpoints")
    assert int(saved.memory["ensemble.readings"]) == 3 and saved.memory["ensemble.sums"].shape == (36, 3)
    torch.testing.assert_close(saved.memory["ensemble.sums"].sum(-1), torch.full((36,), 1 - 0.8**3))
    trusted = [sentence.split(", ")[-1] for sentence in told if "loss" in sentence]
    assert len(trusted) == 4 and trusted[0] == "36 rows trusted" and trusted[-1] != "36 rows trusted"
    smoothed, lowest = steps[0].loss, steps[0].loss
    for step in steps[1:]:
        lowest = smoothed if step.number in (6, 11, 16) else lowest
        smoothed = 0.98 * smoothed + 0.02 * step.loss
        lowest = min(lowest, smoothed)
    loop = saved.fields["loop"]
    assert (loop["smoothed"], loop["lowest"]) == pytest.approx((smoothed, lowest))
    assert lowest > steps[0].loss


@pytest.mark.parametrize("killed_in", ["predictions", "better", "write", "measure", "export"])
def test_killed_at_an_evaluation(run, tmp_path, monkeypatch, killed_in):
    # kills: a checkpoint that is never evaluated because the process died between the two, a line that stands twice
    run(tmp_path / "whole")

    class Killed(BaseException):
        """The process is gone."""

    def killing(*given, **more):
        raise Killed

    count = [0]
    own = attempt.FinetuneSeed._evaluate

    def evaluate(self, objective, step):
        count[0] += 1
        if count[0] == 2 and killed_in in ("predictions", "better"):
            with monkeypatch.context() as at:
                at.setattr(attempt.FinetuneSeed, killed_in, killing)
                own(self, objective, step)
        elif count[0] == 2 and killed_in == "write":
            with monkeypatch.context() as at:
                at.setattr(attempt.JsonLinesFile, "write", killing)
                own(self, objective, step)
        own(self, objective, step)

    monkeypatch.setattr(attempt.FinetuneSeed, "_evaluate", evaluate)
    if killed_in in ("measure", "export"):
        monkeypatch.setattr(finetuning, killed_in, killing)
    with pytest.raises(Killed):
        run(tmp_path / "parts")
    monkeypatch.undo()
    run(tmp_path / "parts", resume=True)
    assert left(tmp_path / "parts") == left(tmp_path / "whole")


def test_a_damaged_checkpoint_is_passed_over(run, tmp_path):
    # kills: evaluations of steps that are made anew, told twice; best weights of a run that never was
    run(tmp_path / "whole", "run.keep=2")
    seen, told = [], []
    run(tmp_path / "parts", "run.keep=2", stop=lambda: len(seen) > 9 or seen.append(1))
    steps = state.steps(tmp_path / "parts" / "checkpoints")
    file = steps[-1][1] / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    assert [line["step"] for line in lines(tmp_path / "parts")] == [5, 10]
    run(tmp_path / "parts", "run.keep=2", resume=True, tell=told.append)
    assert any("is kept as" in sentence for sentence in told)
    assert left(tmp_path / "parts") == left(tmp_path / "whole")


@pytest.fixture
def scored(monkeypatch):
    """`scored([…])` makes of these the accuracies at the next evaluations."""
    own = attempt.values

    def score(values):
        shown = iter(values)
        monkeypatch.setattr(attempt, "values", lambda metrics, rows: own(metrics, rows) | {"accuracy": next(shown)})

    return score


def test_the_average_is_what_is_measured_and_kept(run, scored, tmp_path):
    # kills: the weights themselves measured or kept in place of their average
    out = tmp_path / "run"
    scored([0.1, 0.2, 0.3, 0.9])
    run(out, "run.average=0.9", "run.keep=9")
    last = out / "checkpoints" / "step-00000018"
    kept, average, own = (
        state.read_file(FolderFile(file.parent, file.name))
        for file in (
            out / "best" / "weights.safetensors",
            last / "average.safetensors",
            last / "weights.safetensors",
        )
    )
    assert all(torch.equal(kept[name], average[name]) for name in kept)
    assert not any(torch.equal(kept[name], own[name]) for name in kept if "blocks" in name and "weight" in name)


def test_the_best_of_seeds_is_kept(run, scored, tmp_path):
    # kills: the first seed, or the last, kept whatever came of it
    scored([0.2, 0.6, 0.4])
    run(tmp_path / "run", "seeds=3", "run.seed=5", "run.epochs=1")
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["best_seed"] == 6
    assert json.loads((tmp_path / "run" / "results.json").read_text())["seed"] == 6


def test_patience_ends_a_run_and_the_best_stays(run, scored, tmp_path, monkeypatch):
    # kills: a run that goes on, one that stops too early, the last weights in place of the best, a later equal
    scored([0.2, 0.6, 0.6, 0.5])
    run(tmp_path / "run", "patience=2", "run.epochs=9")
    assert [line["accuracy"] for line in lines(tmp_path / "run")] == [0.2, 0.6, 0.6, 0.5]
    assert json.loads((tmp_path / "run" / "results.json").read_text())["best_step"] == 10
    monkeypatch.undo()
    run(tmp_path / "run", "patience=2", "run.epochs=9", resume=True)
    assert len(lines(tmp_path / "run")) == 4

    scored([0.2, 0.6, 0.7, 0.5])
    run(tmp_path / "other", "run.epochs=4", "run.keep=9")
    kept = state.read_file(FolderFile(tmp_path / "other" / "best", "weights.safetensors"))
    there = state.read_file(FolderFile(tmp_path / "other" / "checkpoints" / "step-00000015", "weights.safetensors"))
    assert kept.keys() == there.keys() and all(torch.equal(kept[name], there[name]) for name in kept)


def test_several_seeds_are_compared(run, tmp_path):
    # kills: the same run several times, other rows held out for each
    out = tmp_path / "run"
    run(out, "seeds=3", "run.seed=5", "run.epochs=2")
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["seeds"]) == {"5", "6", "7"}
    every = [one["accuracy"] for one in summary["seeds"].values()]
    spread = summary["metrics"]["accuracy"]
    assert spread["mean"] == pytest.approx(sum(every) / 3) and spread["highest"] == max(every)
    weights = [(out / f"seed-{seed}" / "best" / "weights.safetensors").read_bytes() for seed in (5, 6, 7)]
    assert len(set(weights)) == 3
    texts = [
        [json.loads(line)["text"] for line in (out / f"seed-{seed}" / "predictions.jsonl").read_text().splitlines()]
        for seed in (5, 6, 7)
    ]
    assert texts[0] == texts[1] == texts[2]
    assert summary["seeds"][str(summary["best_seed"])]["accuracy"] == max(every)
    kept = state.read_file(FolderFile(out / f"seed-{summary['best_seed']}" / "best", "weights.safetensors"))
    model = sijo.load(out / "model", "sequence-classification")
    assert torch.equal(
        model.head["sequence-classification"].out.weight, kept["network.head.sequence-classification.out.weight"]
    )
    assert (out / "predictions.jsonl").read_bytes() == (
        out / f"seed-{summary['best_seed']}" / "predictions.jsonl"
    ).read_bytes()


def test_where_a_run_begins(run, rows, tmp_path, tiny_model):
    # kills: a head of the same labels thrown away, one of other labels kept, labels in another order than its
    # columns, layers that are not renewed, or others with them
    first = tmp_path / "first"
    run(first)
    frozen = ("schedule.peak=1e-12", "run.epochs=1")
    run(tmp_path / "second", *frozen, model=first / "model")
    before, after = (
        sijo.load(place / "model", "sequence-classification") for place in (first, tmp_path / "second")
    )
    name = "head.sequence-classification.out.weight"
    torch.testing.assert_close(after.state_dict()[name], before.state_dict()[name], rtol=0, atol=1e-6)
    run(tmp_path / "renewed", *frozen, "fresh_layers=1")
    start, got = sijo.load(tiny_model), sijo.load(tmp_path / "renewed" / "model", "sequence-classification")
    for block, same in ((0, True), (1, False)):
        weights = [model.transformer.blocks[block].widen.weight for model in (start, got)]
        assert torch.allclose(*weights, atol=1e-6) is same
    run(tmp_path / "plain", *frozen, "head=plain")
    model = sijo.load(tmp_path / "plain" / "model", "sequence-classification")
    assert model.head["sequence-classification"].dense is None and model.labels == before.labels
    shared = replace(sijo.load(tiny_model).architecture, schedule=(0, 0))
    sijo.save(sijo.create(shared, tokenizer=sijo.load(tiny_model).tokenizer), tmp_path / "shared")
    with pytest.raises(SettingError, match="shares its layers"):
        run(tmp_path / "x", "fresh_layers=1", model=tmp_path / "shared")


TASKS = {
    "multi-label": [
        {"text": f"the {a} and the {b}", "labels": sorted({a, b} & {"sea", "rain", "sun"})}
        for a in ("sea", "rain", "sun", "land")
        for b in ("rain", "sun", "game", "bank")
    ],
    "regression": [{"text": "sea " * n + "land", "score": n / 2} for n in range(1, 13)] * 2,
    "tagging": [
        {"words": ["the", a, "was", b, "."], "tags": ["O", "B-x", "O", "B-y", "O"]}
        for a in ("sea", "land", "rain", "sun")
        for b in ("old", "new", "good", "bad")
    ],
    "question-answering": [
        {"question": f"what was {b} ?", "context": f"the {a} was {b} and the game was not", "answers": None, "a": a}
        for a in ("sea", "land", "rain", "sun")
        for b in ("old", "new", "good", "bad")
    ],
    "multiple-choice": [
        {"question": f"{a} and", "choices": [b, a, "team"][: 2 + n % 2], "label": 1}
        for a in ("sea", "land", "rain", "sun")
        for n, b in enumerate(("old", "new", "good", "bad"))
    ],
}


def file_of(task, tmp_path):
    records = [dict(record) for record in TASKS[task]]
    for number, record in enumerate(records):
        if task == "question-answering":
            answer = record.pop("a")
            where = {"text": [answer], "answer_start": [record["context"].index(answer)]}
            record["answers"] = where if number % 4 else {"text": [], "answer_start": []}
    path = tmp_path / f"{task}.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("task", TASKS)
def test_every_task_learns_and_is_left_open(run, tmp_path, task):
    # kills: a task whose loss does not fall, answers that do not fit their rows, a head that cannot be opened again
    out, path = tmp_path / "run", file_of(task, tmp_path)
    harder = task == "multi-label"
    plain = ("head=plain",) if harder else ()
    changes = (f"run.epochs={200 if harder else 30}", "every=30", "schedule.peak=0.005", *plain)
    steps = run(out, *changes, task=task, train=path, evaluation=path)
    assert steps[-1].loss < 0.7 * steps[0].loss
    results = json.loads((out / "results.json").read_text())
    said = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert len(said) == len(TASKS[task]) and results["metrics"][results["metric"]]["value"] > 0.4
    right = sum(one["gold"] == one["predicted"] for one in said)
    if task in ("multi-label", "multiple-choice"):
        name = {"multi-label": "exact_match", "multiple-choice": "accuracy"}[task]
        assert right / len(said) == results["metrics"][name]["value"]
    if task == "tagging":
        assert results["metric"] == "entity_f1" and all(len(one["predicted"]) == 5 for one in said)
    if task == "question-answering":
        assert {"best_threshold", "f1_at_best_threshold"} < set(results)
        assert sum(
            one["predicted"] in one["gold"] or one["gold"] == [] == [*one["predicted"]] for one in said
        ) == round(results["metrics"]["exact_match"]["value"] * len(said))
    head = HEADS[task]
    assert head in sijo.load(out / "model", head).heads
    run(
        tmp_path / "again",
        *changes[1:],
        "run.epochs=1",
        task=task,
        train=path,
        evaluation=path,
        model=out / "model",
    )


def test_tags_of_a_long_text_come_from_all_of_its_windows(run, tmp_path):
    # kills: tags of the second window laid over those of the first, or given to the next row
    places, things = ("sea", "land", "rain"), ("old", "new", "good")
    path = tmp_path / "long.jsonl"
    with path.open("w") as file:
        for a in places:
            for b in things:
                turn = len(a) + len(b)  # each row begins elsewhere, so that no two have the same tags
                words, tags = (["the", a, "was", b] * 6)[turn:][:11], ["O", "B-x", "O", "B-y"] * 6
                file.write(json.dumps({"words": words, "tags": tags[turn:][:11]}) + "\n")
    out = tmp_path / "run"
    changes = ("cutting.length=8", "run.epochs=80", "every=80", "schedule.peak=0.01")
    run(out, *changes, task="tagging", train=path, evaluation=path)
    said = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [one["words"] for one in said] == [json.loads(line)["words"] for line in path.read_text().splitlines()]
    assert json.loads((out / "results.json").read_text())["metrics"]["accuracy"]["value"] > 0.8


def test_a_teacher_of_the_same_labels(run, rows, tmp_path, tiny_model):
    # kills: a teacher that learns, columns in another order than the student's, a teacher among what is saved
    run(tmp_path / "teacher")
    place = tmp_path / "teacher" / "model"
    before = (place / "model.safetensors").read_bytes()
    out = tmp_path / "student"
    steps = run(out, f"teacher.model={place}", "teacher.hard=0", "teacher.soft=1", "run.epochs=6")
    assert steps[-1].losses["teacher"] < 0.5 * steps[0].losses["teacher"]
    assert (place / "model.safetensors").read_bytes() == before
    assert set(state.newest(out / "checkpoints").weights) == {
        f"network.{name}" for name, _ in sijo.load(place, "sequence-classification").named_parameters()
    }
    assert "model" in (out / "model" / "README.md").read_text()
    run(out, f"teacher.model={place}", "teacher.hard=0", "teacher.soft=1", "run.epochs=6", resume=True)


def test_what_answers_by_a_head_is_no_sentence_encoder_any_more(run, rows, tmp_path, tiny_model):
    # kills: an entailment head that auto never asks, vectors that training moved and nobody doubts
    texts, labels = tmp_path / "entailment.jsonl", ("entailment", "contradiction", "neutral")
    told = rows.read_text()
    for name, label in zip(("travel", "banking", "home"), labels, strict=True):
        told = told.replace(f'"label": "{name}"', f'"label": "{label}"')
    texts.write_text(told)
    run(tmp_path / "out", train=texts)
    folder = tmp_path / "out" / "model"
    assert (tiny_model / "modules.json").exists() and not (folder / "modules.json").exists()
    scorer = open_scorer("auto", folder)
    assert scorer.name == "entailment" and scorer.engine.model.tokenizer.max_length == 32
    assert "no modules.json" in open_scorer("embedding", folder).caution


def test_pairs_that_cannot_be(run, rows, tmp_path, tiny_model, minilm):
    # kills: a teacher of other labels, another head or another vocabulary, listened to in good faith
    run(tmp_path / "teacher")
    other = tmp_path / "other.jsonl"
    other.write_text(rows.read_text().replace("travel", "journey"))
    with pytest.raises(SettingError, match="'journey', 'travel' stand on one side alone"):
        run(tmp_path / "x", f"teacher.model={tmp_path / 'teacher' / 'model'}", train=other)
    with pytest.raises(SettingError, match="has no head sequence-classification"):
        run(tmp_path / "x", f"teacher.model={tiny_model}")
    names = ("banking", "home", "travel")
    sijo.save(sijo.load(None, "new:sequence-classification", labels=names), tmp_path / "stranger")
    with pytest.raises(SettingError, match="another tokenizer"):
        run(tmp_path / "x", f"teacher.model={tmp_path / 'stranger'}")
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_is_refused_before_anything_is_begun(run, rows, tmp_path):
    # kills: a folder left behind by a run that never was, an evaluation file that is read after an epoch
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "to the sea", "label": "travle"}\n')
    with pytest.raises(TextError, match="'travle' is in no training row; did you mean 'travel'"):
        run(tmp_path / "x", evaluation=bad)
    with pytest.raises(TextError, match="have 1 label"):
        run(tmp_path / "x", train=bad)
    with pytest.raises(SettingError, match="longer than the 64 places"):
        run(tmp_path / "x", "cutting.length=65")
    with pytest.raises(SettingError, match="warm-up"):
        run(tmp_path / "x", "schedule.warmup_share=0", "schedule.warmup_steps=1000")
    for change, words in (
        ("metric=acuracy", "did you mean 'accuracy'"),
        ("held_out=1", "no share"),
        ("patience=0", "patience=0"),
        ("sift.weight=-1", "sift.weight"),
        ("teacher.temperature=0", "teacher.temperature"),
        ("smoothing=1", "smoothing"),
        ("ensemble.evry=9", "did you mean 'ensemble.every'"),
        ("ensemble.threshold=1", "ensemble.threshold=1"),
        ("cutting.lenght=9", "did you mean 'cutting.length'"),
    ):
        with pytest.raises(SettingError, match=words):
            run(tmp_path / "x", change)
    with pytest.raises(SettingError, match="not regression"):
        run(tmp_path / "x", "smoothing=0.1", task="regression")
    with pytest.raises(SettingError, match="is for classification, not regression"):
        run(tmp_path / "x", "ensemble.every=9", task="regression")
    assert not (tmp_path / "x").exists()
    run(tmp_path / "run", "run.epochs=1")
    with pytest.raises(SettingError, match="--resume goes on"):
        run(tmp_path / "run", "run.epochs=1")
    with pytest.raises(SettingError, match=r"begun with schedule.peak=0.01, not 0.02"):
        run(tmp_path / "run", "run.epochs=1", "schedule.peak=0.02", resume=True)
    content = rows.read_text()
    other = tmp_path / "requests.jsonl"
    other.write_text(content)
    run(tmp_path / "moved", "run.epochs=1", train=other)
    other.write_text(content.replace("home", "garden"))
    with pytest.raises(SettingError, match="begun with"):
        run(tmp_path / "moved", "run.epochs=1", train=other, resume=True)


def test_a_setting_that_is_very_long_is_shown_by_its_beginning():
    # kills: thousands of digits on a terminal, and what is wrong with them behind them
    with pytest.raises(SettingError, match=r"^run\.batch=\"9{199}… cannot be: ") as caught:
        with_changes(FinetuneSettings(), ["run.batch=" + "9" * 5_000])
    assert len(str(caught.value)) < 400


def test_what_is_set_has_its_say():
    # kills: three epochs of a run that was asked for 40 steps; checkpoints at epochs where every 5 steps were asked
    settings = with_changes(default_settings("classification"), ["run.steps=40", "run.save_every=5"])
    assert settings.with_steps(10_000).run == replace(settings.run, steps=40, save_every=5)
    epochs = with_changes(default_settings("classification"), ["run.epochs=2", "every=0.5", "run.batch=10"])
    assert (epochs.with_steps(100).run.steps, epochs.with_steps(100).run.save_every) == (20, 5)
    both = ["run.epochs=null", "run.steps=4"]
    assert with_changes(settings, both) == with_changes(settings, both[::-1]) == with_changes(settings, both[1:])
    for one, other in (("run.steps=4", "run.epochs=2"), ("run.save_every=4", "every=2")):
        for changes in ([one, other], [other, one]):
            with pytest.raises(SettingError, match="are both set"):
                with_changes(settings, changes)


def test_settings_say_what_they_mean_and_repeat_a_run():
    # kills: a setting without a sentence, one that is not read back
    sentences = setting_descriptions(FinetuneSettings)
    for path in (
        "task",
        "columns.second",
        "cutting.stride",
        "sift.weight",
        "teacher.soft",
        "ensemble.threshold",
        "answers.longest",
        "patience",
    ):
        assert sentences[path]
    settings = default_settings("question-answering")
    assert read_settings(settings.to_json(), FinetuneSettings) == settings and settings.cutting.length == 384
    assert with_changes(settings, ["seeds=3"]).seeds == 3


@pytest.mark.parametrize(
    "size, rate, decay",
    [
        ("electra-small-discriminator", 3e-4, 0.8),
        ("electra-base-discriminator", 1e-4, 0.8),
        ("electra-large-discriminator", 5e-5, 0.9),
        ("deberta-v3-xsmall", 4.5e-5, 1.0),
        ("deberta-v3-small", 4.5e-5, 1.0),
        ("deberta-v3-base", 1.5e-5, 1.0),
        ("deberta-base", 3e-5, 1.0),
        ("bert-base-uncased", 5e-5, 1.0),
        ("distilbert-base-uncased", 5e-5, 1.0),
        ("albert-base-v2", 2e-5, 1.0),
    ],
)
def test_rates_are_those_that_were_published(tmp_path, size, rate, decay):
    # kills: the rate of one size given to another, ELECTRA without its decay
    from sijo.models import published

    family, _ = published(size)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family.model_type, **family.sizes[size]}))
    settings = default_settings("classification", tmp_path)
    assert (settings.schedule.peak, settings.optimizer.layer_decay) == (rate, decay)


@pytest.mark.parametrize("what", ["scores", "loss"])
@pytest.mark.parametrize("at", ["the first", "the last", "the best"])
def test_a_nan_that_only_a_measurement_has_seen(run, tmp_path, monkeypatch, what, at):
    # kills: a fault of one measurement told as the end of the run, without its step or the row; a run that --resume
    # would have saved thrown away; a NaN kept as a metric
    run(tmp_path / "whole")
    count, wanted = [0], {"the first": 1, "the last": 4, "the best": 5}[at]
    scores, label = Supervised.scores, Supervised.label

    def spoiled_scores(self, posed):
        rows = scores(self, posed)
        if what == "scores" and not self.network.training and count[0] == wanted:
            rows[-1, 0] = torch.nan
        return rows

    def spoiled_label(self, rows, posed, count_of):
        tally = label(self, rows, posed, count_of)
        spoil = what == "loss" and not self.network.training and count[0] == wanted
        return replace(tally, total=tally.total * torch.inf) if spoil else tally

    def counted(*given):
        count[0] += 1
        return own(*given)

    own = attempt.predict_rows
    monkeypatch.setattr(attempt, "predict_rows", counted)
    monkeypatch.setattr(Supervised, "scores", spoiled_scores)
    monkeypatch.setattr(Supervised, "label", spoiled_label)
    step = json.loads((tmp_path / "whole" / "results.json").read_text())["best_step"]
    step = {"the first": 5, "the last": 18, "the best": step}[at]
    with pytest.raises(DivergedError, match=rf"at step {step}, .*requests.jsonl, line \d+.*--resume .* goes on"):
        run(tmp_path / "parts")
    assert len(lines(tmp_path / "parts")) == wanted - 1
    monkeypatch.undo()
    run(tmp_path / "parts", resume=True)
    assert left(tmp_path / "parts") == left(tmp_path / "whole")


@pytest.mark.parametrize("peak", ["1e8", "1e9"])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_weights_that_the_last_update_spoilt(run, tmp_path, write, peak, task):
    # kills: NaN first seen where it is measured, then told as a metric, a model or a stack trace; a run that
    # --resume takes up again without saying that it cannot be mended
    rows = write(
        "rows.jsonl",
        "".join(
            json.dumps({"text": f"{word} and {n}", "label": n % 2 if task == "regression" else f"label {n % 2}"})
            + "\n"
            for n, word in enumerate(["sea", "land", "rain", "sun"] * 4)
        ),
    )
    changes = ("run.epochs=1", "run.batch=16", f"schedule.peak={peak}", "schedule.warmup_share=0")
    for resume in (False, True):
        with pytest.raises(DivergedError, match=r"step 1[ ,].*NaN or infinite.* here again.*schedule\.peak"):
            run(tmp_path / "run", *changes, task=task, train=rows, resume=resume)
        assert not (tmp_path / "run" / "model").exists()
        assert not lines(tmp_path / "run")
