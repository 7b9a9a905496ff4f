"""A student under a teacher: every part in plain numbers, the triple loss beside the released one, the cache."""

import math
from dataclasses import replace

import pytest
import torch
import transformers
from torch.nn import functional as F

import sijo
from objectives.conftest import learned, loss_of, moved, opened, published_names
from sijo.batching import by_length
from sijo.data.samples import SampleSettings
from sijo.errors import SettingError
from sijo.models import published
from sijo.nn.architecture import Architecture, DropoutRates, Learned, Sinusoidal
from sijo.nn.heads import HeadInput
from sijo.objectives.clm import CausalLM
from sijo.objectives.distillation import Distillation, relation_loss, soft_loss
from sijo.objectives.language_teacher import LanguageTeacher, Teaching, query_key_value
from sijo.objectives.masking import Masking
from sijo.objectives.mlm import MaskedLM
from sijo.objectives.objective import head_input
from sijo.objectives.tally import cosine_loss
from sijo.objectives.text_teacher import TextTeacher, TextTeachers
from sijo.tokenizers.tokenizer import Tokenizer

NONE = DropoutRates(embeddings=0, attention=0, attention_output=0, hidden=0)
TRIPLE = Teaching(soft=5.0, hard=2.0, cosine=1.0)
FREQUENCY = Masking(choice="frequency", share=0.3)


def bert(tokenizer, *, layers=2, width=16, inner=24, **changes):
    sizes = {"vocab_size": tokenizer.vocab_size, "embedding_size": width, "hidden_size": width, "heads": 2}
    plain = Architecture(
        **sizes,
        intermediate_size=inner,
        schedule=tuple(range(layers)),
        positions=Learned(count=40),
        token_types=2,
        dropout=NONE,
    )
    return replace(plain, **changes)


def network(architecture, head=None, seed=0):
    torch.manual_seed(seed)
    return moved(sijo.create(architecture, head), seed=seed)


@pytest.fixture(scope="module")
def counts(tokenizer, corpus):
    return torch.bincount(
        torch.from_numpy(corpus.shards[0].tokens.astype("int64")), minlength=tokenizer.vocab_size
    ).numpy()


@pytest.fixture
def masked(tokenizer, counts):
    return MaskedLM(FREQUENCY, tokenizer, counts)


