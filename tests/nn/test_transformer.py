"""The Transformer and its heads against a network in plain numbers. Each test names the fault it is to catch."""

import pytest
import torch

from battery import scramble
from reference import network as plain
from reference.plain import activation
from sijo.errors import SettingError, TextError
from sijo.nn.architecture import (
    Architecture,
    ConvolutionSpec,
    Disentangled,
    DropoutRates,
    Learned,
    PostNorm,
    PreNorm,
    RelativeBias,
    Sinusoidal,
)
from sijo.nn.head_specs import POOLER, ClassifierHeadSpec, LMHeadSpec
from sijo.nn.heads import Network
from sijo.nn.pooling import pool
from sijo.nn.transformer import ACTIVATIONS, Transformer, freeze_below

BERT = {"positions": Learned(count=9), "token_types": 2}
CTRL = {
    "positions": Sinusoidal(count=9, layout="halves"),
    "reads": "left",
    "entry": "scale",
    "norm": PreNorm(eps=1e-3, final_eps=1e-2),
}
DEBERTA = {"distances": Disentangled(span=8, buckets=4, norm="layer_norm"), "norm": PostNorm(eps=1e-7)}
NETWORKS = {
    "bert": BERT,
    "albert": BERT | {"embedding_size": 5, "widening": "after_norm", "schedule": (0, 1, 0, 1)},
    "ctrl": CTRL,
    "roberta": {"positions": Learned(count=12, padding=5), "token_types": 1},
    "mpnet": {"positions": Learned(count=12, padding=3), "relative_bias": RelativeBias(buckets=8, span=4)},
    "to the left, by bias": CTRL | {"positions": None, "relative_bias": RelativeBias(buckets=4, span=3)},
    "deberta": DEBERTA,
    "deberta, v1": {"distances": Disentangled(span=5, projections="own", key_bias=False)},
    "deberta, narrow": DEBERTA | {"embedding_size": 7, "widening": "before_norm"},
    "convolution": DEBERTA | {"convolution": ConvolutionSpec(kernel=3, activation="gelu")},
    "convolution of five in groups": DEBERTA | {"convolution": ConvolutionSpec(kernel=5, groups=3)},
    "to the left, by distance": DEBERTA | CTRL | {"positions": None},
    "convolution before pre-norm": CTRL | {"convolution": ConvolutionSpec()},
}
HEADS = {
    "masked lm": LMHeadSpec(activation="gelu_new"),
    "enhanced masked lm": LMHeadSpec(activation="gelu", places=9),
    "causal lm": LMHeadSpec(),
    "replaced": ClassifierHeadSpec(reads="each", dense="gelu", answers="one"),
    "replaced, beside the first": ClassifierHeadSpec(reads="each_with_first", dense="relu", answers="one"),
    "over a pooler": ClassifierHeadSpec(labels=3, dense="tanh", dense_dropout=0.3, dropout=0.3),
    "of the last": ClassifierHeadSpec(labels=2, reads="last", bias=False),
    "tags": ClassifierHeadSpec(labels=4, reads="each"),
    POOLER: ClassifierHeadSpec(dense="tanh", answers="vector"),
}
IDS, KEEP, TYPES = [3, 30, 0, 7, 8, 5], [True, True, True, True, False, False], [0, 0, 1, 1, 0, 0]


def architecture(**changes):
    sizes = {"vocab_size": 31, "embedding_size": 12, "hidden_size": 12, "heads": 3, "intermediate_size": 10}
    return Architecture(**(sizes | {"schedule": (0, 1)} | changes))


def scrambled(model):
    """Every weight set, in double precision."""
    return scramble(model.double(), 0.4)


def batch(*rows):
    return [torch.tensor([row]) for row in rows]


