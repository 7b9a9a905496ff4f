"""Label sets from every source a user has them in."""

import json
import re
import unicodedata
import warnings

import pytest

from sijo.app.writing.for_labels import kinds_of
from sijo.errors import SettingError, SijoWarning, TextError
from sijo.zeroshot.label_files import read_labels
from sijo.zeroshot.labels import LabelSet


def test_a_line_splits_at_commas_outside_quotes():
    """Catches a label that holds a comma cut in two, and blanks kept around a name."""
    assert LabelSet.parse(' sport ,"Lisbon, Portugal", "say ""hi"""').names == (
        "sport",
        "Lisbon, Portugal",
        'say "hi"',
    )


@pytest.mark.parametrize("line", ["", "a,,b", "a,b,", "a,b,A", '"a,b', 'a,"b"c'])
def test_a_line_that_is_no_list_of_labels(line):
    """Catches an empty label scored as a class, a repeat, and a quote that swallows the rest."""
    with pytest.raises(SettingError):
        LabelSet.parse(line)


@pytest.mark.parametrize(
    "name, content",
    [
        ("l.txt", "\ufeffsea\n\n bank, shore \n"),
        ("l.csv", 'label,description\nsea,\n"bank, shore",\n'),
        ("l.json", json.dumps(["sea", "bank, shore"])),
        ("l.json", json.dumps({"sea": "", "bank, shore": []})),
    ],
)
def test_files(tmp_path, name, content):
    """Catches a mark at the start that becomes part of the first label, blank lines, and commas in names."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    labels = read_labels(tmp_path / name)
    assert labels.names == ("sea", "bank, shore")
    assert [label.phrases("{}!") for label in labels.labels] == [("sea!",), ("bank, shore!",)]


def test_descriptions(tmp_path):
    """Catches a further description lost, and an empty one encoded as a text of its own."""
    (tmp_path / "l.csv").write_text('label,description,description\nsea,"salt, water",waves\nsun,warm,\n')
    sea, sun = read_labels(tmp_path / "l.csv").labels
    assert sea.phrases("the {}") == ("the sea", "salt, water", "waves")
    assert sun.phrases("the {}") == ("the sun", "warm")


@pytest.mark.parametrize(
    "name, content, error, message",
    [
        ("l.txt", b"", SettingError, "no labels were given"),
        ("l.txt", b"caf\xe9\n", TextError, "is not UTF-8"),
        ("l.csv", b"name,words\nsea,\n", TextError, "must begin with the line: label"),
        ("l.csv", b"label\nsea\nsea\n", SettingError, "given twice"),
        ("l.csv", b'label,description\nsea,"salt\nsun,warm\n', TextError, "is not CSV"),
        ("l.json", b"{", TextError, "is not JSON"),
        ("l.json", b'"sea"', TextError, "must hold a list"),
        ("l.json", b"[1, 2]", SettingError, "a word or a phrase"),
        ("l.json", b'{"a": 3, "b": "c"}', SettingError, "description"),
        ("l.json", b'{"a": "x", "a": "y", "b": "z"}', SettingError, "given twice"),
        ("l.yaml", b"- sea\n", SettingError, "is .txt, .csv, .json or .toml"),
    ],
)
def test_files_that_will_not_do(tmp_path, name, content, error, message):
    """Catches each of these reaching the model, or a stack trace."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        read_labels(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    # kills: a trace for a folder, in the one command or the other
    (tmp_path / "labels.txt").write_text("a\nb\n")
    (tmp_path / "folder.json").mkdir()
    for read in (read_labels, lambda path: kinds_of(str(path.with_suffix(".json")))):
        with pytest.raises(SettingError, match=r"did you mean 'labels\.txt'"):
            read(tmp_path / "label.txt")
        with pytest.raises(SettingError, match="is a folder"):
            read(tmp_path / "folder.json")


@pytest.mark.parametrize(
    "line",
    [
        "weather;football",
        "weather, football",
        " weather ; football ",
        '["weather", "football"]',
        "['weather', 'football']",
        '("weather", "football")',
        "{'weather', 'football'}",
        '"weather","football"',
    ],
)
def test_lines_of_labels(line):
    # kills: a line of several labels read as one strange label
    assert LabelSet.parse(line).names == ("weather", "football")
    assert [kind.label for kind in kinds_of(line)] == ["weather", "football"]


