"""Tables in other encodings than UTF-8: read to the letter where they are told, never told in silence."""

import bz2
import codecs
import gzip
import io
import tracemalloc
import unicodedata
from contextlib import nullcontext
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sijo.errors import SettingError, SijoWarning, TextError
from sijo.files.encodings import detect, recode
from sijo.files.encodings.detect import form_of, form_of_pipe
from sijo.files.encodings.recode import SUPERSETS, TextForm, checked_encoding
from sijo.files.inputs.sources import TextReading
from sijo.files.records import records
from sijo.files.tables import TextTable

KOREAN = (
    "번호,후기,분류\r\n"
    "1,배송이 생각보다 빨라서 좋았습니다. 포장도 꼼꼼하네요.,배송\r\n"
    '2,"색이 사진과 달라요. ""환불"" 부탁드립니다.",환불\r\n'
    "3,뷁! 아햏햏이 뭔지 아시는 분? ㅋㅋ,기타\r\n"  # syllables that EUC-KR has not, as people write them
)
JAPANESE = "番号,感想\r\n1,とても美味しかったです。①また行きます～\r\n2,店員さんの態度が少し残念でした。\r\n"
CHINESE = "编号,评论\n1,这家餐厅的菜很好吃，我们下次还会来。\n2,服务员的态度不好，等了很久。\n"
TAIWANESE = "編號,評論\n1,這家餐廳的菜很好吃，我們下次還會來。\n2,服務員的態度不好，等了很久。\n"
SINGLE = {
    "cp1252": "id,text\n1,Le café était délicieux, à bientôt\n2,Très déçu par la qualité\n3,PROMOÇÃO É AÇÃO\n",
    "cp1250": "id,text\n1,Zażółć gęślą jaźń, proszę bardzo\n2,Žluťoučký kůň úpěl ďábelské ódy\n",
    "cp1251": "id,text\n1,Доставка была быстрой, спасибо большое\n2,ОЧЕНЬ ПЛОХОЕ КАЧЕСТВО\n",
    "cp1253": "id,text\n1,Η παράδοση ήταν γρήγορη, ευχαριστώ πολύ\n2,ΠΟΛΥ ΚΑΚΗ ΠΟΙΟΤΗΤΑ\n",
    "cp1254": "id,text\n1,Kargo çok hızlıydı, teşekkür ederim\n2,Ürün çok kötü çıktı, şikâyetçiyim\n",
    "cp1255": "id,text\n1,המשלוח הגיע מהר, תודה רבה לכם\n",
    "cp1256": "id,text\n1,كان التوصيل سريعا جدا وشكرا لكم\n",
    "cp874": "id,text\n1,ส่งของเร็วมาก ขอบคุณค่ะ สินค้าดีจริงๆ\n",
    "koi8_r": "id,text\n1,Доставка была быстрой, спасибо большое\n",
    "mac_roman": "id,text\n1,Un été très agréable à la mer: déjà vu\n",
    "cp437": "id,text\n1,Über die Größe der Äpfel läßt sich streiten\n",
}


def texts(source, **how):
    return [text for block in TextTable(source, **how).blocks() for text in block.texts]


def rows(text):
    return [tuple(record.values()) for _, record in text]


class Drips(io.BytesIO):
    """Bytes that come a few at a time."""

    def __init__(self, content, size):
        super().__init__(content)
        self.size = size

    def read1(self, _=-1):
        return self.read(self.size)


def opened_bytes(content):
    return partial(io.BytesIO, content)