def test_the_triple_loss_is_the_released_one(tokenizer, questions, masked, tmp_path):
    """The public classes and the formulas of the released script: loss and every gradient."""
    # kills: T forgotten or not squared, KL the wrong way round, a mean over padding, a cosine of states before the
    # last layer, weights that are mixed up, a teacher that does not see the masks
    sizes = {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": 40}
    small = transformers.DistilBertConfig(
        **sizes, dim=16, hidden_dim=24, n_layers=2, n_heads=2, dropout=0, attention_dropout=0
    )
    large = transformers.BertConfig(
        **sizes, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2
    )
    public = moved(transformers.DistilBertForMaskedLM(small), seed=1).eval()
    above = moved(transformers.BertForMaskedLM(large), seed=2).eval()
    student = opened(public, tmp_path / "student", "mlm")
    teacher = opened(above, tmp_path / "teacher", "mlm")
    ours = Distillation(student, LanguageTeacher(teacher, TRIPLE, head="mlm"), masked)
    question = questions(ours, short=0.4)
    assert question.padding is not None
    loss, gradients = learned(ours, question)

    keep, labels = question.keep.long(), torch.where(question.target_mask, question.targets, -100)
    answer = public(question.input_ids, keep, output_hidden_states=True)
    with torch.no_grad():
        theirs = above(question.input_ids, keep, output_hidden_states=True)
    chosen = question.keep[:, :, None].expand_as(answer.logits)
    s, t = (logits[chosen].view(-1, tokenizer.vocab_size) for logits in (answer.logits, theirs.logits))
    kl = torch.nn.KLDivLoss(reduction="batchmean")(F.log_softmax(s / 2, -1), F.softmax(t / 2, -1)) * 4
    mlm = F.cross_entropy(answer.logits.view(-1, tokenizer.vocab_size), labels.view(-1), ignore_index=-100)
    ends = [states[question.keep] for states in (answer.hidden_states[-1], theirs.hidden_states[-1])]
    cosine = torch.nn.CosineEmbeddingLoss(reduction="mean")(*ends, torch.ones(len(ends[0])))
    want = 5 * kl + 2 * mlm + cosine
    want.backward()
    assert loss == pytest.approx(want.item(), rel=1e-6)
    names = published_names(student)
    assert set(gradients) == {f"student.{name}" for name in names}
    for name, theirs_name in names.items():
        torch.testing.assert_close(
            gradients[f"student.{name}"], public.get_parameter(theirs_name).grad, rtol=1e-5, atol=1e-5
        )
    assert all(part.grad is None for part in teacher.parameters())


def test_the_triple_loss_in_plain_numbers(tokenizer, questions, masked):
    """Loops over tokens and words, in double precision."""
    # kills: a sum over the batch divided twice, special tokens left out of what all real tokens have
    student, teacher = network(bert(tokenizer), "mlm", 1), network(bert(tokenizer, layers=3), "mlm", 2)
    ours = Distillation(student, LanguageTeacher(teacher, TRIPLE, head="mlm"), masked)
    question = questions(ours, short=0.4)
    loss, _ = learned(ours, question)
    soft = hard = cosine = 0.0
    outs = []
    for one in (student, teacher):
        with torch.no_grad():
            outs.append(one(question.input_ids, question.keep, question.token_type_ids))
    real, asked = 0, 0
    for row in range(len(question)):
        for place in range(question.lengths[row]):
            s, t = (out.logits[row, place].double().tolist() for out in outs)
            es, et = ([math.exp(value / 2) for value in logits] for logits in (s, t))
            ps, pt = ([value / sum(parts) for value in parts] for parts in (es, et))
            soft += 4 * sum(b * (math.log(b) - math.log(a)) for a, b in zip(ps, pt, strict=True))
            a, b = (out.last_hidden_state[row, place].double().tolist() for out in outs)
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            cosine += 1 - dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
            real += 1
            if question.target_mask[row, place]:
                hard -= s[question.targets[row, place]] - math.log(sum(math.exp(value) for value in s))
                asked += 1
    assert loss == pytest.approx(5 * soft / real + 2 * hard / asked + cosine / real, rel=1e-6)


def test_numbers_of_the_references():
    # kills: T not squared; a cosine that depends on length
    student, teacher = torch.tensor([[1.0, 2, 3], [0, 0, 0]]), torch.tensor([[3.0, 2, 1], [1, 0, -1]])
    each = [soft_loss(student[i : i + 1], {"logits": teacher[i : i + 1]}, 2.0).total.item() / 4 for i in (0, 1)]
    assert each == pytest.approx([0.32015667, 0.07842095], abs=1e-7)
    assert soft_loss(teacher, {"logits": teacher}, 2.0).total.item() == pytest.approx(0, abs=1e-7)
    one, other = torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    assert cosine_loss(one, other).total.item() == pytest.approx(0.29289322, abs=1e-7)
    tally = soft_loss(student, {"logits": teacher}, 2.0)
    assert int(tally.right) == 1 and tally.count == 2  # [0, 0, 0] prefers the first, as the teacher


def test_asked_only_and_squared(tokenizer, questions, masked):
    # kills: soft targets at every token where only hidden ones were meant; a squared difference of means
    student, teacher = network(bert(tokenizer), "mlm", 1), network(bert(tokenizer), "mlm", 2)
    teaching = Teaching(soft=1.0, hard=0.0, squared=1.0, asked_only=True)
    ours = Distillation(student, LanguageTeacher(teacher, teaching, head="mlm"), masked)
    question = questions(ours, short=0.4)
    with torch.no_grad():
        found = ours(ours.prepare(question))
        s, t = (
            one(question.input_ids, question.keep, question.token_type_ids).logits[question.target_mask]
            for one in (student, teacher)
        )
    assert set(found) == {"soft", "squared"} and found["soft"].count == int(question.target_mask.sum())
    kl = F.kl_div((s / 2).log_softmax(-1), (t / 2).log_softmax(-1), log_target=True, reduction="sum") * 4
    torch.testing.assert_close(found["soft"].total, kl, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["squared"].total, (s - t).square().sum(), rtol=1e-5, atol=1e-5)


def test_relations_in_plain_numbers():
    """MiniLMv2's equations for one text, between networks of other widths, in loops."""
    # kills: heads that are cut along the wrong axis, a root of the whole width, KL the wrong way round, a mean over
    # padded rows, one of the three left out
    chance = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(1, 5, 24, generator=chance), torch.randn(1, 5, 12, generator=chance)
    keep = torch.tensor([[True, True, True, True, False]])
    tally = relation_loss(ours, theirs, keep, heads=2)
    want = 0.0
    for part in range(3):
        for head in range(2):
            share = []
            for states, width in ((ours, 8), (theirs, 4)):
                half = width // 2
                cut = states[0, :4, part * width + head * half : part * width + (head + 1) * half].double().tolist()
                rows = []
                for a in cut:
                    scores = [
                        math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(half)) for b in cut
                    ]
                    rows.append([score / sum(scores) for score in scores])
                share.append(rows)
            for mine, other in zip(*share, strict=True):
                want += sum(b * math.log(b / a) for a, b in zip(mine, other, strict=True)) / 2
    assert tally.total.item() == pytest.approx(want, rel=1e-5) and tally.count == 4
    padded = [F.pad(states, (0, 0, 0, 3), value=7.0) for states in (ours, theirs)]
    wider = relation_loss(*padded, F.pad(keep, (0, 3)), heads=2)
    torch.testing.assert_close(wider.total, tally.total)
    left = relation_loss(ours, theirs, keep, heads=2, left=True)
    assert 0 < left.total.item() != pytest.approx(tally.total.item())


