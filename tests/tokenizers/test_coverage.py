"""Which words a tokenizer knows: of other languages none, of its own nearly all. Each test names its fault."""

import csv
from pathlib import Path

import pytest

from runs import REQUESTS
from sijo.checkpoints.locate import locate
from sijo.inference.language import MOST_UNREAD
from sijo.tokenizers.coverage import Coverage, coverage
from sijo.tokenizers.tokenizer import Tokenizer
from tokenizers import Tokenizer as Inner
from tokenizers import models, normalizers, pre_tokenizers, trainers

# two sentences each, written for this
SENTENCES = {
    "Korean": "오늘은 비가 많이 와서 경기가 취소되었습니다. 은행은 내일 아침 아홉 시에 문을 엽니다.",
    "Japanese": "今日は雨がたくさん降ったので試合は中止になりました。銀行は明日の朝九時に開きます。",
    "Russian": "Сегодня шёл сильный дождь, и матч отменили. Банк откроется завтра в девять часов утра.",
    "Ukrainian": "Сьогодні йшов сильний дощ, і матч скасували. Банк відчиниться завтра о дев'ятій ранку.",
    "Greek": "Σήμερα έβρεξε πολύ και ο αγώνας ακυρώθηκε. Η τράπεζα ανοίγει αύριο στις εννέα το πρωί.",
    "Arabic": "هطل اليوم مطر غزير فألغيت المباراة. يفتح البنك أبوابه غدا في التاسعة صباحا.",
    "Hebrew": "היום ירד גשם חזק והמשחק בוטל. הבנק ייפתח מחר בתשע בבוקר.",
    "Persian": "امروز باران شدیدی بارید و مسابقه لغو شد. بانک فردا ساعت نه صبح باز می شود.",
    "Hindi": "आज बहुत बारिश हुई इसलिए मैच रद्द कर दिया गया। बैंक कल सुबह नौ बजे खुलेगा।",
    "Bengali": "আজ প্রচুর বৃষ্টি হওয়ায় খেলা বাতিল হয়েছে। ব্যাংক আগামীকাল সকাল নয়টায় খুলবে।",
    "Tamil": "இன்று பலத்த மழை பெய்ததால் போட்டி ரத்து செய்யப்பட்டது. வங்கி நாளை காலை ஒன்பது மணிக்குத் திறக்கும்.",
    "Thai": "วันนี้ฝนตกหนักการแข่งขันจึงถูกยกเลิก ธนาคารจะเปิดพรุ่งนี้เก้าโมงเช้า",
    "Georgian": "დღეს ძლიერი წვიმა იყო და თამაში გაუქმდა. ბანკი ხვალ დილის ცხრა საათზე გაიხსნება.",
    "Armenian": "Այսօր ուժեղ անձրև եկավ, և խաղը չեղարկվեց։ Բանկը կբացվի վաղը առավոտյան ժամը իննին։",
    "Amharic": "ዛሬ ከባድ ዝናብ ስለዘነበ ጨዋታው ተሰረዘ። ባንኩ ነገ ጠዋት በሦስት ሰዓት ይከፈታል።",
}
CHINESE = "今天下了大雨，比赛被取消了。银行明天早上九点开门。"
LATIN = {
    "English": "It rained a lot today, so the match was called off. The bank opens at nine tomorrow morning.",
    "German": "Heute hat es stark geregnet, deshalb wurde das Spiel abgesagt. Die Bank öffnet morgen um neun.",
    "French": "Il a beaucoup plu aujourd'hui et le match a été annulé. La banque ouvre demain à neuf heures.",
    "Turkish": "Bugün çok yağmur yağdı ve maç iptal edildi. Banka yarın sabah dokuzda açılacak.",
}
FINE = [
    "I paid a fee of 20 € for part no. QX-1100, ref. 0x3fA9 🙂👍🏽❤️",
    "SKU ZX81B/7 fits the XQ-17 bracket; error in foo_bar(x, y) at 0x7fffd8",
    "a b c d e f g x y z",
    "1 2 3 -- -- 45 % ??? !!! ... 100-200",
    "👍 🎉 🇰🇷 👨‍👩‍👧 ☕",
    "I, too, saw a 3D film by M. C. E. on TV",
    "",
    "Zürich café naïve façade",
    "QA UX XYZ, tl;dr",
    "nvm",
]