# --- told ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "codec, text",
    [
        ("cp949", KOREAN),
        ("cp932", JAPANESE),
        ("euc_jp", JAPANESE.replace("①", "")),
        ("gb18030", CHINESE),
        ("big5", TAIWANESE),
    ],
)
@pytest.mark.parametrize("suffix, pack", [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress)])
def test_the_one_encoding_that_fits_is_taken_and_told(write, codec, text, suffix, pack):
    # catches a guess that is not told, EUC-KR's letters alone, an encoding of another language, and packed bytes
    # taken for text
    if codec == "euc_jp":
        text = text.replace("～", "")
    path = write(f"a.csv{suffix}", pack(text.encode(codec)))
    with pytest.warns(
        SijoWarning, match=rf"a\.csv.* is read as {codec}, line 1 as '.*'; --encoding says otherwise"
    ):
        table = TextTable(path, column=text.partition(",")[2].partition(",")[0].partition("\n")[0].strip())
    want = list(TextTable(write("utf8.csv", text), column=table.column).blocks())
    got = list(table.blocks())
    assert [block.columns.to_pydict() for block in got] == [block.columns.to_pydict() for block in want]


@pytest.mark.parametrize("codec, text", SINGLE.items())
def test_code_pages_of_one_byte_are_never_taken_unasked(write, codec, text):
    # catches latin1, which decodes anything, and a language of Asia found in letters with accents
    path = write("a.txt", text.encode(codec))
    with pytest.raises(TextError, match=r"a\.txt is not UTF-8, .*--encoding.*: line 2 is '.*' in \w+") as caught:
        TextTable(path)
    assert "iconv" not in str(caught.value)
    assert codec not in ("cp1252", "cp1251") or repr(text.split("\n")[1][:20])[:-1] in str(caught.value)
    assert texts(path, encoding=codec, kind="text") == text.splitlines()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SINGLE)), st.data())
def test_words_of_one_byte_letters_are_not_taken_for_asia(codec, data):
    # catches a short file in which accents happen to pair up as syllables
    words = data.draw(st.lists(st.sampled_from(SINGLE[codec].replace(",", " ").split()), min_size=1, max_size=6))
    content = " ".join(words).encode(codec)
    try:
        form = form_of(opened_bytes(content), "a.txt", encoding=None, quotes=False)
    except TextError:
        return
    assert form.codec == "utf-8" and content.isascii()


@pytest.mark.parametrize(
    "text, line",
    [("좋아요\n", 1), ("id,text\n1,good\n2,나쁨\n", 3), ("good\n좋아요", 2), ("good\r좋아요\r", 2), ("좋아요", 1)],
)
def test_too_few_letters_are_shown_not_guessed_at(write, text, line):
    # catches a guess from two or three letters, which are words in four encodings; a last line without an end lost
    with pytest.raises(TextError, match=rf"line {line} is '.*[좋나].*' in cp949, '.*' in "):
        TextTable(write("a.txt", text.encode("cp949")))


@pytest.mark.parametrize(
    "before, end",
    [("it rained, ", ""), ("it rained, " * 30_000, "\n"), ("good\n" + "x" * 7, "\n좋았다\n"), ("", "")],
)
def test_one_long_line_is_shown_from_its_first_other_letter(write, before, end):
    # catches a line cut within a letter, which then reads as nothing, and one that is ASCII for its first 32 kB
    text = before + "배송이 생각보다 빨라서 좋았습니다, " * 20_000 + end
    with pytest.warns(SijoWarning, match=r"read as cp949, line [12] as '.*배송이"):
        table = TextTable(write("a.txt", text.encode("cp949")), kind="text")
    assert [line for block in table.blocks() for line in block.texts] == text.removesuffix("\n").split("\n")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_over_pieces(monkeypatch, end):
    # catches a carriage return and its line feed in two pieces, which are two ends
    monkeypatch.setattr(detect, "PIECE", 7)
    content = (f"rain{end}" * 5 + f"배송이 생각보다 빨라서 좋았습니다{end}").encode("cp949")
    with pytest.warns(SijoWarning, match="read as cp949, line 6 as '배송이"):
        form_of(opened_bytes(content), "a.txt", encoding=None, quotes=False)


def test_of_two_encodings_that_both_fit_neither_is_taken(write):
    # catches the first of several: this is Chinese, and frequent syllables of Korean to the last letter
    path = write("a.txt", "那就不得了\n可能不对的人\n".encode("gb18030"))
    with pytest.raises(TextError, match=r"encodings; .*line 1 is '[가-힣]{5}' in cp949, '那就不得了' in gb18030"):
        TextTable(path)
    assert texts(path, encoding="gb18030") == ["那就不得了", "可能不对的人"]


