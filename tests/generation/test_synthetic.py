"""Data for classes without examples: what the writer gets, what is dropped, what is kept, and of which label."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import sijo
from sijo.errors import SettingError
from sijo.generation.generator import GeneratedText, Generator
from sijo.generation.rules import Sampling
from sijo.generation.synthetic import SAMPLING, Kind, Synthesis, SyntheticSettings, synthesise
from sijo.models import published
from sijo.nn.architecture import Sinusoidal
from sijo.tokenizers.tokenizer import Tokenizer

SEA, LAND = Kind(label="wet", control_code="sea"), Kind(label="dry", control_code="land")


class ScriptedWriter:
    """A writer that returns prepared texts in turn, a word a token, and keeps the requests."""

    def __init__(self, *texts, stop=""):
        self.texts, self.stop, self.requests = iter(texts), stop, []
        self.words = ["…"]
        decode = lambda ids: " ".join(self.words[number] for number in ids)  # noqa: E731
        self.model = SimpleNamespace(tokenizer=SimpleNamespace(decode=decode))

    def stream(self, requests):
        return iter(())

    def write(self, requests):
        self.requests += requests
        return [self._written(*next(self.texts)) for _ in requests]

    def _written(self, text, logprobs):
        whole = f"{text} {self.stop}".split()
        ids = tuple(range(len(self.words), len(self.words) + len(whole)))
        self.words += whole
        return GeneratedText(text, ids, tuple(logprobs), stopped=bool(self.stop))


def synthesis(*texts, stop="", **settings):
    """What is made of texts, each with the log-probability of every token or of each, written for two labels."""
    scripted = []
    for text, logprob in texts:
        count = len(f"{text} {stop}".split())
        scripted.append((text, logprob if isinstance(logprob, list) else [logprob] * count))
    writer = ScriptedWriter(*scripted, stop=stop)
    drafts = len(texts) // 2
    settings = {"count": drafts, "min_new_tokens": 2, "drafts": drafts} | settings
    writing = Synthesis(writer, [SEA, LAND], SyntheticSettings(**settings))
    list(writing.write())
    return writing, writer


def test_each_label_is_written_under_its_own_code_in_turn():
    # kills: one code for all, seeds that two texts share, a seed that does not write its text again, one beginning
    begun = Kind(label="good", control_code="Reviews Rating: 5.0", beginnings=("The movie", "This film"))
    writer = ScriptedWriter(*[(f"was number {number} of all", [-1.0] * 5) for number in range(40)])
    settings = SyntheticSettings(count=20, drafts=20, seed=7, max_new_tokens=9, banned=("rain",), guidance=2.0)
    made = synthesise(writer, [SEA, begun], settings)
    assert [request.control_code for request in writer.requests] == ["sea", "Reviews Rating: 5.0"] * 20
    assert [request.seed for request in writer.requests] == list(range(7, 47))
    for request in writer.requests:
        assert request.sampling == SAMPLING == Sampling(temperature=0.2, top_k=10, penalty=1.2)
        assert (request.max_new_tokens, request.stop, request.banned, request.guidance) == (
            9,
            ("\n",),
            ("rain",),
            2,
        )
    prompts = [request.prompt for request in writer.requests if request.control_code != "sea"]
    assert {request.prompt for request in writer.requests[::2]} == {""}
    assert 4 <= prompts.count("The movie") <= 16 and prompts.count("This film") == 20 - prompts.count("The movie")
    again = ScriptedWriter(*[(f"was number {number} of all", [-1.0] * 5) for number in range(2)])
    synthesise(again, [begun], SyntheticSettings(count=1, drafts=1, seed=made[-1].seed))
    assert made[-1].label == "good" and made[-1].text.startswith(again.requests[0].prompt + " was number ")


def test_what_is_dropped_and_why():
    # kills: a reason counted for another label, near copies kept, a text that is an example of two labels
    writing, _ = synthesis(
        ("the sea was calm", -1.0),
        ("the land was dry", -1.0),
        ("The  sea, was CALM!", -0.1),  # the same but for its looks
        ("THE SEA was calm", -0.1),  # and under the other label
        ("rain", -0.1),
        ('they said "no rain"', -0.1),
        ("see http://rain.example now", -0.1),
        ("two lines\nof text", -0.1),
        ("we like the sea", -2.0),
        ("", []),
    )
    assert writing.fates == {
        "wet": {"written": 5, "short": 1, "bad": 1, "repeated": 1},
        "dry": {"written": 5, "short": 1, "bad": 2, "repeated": 1},
    }
    assert [(text.text, text.label) for text in writing.best()] == [
        ("the sea was calm", "wet"),
        ("the land was dry", "dry"),
    ]


def test_the_likeliest_are_kept_as_many_of_each():
    # kills: a sum in place of a mean, the unlikeliest, more of one label than of the other, a heap that grows
    writing, _ = synthesis(
        ("a b", [-1.0, -3.0]),  # mean -2
        ("k l", -1.0),
        ("a b c d e f", -1.5),
        ("k", -0.1),
        ("g h", -2.5),
        ("m n", -3.0),
        ("i j", [-1.0, -1.00004]),
        ("o", -0.1),
        count=3,
    )
    best = writing.best()
    assert [text.text for text in best] == ["i j", "a b c d e f", "k l", "m n"]
    assert [text.mean_logprob for text in best] == [-1.0, -1.5, -1.0, -3.0]
    assert [len(texts) for texts in writing._best.values()] == [3, 2]
    assert [text.seed for text in best] == [6, 2, 1, 5]


def test_of_equals_the_first_is_kept():
    # kills: an order that depends on letters
    writing, _ = synthesis(("z z", -1.0), ("x x", -1.0), ("a a", -1.0), ("b b", -1.0), count=1)
    assert [text.text for text in writing.best()] == ["z z", "x x"]


def test_the_stop_string_is_no_part_of_a_text():
    # kills: a mean that counts the stop string's tokens, or leaves out one of the text's
    writing, _ = synthesis(
        ("calm sea", [-1.0, -2.0, -50.0, -70.0]), ("dry old land", [-1.0, -2.0, -6.0, -70.0, -9.0]), stop="the end"
    )
    assert [text.mean_logprob for text in writing.best()] == [-1.5, -3.0]
    writing, _ = synthesis(("calm", [-1.0, -5.0]), ("dry land", [-1.0, -2.0, -9.0]), stop="end")
    assert writing.fates["wet"]["short"] == 1 and writing.fates["dry"]["short"] == 0


def tiny_ctrl(tiny_model):
    """An untrained CTRL with the codes sea and land, in which every weight was moved."""
    tokenizer = Tokenizer.load(tiny_model / "tokenizer.json", max_length=32).with_specials(["<sea>", "<land>"])
    tiny = replace(
        published("ctrl")[1].architecture(),
        vocab_size=tokenizer.largest_id + 1,
        embedding_size=16,
        hidden_size=16,
        heads=2,
        intermediate_size=24,
        schedule=(0, 1),
        positions=Sinusoidal(count=32, layout="halves"),
    )
    torch.manual_seed(0)
    model = sijo.create(tiny, "lm", tokenizer=tokenizer)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape) * 0.3)
    return model.eval()


@pytest.fixture(scope="module")
def writer(tiny_model):
    """Of that."""
    return Generator(tiny_ctrl(tiny_model))


SETTINGS = SyntheticSettings(
    count=4, drafts=10, max_new_tokens=8, min_new_tokens=3, sampling=Sampling(temperature=0.7, top_k=10)
)


def test_batches_change_nothing(writer):
    # kills: chance that is drawn for a batch, a row that depends on its neighbours
    kinds = [SEA, Kind(label="dry", control_code="land", beginnings=("the old", "we"))]
    made = []
    for at_once in (1, 7, 32):
        writing = Synthesis(writer, kinds, SETTINGS, at_once=at_once)
        done = list(writing.write())
        assert done[-1] == writing.drafts == 20 and len(done) == -(-20 // at_once)
        made.append(writing.best())
    assert made[0] == made[1] == made[2]
    assert [(text.text, text.seed) for text in made[0]] == [(text.text, text.seed) for text in made[2]]
    assert [text.label for text in made[0]] == ["wet"] * (len(made[0]) // 2) + ["dry"] * (len(made[0]) // 2)


def test_the_mean_is_the_networks_own(writer):
    # kills: log-probabilities at the sampling temperature, or after penalty and cut, or without the code
    made = synthesise(writer, [SEA], SETTINGS)
    model = writer.model
    for text in made:
        ids = [model.tokenizer.id("<sea>"), *model.tokenizer.ids([text.text])[0]]
        if len(ids) != 9:  # words that are spelled in another way than they were written
            continue
        with torch.no_grad():
            logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        want = math.fsum(logs[place, token].item() for place, token in enumerate(ids[1:])) / 8
        assert text.mean_logprob == pytest.approx(want, abs=2e-4)
        break
    else:
        pytest.fail("no text is read as it was written")


def test_nothing_left_of_a_label_is_told():
    # kills: an empty class in the table, an error that does not say why
    writing, _ = synthesis(("the sea was calm", -1.0), ("dry", -1.0))
    with pytest.raises(SettingError, match=r"of 1 texts written for 'dry' none is left: 1 were too short, 0 held"):
        writing.best()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda w: Synthesis(w, [SEA, SEA]), "given once each"),
        (lambda w: Synthesis(w, []), "here are none"),
        (lambda w: Kind(label=" ", control_code="sea"), "without a name"),
        (lambda w: Kind(label="wet"), "nothing says what a text of 'wet'"),
        (lambda w: SyntheticSettings(count=0), "count=0"),
        (lambda w: SyntheticSettings(count=9, drafts=8), "such as 45"),
        (lambda w: SyntheticSettings(max_new_tokens=4), "at most max_new_tokens=4"),
        (lambda w: SyntheticSettings(sampling=Sampling()), "temperature of 0"),
        (lambda w: synthesise(w, [SEA, Kind(label="x", control_code="lnad")]), "did you mean 'land'"),
    ],
)
def test_what_cannot_be(writer, make, message):
    # kills: an error after an hour of writing
    with pytest.raises(SettingError, match=message):
        make(writer)
