"""Matrices laid out another way: the same numbers, in another order."""

import torch

import sijo
from sijo.nn.architecture import Architecture, PreNorm, Sinusoidal
from sijo.nn.layout import lay_out

SIZES = {"vocab_size": 40, "embedding_size": 12, "hidden_size": 12, "heads": 3, "intermediate_size": 20}


def network():
    positions = Sinusoidal(count=16, layout="halves")
    a = Architecture(**SIZES, schedule=(0, 1), positions=positions, reads="left", entry="scale", norm=PreNorm())
    torch.manual_seed(0)
    return sijo.create(a, "lm")


def test_nothing_but_the_order_changes(tmp_path):
    # kills: a matrix transposed for good, or saved as it lies; a network that cannot be laid out twice
    model = network()
    ids = torch.randint(40, (2, 9), generator=torch.Generator().manual_seed(1))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    want = model(ids).logits
    for _ in range(2):
        lay_out(model)
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
        torch.testing.assert_close(model(ids).logits, want, rtol=0, atol=1e-5)
    by_rows, by_columns = (
        (sijo.save(one, tmp_path / str(number)) / "model.safetensors").read_bytes()
        for number, one in enumerate((network(), model))
    )
    assert by_rows == by_columns


def test_a_network_that_has_written_may_be_trained():
    # kills: weights that belong to inference for ever
    model = network()
    with torch.inference_mode():
        lay_out(model)
    model(torch.tensor([[1, 2, 3]])).logits.square().sum().backward()
    gradients = [weight.grad for weight in model.parameters()]
    lay_out(fresh := network())
    torch.optim.AdamW(model.parameters(), lr=0.1).step()
    changed = [not torch.equal(*pair) for pair in zip(model.parameters(), fresh.parameters(), strict=True)]
    assert all(changed) and all(gradient is not None for gradient in gradients)


def test_the_longer_side_lies_in_one_piece():
    # kills: the shorter side in one piece, a square or another dtype that is moved for nothing
    model = network()
    lay_out(model)
    for weight in model.parameters():
        if weight.dim() == 2:
            rows, columns = weight.shape
            assert weight.stride() == ((1, rows) if rows > columns else (columns, 1))
    half = network().bfloat16()
    lay_out(half)
    assert all(weight.is_contiguous() for weight in half.parameters())
