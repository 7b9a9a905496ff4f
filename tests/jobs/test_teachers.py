"""Whole runs under two teachers, with tokenizers, widths, prompts and scripts of their own."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

import sijo
from objectives.conftest import moved
from objectives.test_distillation import bert
from runs import digest
from sijo.checkpoints.sentence import SentenceSettings
from sijo.errors import SettingError
from sijo.inference.engine import Engine
from sijo.jobs import teacher as job
from sijo.jobs.prepare import CorpusSource
from sijo.jobs.pretrain import pretrain
from sijo.jobs.recipes import DISTILLATIONS
from sijo.jobs.run_settings import RunSettings
from sijo.objectives.text_teacher import TextTeachers
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.training import state
from sijo.training.settings import read_settings, with_changes

FEW = (
    *(
        "run.epochs=null",
        "run.steps=12",
        "run.batch=12",
        "run.micro_tokens=64",
        "run.save_every=4",
        "run.log_every=2",
    ),
    *("data.length=16", "schedule.peak=0.003"),
)
BOTH = ("beside.other.vectors=0.5", "beside.other.vectors_by=map", 'beside.other.scripts=["latin"]')


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Rows of English, some of them in Korean."""
    words = ["the", "old", "sea", "rain", "Sun", "land", "game", "MONEY", "bread", "and", "of", "it"]
    chance = np.random.default_rng(0)
    texts = [" ".join(chance.choice(words, 5)).capitalize() + "." for _ in range(90)]
    texts = [f"비가 온다 비가 {row}" if number % 3 == 0 else row for number, row in enumerate(texts)]
    folder = tmp_path_factory.mktemp("text")
    (folder / "a.txt").write_text("\n\n".join(texts))
    return folder / "a.txt"


@pytest.fixture(scope="module")
def other(prepared, tmp_path_factory):
    """A sentence encoder of another width, with another tokenizer, and a prompt."""
    tokenizer = Tokenizer.load(prepared("albert") / "tokenizer" / "tokenizer.json", max_length=32)
    torch.manual_seed(5)
    architecture = replace(bert(tokenizer, width=24), vocab_size=tokenizer.largest_id + 1)
    model = moved(sijo.create(architecture, tokenizer=tokenizer), seed=5)
    model.sentence = SentenceSettings(trained=True, prompts={"query": "query: "}, default_prompt="query")
    folder = tmp_path_factory.mktemp("other") / "other"
    sijo.save(model, folder)
    return folder


@pytest.fixture
def settings(tiny_model, other):
    """`settings(*changes)` gives those of a run under both."""

    def make(*changes, beside=None):
        way = DISTILLATIONS["sentence"]
        run = way.settings(str(tiny_model), beside or {"other": str(other)}, name="tiny")
        return with_changes(run, [*FEW, *changes])

    return make


@pytest.fixture
def distill(settings, rows):
    """`distill(out, *changes)` makes a run of it; gives its steps."""

    def make(out, *changes, beside=None, **options):
        source = CorpusSource(sources=[str(rows)])
        return list(pretrain(settings(*changes, beside=beside), source, out, **options))

    return make


def test_a_student_of_two(distill, tmp_path, tiny_model, other):
    # kills: a teacher whose loss is not in the journal, or under the other's name; a map or a prompt kept with the
    # student; a card that names one; settings that cannot be read again
    steps = distill(tmp_path / "run", *BOTH, "run.steps=40", "run.micro_tokens=4096")
    names = {"tiny.vectors", "other.vectors", "other.text_relations"}
    assert all(set(step.losses) == names for step in steps)
    for name in names:
        first, last = (sum(step.losses[name] for step in part) for part in (steps[:8], steps[-8:]))
        assert last < 0.95 * first, name
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(names <= line.keys() for line in lines)
    model = sijo.load(tmp_path / "run" / "model")
    kept = state.newest(tmp_path / "run" / "checkpoints").weights
    assert "texts.maps.other.weight" in kept
    for place, tensor in model.state_dict().items():
        assert torch.equal(tensor, kept[f"student.{place}"]), place
    assert model.sentence == replace(sijo.load(tiny_model).sentence, prompts={}, default_prompt=None)
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "Its teachers were `tiny` and `other`." in card and "loss: other.text_relations" in card
    assert str(other.parent) not in card
    again = read_settings(json.loads((tmp_path / "run" / "settings.json").read_text()), RunSettings)
    assert again.beside["other"].scripts == ("latin",) and again.teacher.name == "tiny"
    assert set(json.loads((tmp_path / "run" / "text.json").read_text())) > {
        "files of the teacher",
        "files of the teacher other",
    }


