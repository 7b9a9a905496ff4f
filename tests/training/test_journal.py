"""The journal of a run: its bytes after a kill, what stands in it, and who else is told.

Each test names the fault it is to catch.
"""

import importlib.machinery
import json
import sys
import types
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from battery import scramble
from conftest import write_tiny_tokenizer
from sijo.data.samples import Batch
from sijo.errors import SettingError, TextError
from sijo.files.json_lines import RUN_FILES, JsonLinesFile, read_lines
from sijo.jobs.run_settings import RunSettings
from sijo.models import FAMILIES
from sijo.nn.architecture import Architecture, DropoutRates, Learned
from sijo.nn.head_specs import ClassifierHeadSpec, LMHeadSpec
from sijo.nn.heads import Network
from sijo.objectives.clm import CausalLM
from sijo.objectives.masking import Masking
from sijo.objectives.mlm import MaskedLM
from sijo.objectives.objective import Joint
from sijo.objectives.posed_batch import unposed
from sijo.objectives.rtd import ReplacedTokenDetection
from sijo.objectives.sop import SentenceOrder
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.training import cost
from sijo.training.cost import SpeedMeter
from sijo.training.distributed import World
from sijo.training.journal import Journal, spelled
from sijo.training.loop import Training
from sijo.training.settings import LoopSettings
from sijo.training.step import LoopState, Step
from sijo.training.trackers import check_tracker

STEPS, EVERY, SAVES = 17, 3, (4, 8, 12)
PEAK = 2e9


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tiny_tokenizer(folder / "tokenizer.json")
    return Tokenizer.open(folder, FAMILIES["bert"], max_length=32)


@pytest.fixture(scope="module")
def architecture(tokenizer):
    return Architecture(
        vocab_size=tokenizer.vocab_size,
        embedding_size=8,
        hidden_size=8,
        heads=2,
        intermediate_size=16,
        schedule=(0, 1),
        positions=Learned(count=128),
        token_types=2,
        dropout=DropoutRates(hidden=0.5, embeddings=0.5),
    )


@pytest.fixture(scope="module")
def settings(architecture):
    return RunSettings(model=architecture, run=LoopSettings(log_every=EVERY, batch=4))


@pytest.fixture
def masked(architecture, tokenizer):
    network = scramble(Network(architecture, {"mlm": LMHeadSpec(activation="gelu")}))
    return Joint(network, [MaskedLM(Masking(share=0.3), tokenizer)]).train()


def batch(tokenizer, *texts):
    """A clean batch of texts, none without padding."""
    rows = [[tokenizer.cls_id, *ids, tokenizer.sep_id] for ids in tokenizer.ids(texts)]
    shape = len(rows), max(map(len, rows)) + 3
    ids, keep, special = np.zeros(shape, np.int64), np.zeros(shape, bool), np.ones(shape, bool)
    for number, row in enumerate(rows):
        ids[number, : len(row)], keep[number, : len(row)] = row, True
        special[number, 1 : len(row) - 1] = False
    return Batch(
        input_ids=ids,
        keep=keep,
        token_type_ids=np.zeros(shape, np.int64),
        special=special,
        parts=np.array([[len(row) - 3, 1] for row in rows]),
        next_ids=np.full(len(rows), -1),
        numbers=np.arange(len(rows)),
        epochs=np.zeros(len(rows), np.int64),
    )


def step(number):
    """A step whose numbers no decimal fraction holds, and which a clock decides in part."""
    mlm = 1 / number + 0.1
    return Step(
        number=number,
        steps=STEPS,
        share=number / STEPS,
        losses={"mlm": mlm, "sop": mlm / 3},
        right={"mlm": 1 / 7, "sop": number / 19},
        loss=mlm + mlm / 3,
        rate=1e-4 / number,
        gradient_norm=number / 3,
        samples=4 * number,
        tokens=50 + number,
        seconds=step.seconds,
    )


step.seconds = 0.25


