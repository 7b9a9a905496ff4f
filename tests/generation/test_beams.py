"""Beams: beside transformers, beside all texts there are in plain numbers, and beside a search without a cache."""

import math
from dataclasses import replace

import pytest
import torch

from generation.test_write import WINDOW, alike, pair, tokenizer, words, writer  # noqa: F401
from sijo.errors import SettingError
from sijo.generation.rules import Sampling
from sijo.generation.write import Generator, Request

TOKENS = 6


@pytest.fixture
def free(pair):  # noqa: F811
    """A writer that may write special tokens, as transformers does."""
    found = Generator(pair[0])
    found.struck = []
    return found


@pytest.fixture
def game(pair, tokenizer):  # noqa: F811
    """A token that both networks are made to like."""
    token = tokenizer.id("game")
    biases = pair[0].head["lm"].bias, pair[1].lm_head.bias
    for bias in biases:
        bias.data[token] += 2.5
    yield token
    for bias in biases:
        bias.data[token] -= 2.5


def worth(written, penalty):
    return sum(written.logprobs) / len(written.ids) ** penalty


@pytest.mark.parametrize("beams", [2, 5])
def test_beams_are_those_of_transformers(pair, tokenizer, free, beams):  # noqa: F811
    """100 random prompts: the same tokens, and the same score."""
    # kills: a cache whose rows do not follow their beams, a beam that goes on in one way alone, beams that start
    # with the same token, totals forgotten
    prompts = [words(tokenizer, 1 + seed % 5, seed) for seed in range(100)]
    sampling = Sampling(penalty=1.0, beams=beams)
    found = free.write([Request(prompt=prompt, max_new_tokens=TOKENS, sampling=sampling) for prompt in prompts])
    greedy = free.write(
        [Request(prompt=prompt, max_new_tokens=TOKENS, sampling=Sampling(penalty=1.0)) for prompt in prompts]
    )
    for rows, ids in alike(tokenizer, prompts):
        want = pair[1].generate(
            ids,
            max_new_tokens=TOKENS,
            do_sample=False,
            num_beams=beams,
            pad_token_id=0,
            eos_token_id=None,
            return_dict_in_generate=True,
            output_scores=True,
        )
        for row, sequence, score in zip(rows, want.sequences, want.sequences_scores, strict=True):
            assert list(found[row].ids) == sequence[ids.shape[1] :].tolist(), prompts[row]
            assert worth(found[row], 1.0) == pytest.approx(score.item(), abs=1e-4)
    assert sum(one.ids != other.ids for one, other in zip(found, greedy, strict=True)) > 20


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.5])
def test_beams_that_end_are_those_of_transformers(pair, tokenizer, free, game, penalty):  # noqa: F811
    """40 random prompts, ended by a stop string here and by a last token there."""
    # kills: an ended beam that is lost, or that goes on; a length counted without its last token; a search that
    # ends before the winner has come
    prompts = [words(tokenizer, 1 + seed % 3, seed) for seed in range(40)]
    sampling = Sampling(penalty=1.0, beams=3, length_penalty=penalty)
    found = free.write(
        [Request(prompt=prompt, max_new_tokens=9, stop=("game",), sampling=sampling) for prompt in prompts]
    )
    for rows, ids in alike(tokenizer, prompts):
        want = pair[1].generate(
            ids,
            max_new_tokens=9,
            do_sample=False,
            num_beams=3,
            length_penalty=penalty,
            early_stopping="never",
            pad_token_id=0,
            eos_token_id=game,
            return_dict_in_generate=True,
            output_scores=True,
        )
        for row, sequence, score in zip(rows, want.sequences, want.sequences_scores, strict=True):
            written = sequence[ids.shape[1] :].tolist()
            written = written[: written.index(game) + 1] if game in written else written
            assert list(found[row].ids) == written, prompts[row]
            assert worth(found[row], penalty) == pytest.approx(score.item(), abs=1e-4)
            assert found[row].stopped == (game in written) and "game" not in found[row].text
    assert sum(one.stopped for one in found) > 20


def plain(logits, seen, penalty, struck):
    """log p of each token, from a list of logits: the paper's penalty, and none for struck ones."""
    scores = [
        -math.inf if token in struck else score / penalty if token in seen else score
        for token, score in enumerate(logits)
    ]
    whole = math.log(math.fsum(math.exp(score) for score in scores))
    return [score - whole for score in scores]


def logits_after(model, rows):
    with torch.no_grad():
        return model(torch.tensor(rows)).logits[:, -1].double()


@pytest.mark.parametrize("guidance", [None, 1.7])
def test_as_many_beams_as_texts_find_the_best_of_all(pair, tokenizer, guidance):  # noqa: F811
    """Every text of two tokens, each by its probability under penalty, bans and guidance."""
    # kills: a penalty not told apart by beam, a ban on one beam that holds for all, a ban of a phrase's last
    # word alone or of its first, special tokens, log-probabilities before the penalty taken for those after it
    model, writer = pair[0], Generator(pair[0])  # noqa: F811
    code, prompt = tokenizer.id("<sea>"), tokenizer.ids(["the old"])[0]
    struck = {*tokenizer.special_ids, tokenizer.id("game")}
    phrases = []

    def logs(texts):
        with_code = logits_after(model, [[code, *prompt, *text] for text in texts])
        if guidance is not None:
            without = logits_after(model, [[*prompt, *text] for text in texts])
            with_code = without + guidance * (with_code - without)
        return [
            plain(
                row,
                {code, *prompt, *text},
                1.3,
                struck | {end for *start, end in phrases if start == [*text]},
            )
            for row, text in zip(with_code.tolist(), texts, strict=True)
        ]

    first = logs([()])[0]
    ways = [(token,) for token, log in enumerate(first) if log > -math.inf]

    def best():
        """In plain numbers and by the writer, which agree."""
        want = max(
            (first[token] + log, token, second)
            for (token,), seconds in zip(ways, logs(ways), strict=True)
            for second, log in enumerate(seconds)
        )[1:]
        request = Request(
            prompt="the old",
            control_code="sea",
            guidance=guidance,
            max_new_tokens=2,
            banned=("game", *(tokenizer.decode(phrase) for phrase in phrases)),
            sampling=Sampling(penalty=1.3, beams=len(ways)),
        )
        assert writer.write([request])[0].ids == want
        return want

    start, end = best()
    phrases.append([tokenizer.id("rain"), end])
    assert tokenizer.ids([tokenizer.decode(phrases[0])])[0] == phrases[0]
    assert best() == (start, end)  # which ends as the phrase does
    phrases.append([start, end])
    assert tokenizer.ids([tokenizer.decode(phrases[1])])[0] == phrases[1]
    assert best() != (start, end)