def weights(model):
    return {name: tensor.tolist() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_matches_the_formulas(name):
    # kills: norms swapped or moved, the norm before attention applied to what is added to, layers out of order,
    # the convolution fed with a layer's output or padding, a final norm left out, and what the parts' tests kill
    model = scrambled(Transformer(architecture(**NETWORKS[name])))
    with torch.inference_mode():
        got = model(*batch(IDS, KEEP, TYPES), output_hidden_states=True)
    want = plain.read(model.architecture, weights(model), IDS, KEEP, TYPES)
    assert torch.equal(got.last_hidden_state, got.hidden_states[-1])
    for depth, (a, b) in enumerate(zip(got.hidden_states, want, strict=True)):
        gap = (a[0, :4] - torch.tensor(b[:4], dtype=a.dtype)).abs().max().item()
        assert gap < 1e-10, f"after layer {depth}: {gap}"


@pytest.mark.parametrize(
    "name, head",
    [
        (name, head)
        for name in ("bert", "deberta", "ctrl")
        for head in HEADS
        if (name, head) != ("ctrl", "enhanced masked lm")  # whose second pass is defined for norms that come after
    ],
)
def test_every_head_matches_the_formulas(name, head):
    # kills: a dense layer, norm, activation or bias left out or moved, the last place taken for the last token, the
    # first token added after the norm, the decoder's queries read as keys, or its places added twice
    model = scrambled(Network(architecture(**NETWORKS[name]), {head: HEADS[head]}))
    with torch.inference_mode():
        output = model(*batch(IDS, KEEP, TYPES))
    got = output.pooler_output if head == POOLER else output.logits

    own = {n.removeprefix(f"{head}."): tensor.tolist() for n, tensor in model.head.state_dict().items()}
    inner = weights(model.transformer)
    states = plain.read(model.architecture, inner, IDS, KEEP, TYPES)
    want = plain.answer(HEADS[head], model.architecture, inner, own, states, KEEP)
    if HEADS[head].kind == "vocabulary" or HEADS[head].reads.startswith("each"):
        got, want = got[:, :4], want[:4]
    torch.testing.assert_close(got[0], torch.tensor(want, dtype=got.dtype), rtol=0, atol=1e-10)


def test_the_mask_decoder_alone_knows_absolute_places():
    # kills: places that the decoder does not add, and places that reach a network of distances otherwise
    model = scrambled(Network(architecture(**DEBERTA), {"mlm": HEADS["enhanced masked lm"], "tags": HEADS["tags"]}))
    ids, keep = batch(IDS[:4], [True] * 4)
    shifted = torch.cat([torch.zeros(1, 3, dtype=torch.int64), ids], 1)
    with torch.inference_mode():
        alone = model(ids, keep).answers
        later = model(shifted, torch.arange(7)[None] >= 3).answers
    torch.testing.assert_close(later["tags"][:, 3:], alone["tags"], rtol=0, atol=1e-12)
    assert (later["mlm"][:, 3:] - alone["mlm"]).abs().max().item() > 1e-3


def test_the_mask_decoder_is_the_last_layer_run_twice():
    # kills: a decoder with a layer of its own, one pass, or the last states in place of those before
    model = scrambled(Network(architecture(**DEBERTA), {"mlm": HEADS["enhanced masked lm"]}))
    ids, keep = batch(IDS, KEEP)
    output = model(ids, keep, output_hidden_states=True)
    before = output.hidden_states[-2]
    seen = model.transformer.views(keep, before)[-1]
    head, last = model.head["mlm"], model.transformer.blocks[1]
    once = last(before, seen, before + head.places.weight[:6])
    assert torch.equal(output.logits, head.decode(last(before, seen, once), model.transformer))


def test_a_convolution_of_nothing_norms_twice():
    # kills: a convolution that is left out where its weights are zero, though its norm stays
    model = scrambled(Transformer(architecture(**NETWORKS["convolution"], schedule=(0,))))
    with torch.no_grad():
        model.convolution.mix.weight.zero_()
        model.convolution.mix.bias.zero_()
    ids, keep = batch(IDS, KEEP)
    embedded = model.embeddings(ids, None, None, keep)
    first = model.blocks[0](embedded, model.views(keep, embedded)[0])
    want = model.convolution.norm(first) * keep[..., None]
    assert torch.equal(model(ids, keep).last_hidden_state, want)
    assert not want[0, 4:].any()


def test_a_shared_block_is_the_same_map_again():
    # kills: a schedule that copies blocks in place of sharing them, and a count that grows with depth
    models = [scrambled(Transformer(architecture(**BERT, schedule=(0,) * layers))) for layers in (1, 4)]
    assert len({sum(weight.numel() for weight in model.parameters()) for model in models}) == 1
    ids, keep, types = batch(IDS, KEEP, TYPES)
    with torch.inference_mode():
        hidden = models[0](ids, keep, types, output_hidden_states=True).hidden_states[0]
        for _ in range(4):
            hidden = models[1].blocks[0](hidden, models[1].views(keep, hidden)[0])
        assert torch.equal(models[1](ids, keep, types).last_hidden_state, hidden)


def test_a_token_does_not_see_what_comes_after():
    # kills: a causal mask that is one off, or that leaves distances or the convolution out
    model = scrambled(Transformer(architecture(**NETWORKS["to the left, by distance"])))
    ids = torch.tensor([IDS])
    other = ids.clone()
    other[0, 3] = 11
    with torch.inference_mode():
        one, two = model(ids).last_hidden_state, model(other).last_hidden_state
    assert torch.equal(one[:, :3], two[:, :3])
    assert (one[:, 3:] - two[:, 3:]).abs().amax(-1).min().item() > 1e-6


@pytest.mark.parametrize("name, value", [("gelu", 0.84134475), ("gelu_new", 0.84119199)])
def test_the_two_gelus(name, value):
    # kills: one in place of the other; they differ by 4.73e-4 at 2.7
    assert ACTIVATIONS[name](torch.tensor(1.0)).item() == pytest.approx(value, abs=1e-7)
    x = torch.linspace(-6, 6, 2401, dtype=torch.float64)
    gap = (ACTIVATIONS["gelu"](x) - ACTIVATIONS["gelu_new"](x)).abs()
    assert gap.max().item() == pytest.approx(4.73e-4, abs=1e-6) and abs(x[gap.argmax()].abs().item() - 2.7) < 0.02


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_match_the_formulas(name):
    # kills: an activation under another's name

    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[name](x), x.new_tensor(activation(name, x.tolist())), rtol=0, atol=1e-12)