def logging(settings, objective, state=None):
    """A run that only logs, on a machine whose speed is known."""
    loop = settings.run
    meter = SpeedMeter(
        [objective.network], share=objective.share, batch=loop.batch, micro_tokens=loop.micro_tokens, peak=PEAK
    )
    return SimpleNamespace(settings=settings, state=state or LoopState(), _meter=meter)


def example(objective, question, tokenizer):
    """What a run writes down of a batch."""
    made = Training._example(SimpleNamespace(objective=objective, world=World()), question)
    return None if made is None else spelled(made, tokenizer)


def ran(folder, settings, tokenizer, objective, *, saved=None, until=STEPS):
    """A run, from what was saved on; gives what each checkpoint remembers."""
    folder.mkdir(parents=True, exist_ok=True)
    begun, saves = saved["step"] if saved else 0, {}
    run = logging(settings, objective, LoopState.read(saved) if saved else None)
    with Journal(folder, settings, tokenizer, step=begun) as journal:
        for number in range(begun + 1, until + 1):
            logged = Training._logged(run, step(number))
            if number in SAVES:
                world = SimpleNamespace(objective=objective, world=World())
                shown = Training._example(world, question(objective, tokenizer))
                logged = replace(logged, checkpoint=True, example=shown)
            journal.add(logged)
            saves[number] = json.loads(json.dumps({"step": number, "loop": asdict(run.state)}))
    return saves


def question(objective, tokenizer, *texts, seed=0):
    return objective.pose(unposed(batch(tokenizer, *(texts or ("the old sea was good", "rain and sun")))), seed)