@pytest.mark.parametrize(
    ("window", "stop", "guidance"), [(8, (), None), (8, ("a", "n"), None), (8, (), 1.5), (WINDOW, (), 1.5)]
)
def test_beams_in_a_window(pair, tokenizer, window, stop, guidance):  # noqa: F811
    """The same search in lists, without a cache and to the very end, over the last tokens that the window holds."""
    # kills: beams read anew from each other's ends, a search that gives up a beam that could still win, a beam that
    # goes on behind another's code
    model, beams, length, penalty = pair[0], 3, 14, 0.7
    writer = Generator(model, window=window, slide=1)  # noqa: F811
    prompt, code = tokenizer.ids(["the old sea"])[0], tokenizer.id("<land>")
    running, ended = [(0.0, (), ())], []
    for _ in range(length):
        logits = logits_after(model, [[code, *[*prompt, *text][1 - window :]] for _, text, _ in running])
        if guidance is not None:
            without = logits_after(model, [[*prompt, *text][-window:] for _, text, _ in running])
            logits = without + guidance * (logits - without)
        ways = [
            (total + log, (*text, token), (*said, free))
            for (total, text, said), row, frees in zip(
                running, logits.tolist(), logits.log_softmax(-1).tolist(), strict=True
            )
            for token, (log, free) in enumerate(
                zip(plain(row, {code, *prompt, *text}, 1.2, {*tokenizer.special_ids}), frees, strict=True)
            )
        ]
        ways, running = sorted(ways, reverse=True)[: 2 * beams], []
        for rank, (total, text, said) in enumerate(ways):
            ends = len(text) == length or any(letter in tokenizer.decode(text) for letter in stop)
            if ends and rank < beams:
                ended.append((total / len(text) ** penalty, text, said))
            if not ends and len(running) < beams:
                running.append((total, text, said))
        if not running:
            break
    request = Request(
        prompt="the old sea",
        control_code="land",
        guidance=guidance,
        max_new_tokens=length,
        stop=stop,
        sampling=Sampling(beams=beams, length_penalty=penalty),
    )
    found = writer.write([request])[0]
    _, text, said = max(ended)
    assert found.ids == text and found.stopped == (len(text) < length)
    assert found.logprobs == pytest.approx(said, abs=1e-4)


def test_beams_beside_neighbours_and_in_a_stream(writer, tokenizer):  # noqa: F811
    # kills: rows of one text taken for another's, a seed that matters, a token given out that a beam has otherwise
    requests = [
        Request(
            prompt=words(tokenizer, 1 + number % 3, number),
            control_code=None if number % 3 == 1 else "sea",
            other_code="land" if number % 3 == 0 else None,
            mixture=0.4 if number % 3 == 0 else None,
            max_new_tokens=3 + number,
            stop=("o",),
            sampling=Sampling(beams=1 + number % 4),
        )
        for number in range(9)
    ]
    together = writer.write(requests)
    for request, found in zip(requests, together, strict=True):
        alone = writer.write([replace(request, seed=5)])[0]
        assert alone.ids == found.ids and alone.text == found.text and alone.stopped == found.stopped
        tokens = list(writer.stream([request]))
        assert tuple(token.id for token in tokens) == found.ids
        assert [token.last for token in tokens] == [False] * (len(tokens) - 1) + [True]
        assert "".join(token.text for token in tokens) == found.text


def test_beams_give_what_is_sure_and_end_when_it_is(free, tokenizer, game, monkeypatch):  # noqa: F811
    # kills: a stream that waits for its end, a search that goes on when nothing could be worth more
    steps = 0
    transformer, step = free.model.transformer, free.model.transformer.step

    def counted(*given):
        nonlocal steps
        steps += 1
        return step(*given)

    monkeypatch.setattr(transformer, "step", counted)
    came, ended = [], []
    for seed in range(6):
        request = Request(prompt=words(tokenizer, 2, seed), max_new_tokens=16, sampling=Sampling(beams=2))
        steps = 0
        came.append([steps for _ in free.stream([request])])
        steps = 0
        short = Sampling(beams=2, penalty=1.0, length_penalty=0.0)
        free.write([replace(request, stop=("game",), sampling=short)])
        ended.append(steps)
    assert {steps[-1] for steps in came} == {16}
    assert sum(steps[0] < 12 for steps in came) > 2
    assert max(ended) < 16


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"beams": 0}, "1 beam or more"),
        ({"beams": 4, "temperature": 0.7}, "draws one"),
        ({"beams": 4, "length_penalty": math.inf}, "length_penalty=inf"),
    ],
)
def test_beams_that_cannot_be(wrong, message):
    # kills: a search for the likeliest that draws, a division by infinity
    with pytest.raises(SettingError, match=message):
        Sampling(**wrong)