def test_without_dropout_of_what_attention_adds_only_the_rest_drops():
    # kills: DistilBERT's missing dropout put back, and dropout in a network that has none (distilbert.md 10.10)
    ids = torch.tensor([IDS])
    for dropout, quiet in (
        (DropoutRates(embeddings=0, attention=0, attention_output=0, hidden=0), True),
        (DropoutRates(embeddings=0, attention=0, attention_output=0.5, hidden=0), False),
        (DropoutRates(embeddings=0, attention=0, attention_output=0, hidden=0.5), False),
        (DropoutRates(embeddings=0.5, attention=0, attention_output=0, hidden=0), False),
        (DropoutRates(embeddings=0, attention=0.5, attention_output=0, hidden=0), False),
    ):
        model = scrambled(Transformer(architecture(**BERT, dropout=dropout))).train()
        one, two = (model(ids).last_hidden_state for _ in range(2))
        assert torch.equal(one, two) == quiet, dropout


def test_choices_are_rows_of_their_own():
    # kills: choices that see each other, scores in another order, and hidden states that were asked for and dropped
    network = scrambled(
        Network(architecture(**BERT), {"multiple-choice": ClassifierHeadSpec(labels=1, dense="tanh")})
    )
    ids = torch.randint(31, (2, 3, 5), generator=torch.Generator().manual_seed(0))
    keep = torch.arange(5) < torch.tensor([[[5], [3], [1]], [[2], [5], [4]]])
    types = ids % 2
    output = network(ids, keep, types, output_hidden_states=True)
    flat = network(ids.flatten(0, 1), keep.flatten(0, 1), types.flatten(0, 1))
    assert torch.equal(output.logits, flat.logits.view(2, 3))
    assert torch.equal(output.answers["multiple-choice"], output.logits)
    assert len(output.hidden_states) == 3
    places = torch.arange(4, 9).expand(2, 3, 5)
    assert not torch.equal(network(ids, keep, types, position_ids=places).logits, output.logits)
    tagger = Network(architecture(**BERT), {"tags": ClassifierHeadSpec(labels=1, reads="each")})
    for other in (Network(architecture(**BERT)), tagger):
        with pytest.raises(SettingError, match="multiple-choice head"):
            other(ids)


