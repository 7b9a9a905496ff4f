"""Writing: beside transformers token for token, beside itself without a cache, and beside neighbours."""

import math
from dataclasses import replace
from itertools import accumulate

import pytest
import torch
import transformers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

import sijo
import tokenizers
from objectives.conftest import moved, opened
from sijo.errors import SettingError, TextError
from sijo.generation.beams import code
from sijo.generation.generator import Generator, Request
from sijo.generation.rules import Sampling
from sijo.models import published
from sijo.nn.architecture import Sinusoidal
from sijo.nn.cache import Cache
from sijo.random import rng
from sijo.tokenizers.codes import PUBLISHED, known_codes
from sijo.tokenizers.tokenizer import Tokenizer
from tokenizers import decoders

GREEDY = Sampling(penalty=1.0)
WINDOW = 24


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    plain = Tokenizer.load(tiny_model / "tokenizer.json", max_length=WINDOW)
    return plain.with_specials(["<sea>", "<land>"])


@pytest.fixture(scope="module")
def pair(tokenizer, tmp_path_factory):
    """A CTRL of transformers with every weight moved, and the same as sijo opens it."""
    config = transformers.CTRLConfig(
        vocab_size=tokenizer.largest_id + 1, n_positions=WINDOW, n_embd=16, dff=24, n_layer=3, n_head=2
    )
    torch.manual_seed(0)
    theirs = moved(transformers.CTRLLMHeadModel(config), size=0.2, seed=1).eval()
    ours = opened(theirs, tmp_path_factory.mktemp("ctrl") / "model", "lm")
    ours._tokenizer = tokenizer
    return ours, theirs


@pytest.fixture(scope="module")
def writer(pair):
    return Generator(pair[0])


def words(tokenizer, count, seed):
    draws = torch.Generator().manual_seed(seed)
    ordinary = [n for n in range(tokenizer.largest_id + 1) if n not in tokenizer.special_ids]
    texts = [tokenizer.decode([n]) for n in ordinary]
    ordinary = [text for text in texts if tokenizer.ids([text])[0] and text.isalpha()]
    return " ".join(ordinary[i] for i in torch.randint(len(ordinary), (count,), generator=draws))


def alike(tokenizer, prompts):
    """Which prompts have as many tokens as each other, and these as one tensor: transformers pads on the left."""
    every = tokenizer.ids(prompts)
    for length in sorted({len(ids) for ids in every}):
        rows = [row for row, ids in enumerate(every) if len(ids) == length]
        yield rows, torch.tensor([every[row] for row in rows])


def test_the_cache_changes_no_state(pair):
    # kills: a place that does not go on, keys in another order, padding that is read, a norm left out
    model, theirs = pair
    draws = torch.Generator().manual_seed(2)
    ids = torch.randint(5, 60, (3, 12), generator=draws)
    lengths = torch.tensor([7, 3, 5])
    keep = torch.arange(7) < lengths[:, None]
    cache = Cache(model.architecture, rows=3, places=12)
    with torch.no_grad():
        first = model.transformer.step(ids[:, :7] * keep, cache, keep)
        for row, length in enumerate(lengths.tolist()):
            want = model.transformer(ids[row : row + 1, :length]).last_hidden_state[0]
            torch.testing.assert_close(first[row, :length], want, rtol=1e-4, atol=1e-4)
        for more in range(4):
            rows = torch.arange(3)
            states = model.transformer.step(ids[rows, lengths + more][:, None], cache)
            for row, length in enumerate((lengths + more).tolist()):
                out = theirs.transformer(ids[row : row + 1, : length + 1], output_hidden_states=True)
                torch.testing.assert_close(states[row, 0], out.last_hidden_state[0, -1], rtol=1e-4, atol=1e-4)
    assert cache.lengths == (lengths + 4).tolist()


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_texts_are_those_of_transformers(pair, tokenizer, penalty):
    """200 random prompts, token for token; its penalty is the sign-aware one."""
    # kills: a token of the prompt that is not penalised, or twice; a place off by one after the prompt
    model, theirs = pair
    writer = Generator(model)
    writer.never_written = []
    prompts = [words(tokenizer, 1 + seed % 9, seed) for seed in range(200)]
    sampling = Sampling(penalty=penalty, penalty_rule="sign_aware")
    texts = writer.write([Request(prompt=prompt, max_new_tokens=8, sampling=sampling) for prompt in prompts])
    for rows, ids in alike(tokenizer, prompts):
        with torch.no_grad():
            want = theirs.generate(
                ids,
                max_new_tokens=8,
                do_sample=False,
                repetition_penalty=penalty,
                pad_token_id=0,
                eos_token_id=None,
            )
        for row, sequence in zip(rows, want, strict=True):
            assert list(texts[row].ids) == sequence[ids.shape[1] :].tolist(), prompts[row]