@pytest.mark.parametrize("save, killed", [(None, 5), (4, 8), (8, 8), (4, 13), (12, 15), (8, 17), (12, 17)])
def test_killed_and_resumed_leaves_the_same_bytes(tmp_path, settings, tokenizer, masked, monkeypatch, save, killed):
    # kills: lines of lost steps left in place, half a line at the end, sums that are not saved or that a detour
    # through JSON rounds, a mean over other steps, a clock's number among the metrics, an example twice
    ran(tmp_path / "whole", settings, tokenizer, masked)
    monkeypatch.setattr(step, "seconds", 0.5)
    saves = ran(tmp_path / "killed", settings, tokenizer, masked, until=killed)
    with (tmp_path / "killed" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 18, "sam')
    ran(tmp_path / "killed", settings, tokenizer, masked, saved=saves.get(save))
    for name in ("metrics.jsonl", "examples.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    timings = read_lines(tmp_path / "killed" / "timings.jsonl")
    assert [line["step"] for line in timings] == [3, 6, 9, 12, 15]
    assert timings[-1]["seconds"] == 15 * 0.5


def test_what_a_line_says(tmp_path, settings, tokenizer, masked):
    # kills: a sum for a mean, the tokens of one step for those so far, the samples of another step, a loss under
    # another's name, the speed of one step for that of all, seconds of one line for those so far
    ran(tmp_path / "run", settings, tokenizer, masked, until=6)
    steps = [step(number) for number in range(1, 7)]
    line = read_lines(tmp_path / "run" / "metrics.jsonl")[1]
    last = steps[3:]
    want = {
        "step": 6,
        "samples": 24,
        "tokens": sum(one.tokens for one in steps),
        "lr": 1e-4 / 6,
        "gradient_norm": sum(one.gradient_norm for one in last) / 3,
        "loss": sum(one.loss for one in last) / 3,
    }
    for part in ("mlm", "sop"):
        want[part] = sum(one.losses[part] for one in last) / 3
        want[f"{part}_right"] = sum(one.right[part] for one in last) / 3
    assert list(line) == list(want)
    assert line == pytest.approx(want, rel=1e-12)

    timing = read_lines(tmp_path / "run" / "timings.jsonl")[1]
    tokens, seconds = sum(one.tokens for one in last), 3 * step.seconds
    length = tokens / 3 / settings.run.batch
    flops = cost.training_flops([masked.network], length, share=masked.share, sequences=int(4096 / length))
    assert timing == pytest.approx(
        {
            "step": 6,
            "seconds": 1.5,
            "tokens_per_second": tokens / seconds,
            "matmul_share": tokens / seconds * flops / PEAK,
        }
    )


def test_the_speed_is_that_of_the_last_steps(settings, masked, monkeypatch):
    # kills: a mean over the whole run, which tells nothing of now
    run = logging(settings, masked)
    for number in range(1, 61):
        monkeypatch.setattr(step, "seconds", 9.0 if number <= 40 else 0.5)
        logged = Training._logged(run, step(number))
    assert logged.speed.tokens_per_second == pytest.approx((50 + 50.5) / 0.5)


def test_only_the_first_process_writes(tmp_path, settings, tokenizer, masked):
    # kills: two processes that write one file
    with Journal(tmp_path, settings, tokenizer, step=0, writes=False) as journal:
        run = logging(settings, masked)
        for number in range(1, EVERY + 1):
            journal.add(replace(Training._logged(run, step(number)), checkpoint=True))
    assert not list(tmp_path.iterdir())


def test_lines_are_on_the_disk_when_a_checkpoint_is_written(tmp_path, settings, tokenizer, masked, monkeypatch):
    # kills: a checkpoint that vouches for lines that a power cut takes away
    synced, fsync = set(), __import__("os").fsync
    monkeypatch.setattr("sijo.files.json_lines.os.fsync", lambda handle: (synced.add(handle), fsync(handle)))
    with Journal(tmp_path, settings, tokenizer, step=0) as journal:
        synced.clear()
        journal.add(step(1))
        assert not synced
        journal.add(replace(step(2), checkpoint=True))
        assert len(synced) == len(RUN_FILES)


def test_a_checkpoint_of_the_first_sijo_goes_on(tmp_path, settings, tokenizer, masked):
    # kills: a run that was begun before states were one, and cannot be resumed, or forgets its sums
    saves = ran(tmp_path / "run", settings, tokenizer, masked, until=5)
    loop = saves[4]["loop"]
    old = {
        "standing": {name: loop[name] for name in ("step", "seconds", "first", "smoothed", "lowest")},
        "watch": {"bytes": {}, "tokens": loop["tokens"], "seconds": loop["busy_seconds"], "sums": loop["sums"]},
    }
    assert LoopState.read(old) == LoopState.read(saves[4])


def test_a_line_is_seen_at_once(tmp_path):
    # kills: a buffer that holds lines back from who draws a report of a run under way
    with JsonLinesFile(tmp_path / "a.jsonl", last_step=0) as lines:
        lines.write({"loss": 0.1 + 0.2})
        assert (tmp_path / "a.jsonl").read_bytes() == b'{"loss": 0.30000000000000004}\n'


def test_a_file_that_lost_its_end_goes_on(write):
    # kills: zeros in the place of lost lines, a line glued to half of another
    file = write("a.jsonl", '{"step": 1}\n{"st')
    with JsonLinesFile(file, last_step=9) as lines:
        lines.write({"step": 3})
    assert file.read_text() == '{"step": 1}\n{"step": 3}\n'


@pytest.mark.parametrize("end", ["", '{"step": 3, "lo', "\0" * 300, '{"step": 3}'])
def test_half_a_last_line_is_ignored(write, end):
    # kills: a report that fails on what a power cut left
    assert read_lines(write("a.jsonl", '{"step": 1}\n{"step": 2}\n' + end)) == [{"step": 1}, {"step": 2}]


def test_no_file_has_no_lines(tmp_path):
    # kills: a report of a run that has just begun that fails
    assert read_lines(tmp_path / "a.jsonl") == []


@pytest.mark.parametrize("line", ["", "[1]", '{"loss": NaN}', '{"step": 1', "\0"])
def test_damage_within_is_named(write, line):
    # kills: lines left out without a word
    file = write("a.jsonl", f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(TextError, match=rf"line 2 of .*{file.name} is damaged"):
        read_lines(file)


# --- examples


def words(tokenizer, ids):
    return [tokenizer.token(int(number)) for number in ids]


def test_an_example_of_masked_tokens(tokenizer, masked):
    # kills: the clean text shown for the hidden one, a guess at the wrong place or of a network with dropout, a
    # short text where there is a longer one, the whole batch read, a network left in eval mode, dice thrown
    asked = question(masked, tokenizer, "the sea", "the old sea and the rain", "was sun", seed=3)
    assert asked.target_mask[1].any()
    read = []
    masked.network.transformer.register_forward_pre_hook(lambda module, given: read.append(given[0].shape))
    dice = torch.get_rng_state()
    made = example(masked, asked, tokenizer)
    assert torch.equal(torch.get_rng_state(), dice)
    assert masked.training and masked.network.transformer.embeddings.dropout.training

    masked.eval()
    assert read.pop()[0] == 1 and not read
    logits = masked.network(asked.input_ids[1:2, :8], None, asked.token_type_ids[1:2, :8]).logits[0]
    assert made["objective"] == "mlm"
    assert made["text"] == words(tokenizer, asked.input_ids[1, :8])
    assert made["truth"] == ["[CLS]", "the", "old", "sea", "and", "the", "rain", "[SEP]"]
    assert made["asked"] == asked.target_mask[1, :8].tolist()
    best = words(tokenizer, logits.argmax(-1))
    assert made["guess"] == [one if there else None for one, there in zip(best, made["asked"], strict=True)]


def test_weights_that_are_shared_out_are_gathered(tokenizer, masked):
    # kills: a run under FSDP that fails at its first checkpoint, or goes on with all weights in every process
    told = []
    masked.unshard, masked.reshard = lambda: told.append("all"), lambda: told.append("share")
    masked.network.transformer.register_forward_pre_hook(lambda *given: told.append("read"))
    example(masked, question(masked, tokenizer), tokenizer)
    assert told == ["all", "read", "share"]


@pytest.mark.parametrize("follows", [False, True])
def test_an_example_of_next_tokens(architecture, tokenizer, follows):
    # kills: a guess shown at the place that made it, the token after the input left out or made up
    network = scramble(
        Network(replace(architecture, reads="left", token_types=0), {"lm": LMHeadSpec(activation="gelu")})
    )
    objective = Joint(network, [CausalLM()])
    given = batch(tokenizer, "the old sea was good")
    given.special[0, given.keep[0].sum() - 1] = False  # a window of a stream ends within a text
    if follows:
        given.next_ids[0] = tokenizer.id("rain")
    made = example(objective, objective.pose(unposed(given), 0), tokenizer)
    best = words(tokenizer, network.eval()(torch.from_numpy(given.input_ids)).logits[0].argmax(-1))
    want = ["[CLS]", "the", "old", "sea", "was", "good", "[SEP]", *(["rain"] if follows else [])]
    assert made["text"] == made["truth"] == want
    assert made["asked"] == [False, *[True] * (len(want) - 1)]
    assert made["guess"] == [None, *best][: len(want)]


def test_an_example_of_replaced_tokens(architecture, tokenizer):
    # kills: the generator's blanks shown for what was put in, a lucky guess called replaced, logits for
    # probabilities, scores of the text before tokens were replaced
    generator = scramble(Network(architecture, {"mlm": LMHeadSpec(activation="gelu")}))
    judge = scramble(Network(architecture, {"rtd": ClassifierHeadSpec(reads="each", dense="gelu", answers="one")}))
    masked = MaskedLM(Masking(share=0.5), tokenizer)
    objective = ReplacedTokenDetection(generator, judge, masked, sharing="none")
    with torch.no_grad():
        generator.head["mlm"].bias[tokenizer.id("sea")] += 12  # so that it is mostly put in, and once rightly so
    asked = question(objective, tokenizer, "the old sea was sea and sea", seed=1)
    made = example(objective, asked, tokenizer)
    assert made["objective"] == "rtd"
    assert made["truth"] == ["[CLS]", "the", "old", "sea", "was", "sea", "and", "sea", "[SEP]"]
    assert made["asked"] == asked.target_mask[0, :9].tolist()
    assert "[MASK]" not in made["text"]
    assert made["replaced"] == [one != other for one, other in zip(made["text"], made["truth"], strict=True)]
    assert 0 < sum(made["replaced"]) < sum(made["asked"])
    assert made["guess"] == [one if there else None for one, there in zip(made["text"], made["asked"], strict=True)]
    ids = torch.tensor([[tokenizer.id(token) for token in made["text"]]])
    judge.eval()
    assert made["spotted"] == pytest.approx(judge(ids).logits[0].sigmoid().tolist(), abs=6e-5)


def test_no_example_where_no_token_is_asked_for(architecture, tokenizer):
    # kills: a run of sentence order alone that fails at its first checkpoint
    network = Network(architecture, {"sop": ClassifierHeadSpec(labels=2, dense="tanh")})
    objective = Joint(network, [SentenceOrder()])
    assert example(objective, question(objective, tokenizer), tokenizer) is None


# --- trackers


@pytest.fixture
def fake(monkeypatch):
    """`fake(name)` puts a module that answers every call in the place of a package; gives what it was told."""

    def put(name):
        told = []

        class Module(types.ModuleType):
            def __getattr__(self, call):
                if call.startswith("__"):
                    raise AttributeError(call)

                def answer(*arguments, **named):
                    print(name, "speaks")
                    told.append((call, arguments, named))
                    return self

                return answer

        module = Module(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
        return told

    return put


def test_tensorboard_is_told(tmp_path, settings, tokenizer, masked, fake):
    # kills: a curve under another's step, the clock's numbers left out, a writer that is never closed
    fake("tensorboard")
    told = fake("torch.utils.tensorboard")
    tracked = replace(settings, run=replace(settings.run, tracker="tensorboard"))
    ran(tmp_path / "run", tracked, tokenizer, masked, until=4)
    assert told[0] == ("SummaryWriter", (str(tmp_path / "run" / "tensorboard"),), {})
    line = {
        **read_lines(tmp_path / "run" / "metrics.jsonl")[0],
        **read_lines(tmp_path / "run" / "timings.jsonl")[0],
    }
    assert told[1:-1] == [("add_scalar", (name, value, 3), {}) for name, value in line.items()]
    assert told[-1] == ("close", (), {})


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_hosted_trackers_are_told(tmp_path, settings, tokenizer, masked, fake, capsys, name):
    # kills: settings that are not sent, a resumed run that begins another one there, two runs that become one, a
    # key that trackio keeps for itself, a run that is never finished, words on standard output
    told = fake(name)
    tracked = replace(settings, run=replace(settings.run, tracker=name))
    for place in ("x/a", "x/a", "y/a"):
        ran(tmp_path / place, tracked, tokenizer, masked, until=4)
    begun = [named for call, _, named in told if call == "init"]
    who = [(one["name"], one.get("id")) for one in begun]
    assert who[0] == who[1] and who[0] != who[2]
    assert all(one["project"] == "sijo" and one["resume"] == "allow" for one in begun)
    assert all(one["config"] == tracked.to_json() for one in begun)
    if name == "wandb":
        assert begun[0]["name"] == "a" and begun[0]["dir"] == str(tmp_path / "x" / "a")
    call, (fields,), named = told[1]
    assert (call, named) == ("log", {"step": 3})
    assert fields.keys() > {"mlm", "lr", "tokens_per_second", "seconds"} and "step" not in fields
    assert told[2] == ("finish", (), {}) == told[-1] and len(told) == 9
    assert capsys.readouterr() == ("", f"{name} speaks\n" * 9)


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_that_is_not_installed(tmp_path, settings, tokenizer, monkeypatch, name):
    # kills: a trace, and hours spent before it is told
    monkeypatch.setattr("sijo.training.trackers.importlib.util.find_spec", lambda package: None)
    with pytest.raises(SettingError, match=f"pip install {name}"):
        check_tracker(name)
    with pytest.raises(SettingError, match=f"pip install {name}"):
        Journal(tmp_path, replace(settings, run=replace(settings.run, tracker=name)), tokenizer, step=0)
    assert not list(tmp_path.iterdir())
