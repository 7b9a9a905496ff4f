"""Logits that are NaN or infinite, and a language that is not known, where texts are written or attributed."""

import json
import math
import warnings

import pytest

import sijo
from generation.test_generator import pair, tokenizer  # noqa: F401
from sijo.app.writing import attribute as command
from sijo.errors import SettingError
from sijo.generation.attribute import Attribution, Attributor
from sijo.generation.generator import CachedReader, Generator
from sijo.inference.outputs import NotFiniteError


@pytest.fixture
def model(pair, tokenizer):  # noqa: F811
    """A network whose logits overflow, for the table that it writes with is as large as float32 allows."""
    ours = pair[0]
    table = ours.transformer.embeddings.tokens.weight
    before = table.data
    table.data = before.clone()
    table.data[tokenizer.id("oil")] = 3e38
    yield ours
    table.data = before


@pytest.fixture
def bad_oil(monkeypatch, tokenizer):  # noqa: F811
    """What a network gives is NaN behind the word oil."""
    oil, logits, logprobs = tokenizer.id("oil"), CachedReader.logits, Attributor.logprobs

    def with_nan(reader, rows, parents):
        given = logits(reader, rows, parents)
        given[[oil in row.ids for row in rows], 3] = math.nan
        return given

    def with_infinity(attributor, texts):
        given = logprobs(attributor, texts)
        given[[oil in ids for ids in texts], 1] = -math.inf
        return given

    monkeypatch.setattr(CachedReader, "logits", with_nan)
    monkeypatch.setattr(Attributor, "logprobs", with_infinity)


SAMPLING = [{}, {"temperature": 1.0}, {"beams": 2}, {"temperature": 0.7, "top_p": 0.9}]


@pytest.mark.parametrize("sampling", SAMPLING)
def test_no_token_is_chosen_from_overflow(model, sampling):
    # kills: the first token, or the last, that argmax and a search in NaN give
    with pytest.raises(NotFiniteError, match=r"text 1: .* beyond float32, though each weight is finite"):
        sijo.generate(model, "the sea", max_new_tokens=4, **sampling)
    with pytest.raises(NotFiniteError, match="text 1: "):
        list(sijo.generate(model, "the oil", max_new_tokens=4, stream=True, **sampling))


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("codes", [{}, {"control_code": "sea", "other_code": "land", "mixture": 0.5}])
def test_the_text_is_named(pair, bad_oil, sampling, codes):  # noqa: F811
    # kills: the row that the network reads told as the number of the text, where texts have several rows
    with pytest.raises(NotFiniteError, match=r"text 3: "):
        sijo.generate(pair[0], ["the sea", "the sun", "the oil", "rain"], max_new_tokens=4, **sampling, **codes)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1e-320},
        {"temperature": 1e-40},
        {"temperature": 1e-38, "top_k": 3},
        {"control_code": "sea", "other_code": "land", "guidance": 1e39},
        {"control_code": "sea", "other_code": "land", "guidance": -1e39},
    ],
)
def test_settings_that_overflow(pair, settings):  # noqa: F811
    # kills: a token drawn from inf - inf, whatever the prompt says
    with pytest.raises(SettingError, match=r"is no number|guidance|temperature"):
        sijo.generate(pair[0], "the sea", max_new_tokens=3, **settings)


def test_no_code_is_attributed_from_nan(pair, bad_oil):  # noqa: F811
    # kills: posteriors of NaN, in the order of the codes; a score of the likelihood scorer
    with pytest.raises(NotFiniteError, match=r"text 2: .* beyond float32"):
        Attributor(pair[0]).attribute(["the sea", "the oil and the sea"])
    with pytest.raises(NotFiniteError, match=r"text 3: "):
        sijo.ZeroShotClassifier(None, pair[0], "likelihood").predict(["the sea", "rain", "the oil and"])


def test_a_perplexity_beyond_all_numbers_is_valid_json(monkeypatch, capsys):
    # kills: OverflowError, or `Infinity` in the output
    result = Attribution(("sea", "land"), (1.0, 0.0), (-10.0, -1e6), tokens=5)
    assert result.perplexities == (pytest.approx(math.exp(2)), math.inf)

    class Fixed:
        def __init__(self, model, codes=None, *, prior="uniform", weighing="sum"):
            pass

        def attribute(self, texts):
            return [result for _ in texts]

    monkeypatch.setattr("sijo.generation.attribute.Attributor", Fixed)
    command.run("the sea", options=command.AttributeSettings(model="m", format="json"))
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [row["perplexity"] for row in printed["codes"]] == [pytest.approx(math.exp(2)), None]


def test_prompts_and_texts_of_another_language_warn_once(pair):  # noqa: F811
    # kills: a text that goes on from tokens that mean nothing, without a word; a warning for each text
    korean = ["바다에 비가 옵니다", "은행이 문을 엽니다"]
    writer, attributor = Generator(pair[0]), Attributor(pair[0])
    for call in (
        lambda texts: [sijo.generate(writer, text, max_new_tokens=2) for text in texts],
        lambda texts: [attributor.attribute([text]) for text in texts],
    ):
        with pytest.warns(sijo.SijoWarning, match="100% of the words in the texts") as given:
            call(korean)
        assert len(given) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sijo.generate(pair[0], "the sea and the", max_new_tokens=2)
        sijo.attribute(pair[0], "the sea and the")
