"""Names of labels that a Mac wrote, with their letters apart (NFD), are those with letters together (NFC)."""

import csv
import io
import json
import unicodedata

import numpy as np
import pytest

import sijo
from sijo.zeroshot.label_files import read_labels

NAMES = ("배송", "환불")
TEXTS = ("언제 도착하나요", "돈을 돌려주세요", "택배가 안 왔어요", "취소하고 싶어요")


def apart(text):
    return unicodedata.normalize("NFD", text)


@pytest.fixture
def mac(write):
    """A table as a Mac writes it: its names, and those of its columns, with their letters apart."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([["text", "분류"], *([text, NAMES[i % 2]] for i, text in enumerate(TEXTS))])
    return write("mac.csv", apart(out.getvalue()))


def noted(ran):
    """How often it was said, and that nothing else was wrong."""
    assert ran.code == 0 and "warning" not in ran.err, ran.err
    return ran.err.count("another Unicode form")


def test_a_table_of_a_mac_teaches_names_that_any_table_has(sijo_cli, mac, tmp_path):
    # kills: a model whose labels equal nothing that others write; a warning for each label, for nothing wrong
    arguments = ("--labels-column", "분류", "--out", tmp_path / "model", "--strict")
    ran = sijo_cli("fit", mac, *arguments)
    assert noted(ran) == 1 and ran.rows()[0]["labels"] == dict.fromkeys(NAMES, 2)
    assert json.loads(sijo_cli("inspect", tmp_path / "model").out)["labels"] == [*NAMES]
    for model in (("--model", tmp_path / "model"), ()):
        for labels in ((), ("--labels", ",".join(NAMES)), ("--labels", apart(",".join(NAMES)))):
            ran = sijo_cli("evaluate", "--data", mac, "--label-column", "분류", *model, *labels, "--strict")
            assert noted(ran) == 1 + (labels[-1:] == (apart(",".join(NAMES)),)) and ran.rows()[0]["labels"] == [
                *NAMES
            ]


def test_labels_are_given_as_any_table_has_them(sijo_cli, mac, tmp_path):
    # kills: an answer that equals no cell of another table; a column that was changed; none as it came
    named = tmp_path / "labels.json"
    named.write_text(json.dumps({apart(NAMES[0]): "택배", apart(NAMES[1]): {"parent": None}}))
    told = (("--labels", apart("배송,환불")), ("--labels-file", named))
    for labels in told:
        ran = sijo_cli("classify", mac, "--column", "text", *labels, "--strict")
        assert noted(ran) == 1 and {row["label"] for row in ran.rows()} <= {*NAMES}
        assert [row[apart("분류")] for row in ran.rows()] == [apart(NAMES[i % 2]) for i in range(4)]
    assert read_labels(named).names == NAMES
    none = ("--none-label", apart("없음"), "--none-threshold", "1")
    ran = sijo_cli("classify", mac, "--column", "text", "--labels", "배송,환불", *none)
    assert {row["label"] for row in ran.rows()} == {"없음"}


def test_estimators_answer_in_the_form_of_y():
    # kills: answers that never equal the y they were fitted to, as scikit-learn's scorers compare them
    y = [apart(NAMES[i % 2]) for i in range(4)]
    for clf in (
        sijo.ZeroShotClassifier(),
        sijo.ZeroShotClassifier([*NAMES]),
        sijo.FewShotClassifier(),
        sijo.ClassVectorClassifier(method="cosine", gamma=0.0),
    ):
        clf.fit(TEXTS, y)
        assert clf.classes_.tolist() == sorted({*y}) and {*clf.predict(TEXTS)} <= {*y}
    unfitted = sijo.ZeroShotClassifier([apart(name) for name in NAMES], none_label=apart("없음"))
    assert {*unfitted.predict(TEXTS)} <= {*unfitted.classes_} == {*y, apart("없음")}
    assert {row.label for row in unfitted.classify(TEXTS)} <= {*NAMES, "없음"}
    assert np.array_equal(sijo.ZeroShotClassifier([*NAMES]).classes_, NAMES)