def test_utf8_with_a_fault_is_not_another_encoding(write):
    # catches a whole file taken for cp1252 or cp949 because of one broken byte
    lines = ["비가 왔다\n".encode(), b"\xba\xf1\n", "눈이 왔다\n".encode()]
    with pytest.raises(TextError, match=r"line 2: byte 1 of the line, 0xba, is not UTF-8; mend it"):
        texts(write("a.txt", b"".join(lines)))


def test_ascii_before_the_first_other_letter_says_nothing(write):
    # catches a decision by the beginning alone
    ascii_rows = "".join(f"{number},it rained\n" for number in range(30_000))
    path = write("a.csv", ("id,text\n" + ascii_rows + "1,배송이 생각보다 빨라서 좋았습니다\n").encode("cp949"))
    with pytest.warns(SijoWarning, match="read as cp949, line 30002 as"):
        assert texts(path)[-1] == "배송이 생각보다 빨라서 좋았습니다"


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [KOREAN, "번호,후기\n1,가가 가가가\n", "id,text\n1,it rained\n2,it snowed\n"])
def test_wide_letters_with_a_mark_or_without(write, codec, text):
    # catches a mark that is not known, bytes in the other order ("가" is AC00), and zero bytes taken for text
    marked = codec in ("utf-16", "utf-32")
    path = write("a.csv", text.encode(codec))
    with nullcontext() if marked else pytest.warns(SijoWarning, match=f"is read as {codec}, by its zero bytes"):
        got = rows(records(path))
    assert got == rows(records(write("b.csv", text)))


def test_zero_bytes_alone_make_no_utf16(write):
    # catches a file with a NUL, or a packed one under another name, read as letters of two bytes
    for content, message in {
        "text,n\na,1\nb,\0\nc,22\n": r"line 3 holds a NUL",
        gzip.compress(KOREAN.encode(), mtime=0): r"is packed, as \.gz files are",
    }.items():
        with pytest.raises(TextError, match=message):
            texts(write("a.csv", content), column="text")


def test_a_mark_and_what_is_said_must_agree(write):
    # catches a mark read as letters of another encoding
    for codec, said in {"utf-8-sig": "cp949", "utf-16": "utf-8", "utf-32": "utf-16"}.items():
        with pytest.raises(SettingError, match=r"byte order mark of UTF-\d+, and --encoding says .*leave"):
            TextTable(write("a.csv", KOREAN.encode(codec)), column="후기", encoding=said)
    assert texts(write("a.csv", KOREAN.encode("utf-16")), column="후기", encoding="utf-16-be")[0].startswith(
        "배송이"
    )


def test_utf8_read_as_something_else_is_told(write):
    # catches letters made of UTF-8's bytes, in silence
    with pytest.warns(SijoWarning, match=r"would be UTF-8 by its beginning, and is read as cp1252"):
        assert texts(write("a.txt", "café\n"), encoding="cp1252") == ["cafÃ©"]


# --- pipes --------------------------------------------------------------------------------------------------


def test_a_pipe_says_its_encoding():
    # catches a guess from the beginning of what cannot be read twice
    for codec, text in {"cp949": KOREAN, "cp932": JAPANESE, "utf-16-le": KOREAN}.items():
        with pytest.raises(TextError, match=rf"a pipe cannot be read twice .* --encoding, .*{codec}"):
            form_of_pipe(text.encode(codec), "standard input", encoding=None, quotes=True)
        assert form_of_pipe(text.encode(codec), "-", encoding=codec, quotes=True) == TextForm(codec)
    cut = "번호,후기\n1,비가".encode()[:-1]
    assert form_of_pipe(cut, "-", encoding=None, quotes=True) == TextForm()
    assert form_of_pipe(KOREAN.encode("utf-16"), "-", encoding=None, quotes=True) == TextForm("utf-16")