def test_each_reads_what_was_written_as_sijo_encode_does(distill, tmp_path, monkeypatch, tiny_model, other, rows):
    # kills: text in the student's spelling (lower case, [UNK]), a prompt left out or put before the other's texts,
    # a teacher asked about texts that it does not speak for
    seen = {}
    lesson = TextTeachers.lesson

    def watched(self, posed):
        found = lesson(self, posed)
        for column, teacher in enumerate(self.teachers):
            for row, written in enumerate(posed.texts):
                if posed.spoken_for[row, column]:
                    seen.setdefault(teacher.name, {})[written] = found[f"teacher {teacher.name}"][row].numpy()
        return found

    monkeypatch.setattr(TextTeachers, "lesson", watched)
    distill(tmp_path / "run", *BOTH)
    assert set(seen["tiny"]) <= set(rows.read_text().split("\n\n"))
    assert any("비" in row for row in seen["tiny"])
    assert set(seen["other"]) == {row for row in seen["tiny"] if "비" not in row}
    for name, folder in (("tiny", tiny_model), ("other", other)):
        texts = list(seen[name])
        want = sijo.encode(folder, texts, normalize=False)
        np.testing.assert_allclose(np.stack([seen[name][written] for written in texts]), want, atol=1e-5)
    bare = sijo.encode(other, texts, normalize=False, prompt="")
    assert np.abs(bare - want).max() > 0.01


def test_pieces_of_a_batch_change_nothing(distill, tmp_path):
    # kills: relations within a piece alone, a survey of a piece's rows put in the places of others
    dry = [f"model.dropout.{place}=0" for place in ("embeddings", "attention", "attention_output", "hidden")]
    ways = [distill(tmp_path / f"run{tokens}", *BOTH, *dry, f"run.micro_tokens={tokens}") for tokens in (32, 4096)]
    for small, large in zip(*ways, strict=True):
        assert small.losses == pytest.approx(large.losses, rel=1e-4, abs=1e-5)
    one, other = (state.newest(tmp_path / f"run{tokens}" / "checkpoints").weights for tokens in (32, 4096))
    assert all(torch.allclose(one[name], other[name], atol=2e-4) for name in one)


def test_what_is_surveyed_is_what_is_learned_from(distill, tmp_path, monkeypatch):
    # kills: dropout drawn anew between the two readings of a piece
    gaps = []
    forward = TextTeachers.forward

    def watched(self, posed, vectors):
        if posed.whole is not None:
            gaps.append((posed.whole["student"][posed.places] - vectors).abs().max().item())
        return forward(self, posed, vectors)

    monkeypatch.setattr(TextTeachers, "forward", watched)
    distill(tmp_path / "run", "model.dropout.hidden=0.5", "model.dropout.attention=0.3", "run.steps=3")
    assert len(gaps) > 6 and max(gaps) < 1e-5


def test_a_run_that_was_stopped_is_one_that_was_not(distill, tmp_path):
    # kills: a map that is not in the checkpoint, vectors that depend on what else was asked for
    changes = (*BOTH, "model.dropout.hidden=0.2", "run.average=0.9")
    distill(tmp_path / "whole", *changes)
    for stop_at in (1, 7):
        seen = []

        def stop(seen=seen, at=stop_at):
            seen.append(1)
            return len(seen) > at

        distill(tmp_path / "parts", *changes, resume=True, stop=stop)
    distill(tmp_path / "parts", *changes, resume=True)
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")


def test_a_cache_of_all_teachers(distill, tmp_path, monkeypatch):
    # kills: a teacher without a cache, one that finds the other's vectors there, another run that reads again
    asked = []
    read = Engine._read
    monkeypatch.setattr(
        Engine, "_read", lambda self, texts, *rest, **more: asked.extend(texts) or read(self, texts, *rest, **more)
    )
    cached = f"teacher.cache={tmp_path / 'lessons'}"
    distill(tmp_path / "one", *BOTH, cached)
    assert len(asked) == len(set(asked)) > 90  # each once, for each teacher that speaks for it
    before = len(asked)
    distill(tmp_path / "two", *BOTH, cached, "model.schedule=[0,0]", "beside.other.vectors=3")
    assert len(asked) == before
    distill(tmp_path / "three", *BOTH, cached, "beside.other.prompt=passage: ")
    assert len(asked) > before
    distill(tmp_path / "again", *BOTH, cached)
    assert digest(tmp_path / "again") == digest(tmp_path / "one")


def test_one_teacher_with_a_prompt_teaches_without_it(other, rows, tmp_path, monkeypatch):
    # kills: vectors learned without the prompt that they were trained with, a student that wants it
    made = []
    engine_of = job.engine_of
    monkeypatch.setattr(job, "engine_of", lambda *model, **how: made.append(engine_of(*model, **how)) or made[-1])
    settings = with_changes(DISTILLATIONS["sentence"].settings(str(other)), FEW)
    steps = list(pretrain(settings, CorpusSource(sources=[str(rows)]), tmp_path / "run"))
    assert [engine.before for engine in made] == ["query: "] and set(steps[0].losses) == {"vectors"}
    assert sijo.load(tmp_path / "run" / "model").sentence.prompts == {}


def test_what_is_told_of_teachers(distill, tmp_path, monkeypatch):
    # kills: a cost that nobody is told of, a share of all texts for one that speaks for some, a teacher of another
    # language that nobody notices
    told = []
    distill(tmp_path / "run", *BOTH, "run.steps=1", tell=told.append)
    both = [line for line in told if "speaks for" in line]
    assert "the teacher tiny speaks for 100% of the first 90 texts; reading them costs" in both[0]
    assert "the teacher other speaks for 67% of the first 90 texts" in both[1]
    assert "words in these are unknown to its tokenizer" in told[told.index(both[0]) + 1]
    told.clear()
    monkeypatch.setattr(job, "MANY_UNREAD", 0.9)
    distill(tmp_path / "other", *BOTH, "run.steps=1", tell=told.append)
    assert both[0] in told and not any("unknown to its tokenizer" in line for line in told)


