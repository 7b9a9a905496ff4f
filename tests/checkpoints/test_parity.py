"""What `sijo.load` opens gives the numbers of `transformers`, from the same folder."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import sijo

transformers = pytest.importorskip("transformers")
REQUESTS = Path(__file__).parents[2] / "examples" / "requests.csv"


def texts(count: int) -> list[str]:
    """Real requests, and a few made longer than the model's 256 tokens, or odd."""
    with REQUESTS.open(encoding="utf-8") as file:
        requests = [row["text"] for row in csv.DictReader(file)]
    odd = [" ".join(requests[:60]), "Ünïcödé 문장 😀 e\u0301", "x", "a" * 300, "!?"]
    return odd + requests[: count - len(odd)]


def test_every_layer_with_every_weight_moved(minilm, tmp_path):
    # kills: two published names swapped in the map, at the real size: small and fresh weights would hide it
    theirs = transformers.BertModel.from_pretrained(minilm.source)
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance) * 0.05)
    theirs.eval().save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((minilm.source / "tokenizer.json").read_bytes())
    ours = sijo.load(tmp_path)

    ids_BL = torch.randint(30_522, (3, 33), generator=chance)
    keep_BL = torch.arange(33) < torch.tensor([[33], [20], [1]])
    types_BL = torch.randint(2, (3, 33), generator=chance)
    with torch.inference_mode():
        want = theirs(ids_BL, keep_BL.long(), types_BL, output_hidden_states=True).hidden_states
        got = ours(ids_BL, keep_BL, types_BL, output_hidden_states=True).hidden_states
    for depth, (a, b) in enumerate(zip(want, got, strict=True)):
        gap = (a[keep_BL] - b[keep_BL]).abs().max().item()
        assert gap <= 1e-5, f"after layer {depth}: {gap}"


def test_sentence_vectors_of_the_real_model_on_200_real_texts(minilm):
    # kills: a pooling that reads padding, a cut at another length, other special tokens, a missing norm
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm.source)
    model = transformers.AutoModel.from_pretrained(minilm.source).eval()
    given, vectors = texts(200), []
    for start in range(0, len(given), 32):
        batch = tokenizer(
            given[start : start + 32], padding=True, truncation=True, max_length=256, return_tensors="pt"
        )
        with torch.inference_mode():
            states = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        vectors.append(torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1)).numpy())
    from sijo.inference.encode import engine_of
    from sijo.inference.outputs import unit

    got = engine_of(minilm, long_text="truncate").encode(given)
    assert got.truncated.tolist() == [True] + [False] * 199
    assert np.abs(unit(got.vectors) - np.concatenate(vectors)).max() <= 1e-5


def test_the_pooler_is_the_published_one(minilm):
    # kills: a pooler that is dropped in silence, read from another token, or without its tanh
    theirs = transformers.BertModel.from_pretrained(minilm.source).eval()
    ids_BL = torch.randint(30_522, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        got, want = minilm(ids_BL).pooler_output, theirs(ids_BL).pooler_output
    assert minilm.unused == () and (got - want).abs().max().item() <= 1e-5


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_a_checkpoint_with_part_of_a_head_opens_as_an_encoder(tiny_model, tmp_path, prefix):
    # kills: encoder names not found behind a head's prefix, gamma/beta of the first releases, a head that is said
    # to be there when all but its bias is absent
    from safetensors.torch import load_file, save_file

    for file in tiny_model.rglob("*"):
        if file.is_file():
            (tmp_path / file.relative_to(tiny_model)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file.relative_to(tiny_model)).write_bytes(file.read_bytes())
    old = {}
    for name, tensor in load_file(tiny_model / "model.safetensors").items():
        legacy = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        old[prefix + legacy] = tensor
    old["cls.predictions.bias"] = torch.zeros(3)
    save_file(old, tmp_path / "model.safetensors")
    ours, plain = sijo.load(tmp_path), sijo.load(tiny_model)
    assert ours.heads == () and ours.unused == ("cls.predictions.bias",)
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, ours.state_dict()[name]), name
    with pytest.raises(sijo.SijoError, match="holds no mlm head; it holds: none"):
        sijo.load(tmp_path, head="mlm")


def test_half_precision_stays_near(minilm):
    # kills: a precision that is ignored, and one that breaks the vectors
    half = sijo.load("all-minilm-l6-v2", dtype="bfloat16")
    assert next(half.parameters()).dtype is torch.bfloat16
    assert half.fingerprint != minilm.fingerprint  # or a cache would mix the two
    full_vectors, half_vectors = (sijo.encode(model, texts(40)) for model in (minilm, half))
    assert (full_vectors * half_vectors).sum(1).min() > 0.99