# --- read ---------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["cp949", "cp932", "gb18030", "utf-16", "utf-32-be", "utf-8", "cp1252", "iso2022_jp"]),
    st.text(st.sampled_from('a,\n\r가뷁 漢ａé"あ\u2028\x85'), max_size=60),
    st.integers(1, 7),
    st.booleans(),
)
def test_pieces_give_what_the_whole_gives(codec, text, size, returns):
    # catches a letter, or a carriage return and its line feed, cut at the border of two pieces
    text = text.encode(codec, errors="ignore").decode(codec)
    got = TextForm(codec, returns).applied(Drips(text.encode(codec), size), "a.txt").read().decode()
    assert got == (text.replace("\r\n", "\n").replace("\r", "\n") if returns else text)


@pytest.mark.parametrize(
    "codec, broken", [("cp949", b"\xff"), ("cp932", b"\x85\x20"), ("utf-16-le", b"\x00\xd8a\x00")]
)
def test_what_stands_before_a_fault_is_given(codec, broken):
    # catches rows lost before a fault, and a wrong line
    good = "비가 왔다\n" if codec != "cp932" else "雨が降った\n"
    content = (good * 3).encode(codec) + broken + (good * 2).encode(codec)
    for size in (1, 2, 3, 5, 1000):  # bytes of a letter, and of the fault, in one piece or in two
        stream = TextForm(codec).applied(Drips(content, size), "a.txt")
        assert [stream.readline().decode() for _ in range(3)] == [good] * 3
        with pytest.raises(TextError, match=rf"a\.txt, line 4: byte 0x[0-9a-f]+ is not {codec}"):
            stream.read()


def test_a_letter_cut_at_the_end_is_told(write):
    # catches half a letter at the end dropped in silence
    content = "비가 왔다\n눈이 왔".encode("cp949")[:-1]
    with pytest.raises(TextError, match=r"line 2: .* is not cp949"):
        texts(write("a.txt", content), encoding="cp949")


def test_the_superset_is_named_where_its_part_fails(write):
    # catches advice that leads nowhere: what people call EUC-KR is cp949
    path = write("a.txt", "뷁! 아햏햏\n".encode("cp949"))
    with pytest.raises(TextError, match=r"is not euc_kr; cp949 has more letters: --encoding cp949"):
        texts(path, encoding="EUC-KR")
    for part, superset in SUPERSETS.items():
        assert {codecs.lookup(part).name, codecs.lookup(superset).name} == {part, superset}


@pytest.mark.parametrize(
    "name", ["nope", "cp94", "hex", "rot13", "base64", "idna", "unicode_escape", "utf-7", "a\0b", ""]
)
def test_names_that_are_no_encoding(name):
    # catches Python's codecs that make no text, and LookupError
    with pytest.raises(SettingError, match=r"is no encoding of text .*(try cp949|did you mean)"):
        checked_encoding(name)


@pytest.mark.parametrize("end", ["\r\n", " "])
def test_reading_and_looking_take_memory_of_a_piece(monkeypatch, end):
    # catches a file read whole to find out what it is in, or to read it; of lines without an end too
    monkeypatch.setattr(detect, "PIECE", 1 << 13)
    monkeypatch.setattr(recode, "PIECE", 1 << 13)
    monkeypatch.setattr(detect, "SAMPLE_BYTES", 1 << 12)
    korean = f"배송이 생각보다 빨라서 좋았습니다. 다음에 또 살게요{end}".encode("cp949") * 50

    class Long(io.RawIOBase):
        """Bytes that are nowhere at once: ASCII first, and then Korean."""

        def __init__(self, pieces):
            self.pieces, self.rest = iter([b"it rained\n" * 500] * pieces + [korean] * pieces), b""

        def readable(self):
            return True

        def readinto(self, buffer):
            piece = self.rest or next(self.pieces, b"")
            size = min(len(piece), len(buffer))
            buffer[:size], self.rest = piece[:size], piece[size:]
            return size

    def peak_of(pieces):
        def opened():
            return io.BufferedReader(Long(pieces), 1 << 13)

        tracemalloc.start()
        with pytest.warns(SijoWarning, match="is read as cp949"):
            form = form_of(opened, "a.csv", encoding=None, quotes=True)
        stream = form.applied(opened(), "a.csv")
        while stream.read(1 << 13):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    short = peak_of(30)
    assert peak_of(120) < short + 200_000  # of 700,000 bytes more