def test_a_corpus_without_its_text_is_spelled(settings, prepared, tmp_path):
    # kills: a crash over a corpus from before, text taken for what was written without a word
    place, told = prepared("bert"), []
    source = CorpusSource(sources=[str(place / "corpus")], tokenizer=str(place / "tokenizer"))
    list(pretrain(settings("run.steps=2"), source, tmp_path / "run", tell=told.append))
    assert any("keeps no text" in line for line in told)


@pytest.mark.parametrize(
    ("changes", "beside", "message"),
    [
        (("beside.other.vectors=1",), None, "set its vectors_by=map"),
        (("beside.other.text_relations=0",), None, "the teacher other teaches nothing"),
        (("beside.other.prompt=passage",), None, "no prompt 'passage'"),
        (('beside.other.scripts=["latn"]',), None, "did you mean 'latin'"),
        (("beside.othr.vectors=1",), None, "no beside 'othr'; there are: other"),
        (("beside.other.vector=1",), None, "no setting 'beside.other.vector'"),
        (("teacher.name=other",), None, "two teachers are called 'other'"),
        ((), {"again": "tiny"}, "the teachers tiny and again are the same model"),
        ((), {"plain": "plain"}, "the teacher plain .* is no sentence encoder"),
        ((), {"a.b": "tiny"}, "letters, digits, _ and - alone"),
        (
            ("objective.parts=[]", "teacher.vectors=0", "teacher.relations=1", "teacher.prompt=x: "),
            None,
            "of which",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_a_run(distill, tmp_path, tiny_model, changes, beside, message):
    # kills: an hour of preparing a corpus for teachers that cannot teach
    plain = tmp_path / "plain"
    if beside and "plain" in beside:
        model = sijo.load(tiny_model)
        model.sentence = SentenceSettings()
        sijo.save(model, plain)
    places = {"tiny": str(tiny_model), "plain": str(plain)}
    beside = beside and {name: places[model] for name, model in beside.items()}
    with pytest.raises(SettingError, match=message):
        distill(tmp_path / "run", *changes, beside=beside)
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_speaks_for_no_text(distill, tmp_path):
    # kills: a run in which one of two teachers never says a word
    with pytest.raises(SettingError, match="the teacher other speaks for texts in greek alone"):
        distill(tmp_path / "run", 'beside.other.scripts=["greek"]')


# --- processes ----------------------------------------------------------------------------------


@pytest.fixture
def begin(settings, start, rows, tmp_path):
    """`begin(out, *changes)` starts the run in a process of its own."""

    def begin(out, *changes, **environment):
        file = tmp_path / f"settings{len([*tmp_path.iterdir()])}.json"
        file.write_text(json.dumps(settings(*changes).to_json()))
        arguments = ("distill", file, "--corpus", rows, "--out", out, "--resume", "--quiet")
        return start(*arguments, OMP_NUM_THREADS="1", **environment)

    return begin


def test_kill_9_then_resume(begin, until, tmp_path):
    # kills: vectors or maps after a kill that are not those before it, half an answer kept in the cache
    changes = (*BOTH, "run.steps=30", "run.save_every=2", "model.dropout.hidden=0.2")
    caches = [f"teacher.cache={tmp_path / name}" for name in ("lessons", "others")]
    ran = begin(tmp_path / "whole", *changes, caches[0]).wait()
    assert ran.code == 0, ran.err
    checkpoints = tmp_path / "run" / "checkpoints"
    for least in (2, 14):
        process = begin(tmp_path / "run", *changes, caches[1])
        until(lambda least=least: state.steps(checkpoints) and state.steps(checkpoints)[-1][0] >= least, seconds=90)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait().code == -signal.SIGKILL
    assert begin(tmp_path / "run", *changes, caches[1]).wait().code == 0
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")


def test_two_processes_are_one(begin, tmp_path):
    # kills: relations to the texts of one process alone, vectors that another has not, a survey outside of shares
    from training.test_processes import port

    few = (*BOTH, "run.steps=4", "run.micro_tokens=48")
    assert begin(tmp_path / "one", *few).wait().code == 0
    for strategy in ("ddp", "fsdp"):
        meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port()}
        changes = (*few, f"run.strategy={strategy}")
        both = [begin(tmp_path / strategy, *changes, RANK=str(n), LOCAL_RANK=str(n), **meeting) for n in (0, 1)]
        for process in both:
            ran = process.wait()
            assert ran.code == 0, ran.err
    lines = {
        name: [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "ddp", "fsdp")
    }
    assert lines["ddp"] == lines["fsdp"]
    for one, two in zip(lines["one"], lines["ddp"], strict=True):
        assert one == pytest.approx(two, abs=1e-5, rel=1e-5)
