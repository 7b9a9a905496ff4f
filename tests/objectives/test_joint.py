"""Masked language modelling, sentence order and both at once; beside transformers, and piece by piece."""

import pytest
import torch
import transformers

import sijo
from objectives.conftest import corpus_of, learned, loss_of, moved, opened, published_names
from sijo.batching import by_length
from sijo.data.samples import Samples, SampleSettings
from sijo.errors import SettingError
from sijo.nn.architecture import Architecture, Disentangled, DropoutRates, Sinusoidal
from sijo.objectives.clm import CausalLM
from sijo.objectives.masking import Masking
from sijo.objectives.mlm import MaskedLM
from sijo.objectives.objective import Joint, head_input
from sijo.objectives.posed_batch import unposed
from sijo.objectives.rtd import ReplacedTokenDetection
from sijo.objectives.sop import SentenceOrder

NONE = DropoutRates(embeddings=0, attention=0, attention_output=0, hidden=0)
SIZES = {"embedding_size": 16, "hidden_size": 16, "heads": 2, "intermediate_size": 24, "dropout": NONE}


def test_loss_and_gradients_are_those_of_albert_for_pretraining(tokenizer, questions, tmp_path):
    # kills: labels of the order the wrong way round, segments that keep their token types when they change places,
    # masks set before the exchange, two means added with other weights than 1 and 1
    config = transformers.AlbertConfig(
        vocab_size=tokenizer.vocab_size,
        embedding_size=12,
        hidden_size=16,
        num_attention_heads=2,
        num_hidden_layers=3,
        intermediate_size=24,
        max_position_embeddings=32,
        classifier_dropout_prob=0.0,
    )
    theirs = moved(transformers.AlbertForPreTraining(config), seed=4).eval()
    network = opened(theirs, tmp_path / "albert", ["sop", "mlm"])
    ours = Joint(network, [SentenceOrder(), MaskedLM(Masking(choice="ngram", share=0.3), tokenizer)])
    question = questions(ours, segments="two", short=0.1)
    loss, gradients = learned(ours, question)

    labels = torch.where(question.target_mask, question.targets, -100)
    answer = theirs(
        question.input_ids,
        question.keep.long(),
        question.token_type_ids,
        labels=labels,
        sentence_order_label=question.swapped,
    )
    answer.loss.backward()
    assert 0 < int(question.swapped.sum()) < len(question)
    assert loss == pytest.approx(answer.loss.item(), abs=1e-5)
    names = published_names(network)
    assert set(gradients) == {f"network.{name}" for name in names}
    for name, public in names.items():
        mine, want = gradients[f"network.{name}"], theirs.get_parameter(public).grad
        torch.testing.assert_close(mine, want, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_segments_change_places_and_nothing_else(tokenizer, corpus):
    # kills: a token lost at the border, [SEP] carried along, token types of the other segment, a mask over [SEP]
    samples = Samples(corpus, tokenizer, SampleSettings(length=32, segments="two", short=0.3))
    batch = samples.batch(0, 200, seed=1)
    before, after = unposed(batch), SentenceOrder().pose(unposed(batch), 1)
    for row in range(len(before)):
        first, second = before.parts[row].tolist()
        ids = before.input_ids[row, : before.lengths[row]].tolist()
        one, two = ids[1 : 1 + first], ids[2 + first : 2 + first + second]
        cls, sep = ids[0], ids[-1]
        pair = (two, one) if after.swapped[row] else (one, two)
        want = [cls, *pair[0], sep, *pair[1], sep]
        types = [0] * (len(pair[0]) + 2) + [1] * (len(pair[1]) + 1)
        assert after.input_ids[row, : len(want)].tolist() == want
        assert after.token_type_ids[row, : len(want)].tolist() == types
        assert not after.token_type_ids[row, len(want) :].any()
        text = [False, *[True] * len(pair[0]), False, *[True] * len(pair[1]), False]
        assert (~after.special[row, : len(want)]).tolist() == text
        assert after.special[row, len(want) :].all()


def test_the_labels_of_order_are_fair(tokenizer, corpus):
    # kills: the released script's tilt: inputs of one sentence always labelled as exchanged
    samples = Samples(corpus, tokenizer, SampleSettings(length=32, segments="two", short=0.1))
    count = 4_000
    swapped = SentenceOrder().pose(unposed(samples.batch(0, count, seed=2)), 2).swapped
    assert abs(swapped.double().mean().item() - 0.5) < 3 * 0.5 / count**0.5
    lone = corpus_of(tokenizer, [["the sea was old and new"]] * 7)
    swapped = (
        SentenceOrder().pose(unposed(Samples(lone, tokenizer, samples.settings).batch(0, count, seed=2)), 2).swapped
    )
    assert abs(swapped.double().mean().item() - 0.5) < 3 * 0.5 / count**0.5


def test_a_lone_token_has_no_order(tokenizer):
    # kills: an empty segment, and a run that ends at the first document of one token
    lone = corpus_of(tokenizer, [["sea"]])
    batch = Samples(lone, tokenizer, SampleSettings(length=32, segments="two")).batch(0, 20, seed=0)
    question = SentenceOrder().pose(unposed(batch), 0)
    assert torch.equal(question.input_ids, unposed(batch).input_ids)
    assert 0 < int(question.swapped.sum()) < 20


@pytest.fixture
def deberta(tokenizer):
    return Architecture(
        vocab_size=tokenizer.vocab_size, schedule=(0, 1, 2), distances=Disentangled(span=32, buckets=8), **SIZES
    )


def test_the_enhanced_mask_decoder_by_its_order_of_operations(tokenizer, questions, deberta):
    # kills: the last layer's own output decoded, one pass for two, places added to keys and values, or added twice
    network = moved(sijo.create(deberta, "mlm"), seed=6).eval()
    objective = Joint(network, [MaskedLM(Masking(share=0.3), tokenizer)])
    question = questions(objective, cut="stream")
    head, transformer = network.head["mlm"], network.transformer
    keep = question.keep
    states = transformer(question.input_ids, keep, output_hidden_states=True).hidden_states
    last, seen, source = transformer.blocks[2], transformer.views(keep, states[0])[2], states[2]
    query = last(source, seen, last(source, seen, source + head.places.weight[: source.shape[1]]))
    hidden = torch.nn.functional.gelu(query @ head.dense.weight.T + head.dense.bias)
    logits = head.norm(hidden) @ transformer.embeddings.tokens.weight.T + head.bias
    want = torch.nn.functional.cross_entropy(logits[question.target_mask], question.targets[question.target_mask])
    loss, gradients = learned(objective, question)
    assert loss == pytest.approx(want.item(), abs=1e-5)
    assert gradients["network.head.mlm.places.weight"].any()


def test_logits_are_computed_only_where_a_token_was_hidden(tokenizer, questions, deberta, monkeypatch):
    # kills: a vocabulary's worth of scores for every token, and seven times the work
    network = sijo.create(deberta, "mlm")
    objective = Joint(network, [MaskedLM(Masking(), tokenizer)])
    question = questions(objective)
    rows = []
    head = network.head["mlm"]
    transformed = head.transformed
    monkeypatch.setattr(head, "transformed", lambda states: (rows.append(len(states)), transformed(states))[1])
    objective(question)
    assert rows == [int(question.target_mask.sum())] and rows[0] < 0.2 * sum(question.lengths)


def left(tokenizer):
    """A small CTRL."""
    return Architecture(
        vocab_size=tokenizer.vocab_size,
        schedule=(0, 1),
        positions=Sinusoidal(count=32, layout="halves"),
        reads="left",
        **SIZES,
    )


class Code:
    """A control code of two tokens."""

    name = "Reviews"

    def __init__(self, *ids):
        self.ids = ids


def test_windows_behind_a_code_are_ctrls(tokenizer):
    # kills: a window that repeats or skips a token, a code that is asked for, a last target that is lost
    letters = "abcdefghi"
    document = corpus_of(tokenizer, [[" ".join(letters)]], code=0, codes=(Code(7),))
    samples = Samples(document, tokenizer, SampleSettings(length=8, cut="stream"))
    ids = {letter: tokenizer.ids([letter])[0][0] for letter in letters}
    assert len(samples) == 1 and samples.room == 7  # a b c d e f g; h i is no whole window
    question = CausalLM().pose(unposed(samples.batch(0, 1, seed=0)), 0)
    assert question.input_ids[0].tolist() == [7, *(ids[letter] for letter in "abcdefg")]
    assert question.targets[0].tolist() == [ids[letter] for letter in "abcdefgh"]
    assert question.target_mask[0].all()


def test_a_code_of_two_tokens_is_never_asked_for(tokenizer):
    # kills: loss on the code itself
    document = corpus_of(tokenizer, [["the sea was old"]], code=0, codes=(Code(7, 8),))
    samples = Samples(document, tokenizer, SampleSettings(length=16, cut="stream"))
    question = CausalLM().pose(unposed(samples.batch(0, 1, seed=0)), 0)
    seen = zip(
        *(part[0].tolist() for part in (question.input_ids, question.targets, question.target_mask)), strict=True
    )
    asked = [(here, after) for here, after, there in seen if there]
    the, sea, was, old = tokenizer.ids(["the sea was old"])[0]
    assert asked == [(8, the), (the, sea), (sea, was), (was, old)]


def test_the_causal_loss_is_that_of_ctrl(tokenizer, questions, tmp_path):
    # kills: targets shifted twice or not at all, padding among them
    config = transformers.CTRLConfig(
        vocab_size=tokenizer.vocab_size, n_positions=32, n_embd=16, dff=24, n_layer=2, n_head=2,
        resid_pdrop=0.0, embd_pdrop=0.0,
    )  # fmt: skip
    theirs = moved(transformers.CTRLLMHeadModel(config), seed=8).eval()
    network = opened(theirs, tmp_path / "ctrl", "lm")
    ours = Joint(network, [CausalLM()])
    question = questions(ours)
    loss, gradients = learned(ours, question)
    logits = theirs(question.input_ids, attention_mask=question.keep.long()).logits
    text = question.keep & ~question.special
    labels = torch.where(text, question.input_ids, -100)[:, 1:]
    want = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels.flatten())
    want.backward()
    assert loss == pytest.approx(want.item(), abs=1e-5)
    for name, public in published_names(network).items():
        mine = gradients.get(f"network.{name}")
        if mine is not None:
            torch.testing.assert_close(mine, theirs.get_parameter(public).grad, rtol=1e-5, atol=1e-5)


