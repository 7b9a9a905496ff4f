"""`sijo pretrain` as it is typed: what it prints, what it leaves, what it refuses before any work is done."""

import json

import pytest

import sijo
from runs import REQUESTS
from sijo.app.numbers import duration
from sijo.files.json_lines import json_leaves
from sijo.jobs.recipes import RECIPES
from sijo.jobs.run_settings import RunSettings
from sijo.training.settings import read_settings, setting_descriptions, with_changes

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ("run.steps=4", "run.batch=4", "run.save_every=2", "data.length=32", "tokenizer.vocab_size=500")
NETWORK = ("hidden_size=16", "embedding_size=16", "heads=2", "intermediate_size=32")
OF_MODEL = tuple(f"model.{size}" for size in NETWORK)


def test_from_raw_text_to_a_model(sijo_cli, tmp_path):
    # kills: an option that is not passed on, a path that is not printed, a model that cannot be opened
    out = tmp_path / "run"
    ran = sijo_cli("pretrain", "bert-tiny", "--corpus", REQUESTS, "-o", out, "-q", "--set", *SMALL, *OF_MODEL)
    assert ran.code == 0, ran.err
    assert ran.out.decode().split() == [str(out / "model")] and ran.err == ""
    model = sijo.load(out / "model", "mlm")
    assert model.tokenizer.vocab_size == 500 and model.architecture.hidden_size == 16
    assert {path.name for path in out.iterdir() if path.name[0] != "."} == {
        *("settings.json", "text.json", "tokenizer", "corpus", "checkpoints", "model"),
        *("metrics.jsonl", "timings.jsonl", "examples.jsonl"),
    }
    prepared = ("--corpus", out / "corpus", "--tokenizer", out / "tokenizer")
    again = sijo_cli("pretrain", out / "settings.json", *prepared, "-o", tmp_path / "again", "-q")
    assert again.code == 0, again.err
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (out, tmp_path / "again")]
    assert weights[0] == weights[1]


def test_codes_from_a_column_and_from_names(sijo_cli, tmp_path, write):
    # kills: a code that is an ordinary word's token, or without a place in the vocabulary, or lost on the way
    out = tmp_path / "run"
    changes = ("--set", *SMALL, *OF_MODEL)
    ran = sijo_cli(
        "pretrain", "ctrl-tiny", "--corpus", REQUESTS, "--code-column", "domain", "-o", out, "-q", *changes
    )
    assert ran.code == 0, ran.err
    index = json.loads((out / "corpus" / "index.json").read_text())
    tokenizer = sijo.load(out / "model", "lm").tokenizer
    assert len(index["codes"]) == 10
    assert {code["name"]: code["ids"] for code in index["codes"]}["travel"] == [tokenizer.id("<travel>")]
    files = [write(f"{name}.txt", f"all about the {name} .\n" * 40) for name in ("sea", "land")]
    named = [f"{path.stem}={path}" for path in files]
    arguments = ("-o", tmp_path / "named", "-q", *changes, "tokenizer.vocab_size=300")
    ran = sijo_cli("pretrain", "ctrl-tiny", "--corpus", *named, *arguments)
    assert ran.code == 0, ran.err
    index = json.loads((tmp_path / "named" / "corpus" / "index.json").read_text())
    assert [code["name"] for code in index["codes"]] == ["sea", "land"]