@pytest.mark.parametrize(("rule", "guidance"), [("paper", None), ("sign_aware", None), ("paper", 1.5)])
def test_the_penalty_sees_code_prompt_and_text(pair, tokenizer, rule, guidance):
    """Each token, by numbers of a list: those that stood there before divided once, code and prompt among them."""
    # kills: a code's own words left out, a prompt left out, what was written left out; words of the code to be
    # led away from
    model, _ = pair
    writer = Generator(model)
    for seed in range(12):
        text, prompt = words(tokenizer, 5, seed), words(tokenizer, 2, seed + 50)
        request = Request(
            prompt=prompt,
            control_code=f"sea {text}",
            other_code=guidance and "land the old game",
            guidance=guidance,
            max_new_tokens=6,
            sampling=Sampling(penalty=3.0, penalty_rule=rule),
        )
        ids = [tokenizer.id("<sea>"), *tokenizer.ids([f"{text} {prompt}"])[0]]
        for token in writer.write([request])[0].ids:
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0, -1]
                if guidance is not None:
                    other = [*code("land the old game", tokenizer), *ids[1 + len(tokenizer.ids([text])[0]) :]]
                    away = model(torch.tensor([other])).logits[0, -1]
                    logits = away + guidance * (logits - away)
            scores = [
                (score / 3 if rule == "paper" or score > 0 else score * 3) if number in ids else score
                for number, score in enumerate(logits.tolist())
            ]
            ordinary = [number for number in range(len(scores)) if number not in writer.never_written]
            assert token == max(ordinary, key=lambda number: scores[number])
            ids.append(token)


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_each_token_is_drawn_by_its_own_uniform(pair, tokenizer, temperature):
    """By the sum of probabilities in a list, up to the uniform draw of that seed and token."""
    # kills: a temperature that multiplies, one draw for all tokens, a draw of another seed or purpose; a
    # log-probability after the temperature
    model, _ = pair
    writer = Generator(model)
    sampling = Sampling(temperature=temperature, penalty=1.0)
    for seed in range(5):
        request = Request(prompt="the sea", max_new_tokens=8, seed=seed, sampling=sampling)
        ids = tokenizer.ids(["the sea"])[0]
        written = writer.write([request])[0]
        for place, (token, logprob) in enumerate(zip(written.ids, written.logprobs, strict=True)):
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0, -1]
            shares = [
                0.0 if number in writer.never_written else math.exp(score / temperature)
                for number, score in enumerate(logits.tolist())
            ]
            target = rng(seed, "write", place).random() * sum(shares)
            assert token == next(number for number, edge in enumerate(accumulate(shares)) if edge > target)
            assert logprob == pytest.approx(logits.log_softmax(-1)[token].item(), abs=1e-4)
            ids.append(token)


def test_neighbours_change_nothing(writer, tokenizer):
    # kills: one generator for all, a row that moves when another ends, padding that is read
    sampling = Sampling(temperature=1.0, top_k=20)
    requests = [
        Request(
            prompt=words(tokenizer, 1 + number % 5, number),
            control_code=(None, "sea")[number % 2],
            guidance=1.5 if number % 4 == 3 else None,
            max_new_tokens=3 + number % 7,
            seed=number,
            sampling=sampling,
        )
        for number in range(12)
    ]
    together = writer.write(requests)
    for request, written in zip(requests, together, strict=True):
        alone = writer.write([request])[0]
        assert alone.ids == written.ids and alone.text == written.text
        assert alone.logprobs == pytest.approx(written.logprobs, abs=1e-4)
    assert len({text.ids for text in together}) > 6
    again = writer.write([Request(prompt=requests[0].prompt, max_new_tokens=3, seed=99, sampling=sampling)])
    assert again[0].ids != together[0].ids