def test_queries_keys_and_values_are_those_of_the_layer(tokenizer, questions):
    # kills: the layer after or before, a block that the schedule does not mean, a norm left out or put in
    for changes in ({}, {"schedule": (0, 0, 0)}, {"norm": None}):
        if "norm" in changes:
            architecture = replace(published_ctrl(tokenizer))
        else:
            architecture = bert(tokenizer, layers=3, **changes)
        one = network(architecture, None, 3)
        caught = []
        block = one.transformer.blocks[one.architecture.schedule[1]]
        for part in (block.attention.query, block.attention.key, block.attention.value):
            part.register_forward_hook(lambda module, given, out, into=caught: into.append(out.detach()))
        ids = torch.tensor([[5, 6, 7, 8]])
        with torch.no_grad():
            output = one.transformer(ids, output_hidden_states=True)
            runs = [caught[at : at + 3] for at in range(0, len(caught), 3)]
            want = torch.cat(runs[1 if one.architecture.blocks == 1 else 0], -1)
            found = query_key_value(HeadInput(output, None, one.transformer, ids), 2)
        assert torch.equal(found, want)


def published_ctrl(tokenizer):
    architecture = published("ctrl")[1].architecture()
    return replace(
        architecture,
        vocab_size=tokenizer.vocab_size,
        embedding_size=16,
        hidden_size=16,
        heads=2,
        intermediate_size=24,
        schedule=(0, 1),
        positions=Sinusoidal(count=32, layout="halves"),
        dropout=NONE,
    )


@pytest.mark.parametrize(
    "teaching",
    [
        TRIPLE,
        Teaching(hard=0.0, relations=1.0, relation_heads=4, relation_layer=2),
        Teaching(hard=0.0, vectors=1.0),
        Teaching(soft=1.0, cosine=2.0, relations=1.0, vectors=1.0),
    ],
    ids=["triple", "relations", "vectors", "all"],
)
def test_one_batch_is_eight_uneven_pieces(tokenizer, questions, masked, teaching):
    # kills: means of pieces, a part that is counted by another part's count
    student, teacher = network(bert(tokenizer), "mlm", 1), network(bert(tokenizer, layers=3), "mlm", 2)
    own = masked if teaching.hard else None
    ours = Distillation(student, LanguageTeacher(teacher, teaching, head="mlm" if own else None), own)
    question = questions(ours, short=0.6)
    loss, gradients = learned(ours, question)
    ours.zero_grad()
    counts = ours.counts(question)
    pieces = list(by_length(question.lengths, token_budget=64))
    assert len(pieces) >= 4
    total = 0.0
    for piece in pieces:
        part = loss_of(ours, ours(ours.prepare(question.rows(piece))), counts)
        part.backward()
        total += part.item()
    assert total == pytest.approx(loss, rel=1e-5)
    for name, parameter in ours.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-5, atol=1e-5)


