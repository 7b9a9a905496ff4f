"""A run from text to model: what it learns, what it remembers, what it does when something goes wrong."""

import errno
import json
import math
import os
import platform
from pathlib import Path

import pytest
import torch

import sijo
from runs import digest, small
from sijo.errors import SettingError
from sijo.jobs.prepare import CorpusSource
from sijo.jobs.pretrain import pretrain
from sijo.jobs.run_folder import take_run_folder
from sijo.jobs.run_settings import RunSettings
from sijo.training import loop as looping
from sijo.training import state
from sijo.training.loop import DivergedError, LoopState

GOLDEN = Path(__file__).with_name("golden.json")
OBJECTIVES = {
    "mlm": ("bert",),
    "emd": ("deberta",),
    "mlm+sop": ("albert",),
    "rtd": ("electra",),
    "gdes": ("deberta-v3",),
    "clm": ("ctrl",),
}
FIFTY = ("run.steps=50", "run.log_every=5", "run.save_every=50", "run.divergence=100")


def machine():
    """What decides the last bits of a sum."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    lines = [line for line in lines if line.startswith(("cpu family", "model"))]  # many models have one name
    return [torch.__version__, platform.machine(), *lines[:3], torch.backends.cpu.get_cpu_capability()]


def losses(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    parts = ("mlm", "sop", "rtd", "clm", "loss", "gradient_norm")
    return [{part: line[part] for part in parts if part in line} for line in lines]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_golden_losses(run, tmp_path, objective):
    # kills: whatever moves a loss unmeant: order, masks, dice, initial weights, optimizer, schedule
    name, *changes = OBJECTIVES[objective]
    torch.set_num_threads(1)
    run(name, tmp_path / "run", *FIFTY, *changes)
    got, golden = losses(tmp_path / "run"), json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {"losses": {}}
    if os.environ.get("SIJO_GOLDEN") == "write":  # after a change that was meant; say so in the changelog
        golden["machine"] = machine()
        golden["losses"][objective] = got
        GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
    want = golden["losses"][objective]
    assert len(got) == 10 and got[-1]["loss"] < 0.98 * got[0]["loss"]
    if golden["machine"] == machine():
        assert got == want
    for mine, theirs in zip(got, want, strict=True):  # Adam makes more of another processor's last bits
        norms = mine.pop("gradient_norm"), theirs.pop("gradient_norm")
        assert mine == pytest.approx(theirs, rel=1e-4) and norms[0] == pytest.approx(norms[1], rel=1e-3)


@pytest.mark.parametrize("name", ["electra", "albert", "ctrl"])
def test_a_run_that_was_stopped_is_one_that_was_not(run, tmp_path, name):
    # kills: state that is not saved: optimizer, average, place in the data, running means of metrics, dropout
    changes = ("run.average=0.9", "model.dropout.hidden=0.1")
    run(name, tmp_path / "whole", *changes)
    for stop_at in (1, 3, 7, 8):
        seen = []

        def stop(seen=seen, at=stop_at):
            seen.append(1)
            return len(seen) > at

        run(name, tmp_path / "parts", *changes, resume=True, stop=stop)
    run(name, tmp_path / "parts", *changes, resume=True)
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")
    assert {"average.safetensors", "optimizer.safetensors"} < set(digest(tmp_path / "whole"))


def test_pieces_make_no_difference(run, tmp_path):
    # kills: gradients that depend on how a batch is cut (means of means), pieces that are lost
    weights = []
    for tokens in (32, 96, 100_000):
        # a small rate and a large eps, for Adam makes a step of the rounding of a gradient that is 0
        settled = ("run.steps=3", "optimizer.eps=0.5", "schedule.peak=0.001")
        run("albert", tmp_path / str(tokens), f"run.micro_tokens={tokens}", *settled)
        weights.append(state.newest(tmp_path / str(tokens) / "checkpoints").weights)
    for other in weights[1:]:
        for name, tensor in weights[0].items():
            torch.testing.assert_close(other[name], tensor, rtol=0, atol=1e-5)


def test_recomputed_activations_change_nothing(run, tmp_path):
    # kills: a checkpointed block that draws other dropout
    for name, recompute in (("plain", "false"), ("again", "true")):
        run("bert", tmp_path / name, f"run.recompute={recompute}", "model.dropout.hidden=0.1", "run.steps=4")
    assert digest(tmp_path / "plain") == digest(tmp_path / "again")


def test_low_precision_learns_too(run, tmp_path):
    # kills: weights or sums that are kept in bfloat16, a dtype that does not fit in the mask decoder
    steps = run("deberta-v3", tmp_path / "low", "run.precision=bfloat16", "run.steps=30")
    assert steps[-1].loss < 0.95 * steps[0].loss
    assert all(
        part.dtype == torch.float32 for part in state.newest(tmp_path / "low" / "checkpoints").weights.values()
    )


def test_blocks_are_compiled_in_place(run, tmp_path, monkeypatch):
    # kills: a setting that does nothing, weights under other names (`_orig_mod.`), heads or tables compiled
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda part, *_, **__: compiled.append(type(part).__name__))
    run("electra", tmp_path / "compiled", "run.compile=true", "run.steps=2")
    assert compiled == ["Block"] * 4
    run("electra", tmp_path / "plain", "run.steps=2")
    assert len(compiled) == 4
    one, other = (state.newest(tmp_path / name / "checkpoints").weights for name in ("compiled", "plain"))
    assert list(one) == list(other)


@pytest.mark.parametrize("able", [True, False])
def test_a_processor_without_bfloat16_is_told_of(run, tmp_path, monkeypatch, able):
    # kills: products that take seven times as long, without a word
    monkeypatch.setattr(looping, "has_bf16", lambda: able)
    told = []
    run("bert", tmp_path / "low", "run.precision=bfloat16", "run.steps=1", tell=told.append)
    run("bert", tmp_path / "plain", "run.steps=1", tell=told.append)
    assert sum("bfloat16" in sentence for sentence in told) == (not able)


def test_what_is_left_opens_and_answers(run, tmp_path):
    # kills: a model without tokenizer or head, weights that are not the last ones, the average forgotten
    run("electra", tmp_path / "rtd")
    generator = sijo.load(tmp_path / "rtd" / "generator", "mlm")
    discriminator = sijo.load(tmp_path / "rtd" / "discriminator", "rtd")
    last = state.newest(tmp_path / "rtd" / "checkpoints").weights
    table = last["generator.transformer.embeddings.tokens.weight"]
    for model in (generator, discriminator):
        assert torch.equal(model.transformer.embeddings.tokens.weight, table)
    ids = torch.tensor(discriminator.tokenizer.windows(["book a flight"])[0])
    assert discriminator(ids).logits.shape == ids.shape

    run("deberta-v3", tmp_path / "gdes", "run.average=0.9")
    found = state.newest(tmp_path / "gdes" / "checkpoints").average
    merged = (
        found["generator.transformer.embeddings.tokens.weight"]
        + found["discriminator.transformer.embeddings.tokens.delta"]
    )
    discriminator = sijo.load(tmp_path / "gdes" / "discriminator", "rtd")
    assert torch.equal(discriminator.transformer.embeddings.tokens.weight, merged)
    assert discriminator.family.model_type == "deberta-v2"
    assert sijo.load(tmp_path / "gdes" / "generator", "mlm").head_values["mlm"].places == 128


def test_going_on_from_a_pair_of_folders(run, tmp_path):
    # kills: fresh weights in place of those given, the offset of a published pair forgotten
    run("deberta-v3", tmp_path / "first")
    start = [
        f"start.{part}={tmp_path / 'first' / folder}"
        for part, folder in (("model", "discriminator"), ("generator", "generator"))
    ]
    run(
        "deberta-v3",
        tmp_path / "second",
        *start,
        "run.steps=1",
        "schedule.peak=1e-9",
    )
    want = sijo.load(tmp_path / "first" / "discriminator", "rtd")
    got = sijo.load(tmp_path / "second" / "discriminator", "rtd")
    for name, tensor in want.state_dict().items():
        torch.testing.assert_close(
            got.state_dict()[name], tensor, rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )
    assert not torch.equal(
        want.transformer.embeddings.tokens.weight,
        sijo.load(tmp_path / "first" / "generator", "mlm").transformer.embeddings.tokens.weight,
    )


def test_a_time_budget_shapes_the_schedule(run, tmp_path, monkeypatch):
    # kills: a rate that falls by steps alone, a run that goes on after its time, time that starts anew on resuming
    clock = [0.0]

    def ticking():
        clock[0] += 0.25
        return clock[0]

    monkeypatch.setattr(looping.time, "perf_counter", ticking)
    settings = ("run.steps=100000", "run.max_time=20s", "schedule.warmup_share=0.1", "run.save_every=7")
    seen = []
    first = run("bert", tmp_path / "run", *settings, stop=lambda: len(seen) >= 9 or seen.append(1), resume=True)
    rest = run("bert", tmp_path / "run", *settings, resume=True)
    rates = [step.rate for step in (*first, *rest)]
    assert rates.index(max(rates)) <= 5 and rates[-1] < 0.05 * max(rates)
    assert 20 < len(rates) < 45 and rest[0].number == first[-1].number + 1
    assert rest[-1].share > 0.9


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_number_that_is_none_stops_the_run(run, tmp_path, monkeypatch, what):
    # kills: weights that are spoiled before anybody looks, a batch that nobody can find again, progress lost
    learn = looping.Training._learn

    def spoiled(self, question, counts):
        totals, right = learn(self, question, counts)
        if self.state.step == 5 and what == "loss":
            totals["mlm"] = math.nan
        if self.state.step == 5 and what == "gradient":
            next(iter(self._names)).grad.fill_(math.inf)
        return totals, right

    monkeypatch.setattr(looping.Training, "_learn", spoiled)
    with pytest.raises(DivergedError, match=rf"at step 6 the {what}.*step-00000005.*samples \d+, .*of epoch 0"):
        run("bert", tmp_path / "run")
    kept = state.newest(tmp_path / "run" / "checkpoints")
    assert kept.step == 5 and all(part.isfinite().all() for part in kept.weights.values())
    monkeypatch.undo()
    run("bert", tmp_path / "run", resume=True)
    run("bert", tmp_path / "whole")
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")


@pytest.mark.parametrize("step", [4, 6], ids=["no checkpoint is due", "one is due"])
@pytest.mark.parametrize("what", ["weight", "average"])
def test_weights_that_are_no_numbers_are_never_a_checkpoint(run, tmp_path, monkeypatch, step, what):
    # kills: NaN kept as the newest checkpoint, from which --resume goes on to NaN; a good one deleted to make room
    update = looping.Training._update

    def spoiled(self, posed):
        done = update(self, posed)
        if done.number == step:
            kept = self._average._all() if what == "average" else dict(self.objective.named_parameters())
            next(tensor for tensor in kept.values() if tensor.is_floating_point()).data.view(-1)[-1] = math.inf
        return done

    changes = ("run.save_every=3", "run.keep=1", *(["run.average=0.9"] if what == "average" else ()))
    monkeypatch.setattr(looping.Training, "_update", spoiled)
    with pytest.raises(DivergedError, match=r"after step \d.* (holds NaN or infinite).*step 3.*--resume goes on"):
        run("bert", tmp_path / "run", *changes)
    assert [step for step, _ in state.steps(tmp_path / "run" / "checkpoints")] == [3]
    monkeypatch.undo()
    run("bert", tmp_path / "run", *changes, resume=True)
    run("bert", tmp_path / "whole", *changes)
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")


def test_a_loss_that_rises_stops_the_run(run, tmp_path):
    # kills: a run that goes on for days after it has come apart
    with pytest.raises(DivergedError, match="has risen"):
        run("bert", tmp_path / "run", "schedule.peak=30", "run.clip=null", "run.steps=400")
    at = LoopState()
    for loss in [10.0, *[3.0] * 400, *[3.5] * 100]:
        assert at.fault(loss, 1.0, 2.0) is None
        at.advance(loss)
    assert all(at.fault(loss, 1.0, 2.0) is None for loss in (0.001, 60.0))
    for _ in range(60):
        at.advance(9.0)
    assert "has risen" in at.fault(9.0, 1.0, 2.0)


def test_a_damaged_checkpoint_is_passed_over_and_kept(run, tmp_path):
    # kills: a flipped bit that is learned on from, a damaged folder deleted, a second one of the same step
    run("electra", tmp_path / "whole")
    out, told = tmp_path / "run", []
    run("electra", out)
    for spoil in (flip, cut_short, without_manifest):
        newest = out / "checkpoints" / "step-00000012"
        spoil(newest)
        run("electra", out, resume=True, tell=told.append)
        assert digest(out) == digest(tmp_path / "whole")
    left = sorted(path.name for path in (out / "checkpoints").iterdir())
    assert left == [
        "step-00000008",
        "step-00000012",
        "step-00000012.damaged",
        "step-00000012.damaged.damaged",
        "step-00000012.damaged.damaged.damaged",
    ]
    assert sum("is kept as step-00000012.damaged" in sentence for sentence in told) == 3


def flip(folder):
    file = folder / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)


def cut_short(folder):
    file = folder / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-7])


def without_manifest(folder):
    (folder / "manifest.json").unlink()


def test_a_full_disk_loses_nothing(run, small_disk, tmp_path):
    # kills: an old checkpoint cleared away or spoiled before the new one is whole, litter that fills the disk
    disk = small_disk("3m")
    run("electra", tmp_path / "whole")
    with pytest.raises(OSError, match="No space") as raised:
        filler = disk / "filler"
        filler.write_bytes(b"x" * 2_400_000)
        run("electra", disk / "run")
    assert raised.value.errno == errno.ENOSPC
    assert not [path.name for path in (disk / "run").rglob("*.part")]
    before = state.steps(disk / "run" / "checkpoints")
    filler.unlink()
    run("electra", disk / "run", resume=True)
    assert digest(disk / "run") == digest(tmp_path / "whole")
    assert len(before) <= 2


def test_power_cut_at_any_write(run, tmp_path, monkeypatch):
    # kills: a rename before its contents are on the disk; a manifest that is brought to disk before what it lists
    out = tmp_path / "run"
    run("bert", out, "run.steps=4")
    old = state.newest(out / "checkpoints")
    from sijo.files import atomic

    sync, counted = atomic.sync, [0]

    class Cut(BaseException):
        """The power is gone."""

    for cut in range(1, 40):
        place, synced, counted[0] = tmp_path / f"cut-{cut}" / "checkpoints", set(), 0
        state.save(place, old, keep=2)
        new = state.Saved(8, old.fields, {name: part + 1 for name, part in old.weights.items()}, old.optimizer, {})

        def counting(path, synced=synced, cut=cut):
            counted[0] += 1
            if counted[0] == cut:
                raise Cut
            sync(path)
            synced.add(path.name)

        with monkeypatch.context() as at:
            at.setattr(atomic, "sync", counting)
            at.setattr(atomic.shutil, "rmtree", lambda *given, **more: None)  # a dead process clears nothing away
            try:
                state.save(place, new, keep=2)
                done = True
            except Cut:
                done = False
        for file in place.glob(".step-*/*"):
            if file.name not in synced:
                file.write_bytes(b"")  # what was not brought to the disk is gone
        found = state.newest(place)
        assert found.step == (8 if (place / "step-00000008").exists() else 4)
        assert torch.equal(
            found.weights["network.head.mlm.bias"],
            (new if found.step == 8 else old).weights["network.head.mlm.bias"],
        )
        if done:
            break
    assert done and cut > 5


def test_old_checkpoints_go_and_the_newest_stay(run, tmp_path):
    # kills: a disk that fills up, and the only whole checkpoint cleared away
    run("bert", tmp_path / "run", "run.keep=3", "run.save_every=2")
    assert [step for step, _ in state.steps(tmp_path / "run" / "checkpoints")] == [8, 10, 12]


def test_two_runs_cannot_share_a_folder(run, prepared, tmp_path):
    # kills: two processes that write the same checkpoints; settings that change half-way
    out, place = tmp_path / "run", prepared("bert")
    text = CorpusSource(sources=[str(place / "corpus")], tokenizer=str(place / "tokenizer"))
    steps = pretrain(small("bert"), text, out)
    next(steps)
    with pytest.raises(SettingError, match="another process is at work"):
        run("bert", out, resume=True)
    assert len(list(steps)) == 11
    with pytest.raises(SettingError, match="--resume goes on with it"):
        run("bert", out)
    with pytest.raises(SettingError, match=r"begun with run.steps=12, not 13"):
        run("bert", out, "run.steps=13", resume=True)
    run("bert", out, "run.keep=1", resume=True)
    with pytest.raises(SettingError, match=r"begun with sources \[.*corpus'\], not \['other.txt'\]"):
        take_run_folder(out, small("bert", "run.keep=1"), "text.json", {"sources": ["other.txt"]}, resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").touch()
    with pytest.raises(SettingError, match="holds other things"):
        run("bert", tmp_path / "other")


@pytest.mark.parametrize("left", [["text.json"], ["text.json.tmp-9"], ["text.json", "settings.json.tmp-9"]])
def test_a_run_killed_before_it_began_is_begun_anew(run, tmp_path, left):
    # kills: a folder that can neither be resumed nor begun, since it holds half of a beginning
    (tmp_path / "run").mkdir()
    for name in left:
        (tmp_path / "run" / name).write_text('{"sources": ["elsewhere"]}')
    run("bert", tmp_path / "run", "run.steps=1", resume=True)
    assert not list((tmp_path / "run").glob("*.tmp-*"))
    assert "elsewhere" not in (tmp_path / "run" / "text.json").read_text()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "poems.txt").write_text("the sea")
    with pytest.raises(SettingError, match="holds other things"):
        run("bert", tmp_path / "other", "run.steps=1", resume=True)


def test_settings_repeat_a_run(run, tmp_path):
    # kills: a setting that is not saved, or read back as something else
    from sijo.training.settings import read_settings

    run("deberta-v3", tmp_path / "one")
    again = read_settings(json.loads((tmp_path / "one" / "settings.json").read_text()), RunSettings)
    assert again == small("deberta-v3")
    run("deberta-v3", tmp_path / "two", settings=again)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
