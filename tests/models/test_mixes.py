"""Architectures nobody published; fresh heads and several. Each test names the fault it is to catch."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

import battery
from battery import cases, scramble
from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import create, load
from sijo.checkpoints.save import save
from sijo.errors import SettingError
from sijo.models import FAMILIES
from sijo.models.family import HEADS
from sijo.nn.architecture import (
    Architecture,
    Disentangled,
    DropoutRates,
    Learned,
    PostNorm,
    PreNorm,
    Rotary,
    Sinusoidal,
    Window,
)
from sijo.nn.encoder_decoder import EncoderDecoder
from sijo.nn.head_specs import OPEN_LABELS

SIZES = {"vocab_size": 41, "embedding_size": 12, "hidden_size": 12, "heads": 3, "intermediate_size": 14}
V3 = Architecture(
    **SIZES,
    schedule=(0, 1, 2),
    distances=Disentangled(span=16, buckets=8, norm="layer_norm"),
    norm=PostNorm(eps=1e-7),
)
ALBERT = Architecture(
    **SIZES | {"embedding_size": 7},
    schedule=(0, 0, 1, 1),
    positions=Learned(count=20),
    token_types=2,
    widening="after_norm",
)
CTRL = Architecture(
    **SIZES,
    schedule=(0, 1),
    positions=Sinusoidal(count=20, layout="halves"),
    reads="left",
    entry="scale",
    activation="relu",
    norm=PreNorm(),
)
MODERN = Architecture(
    **SIZES,
    schedule=(0, 1, 2),
    rotary=Rotary(count=20, base=90.0, local_base=9.0),
    window=Window(reach=2),
    feed_forward="gated",
    biases=(),
    norm=PreNorm(eps=1e-5, final_eps=1e-5, first="none"),
    dropout=DropoutRates(hidden=0.0),
)
DISTANT = {"distances": Disentangled(span=9), "norm": PostNorm(eps=1e-7)}
MIXES = {
    # what it is, and the model_type it is saved under
    "a DeBERTa-v3 with ALBERT's sharing": (replace(V3, schedule=(0, 0, 0)), "sijo"),
    "a DeBERTa-v3 with ELECTRA's narrow table": (
        replace(V3, embedding_size=7, widening="after_norm"),
        "sijo",
    ),
    "a DeBERTa-v3 with both": (
        replace(V3, schedule=(0, 0, 0), embedding_size=7, widening="after_norm"),
        "sijo",
    ),
    "a DeBERTa-v3 with DeBERTa's own narrow table": (
        replace(V3, embedding_size=7, widening="before_norm"),
        "deberta-v2",
    ),
    "an ALBERT by distance": (replace(ALBERT, **DISTANT), "sijo"),
    "an ALBERT by distance without places": (replace(ALBERT, positions=None, **DISTANT), "sijo"),
    "an ALBERT that reads to the left": (replace(ALBERT, reads="left"), "sijo"),
    "a causal reader with distances": (replace(CTRL, positions=None, distances=Disentangled(span=9)), "sijo"),
    "a CTRL with segments": (replace(CTRL, token_types=2), "sijo"),
    "a BERT with shared layers": (replace(ALBERT, embedding_size=12, widening=None), "sijo"),
    "a ModernBERT": (MODERN, "modernbert"),
    "ModernBERT's parts with ALBERT's sharing": (
        replace(MODERN, schedule=(0, 0, 0), norm=PreNorm(), embedding_size=8, widening="after_norm"),
        "sijo",
    ),
    "ModernBERT's parts after BERT's places": (replace(MODERN, positions=Learned(count=20), token_types=2), "sijo"),
    "a ModernBERT that reads to the left": (replace(MODERN, reads="left"), "sijo"),
    "a DeBERTa-v3 that reads near tokens, gated": (
        replace(V3, window=Window(reach=2), feed_forward="gated", biases=("norm",)),
        "sijo",
    ),
    "a palindrome": (replace(ALBERT, schedule=(0, 1, 2, 1, 0)), "sijo"),
}

ENCODERS = [name for name in FAMILIES if FAMILIES[name].needs is None]
"""Families of which a folder need not have a head."""
PUBLISHED = [name for name in ENCODERS if name != "sijo"]


def batch(architecture):
    chance = torch.Generator().manual_seed(3)
    ids = torch.randint(1, architecture.vocab_size, (3, 8), generator=chance)
    keep = torch.arange(8) < torch.tensor([[8], [5], [1]])
    if isinstance(architecture, EncoderDecoder):
        ids[:, 0] = architecture.decoder.end
    return ids, keep, ids % max(architecture.token_types, 1)


def bits(one, two, architecture):
    """Two models are the same, tensor by tensor and answer by answer."""
    assert set(one.state_dict()) == set(two.state_dict())
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name]), name
    with torch.inference_mode():  # copies: where weights mapped from a file begin in memory may move the last bit
        a, b = (deepcopy(model)(*batch(architecture)) for model in (one, two))
    assert torch.equal(a.last_hidden_state, b.last_hidden_state)
    assert set(a.answers) == set(b.answers)
    assert all(torch.equal(answer, b.answers[head]) for head, answer in a.answers.items())


@pytest.mark.parametrize("name", MIXES)
def test_a_mix_with_every_head_opens_again_bit_for_bit(tmp_path, name):
    # kills: a mix saved under a family that cannot say all of it, a head that is lost with it, or one that comes
    # back as another
    architecture, model_type = MIXES[name]
    possible = [head for head in HEADS if head != "lm" or architecture.hidden_size == architecture.embedding_size]
    model = scramble(create(architecture, possible, labels=["a", "b", "c"]))
    folder = save(model, tmp_path / "all")
    said = json.loads((folder / "config.json").read_text())
    assert said["model_type"] in (model_type, "sijo")  # some heads no family published together
    assert describe(folder).heads == tuple(possible)
    opened = load(folder, head=possible)
    bits(model, opened, architecture)
    assert opened.labels == ("a", "b", "c") and opened.architecture == architecture

    alone = save(scramble(create(architecture)), tmp_path / "alone")
    assert json.loads((alone / "config.json").read_text())["model_type"] == model_type
    assert describe(alone).heads == ()

    first = list(MIXES).index(name)
    for head in possible[first % 4 :: 4]:  # two of them by themselves, other ones for each mix
        one = load(folder, head=head)
        bits(one, load(save(one, tmp_path / head), head=head), architecture)
        assert describe(tmp_path / head).heads == (head,)
    bare = save(load(folder), tmp_path / "bare")
    assert describe(bare).heads == ()
    bits(load(folder), load(bare), architecture)


@pytest.mark.parametrize("model_type", PUBLISHED)
def test_a_student_of_fewer_layers_stays_in_its_family(shelf, tmp_path, model_type):
    # kills: a shallower model that no longer says what it is, and that transformers cannot open
    import transformers

    truth = shelf.truth(next(c for c in cases(model_type, "lesson") if c.is_public and c.layout is None))
    teacher = truth.open()
    a = teacher.architecture
    student = create(replace(a, schedule=a.schedule[:1]))
    student.transformer.load_state_dict(
        {n: t for n, t in teacher.transformer.state_dict().items() if n in student.transformer.state_dict()}
    )
    folder = save(student, tmp_path / "student")
    said = json.loads((folder / "config.json").read_text())["model_type"]
    expected = "electra" if a.widening == "after_norm" else model_type  # one layer shares nothing
    assert said == ("roberta" if expected in ("xlm-roberta", "camembert") else expected)  # as networks they are one
    opened = load(folder)
    bits(student, opened, a)
    public = transformers.AutoModel.from_pretrained(folder).eval()
    ids, keep, types = batch(a)
    kinds = {} if model_type in ("ctrl", "distilbert", "mpnet") or not a.token_types else {"token_type_ids": types}
    with torch.inference_mode():
        want = public(ids, attention_mask=keep.long(), **kinds).last_hidden_state
        got = opened(ids, keep, types).last_hidden_state
    assert (got - want)[keep].abs().max().item() < 1e-4


def test_a_copied_student_repeats_its_teacher():
    # kills: names that join the wrong tensors of BERT and DistilBERT (distilbert.md, 10.8)
    config = {"vocab_size": 41, "hidden_size": 12, "num_attention_heads": 3, "intermediate_size": 14}
    bert = FAMILIES["bert"].config.read(config | {"num_hidden_layers": 3}).architecture()
    teacher = scramble(create(bert))
    student = create(replace(bert, token_types=0, dropout=replace(bert.dropout, attention_output=0.0)))
    assert student.family.model_type == "distilbert"
    weights = {name: t for name, t in teacher.state_dict().items() if "segments" not in name}
    segment = teacher.transformer.embeddings.segments.weight[0]
    weights["transformer.embeddings.tokens.weight"] = weights["transformer.embeddings.tokens.weight"] + segment
    student.load_state_dict(weights)
    ids, keep, _ = batch(bert)
    with torch.inference_mode():
        want = teacher(ids, keep, None, True).hidden_states
        got = student(ids, keep, None, True).hidden_states
    assert max((a - b).abs().max().item() for a, b in zip(want, got, strict=True)) < 1e-5


def test_a_first_deberta_is_a_second_one_with_zero_biases(shelf):
    # kills: distances of v1 that are another mechanism than v2's with maps of their own (deberta.md, 9.8)
    truth = shelf.truth(next(c for c in cases("deberta", "lesson") if c.is_public and c.layout is None))
    first = truth.open()
    a = first.architecture
    second = create(replace(a, distances=replace(a.distances, key_bias=True)))
    weights = {name: torch.zeros_like(tensor) for name, tensor in second.state_dict().items()}
    second.load_state_dict(weights | first.state_dict())
    assert first.family.model_type == "deberta" and second.family.model_type == "deberta-v2"
    with torch.inference_mode():
        one, two = (model(*batch(a), True).hidden_states for model in (first, second))
    assert max((x - y).abs().max().item() for x, y in zip(one, two, strict=True)) < 1e-5


@pytest.mark.parametrize("model_type", ENCODERS)
def test_a_fresh_head_on_every_family(shelf, tmp_path, model_type):
    # kills: a fresh head with the labels of another, one drawn where the rest is moved, and one that is not saved
    truth = shelf.truth(next(case for case in cases(model_type, "lesson") if case.layout is None))
    for head in {*HEADS} - {OPEN_LABELS}:  # which needs marks in its inputs: test_gliclass.py
        a = truth.open().architecture
        if head == "lm" and a.hidden_size != a.embedding_size:
            with pytest.raises(SettingError, match="hidden_size"):
                load(truth.folder, head="new:lm")
            continue
        model = load(truth.folder, head=f"new:{head}", labels=["no", "yes", "perhaps", "never"])
        assert tuple(model.head) == (head,) and model.heads == ()
        tables = [one.transformer.embeddings.tokens.weight for one in (model, truth.open())]
        assert torch.equal(*tables)
        with torch.inference_mode():
            logits = model(*batch(a)).logits
        wide = {"mlm": a.vocab_size, "lm": a.vocab_size, "sop": 2, "question-answering": 2, "multiple-choice": 1}
        columns = wide.get(head, 4)
        assert logits.shape[-1] == columns if head != "rtd" else logits.shape == (3, 8)
        folder = save(model, tmp_path / head)
        assert describe(folder).heads == (head,)
        again = load(folder, head=head)
        bits(model, again, a)
        if columns == 4:
            assert again.labels == ("no", "yes", "perhaps", "never")


def test_a_fresh_head_is_drawn_and_the_rest_is_not(shelf):
    # kills: a fresh head of zeros, and one whose norms are not 1
    truth = shelf.truth(next(case for case in cases("bert", "lesson") if case.layout is None))
    torch.manual_seed(5)
    model = load(truth.folder, head="new:mlm", dtype="bfloat16")
    head = model.head["mlm"]
    assert head.dense.weight.dtype is torch.bfloat16 and 0.01 < head.dense.weight.float().std() < 0.03
    assert head.norm.weight.eq(1).all() and not head.bias.any() and not head.dense.bias.any()
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("model_type", ENCODERS)
def test_absent_and_unknown_heads_list_what_there_is(shelf, model_type):
    # kills: an error that leaves one to guess which heads there are
    truth = shelf.truth(next(case for case in cases(model_type, "lesson") if case.layout is not None))
    there = ", ".join(truth.heads)
    absent = next(head for head in HEADS if head not in truth.heads)
    with pytest.raises(SettingError, match=f"holds no {absent} head; it holds: {there}"):
        load(truth.folder, head=absent)
    with pytest.raises(SettingError, match=r"no head 'maskedlm'.*there are .*sequence-classification"):
        load(truth.folder, head="maskedlm")
    with pytest.raises(SettingError, match="no head 'maskedlm'"):
        load(truth.folder, head="new:maskedlm")
    bare = shelf.truth(next(case for case in cases(model_type, "lesson") if case.layout is None))
    with pytest.raises(SettingError, match="it holds: none"):
        load(bare.folder, head=absent)


def test_several_heads_at_once(shelf):
    # kills: one head that answers for two, and a fresh one that replaces a held one
    case = next(case for case in cases("albert", "public") if case.layout and case.layout.name == "sop")
    truth = shelf.truth(case)
    both = load(truth.folder, head=("mlm", "sop"))
    three = load(truth.folder, head=["mlm", "sop", "new:token-classification"], labels=["a", "b", "c"])
    given = case.batch().values()
    with torch.inference_mode():
        one, two = both(*given), three(*given)
        alone = [load(truth.folder, head=head)(*given) for head in ("mlm", "sop")]
    assert both.unused == () and one.logits is None and set(two.answers) == {"mlm", "sop", "token-classification"}
    for output, head in zip(alone, ("mlm", "sop"), strict=True):
        assert torch.equal(output.logits, one.answers[head]) and torch.equal(output.logits, two.answers[head])
    assert two.answers["token-classification"].shape[-1] == 3


@pytest.mark.parametrize("model_type", FAMILIES)
def test_what_a_head_leaves_unused_is_named(shelf, model_type):
    # kills: tensors dropped in silence
    truth = shelf.truth(next(case for case in cases(model_type, "lesson") if case.layout is not None))
    encoder = load(truth.folder)
    assert encoder.heads == truth.heads
    held = {full.partition(".")[0] for full in encoder.unused}
    assert encoder.unused and not any(name.startswith("transformer.blocks") for name in encoder.unused)
    loaded = len(encoder.state_dict()) - sum(
        len(group) - 1 for group in encoder.family.fused.values() for _ in range(encoder.architecture.blocks)
    )
    assert loaded + len(encoder.unused) == len(battery.tensors_of(truth.folder)), held


def test_labels_must_be_a_list_of_names(shelf):
    # kills: a word taken for its letters
    truth = shelf.truth(next(case for case in cases("bert", "lesson") if case.layout is None))
    for labels in ("yes", []):
        with pytest.raises(SettingError, match="must be a list of names"):
            load(truth.folder, head="new:sequence-classification", labels=labels)


def test_a_network_to_the_left_ignores_what_follows_on_every_family(shelf):
    # kills: a causal reader whose heads see the future through the convolution or distances
    case = next(case for case in cases("ctrl", "lesson") if case.layout and case.layout.name == "lm")
    model = shelf.truth(case).open()
    ids = case.batch()["input_ids"]
    other = ids.clone()
    other[:, 5:] = 1 + (other[:, 5:] + 1) % 20
    with torch.inference_mode():
        one, two = model(ids).logits, model(other).logits
    assert torch.equal(one[:, :5], two[:, :5]) and not torch.equal(one[:, 5:], two[:, 5:])
