"""Fitting, and what was fitted, where torch is not installed."""

import json

from without_torch_commands import commands

TABLE = """text,topic
비가 많이 온다,날씨
내일은 맑고 따뜻하다,날씨
will it rain tomorrow,날씨
비밀번호를 바꿔 줘,은행
송금 한도를 올려 줘,은행
my card was declined,은행
구름이 조금 끼었다,
계좌를 새로 만들고 싶어,
"""


def test_the_built_in_model_is_fitted_and_asked(tmp_path):
    # kills: torch needed for a head; ONNX files left behind when the encoder is copied; labels in Korean lost
    table, out = tmp_path / "rows.csv", tmp_path / "model"
    table.write_text(TABLE, encoding="utf-8")
    lines = [
        ["suggest", table, "--labels-column", "topic", "--rows", "1"],
        ["fit", table, "--labels-column", "topic", "--out", out],
        ["classify", table, "--model", out],
        ["predict", table, "--model", out],
        ["fit", table, "--labels-column", "topic", "--out", tmp_path / "pairs", "--contrastive"],
    ]
    ended = commands(*lines)
    assert [run.code for run in ended[:-1]] == [0] * 4, ended
    assert json.loads(ended[0].out)["row"] in (7, 8)
    labels = [[json.loads(line)["label"] for line in run.out.splitlines()] for run in ended[2:4]]
    assert labels[0] == labels[1] == ["날씨"] * 3 + ["은행"] * 3 + ["날씨", "은행"]
    assert ended[-1].code != 0 and "torch" in ended[-1].err and not (tmp_path / "pairs").exists()