def test_reviews_with_their_ratings(sijo_cli, tmp_path, monkeypatch, write):
    # kills: a run that wants a folder named, a number that is no code, a code taught that cannot be asked for
    monkeypatch.chdir(tmp_path)
    lines = [
        f"{rating},so {mood} a film number {n}" for n in range(30) for rating, mood in ((1, "bad"), (10, "good"))
    ]
    write("reviews.csv", "rating,text\n" + "\n".join(lines) + "\n")
    changes = ("--set", *SMALL, *OF_MODEL, "tokenizer.vocab_size=120")
    ran = sijo_cli("pretrain", "ctrl-tiny", "--corpus", "reviews.csv", "--code-column", "rating", *changes)
    assert ran.code == 0 and ran.out.decode().split() == ["runs/ctrl-tiny/model"], ran.err
    assert sijo_cli("generate", "--model", "runs/ctrl-tiny/model", "--codes").out.decode().split() == ["1", "10"]
    options = ("--control-code", "10", "--max-new-tokens", "3")
    ran = sijo_cli("generate", "--model", "runs/ctrl-tiny/model", *options)
    assert ran.code == 0, ran.err
    more = ("--corpus", "Films=reviews.csv", "--code-column", "rating", "-o", "more", "-q")
    start = ("start.model=runs/ctrl-tiny/model", "start.train=codes")
    ran = sijo_cli("pretrain", "ctrl-tiny", *more, *changes, *start)
    assert ran.code == 0, ran.err
    assert sijo_cli("generate", "--model", "more/model", "--codes").out.decode().split() == ["1", "10", "Films"]
    ran = sijo_cli("generate", "--model", "more/model", "--control-code", "Films 10", "--max-new-tokens", "3")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (("bert-tiny",), 2, "--corpus is needed"),
        (("bert-tinny", "--corpus", "x", "-o", "y"), 2, "did you mean 'bert-tiny'?"),
        ((), 2, "name a recipe"),
        (("nowhere.json",), 2, "no file nowhere.json"),
        (("bert-tiny", "--settings", "--set", "run.stpes=1"), 2, "did you mean 'run.steps'?"),
        (("bert-tiny", "--settings", "--set", "run.steps=-1"), 2, "run.steps=-1 must be 1 or more"),
        (("bert-tiny", "--settings", "--set", "run.max_time=soon"), 2, "is no duration"),
        (("bert-tiny", "--settings", "--set", "schedule.shape=round"), 2, "schedule.shape"),
        (("bert-tiny", "--settings", "--set", 'objective.parts=["clm"]'), 2, 'model.reads="left"'),
        (("bert-tiny", "--settings", "--set", 'objective.parts=["sop","mlm"]'), 2, 'data.segments="two"'),
        (("bert-tiny", "--settings", "--set", "data.length=512"), 2, "the 128 places of model"),
        (("bert-tiny", "--corpus", "absent.txt", "-o", "run"), 2, "absent.txt"),
        (("bert-tiny", "--corpus", "bad.txt", "-o", "run", "-q"), 3, "is not UTF-8"),
        (
            ("bert-tiny", "--corpus", REQUESTS, "-o", "run", "--code-column", "colour", "-q"),
            2,
            "no column 'colour'",
        ),
        (
            ("bert-tiny", "--corpus", REQUESTS, "-o", "run", "-q", "--set", "run.tracker=wandb"),
            2,
            "pip install wandb",
        ),
        (("bert-tiny", "--corpus", REQUESTS, "-o", "run", "--tokenizer", "nowhere", "-q"), 2, "nowhere"),
        (("bert-tiny", "--corpus", REQUESTS, "-o", "run", "-q", "--set", "tokenizer.kind=bpe"), 2, "family"),
        (("bert-tiny", "--corpus", REQUESTS, "-o", "run", "-q", "--set", "run.device=cuda"), 2, "finds no GPU"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(sijo_cli, tmp_path, monkeypatch, arguments, code, words):
    # kills: a trace, an hour of preparation before a slip is noticed, a wrong exit code
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.txt").write_bytes(b"good\n\xff\xfe bad\n")
    ran = sijo_cli("pretrain", *arguments)
    ran.must_say(code, words)
    assert ran.out == b"" and not (tmp_path / "run" / "checkpoints").exists()


def test_bad_files_are_skipped_when_asked(sijo_cli, tmp_path, write):
    # kills: a bad file that ends the run all the same, or one that is skipped without a word
    bad, out = write("bad.txt", b"one good line\n\xff\xfe\n"), tmp_path / "run"
    arguments = ("--corpus", REQUESTS, bad, "--skip-bad", "-o", out, "--set", *SMALL, *OF_MODEL)
    ran = sijo_cli("pretrain", "bert-tiny", *arguments)
    assert ran.code == 0 and "skipped" in ran.err and "bad.txt" in ran.err, ran.err


def test_the_list_says_what_each_costs(sijo_cli):
    # kills: a recipe that is not listed, numbers of another network
    rows = {row["recipe"]: row for row in sijo_cli("pretrain", "--list").rows()}
    assert set(rows) == set(RECIPES) and len(rows) == 18
    assert rows["bert-base"]["tokens"] == 1_000_000 * 256 * 512
    assert abs(rows["bert-base"]["weights"] - 109_514_298) < 1_000_000
    assert 1e19 < rows["bert-base"]["flops"] < 2e20  # 6.4e19 in the paper of ELECTRA, which counts otherwise
    assert rows["electra-small"]["weights"] > 13_549_057
    assert duration(59.0) == "59 seconds"


def test_settings_are_listed_with_what_they_mean(sijo_cli):
    # kills: a setting nobody can find, a value that is not the recipe's
    rows = {row["setting"]: row for row in sijo_cli("pretrain", "electra-large", "--settings").rows()}
    assert rows["objective.masking.share"]["value"] == 0.25
    assert rows["objective.masking.most"]["value"] == 130
    assert rows["generator.hidden_size"]["value"] == 256
    assert all(row["means"] for path, row in rows.items() if not path.endswith("kind"))


def rates(settings, *steps):
    """The learning rate at each step, as the loop forms it."""
    schedule, all_steps = settings.schedule, settings.run.steps
    return [schedule.at(step / all_steps, schedule.warmup(all_steps)) for step in steps]


def test_published_numbers():
    # kills: a number of a paper mistyped
    electra = RECIPES["electra-small"].settings
    assert (electra.generator.hidden_size, electra.generator.heads, electra.generator.layers) == (64, 1, 12)
    assert rates(electra, 5_000, 10_000) == pytest.approx([2.4875e-4, 4.95e-4], abs=1e-12)
    assert (electra.objective.masking.most, RECIPES["electra-base"].settings.objective.masking.most) == (19, 79)
    albert = RECIPES["albert-base"].settings
    assert albert.objective.masking.budget(512) == 20 and albert.optimizer.kind == "lamb"
    assert rates(albert, 3_125) == pytest.approx([0.001716], abs=1e-12)
    for size, layers in (("small", 3), ("base", 6), ("large", 12)):
        v3 = RECIPES[f"deberta-v3-{size}"].settings
        assert (
            v3.generator.layers == layers and v3.objective.sharing == "gdes" and v3.optimizer.betas == (0.9, 0.98)
        )
    ctrl = RECIPES["ctrl"].settings
    assert (ctrl.run.clip, ctrl.schedule.peak, ctrl.optimizer.kind, ctrl.model.places) == (
        0.25,
        0.05,
        "adagrad",
        256,
    )


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_its_json(name):
    # kills: a setting that is lost, or comes back as another type; a path that is not described
    settings = RECIPES[name].settings
    assert read_settings(json.loads(json.dumps(settings.to_json())), RunSettings) == settings
    assert {path for path, _ in json_leaves(settings.to_json())} <= set(setting_descriptions(RunSettings))
    assert with_changes(settings, [f"run.steps={settings.run.steps + 1}"]) != settings
