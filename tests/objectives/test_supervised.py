"""What a person said, a teacher said, and steadiness: beside transformers, in plain numbers, and piece by piece."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from torch.nn import functional as F

import sijo
from objectives.conftest import learned, loss_of, moved, opened, published_names
from sijo.batching import by_length
from sijo.data.labelled_inputs import InputSettings, LabelledInputs
from sijo.data.labelled_rows import Answer, LabelledRow
from sijo.errors import SettingError
from sijo.objectives import supervised
from sijo.objectives.posed_batch import unposed
from sijo.objectives.scoring import UNSEEN
from sijo.objectives.supervised import HEADS, SiftSettings, Supervised, TaskTeacher

WORDS = ("the", "sea", "was", "old", "and", "new", "land", "rain", "sun", "game", "team", "ball", "money", "bank")
NAMES = ("a", "b", "c", "d")
TASKS = tuple(HEADS)


def sentence(dice, least=1, most=9):
    return " ".join(dice.choice(WORDS, dice.integers(least, most)))


def rows_of(task, count, seed=0, *, like=False):
    """Rows of a task, of uneven lengths, or all alike so that nothing is padded."""
    dice = np.random.default_rng(seed)
    found = []
    for number in range(count):
        least, most = (7, 8) if like and task == "question-answering" else (5, 6) if like else (1, 9)
        text = sentence(dice, least, most)
        pick = [NAMES[place] for place in dice.integers(0, 4, len(text.split()))]
        match task:
            case "classification":
                row = LabelledRow(str(number), (text, sentence(dice, least, most)), label=pick[0])
            case "multi-label":
                row = LabelledRow(str(number), (text,), label=tuple(sorted(set(pick))))
            case "regression":
                row = LabelledRow(str(number), (text,), label=float(dice.normal()))
            case "tagging":
                row = LabelledRow(str(number), words=tuple(text.split()), label=tuple(pick))
            case "question-answering":
                answer = text.split()[-1]
                label = () if number % 3 == 2 else (Answer(answer, text.rindex(answer)),)
                row = LabelledRow(str(number), ("old sea", text), label=label)
            case _:
                some = 3 if like else 2 + number % 3
                choices = tuple(sentence(dice, least, most) for _ in range(some))
                row = LabelledRow(str(number), (text,), choices=choices, label=int(dice.integers(0, some)))
        found.append(row)
    return found


def posed(objective, tokenizer, count=9, seed=0, *, like=False):
    """A posed batch."""
    task = objective.task
    names = {"regression": ("score",), "question-answering": (), "multiple-choice": ()}.get(task, NAMES)
    data = LabelledInputs(rows_of(task, count, seed, like=like), task, names, tokenizer, InputSettings(length=32))
    return objective.pose(unposed(data.at(np.arange(len(data)))), 0)


def network(tiny_model, task, seed=1):
    labels = {"regression": ["score"], "question-answering": ["s", "e"]}.get(task, list(NAMES))
    torch.manual_seed(seed)
    model = sijo.load(tiny_model, f"new:{HEADS[task]}", labels=labels)
    for weight in model.parameters():
        weight.data = weight.data.clone()
    return moved(model, seed=seed)


PUBLIC = {
    "classification": (
        "ForSequenceClassification",
        {"num_labels": 4, "problem_type": "single_label_classification"},
    ),
    "multi-label": ("ForSequenceClassification", {"num_labels": 4, "problem_type": "multi_label_classification"}),
    "regression": ("ForSequenceClassification", {"num_labels": 1, "problem_type": "regression"}),
    "tagging": ("ForTokenClassification", {"num_labels": 4}),
    "question-answering": ("ForQuestionAnswering", {"num_labels": 2}),
    "multiple-choice": ("ForMultipleChoice", {}),
}


@pytest.mark.parametrize("family", ["Bert", "Electra", "DistilBert"])
@pytest.mark.parametrize("task", TASKS)
def test_loss_and_gradients_are_those_of_the_public_class(tokenizer, tmp_path, task, family):
    # kills: starts and ends exchanged, a sum where a mean is meant, words without tag that are learned, the mean
    # over labels that is one over rows, choices that are mixed between rows
    kind, says = PUBLIC[task]
    sizes = {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": 64}
    if family == "DistilBert":
        config = transformers.DistilBertConfig(**sizes, dim=32, n_layers=2, n_heads=2, hidden_dim=40, **says)
    else:
        config = getattr(transformers, f"{family}Config")(
            **sizes,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=40,
            **({"embedding_size": 16} if family == "Electra" else {}),
            **says,
        )
    theirs = moved(getattr(transformers, f"{family}{kind}")(config), seed=4).eval()
    ours = Supervised(opened(theirs, tmp_path / "model", HEADS[task]), task)
    # transformers learns scores of padding where answers are sought: there none is padded
    question = posed(ours, tokenizer, like=task in ("question-answering", "multiple-choice"))
    loss, gradients = learned(ours, question)
    given = {"input_ids": question.input_ids, "attention_mask": question.keep.long()}
    if family != "DistilBert":
        given["token_type_ids"] = question.token_type_ids
    match task:
        case "question-answering":
            assert question.keep.all()
            given |= {"start_positions": question.labels[:, 0], "end_positions": question.labels[:, 1]}
        case "tagging":
            given["labels"] = torch.where(question.target_mask, question.targets, -100)
        case _:
            given["labels"] = question.labels
    answer = theirs(**given)
    answer.loss.backward()
    assert loss == pytest.approx(answer.loss.item(), abs=1e-5)
    names = published_names(ours.network)
    seen = 0
    for name, public in names.items():
        want = theirs.get_parameter(public).grad
        if want is None:
            continue
        torch.testing.assert_close(
            gradients[f"network.{name}"], want, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )
        seen += 1
    assert seen == len(gradients)


@pytest.mark.parametrize("task", TASKS)
def test_pieces_of_a_batch_are_the_whole(tiny_model, tokenizer, task):
    # kills: means of uneven pieces, padding that is answered, a choice that is cut off, labels cut like tokens
    teacher = TaskTeacher(network(tiny_model, task, seed=8))
    ours = Supervised(network(tiny_model, task), task, teacher=teacher)
    question = posed(ours, tokenizer, count=13)
    whole, gradients = learned(ours, question)
    for budget in (8, 40, 90):
        pieces = list(by_length(question.lengths, token_budget=budget))
        assert len(pieces) > 1 and sorted(place for piece in pieces for place in piece) == list(
            range(len(question))
        )
        ours.zero_grad()
        counts, total = ours.counts(question), 0.0
        for piece in pieces:
            loss = loss_of(ours, ours(ours.prepare(question.rows(piece))), counts)
            loss.backward()
            total += loss.item()
        assert total == pytest.approx(whole, abs=1e-5)
        for name, weight in ours.named_parameters():
            if weight.grad is not None:
                torch.testing.assert_close(weight.grad, gradients[name], rtol=1e-4, atol=1e-5)


def test_labels_as_many_as_tokens_are_not_cut(tiny_model, tokenizer):
    # kills: labels (B, N) taken for something of each token where N happens to be L
    ours = Supervised(network(tiny_model, "multi-label"), "multi-label")
    question = posed(ours, tokenizer)
    wide = replace(question, labels=torch.ones(len(question), question.input_ids.shape[1]))
    short = [row for row, length in enumerate(question.lengths) if length <= 4][:1]
    assert short and wide.rows(short).input_ids.shape[1] == 4
    assert wide.rows(short).labels.shape[1] == question.input_ids.shape[1]


def test_padding_is_no_answer_and_an_absent_choice_none(tiny_model, tokenizer):
    # kills: scores of padding in the sum, of which transformers' own loss is full
    for task, seen in (
        ("question-answering", lambda q: torch.cat([q.keep, q.keep])),
        ("multiple-choice", lambda q: q.keep.any(-1)),
    ):
        ours = Supervised(network(tiny_model, task), task).eval()
        question = posed(ours, tokenizer)
        scores = ours.scores(question)
        assert ((scores == UNSEEN) == ~seen(question)).all() and not seen(question).all()
        assert (scores.softmax(-1)[~seen(question)] == 0).all()


def test_weights_and_smoothing_in_plain_numbers(tiny_model, tokenizer):
    # kills: a sum divided by weights in one piece and by rows in another, smoothing that takes from one class alone
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0])
    ours = Supervised(
        network(tiny_model, "classification"), "classification", class_weights=weights, smoothing=0.1
    ).eval()
    question = posed(ours, tokenizer)
    tally = ours(ours.prepare(question))["label"]
    want = 0.0
    for row, truth in zip(ours.scores(question).tolist(), question.labels.tolist(), strict=True):
        log = [one - math.log(math.fsum(math.exp(other) for other in row)) for one in row]
        want -= 0.9 * weights[truth].item() * log[truth]
        want -= sum(0.1 / 4 * weight * one for weight, one in zip(weights.tolist(), log, strict=True))
    assert tally.total.item() == pytest.approx(want, rel=1e-5) and tally.count == 9
    for wrong in ({"class_weights": weights}, {"smoothing": 0.1}):
        with pytest.raises(SettingError, match="classification and tagging"):
            Supervised(network(tiny_model, "regression"), "regression", **wrong)


def softened(scores, temperature):
    """Plain numbers: the distribution at a temperature."""
    powers = [math.exp(one / temperature) for one in scores]
    return [one / math.fsum(powers) for one in powers]


@pytest.mark.parametrize("task", TASKS)
def test_what_a_teacher_says_in_plain_numbers(tiny_model, tokenizer, task):
    # kills: student and teacher exchanged, temperature on one of them, its square forgotten, padding taught,
    # columns of the teacher in another order
    temperature = 1.7
    columns = [2, 0, 3, 1] if task in ("classification", "multi-label", "tagging") else None
    teacher = network(tiny_model, task, seed=8)
    ours = Supervised(
        network(tiny_model, task), task, teacher=TaskTeacher(teacher, columns, temperature, 0.25, 0.75)
    ).eval()
    assert dict(ours.weights) == {"label": 0.75, "teacher": 0.25}
    question = posed(ours, tokenizer)
    mine = ours.scores(question).tolist()
    theirs = Supervised(teacher, task).eval().scores(question).tolist()
    theirs = [[row[place] for place in columns] for row in theirs] if columns else theirs
    want = 0.0
    for student, said in zip(mine, theirs, strict=True):
        if task == "regression":
            want += (said[0] - student[0]) ** 2
            continue
        pairs = (
            [([s, 0.0], [t, 0.0]) for s, t in zip(student, said, strict=True)]
            if task == "multi-label"
            else [(student, said)]
        )
        for one, other in pairs:
            for q, p in zip(softened(one, temperature), softened(other, temperature), strict=True):
                want += temperature**2 * p * (math.log(p) - math.log(q)) if p > 0 else 0.0
    tally = ours(ours.prepare(question))["teacher"]
    assert tally.total.item() == pytest.approx(want, rel=1e-4)
    assert tally.count == ours.counts(question)["label"]


def test_a_teacher_never_learns(tiny_model, tokenizer):
    # kills: a teacher among the parameters, with dropout, or with a gradient
    teacher = network(tiny_model, "classification", seed=8).train()
    before = {name: weight.clone() for name, weight in teacher.named_parameters()}
    ours = Supervised(network(tiny_model, "classification"), "classification", teacher=TaskTeacher(teacher)).train()
    assert not teacher.training
    assert {name for name, _ in ours.named_parameters()} == {f"network.{name}" for name in before}
    loss = loss_of(ours, ours(ours.prepare(posed(ours, tokenizer))), {"label": 9, "teacher": 9})
    loss.backward()
    assert all(
        weight.grad is None and torch.equal(weight, before[name]) for name, weight in teacher.named_parameters()
    )
    same = Supervised(
        network(tiny_model, "classification", seed=8), "classification", teacher=TaskTeacher(teacher)
    ).eval()
    assert abs(same(same.prepare(posed(same, tokenizer)))["teacher"].total.item()) < 1e-5


@pytest.mark.parametrize("task", TASKS)
def test_steadiness_moves_little_and_leaves_no_trace(tiny_model, tokenizer, task, monkeypatch):
    # kills: a move beyond its bound, gradients of the first pass in the weights, a hook that stays, weights frozen
    # for good, a move that is learned
    sift = SiftSettings(weight=2.0, noise=0.5)
    ours = Supervised(network(tiny_model, task), task, sift=sift).train()
    question = posed(ours, tokenizer)
    norm = ours.network.transformer.embeddings.norm
    seen, own = [], Supervised._perturbed

    def watched(self, question, embedded, scores):
        assert all(weight.grad is None for weight in self.parameters())
        seen.append((embedded.detach().clone(), embedded.requires_grad, scores.requires_grad))
        return own(self, question, embedded, scores)

    monkeypatch.setattr(Supervised, "_perturbed", watched)
    wanted = {name: weight.requires_grad for name, weight in ours.named_parameters()}
    torch.manual_seed(3)
    tallies = ours(ours.prepare(question))
    assert not norm._forward_pre_hooks
    assert {name: weight.requires_grad for name, weight in ours.named_parameters()} == wanted
    assert all(weight.grad is None for weight in ours.parameters())
    (first, uphill, detached), (second, after, through) = seen
    assert uphill and not detached and not after and through
    given = []
    with supervised._before_norm(ours.network, given.append):
        ours.scores(question)
    plain = F.layer_norm(given[0], given[0].shape[-1:], eps=1e-7)
    assert (first - plain).abs().max() <= sift.bound + 1e-6
    assert (second - plain).abs().max() <= sift.bound + sift.step + 1e-6
    step = (second - first).abs()
    assert 0 < step.max() <= sift.step * 1.01
    assert (step.amax(-1) > 0.5 * sift.step).any()  # each token that matters moves as far as it may
    (2.0 * tallies["sift"].total).backward()
    assert sum(weight.grad is not None for weight in ours.parameters()) == len(wanted)
    assert tallies["sift"].total.item() > 0


def test_steadiness_is_a_function_of_the_dice(tiny_model, tokenizer):
    # kills: chance that is not torch's, and so not a matter of seed, step and piece
    ours = Supervised(
        network(tiny_model, "classification"), "classification", sift=SiftSettings(weight=1.0)
    ).train()
    question = posed(ours, tokenizer)
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(ours(ours.prepare(question))["sift"].total.item())
    assert found[0] == found[1] != found[2]


def test_the_uphill_step_is_uphill(tiny_model, tokenizer, monkeypatch):
    # kills: a step downhill, or along noise
    ours = Supervised(
        network(tiny_model, "classification"), "classification", sift=SiftSettings(weight=1.0, step=0.0)
    ).eval()
    question = posed(ours, tokenizer)
    torch.manual_seed(0)
    still = ours(ours.prepare(question))["sift"].total.item()
    ours.sift = SiftSettings(weight=1.0, step=1e-3)
    torch.manual_seed(0)
    assert ours(ours.prepare(question))["sift"].total.item() > 1.01 * still > 0


def test_the_symmetric_divergence_in_plain_numbers(tiny_model, tokenizer, monkeypatch):
    # kills: one direction alone, a divergence from the truth in place of the answer
    ours = Supervised(network(tiny_model, "classification"), "classification", sift=SiftSettings(weight=1.0)).eval()
    one, other = [0.3, -1.0, 2.0, 0.1], [1.0, 0.0, -0.5, 0.2]
    monkeypatch.setattr(Supervised, "scores", lambda self, question: torch.tensor([one]))
    p, q = softened(one, 1.0), softened(other, 1.0)
    want = sum((a - b) * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))
    got = ours._perturbed(None, torch.zeros(1), torch.tensor([other]))
    assert got.item() == pytest.approx(want, rel=1e-6)


def test_what_cannot_be_asked(tiny_model):
    # kills: a task without its head, a network whose embeddings cannot be moved
    with pytest.raises(SettingError, match=r"new:token-classification"):
        Supervised(network(tiny_model, "classification"), "tagging")
    with pytest.raises(SettingError, match=r"sift.weight"):
        SiftSettings(weight=-1)
    tiny = sijo.load(tiny_model).architecture
    raw = sijo.create(replace(tiny, entry="scale"), "sequence-classification", labels=NAMES)
    with pytest.raises(SettingError, match="normalised"):
        Supervised(raw, "classification", sift=SiftSettings(weight=1))
