"""BART beyond the battery: where it differs from an encoder, what runs on it, and what is refused by name.

Each test names the fault it is to catch. The battery compares it with transformers after every layer.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import sijo
from battery import scramble
from sijo.checkpoints.contents import inspect
from sijo.checkpoints.conversion.convert import convert
from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import Model
from sijo.errors import CheckpointError, RefusedError, SettingError, TextError
from sijo.export.blocks import export_blocks
from sijo.export.export import export
from sijo.inference.backends.backend import IdBatch
from sijo.inference.backends.registry import open_backend
from sijo.inference.encode import engine_of
from sijo.inference.engine import Engine
from sijo.models import FAMILIES, published
from without_torch_commands import commands

transformers = pytest.importorskip("transformers")

HEAD = "sequence-classification"
NAMES = ("contradiction", "neutral", "entailment")
SIZES = {
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 28,
    "max_position_embeddings": 40,
}
TEXTS = [
    "the sea is old",
    "rain",
    "old money in the bank is good money",
    "a game of ball and a goal " * 9,
    "한국 sea",
]
LABELS = ["sea", "bank", "a good game"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BART for entailment as transformers saves it, with a tokenizer of its own; do not change it."""
    place = tmp_path_factory.mktemp("bart")
    write_tokenizer(place)
    model(id2label=dict(enumerate(NAMES)), label2id={name: n for n, name in enumerate(NAMES)}).save_pretrained(
        place
    )
    return place


def model(kind="BartForSequenceClassification", **fields):
    """One of transformers' own, every weight moved."""
    vocabulary = fields.pop("vocab_size", 300)
    config = transformers.BartConfig(**SIZES | {"vocab_size": vocabulary} | fields)
    return scramble(getattr(transformers, kind)(config))


def write_tokenizer(place):
    from tokenizers import ByteLevelBPETokenizer

    learned = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    learned.train_from_iterator([*TEXTS, *LABELS] * 3, vocab_size=300, min_frequency=1, special_tokens=special)
    learned.save_model(str(place))
    tokenizer = transformers.BartTokenizerFast.from_pretrained(str(place), model_max_length=40)
    assert tokenizer("a", "b")["input_ids"].count(2) == 3
    tokenizer.save_pretrained(place)


def pair_of(folder, *texts):
    return transformers.AutoTokenizer.from_pretrained(folder)(*texts, return_tensors="pt")


# --- numbers


def test_zero_shot_is_that_of_the_pipeline(folder):
    # kills: the state of another place than the last </s>, one </s> between the two texts, labels out of order
    theirs = transformers.pipeline("zero-shot-classification", model=str(folder), device="cpu")
    for alone in (False, True):
        clf = sijo.ZeroShotClassifier(LABELS, str(folder), multi_label=alone, hypothesis_template="it is {}")
        for text, row in zip(TEXTS, clf.classify(TEXTS), strict=True):
            answer = theirs(text, LABELS, hypothesis_template="it is {}", multi_label=alone)
            want = dict(zip(answer["labels"], answer["scores"], strict=True))
            assert list(row.labels) == answer["labels"] or len({round(x, 5) for x in answer["scores"]}) < 3
            assert max(abs(want[label] - score) for label, score in zip(row.labels, row.scores, strict=True)) < 1e-5


def test_a_row_is_the_same_whatever_stands_beside_it(folder):
    # kills: padding that the decoder reads, and rows that must have as many </s> as their neighbours
    ours = sijo.load(folder, head=HEAD)
    ids = torch.tensor([[0, 9, 2, 2, 8, 2], [0, 7, 2, 1, 1, 1], [1, 1, 1, 0, 7, 2]])
    keep = ids != 1
    places = (keep.cumsum(1) - 1).clamp(min=0)
    with torch.inference_mode():
        together = ours(ids, keep, position_ids=places).logits
        alone = [ours(ids[n : n + 1][:, keep[n]]).logits[0] for n in range(3)]
        spoiled = ours(ids.masked_fill(~keep, 2), keep, position_ids=places).logits
        theirs = transformers.BartForSequenceClassification.from_pretrained(folder).eval()
        want = theirs(ids[1:2, :3]).logits[0]
        with pytest.raises(ValueError, match="same number of <eos>"):
            theirs(ids[:2], keep[:2].long())
    assert (together - torch.stack(alone)).abs().max() < 1e-5 and (together - spoiled).abs().max() < 1e-5
    assert (together[1] - want).abs().max() < 1e-5 and (together[2] - want).abs().max() < 1e-5


