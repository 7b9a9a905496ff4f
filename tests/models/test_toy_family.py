"""A family is one value and one row of FAMILIES: a toy that is registered here works from the command line."""

import json
from dataclasses import replace

import pytest

from sijo.models import FAMILIES, bert, tokenizer_style
from sijo.models.family import STYLES, Rate
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.tokenizers.train import train_tokenizer

TOKENS = {"unk_token": "<?>", "pad_token": "<0>", "cls_token": "<1>", "sep_token": "<2>", "mask_token": "<_>"}
STYLE = replace(
    STYLES["bert"], name="toy", special=TOKENS, first=tuple(TOKENS.values()), last=("<end>",), token_types=False
)
PLAY = replace(STYLE, name="play", kind="bpe", bytes=True, folds=False)
TOY = replace(
    bert.FAMILY,
    model_type="toy",
    stem="Toy",
    prefix="toy.",
    sizes={},
    tokenizers=(STYLE, PLAY),
    vocabularies={"toy.txt": STYLE},
    rates=(Rate(layers=1, peak=7.5e-3, source="one layer"), Rate(peak=6.5e-3, source="more")),
)
LINES = ["the sea is old", "The rain is new", "we cook bread in the rain"] * 20


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(FAMILIES, "toy", TOY)


@pytest.mark.parametrize("style, size", [(STYLE, 90), (PLAY, 280)])
def test_a_tokenizer_is_trained(style, size, sijo_cli, tmp_path):
    # kills: families or kinds listed again by the command; special tokens, ids or case known by a family's name
    (tmp_path / "lines.txt").write_text("\n".join(LINES))
    options = ("--kind", style.kind, "--family", style.name, "--vocab-size", size, "--out", tmp_path / "words")
    ran = sijo_cli("tokenizer", "train", *options, tmp_path / "lines.txt")
    assert ran.code == 0, ran.err
    assert ran.rows()[0]["family"] == style.name
    tokenizer = Tokenizer.open(tmp_path / "words", TOY, max_length=32)
    ids = [tokenizer.id(name) for name in TOKENS.values()]
    assert ids == [*range(5)] and tokenizer.id("<end>") == tokenizer.vocab_size - 1
    assert [tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id] == [
        ids[n] for n in (1, 2, 3, 4)
    ]
    assert (tokenizer.ids(["The"]) == tokenizer.ids(["the"])) is style.folds
    config = json.loads((tmp_path / "words" / "tokenizer_config.json").read_text())
    assert config["model_input_names"] == ["input_ids", "attention_mask"] and config["mask_token"] == "<_>"
    assert style.name in sijo_cli("tokenizer", "train", "--help").out.decode()


def test_what_is_no_style_of_the_kind_is_refused(sijo_cli, tmp_path):
    # kills: a kind that a style is not of
    (tmp_path / "lines.txt").write_text("\n".join(LINES))
    options = ("--kind", "bpe", "--family", "toy", "--vocab-size", 90, "--out", tmp_path / "words")
    ran = sijo_cli("tokenizer", "train", *options, tmp_path / "lines.txt")
    ran.must_say(2, "the tokenizers of toy are of the kind wordpiece, not bpe; use kind wordpiece")


@pytest.fixture
def folder(tiny_model, tmp_path):
    """A model of the family with a published vocabulary, as the family calls its file."""
    import sijo

    tokenizer, _ = train_tokenizer(LINES, tokenizer_style("wordpiece", "toy"), vocab_size=90, max_length=32)
    tiny = sijo.load(tiny_model)
    model = sijo.create(replace(tiny.architecture, vocab_size=tokenizer.vocab_size), "mlm", tokenizer=tokenizer)
    model.family = TOY
    sijo.save(model, tmp_path / "model")
    folder = tmp_path / "model"
    names = [tokenizer.token(number) for number in range(tokenizer.vocab_size)]
    (folder / "toy.txt").write_text("".join(f"{name}\n" for name in names))
    for name in ("tokenizer.json", "tokenizer_config.json", "manifest.json"):
        (folder / name).unlink()
    return folder


def test_a_folder_is_inspected(folder, sijo_cli):
    # kills: a family that load, save or inspect know by another list; a vocabulary's file or special tokens known
    # by the family's name alone
    ran = sijo_cli("inspect", folder, "--format", "json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["model_type"] == "toy" and report["heads"]["mlm"], report
    assert Tokenizer.open(folder, TOY, max_length=32).mask_id == 4
    assert "toy.embeddings.word_embeddings.weight" in (folder / "model.safetensors").read_bytes().decode("latin-1")


def test_fine_tuning_takes_the_published_rate(folder, sijo_cli):
    # kills: rates by a family's name beside the settings; the first row for every size
    ran = sijo_cli("finetune", "--model", folder, "--settings")
    assert ran.code == 0, ran.err
    assert {row["setting"]: row["value"] for row in ran.rows()}["schedule.peak"] == 6.5e-3
