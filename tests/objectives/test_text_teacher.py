"""Teachers of whole texts: their losses in plain numbers, who speaks for what, and pieces of a batch."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from objectives.conftest import learned, loss_of
from objectives.test_distillation import bert, network
from sijo.batching import by_length
from sijo.errors import SettingError
from sijo.objectives.distillation import Distillation
from sijo.objectives.language_teacher import LanguageTeacher, Teaching
from sijo.objectives.masking import Masking
from sijo.objectives.mlm import MaskedLM
from sijo.objectives.text_teacher import TextTeacher, TextTeachers, TextTeaching, text_relation_loss


def reader(width, seen=None):
    """Vectors that are a function of the text alone."""

    def read(texts, device):
        if seen is not None:
            seen.extend(texts)
        rows = [np.random.default_rng([*text.encode(), width]).normal(size=width) for text in texts]
        return np.array(rows, np.float32)

    return read


def teacher(name="one", width=16, seen=None, **teaching):
    return TextTeacher(
        name=name, teaching=TextTeaching(**teaching), width=width, read=reader(width, seen), among_others=True
    )


def student(tokenizer, teachers, own=None, spell=None, **changes):
    """A student of some teachers, beside a first one that is asked nothing token by token."""
    head = None if own is None else own.head
    language = LanguageTeacher(
        network(bert(tokenizer), head, 2),
        Teaching(hard=1.0 if own else 0.0, vectors=1.0),
        head=head,
        reads_texts=True,
    )
    texts = TextTeachers(teachers, 16, spell or tokenizer.decode)
    return Distillation(network(bert(tokenizer, **changes), head, 1), language, own, texts=texts)


# --- the equations ------------------------------------------------------------------------------


def test_relations_between_texts_in_plain_numbers():
    """Loops in double precision, between spaces of other widths."""
    # kills: KL the wrong way round, a text related to itself, a product in place of a cosine, a temperature that
    # only one of the two has, a mean in place of a sum
    chance = torch.Generator().manual_seed(0)
    ours, theirs = 3 * torch.randn(5, 7, generator=chance), torch.randn(5, 4, generator=chance)
    want = []
    for i in range(5):
        shares = []
        for vectors in (ours.double().tolist(), theirs.double().tolist()):
            parts = {}
            for j in range(5):
                if j != i:
                    dot = sum(x * y for x, y in zip(vectors[i], vectors[j], strict=True))
                    norms = math.sqrt(sum(x * x for x in vectors[i]) * sum(y * y for y in vectors[j]))
                    parts[j] = math.exp(dot / norms / 0.3)
            shares.append({j: part / sum(parts.values()) for j, part in parts.items()})
        q, p = shares
        want.append(sum(p[j] * math.log(p[j] / q[j]) for j in p))
    tally = text_relation_loss(ours, theirs, temperature=0.3)
    assert tally.total.item() == pytest.approx(sum(want), rel=1e-5) and tally.count == 5
    mine = torch.tensor([True, False, False, True, False])
    part = text_relation_loss(ours, theirs, mine, temperature=0.3)
    assert part.total.item() == pytest.approx(want[0] + want[3], rel=1e-5) and part.count == 2


def test_what_makes_no_difference_to_relations():
    # kills: a space that must be turned as the teacher's is; a loss of one text or two; a loss that is no number
    chance = torch.Generator().manual_seed(1)
    theirs = torch.randn(6, 4, generator=chance)
    turned = torch.linalg.qr(torch.randn(4, 4, generator=chance)).Q
    wider = torch.nn.functional.pad(7 * theirs @ turned, (0, 3))
    assert text_relation_loss(wider, theirs, temperature=0.05).total.item() == pytest.approx(0, abs=1e-4)
    for few in (0, 1, 2):
        ours = torch.randn(few, 5, generator=chance).requires_grad_()
        tally = text_relation_loss(ours, theirs[:few], temperature=0.05)
        tally.total.backward()
        assert tally.total.item() == 0 and tally.count == few and not ours.grad.any()


def test_each_teacher_is_met_in_its_own_way(tokenizer, questions):
    # kills: one teacher's vectors compared with the other's map, weights exchanged, a map that is not learned or is
    # left in the student, a teacher that sees token ids
    seen = []
    teachers = [
        teacher("near", 16, seen, vectors=2.0),
        teacher("far", 9, vectors=0.5, vectors_by="map", text_relations=0.25, text_temperature=0.2),
    ]
    ours = student(tokenizer, teachers)
    assert ours.weights == {"near.vectors": 2.0, "far.vectors": 0.5, "far.text_relations": 0.25}
    question = questions(ours, short=0.5)
    loss, gradients = learned(ours, question)
    texts = [
        tokenizer.decode(row[:n].tolist()) for row, n in zip(question.input_ids, question.lengths, strict=True)
    ]
    assert seen == texts
    with torch.no_grad():
        states = ours.student(question.input_ids, question.keep, question.token_type_ids).last_hidden_state
        weights = question.keep[:, :, None].float()
        vectors = (states * weights).sum(1) / weights.sum(1)
        near, far = (torch.from_numpy(reader(width)(texts, "cpu")) for width in (16, 9))
        mapped = vectors @ ours.texts.maps["far"].weight.T
        cosine = torch.nn.functional.cosine_similarity
        want = 2 * (1 - cosine(vectors, near)).mean() + 0.5 * (1 - cosine(mapped, far)).mean()
        want += 0.25 * text_relation_loss(vectors, far, temperature=0.2).total / len(texts)
    assert loss == pytest.approx(want.item(), rel=1e-5)
    assert gradients["texts.maps.far.weight"].abs().sum() > 0
    assert [name for name, _ in ours.named_parameters() if name.startswith("texts.")] == ["texts.maps.far.weight"]
    assert set(ours.networks()["model"].state_dict()) == set(ours.student.state_dict())


# --- who speaks for what ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scripts", "text", "speaks"),
    [
        ((), "비 rain", True),
        (("latin",), "Café No. 3 — ﬁne ｆｕｌｌ!", True),
        (("latin",), "the 비", False),
        (("Hangul",), "비가 1.5 % 왔다", True),
        (("hangul",), "비가 rain", False),
        (("hangul", "latin"), "비가 rain", True),
        (("hangul", "latin"), "비가 雨", False),
        (("latin",), "12:30", True),
    ],
)
def test_a_teacher_speaks_for_texts_of_its_scripts(scripts, text, speaks):
    # kills: a text that is taken for a language by most of its letters or its first; forms of compatibility, marks
    # and digits taken for another script
    assert teacher(scripts=scripts).speaks_for(text) is speaks


@pytest.fixture
def half_korean(tokenizer):
    """Spells every other kind of text in Hangul."""

    def spell(ids):
        return "비가 왔다 " * (sum(ids) % 2) + tokenizer.decode(ids) * (1 - sum(ids) % 2)

    return spell


def test_a_text_is_learned_from_those_who_speak_for_it(tokenizer, questions, half_korean):
    # kills: a teacher asked about what it cannot read, its zeros learned from, a mean over texts that it says
    # nothing of, relations to texts of another's
    seen = []
    english = teacher("english", 9, seen, vectors=1.0, vectors_by="map", text_relations=1.0, scripts=("latin",))
    ours = student(tokenizer, [teacher("both", vectors=1.0), english], spell=half_korean)
    question = questions(ours, short=0.5)
    here = [text.isascii() for text in question.texts]
    assert 3 < sum(here) < len(here) - 3
    assert ours.counts(question) == {
        "both.vectors": len(here),
        "english.vectors": sum(here),
        "english.text_relations": sum(here),
    }
    with torch.no_grad():
        found = ours(ours.prepare(question))
        assert seen == [text for text in question.texts if text.isascii()]
        alone = question.rows([row for row, latin in enumerate(here) if latin])
        want = ours(ours.prepare(alone))
    for part in ("english.vectors", "english.text_relations"):
        assert found[part].count == sum(here)
        torch.testing.assert_close(found[part].total, want[part].total, rtol=1e-5, atol=1e-5)
    none = question.rows([row for row, latin in enumerate(here) if not latin])
    ours.zero_grad()
    tallies = ours(ours.prepare(none))
    assert tallies["english.vectors"].count == 0 == tallies["english.vectors"].total.item()
    sum(tally.total for tally in tallies.values()).backward()
    assert not ours.texts.maps["english"].weight.grad.any()  # there, as several processes need it, and zero


def test_what_was_written_is_read_before_anything_is_hidden(tokenizer, questions):
    # kills: a teacher of texts that reads [MASK], or what the student's tokens spell where the text is at hand
    seen = []
    own = MaskedLM(Masking(share=0.5), tokenizer, None)
    ours = student(tokenizer, [teacher(seen=seen, vectors=1.0)], own=own)
    question = questions(ours)
    assert question.target_mask.sum() > 20
    clean = torch.where(question.target_mask, question.targets, question.input_ids)
    ours.prepare(question)
    rows = zip(clean.tolist(), question.lengths, strict=True)
    assert seen == [tokenizer.decode(row[:length]) for row, length in rows]
    written = tuple(f"Was WRITTEN {number}" for number in range(len(question)))
    seen.clear()
    ours.prepare(ours.texts.posed(replace(question, texts=written)))
    assert seen == list(written)


# --- pieces of a batch --------------------------------------------------------------------------


def test_a_batch_of_relations_is_its_uneven_pieces(tokenizer, questions, half_korean):
    # kills: texts related to those of their own piece alone, a gradient without what a text is to the others,
    # counted twice, or of a mean of means; a teacher that reads each text again
    seen = []
    teachers = [
        teacher("one", 16, seen, vectors=1.0, text_relations=0.5),
        teacher("two", 9, vectors=1.0, vectors_by="map", text_relations=2.0, scripts=("latin",)),
    ]
    ours = student(tokenizer, teachers, spell=half_korean)
    question = questions(ours, short=0.6)
    assert ours.compares
    loss, gradients = learned(ours, question)
    ours.zero_grad()
    counts, pieces = ours.counts(question), list(by_length(question.lengths, token_budget=64))
    assert len(pieces) >= 4
    seen.clear()
    whole = {}
    for piece in pieces:
        with torch.no_grad():
            for name, rows in ours.survey(question.rows(piece)).items():
                whole.setdefault(name, torch.zeros(len(question), *rows.shape[1:]))[piece] = rows
    question = replace(question, places=torch.arange(len(question)), whole=whole)
    total = 0.0
    for piece in pieces:
        part = loss_of(ours, ours(ours.prepare(question.rows(piece))), counts)
        part.backward()
        total += part.item()
    assert total == pytest.approx(loss, rel=1e-5)
    assert len(seen) == len(question)
    for name, parameter in ours.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-5)


# --- what cannot be -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        ([{"vectors": 1.0}, {"vectors": 1.0}], "of t0 and t1 lie in spaces of their own"),
        ([{"vectors": 1.0, "width": 9}], r"16 numbers and the teacher's \(t0\) 9; set its vectors_by=map"),
        ([{"vectors": 1.0}, {}], "the teacher t1 teaches nothing"),
        ([{"text_relations": -1.0}], "0 or more"),
        ([{"text_relations": 1.0, "text_temperature": 0.0}], "text_temperature=0.0 must be above 0"),
        ([{"vectors": 1.0, "scripts": ("latn",)}], "no letters called 'latn'; did you mean 'latin'"),
    ],
)
def test_teachers_that_cannot_be(tokenizer, teachers, message):
    # kills: a loss that pulls one vector to two places, a shape error from deep inside, a teacher that never speaks
    with pytest.raises(SettingError, match=message):
        student(tokenizer, [teacher(f"t{number}", **wanted) for number, wanted in enumerate(teachers)])