def test_the_last_end_decides_and_not_the_last_token(folder):
    # kills: the state of the last real token, which is the same for all that a tokenizer makes
    ids = torch.tensor([[0, 9, 2, 6, 2, 8, 5]])
    with torch.inference_mode():
        want = transformers.BartForSequenceClassification.from_pretrained(folder).eval()(ids).logits
        assert (sijo.load(folder, head=HEAD)(ids).logits - want).abs().max() < 1e-5


def test_a_text_without_an_end_is_refused(folder):
    # kills: the state of some other token, without a word
    with pytest.raises(TextError, match=r"input 1 of a batch has no token 2, .* eos_token_id"):
        sijo.load(folder, head=HEAD)(torch.tensor([[0, 5, 2], [0, 5, 6]]))


def test_the_engine_gives_the_networks_numbers(folder):
    # kills: batches whose rows change each other; a folder opened in another precision than was asked for
    theirs = transformers.BartForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        want = np.concatenate(
            [theirs(**pair_of(folder, text, "it is old")).logits for text in TEXTS if len(text) < 60]
        )
    texts = [text for text in TEXTS if len(text) < 60]
    for precision, gap in (("exact", 1e-5), ("bf16", 0.3)):
        engine = Engine(describe(folder), open_backend(describe(folder), head=HEAD, precision=precision))
        got = engine.score_pairs(texts, ["it is old"] * len(texts)).logits
        assert np.abs(got - want).max() < gap, precision
    vectors = engine_of(str(folder)).encode(texts).vectors
    bare = transformers.BartModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        means = np.stack([bare(**pair_of(folder, text)).last_hidden_state[0].mean(0) for text in texts])
    assert np.abs(vectors - means).max() < 1e-5


def test_the_gradients_of_recomputed_layers_are_the_same(folder):
    # kills: a decoder that is left out where layers are computed again, or computed with other numbers
    ids, found = torch.tensor([[0, 9, 4, 2], [0, 7, 6, 2]]), []
    for recompute in (False, True):
        ours = sijo.load(folder, head=HEAD)
        ours.transformer.recompute = recompute
        ours(ids).logits.square().sum().backward()
        found.append({name: weight.grad for name, weight in ours.named_parameters()})
    for name, grad in found[0].items():
        assert torch.allclose(grad, found[1][name], atol=1e-6), name


# --- folders


def test_tables_published_thrice(folder, tmp_path):
    # kills: a checkpoint of old refused for its copies, or opened though they differ, and copies called unused
    weights = load_file(folder / "model.safetensors")
    table = weights["model.shared.weight"]
    copies = {f"model.{stack}.embed_tokens.weight": table.clone() for stack in ("encoder", "decoder")}
    more = {"final_logits_bias": torch.zeros(1, 300), "lm_head.weight": table.clone()}
    old = copy_with(folder, tmp_path / "old", weights | copies | more)
    assert sijo.load(old, HEAD).unused == ("final_logits_bias", "lm_head.weight")
    assert inspect(old)[0]["unused"] == ["final_logits_bias", "lm_head.weight"]
    without = {name: tensor for name, tensor in (weights | copies).items() if name != "model.shared.weight"}
    again = sijo.load(copy_with(folder, tmp_path / "renamed", without), HEAD)
    assert again.unused == () and torch.equal(again.transformer.embeddings.tokens.weight, table)
    other = copies | {"model.decoder.embed_tokens.weight": table + 1}
    with pytest.raises(RefusedError, match=r"decoder.embed_tokens.weight of its own .* choose another"):
        sijo.load(copy_with(folder, tmp_path / "two", weights | other), HEAD)
    with pytest.raises(CheckpointError, match=r"no model.shared.weight"):
        nothing = {name: tensor for name, tensor in weights.items() if "shared" not in name}
        sijo.load(copy_with(folder, tmp_path / "none", nothing), HEAD)


def copy_with(folder, place, weights):
    shutil.copytree(folder, place)
    save_file(weights, place / "model.safetensors")
    return place