def test_another_width_meets_by_a_learned_map(tokenizer, questions, masked):
    # kills: a map that is not learned, or that is left in the student's folder
    student = network(bert(tokenizer, width=8), "mlm", 1)
    ours = Distillation(student, LanguageTeacher(network(bert(tokenizer), "mlm", 2), TRIPLE, head="mlm"), masked)
    _, gradients = learned(ours, questions(ours))
    assert gradients["map.weight"].abs().sum() > 0 and gradients["map.weight"].shape == (16, 8)
    assert set(ours.networks()["model"].state_dict()) == set(student.state_dict())


def test_a_network_that_reads_to_the_left(tokenizer, questions):
    # kills: soft targets for the token that is there in place of the one that comes
    student, teacher = network(published_ctrl(tokenizer), "lm", 1), network(published_ctrl(tokenizer), "lm", 2)
    teaching = Teaching(soft=1.0, hard=1.0, relations=1.0)
    ours = Distillation(student, LanguageTeacher(teacher, teaching, head="lm"), CausalLM())
    question = questions(ours, short=0.3)
    with torch.no_grad():
        found = ours(ours.prepare(question))
        s = student(question.input_ids, question.keep).logits
    want = F.cross_entropy(s[question.target_mask], question.targets[question.target_mask], reduction="sum")
    torch.testing.assert_close(found["clm"].total, want)
    # what a token is related to ends with itself: a longer text changes nothing for those before
    early = torch.arange(question.keep.shape[1]) < 5
    cut = replace(question, keep=question.keep & early, target_mask=question.target_mask & early)
    with torch.no_grad():
        few = ours(ours.prepare(cut))["relations"]
    assert few.count < found["relations"].count and few.total < found["relations"].total


class Memory(dict):
    """Lessons in a dictionary, and how often something was put there."""

    def get(self, keys):
        return {key: self[key] for key in keys if key in self}

    def put(self, lessons):
        self.update(lessons)


def test_a_second_student_costs_no_reading_by_the_teacher(tokenizer, questions, masked):
    # kills: a cache that is not looked at, lessons of one text given for another, a first run that learns from
    # other numbers than a second one
    teacher = network(bert(tokenizer, layers=3), "mlm", 2)
    teaching = Teaching(soft=5.0, hard=2.0, cosine=1.0, relations=1.0, vectors=1.0)
    memory, losses = Memory(), []
    for seed in (1, 1):
        student = network(bert(tokenizer), "mlm", seed)
        ours = Distillation(student, LanguageTeacher(teacher, teaching, head="mlm", lessons=memory, top=8), masked)
        question = questions(ours, short=0.5)
        with torch.no_grad():
            losses.append({name: tally.total.item() for name, tally in ours(ours.prepare(question)).items()})
        with torch.no_grad():  # from here on the teacher knows nothing
            for weight in teacher.parameters():
                weight.zero_()
    assert losses[0] == losses[1]
    assert len(memory) == len({tuple(row.tolist()) for row in question.input_ids})
    part = question.rows([4, 2])
    with torch.no_grad():
        teacher_only = ours.teacher[0]
        whole, some = teacher_only.lesson(question), teacher_only.lesson(part)
    lengths = question.lengths
    states = whole["states"].split(lengths)
    assert torch.equal(some["states"], torch.cat([states[4], states[2]]))
    assert some["logits"].shape == (lengths[4] + lengths[2], 8) and some["states"].dtype == torch.bfloat16


def test_what_is_left_out_of_the_cache_counts_as_one_token(tokenizer, questions, masked):
    # kills: a distribution over the kept tokens alone, which says that no other can be; the rest at another T
    student, teacher = network(bert(tokenizer), "mlm", 1), network(bert(tokenizer), "mlm", 2)
    question = questions(masked_only := Distillation(student, LanguageTeacher(teacher, TRIPLE, head="mlm"), masked))
    asking = masked_only.teacher[0]
    with torch.no_grad():
        lesson = asking.computed(question)
        ours = student(question.input_ids, question.keep, question.token_type_ids).logits[question.keep]
    full = soft_loss(ours, lesson, 2.0)
    asking.top = tokenizer.vocab_size
    torch.testing.assert_close(soft_loss(ours, asking.packed(lesson), 2.0).total, full.total, rtol=2e-2, atol=1e-2)
    asking.top = 5
    few = asking.packed(lesson)
    p, q = (logits.double().div(2).softmax(-1) for logits in (lesson["logits"], ours))
    best = few["ids"].long()
    p, q = (torch.cat([part.gather(-1, best), 1 - part.gather(-1, best).sum(-1, True)], -1) for part in (p, q))
    want = 4 * (p * (p.log() - q.log())).sum()
    found = soft_loss(ours, few, 2.0)
    assert found.total.item() == pytest.approx(want.item(), rel=2e-2)
    assert found.total < full.total and found.right == full.right