@pytest.mark.parametrize("slide", [1, None, 9])
@pytest.mark.parametrize(("name", "count"), [("", 4), ("sea", 4), ("sea the old land", 2), ("", 10), ("sea", 9)])
def test_a_text_that_outgrows_its_window_keeps_its_code(pair, tokenizer, slide, name, count):
    """Each token by its log-probability after the code and as many last tokens as the window then holds."""
    # kills: a code that slides out or takes no room, a stale state after sliding (the released sampler's), places
    # that count on, a prompt that just fits and is cut
    model, _ = pair
    writer = Generator(model, window=10, slide=slide)
    every = tokenizer.ids([words(tokenizer, 30, 3)])[0]
    prompt = next(text for text in map(tokenizer.decode, starts(every)) if len(tokenizer.ids([text])[0]) == count)
    request = Request(prompt=prompt, control_code=name or None, max_new_tokens=30, sampling=GREEDY)
    ids, code_ids = [*tokenizer.ids([prompt])[0]], [] if not name else [*code(name, tokenizer)]
    held, limit = len(ids), 10 - len(code_ids)
    for token in writer.stream([request]):
        with torch.no_grad():
            logits = model(torch.tensor([[*code_ids, *ids[-held:]]])).logits[0, -1]
        assert token.logprob == pytest.approx(logits.log_softmax(-1)[token.id].item(), abs=1e-4)
        logits[writer.never_written] = -torch.inf
        assert token.id == logits.argmax()
        ids.append(token.id)
        held = held + 1 if held < limit else max(1, limit - writer.slide + 1)


def starts(ids):
    return (ids[:count] for count in range(1, len(ids)))


def test_neighbours_change_nothing_when_windows_are_full(pair, tokenizer):
    # kills: a text whose oldest words leave when another's must, a row that is full behind one that is not
    writer = Generator(pair[0], window=10, slide=4)
    requests = [
        Request(
            prompt=words(tokenizer, 1 + (number * 3) % 5, number),
            control_code=(None, "sea", "land the old")[number % 3],
            max_new_tokens=14 + number,
            seed=number,
            sampling=Sampling(temperature=1.0),
        )
        for number in range(7)
    ]
    for request, written in zip(requests, writer.write(requests), strict=True):
        alone = writer.write([request])[0]
        assert alone.ids == written.ids
        assert alone.logprobs == pytest.approx(written.logprobs, abs=1e-4)


def test_many_texts_in_groups(writer, tokenizer, monkeypatch):
    # kills: all texts side by side, which no memory holds; a text at a border lost or doubled, or out of order
    rows = []
    transformer, step = writer.model.transformer, writer.model.transformer.step

    def noted(ids, *more):
        rows.append(len(ids))
        return step(ids, *more)

    monkeypatch.setattr(transformer, "step", noted)
    prompts = [words(tokenizer, 1 + number % 4, number) for number in range(70)]
    requests = [Request(prompt=prompt, max_new_tokens=2) for prompt in prompts]
    texts = list(writer.each(requests))
    assert rows == [32, 32, 32, 32, 6, 6] and len(texts) == 70
    assert [texts[number].ids for number in (0, 31, 32, 69)] == [
        writer.write([requests[number]])[0].ids for number in (0, 31, 32, 69)
    ]


def test_a_text_that_fits_is_read_once(writer, tokenizer, monkeypatch):
    # kills: a cache too small for the request, which is then made anew; one as large as the window for every text
    read, places = [], []
    transformer, step = writer.model.transformer, writer.model.transformer.step

    def noted(ids, cache, *more):
        read.append(tuple(ids.shape))
        places.append(cache.places)
        return step(ids, cache, *more)

    monkeypatch.setattr(transformer, "step", noted)
    writer.write([Request(prompt="the old sea", max_new_tokens=6), Request(prompt="the", max_new_tokens=2)])
    assert read == [(2, 3), (2, 1), *[(1, 1)] * 4] and set(places) == {9}