def test_a_bare_network_and_other_heads(folder, tmp_path):
    # kills: names without the prefix that are not known; a head that BART never had, saved as one of its own
    model("BartModel").save_pretrained(tmp_path / "bare")
    bare = sijo.load(tmp_path / "bare")
    assert bare.heads == () and bare.unused == ()
    tags = sijo.load(folder, "new:token-classification", labels=["O", "B-x"])
    saved = sijo.save(tags, tmp_path / "tags")
    assert json.loads((saved / "config.json").read_text())["model_type"] == "sijo"
    ids = torch.tensor([[0, 9, 4, 2]])
    with torch.inference_mode():
        assert torch.equal(sijo.load(saved, "token-classification")(ids).logits, tags(ids).logits)
    with pytest.raises(SettingError, match="holds no mlm head; it holds: sequence-classification"):
        sijo.load(folder, "mlm")


def test_a_checkpoint_of_old_is_converted(folder, tmp_path):
    # kills: copies of the table that make three of one, and a version that nobody learned, kept or called unused
    weights = load_file(folder / "model.safetensors")
    old = {f"model.{stack}.embed_tokens.weight": weights["model.shared.weight"] for stack in ("encoder", "decoder")}
    old |= {"model.encoder.version": torch.tensor([3.0])}
    source, told = tmp_path / "source", []
    shutil.copytree(folder, source)
    save_file(
        {f"module.{name}": tensor.clone() for name, tensor in (weights | old).items()}, source / "model.safetensors"
    )
    target = convert(source, tmp_path / "target", tell=told.append)
    assert set(load_file(target / "model.safetensors")) == set(weights)
    assert "holds the encoder, sequence-classification" in told and not any(
        "no part reads" in line for line in told
    )


@pytest.mark.parametrize(("targets", "whole"), [("all-linear", ["classification_head"]), (["q_proj", "fc2"], None)])
def test_an_adapter_is_merged_into_both_stacks(folder, tmp_path, targets, whole):
    # kills: a decoder's matrices passed over, attention of one stack taken for the other's, a table for a matrix,
    # names that peft lists for every classifier asked of a BART, which has none of them
    peft = pytest.importorskip("peft")
    base = transformers.BartForSequenceClassification.from_pretrained(folder)
    lora = peft.LoraConfig(task_type="SEQ_CLS", target_modules=targets, modules_to_save=whole)
    adapted = peft.get_peft_model(base, lora)
    with torch.no_grad():
        for weight in adapted.parameters():
            weight.add_(weight.requires_grad * torch.randn(weight.shape) * 0.3)
    adapted.save_pretrained(tmp_path / "adapter")
    ids = torch.tensor([[0, 9, 4, 2]])
    with torch.inference_mode():
        want = adapted.merge_and_unload().eval()(ids).logits
        got = sijo.load(tmp_path / "adapter", HEAD, base=folder)(ids).logits
        assert (got - want).abs().max() < 1e-4 and (got - sijo.load(folder, HEAD)(ids).logits).abs().max() > 1e-2


@pytest.mark.parametrize(
    "asked", [{"target_modules": ["shared", "q_proj"]}, {"modules_to_save": ["shared"]}], ids=str
)
def test_an_adapter_of_the_shared_table_is_refused(folder, tmp_path, asked):
    # kills: another answer than that of the adapter as it was trained: either stack of peft's reads the bare table
    peft = pytest.importorskip("peft")
    base = transformers.BartForSequenceClassification.from_pretrained(folder)
    adapted = peft.get_peft_model(base, peft.LoraConfig(**{"target_modules": ["q_proj"]} | asked))
    with torch.no_grad():
        for weight in adapted.parameters():
            weight.add_(weight.requires_grad * 0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    with pytest.raises(RefusedError, match=r"adapts model.shared, the table that an encoder and a decoder share"):
        sijo.load(tmp_path / "adapter", HEAD, base=folder)


def test_its_speed_is_measured(folder):
    # kills: random ids without an end, for which the head has no answer
    from sijo.inference.speed import numpy_product, read_speeds

    described = describe(folder)
    backend = open_backend(described, head=HEAD)
    readings, _ = read_speeds(described, [backend], {"numpy": numpy_product()}, shapes=[(1, 8)], rounds=1)
    assert readings[0].tokens_per_second > 0


def test_a_vocabulary_without_tokenizer_json(folder, tmp_path):
    # kills: RoBERTa's pair layout known by its own folders alone
    place = tmp_path / "plain"
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns("tokenizer.json"))
    for name in ("vocab.json", "merges.txt"):
        assert (place / name).exists()
    ours, whole = sijo.load(place, HEAD).tokenizer, sijo.load(folder, HEAD).tokenizer
    for text in TEXTS[:3]:
        assert ours.windows([text]) == whole.windows([text])
        want = pair_of(folder, text, "it is old")["input_ids"][0].tolist()
        assert ours.framed(*ours.ids([text, "it is old"])).ids == want