# --- ends of lines ------------------------------------------------------------------------------------------


def test_carriage_returns_end_lines_where_nothing_else_does(write):
    # catches a file of an old Mac taken for one line, and line feeds inside quotes taken for ends of lines
    content = 'id,text\r1,one\r2,"two\nlines"\r\r3,"three"\r'
    assert texts(write("a.csv", content)) == ["one", "two\nlines", "three"]
    assert texts(write("a.csv", content.encode("utf-16"))) == ["one", "two\nlines", "three"]
    assert texts(write("a.txt", "one\r\rtwo\u2028x\x85\r")) == ["one", "", "two\u2028x\x85"]
    assert texts(write("a.jsonl", '{"text": "one"}\r{"text": "two"}\r')) == ["one", "two"]
    assert rows(records(write("b.csv", content)))[0] == ("1", "one")
    korean = KOREAN.replace("\r\n", "\r").encode("cp949")
    assert len(texts(write("a.csv", korean), column="후기", encoding="cp949")) == 3


def test_a_carriage_return_in_a_line_is_text(write):
    # catches a stray one taken for the end of a line
    assert texts(write("a.txt", "10 %\r20 %\r\ndone\r!\n")) == ["10 %\r20 %", "done\r!"]


@pytest.mark.parametrize("first", ["sep=;\r\n", "SEP=;\n", '"sep=;"\n', "\ufeffsep=;\n"])
def test_excels_first_line_says_the_delimiter(write, first):
    # catches that line taken for the header, line numbers that forget it, and a delimiter that was said
    body = "id;text\n1;a, b\n2;c\n"
    table = TextTable(write("a.csv", first + body))
    assert (table.column, table.settings["delimiter"]) == ("text", ";")
    assert texts(write("a.csv", first + body)) == ["a, b", "c"]
    assert texts(write("a.txt", first + body)) == ["a, b", "c"]
    assert texts(write("a.csv", first + body.replace(";", "|")), delimiter="|") == ["a, b", "c"]
    assert rows(records(write("a.csv", first + body))) == [("1", "a, b"), ("2", "c")]
    with pytest.raises(TextError, match=r"line 4: the number of fields is 3"):
        texts(write("a.csv", first + "id;text\n1;a\n2;b;c\n"))
    assert texts(write("a.csv", "sep=;\nrain\n"), header=False, delimiter="!") == ["rain"]
    assert texts(write("a.csv", first + "1;rain\n"), header=False, column="2") == ["rain"]


# --- labelled rows, and names -------------------------------------------------------------------------------


def test_labelled_rows_are_read_the_same_way(write):
    # catches `finetune` without the delimiter, the header or the encoding that other commands take
    content = "비가 왔다;날씨\n공을 찼다;운동\n"
    how = TextReading(delimiter=";", header=False, encoding="cp949")
    assert rows(records(write("a.csv", content.encode("cp949")), how)) == [
        ("비가 왔다", "날씨"),
        ("공을 찼다", "운동"),
    ]
    for name, wrong in {
        "a.jsonl": {"delimiter": ";"},
        "b.json": {"header": False},
        "c.parquet": {"encoding": "cp949"},
        "d.xlsx": {"encoding": "cp949"},
    }.items():
        with pytest.raises(SettingError, match="leave --"):
            next(records(write(name, "{}"), TextReading(**wrong)))


def test_a_file_under_the_other_form_of_its_name(tmp_path):
    # catches a file from a Mac that cannot be named by a keyboard
    path = tmp_path / unicodedata.normalize("NFD", "리뷰.csv")
    path.write_text("text\n비가 왔다\n", encoding="utf-8")
    assert texts(tmp_path / "리뷰.csv") == ["비가 왔다"]