def test_the_window_is_the_shortest_limit(pair, tokenizer, tiny_model, monkeypatch):
    # kills: a limit of the network, of the tokenizer or of the caller that is not kept; a slide of another default
    model, _ = pair
    assert (Generator(model).window, Generator(model).slide) == (WINDOW, WINDOW // 4)
    assert Generator(model, window=9).window == 9 and Generator(model, window=99).window == WINDOW
    for longest, window in ((99, WINDOW), (12, 12)):
        monkeypatch.setattr(model, "_tokenizer", Tokenizer.load(tiny_model / "tokenizer.json", max_length=longest))
        assert Generator(model).window == window
    for window, slide in ((1, 1), (8, 8), (8, 0)):
        with pytest.raises(SettingError, match=f"window={window} and slide={slide}"):
            Generator(model, window=window, slide=slide)


def test_all_tokens_banned(pair, tokenizer):
    # kills: a token that was banned, written where no other is left
    writer = Generator(pair[0])
    writer.never_written = list(range(tokenizer.largest_id + 1))
    for sampling in (
        Sampling(),
        Sampling(beams=2),
        Sampling(temperature=1.0),
        Sampling(temperature=1.0, top_p=0.5),
    ):
        with pytest.raises(SettingError, match="every token is banned"):
            writer.write([Request(prompt="the", sampling=sampling)])


def test_tokens_come_one_by_one_and_make_the_text(writer, tokenizer):
    # kills: text that is given out twice, or never, or before a stop string could be seen in it
    request = Request(prompt="the sea", max_new_tokens=12, sampling=Sampling(temperature=1.5), seed=4)
    tokens = list(writer.stream([request]))
    assert [token.last for token in tokens] == [False] * 11 + [True]
    whole = tokenizer.decode([token.id for token in tokens])
    assert "".join(token.text for token in tokens) == whole
    assert sum(bool(token.text) for token in tokens) > 6
    second = whole.split()[3]
    stopped = replace(request, stop=(second, "never to be seen"))
    written = writer.write([stopped])[0]
    assert written.text == whole[: whole.index(second)] and written.stopped and len(written.ids) < 12
    assert not writer.write([replace(request, stop=("never to be seen",))])[0].stopped


def test_banned_words_and_special_tokens_are_not_written(writer, tokenizer):
    # kills: a ban on a word's first piece alone, which bans others, or on the neighbour's words; a code in a text
    request = Request(prompt="the", max_new_tokens=15, sampling=Sampling(temperature=3.0), seed=1)
    free = writer.write([request])[0]
    assert not {*free.ids} & {*tokenizer.special_ids}
    word = max(free.text.split(), key=len)
    both = [request, replace(request, banned=(word,))]
    bound = writer.write(both[1:])[0]
    assert word in free.text and word not in bound.text.split()
    assert [text.ids for text in writer.write(both)] == [free.ids, bound.ids]


def test_banned_words_that_have_a_space_before_them():
    # kills: a ban on the word at the start of a text alone, where tokens hold the space before a word
    letters = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    inner = tokenizers.Tokenizer(BPE(letters | {"Ġa": 256, "Ġb": 257}, [("Ġ", "a"), ("Ġ", "b")]))
    inner.pre_tokenizer, inner.decoder = ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = Tokenizer(inner, max_length=16)
    small = replace(
        published("ctrl")[1].architecture(),
        vocab_size=258,
        embedding_size=8,
        hidden_size=8,
        heads=2,
        schedule=(0,),
        positions=Sinusoidal(count=16, layout="halves"),
    )
    model = sijo.create(small, "lm", tokenizer=tokenizer)
    model.head["lm"].bias.data[256:] = torch.tensor([9.0, 6.0])
    request = Request(prompt="b", max_new_tokens=3, sampling=GREEDY)
    assert Generator(model).write([request])[0].text == " a a a"
    assert Generator(model).write([replace(request, banned=("a",))])[0].text == " b b b"


def test_guidance_and_mixtures(writer, pair, tokenizer):
    # kills: the two sides exchanged, a mixture of logs in place of probabilities
    model, _ = pair
    prompt = tokenizer.ids(["the old sea"])[0]
    with torch.no_grad():
        logs = [
            model(torch.tensor([[*prefix, *prompt]])).logits[0, -1].log_softmax(-1)
            for prefix in ([tokenizer.id("<sea>")], [tokenizer.id("<land>")], [])
        ]
    base = {"prompt": "the old sea", "control_code": "sea", "max_new_tokens": 1, "sampling": GREEDY}
    mixed = next(writer.stream([Request(**base, other_code="land", mixture=0.3)]))
    want = (0.7 * logs[0].exp() + 0.3 * logs[1].exp()).log()
    assert mixed.logprob == pytest.approx(want[mixed.id].item(), abs=1e-4)
    for other, against in (("land", logs[1]), (None, logs[2])):
        guided = next(writer.stream([Request(**base, other_code=other, guidance=3.0)]))
        want = (against + 3 * (logs[0] - against)).log_softmax(-1)
        assert guided.logprob == pytest.approx(want[guided.id].item(), abs=1e-4)
        want[writer.never_written] = -torch.inf
        assert guided.id == want.argmax()


def test_a_mixture_of_one_alone_is_that_one(writer):
    # kills: a zero of the logits that moves, so that the penalty rewards; shares exchanged
    base = {"prompt": "the old sea", "max_new_tokens": 12}
    for name, options in (
        ("sea", {"control_code": "sea", "guidance": 1.0}),
        ("sea", {"control_code": "sea", "other_code": "land", "mixture": 0.0}),
        ("land", {"control_code": "sea", "other_code": "land", "mixture": 1.0}),
    ):
        want = writer.write([Request(**base, control_code=name, sampling=Sampling(penalty=1.5))])[0]
        # the code stands in the text of the first side alone, and is penalised: but it is never written
        assert writer.write([Request(**base, **options, sampling=Sampling(penalty=1.5))])[0].ids == want.ids


def test_codes_by_name(tokenizer):
    # kills: special tokens taken for codes, an error without a hint
    assert known_codes(tokenizer) == ["sea", "land"]
    assert code("sea", tokenizer) == (tokenizer.id("<sea>"),)
    assert code("land the sea", tokenizer) == (tokenizer.id("<land>"), *tokenizer.ids(["the sea"])[0])
    with pytest.raises(SettingError, match="did you mean 'land'"):
        code("lnd", tokenizer)
    assert len(PUBLISHED) == len(set(PUBLISHED)) == 55


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prompt": ""}, TextError, "no token to begin with"),
        ({"prompt": "the sea " * 30}, TextError, "reads 24 at once"),
        ({"prompt": "the", "control_code": "sea" + " the" * 23}, TextError, "have 25 tokens"),
        ({"control_code": "sea" + " the" * 23}, TextError, "have 25 tokens"),
        (
            {"prompt": "the", "control_code": "sea", "other_code": "land" + " the" * 23, "guidance": 2.0},
            TextError,
            "25",
        ),
        ({"control_code": "sea", "guidance": 2.0}, TextError, "no token to begin with"),
        ({"control_code": "moon"}, SettingError, "no control code 'moon'"),
        ({"prompt": "the", "max_new_tokens": 0}, SettingError, "writes nothing"),
        ({"prompt": "the", "other_code": "sea"}, SettingError, "for a mixture or for guidance"),
        ({"prompt": "the", "mixture": 0.5}, SettingError, "give a second code"),
        ({"prompt": "the", "other_code": "sea", "mixture": 1.5}, SettingError, "a share from 0 to 1"),
        ({"prompt": "the", "other_code": "sea", "mixture": 0.5, "guidance": 2.0}, SettingError, "give one of them"),
        ({"prompt": "the", "guidance": 2.0}, SettingError, "give control_code"),
        ({"prompt": "the", "banned": (" ",)}, SettingError, "an empty word bans all"),
        ({"prompt": "the", "stop": ("",)}, SettingError, "empty stop string"),
    ],
)
def test_what_cannot_be_written(writer, options, error, message):
    # kills: an error from deep inside, or a loop without end
    with pytest.raises(error, match=message):
        writer.write([Request(**options)])


def test_a_network_that_reads_both_sides_does_not_write(tiny_model):
    # kills: nonsense from an encoder
    with pytest.raises(SettingError, match="does not write from left to right"):
        Generator(sijo.load(tiny_model))