def test_inspect_says_what_it_is(folder):
    # kills: a decoder that is called a part of the encoder, or left out of the count
    found = inspect(folder)[0]
    assert (found["model_type"], found["heads"]) == ("bart", {HEAD: "BartForSequenceClassification"})
    assert set(found["parameters_by_part"]) == {"encoder", "decoder", HEAD} and not found["would_not_load"]
    assert found["parameters"] == sum(weight.numel() for weight in sijo.load(folder, HEAD).parameters())
    assert found["architecture"]["decoder"]["heads"] == 3


@pytest.mark.parametrize("start, end", [(2, 3), (2, 9)])
def test_a_cut_vocabulary_keeps_its_start_and_end(tiny_model, start, end):
    # kills: a decoder that starts with, or a head that looks for, the token that now has the old number
    from sijo.jobs.cut_model import with_rows_of

    tokenizer = sijo.load(tiny_model).tokenizer
    fields = SIZES | {"vocab_size": tokenizer.vocab_size, "decoder_start_token_id": start, "eos_token_id": end}
    whole = Model(FAMILIES["bart"], fields, {}, tokenizer=tokenizer).eval()
    rest = sorted({*range(5), *range(12, 30)} | tokenizer.essential_ids)
    if end == 9:
        with pytest.raises(SettingError, match="ends at, token 9, which the tokenizer numbers None; keep"):
            with_rows_of(whole, tokenizer.only(rest))
        return
    few = with_rows_of(whole, tokenizer.only(rest))
    with torch.inference_mode():
        long, short = (read(torch.tensor([ids])) for read, ids in ((whole, [2, 14, 12, 3]), (few, [2, 7, 5, 3])))
    assert torch.equal(long.last_hidden_state, short.last_hidden_state)
    assert few.config["vocab_size"] == few.architecture.vocab_size == len(rest)


# --- as a file


@pytest.fixture(scope="module")
def exported(tmp_path_factory, folder):
    """The folder with its ONNX files; do not change it."""
    place = tmp_path_factory.mktemp("exported") / "bart"
    for precision, source in (("float32", folder), ("int8", place)):
        export(source, precision=precision, out=place if source is folder else None, texts=TEXTS, keep_anyway=True)
    return place


def test_entailment_from_its_file_without_torch(exported, tmp_path):
    # kills: a file of the encoder alone, or one that only torch's own backend opens
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    line = ("classify", rows, "--model", exported, "--labels", ",".join(LABELS), "--top-k", "3")
    ways = [(*line, "--backend", "onnx", "--precision", name, "--format", "jsonl") for name in ("exact", "int8")]
    ran = commands(*ways)
    assert [end.code for end in ran] == [0, 0], ran[0].err + ran[1].err
    exact, rounded = ([json.loads(row) for row in end.out.splitlines()] for end in ran)
    want = sijo.ZeroShotClassifier(LABELS, str(exported), backend="torch").classify(TEXTS)
    for row, other, answer in zip(exact, rounded, want, strict=True):
        assert row["label"] == answer.label and abs(row["score"] - answer.score) < 1e-4
        assert abs(other["score"] - row["score"]) < 0.2
    assert any(other["score"] != row["score"] for row, other in zip(exact, rounded, strict=True))


