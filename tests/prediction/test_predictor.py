"""What fine-tuned models answer: as their evaluation did, for any form of rows, whatever rows stand beside them."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

import sijo
from inference.test_finite import spoilt
from sijo.checkpoints.describe import describe
from sijo.data.asked_rows import asked_rows
from sijo.data.labelled_inputs import InputSettings, LabelledInputs
from sijo.data.labelled_rows import ColumnNames, LabelledRow
from sijo.errors import RefusedError, SettingError, TextError
from sijo.evaluation.metrics import best_span
from sijo.evaluation.tag_schemes import merged_words
from sijo.export.export import export
from sijo.files.tables import TextTable
from sijo.inference.encode import engine_of
from sijo.inference.outputs import NotFiniteError
from sijo.jobs.finetune import finetune
from sijo.jobs.finetune_settings import LabelledFiles, default_settings
from sijo.models.labels import FINE_TUNED
from sijo.prediction.answers import NumberAnswer
from sijo.prediction.columns import asked_columns, rows_of, table_settings
from sijo.prediction.decoding import AnswerSettings, decoded
from sijo.prediction.predictor import Predictor, _decision
from sijo.prediction.task import task_of
from sijo.training.settings import with_changes

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ("sea", "land", "rain", "sun", "game", "team")
ROWS = {
    "classification": [
        {"글": f"the {a} and the {b} is not for you", "분류": ("물", "땅")[a < b]} for a in WORDS for b in WORDS[:3]
    ],
    "multi-label": [
        {"글": f"the {a} and {b} is not for you", "labels": sorted({a, b} & {"sea", "rain", "sun"})}
        for a in WORDS
        for b in WORDS[:3]
    ],
    "regression": [{"글": "sea " * n + "land", "점수": n / 2} for n in range(1, 13)],
    "tagging": [
        {"단어": ["the", a, "was", "in", "the", b, "electroencephalographic"][: 7 - len(a) % 2], "태그": None}
        for a in WORDS
        for b in WORDS[:3]
    ],
    "question-answering": [
        {"물음": f"what was {b}", "본문": f"the {a} was {b}, and the game " * 3, "답": a}
        for a in WORDS
        for b in ("old", "new")
    ],
    "multiple-choice": [
        {"앞": f"{a} and", "보기": [b, a, "team"][: 2 + n % 2], "정답": 1}
        for a in WORDS
        for n, b in enumerate(("old", "new", "good"))
    ],
}
COLUMNS = {
    "classification": {"text": "글", "label": "분류"},
    "multi-label": {"text": "글"},
    "regression": {"text": "글", "label": "점수"},
    "tagging": {"words": "단어", "tags": "태그"},
    "question-answering": {"question": "물음", "context": "본문", "answers": "답"},
    "multiple-choice": {"text": "앞", "choices": "보기", "label": "정답"},
}


def file_of(task, folder):
    records = [dict(record) for record in ROWS[task]]
    for number, record in enumerate(records):
        if task == "tagging":
            record["태그"] = ["O", "B-x", "O", "O", "B-y", "I-y", "O"][: len(record["단어"])]
        if task == "question-answering":
            start = record["본문"].index(record["답"])
            record["답"] = (
                {"text": [record["답"]], "answer_start": [start]}
                if number % 4
                else {"text": [], "answer_start": []}
            )
    path = folder / f"{task}.jsonl"
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return path


@pytest.fixture(scope="session")
def trained(tiny_model, tmp_path_factory):
    """`trained(task)`: the folder of a short run over rows with Korean column names, and its file, made once."""
    made = {}

    def make(task):
        if task not in made:
            folder = tmp_path_factory.mktemp("trained")
            path, cut = file_of(task, folder), 16 if task == "question-answering" else 8
            changes = [
                f"cutting.length={cut}",
                "cutting.stride=3",
                "cutting.question=5",
                "run.epochs=1",
                "run.batch=8",
            ]
            changes += [f"columns.{part}={name}" for part, name in COLUMNS[task].items()] + ["allow_rare=true"]
            settings = with_changes(default_settings(task, str(tiny_model)), changes)
            list(finetune(settings, LabelledFiles(train=str(path), evaluation=str(path)), folder / "run"))
            made[task] = folder / "run", path
        return made[task]

    return make


@pytest.mark.parametrize("task", ROWS)
@pytest.mark.filterwarnings("ignore::sijo.SijoWarning")
def test_answers_are_those_of_the_evaluation(trained, task):
    # kills: another length or column than in fine-tuning, windows or choices laid to another row, a threshold lost
    run, path = trained(task)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    asked = [
        {name: value for name, value in row.items() if name not in ("분류", "labels", "점수", "태그", "답", "정답")}
        for row in rows
    ]
    answers = sijo.predict(run / "model", asked)
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert len(answers) == len(lines) == len(rows)
    for answer, line in zip(answers, lines, strict=True):
        if task == "regression":
            assert answer.number == pytest.approx(line["predicted"], abs=1e-5)
        elif task == "multi-label":
            assert {*answer.labels} == {*line["predicted"]}
            assert answer.label_scores == pytest.approx(line["scores"], abs=1e-5)
        elif task == "multiple-choice":
            assert answer.choice == line["predicted"]
            assert answer.choice_scores == pytest.approx(line["scores"], abs=1e-5)
        else:
            assert answer.value == line["predicted"]
    assert any(answer.truncated or answer.windows > 1 for answer in answers) == (task not in ("multiple-choice",))


@pytest.mark.parametrize("task", ROWS)
@pytest.mark.filterwarnings("ignore::sijo.SijoWarning")
def test_a_row_is_answered_alike_whatever_stands_beside_it(trained, task):
    # kills: windows or choices that are counted from another row's, batches that change an answer
    run, path = trained(task)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    model = sijo.load(
        run / "model",
        None
        if task is None
        else {
            "tagging": "token-classification",
            "question-answering": "question-answering",
            "multiple-choice": "multiple-choice",
        }.get(task, "sequence-classification"),
    )
    together = sijo.predict(model, rows)
    backwards = sijo.predict(model, rows[::-1])[::-1]
    alone = [sijo.predict(model, [row])[0] for row in rows[:4]]
    for one, other in zip([*together, *together], [*backwards, *alone], strict=False):
        assert (
            one.value == pytest.approx(other.value, abs=1e-5) if task == "regression" else one.value == other.value
        )


@pytest.mark.parametrize("task", ["classification", "tagging"])
def test_an_onnx_file_answers_alike(tuned, tmp_path, task):
    # kills: the scores of a tagger's file taken for those of a text, a file that no answer ever comes from
    folder = shutil.copytree(tuned(task), tmp_path / "copy")
    export(folder, texts=["the sea", "old land"])
    ours, theirs = (sijo.predict(folder, ["the old sea.", "land"], backend=name) for name in ("onnx", "torch"))
    for one, other in zip(ours, theirs, strict=True):
        assert one.value == other.value
        if task == "tagging":
            assert [w.score for w in one.tags] == pytest.approx([w.score for w in other.tags], abs=1e-5)
        else:
            assert one.label_scores == pytest.approx(other.label_scores, abs=1e-5)


def test_an_onnx_file_without_the_head_is_passed_over(tuned, tmp_path):
    # kills: an encoder's file that is taken for one with the head, and then has no logits
    folder = shutil.copytree(tuned("question-answering"), tmp_path / "copy")
    export(folder, texts=["the sea", "old land"])
    [answer] = sijo.predict(folder, [("the sea", "the old sea")])
    assert answer.answer
    with pytest.raises(SettingError, match="question-answering"):
        sijo.predict(folder, [("the sea", "the old sea")], backend="onnx")


def test_forms_of_rows(tuned):
    # kills: a table read by its columns' names, a missing text that is read as "nan"
    import pandas as pd

    folder = tuned("classification")
    texts = ["the sea", "", "new land"]
    want = [one.label for one in sijo.predict(folder, texts)]
    assert want[1] is None
    table = {"text": ["the sea", None, "new land"], "id": [1, 2, 3]}
    for rows in (
        pa.table(table),
        pa.table(table).to_batches()[0],
        pd.DataFrame(table),
        [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)],
        iter(texts),
    ):
        assert [one.label for one in sijo.predict(folder, rows)] == want
    mixed = sijo.predict(folder, ["the sea", ("the sea", "new land"), "new land"])
    assert [mixed[0].label, mixed[2].label] == [want[0], want[2]] and mixed[1].tokens == 4
    cut = sijo.predict(folder, ["the sea", "the sea " * 40, "new land"])
    assert [one.truncated for one in cut] == [False, True, False] and cut[1].tokens == 80
    words = sijo.predict(tuned("tagging"), [["the", "sea"], "the sea", '["the", "sea"]'])
    assert words[0].tags == words[1].tags == words[2].tags
    assert sijo.predict(folder, []) == []


@pytest.mark.parametrize(
    "text, words",
    [
        ("[서울=뉴스] 김민수는 '부산'에 산다.", ["[", "서울=뉴스", "]", "김민수는", "'", "부산'에", "산다", "."]),
        ("don't, U.S.-led (x)...", ["don't", ",", "U.S.-led", "(", "x", ")", "..."]),
        ("caf\u0065\u0301 한글", ["caf\u0065\u0301", "한글"]),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af, ok", ["\u1112\u1161\u11ab\u1100\u1173\u11af", ",", "ok"]),
        (" \u3000 ", []),
        ("[1, 2]", ["[", "1", ",", "2", "]"]),
        ("100% 👍 C++", ["100", "%", "👍", "C++"]),
    ],
)
def test_words_of_a_text(text, words):
    # kills: a bracket that is taken for JSON, a mark that stays at a word, a letter's accent that is parted from it
    [row] = asked_rows("tagging", [text], ColumnNames(), None)
    assert list(row.words) == words
    assert [text[start:end] for start, end in row.places] == words


@pytest.mark.parametrize(
    "names, tags, want",
    [
        (["B-a", "I-a", "O"], ["I-a", "I-a", "B-a", "O", "I-a"], [("a", 0, 2), ("a", 2, 3), ("a", 4, 5)]),
        (["B-a", "I-b", "O", "I-a"], ["B-a", "I-b", "I-b"], [("a", 0, 1), ("b", 1, 3)]),
        (
            ["B-a", "I-a", "L-a", "U-a", "O"],
            ["U-a", "U-a", "B-a", "I-a", "L-a", "I-a"],
            [("a", 0, 1), ("a", 1, 2), ("a", 2, 5), ("a", 5, 6)],
        ),
        (["I-a", "E-a", "O"], ["I-a", "E-a", "E-a"], [("a", 0, 2), ("a", 2, 3)]),
        (["장소", "이름", "O"], ["장소", "장소", "이름", "O"], [("장소", 0, 2), ("이름", 2, 3)]),
        (["장소-B", "장소-I", "O"], ["장소-B", "장소-I"], [("장소", 0, 2)]),
        (["NOUN", "VERB"], ["NOUN"], None),
    ],
)
def test_entities_by_their_tags(names, tags, want):
    # kills: an entity of another scheme run together or cut
    assert merged_words(tags, names) == want


@pytest.mark.parametrize(
    "rows, words",
    [
        (["a", 3], "row 2"),
        (["a", ("b", "c", "d")], "row 2"),
        ([{"text": "a"}, {"text": ["b"]}], "row 2"),
        (["a", "half \ud83d"], "half of a character"),
    ],
)
def test_rows_that_cannot_be(tuned, rows, words):
    # kills: a row that is answered for another, or ends in a trace
    with pytest.raises(TextError, match=words):
        sijo.predict(tuned("classification"), rows)


def test_models_that_do_something_else(tiny_model, tuned, tiny_copy):
    # kills: a head that nobody trained taken for one that was, a record that is believed whatever it says
    with pytest.raises(SettingError, match="sijo classify"):
        sijo.predict(tiny_model, ["a"])
    with pytest.raises(SettingError, match="no column"):
        sijo.predict(tuned("question-answering"), [{"x": "a", "y": "b"}])
    for record in (
        {"task": "fishing"},
        {"task": "tagging", "cutting": {"length": -1}},
        [1],
        {"task": "tagging", "columns": {"text": 3}},
    ):
        config = json.loads((tuned("tagging") / "config.json").read_text()) | {FINE_TUNED: record}
        (tiny_copy / "config.json").write_text(json.dumps(config))
        with pytest.raises(RefusedError, match="sijo_fine_tuned"):
            sijo.predict(tiny_copy, ["a"])


def test_blanks_are_no_answer():
    # kills: an answer that begins with the blank before its first piece, as SentencePiece's do, or is one alone
    text = "나는 서울 에 산다"
    places = np.array([(-1, -1), (0, 2), (2, 5), (5, 6), (6, 7), (7, 10)])
    for start, end, want in (((2, 2), (2, 2), (3, 5)), ((2, 3), (3, 3), (3, 5)), ((3, 5), (3, 5), (6, 10))):
        scores = [np.zeros(6), np.zeros(6)]
        for side, (best, second) in zip(scores, (start, end), strict=True):
            side[second], side[best] = 5, 9
        answer = best_span([(*scores, places)], text)
        assert (answer.place, answer.text) == (want, text[slice(*want)])


def test_no_answer(tuned):
    # kills: "no answer" given unasked, or never
    folder = tuned("question-answering")
    rows = [("the sea", "the old sea and the new land"), ("the sea", "")]
    always, empty = sijo.predict(folder, rows)
    assert always.answer and always.no_answer_score is None and empty.answer is None and empty.score is None
    never, _ = sijo.predict(folder, rows, no_answer_threshold=-1e6)
    assert never.answer is None and never.score == never.no_answer_score and never.start is None
    some, _ = sijo.predict(folder, rows, no_answer_threshold=1e6)
    assert (some.answer, some.score) == (always.answer, always.score) and 0 <= some.no_answer_score <= 1


def test_scores_that_are_padded_and_several_numbers(tiny_model):
    # kills: a share of the probability for choices that are not there; the second of two numbers left out
    tokenizer = sijo.load(tiny_model).tokenizer
    rows = [LabelledRow("row 1", ("the sea and",), choices=("old", "new"))]
    inputs = LabelledInputs(rows, "multiple-choice", (), tokenizer, InputSettings(length=32))
    (answer,) = decoded([np.array([0.0, 2.0, 9.0])], inputs, AnswerSettings())
    assert (
        answer.choice == "new" and sum(answer.choice_scores) == pytest.approx(1) and len(answer.choice_scores) == 2
    )
    inputs = LabelledInputs(
        [LabelledRow("row 1", ("the sea",))], "regression", ("warmth", "rain"), tokenizer, InputSettings(length=32)
    )
    (answer,) = decoded([np.array([0.5, 2.0])], inputs, AnswerSettings())
    assert answer.numbers == {"warmth": 0.5, "rain": 2.0}


@pytest.mark.filterwarnings("ignore::sijo.SijoWarning")
def test_the_row_of_which_no_numbers_come(tuned):
    # kills: the window named in place of the row, or its place among those that are read alike
    tagger = spoilt(tuned("tagging"), head="token-classification")
    with pytest.raises(NotFiniteError, match="row 3: "):
        sijo.predict(tagger, [["the"] * 90, ["the", "sun"], ["the", "oil"]])
    rows = asked_rows("classification", ["the sun", ("the sea", "rain"), "the oil"], ColumnNames(), None)
    judge = spoilt(tuned("classification"), head="sequence-classification")
    predictor = Predictor(engine_of(judge, head="sequence-classification"), task_of(judge))
    with pytest.raises(NotFiniteError, match="row 8: "):
        predictor.predict([*rows], before=5)


def test_the_first_rows_by_which_a_precision_is_chosen_are_answered(tuned):
    # kills: an answer for all rows but those that were tried; numbers that no precision gives alike
    texts = [f"the {a} and the {b}" for a in WORDS for b in WORDS]
    exact, chosen = (sijo.predict(tuned("classification"), texts, precision=way) for way in ("exact", "auto"))
    assert len(chosen) == len(texts)
    assert sum(one.label == other.label for one, other in zip(exact, chosen, strict=True)) >= len(texts) - 1
    assert _decision(NumberAnswer(number=0.5004)) == _decision(NumberAnswer(number=0.4996))
    assert _decision(NumberAnswer(number=0.51)) != _decision(NumberAnswer(number=0.5))


def test_columns_of_another_task_are_not_taken(tuned):
    # kills: the columns and the length of fine-tuning, for a task that it was not
    record = {"task": "classification", "columns": {"text": "글"}, "cutting": {"length": 16}}
    described = describe(tuned("classification", **{FINE_TUNED: record}))
    same, other = task_of(described), task_of(described, "multi-label")
    assert (same.columns.text, same.cutting.length) == ("글", 16)
    assert other.columns is None and other.cutting.length > 16


def test_rows_are_counted_over_blocks(tuned, write):
    # kills: the number of a row in its block, for one that cannot be asked about
    lines = ['{"question": "what", "context": "the sea"}'] * 4 + ['{"question": ["what"], "context": "the"}']
    task = task_of(describe(tuned("question-answering")))
    table = TextTable(write("a.jsonl", "\n".join(lines)), **table_settings(task, ColumnNames()))
    columns = asked_columns(table, task, ColumnNames())
    with pytest.raises(TextError, match="row 5"):
        for block in table.blocks(rows=2):
            rows_of(block, columns)
