"""What a student begins with, and whole runs under a teacher."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch

import sijo
from objectives.conftest import moved
from objectives.test_distillation import NONE, bert, published_ctrl
from runs import SMALL, digest
from sijo.errors import SettingError
from sijo.jobs.prepare import CorpusSource
from sijo.jobs.pretrain import pretrain
from sijo.jobs.recipes import DISTILLATIONS
from sijo.jobs.run_settings import RunSettings
from sijo.jobs.student import (
    distilbert_of,
    half_as_deep,
    init_from_teacher,
    spread_layers,
    strongest_directions,
    translated_rows,
)
from sijo.models import FAMILIES, published
from sijo.nn.architecture import Disentangled
from sijo.training import state
from sijo.training.settings import read_settings, with_changes

SIZES = {"embedding_size": 16, "hidden_size": 16, "heads": 2, "intermediate_size": 24, "dropout": NONE}
WAYS = [*SMALL, "run.epochs=null"]


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    from sijo.tokenizers.tokenizer import Tokenizer

    return Tokenizer.load(tiny_model / "tokenizer.json", max_length=32)


def made(architecture, head=None, seed=0):
    torch.manual_seed(seed)
    return moved(sijo.create(architecture, head), seed=seed)


def architectures(tokenizer):
    sizes = SIZES | {"vocab_size": tokenizer.vocab_size}
    albert = published("albert-base-v2")[1].architecture()
    electra = published("electra-small-discriminator")[1].architecture()
    return {
        "bert": (bert(tokenizer, layers=4), "mlm"),
        "albert": (replace(albert, **sizes | {"embedding_size": 8}, schedule=(0,) * 4), "mlm"),
        "electra": (replace(electra, **sizes | {"embedding_size": 8}, schedule=(0, 1, 2)), "rtd"),
        "deberta": (bert(tokenizer, layers=3, distances=Disentangled(span=32, terms=("c2p", "p2c"))), "mlm"),
        "deberta-v3": (
            replace(
                published("deberta-v3-small")[1].architecture(),
                **sizes | {"embedding_size": 8, "widening": "before_norm"},
                schedule=(0, 1, 2),
            ),
            None,
        ),
        "ctrl": (published_ctrl(tokenizer), "lm"),
    }


@pytest.mark.parametrize("name", ["bert", "albert", "electra", "deberta", "deberta-v3", "ctrl"])
def test_a_copy_of_all_layers_is_the_teacher_to_the_bit(tokenizer, name):
    # kills: a tensor that is not copied (every one was moved), two that are exchanged, a layer off by one
    architecture, head = architectures(tokenizer)[name]
    teacher, student = made(architecture, head, 1), made(architecture, head, 2)
    init_from_teacher(student, teacher)
    theirs = teacher.state_dict()
    for place, tensor in student.state_dict().items():
        assert torch.equal(tensor, theirs[place]), place
        tensor.zero_()  # and shares no memory with it
    assert all(tensor.any() for tensor in theirs.values())


def test_distilbert_takes_every_other_layer_of_bert(tokenizer):
    # kills: the first six layers, the last six, or every other from the second
    teacher = made(bert(tokenizer, layers=12), "mlm", 1)
    architecture = distilbert_of(teacher.architecture)
    assert (architecture.layers, architecture.token_types) == (6, 0)
    student = made(architecture, "mlm", 2)
    assert student.family.model_type == "distilbert"
    done = init_from_teacher(student, teacher)
    assert done == ["tables", "layers 0, 2, 4, 7, 9, 11", "head mlm"]
    theirs, sources = teacher.state_dict(), (0, 2, 4, 7, 9, 11)
    copied = 0
    for name, tensor in student.state_dict().items():
        found = re.fullmatch(r"transformer\.blocks\.(\d+)\.(.*)", name)
        source = f"transformer.blocks.{sources[int(found[1])]}.{found[2]}" if found else name
        assert torch.equal(tensor, theirs[source]), name
        copied += 1
    assert copied == 105  # the 106 of the published file, whose output table is that of tokens


def test_half_of_a_network_stays_what_it_was(tokenizer):
    # kills: an ALBERT whose half has blocks of its own; a DeBERTa without its distances
    albert = architectures(tokenizer)["albert"][0]
    assert half_as_deep(albert).schedule == (0, 0) and half_as_deep(albert).blocks == 1
    deberta = architectures(tokenizer)["deberta"][0]
    assert distilbert_of(deberta) == half_as_deep(deberta) and distilbert_of(albert) == half_as_deep(albert)
    assert spread_layers(4, 6) == (0, 2, 3, 5) and spread_layers(6, 6) == (0, 1, 2, 3, 4, 5)


def test_a_factorised_student_begins_near_its_teacher(tokenizer):
    # kills: a basis that is not orthonormal or in the wrong order, places left out of it, the norm not copied
    teacher = made(bert(tokenizer, layers=2), None, 1)
    ids = torch.tensor([[5, 9, 17, 30, 2]])
    with torch.no_grad():
        want = teacher(ids).last_hidden_state
        gaps = []
        for width in (16, 12, 8):
            student = made(replace(teacher.architecture, embedding_size=width, widening="before_norm"), None, 2)
            assert init_from_teacher(student, teacher)[0] == f"tables in their {width} strongest directions"
            gaps.append((student(ids).last_hidden_state - want).abs().max().item())
    assert gaps[0] < 1e-5 < gaps[1] < gaps[2]
    rows = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5, 2, 0.1, 3, 1])
    basis = strongest_directions(rows, 2)
    torch.testing.assert_close(basis.T @ basis, torch.eye(2))
    torch.testing.assert_close(basis.abs().argmax(0), torch.tensor([1, 4]))
    import numpy as np

    often = np.zeros(50, np.int64)
    often[0] = 10**12
    tilted = strongest_directions(rows, 1, often)[:, 0]
    assert abs(torch.dot(tilted, rows[0]) / rows[0].norm()) > 0.99


def test_blocks_that_layers_share_begin_with_the_first_of_them(tokenizer):
    # kills: a shared block that is overwritten by each layer's in turn
    teacher = made(bert(tokenizer, layers=6), None, 1)
    student = made(bert(tokenizer, schedule=(0, 0, 1)), None, 2)
    init_from_teacher(student, teacher, (1, 3, 4))
    for block, layer in enumerate((1, 4)):
        mine = student.transformer.blocks[block].state_dict()
        theirs = teacher.transformer.blocks[layer].state_dict()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_another_attention_keeps_what_it_shares(tokenizer):
    # kills: a student of another kind that begins with nothing
    teacher = made(bert(tokenizer), None, 1)
    student = made(bert(tokenizer, distances=Disentangled(span=32, terms=("c2p",))), None, 2)
    before = student.transformer.distances.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    init_from_teacher(student, teacher)
    mine, theirs = student.transformer.blocks[0].attention, teacher.transformer.blocks[0].attention
    assert torch.equal(mine.query.weight, theirs.query.weight) and torch.equal(mine.out.bias, theirs.out.bias)
    after = student.transformer.distances.state_dict()
    assert before and all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_no_layers_leave_it_fresh_and_wrong_ones_are_refused(tokenizer):
    # kills: layers=[] read as "spread"; an index that wraps around
    teacher, student = made(bert(tokenizer, layers=4), None, 1), made(bert(tokenizer), None, 2)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    assert init_from_teacher(student, teacher, ()) == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())
    for layers in ((0,), (0, 4), (-1, 2), (0, 1, 2)):
        with pytest.raises(SettingError, match="one of the teacher's, 0 to 3"):
            init_from_teacher(student, teacher, layers)
    wide = made(replace(bert(tokenizer), embedding_size=32, widening="before_norm"), None, 2)
    with pytest.raises(SettingError, match="embedding_size=32 is wider"):
        init_from_teacher(wide, teacher)


def test_rows_for_another_vocabulary(tokenizer, prepared):
    # kills: rows by number where they should be by token; a token that the teacher cuts in two begun with neither
    from sijo.tokenizers.tokenizer import Tokenizer

    other = Tokenizer.open(prepared("bert") / "tokenizer", FAMILIES["bert"], max_length=32)
    table = torch.randn(other.vocab_size, 4)
    rows = translated_rows(tokenizer, other, table)
    assert rows.shape == (tokenizer.vocab_size, 4)
    assert torch.equal(rows[tokenizer.cls_id], table[other.cls_id])
    both = [n for n in range(tokenizer.vocab_size) if other.id(tokenizer.token(n)) is not None]
    assert len(both) > 20
    assert all(torch.equal(rows[n], table[other.id(tokenizer.token(n))]) for n in both)
    alone = [n for n in range(tokenizer.vocab_size) if n not in both and len(tokenizer.token(n)) > 2]
    n = next(n for n in alone if not tokenizer.token(n).startswith(("#", "[")))
    torch.testing.assert_close(rows[n], table[other.ids([tokenizer.token(n)])[0]].mean(0))


# whole runs


@pytest.fixture(scope="module")
def teacher(prepared, tmp_path_factory):
    """`teacher(name)`: the folder of a model that learned for twelve steps, and its corpus."""
    from runs import small

    found = {}

    def make(name):
        if name not in found:
            place, out = prepared(name), tmp_path_factory.mktemp("teacher") / name
            text = CorpusSource(sources=[str(place / "corpus")], tokenizer=str(place / "tokenizer"))
            list(pretrain(small(name, "model.schedule=[0,1,2]"), text, out))
            found[name] = out / "model", place
        return found[name]

    return make


def distill(teacher, way, name, out, *changes, **options):
    folder, place = teacher(name)
    settings = with_changes(DISTILLATIONS[way].settings(str(folder)), [*WAYS, *changes])
    text = CorpusSource(sources=[str(place / "corpus")])
    return list(pretrain(settings, text, out, **options))


@pytest.mark.parametrize(
    ("way", "name", "changes"),
    [
        ("distilbert-tiny", "bert", ("teacher.layers=[]",)),
        ("distilbert-tiny", "ctrl", ("teacher.layers=[]",)),
        ("minilm-tiny", "bert", ("model.hidden_size=8", "model.embedding_size=8", "model.intermediate_size=16")),
        ("sentence", "bert", ("model.schedule=[0,0]", "model.embedding_size=8", 'model.widening="before_norm"')),
        ("distilbert-tiny", "deberta", ("model.distances=null", "teacher.layers=[]")),
    ],
)
def test_a_student_learns_and_is_left_in_a_folder(teacher, tmp_path, way, name, changes):
    # kills: weights that are not the last ones, a map or a teacher saved with the student, a tokenizer left out
    steps = distill(teacher, way, name, tmp_path / "run", *changes, "run.steps=40", "schedule.peak=0.003")
    losses = [sum(loss for part, loss in step.losses.items() if part not in ("mlm", "clm")) for step in steps]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    head = {"bert": "mlm", "ctrl": "lm", "deberta": "mlm"}[name] if way == "distilbert-tiny" else None
    model = sijo.load(tmp_path / "run" / "model", head)
    found = state.newest(tmp_path / "run" / "checkpoints").weights
    for place, tensor in model.state_dict().items():
        assert torch.equal(tensor, found[f"student.{place}"]), place
    assert len(sijo.encode(tmp_path / "run" / "model", ["book a flight"])[0]) == model.architecture.hidden_size
    again = read_settings(json.loads((tmp_path / "run" / "settings.json").read_text()), RunSettings)
    assert again.teacher.model == str(teacher(name)[0])


def test_a_run_that_was_stopped_is_one_that_was_not(teacher, tmp_path):
    # kills: a cache whose answers differ from the teacher's own by the way they were kept, a map that is not saved
    changes = ("model.hidden_size=8", "model.embedding_size=8", "model.intermediate_size=16", "run.average=0.9")
    cached = f"teacher.cache={tmp_path / 'lessons'}"
    distill(teacher, "distilbert-tiny", "bert", tmp_path / "whole", *changes, cached)
    shutil.rmtree(tmp_path / "lessons")
    for stop_at in (1, 7):
        seen = []

        def stop(seen=seen, at=stop_at):
            seen.append(1)
            return len(seen) > at

        distill(teacher, "distilbert-tiny", "bert", tmp_path / "parts", *changes, cached, resume=True, stop=stop)
    distill(teacher, "distilbert-tiny", "bert", tmp_path / "parts", *changes, cached, resume=True)
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")
    # and a second student reads all from the cache
    distill(teacher, "distilbert-tiny", "bert", tmp_path / "second", *changes, cached)
    assert digest(tmp_path / "second") == digest(tmp_path / "whole")


def test_a_second_student_asks_nothing_of_the_teacher(teacher, tmp_path, monkeypatch):
    # kills: a cache keyed by the run, or by the student
    from sijo.objectives.language_teacher import LanguageTeacher

    cached = f"teacher.cache={tmp_path / 'lessons'}"
    asked = []
    ask = LanguageTeacher.computed
    monkeypatch.setattr(
        LanguageTeacher, "computed", lambda self, question: asked.append(len(question)) or ask(self, question)
    )
    distill(teacher, "distilbert-tiny", "bert", tmp_path / "one", cached)
    assert sum(asked) == 12 * 6
    distill(
        teacher, "distilbert-tiny", "bert", tmp_path / "two", cached, "model.schedule=[0,0]", "run.micro_tokens=64"
    )
    assert sum(asked) == 12 * 6
    distill(teacher, "distilbert-tiny", "bert", tmp_path / "other", cached, "teacher.layers=[]", "teacher.soft=1")
    assert sum(asked) == 12 * 6  # nor on what the student makes of it
    distill(teacher, "distilbert-tiny", "bert", tmp_path / "three", cached, "teacher.temperature=3")
    assert sum(asked) == 2 * 12 * 6  # what is kept depends on the temperature


def test_another_tokenizer(teacher, prepared, tmp_path):
    # kills: the teacher's vocabulary in the student's network; rows not begun
    folder, _ = teacher("bert")
    place = prepared("albert")
    settings = DISTILLATIONS["sentence"].settings(str(folder))
    settings = with_changes(settings, [*WAYS, "schedule.peak=0.002", "run.steps=30"])
    text = CorpusSource(sources=[str(place / "corpus")], tokenizer=str(place / "tokenizer"))
    steps = list(pretrain(settings, text, tmp_path / "run"))
    model = sijo.load(tmp_path / "run" / "model")
    assert model.architecture.vocab_size == model.tokenizer.largest_id + 1
    assert model.tokenizer.text_fingerprint != sijo.load(folder).tokenizer.text_fingerprint
    assert steps[-1].loss < steps[0].loss
    with pytest.raises(SettingError, match="different tokenizers"):
        list(pretrain(with_changes(settings, ["teacher.cosine=1"]), text, tmp_path / "no"))


def test_a_student_may_go_on_from_weights_of_its_own(teacher, tmp_path):
    # kills: the teacher's layers copied over what a student had learned before
    distill(teacher, "sentence", "bert", tmp_path / "one", "run.steps=6")
    distill(
        teacher,
        "sentence",
        "bert",
        tmp_path / "two",
        "run.steps=1",
        "schedule.peak=1e-9",
        f"start.model={tmp_path / 'one' / 'model'}",
    )
    one, two = (sijo.load(tmp_path / name / "model").state_dict() for name in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=1e-6) for name in one)


def test_what_cannot_be_is_refused(teacher, tmp_path):
    # kills: an error after the corpus was prepared, a folder left behind
    folder, place = teacher("bert")
    for way, change, message in (
        ("distilbert-tiny", "model.hidden_size=9", "hidden_size=9 cannot be split"),
        ("sentence", 'objective.parts=["mlm","sop"]', "mlm or clm alone"),
        ("sentence", "teacher.vectors=0", "one is above 0"),
        ("sentence", "teacher.model=nowhere", "nowhere"),
    ):
        with pytest.raises(SettingError, match=message):
            distill(teacher, way, "bert", tmp_path / "run", change)
        assert not (tmp_path / "run").exists()
    bare = tmp_path / "bare"
    sijo.save(sijo.load(folder), bare)
    with pytest.raises(SettingError, match="has no mlm head"):
        settings = with_changes(DISTILLATIONS["distilbert-tiny"].settings(str(bare)), WAYS)
        list(pretrain(settings, CorpusSource(sources=[str(place / "corpus")]), tmp_path / "run"))
