"""What a token costs, beside torch's own count of the same pass. Each test names the fault it is to catch."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sijo.nn.architecture import (
    Architecture,
    ConvolutionSpec,
    Disentangled,
    Learned,
    PreNorm,
    RelativeBias,
    Rotary,
    Sinusoidal,
    Window,
)
from sijo.nn.head_specs import ClassifierHeadSpec, LMHeadSpec
from sijo.nn.heads import HeadInput, Network
from sijo.training import cost
from sijo.training.cost import flops_per_token, matmul_peak, training_flops

SEQUENCES, LENGTH = 3, 14
ASKED = 5  # tokens of the 42

PLAIN = Architecture(
    vocab_size=71, embedding_size=24, hidden_size=24, heads=3, intermediate_size=40, schedule=(0, 1, 2)
)
BERT = replace(PLAIN, positions=Learned(count=20), token_types=2)
ALBERT = replace(BERT, embedding_size=10, schedule=(0, 0, 1, 1), widening="after_norm")
V1 = replace(PLAIN, distances=Disentangled(span=9, projections="own", key_bias=False))
V2 = replace(
    PLAIN,
    embedding_size=16,
    widening="before_norm",
    convolution=ConvolutionSpec(kernel=5),
    distances=Disentangled(span=16, buckets=8, terms=("p2c",), norm="layer_norm"),
)
V3 = replace(PLAIN, distances=Disentangled(span=16, buckets=8, norm="layer_norm"))
CTRL = replace(PLAIN, positions=Sinusoidal(count=20, layout="halves"), reads="left", entry="scale", norm=PreNorm())
MODERN = replace(
    PLAIN,
    rotary=Rotary(count=20),
    window=Window(reach=3),
    feed_forward="gated",
    biases=(),
    norm=PreNorm(first="none"),
)
MLM, LM, EMD = LMHeadSpec(activation="gelu"), LMHeadSpec(), LMHeadSpec(activation="gelu", places=20)
SOP = ClassifierHeadSpec(labels=2, dense="tanh")
RTD = ClassifierHeadSpec(reads="each", dense="gelu", answers="one")
RTD_V3 = ClassifierHeadSpec(reads="each_with_first", dense="gelu", answers="one")
CASES = {
    "bert": (BERT, {MLM: ASKED}),
    "encoder alone": (BERT, {}),
    "mpnet": (replace(BERT, relative_bias=RelativeBias(buckets=8, span=6)), {MLM: ASKED}),
    "albert, mlm and sop": (ALBERT, {MLM: ASKED, SOP: SEQUENCES}),
    "electra": (ALBERT, {RTD: SEQUENCES * LENGTH}),
    "deberta v1 with its mask decoder": (V1, {EMD: ASKED}),
    "deberta v2 xlarge": (V2, {MLM: ASKED}),
    "deberta v3": (V3, {RTD_V3: SEQUENCES * LENGTH}),
    "ctrl": (CTRL, {LM: SEQUENCES * LENGTH}),
    "modernbert": (MODERN, {MLM: ASKED}),
}


def counted(architecture, heads, *, training, recompute):
    """Operations that torch counts in one pass over three sequences, where `heads` answer at so many tokens."""
    network = Network(architecture, {f"head{n}": head for n, head in enumerate(heads)})
    network.transformer.recompute = recompute
    ids = torch.arange(SEQUENCES * LENGTH).view(SEQUENCES, LENGTH)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.set_grad_enabled(training):
        output = network.transformer(ids, output_hidden_states=True)
        read = HeadInput(output, None, network.transformer, ids)
        loss = 0.0 if heads else output.last_hidden_state.sum()
        for (head, answers), module in zip(heads.items(), network.head.values(), strict=True):
            if head.kind == "vocabulary":
                states = module.states(read).flatten(0, 1)[:answers]
                loss = loss + module.decode(states, network.transformer).sum()
            else:
                loss = loss + module(read).sum()
        if training:
            loss.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("how", ["forward", "training", "recompute"])
@pytest.mark.parametrize("case", CASES)
def test_equals_what_torch_counts(case, how):
    # kills: a factor 2 for multiply and add; 2 or 3 forward passes for the gradient; a layer's projections, scores,
    # values or feed-forward layer; blocks counted for layers (ALBERT); 2 L distances as L, one term for both, their
    # projection counted once a sequence; groups of the convolution; the map to the width; a head at every token;
    # one pass of the mask decoder; the gradient of a layer that nobody read; the layers run again
    architecture, heads = CASES[case]
    training, recompute = how != "forward", how == "recompute"
    tokens = SEQUENCES * LENGTH
    ours = flops_per_token(
        architecture,
        LENGTH,
        training=training,
        answers={head: answers / tokens for head, answers in heads.items()},
        sequences=SEQUENCES,
        recompute=recompute,
    )
    assert ours * tokens == pytest.approx(counted(architecture, heads, training=training, recompute=recompute))


def test_groups_of_a_convolution():
    # kills: every channel counted with every other (of whose gradient torch counts just that, so it is no witness)
    grouped = replace(V2, convolution=ConvolutionSpec(kernel=5, groups=3))
    want = counted(grouped, {}, training=False, recompute=False)
    got = flops_per_token(grouped, LENGTH, training=False, sequences=SEQUENCES)
    assert got * SEQUENCES * LENGTH == pytest.approx(want)


def test_a_run_is_the_sum_of_its_networks():
    # kills: a generator's cost left out, the head of sentence order at every token, the share that is asked taken
    # for it, a recomputation forgotten
    large = Network(BERT, {"rtd": RTD})
    small = Network(ALBERT, {"mlm": MLM, "sop": SOP})
    small.transformer.recompute = True
    want = flops_per_token(BERT, 14, training=True, answers={RTD: 1}, sequences=3) + flops_per_token(
        ALBERT, 14, training=True, answers={MLM: 0.2, SOP: 1 / 14}, sequences=3, recompute=True
    )
    assert training_flops([large, small], 14, share=0.2, sequences=3) == want


def test_peak_is_the_median_of_products(monkeypatch):
    # kills: n³ without its factor 2, a size too small since its first product was slow, a mean that interruptions
    # spoil, another dtype, chance drawn from the run's own dice, threads that stay changed
    clock, sizes = [0.0], []

    def product(a, b):
        """Each fifth takes ten times as long, as does the first of a size."""
        assert a.dtype == b.dtype == torch.bfloat16
        size = len(a)
        slow = size not in sizes or len(sizes) % 5 == 4
        sizes.append(size)
        clock[0] += 2 * size**3 / 5e10 * (10 if slow else 1)
        return a

    monkeypatch.setattr(cost.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(torch, "mm", product)
    threads, dice = torch.get_num_threads(), torch.get_rng_state()
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    assert matmul_peak(3, torch.bfloat16) == pytest.approx(5e10)
    assert asked == [3, threads]
    assert sizes[-1] == 1024  # at 512 a product takes half of 10 ms, though the first one does not
    assert torch.equal(torch.get_rng_state(), dice)
    assert 0.2 <= clock[0] < 2
