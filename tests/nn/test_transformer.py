"""The Transformer against formulas in plain numbers, and against the public implementations of three families.

BERT is what the package opens today. ELECTRA's narrow table and ALBERT's shared layers are here to show
that the parts already carry them: only names are missing.
"""

import math

import pytest
import torch

from sijo.errors import SettingError, TextError
from sijo.models import bert
from sijo.nn.architecture import Architecture, Learned
from sijo.nn.attention import SelfAttention, padding_bias
from sijo.nn.pooling import pool
from sijo.nn.transformer import Transformer

SIZES = {"vocab_size": 99, "intermediate_size": 52, "heads": 4, "hidden_size": 28}


def architecture(**changes) -> Architecture:
    sizes = {**SIZES, "embedding_size": 28, "schedule": (0, 1, 2), "positions": Learned(count=40), "token_types": 2}
    return Architecture(**(sizes | changes))


def scramble(model: torch.nn.Module, size: float = 0.3) -> torch.nn.Module:
    """Move every weight. Fresh biases are all 0 and fresh norms all 1, so untouched they hide a swap."""
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance) * size)
    return model.eval()


def reference_attention(hidden, weights, keep, heads):
    """Attention of one sequence, from plain lists of floats and the formula of Vaswani et al., section 3.2.

    `weights` holds (matrix, bias) for query, key, value and output; rows of a matrix are outputs.
    """

    def linear(vector, matrix, bias):
        return [
            math.fsum(w * x for w, x in zip(row, vector, strict=True)) + b
            for row, b in zip(matrix, bias, strict=True)
        ]

    q, k, v = ([linear(vector, *weights[name]) for vector in hidden] for name in ("query", "key", "value"))
    size = len(hidden[0]) // heads
    out = []
    for i in range(len(hidden)):
        read = []
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            scores = [
                math.fsum(a * b for a, b in zip(q[i][part], k[j][part], strict=True)) / math.sqrt(size)
                for j in range(len(hidden))
            ]
            raised = [math.exp(s) if keep[j] else 0.0 for j, s in enumerate(scores)]
            shares = [r / math.fsum(raised) for r in raised]
            read += [math.fsum(shares[j] * v[j][part][c] for j in range(len(hidden))) for c in range(size)]
        out.append(linear(read, *weights["out"]))
    return out