def test_several_heads_answer_by_name():
    # kills: a head that answers for another, and logits of one of several
    model = scrambled(Network(architecture(**BERT), {"mlm": HEADS["masked lm"], "tags": HEADS["tags"]}))
    output = model(torch.tensor([IDS]))
    assert {name: tuple(answer.shape) for name, answer in output.answers.items()} == {
        "mlm": (1, 6, 31),
        "tags": (1, 6, 4),
    }
    assert output.logits is None and output.hidden_states is None


def test_too_long_an_input_is_refused():
    # kills: an index error deep in torch, and places of the mask decoder that run out, or are one and stretched
    ids = torch.zeros(1, 10, dtype=torch.int64)
    with pytest.raises(TextError, match="10 tokens is longer than the 9 places"):
        Transformer(architecture(**BERT))(ids)
    for places in (1, 9):
        model = Network(architecture(**DEBERTA), {"mlm": LMHeadSpec(activation="gelu", places=places)})
        with pytest.raises(TextError, match=f"10 tokens is longer than the {places} places"):
            model(ids)


@pytest.mark.parametrize(
    "words, changes",
    [
        ("heads=5", {"heads": 5}),
        ("schedule=", {"schedule": ()}),
        ("without a gap", {"schedule": (0, 2)}),
        ("widening", {"embedding_size": 5}),
        ("groups=5", {"convolution": ConvolutionSpec(groups=5)}),
        ("vocab_size=0", {"vocab_size": 0}),
        ("token_types=-1", {"token_types": -1}),
        ("at most", {"schedule": tuple(range(1001))}),
    ],
)
def test_impossible_architectures_are_refused(words, changes):
    # kills: a bad value that would only fail at the first forward pass, or ask for terabytes
    with pytest.raises(SettingError, match=words):
        architecture(**changes)


@pytest.mark.parametrize(
    "words, value, fields",
    [
        ("kernel=4", ConvolutionSpec, {"kernel": 4}),
        ("span=0", Disentangled, {"span": 0}),
        ("span=5", Disentangled, {"span": 5, "buckets": 8}),
        ("terms", Disentangled, {"span": 5, "terms": ("p2p",)}),
        ("terms", Disentangled, {"span": 5, "terms": ("c2p", "c2p")}),
        ("count=0", Learned, {"count": 0}),
        ("count=0", Sinusoidal, {"count": 0}),
        ("eps=0", PostNorm, {"eps": 0}),
        ("final_eps=1", PreNorm, {"final_eps": 1}),
        ("hidden=1", DropoutRates, {"hidden": 1}),
    ],
)
def test_impossible_parts_are_refused(words, value, fields):
    # kills: a part that takes what it cannot be
    with pytest.raises(SettingError, match=words):
        value(**fields)


def test_a_head_that_needs_equal_widths_says_so():
    # kills: a shape error in the first forward pass
    narrow = architecture(embedding_size=5, widening="after_norm", **BERT)
    for head in ("causal lm", "enhanced masked lm"):
        with pytest.raises(SettingError, match="hidden_size=12"):
            Network(narrow, {head: HEADS[head]})
    Network(narrow, {"mlm": HEADS["masked lm"]})


def test_pooling_reads_only_real_tokens():
    # kills: a mean over padding, a maximum that padding wins, and the wrong token for cls
    hidden_BLD = torch.tensor([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]]])
    keep_BL = torch.tensor([[1, 1, 0]])
    assert pool(hidden_BLD, keep_BL, "mean").tolist() == [[2.0, -3.0]]
    assert pool(hidden_BLD, keep_BL, "max").tolist() == [[3.0, -2.0]]
    assert pool(hidden_BLD, keep_BL, "cls").tolist() == [[1.0, -4.0]]
    assert pool(hidden_BLD[:, :2], None, "mean").tolist() == [[2.0, -3.0]]


