"""`sijo export`: one call of the library, its file on standard output."""

import json
from pathlib import Path

from sijo.checkpoints.load import load
from sijo.checkpoints.save import save


def test_a_file_is_written_and_compared_on_the_user_s_texts(sijo_cli, tiny_copy, tmp_path):
    """Catches --texts that are not read, and a comparison that is not told."""
    texts = tmp_path / "texts.txt"
    texts.write_text("the sea\nrain and sun\nmoney for bread\n")
    ran = sijo_cli("export", tiny_copy, "--to", "onnx", "--texts", texts)
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["texts"], told["precision"], told["agreement"]["value"]) == (3, "float32", 1)
    assert Path(told["file"]).is_file()
    words = sijo_cli("export", tiny_copy, "--texts", texts, "--format", "table")
    assert words.out.strip().endswith(b"onnx/model.onnx")
    assert "on 3 texts: off by at most" in words.err


def test_the_column_of_the_texts(sijo_cli, tiny_copy, tmp_path):
    """Catches texts that are read from another column, or a column that nobody asked for."""
    table = tmp_path / "rows.csv"
    table.write_text("number,words\n1,the sea\n2,rain and sun\n")
    told = {}
    for column in ("words", "number"):
        ran = sijo_cli("export", tiny_copy, "--texts", table, "--column", column, "--out", tmp_path / column)
        assert ran.code == 0, ran.err
        told[column] = json.loads(ran.out)
        assert (tmp_path / column / "onnx/model.onnx").is_file() and not (tiny_copy / "onnx").exists()
    assert told["words"]["texts"] == told["number"]["texts"] == 2
    assert told["words"]["tokens"] - told["number"]["tokens"] == (2 - 1) + (3 - 1)


def test_a_head_is_told(sijo_cli, tiny_model, tmp_path):
    """Catches a program that must open the file to know what it answers."""
    model = load(tiny_model, "new:token-classification", labels=["sea", "land"])
    ran = sijo_cli("export", save(model, tmp_path / "tagger"))
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["kind"], told["head"]) == ("onnx", "token-classification") and told["decisions"] > told["texts"]


def test_what_cannot_be_exported_is_said(sijo_cli, tmp_path):
    """Catches a stack trace for a folder that is none, and an unknown precision."""
    ran = sijo_cli("export", tmp_path / "absent")
    assert (ran.code, "there is no folder" in ran.err) == (2, True)
    assert sijo_cli("export", tmp_path, "--precision", "int3").code == 2


def test_blocks_are_another_folder(sijo_cli, tiny_copy, tmp_path):
    # kills: bits that do not reach the library, weights that are replaced where they are
    texts = tmp_path / "texts.txt"
    texts.write_text("the sea\nrain and sun\nmoney for bread\n")
    asked = ("export", tiny_copy, "--to", "blocks", "--texts", texts, "--keep-anyway")
    ran = sijo_cli(*asked, "--bits", "4", "--out", tmp_path / "few")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["kind"], told["bits"], told["table_bits"], told["texts"]) == ("blocks", {"4": 12}, 8, 3)
    assert Path(told["file"]) == tmp_path / "few/model_blocks.safetensors"
    words = sijo_cli(*asked, "--table-bits", "4", "--out", tmp_path / "other", "--format", "table")
    assert words.out.strip().endswith(b"other/model_blocks.safetensors")
    assert "12 matrices of 8 bits and a table of tokens of 4 bits: 0.0 MB of weights" in words.err
    assert json.loads(sijo_cli("inspect", tmp_path / "other").out)["dtype"].startswith(
        "4 bits in blocks and 8 bits"
    )
    auto = json.loads(sijo_cli(*asked, "--bits", "auto", "--table-bits", "auto", "--out", tmp_path / "auto").out)
    assert (auto["bits"], auto["table_bits"]) == ({"8": 12}, 8)
    assert (tiny_copy / "model.safetensors").is_file() and not (tiny_copy / "model.onnx").exists()


def test_options_of_one_kind_are_none_of_the_other(sijo_cli, tiny_copy, tmp_path):
    # kills: an option that is asked for and does nothing, weights that are lost
    sijo_cli("export", tiny_copy, "--bits", "4").must_say(2, "--bits 4 is for --to blocks")
    sijo_cli("export", tiny_copy, "--to", "onnx", "--table-bits", "8").must_say(
        2, "--table-bits 8 is for --to blocks"
    )
    asked = ("export", tiny_copy, "--to", "blocks")
    sijo_cli(*asked, "--precision", "int8", "--out", tmp_path / "o").must_say(
        2, "--precision int8 is for --to onnx"
    )
    sijo_cli(*asked).must_say(2, "blocks take the place of the weights", "--out")
    sijo_cli(*asked, "--bits", "5", "--out", tmp_path / "o").must_say(2, "--bits")
    assert not (tmp_path / "o").exists()