@pytest.mark.parametrize("precision, most", [("exact", 1e-5), ("int8", 0.5)])
def test_the_file_judges_as_the_network(exported, precision, most):
    # kills: a decoder that sees what comes, reads padding, or starts at another place, in the file alone
    described = describe(exported)
    texts, others = [text[:50] for text in TEXTS], ["it is old"] * len(TEXTS)
    want, got = (
        Engine(described, open_backend(described, head=HEAD, backend=backend, precision=how))
        .score_pairs(texts, others)
        .logits
        for backend, how in (("torch", "exact"), ("onnx", precision))
    )
    assert np.abs(got - want).max() < most and np.ptp(want) > 1


def test_the_file_refuses_a_text_without_an_end(exported):
    # kills: the state of the first token in place of it, for a graph has no error of its own
    backend = open_backend(describe(exported), head=HEAD, backend="onnx")
    padded = IdBatch(np.array([[0, 5, 2], [0, 5, 2]]), np.array([[True] * 3, [True, True, False]]))
    with pytest.raises(TextError, match=r"input 1 of a batch has no token 2, .* eos_token_id"):
        backend.logits(padded)
    ended = IdBatch(np.array([[0, 5, 2, 2, 2]]), np.arange(5)[None] < 3)  # padding that looks like an end
    assert np.abs(backend.logits(ended) - backend.logits(IdBatch(padded.input_ids))[:1]).max() < 1e-5


def test_a_file_of_other_weights_is_refused(exported, tmp_path):
    # kills: a file of another's that is compared with no tensor of a network of two stacks
    import onnx

    place = shutil.copytree(exported, tmp_path / "other")
    (place / "manifest.json").unlink()
    file = place / "onnx" / "model.onnx"
    proto = onnx.load(file)
    del proto.metadata_props[:]
    onnx.save(proto, file)
    assert open_backend(describe(place), head=HEAD, backend="onnx")
    weights = load_file(place / "model.safetensors")
    name = "model.decoder.layers.0.fc2.weight"
    save_file(weights | {name: weights[name] + 1}, place / "model.safetensors")
    with pytest.raises(RefusedError, match="not made of the weights beside it"):
        open_backend(describe(place), head=HEAD, backend="onnx")


def test_in_blocks(folder, tmp_path):
    # kills: matrices of one stack alone in blocks; a table that the decoder looks for under another name
    wide = shutil.copytree(folder, tmp_path / "wide")
    model(d_model=32, decoder_attention_heads=4, encoder_ffn_dim=32, decoder_ffn_dim=64).save_pretrained(wide)
    packed = export_blocks(wide, out=tmp_path / "blocks", bits=8, table_bits=8, texts=TEXTS, keep_anyway=True)
    assert packed.table_bits == 8 and packed.bits == {8: 2 * 6 + 10} and packed.comparison.agreement.value > 0.7
    assert sijo.load(tmp_path / "blocks", HEAD).unused == ()


# --- training


def test_it_learns(folder, tmp_path, sijo_cli):
    # kills: a head that cannot be trained or is saved under names that nobody else reads
    rows = [{"text": f"the {word} is old", "label": label} for word, label in (("sea", "a"), ("bank", "b"))] * 24
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ran = sijo_cli(
        *("finetune", "--model", folder, "--task", "classification", "--train", tmp_path / "rows.jsonl"),
        *("--eval", tmp_path / "rows.jsonl", "--out", tmp_path / "out", "--set", "run.epochs=8"),
        *("--set", "schedule.peak=0.01", "--set", "optimizer.layer_decay=0.9"),
    )
    assert ran.code == 0, ran.err
    tuned = tmp_path / "out" / "model"
    assert [
        row.label for row in sijo.predict(sijo.load(tuned, HEAD), ["the sea is old", "the bank is old"])
    ] == list("ab")
    theirs = transformers.BartForSequenceClassification.from_pretrained(tuned).eval()
    with torch.inference_mode():
        ids = pair_of(tuned, "the sea is old")["input_ids"]
        assert (theirs(ids).logits - sijo.load(tuned, HEAD)(ids).logits).abs().max() < 1e-5