def objectives(tokenizer):
    """Each objective over a network that it can teach."""
    apart = Architecture(
        vocab_size=tokenizer.vocab_size, schedule=(0, 1), distances=Disentangled(span=32, buckets=8), **SIZES
    )
    masked = MaskedLM(Masking(choice="ngram", share=0.25), tokenizer)
    return {
        "mlm": (Joint(sijo.create(apart, "mlm"), [masked]), {"cut": "stream"}),
        "mlm+sop": (Joint(sijo.create(apart, ["sop", "mlm"]), [SentenceOrder(), masked]), {"segments": "two"}),
        "clm": (Joint(sijo.create(left(tokenizer), "lm"), [CausalLM()]), {}),
        "rtd": (
            ReplacedTokenDetection(sijo.create(apart, "mlm"), sijo.create(apart, "rtd"), masked),
            {"short": 0.5},
        ),
        "gdes": (
            ReplacedTokenDetection(sijo.create(apart, "mlm"), sijo.create(apart, "rtd"), masked, sharing="gdes"),
            {"short": 0.5},
        ),
    }


@pytest.mark.parametrize("name", ["mlm", "mlm+sop", "clm", "rtd", "gdes"])
def test_one_batch_is_eight_uneven_pieces(tokenizer, questions, name):
    # kills: a mean of means, dice or masks drawn anew for each piece, padding that is learned from
    torch.manual_seed(1)
    objective, settings = objectives(tokenizer)[name]
    moved(objective)
    question = questions(objective, **settings)
    loss, gradients = learned(objective, question)
    counts = objective.counts(question)
    pieces = [[0], [1, 2], [3, 4, 5], [6], [7, 8, 9, 10, 11], [12, 13], [14, 15, 16, 17], [18, 19, 20, 21, 22, 23]]
    objective.zero_grad()
    total = 0.0
    for piece in pieces:
        part = loss_of(objective, objective(question.rows(piece)), counts)
        part.backward()
        total += part.item()
    assert total == pytest.approx(loss, rel=1e-5)
    for part_name, part in objective.named_parameters():
        if part.grad is not None:
            scale = max(1.0, float(gradients[part_name].abs().max()))
            torch.testing.assert_close(part.grad / scale, gradients[part_name] / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["mlm", "mlm+sop", "clm", "rtd", "gdes"])