def test_attention_matches_the_formula():
    """Catches a wrong scale, heads split the wrong way, query and key swapped, padding that is read."""
    part = scramble(SelfAttention(architecture(hidden_size=6, embedding_size=6, heads=3)).double(), 1.0)
    hidden_BLD = torch.randn(1, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    keep = [True, True, False, True, False]
    weights = {name: (m.weight.tolist(), m.bias.tolist()) for name, m in part.named_children()}
    got = part(hidden_BLD, padding_bias(torch.tensor([keep]), like=hidden_BLD))
    want = torch.tensor([reference_attention(hidden_BLD[0].tolist(), weights, keep, 3)], dtype=torch.float64)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def families():
    """Public models at odd sizes, our architecture, and what their tensors are called here."""
    import transformers

    common = {
        "vocab_size": 99,
        "hidden_size": 28,
        "num_attention_heads": 4,
        "intermediate_size": 52,
        "max_position_embeddings": 40,
        "layer_norm_eps": 1e-12,
    }
    block = [pair for pair in bert.NAMES if pair[0].startswith("blocks")]
    embeddings = [pair for pair in bert.NAMES if pair[0].startswith("embeddings")]
    yield (
        "bert",
        transformers.BertModel(transformers.BertConfig(num_hidden_layers=3, **common), add_pooling_layer=False),
        architecture(),
        bert.NAMES,
    )
    yield (
        "bert, gelu_new, one token type",
        transformers.BertModel(
            transformers.BertConfig(num_hidden_layers=3, hidden_act="gelu_new", type_vocab_size=1, **common),
            add_pooling_layer=False,
        ),
        architecture(activation="gelu_new", token_types=1),
        bert.NAMES,
    )
    yield (
        "electra",
        transformers.ElectraModel(transformers.ElectraConfig(num_hidden_layers=3, embedding_size=12, **common)),
        architecture(embedding_size=12),
        [*embeddings, *block, ("embeddings.project", "embeddings_project")],
    )
    shared = "encoder.albert_layer_groups.{n}.albert_layers.0."
    yield (
        "albert",
        transformers.AlbertModel(
            transformers.AlbertConfig(
                num_hidden_layers=4, num_hidden_groups=2, embedding_size=12, hidden_act="gelu_new", **common
            ),
            add_pooling_layer=False,
        ),
        architecture(embedding_size=12, activation="gelu_new", schedule=(0, 0, 1, 1)),
        [
            *embeddings,
            ("embeddings.project", "encoder.embedding_hidden_mapping_in"),
            ("blocks.{n}.attention.query", shared + "attention.query"),
            ("blocks.{n}.attention.key", shared + "attention.key"),
            ("blocks.{n}.attention.value", shared + "attention.value"),
            ("blocks.{n}.attention.out", shared + "attention.dense"),
            ("blocks.{n}.attention_norm", shared + "attention.LayerNorm"),
            ("blocks.{n}.widen", shared + "ffn"),
            ("blocks.{n}.narrow", shared + "ffn_output"),
            ("blocks.{n}.output_norm", shared + "full_layer_layer_norm"),
        ],
    )


@pytest.mark.parametrize("number", range(4))
def test_matches_transformers_after_every_layer(number):
    """Catches norms swapped, a projection on the wrong side of the norm, layers out of order, the other gelu,

    token types left out, and padding that is read; each shows at the layer where it happens.
    """
    pytest.importorskip("transformers")
    name, theirs, ours_to_be, names = list(families())[number]
    scramble(theirs)
    ours = Transformer(ours_to_be)
    published = theirs.state_dict()
    mapped = {}
    for our, their in names:
        for n in range(ours_to_be.blocks) if "{n}" in our else [0]:
            for leaf in ("weight", "bias"):
                tensor = published.pop(f"{their.format(n=n)}.{leaf}", None)
                if tensor is not None:
                    mapped[f"{our.format(n=n)}.{leaf}"] = tensor
    assert not [left for left in published if "position_ids" not in left and "token_type_ids" not in left]
    ours.load_state_dict(mapped)
    ours.eval()

    chance = torch.Generator().manual_seed(1)
    ids_BL = torch.randint(99, (3, 11), generator=chance)
    types_BL = torch.randint(ours_to_be.token_types, (3, 11), generator=chance)
    keep_BL = torch.arange(11) < torch.tensor([[11], [7], [1]])  # full, padded, and a single token
    with torch.inference_mode():
        want = theirs(ids_BL, keep_BL.long(), types_BL, output_hidden_states=True).hidden_states
        got = ours(ids_BL, keep_BL, types_BL, output_hidden_states=True)
    assert got.last_hidden_state is got.hidden_states[-1]
    if name == "albert":  # transformers counts the projected embeddings, as we do
        assert want[0].shape == got.hidden_states[0].shape
    for depth, (a, b) in enumerate(zip(want, got.hidden_states, strict=True)):
        torch.testing.assert_close(
            b[keep_BL],
            a[keep_BL],
            rtol=0,
            atol=1e-5,
            msg=lambda m, depth=depth: f"{name}, after layer {depth}: {m}",
        )


def test_padding_does_not_matter():
    """Catches padding that reaches real tokens, by attention or by places counted from the wrong end."""
    model = scramble(Transformer(architecture()))
    ids_BL = torch.randint(99, (1, 7), generator=torch.Generator().manual_seed(2))
    padded_BL = torch.cat([ids_BL, torch.zeros(1, 5, dtype=torch.int64)], 1)
    with torch.inference_mode():
        alone = model(ids_BL).last_hidden_state
        padded = model(padded_BL, torch.arange(12)[None] < 7).last_hidden_state[:, :7]
    torch.testing.assert_close(padded, alone, rtol=0, atol=1e-5)


def test_a_row_of_padding_alone_attends_evenly():
    """Catches minus infinity as the mask: such a row is then NaN or zeros, unlike the released code."""
    part = scramble(SelfAttention(architecture()))
    hidden_BLD = torch.randn(1, 4, 28, generator=torch.Generator().manual_seed(3))
    got = part(hidden_BLD, padding_bias(torch.zeros(1, 4), like=hidden_BLD))
    want = part.out(part.value(hidden_BLD).mean(1, keepdim=True)).expand_as(got)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def test_shared_layers_are_counted_once_and_all_weights_learn():
    """Catches a schedule that copies blocks instead of sharing them, and a part left out of the graph."""
    shared, apart = (Transformer(architecture(schedule=s, embedding_size=12)) for s in ((0, 0, 0), (0, 1, 2)))
    block = sum(p.numel() for p in shared.blocks[0].parameters())
    assert sum(p.numel() for p in apart.parameters()) - sum(p.numel() for p in shared.parameters()) == 2 * block
    ids_BL = torch.randint(99, (2, 9), generator=torch.Generator().manual_seed(3))
    shared(ids_BL).last_hidden_state.pow(3).sum().backward()
    assert [name for name, p in shared.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_too_long_an_input_is_refused():
    """Catches an index error deep in torch."""
    with pytest.raises(TextError, match="41 tokens is longer than the 40 places"):
        Transformer(architecture())(torch.zeros(1, 41, dtype=torch.int64))


@pytest.mark.parametrize("changes", [{"heads": 5}, {"schedule": ()}, {"schedule": (0, 2)}])
def test_impossible_architectures_are_refused(changes):
    """Catches a bad value that would only fail at the first forward pass."""
    with pytest.raises(SettingError):
        architecture(**changes)


def test_pooling_reads_only_real_tokens():
    """Catches a mean over padding, a maximum that padding wins, and the wrong token for cls."""
    hidden_BLD = torch.tensor([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]]])
    keep_BL = torch.tensor([[1, 1, 0]])
    assert pool(hidden_BLD, keep_BL, "mean").tolist() == [[2.0, -3.0]]
    assert pool(hidden_BLD, keep_BL, "max").tolist() == [[3.0, -2.0]]
    assert pool(hidden_BLD, keep_BL, "cls").tolist() == [[1.0, -4.0]]
    assert pool(hidden_BLD[:, :2], None, "mean").tolist() == [[2.0, -3.0]]