def test_depths_count_both_stacks(folder):
    # kills: a decoder trained at the head's rate, or at that of the tables
    from sijo.training.optimizers import OptimizerSettings, layer_scales

    scales = layer_scales(OptimizerSettings(layer_decay=0.5), sijo.load(folder, HEAD))
    got = {
        name: scales[f"transformer.{name}.weight"]
        for name in (
            "encoder.embeddings.tokens",
            "encoder.blocks.0.widen",
            "encoder.blocks.1.widen",
            "decoder.places",
        )
    }
    assert list(got.values()) == [0.5**4, 0.5**3, 0.5**2, 0.5**4]
    assert scales["transformer.decoder.blocks.0.cross.query.weight"] == 0.5
    assert scales[f"head.{HEAD}.out.weight"] == 1


# --- what does not run on it


def refusals(folder):
    from sijo.jobs.recipes import DISTILLATIONS
    from sijo.nn.prepared import prepared

    loaded = sijo.load(folder, HEAD)
    yield "prepared", lambda: prepared(loaded)
    yield "distill", lambda: DISTILLATIONS["sentence"].settings(str(folder))


def test_what_it_cannot_do_is_refused_by_name(folder):
    # kills: a trace, or an encoder's numbers in place of the whole network's
    for what, run in refusals(folder):
        with pytest.raises(SettingError, match=r"an encoder and a decoder, .* take an encoder such as BERT"):
            run()
        assert what
    with pytest.raises(SettingError, match="use bf16 or exact"):
        open_backend(describe(folder), head=HEAD, backend="torch", precision="int8")
    with pytest.raises(SettingError, match="no lm head"):
        sijo.generate(str(folder), "the sea")


@pytest.mark.parametrize("command", ["pretrain", "fresh layers"])
def test_commands_that_refuse_it(folder, tmp_path, sijo_cli, command):
    # kills: a run that begins, and learns something else than was asked for
    lines = tmp_path / "lines.txt"
    lines.write_text("the sea is old\n" * 50)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": f"the sea {n}", "label": "ab"[n % 2]}) + "\n" for n in range(8)))
    if command == "pretrain":
        ran = sijo_cli(
            *("pretrain", "albert-tiny", "--corpus", lines, "--out", tmp_path / "out"),
            *("--set", f"start.model={folder}", "--set", "data.length=32"),
        )
    else:
        ran = sijo_cli(
            *("finetune", "--model", folder, "--task", "classification", "--train", rows, "--eval", rows),
            *("--out", tmp_path / "out", "--set", "fresh_layers=1"),
        )
    ran.must_say(2, "an encoder and a decoder")


@pytest.mark.parametrize("model_type", ["mbart", "t5", "pegasus", "bigbird_pegasus", "led", "blenderbot"])
def test_other_encoders_with_decoders_are_refused(folder, tmp_path, model_type):
    # kills: mBART, whose norms stand elsewhere, opened as BART
    place = tmp_path / "other"
    shutil.copytree(folder, place)
    fields = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(fields | {"model_type": model_type}))
    with pytest.raises(RefusedError, match=f"{model_type!r}, .*(bart|encoder)"):
        describe(place)


def test_three_labels_where_nothing_says_how_many():
    # kills: two, as in every other family: the head of a folder without names would be refused
    read = FAMILIES["bart"].config.read
    assert read({}).labels == ("LABEL_0", "LABEL_1", "LABEL_2") and read({"num_labels": 2}).labels[1:] == (
        "LABEL_1",
    )
    assert read({"label2id": {"no": 0, "yes": 1}}).labels == ("no", "yes")


def test_the_mnli_config_as_published():
    # kills: a field of the published file that is refused, and names of columns in another order
    fields = {
        "_num_labels": 3,
        "activation_dropout": 0.0,
        "add_final_layer_norm": False,
        "classif_dropout": 0.0,
        "d_model": 1024,
        "decoder_start_token_id": 2,
        "id2label": {"0": "contradiction", "1": "neutral", "2": "entailment"},
        "label2id": {"contradiction": 0, "entailment": 2, "neutral": 1},
        "max_position_embeddings": 1024,
        "normalize_before": False,
        "num_hidden_layers": 12,
        "scale_embedding": False,
        "vocab_size": 50265,
    }
    config = FAMILIES["bart"].config.read(fields)
    a = config.architecture()
    assert config.labels == NAMES and a == published("bart-large-mnli")[1].architecture()
    assert (a.places, a.positions.count, a.layers, len(a.decoder.schedule)) == (1024, 1026, 12, 12)