def test_every_weight_learns_and_a_repeated_batch_is_learned(tokenizer, questions, name):
    # kills: a part of a network that no loss reaches; an objective that cannot be learned
    torch.manual_seed(1)
    objective, settings = objectives(tokenizer)[name]
    question = questions(objective, count=4, **settings)
    first, gradients = learned(objective, question)
    assert set(gradients) == {part for part, weight in objective.named_parameters() if weight.requires_grad}
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-2)
    for _ in range(50):
        learned(objective, question)
        optimizer.step()
    assert learned(objective, question)[0] < 0.5 * first


def test_a_question_does_not_depend_on_its_neighbours(tokenizer, corpus):
    # kills: dice thrown row by row from one generator, or for padding too
    samples = Samples(corpus, tokenizer, SampleSettings(length=32, segments="two", short=0.3))
    objective = ReplacedTokenDetection(
        sijo.create(left(tokenizer).__class__(vocab_size=tokenizer.vocab_size, schedule=(0,), **SIZES), "mlm"),
        sijo.create(left(tokenizer).__class__(vocab_size=tokenizer.vocab_size, schedule=(0,), **SIZES), "rtd"),
        MaskedLM(Masking(choice="word"), tokenizer),
    )  # fmt: skip
    whole = objective.pose(unposed(samples.batch(40, 20, seed=5)), 5)
    for row in range(20):
        alone = objective.pose(unposed(samples.batch(40 + row, 1, seed=5)), 5)
        length = alone.lengths[0]
        for name in ("input_ids", "targets", "target_mask", "uniforms", "token_type_ids"):
            assert torch.equal(getattr(alone, name)[0, :length], getattr(whole, name)[row, :length]), name


def test_pieces_are_as_wide_as_their_longest_row(tokenizer, questions, deberta):
    # kills: pieces padded to the whole batch's width, and a row lost or doubled among them
    objective = Joint(sijo.create(deberta, "mlm"), [MaskedLM(Masking(), tokenizer)])
    question = questions(objective, short=0.8)
    pieces = list(by_length(question.lengths, token_budget=64))
    assert sorted(row for piece in pieces for row in piece) == list(range(len(question)))
    widths = [question.rows(piece).input_ids.shape[1] for piece in pieces]
    assert widths[0] == question.keep.shape[1] and widths[-1] < 16
    assert head_input(objective.network, question.rows(pieces[0])).keep is None or len(pieces[0]) > 1


def test_a_network_without_the_head_is_refused(tokenizer, deberta):
    # kills: a KeyError from deep inside
    with pytest.raises(SettingError, match="needs a head 'sop'"):
        Joint(sijo.create(deberta, "mlm"), [SentenceOrder()])