@pytest.mark.parametrize(
    "line",
    [
        "a|b|c",
        "a\tb",
        "a\nb",
        "가、나",
        "a；b",
        "a，b",
        "a;b,c",
        "배송，결제,환불",
        "a;b；c",
        "[a, b]",
        "['a' 'b']",
        '{"a": 1}',
        '["a"',
        '"a,b',
    ],
)
def test_lines_that_are_refused_with_a_remedy(line):
    # kills: one strange label where several were meant
    with pytest.raises(SettingError, match=r"commas|JSON list|write it as"):
        LabelSet.parse(line)
    with pytest.raises(SettingError, match=r"commas|JSON list|write it as"):
        kinds_of(line)


@pytest.mark.parametrize("line", ["TCP/IP", "배송·결제·환불", "배송ㆍ결제", "お金・旅行", "배송 · 결제"])
def test_one_label_that_may_be_two_is_told(line):
    # kills: a slash or a dot that is passed over in silence, or a name refused for it
    with pytest.warns(SijoWarning, match="read as one label"):
        assert LabelSet.parse(line).names == (line,)


def test_a_separator_that_is_given_is_the_only_one():
    # kills: a name cut at a mark that was not said
    assert LabelSet.parse("a|b, c", "|").names == ("a", "b, c")


WEATHER = {"weather": "rain", "art": ""}


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        ("l.json", {"labels": ["weather", "art"]}, ("weather", "art")),
        ("l.json", {"labels": WEATHER}, ("weather", "art")),
        ("l.json", {"candidate_labels": ["weather", "art"]}, ("weather", "art")),
        ("l.json", {"classes": ["weather", "art"]}, ("weather", "art")),
        ("l.json", {"1": "art", "0": "weather"}, ("weather", "art")),
        ("l.json", {"10": "k", **{str(i): chr(97 + i) for i in range(10)}}, tuple("abcdefghijk")),
        ("l.json", {"art": 1, "weather": 0}, ("weather", "art")),
        ("l.json", {"model_type": "bert", "id2label": {"0": "weather", "1": "art"}}, ("weather", "art")),
        ("l.json", {"label2id": {"art": 1, "weather": 0}}, ("weather", "art")),
        ("l.json", [{"label": "weather", "description": "rain"}, {"name": "art"}], ("weather", "art")),
        ("l.json", WEATHER, ("weather", "art")),
        ("l.txt", "weather, art\n", ("weather", "art")),
        ("l.txt", '["weather", "art"]', ("weather", "art")),
        ("l.txt", "Lisbon, Portugal\nRome, Italy\n", ("Lisbon, Portugal", "Rome, Italy")),
    ],
)
def test_files_as_others_write_them(tmp_path, name, content, names):
    # kills: the key of an object as the only label, its numbers as labels, columns in another order
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    assert read_labels(tmp_path / name).names == names


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.json", '{"labels": "weather, art"}'),
        ("l.json", '{"labels": ["weather", "art"], "version": "1"}'),
        ("l.json", '{"1": "weather", "2": "art"}'),
        ("l.json", '{"weather": 1, "art": 2}'),
        ("l.json", '{"weather": 0, "art": 0}'),
        ("l.json", '[{"text": "weather"}, {"text": "art"}]'),
        ("l.json", '[["weather", "rain"], ["art", ""]]'),
        ("l.json", '["weather", null]'),
        ("l.json", "[true, false]"),
        ("l.txt", '[\n"weather",\n"art"\n]\n'),
        ("l.txt", "weather,\nart,\n"),
        ("l.txt", "weather|art\n"),
        ("l.txt", "weather\n\u200b\n"),
        ("l.csv", "labels\nweather,art\n"),
        ("l.csv", "label;description\nweather;rain\n"),
        ("l.jsonl", '"weather"\n"art"\n'),
    ],
)
def test_files_that_would_give_strange_labels(tmp_path, name, content):
    # kills: a strange label in place of an error
    (tmp_path / name).write_text(content)
    with pytest.raises((SettingError, TextError)):
        read_labels(tmp_path / name)