@pytest.mark.parametrize("name", [*NETWORKS, "norm first"])
@pytest.mark.parametrize("recompute", [False, True])
def test_states_that_are_wanted_are_those_of_the_whole(name, recompute):
    # kills: a row that got its neighbour's places, a place added to another's state, keys from the wanted places
    # alone, padding read there, a layer cut short whose places depend on each other, a gradient that is lost
    none = DropoutRates(embeddings=0, attention=0, attention_output=0, hidden=0)
    network = scrambled(Transformer(architecture(**NETWORKS.get(name, {"norm": PreNorm()}), dropout=none))).train()
    network.recompute = recompute
    ids, keep = torch.tensor([IDS, IDS[::-1], IDS]), torch.tensor([KEEP, [True] * 6, KEEP])
    wanted = torch.tensor([[True, False, True, False, False, False], [False] * 5 + [True], [False] * 6])
    whole, few = (network(ids, keep, wanted=places).last_hidden_state for places in (None, wanted))
    torch.testing.assert_close(few[wanted], whole[wanted], rtol=0, atol=1e-12)
    a = network.architecture
    plainest = a.distances is None and a.relative_bias is None and a.reads == "both_sides"
    assert few[~wanted].any() != (plainest and not isinstance(network.architecture.norm, PreNorm))
    gradients = []
    for states in (whole, few):
        network.zero_grad()
        (states[wanted] * torch.arange(12)).sum().backward()
        gradients.append(
            [torch.zeros_like(part) if part.grad is None else part.grad for part in network.parameters()]
        )
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    most = torch.ones(3, 6, dtype=torch.bool)
    assert torch.equal(network(ids, keep, wanted=most).last_hidden_state, whole)


@pytest.mark.parametrize("layers", [1, 2])
def test_only_the_top_layers_learn(layers):
    # kills: a layer from the bottom that is trained, an embedding or a table of distances that is, a frozen layer
    # that keeps what a gradient would need, a final norm left out
    for more in (BERT, DEBERTA, {"norm": PreNorm(eps=1e-3, final_eps=1e-2), "positions": Learned(count=9)}):
        sizes = {"vocab_size": 11, "embedding_size": 8, "hidden_size": 8, "heads": 2, "intermediate_size": 12}
        network = Transformer(Architecture(**{**sizes, "schedule": (0, 1, 2), **more}))
        freeze_below(network, layers)
        states = []
        for block in network.blocks:
            block.register_forward_hook(lambda part, inputs, out, states=states: states.append(out.requires_grad))
        network(torch.tensor([[1, 2, 3]])).last_hidden_state.sum().backward()
        assert states == [number >= 3 - layers for number in range(3)]
        learned = {name.rpartition(".")[0] for name, part in network.named_parameters() if part.grad is not None}
        tops = tuple(f"blocks.{number}." for number in range(3 - layers, 3))
        assert {name for name in learned if not name.startswith(tops)} == (
            {"final_norm"} if network.final_norm is not None else set()
        )
        assert all(part.requires_grad for name, part in network.named_parameters() if name.startswith(tops))


def test_layers_that_cannot_be_trained_alone():
    # kills: a shared layer that is trained below too, more layers than there are
    sizes = {"vocab_size": 11, "embedding_size": 8, "hidden_size": 8, "heads": 2, "intermediate_size": 12} | BERT
    shared = Transformer(Architecture(**sizes, schedule=(0, 1, 0, 1)))
    with pytest.raises(SettingError, match="shares its layers, and block 1"):
        freeze_below(shared, 1)
    freeze_below(Transformer(Architecture(**sizes, schedule=(0, 1, 1))), 2)
    for layers in (0, 5):
        with pytest.raises(SettingError, match=f"{layers} top layers"):
            freeze_below(shared, layers)
