"""The joint ELECTRA step and DeBERTaV3's sharing, beside transformers' two classes and in plain numbers."""

from dataclasses import replace

import pytest
import torch
import transformers

import sijo
from objectives.conftest import learned, moved, opened, published_names
from objectives.test_token_loss import plain_draw
from sijo.errors import SettingError
from sijo.nn.architecture import Architecture, Disentangled, DropoutRates
from sijo.objectives.masking import Masking
from sijo.objectives.mlm import MaskedLM
from sijo.objectives.rtd import OffsetTable, ReplacedTokenDetection

MASKING = Masking(share=0.3, mask=0.85, keep=0.15, random=0.0)
NONE = DropoutRates(embeddings=0, attention=0, attention_output=0, hidden=0)


@pytest.fixture
def pair(tokenizer, tmp_path):
    """transformers' pair of networks with shared embeddings, every weight moved; and ours of the same."""
    shared = {"vocab_size": tokenizer.vocab_size, "embedding_size": 16, "max_position_embeddings": 32}
    sizes = {"num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 24}
    small = transformers.ElectraConfig(hidden_size=8, **sizes, **shared)
    large = transformers.ElectraConfig(hidden_size=20, **sizes, **shared)
    generator = moved(transformers.ElectraForMaskedLM(small), seed=1).eval()
    discriminator = moved(transformers.ElectraForPreTraining(large), seed=2).eval()
    discriminator.electra.embeddings = generator.electra.embeddings
    ours = opened(generator, tmp_path / "g", "mlm"), opened(discriminator, tmp_path / "d", "rtd")
    names = [published_names(model) for model in ours]
    return (
        (generator, discriminator),
        ReplacedTokenDetection(*ours, MaskedLM(MASKING, tokenizer), sharing="tied"),
        names,
    )


def test_loss_and_gradients_are_those_of_the_two_public_classes(pair, questions):
    # kills: a mean over all tokens in place of those asked for, padding in the second loss, a lucky guess counted
    # as replaced, a gradient through the sample, a table or the norm over it not shared, a weight of 1 for 50
    (generator, discriminator), ours, names = pair
    question = questions(ours, segments="one_or_two", short=0.2)
    loss, gradients = learned(ours, question)

    keep, types = question.keep.long(), question.token_type_ids
    logits = generator(question.input_ids, keep, types).logits
    labels = torch.where(question.target_mask, question.targets, -100)
    masked = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    ids = question.targets.clone()
    for row, place in question.target_mask.nonzero().tolist():
        ids[row, place] = plain_draw(logits[row, place].tolist(), float(question.uniforms[row, place]))
    fake = (ids != question.targets).long()
    replaced = discriminator(ids, keep, types, labels=fake).loss
    (masked + 50 * replaced).backward()

    assert (
        20 < int(fake.sum()) < int(question.target_mask.sum())
    )  # some guesses are right, or the test would be blind
    assert loss == pytest.approx(float(masked + 50 * replaced), abs=1e-5, rel=1e-6)
    compared = 0
    for prefix, theirs, table in (("generator", generator, names[0]), ("discriminator", discriminator, names[1])):
        for name, public in table.items():
            mine = gradients.get(f"{prefix}.{name}")
            if mine is not None:
                want = theirs.get_parameter(public).grad
                scale = max(1.0, float(want.abs().max()))
                torch.testing.assert_close(
                    mine / scale, want / scale, rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
                )
                compared += 1
    assert compared == len(gradients)


def test_nothing_flows_from_the_discriminator_into_the_generator(pair, questions):
    # kills: a sample that carries a gradient (Gumbel-softmax, straight-through)
    _, ours, _ = pair
    question = questions(ours)
    ours.zero_grad()
    ours(question)["rtd"].total.backward()
    own = [name for name, part in ours.generator.named_parameters() if part.grad is not None and part.grad.any()]
    assert own and all(name.startswith("transformer.embeddings.") and "project" not in name for name in own)


def deberta(tokenizer, layers):
    return Architecture(
        vocab_size=tokenizer.vocab_size,
        embedding_size=16,
        hidden_size=16,
        heads=2,
        intermediate_size=24,
        schedule=tuple(range(layers)),
        distances=Disentangled(span=32, buckets=8, norm="layer_norm"),
        dropout=NONE,
    )


@pytest.fixture
def gdes(tokenizer):
    """DeBERTaV3's pair under gradient-disentangled sharing, every weight moved."""
    torch.manual_seed(0)
    small, large = sijo.create(deberta(tokenizer, 1), "mlm"), sijo.create(deberta(tokenizer, 2), "rtd")
    return ReplacedTokenDetection(moved(small), moved(large, seed=5), MaskedLM(MASKING, tokenizer), sharing="gdes")


def test_each_loss_moves_its_own_table(gdes, questions):
    # kills: base not detached (ELECTRA's sharing under another name), delta without a gradient, a masked loss that
    # reaches delta
    question = questions(gdes, cut="stream")
    base = gdes.generator.transformer.embeddings.tokens.weight
    delta = gdes.discriminator.transformer.embeddings.tokens.delta
    gdes.zero_grad()
    gdes(question)["rtd"].total.backward()
    assert base.grad is None or not base.grad.any()
    assert delta.grad.any()
    gdes.zero_grad()
    gdes(question)["mlm"].total.backward()
    assert base.grad.any()
    assert delta.grad is None or not delta.grad.any()


def test_the_merged_table_is_the_sum_and_is_what_is_kept(gdes, questions, tmp_path):
    # kills: an export of the generator's table, or of the offset alone
    offset = gdes.discriminator.transformer.embeddings.tokens
    assert isinstance(offset, OffsetTable) and not offset.delta.any()  # starts as the generator's
    with torch.no_grad():
        offset.delta.normal_()
    base = gdes.generator.transformer.embeddings.tokens.weight
    question = questions(gdes, cut="stream")
    scores = gdes.eval().scores(replace(question, input_ids=question.targets))
    gdes.merge()
    kept = gdes.networks()["discriminator"].state_dict()
    assert torch.equal(kept["transformer.embeddings.tokens.weight"], base + offset.delta)
    plain = sijo.create(gdes.discriminator.architecture, "rtd")
    plain.load_state_dict(kept)
    alone = plain(question.targets, question.keep, question.token_type_ids).logits
    assert torch.equal(alone[question.keep], scores[question.keep])


def test_continuing_from_a_published_pair_begins_with_the_difference(tokenizer):
    # kills: the released defect: an offset of 0 makes the discriminator start with the generator's table
    small, large = sijo.create(deberta(tokenizer, 1), "mlm"), sijo.create(deberta(tokenizer, 2), "rtd")
    moved(small), moved(large, seed=9)
    want = large.transformer.embeddings.tokens.weight.detach().clone()
    joint = ReplacedTokenDetection(small, large, MaskedLM(MASKING, tokenizer), sharing="gdes", started=True)
    joint.merge()
    merged = joint.networks()["discriminator"].transformer.embeddings.tokens.weight
    torch.testing.assert_close(merged, want, rtol=0, atol=1e-6)


def test_none_shares_nothing(tokenizer):
    # kills: a sharing that cannot be switched off
    small, large = sijo.create(deberta(tokenizer, 1), "mlm"), sijo.create(deberta(tokenizer, 2), "rtd")
    joint = ReplacedTokenDetection(small, large, MaskedLM(MASKING, tokenizer), sharing="none")
    both = [{id(part) for part in network.parameters()} for network in (joint.generator, joint.discriminator)]
    assert not both[0] & both[1]


def test_special_tokens_and_places_not_asked_for_stay(gdes, questions):
    # kills: a sample written to a place that was not asked for
    question = questions(gdes, cut="stream")
    _, ids, _ = gdes._read(question)
    assert torch.equal(ids[~question.target_mask], question.targets[~question.target_mask])
    assert not (question.target_mask & question.special).any()
    assert (ids != question.targets).sum() > 0.8 * question.target_mask.sum()


@pytest.mark.parametrize(
    "change, words",
    [({"vocab_size": 9}, "vocab_size"), ({"embedding_size": 8, "widening": "before_norm"}, 'sharing="none"')],
)
def test_networks_that_cannot_share_a_table(tokenizer, change, words):
    # kills: a table that is quietly not shared, or an error from inside torch
    architecture = deberta(tokenizer, 1)
    small, large = sijo.create(replace(architecture, **change), "mlm"), sijo.create(architecture, "rtd")
    with pytest.raises(SettingError, match=words):
        ReplacedTokenDetection(small, large, MaskedLM(MASKING, tokenizer), sharing="gdes")


def test_places_and_segments_are_shared_as_electra_does(pair):
    # kills: one of the five tensors that ELECTRA's two networks share left apart
    _, ours, _ = pair
    small, large = ours.generator.transformer.embeddings, ours.discriminator.transformer.embeddings
    for name in ("tokens", "places", "segments", "norm"):
        assert getattr(small, name) is getattr(large, name)
    assert small.project is not large.project