@pytest.mark.parametrize("line", ["sea|rain,sun", "sea、rain;sun", "sea, rain, sun|wind"])
def test_a_name_with_another_mark_is_told(line):
    # kills: "sea|rain" as one label without a word, where a comma stands elsewhere
    with pytest.warns(SijoWarning, match="is read as one label; put '[,;]' between"):
        assert len(LabelSet.parse(line).names) > 1


@pytest.mark.parametrize(
    "line",
    [
        '"sea|rain",sun',
        '["sea|rain", "sun"]',
        "Sci-Fi/Fantasy,R&B",
        "C#,C++,TCP/IP",
        "🏴‍☠️,👍",
        "경제·사회,정치",
        "·",
        '"배송，결제",환불',
    ],
)
def test_ordinary_and_quoted_names_are_not_told(line, recwarn):
    # kills: a word about names that hold a slash, a sharp, an ampersand, or a mark that is meant
    assert LabelSet.parse(line).names and not recwarn.list


KOREAN = "라벨,설명,예시,설명,상위\n배송,택배가 오는 일,언제 오나요,,\n분실,택배가 없어진 일,,찾지 못함,배송\n"


@pytest.mark.parametrize("heading", ["라벨", " 레이블", unicodedata.normalize("NFD", "라벨")])
def test_a_csv_of_korean_columns(tmp_path, heading):
    # kills: a header that Koreans write, refused without a word of what was found
    (tmp_path / "l.csv").write_text(KOREAN.replace("라벨", heading), encoding="utf-8-sig")
    delivery, lost = read_labels(tmp_path / "l.csv").labels
    assert (delivery.name, delivery.descriptions, delivery.examples) == (
        "배송",
        ("택배가 오는 일",),
        ("언제 오나요",),
    )
    assert (lost.descriptions, lost.parent) == (("택배가 없어진 일", "찾지 못함"), "배송")
    (tmp_path / "l.csv").write_text("배송,택배가 오는 일\n", encoding="utf-8")
    with pytest.raises(TextError, match=r"label,description \(or 라벨,설명\); line 1 is '배송,택배가 오는 일'"):
        read_labels(tmp_path / "l.csv")


@pytest.mark.parametrize("name", ["라벨.csv", "라벨.txt", "l.json", "l.toml"])
@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp949", "is not UTF-8, and is read as cp949, line .*; if that is wrong, save it as UTF-8"),
        ("utf-16", None),
        ("utf-16-le", "has no byte order mark, and is read as utf-16-le"),
    ],
)
def test_files_in_other_encodings_are_read_as_tables_are(tmp_path, name, encoding, words):
    # kills: a file of Korean Excel's refused where a table of it is read; an option named that labels do not have
    content = {
        ".csv": KOREAN,
        ".txt": "배송\r\n분실\r\n",
        ".json": json.dumps(["배송", "분실"], ensure_ascii=False),
        ".toml": 'labels = ["배송", "분실"]\n',
    }
    (tmp_path / name).write_bytes(content[(tmp_path / name).suffix].encode(encoding))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert read_labels(tmp_path / name).names == ("배송", "분실")
    assert len(told) == (words is not None) and all(re.search(words, str(one.message)) for one in told)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("배송\n".encode("cp949"), "may be in several encodings; save it as UTF-8: line 1 is '배송' in cp949"),
        (
            "배송\n결제\n환불\n".encode() + b"\xff\n",
            "invalid start byte at byte 21.*mend it there, or save it as UTF-8",
        ),
        (b"\x89PNG\r\n\x1a\n\0\0", "save it as UTF-8"),
    ],
)
def test_what_is_in_no_encoding_that_is_known(tmp_path, content, words):
    # kills: a guess by two letters; damage taken for an encoding; an error that says no remedy
    (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(TextError, match=words) as refused:
        read_labels(tmp_path / "l.txt")
    assert "--encoding" not in str(refused.value)
