"""Codes that a trained model does not know: rows for them, and runs that move these rows alone or all."""

import csv
import json
from dataclasses import replace
from functools import partial

import pytest
import torch

import sijo
from runs import digest, small
from sijo.data.samples import Samples
from sijo.errors import SettingError
from sijo.generation.beams import code
from sijo.jobs.networks import build
from sijo.jobs.new_token_rows import merge_rows, new_token_ids, train_only_rows, with_new_rows
from sijo.jobs.prepare import CorpusSource, prepare_run
from sijo.jobs.pretrain import pretrain
from sijo.objectives.posed_batch import unposed
from sijo.tokenizers.codes import known_codes
from sijo.training import state
from sijo.training.settings import with_changes

NEW = "<land>", "<sea>"
TABLE = "transformer.embeddings.tokens.weight"


@pytest.fixture(scope="module")
def known(text, tmp_path_factory):
    """A CTRL that has learned ten codes, and a file of texts under two others and one of those."""
    folder = tmp_path_factory.mktemp("known")
    given = CorpusSource(sources=[str(text / "requests.csv")], code_column="domain")
    list(pretrain(small("ctrl"), given, folder / "run"))
    with (text / "requests.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:60]
    kinds = ["sea", "land", "travel"]
    with (folder / "more.csv").open("w", encoding="utf-8", newline="") as file:
        lines = [(f"so {row['text']}", kinds[number % 3]) for number, row in enumerate(rows)]
        csv.writer(file).writerows([("text", "kind"), *lines])
    return folder


def going_on(known, *changes):
    """The settings of a run that goes on, and what it reads."""
    settings = small("ctrl", f"start.model={known / 'run' / 'model'}", *changes)
    return settings, CorpusSource(sources=[str(known / "more.csv")], code_column="kind")


def tensors(folder):
    """Of a model, by name."""
    return sijo.load(folder, "lm").state_dict()


@pytest.mark.parametrize("head", ["lm", "mlm"])
def test_a_new_row_is_the_mean_of_all_and_the_others_stay(tiny_model, head):
    # kills: rows drawn by chance, a mean that counts the new rows, rows put in front, a bias that does not grow
    old = sijo.load(tiny_model, f"new:{head}")
    with torch.no_grad():
        old.head[head].bias.copy_(torch.arange(len(old.head[head].bias)))
    tokenizer = old.tokenizer.with_specials(["<sea>", "<land>"])
    count = old.tokenizer.largest_id + 1
    assert new_token_ids(old.tokenizer, tokenizer) == range(count, count + 2)
    new = with_new_rows(old, tokenizer)
    assert new.architecture == replace(old.architecture, vocab_size=max(old.architecture.vocab_size, count + 2))
    assert new.tokenizer is tokenizer and new.config["vocab_size"] == new.architecture.vocab_size
    before, after = old.state_dict(), new.state_dict()
    assert before.keys() == after.keys()
    rows = before[TABLE][:count].tolist()
    for name, tensor in before.items():
        kept = slice(count) if name in (TABLE, f"head.{head}.bias") else slice(None)
        assert torch.equal(after[name][kept], tensor[kept]), name
    for place in (count, count + 1):
        want = [sum(column) / count for column in zip(*rows, strict=True)]
        assert after[TABLE][place].tolist() == pytest.approx(want, abs=1e-6)
        assert after[f"head.{head}.bias"][place].item() == pytest.approx((count - 1) / 2, rel=1e-6)


@pytest.mark.parametrize("family", ["sijo", "longer table"])
def test_whatever_writes_the_config_down(tiny_model, tmp_path, family):
    # kills: a config that still tells of the old size, a row past the end of a table that was padded
    tokenizer = sijo.load(tiny_model).tokenizer
    a = sijo.load(tiny_model).architecture
    a = replace(a, schedule=(0, 0, 0), heads=4) if family == "sijo" else replace(a, vocab_size=a.vocab_size + 7)
    model = sijo.create(a, "mlm", tokenizer=tokenizer)
    if family == "longer table":
        torch.nn.init.normal_(model.head["mlm"].bias)
    larger = with_new_rows(model, tokenizer.with_specials(["<sea>"]))
    rows = new_token_ids(tokenizer, larger.tokenizer)
    train_only_rows(larger, rows)
    assert [tuple(moved.shape) for moved in larger.parameters() if moved.requires_grad] == [(1, a.embedding_size)]
    merge_rows(larger)
    place = sijo.save(larger, tmp_path / "model")
    found = sijo.load(place, "mlm")
    assert known_codes(found.tokenizer) == ["sea"]
    if family == "sijo":
        assert found.family.model_type == "sijo" and found.architecture.vocab_size == a.vocab_size + 1
        return
    (number,) = rows
    before, after = model.state_dict(), found.state_dict()
    assert found.architecture.vocab_size == a.vocab_size
    others = torch.arange(a.vocab_size) != number
    for name in (TABLE, "head.mlm.bias"):
        assert torch.equal(before[name][others], after[name][others])
        torch.testing.assert_close(after[name][number], before[name][:number].mean(0))


OPTIMIZERS = {
    "adamw": ("optimizer.weight_decay=0.3", "run.average=0.9"),
    "lamb": ("optimizer.kind=lamb", "optimizer.weight_decay=0.3", "run.clip=null", "run.recompute=true"),
    "adagrad": ("optimizer.kind=adagrad", "optimizer.weight_decay=0", "schedule.peak=0.05", "run.clip=0.25"),
}


@pytest.mark.parametrize("changes", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_new_rows_move_alone(known, tmp_path, changes):
    # kills: a row that decays, a sum of squares that moves what has no gradient, an average that rounds, a bias or
    # a norm that moves, new rows that do not, a model that is left in two parts
    settings, text = going_on(known, "start.train=codes", *changes)
    steps = list(pretrain(settings, text, tmp_path / "run"))
    before, after = tensors(known / "run" / "model"), tensors(tmp_path / "run" / "model")
    size = len(before[TABLE])
    assert before.keys() == after.keys() and len(after[TABLE]) == size + 2
    for name, tensor in before.items():
        assert torch.equal(after[name][: len(tensor)], tensor), name
    mean = before[TABLE].mean(0)
    for row in after[TABLE][size:]:
        assert (row - mean).abs().max() > 5e-4
    torch.testing.assert_close(after["head.lm.bias"][size:], before["head.lm.bias"].mean().expand(2))
    assert all(step.gradient_norm > 0 for step in steps)
    optimizer = state.newest(tmp_path / "run" / "checkpoints").optimizer
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in optimizer} == {"original1"}
    model = sijo.load(tmp_path / "run" / "model", "lm")
    assert known_codes(model.tokenizer)[-2:] == ["land", "sea"] and model.config["vocab_size"] == size + 2
    assert sijo.generate(model, control_code="sea", max_new_tokens=5)


def test_their_gradient_is_that_of_a_run_that_moves_all(known, tmp_path):
    # kills: a tied row that learns as input alone, or as output alone; a loss of other weights
    settings, text = going_on(known, "model.dropout.hidden=0")
    tokenizer, corpus = prepare_run(settings, text, tmp_path, lambda sentence: None)
    batch = Samples(corpus, tokenizer, settings.data).batch(0, 6, seed=0)
    gradients = []
    for train in ("all", "codes"):
        objective = build(with_changes(settings, [f"start.train={train}"]), tokenizer)
        question = objective.pose(unposed(batch), 0)
        objective(question)["clm"].total.backward()
        moved = {name: weight.grad for name, weight in objective.named_parameters() if weight.grad is not None}
        gradients.append(moved)
    everywhere, alone = gradients
    assert len(alone) == 1 and len(everywhere) > 30
    (rows,) = alone.values()
    want = everywhere["network.transformer.embeddings.tokens.weight"][-2:]
    assert rows.abs().min() > 0
    torch.testing.assert_close(rows, want, rtol=1e-5, atol=1e-6)


def test_the_usual_run_moves_all(known, tmp_path):
    # kills: a run that freezes what it should move; a code known before that changes its number; a code of two
    # tokens
    settings, text = going_on(known)
    told = []
    list(pretrain(settings, text, tmp_path / "run", tell=told.append))
    before, after = tensors(known / "run" / "model"), tensors(tmp_path / "run" / "model")
    still = [name for name, tensor in before.items() if torch.equal(after[name][: len(tensor)], tensor)]
    assert still == [] and any("does not know the control codes land, sea" in said for said in told)
    old, new = (sijo.load(folder / "run" / "model").tokenizer for folder in (known, tmp_path))
    size = old.largest_id + 1
    assert [old.token(number) for number in range(size)] == [new.token(number) for number in range(size)]
    assert [new.token(number) for number in range(size, new.largest_id + 1)] == list(NEW)
    index = json.loads((tmp_path / "run" / "corpus" / "index.json").read_text())
    ids = {one["name"]: one["ids"] for one in index["codes"]}
    assert ids == {"sea": [size + 1], "land": [size], "travel": [old.id("<travel>")]}
    again = CorpusSource(sources=[str(tmp_path / "run" / "corpus")], tokenizer=str(tmp_path / "run" / "tokenizer"))
    list(pretrain(settings, again, tmp_path / "again"))  # the same, from the corpus and the tokenizer it left
    assert digest(tmp_path / "again") == digest(tmp_path / "run")


def test_stopped_and_gone_on_with(known, tmp_path):
    # kills: rows begun anew on resuming, codes that are added twice, a checkpoint that lacks the two parts
    settings, text = going_on(known, "start.train=codes", "run.average=0.9")
    list(pretrain(settings, text, tmp_path / "whole"))
    for stop_at in (3, 99):
        stop = [False] * stop_at + [True]
        list(pretrain(settings, text, tmp_path / "parts", resume=True, stop=partial(stop.pop, 0)))
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")
    models = [(tmp_path / part / "model" / "model.safetensors").read_bytes() for part in ("whole", "parts")]
    assert models[0] == models[1]


def test_what_has_no_new_code_gets_no_row(known, text, tmp_path):
    # kills: a tokenizer copied for nothing, a run that moves nothing at all for an hour
    old = CorpusSource(sources=[str(text / "requests.csv")], code_column="domain")
    list(pretrain(going_on(known, "run.steps=1")[0], old, tmp_path / "run"))
    assert not (tmp_path / "run" / "tokenizer").exists()
    assert len(tensors(tmp_path / "run" / "model")[TABLE]) == len(tensors(known / "run" / "model")[TABLE])
    with pytest.raises(SettingError, match="does not know, and it knows all of these; leave it out"):
        list(pretrain(going_on(known, "start.train=codes")[0], old, tmp_path / "other"))


@pytest.mark.parametrize(
    "name, changes", [("ctrl", []), ("electra", ["start.model=x", "start.generator=x"])], ids=["fresh", "rtd"]
)
def test_where_there_is_nothing_to_go_on_from(name, changes):
    # kills: a setting without effect
    with pytest.raises(SettingError, match=r"give start\.model, and neither rtd nor a teacher"):
        small(name, "start.train=codes", *changes)


def test_another_tokenizer_is_no_longer_one(known, text, tmp_path):
    # kills: rows for the end of a vocabulary that numbers all tokens otherwise
    settings = small("ctrl", "tokenizer.vocab_size=700")
    given = CorpusSource(sources=[str(text / "requests.csv")], code_column="domain")
    prepare_run(settings, given, tmp_path, lambda sentence: None)
    other = CorpusSource(sources=given.sources, code_column="domain", tokenizer=str(tmp_path / "tokenizer"))
    with pytest.raises(SettingError, match=r"knows 510 tokens, and the tokenizer numbers them up to 709; use the"):
        list(pretrain(going_on(known)[0], other, tmp_path / "run"))


def test_a_given_tokenizer_gets_codes_too(known, text, tmp_path):
    # kills: a code of several tokens, which nobody can ask for, wherever a tokenizer is given
    plain = known / "plain"
    if not plain.exists():
        prepare_run(small("ctrl"), CorpusSource(sources=[str(text / "requests.txt")]), plain, lambda sentence: None)
    given = CorpusSource(sources=[str(known / "more.csv")], code_column="kind", tokenizer=str(plain / "tokenizer"))
    list(pretrain(small("ctrl", "run.steps=1"), given, tmp_path / "run"))
    model = sijo.load(tmp_path / "run" / "model", "lm")
    assert known_codes(model.tokenizer) == ["land", "sea", "travel"]
    assert len(code("sea", model.tokenizer)) == 1