@pytest.fixture(scope="module")
def english():
    return Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=256)


def learned(kind):
    """A small multilingual tokenizer, learned on these sentences many times over, and on a file of Korean."""
    korean = (Path(__file__).parent / "korean.txt").read_text(encoding="utf-8").splitlines()
    texts = [*SENTENCES.values(), CHINESE, *LATIN.values()] * 20 + korean
    if kind == "wordpiece":
        inner = Inner(models.WordPiece(unk_token="[UNK]"))
        inner.normalizer, inner.pre_tokenizer = (
            normalizers.BertNormalizer(lowercase=False),
            pre_tokenizers.BertPreTokenizer(),
        )
        trainer = trainers.WordPieceTrainer(vocab_size=4_000, special_tokens=["[UNK]"], show_progress=False)
    elif kind == "unigram":  # pieces as they are learned from much text: words, halves of words, letters
        words = {f"▁{word}" for text in texts for word in text.split()}
        halves = {part for word in words for part in (word[: len(word) // 2], word[len(word) // 2 :])}
        pieces = [
            *((half, -9.0) for half in sorted(halves)),
            *((sign, -12.0) for sign in sorted(set("".join(words)))),
        ]
        inner = Inner(models.Unigram([("<unk>", 0.0), *dict(reversed(pieces)).items()], unk_id=0))
        inner.normalizer, inner.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
        return Tokenizer(inner, max_length=256)
    else:
        inner = Inner(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        letters = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=4_000, initial_alphabet=letters, show_progress=False)
    inner.train_from_iterator(texts, trainer)
    return Tokenizer(inner, max_length=256)


@pytest.fixture(scope="module", params=["wordpiece", "unigram", "bytes"])
def multilingual(request):
    return learned(request.param)


@pytest.mark.parametrize("language", SENTENCES)
def test_other_languages_on_english(english, language):
    # kills: letters counted as words; parts of Hangul syllables, which share a place, counted as letters
    assert coverage(english, [SENTENCES[language]]).share > MOST_UNREAD


@pytest.mark.parametrize("language", SENTENCES | LATIN | {"Chinese": CHINESE})
def test_every_language_on_its_own_tokenizer(multilingual, language):
    # kills: characters of Han, which are tokens by design, taken for letters; marks that a tokenizer parts from
    # their letters (Hindi in bytes); texts without spaces taken for one word
    text = (SENTENCES | LATIN | {"Chinese": CHINESE})[language]
    assert coverage(multilingual, [text]).share < MOST_UNREAD / 2


@pytest.mark.parametrize("text", FINE)
def test_what_is_no_sign_of_another_language(english, text):
    # kills: single letters, numbers, signs, emoji and codes counted as words that nobody knows
    assert coverage(english, [text]).share < 0.2
    assert coverage(english, [f"qx7 zj_vq XQ-9 {text}"]) == coverage(english, [text])


@pytest.mark.parametrize("language", ["Korean", "Russian", "Hindi", "Thai", "Greek", "Japanese"])
def test_bytes_of_another_language(language):
    # kills: a token of one byte, or two, counted for the whole letter that it is a piece of
    inner = Inner(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with REQUESTS.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    letters = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=1_000, initial_alphabet=letters, show_progress=False)
    )
    own = Tokenizer(inner, max_length=256)
    assert coverage(own, texts).share < 0.1
    assert coverage(own, [SENTENCES[language]]).share > 0.9


def test_bytes_that_stand_in_for_unknown_letters():
    # kills: <0xED> counted as a token that is known
    pieces = [("<unk>", 0.0), ("▁the", -1.0), ("▁sea", -1.0), *((f"<0x{n:02X}>", -9.0) for n in range(256))]
    inner = Inner(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    assert coverage(Tokenizer(inner, max_length=64), ["the sea 바다"]) == Coverage(words=3, unread=1)


def test_many_texts_are_sampled_over_all_of_them(english):
    # kills: the first rows alone, or a long text alone, taken for all
    mixed = ["the match was called off"] * 500 + ["경기가 취소되었습니다"] * 1_500
    assert 0.45 < coverage(english, mixed).share < 0.65  # two words in a row against five
    assert coverage(english, ["word " * 100_000, "비가 옵니다"]).words < 100
    assert coverage(english, []) == coverage(english, ["", " "]) == Coverage(0, 0)
    assert Coverage(0, 0).share == 0