def test_another_tokenizer_for_vectors_alone(tokenizer, questions, tiny_model, tmp_path):
    # kills: a teacher that is given the student's numbers; a comparison of places that are not the same
    student, teacher = (
        network(bert(tokenizer), None, 1),
        network(bert(tokenizer, vocab_size=2 * tokenizer.vocab_size), None, 2),
    )
    other = Tokenizer.load(tiny_model / "tokenizer.json", max_length=32)

    def read(texts, device):
        rows = [[number + tokenizer.vocab_size for number in ids] for [ids] in other.windows(texts)]
        with torch.no_grad():
            return torch.cat([teacher(torch.tensor([row])).last_hidden_state.mean(1) for row in rows]).numpy()

    teaching = Teaching(hard=0.0, vectors=1.0)
    asking = LanguageTeacher(teacher, teaching, reads_texts=True, same_tokens=False)
    reader = TextTeacher(name="other", teaching=teaching, width=16, read=read)
    ours = Distillation(student, asking, None, texts=TextTeachers([reader], 16, tokenizer.decode))
    question = questions(ours, short=0.5)
    with torch.no_grad():
        found = ours(ours.prepare(question))["vectors"]
    want = 0.0
    for row, length in enumerate(question.lengths):
        ids = question.input_ids[row : row + 1, :length]
        with torch.no_grad():
            one = student(ids).last_hidden_state.mean(1)
        two = torch.from_numpy(read([tokenizer.decode(ids[0].tolist())], "cpu"))
        want += 1 - F.cosine_similarity(one, two).item()
    assert found.total.item() == pytest.approx(want, abs=1e-4) and found.count == len(question)
    with pytest.raises(SettingError, match="different tokenizers"):
        LanguageTeacher(teacher, TRIPLE, head="mlm", same_tokens=False)


@pytest.mark.parametrize(
    ("change", "teaching", "message"),
    [
        ({"vocab_size": 300}, TRIPLE, "knows .* tokens and the teacher 300"),
        ({"reads": "left"}, Teaching(hard=0.0, cosine=1.0), "reads both_sides and the teacher left"),
        (
            {"hidden_size": 8, "embedding_size": 8},
            Teaching(hard=0.0, vectors=1.0),
            "16 numbers and the teacher's 8",
        ),
        ({}, Teaching(hard=0.0, relations=1.0, relation_heads=3), "cut into 3 relation heads"),
        ({}, Teaching(hard=0.0, relations=1.0, relation_layer=9), "layers 1 to 2"),
        ({}, Teaching(soft=1.0), "takes an objective mlm or clm"),
    ],
)
def test_pairs_that_cannot_be(tokenizer, masked, change, teaching, message):
    # kills: a shape error from deep inside after a corpus was prepared
    head = "mlm" if teaching.cosine and teaching.soft else None
    teacher = network(bert(tokenizer, **change), head, 2)
    student = network(bert(tokenizer), "mlm", 1)
    with pytest.raises(SettingError, match=message):
        Distillation(student, LanguageTeacher(teacher, teaching, head=head), masked if head else None)


def test_weights_that_say_nothing():
    # kills: a run that learns nothing for hours
    with pytest.raises(SettingError, match="one is above 0"):
        Teaching(hard=0.0)
    with pytest.raises(SettingError, match="temperature"):
        Teaching(temperature=0.0)


def test_a_teacher_does_not_drop(tokenizer, questions, masked):
    # kills: a teacher left in training mode, by whoever calls train() on all
    teacher = sijo.create(bert(tokenizer, dropout=DropoutRates(hidden=0.5)), "mlm")
    ours = Distillation(
        network(bert(tokenizer), "mlm", 1), LanguageTeacher(teacher, TRIPLE, head="mlm"), masked
    ).train()
    question = questions(ours)
    first, second = (ours.teacher[0].lesson(question)["logits"] for _ in range(2))
    assert torch.equal(first, second) and not teacher.training
    assert head_input(ours.student, question).output.last_hidden_state.requires_grad
    assert SampleSettings().cut == "documents"
