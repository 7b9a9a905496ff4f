"""Old checkpoints made into folders that open, or refused without a trace. Each test names the fault it kills."""

import copy
import json
import os
import shutil
from contextlib import contextmanager

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import sijo
from battery import scramble
from sijo.checkpoints.conversion import convert as converting
from sijo.checkpoints.conversion.convert import convert
from sijo.checkpoints.conversion.pickled import load_tensors
from sijo.errors import CheckpointError, SettingError, SijoError
from sijo.models import SIZES

GAP = 1e-6
"""In double precision, into which weights are carried once they are read; the public waves of CTRL stay float32."""
VOCAB = 61
BERT = {
    "vocab_size": VOCAB,
    "hidden_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 28,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
}
ALBERT = BERT | {
    "embedding_size": 12,
    "num_hidden_layers": 4,
    "num_hidden_groups": 2,
    "inner_group_num": 2,
    "net_structure_type": 0,  # fields of Google's code that say nothing of the network
    "gap_size": 0,
    "layers_to_keep": [],
}
ELECTRA = BERT | {"embedding_size": 12, "model_type": "electra"}
GENERATOR = ELECTRA | {"hidden_size": 8, "intermediate_size": 18, "num_hidden_layers": 2}
CTRL = {"model_type": "ctrl", "vocab_size": VOCAB, "n_embd": 12, "n_head": 2, "n_layer": 12, "dff": 22}
CTRL |= {"n_positions": 16}
DEBERTA = BERT | {"model_type": "deberta-v2", "type_vocab_size": 0, "relative_attention": True}
DEBERTA |= {"position_biased_input": False, "pos_att_type": "p2c|c2p", "position_buckets": 4, "share_att_key": True}
DEBERTA |= {"norm_rel_ebd": "layer_norm", "layer_norm_eps": 1e-7, "max_relative_positions": -1}


def public(kind, fields):
    """A public model of this class and these config fields, every weight moved."""
    model = getattr(transformers, kind)
    known = {name: value for name, value in fields.items() if name != "model_type"}
    torch.manual_seed(0)
    return scramble(model(model.config_class(**known)), 0.1)


def place(folder, fields, tensors, *, config="config.json", weights="model.safetensors"):
    """A folder of a config and weights; gives the file of weights."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / config).write_text(json.dumps(fields))
    file = folder / weights
    if file.suffix == ".safetensors":
        save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, file)
    else:
        torch.save(tensors, file)
    return file


def numbers(model, **arguments):
    ids = torch.randint(VOCAB, (3, 11), generator=torch.Generator().manual_seed(1))
    keep = torch.arange(11) < torch.tensor([[11], [7], [1]])
    with torch.inference_mode():
        return copy.deepcopy(model).double()(ids, attention_mask=keep.long(), **arguments), keep


def must_be(folder, theirs, **heads):
    """The folder opens with sijo, each head under its name, and with transformers, and gives their numbers.

    heads  by name, what their output calls the logits
    """
    again, info = type(theirs).from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"] and not info["unexpected_keys"], info
    want, keep = numbers(theirs, output_hidden_states=True)
    opened, _ = numbers(again.eval(), output_hidden_states=True)
    assert torch.equal(opened.hidden_states[-1][keep], want.hidden_states[-1][keep])
    for name, logits in heads.items():
        ours = sijo.load(folder, name.replace("_", "-"))
        got, _ = numbers(ours, output_hidden_states=True)
        assert (got.last_hidden_state - want.hidden_states[-1])[keep].abs().max() <= GAP
        per_token = want[logits].shape[:2] == keep.shape
        pick = keep if per_token else slice(None)
        assert torch.equal(opened[logits][pick], want[logits][pick])
        assert (got.logits - want[logits])[pick].abs().max() <= GAP, name
    assert set(sijo.load(folder).heads) == {name.replace("_", "-") for name in heads}


# ---------------------------------------------------- TensorFlow's names, as the references' tables have them


def dense(tf, ours):
    return [(f"{tf}/kernel", f"{ours}.weight"), (f"{tf}/bias", f"{ours}.bias")]


def norm(tf, ours):
    return [(f"{tf}/gamma", f"{ours}.weight"), (f"{tf}/beta", f"{ours}.bias")]


def tables(tf, ours):
    names = [f"{kind}_embeddings" for kind in ("word", "position", "token_type")]
    return [(f"{tf}/embeddings/{name}", f"{ours}.embeddings.{name}.weight") for name in names] + norm(
        f"{tf}/embeddings/LayerNorm", f"{ours}.embeddings.LayerNorm"
    )


def bert_blocks(tf, ours, layers):
    rows = []
    for n in range(layers):
        old, new = f"{tf}/encoder/layer_{n}", f"{ours}.encoder.layer.{n}"
        for name in ("query", "key", "value"):
            rows += dense(f"{old}/attention/self/{name}", f"{new}.attention.self.{name}")
        rows += dense(f"{old}/attention/output/dense", f"{new}.attention.output.dense")
        rows += norm(f"{old}/attention/output/LayerNorm", f"{new}.attention.output.LayerNorm")
        rows += dense(f"{old}/intermediate/dense", f"{new}.intermediate.dense")
        rows += dense(f"{old}/output/dense", f"{new}.output.dense")
        rows += norm(f"{old}/output/LayerNorm", f"{new}.output.LayerNorm")
    return rows


def bert_rows(layers=3):
    rows = tables("bert", "bert") + bert_blocks("bert", "bert", layers)
    return rows + dense("bert/pooler/dense", "bert.pooler.dense")


def bert_pretrained():
    rows = bert_rows() + dense("cls/predictions/transform/dense", "cls.predictions.transform.dense")
    rows += norm("cls/predictions/transform/LayerNorm", "cls.predictions.transform.LayerNorm")
    rows += [("cls/predictions/output_bias", "cls.predictions.bias")]
    return rows + [(f"cls/seq_relationship/output_{old}", f"cls.seq_relationship.{new}") for old, new in LEAVES]


LEAVES = (("weights", "weight"), ("bias", "bias"))


def albert_rows(groups=2, inner=2):
    rows = tables("bert", "albert")
    rows += dense("bert/encoder/embedding_hidden_mapping_in", "albert.encoder.embedding_hidden_mapping_in")
    for g in range(groups):
        for k in range(inner):
            old = f"bert/encoder/transformer/group_{g}/inner_group_{k}"
            new = f"albert.encoder.albert_layer_groups.{g}.albert_layers.{k}"
            for name in ("query", "key", "value"):
                rows += dense(f"{old}/attention_1/self/{name}", f"{new}.attention.{name}")
            rows += dense(f"{old}/attention_1/output/dense", f"{new}.attention.dense")
            rows += norm(f"{old}/LayerNorm", f"{new}.attention.LayerNorm")
            rows += dense(f"{old}/ffn_1/intermediate/dense", f"{new}.ffn")
            rows += dense(f"{old}/ffn_1/intermediate/output/dense", f"{new}.ffn_output")
            rows += norm(f"{old}/LayerNorm_1", f"{new}.full_layer_layer_norm")
    rows += dense("bert/pooler/dense", "albert.pooler")
    rows += dense("cls/predictions/transform/dense", "predictions.dense")
    rows += norm("cls/predictions/transform/LayerNorm", "predictions.LayerNorm")
    rows += [("cls/predictions/output_bias", "predictions.bias")]
    return rows + [
        (f"cls/seq_relationship/output_{old}", f"sop_classifier.classifier.{new}") for old, new in LEAVES
    ]


def electra_discriminator():
    rows = tables("electra", "electra") + dense("electra/embeddings_project", "electra.embeddings_project")
    rows += bert_blocks("electra", "electra", 3)
    rows += dense("discriminator_predictions/dense", "discriminator_predictions.dense")
    return rows + dense("discriminator_predictions/dense_1", "discriminator_predictions.dense_prediction")


def electra_generator():
    rows = dense("generator/embeddings_project", "electra.embeddings_project")
    rows += bert_blocks("generator", "electra", 2)
    rows += dense("generator_predictions/dense", "generator_predictions.dense")
    rows += norm("generator_predictions/LayerNorm", "generator_predictions.LayerNorm")
    return [*rows, ("generator_predictions/output_bias", "generator_lm_head.bias")]


def ctrl_rows(shift, layers=12):
    """Numbers run over the whole graph, and zero is not written; `shift` is how many came before."""

    def numbered(name, number):
        return f"{name}_{number}" if number else name

    rows = [("tied_embedding_softmax/w", "transformer.w.weight"), ("tied_embedding_softmax/b", "lm_head.bias")]
    rows += norm(f"encoder/{numbered('layer_normalization', 2 * layers + shift)}", "transformer.layernorm")
    for n in range(layers):
        old, new = f"encoder/{numbered('encoder_layer', n)}", f"transformer.h.{n}"
        for i in (0, 1):
            tf = f"{old}/{numbered('layer_normalization', 2 * n + i + shift)}"
            rows += norm(tf, f"{new}.layernorm{i + 1}")
        for i, name in enumerate(("Wq", "Wk", "Wv", "dense")):
            tf = f"{old}/{numbered('multi_head_attention', n)}/{numbered('dense', 6 * n + i + shift)}"
            rows += dense(tf, f"{new}.multi_head_attention.{name}")
        for i in (0, 2):
            tf = f"{old}/{numbered('sequential', n)}/{numbered('dense', 6 * n + 4 + i // 2 + shift)}"
            rows += dense(tf, f"{new}.ffn.{i}")
    return rows


def old_tensors(theirs, rows, *, prefix="", suffix="", slots=("adam_m", "adam_v")):
    """The public model's tensors as TensorFlow kept them, with what an optimizer added to each."""
    state, made = theirs.state_dict(), {"global_step": torch.tensor(125_000)}
    for tf, name in rows:
        tensor = state[name].T if tf.endswith("/kernel") else state[name]
        made[f"{prefix}{tf}{suffix}"] = tensor
        made |= {f"{prefix}{tf}/{slot}{suffix}": torch.full_like(tensor, 9) for slot in slots}
    return made


def test_bert_and_the_head_that_says_which_sentence_comes_next(tmp_path):
    # kills: a kernel not turned or the output weights turned, beta taken for the scale, slots taken for weights
    theirs = public("BertForPreTraining", BERT)
    tensors = old_tensors(theirs, bert_pretrained(), suffix=":0")
    file = place(tmp_path / "old", BERT, tensors, config="bert_config.json", weights="bert_model.safetensors")
    told = []
    convert(file, tmp_path / "new", tell=told.append)
    must_be(tmp_path / "new", theirs, mlm="prediction_logits")
    assert told[0].startswith(f"left out {2 * len(bert_pretrained()) + 1} of the optimizer, such as ")
    assert told[1:-1] == [
        "holds the encoder, mlm",
        "holds what no part reads: cls.seq_relationship.bias, cls.seq_relationship.weight",
    ]
    assert "has no tokenizer" in told[-1]


def test_albert_with_groups_and_inner_groups(tmp_path):
    # kills: inner groups counted as groups, the two norms or maps of a block swapped, a pooler lost, a Hub's prefix
    theirs = public("AlbertForPreTraining", ALBERT)
    tensors = old_tensors(theirs, albert_rows(), prefix="module/")
    place(tmp_path / "old", ALBERT, tensors, config="albert_config.json")
    convert(tmp_path / "old", tmp_path / "new")
    must_be(tmp_path / "new", theirs, mlm="prediction_logits", sop="sop_logits")
    got, want = numbers(sijo.load(tmp_path / "new"))[0], numbers(theirs.albert)[0]
    assert (got.pooler_output - want.pooler_output).abs().max() <= GAP


def test_albert_of_one_block(tmp_path):
    # kills: numbers taken where there is only one group
    fields = ALBERT | {"num_hidden_groups": 1, "inner_group_num": 1}
    theirs = public("AlbertForPreTraining", fields)
    place(tmp_path / "old", fields, old_tensors(theirs, albert_rows(1, 1)), config="albert_config.json")
    convert(tmp_path / "old", tmp_path / "new")
    must_be(tmp_path / "new", theirs, mlm="prediction_logits", sop="sop_logits")


def test_both_networks_of_one_electra(tmp_path, sijo_cli):
    # kills: the discriminator's projection in the generator, tables not shared, one network's head in both
    spotter, guesser = public("ElectraForPreTraining", ELECTRA), public("ElectraForMaskedLM", GENERATOR)
    guesser.electra.embeddings.load_state_dict(spotter.electra.embeddings.state_dict())
    tensors = old_tensors(spotter, electra_discriminator()) | old_tensors(guesser, electra_generator())
    tensors["generator_predictions/temperature"] = torch.tensor(1.0)
    for part, fields in (("discriminator", ELECTRA), ("generator", GENERATOR)):
        place(tmp_path / part, fields, tensors)
        ran = sijo_cli("convert", tmp_path / part, tmp_path / f"new-{part}", "--part", part)
        assert (ran.code, ran.out.decode()) == (0, f"{tmp_path}/new-{part}\n")
        assert "of the other network" in ran.err
    must_be(tmp_path / "new-discriminator", spotter, rtd="logits")
    must_be(tmp_path / "new-generator", guesser, mlm="logits")


def test_an_electra_with_one_network_needs_no_part(tmp_path, refused):
    # kills: a question where there is no choice, a choice where there is one, the wrong network by default
    spotter, guesser = public("ElectraForPreTraining", ELECTRA), public("ElectraForMaskedLM", GENERATOR)
    tensors = old_tensors(spotter, electra_discriminator())
    place(tmp_path / "one", ELECTRA, tensors)
    convert(tmp_path / "one", tmp_path / "new")
    must_be(tmp_path / "new", spotter, rtd="logits")
    place(tmp_path / "two", ELECTRA, tensors | old_tensors(guesser, electra_generator()))
    words = ["two networks", "--part discriminator or --part generator"]
    refused(2, words, "convert", tmp_path / "two", tmp_path / "never")


@pytest.mark.parametrize("shift", [0, 3])
def test_ctrl_by_its_numbers(tmp_path, shift):
    # kills: numbers sorted as letters (9 and 10 in one group), block 1 taken for 10, block 0 lost
    theirs = public("CTRLLMHeadModel", CTRL)
    place(tmp_path / "old", CTRL, old_tensors(theirs, ctrl_rows(shift), slots=("Adagrad",)))
    convert(tmp_path / "old", tmp_path / "new")
    must_be(tmp_path / "new", theirs, lm="logits")


@pytest.mark.parametrize(
    "change, code, words",
    [
        ({"bert/encoder/layer_1/adapter/kernel": 1}, 4, ["1 of 56", "layer_1/adapter/kernel"]),
        ({"bert/encoder/layer_3/output/dense/bias": 1, "lost": 1}, 4, ["2 of", "layer_3/output/dense/bias, lost"]),
        ({"bert/embeddings/layer_normalization/gamma": 1}, 4, ["layer_normalization/gamma"]),
        ({"bert/pooler/dense/bias:0": 1}, 5, ["bert/pooler/dense/bias:0 and", "are both bert.pooler.dense.bias"]),
        ({"bert/encoder/layer_2/output/dense/kernel": None}, 5, ["no bert.encoder.layer.2.output.dense.weight"]),
        ({f"strange/{'x' * 5_000}": 1, "a\x1b[2Jb/c": 1}, 4, ["a\\u001b[2Jb/c, strange/xxx"]),
    ],
)
def test_names_that_fit_no_rule(tmp_path, refused, change, code, words):
    # kills: a variable dropped in silence, one kept under a name nobody reads, the last of two taken
    tensors = old_tensors(public("BertModel", BERT), [(tf, name.removeprefix("bert.")) for tf, name in bert_rows()])
    tensors |= {name: torch.zeros(1) for name in change}
    tensors = {name: tensor for name, tensor in tensors.items() if change.get(name, 1)}
    place(tmp_path / "old", BERT, tensors, config="bert_config.json")
    ran = refused(code, words, "convert", tmp_path / "old", tmp_path / "new")
    assert len(ran.err) < 1500 and "\x1b" not in ran.err


BETAS = (("beta", None), ("delta", torch.zeros(12)))


def test_ctrl_that_is_not_whole(tmp_path, refused):
    # kills: fifteen of sixteen variables put one place too early, sixteen of which one is another
    tensors = old_tensors(public("CTRLLMHeadModel", CTRL), ctrl_rows(0), slots=())
    for change in (
        {"encoder/encoder_layer_1/layer_normalization_2/beta": None},
        {"encoder/encoder_layer_0/dense/bias": torch.zeros(1)},
        {f"encoder/encoder_layer_1/layer_normalization_2/{leaf}": beta for leaf, beta in BETAS},
    ):
        spoiled = {name: tensor for name, tensor in (tensors | change).items() if tensor is not None}
        place(tmp_path / "old", CTRL, spoiled)
        refused(5, ["block", "two norms and six maps"], "convert", tmp_path / "old", tmp_path / "new")
    place(tmp_path / "old", CTRL, tensors | {f"encoder/encoder_layer_{'9' * 5000}/b": torch.zeros(1)})
    with pytest.raises(SijoError):
        convert(tmp_path / "old", tmp_path / "new")
    place(tmp_path / "old", CTRL | {"n_layer": 11}, tensors)
    refused(4, "16 of 196 variables have no place", "convert", tmp_path / "old", tmp_path / "new")


def test_other_families_by_tensorflows_names(tmp_path, refused):
    # kills: names passed through for a family whose table is not known
    place(tmp_path / "old", {"model_type": "distilbert"}, {"distilbert/a/kernel": torch.zeros(1)})
    refused(2, ["TensorFlow", "not of distilbert"], "convert", tmp_path / "old", tmp_path / "new")


# ----------------------------------------------------------------------------------------------- pickles


@pytest.fixture
def in_process(monkeypatch):
    """Pickles are read here, as the process of their own reads them, to save the seconds that it takes to start."""

    @contextmanager
    def read(file):
        with file.open() as source:
            yield load_tensors(source)

    monkeypatch.setattr(converting, "read_pickled", read)


MASKED = BERT | {"model_type": "bert", "architectures": ["BertForMaskedLM"]}


def masked(fields=MASKED):
    theirs = public("BertForMaskedLM", {name: value for name, value in fields.items() if name != "architectures"})
    return theirs, {name: tensor.clone() for name, tensor in theirs.state_dict().items()}


def aged(tensors):
    """As programs of 2019 named them: gamma and beta, a training wrapper's prefix, numbers that count places."""
    old = {}
    for name, tensor in tensors.items():
        norms = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        old[f"module.{norms}"] = tensor
    return old | {"module.bert.embeddings.position_ids": torch.arange(16)[None]}


def test_a_pickle_by_the_command_line(tmp_path, sijo_cli, needs_jail):
    # kills: notes on standard output, tied copies written twice, a note that is missing; the process is a real one
    theirs, tensors = masked()
    assert "cls.predictions.decoder.weight" in tensors
    file = place(tmp_path / "old", MASKED, aged(tensors), weights="pytorch_model.bin")
    ran = sijo_cli("convert", file, tmp_path / "new")
    assert (ran.code, ran.out.decode()) == (0, f"{tmp_path}/new\n"), ran.err
    assert ran.err.splitlines()[:-1] == [
        "reading pytorch_model.bin in a process of its own",
        "left out bert.embeddings.position_ids: it holds nothing learned",
        "left out cls.predictions.decoder.bias: it is cls.predictions.bias once more",
        "left out cls.predictions.decoder.weight: it is bert.embeddings.word_embeddings.weight once more",
        "holds the encoder, mlm",
    ]
    must_be(tmp_path / "new", theirs, mlm="logits")
    written = load_file(tmp_path / "new/model.safetensors")
    assert written.keys() == tensors.keys() - {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert json.loads((tmp_path / "new/config.json").read_text()) == MASKED


@pytest.mark.parametrize(
    "way",
    [
        *("legacy", "state_dict", "model_state_dict", "model", "lightning", "no prefix", "half", "decoder alone"),
        *("safetensors", "folder"),
    ],
)
def test_ways_to_save(tmp_path, in_process, way):
    # kills: a bare encoder not found, numbers changed on the way, a decoder that is the only copy of the table,
    # names as a training program keeps them
    theirs, tensors = masked()
    whole, weights = tensors, "model.pt"
    if way == "no prefix":
        whole = tensors = {n.removeprefix("bert."): t for n, t in tensors.items() if n.startswith("bert.")}
    if way == "half":
        whole = tensors = {name: tensor.half() for name, tensor in tensors.items()}
    if way == "decoder alone":
        lost = ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias")
        whole = {name: tensor for name, tensor in tensors.items() if name not in lost}
    file = place(tmp_path / "old", MASKED, {}, weights="empty.pt").with_name(weights)
    (tmp_path / "old/empty.pt").unlink()
    match way:
        case "legacy":
            torch.save(whole, file, _use_new_zipfile_serialization=False)
        case "state_dict" | "model_state_dict" | "model":
            torch.save({way: whole, "epoch": 3}, file)
        case "lightning":
            torch.save({"state_dict": {f"model.{name}": tensor for name, tensor in whole.items()}}, file)
        case "safetensors":
            file = place(tmp_path / "old", MASKED, aged(whole), weights="model.safetensors")
        case _:
            torch.save(whole, file)
    convert(tmp_path / "old" if way == "folder" else file, tmp_path / "new")
    written = load_file(tmp_path / "new/model.safetensors")
    for name, tensor in written.items():
        original = tensors.get(name, tensors.get(name.removeprefix("bert.")))
        assert torch.equal(tensor, original) and tensor.dtype == original.dtype, name
    assert sijo.load(tmp_path / "new").heads == (() if way == "no prefix" else ("mlm",))
    if way not in ("no prefix", "half"):
        must_be(tmp_path / "new", theirs, mlm="logits")
        assert written.keys() == tensors.keys() - {f"cls.predictions.decoder.{leaf}" for leaf in ("weight", "bias")}


class Calls:
    def __init__(self, function, *arguments):
        self.how = (function, arguments)

    def __reduce__(self):
        return self.how


def test_a_pickle_that_would_run_code(tmp_path, refused, needs_jail):
    # kills: code that is run, a folder left behind, another exit code
    trap = tmp_path / "sprung"
    place(tmp_path / "old", MASKED, masked()[1] | {"a": Calls(os.system, f"touch {trap}")}, weights="a.bin")
    refused(4, ["a.bin asks for posix.system", "not opened"], "convert", tmp_path / "old", tmp_path / "up/new")
    assert not trap.exists()


def test_which_of_several_pickles(tmp_path, in_process, refused):
    # kills: an optimizer's state taken for the weights, the first of two taken by chance
    _, tensors = masked()
    place(tmp_path / "old", MASKED, tensors, weights="a.bin")
    torch.save({"state": torch.ones(1)}, tmp_path / "old/optimizer.pt")
    words = ["holds 2 files", "a.bin and optimizer.pt", "name the one"]
    refused(2, words, "convert", tmp_path / "old", tmp_path / "new")
    convert(tmp_path / "old/a.bin", tmp_path / "new")
    (tmp_path / "old/a.bin").rename(tmp_path / "old/pytorch_model.bin")
    convert(tmp_path / "old", tmp_path / "usual")
    assert (
        load_file(tmp_path / "new/model.safetensors").keys()
        == load_file(tmp_path / "usual/model.safetensors").keys()
    )
    shutil.copy(tmp_path / "old/optimizer.pt", tmp_path / "old/model.npz")
    refused(4, "neither safetensors nor", "convert", tmp_path / "old/model.npz", tmp_path / "never")
    refused(2, "there is no", "convert", tmp_path / "absent.bin", tmp_path / "never")


def test_pickles_in_shards(tmp_path, in_process, refused):
    # kills: a shard left out, a tensor where its index does not say, an index that leads out of the folder
    theirs, tensors = masked()
    names = sorted(tensors)
    files = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    for file, part in zip(files, (names[::2], names[1::2]), strict=True):
        place(tmp_path / "old", MASKED, {name: tensors[name] for name in part}, weights=file)
    weight_map = {name: files[i % 2] for i, name in enumerate(names)}
    index = tmp_path / "old/pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    convert(tmp_path / "old", tmp_path / "new")
    must_be(tmp_path / "new", theirs, mlm="logits")

    arguments = ("convert", tmp_path / "old", tmp_path / "never")
    index.write_text(json.dumps({"weight_map": weight_map | {names[0]: files[1]}}))
    refused(5, ["disagree about", names[0]], *arguments)
    shutil.copy(tmp_path / "old" / files[0], tmp_path / "outside.bin")
    index.write_text(json.dumps({"weight_map": weight_map | {names[0]: "../outside.bin"}}))
    refused(4, "outside of it", *arguments)
    for damaged in ({}, {"weight_map": {}}, {"weight_map": [1]}):
        index.write_text(json.dumps(damaged))
        refused(5, "no weight_map", *arguments)
    index.write_text(json.dumps({"weight_map": weight_map}))
    (tmp_path / "old" / files[1]).unlink()
    refused(5, [files[1], "absent"], *arguments)


def test_deberta_by_its_first_code(tmp_path, in_process):
    # kills: the delta taken for the table, the mask decoder's places lost, `legacy` not told to transformers
    theirs = public("DebertaV2ForMaskedLM", DEBERTA | {"legacy": False})
    clean = {name: tensor for name, tensor in theirs.state_dict().items() if "decoder" not in name}
    chance = torch.Generator().manual_seed(2)
    more = {
        "deberta.embeddings.position_embeddings.weight": torch.randn(16, 20, generator=chance),
        "mask_predictions.dense.weight": torch.randn(20, 20, generator=chance),
        "mask_predictions.dense.bias": torch.randn(20, generator=chance),
        "mask_predictions.LayerNorm.weight": torch.randn(20, generator=chance),
        "mask_predictions.LayerNorm.bias": torch.randn(20, generator=chance),
        "mask_predictions.classifier.weight": torch.randn(1, 20, generator=chance),
        "mask_predictions.classifier.bias": torch.randn(1, generator=chance),
    }
    deltas = {"deberta.embeddings.word_embeddings._weight": torch.full((VOCAB, 20), 9.0)}
    deltas["deberta.embeddings.position_embeddings._weight"] = torch.full((16, 20), 9.0)
    old = {name.replace("deberta.", "bert.", 1): tensor for name, tensor in (clean | more | deltas).items()}
    fields = {name: value for name, value in DEBERTA.items() if name != "model_type"}
    file = place(tmp_path / "old", fields, old, config="model_config.json", weights="pytorch_model.bin")
    told = []
    with pytest.raises(SettingError, match=r"model_config.json has no model_type; say it with --model-type"):
        convert(file, tmp_path / "new")
    convert(file, tmp_path / "new", model_type="deberta-v2", tell=told.append)
    for name in sorted(deltas):
        assert f"left out {name}: it is the difference from the generator's table" in " ".join(told)
    assert told[-2] == "holds the encoder, mlm, rtd" and "has no tokenizer" in told[-1]
    written = load_file(tmp_path / "new/model.safetensors")
    assert written.keys() == (clean | more).keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in (clean | more).items())
    again, info = transformers.DebertaV2ForMaskedLM.from_pretrained(tmp_path / "new", output_loading_info=True)
    assert not info["missing_keys"]
    (want, keep), (got, _) = numbers(theirs), numbers(again.eval())
    assert torch.equal(want.logits[keep], got.logits[keep])
    encoder, _ = numbers(sijo.load(tmp_path / "new"))
    assert (encoder.last_hidden_state - numbers(theirs.deberta)[0].last_hidden_state)[keep].abs().max() <= GAP
    assert sijo.load(tmp_path / "new", "rtd").heads == ("mlm", "rtd")


def test_two_networks_saved_together_by_torch(tmp_path, in_process, refused):
    # kills: the generator's weights written over the discriminator's
    spotter, guesser = public("ElectraForPreTraining", ELECTRA), public("ElectraForMaskedLM", GENERATOR)
    both = {f"discriminator.{name}": tensor for name, tensor in spotter.state_dict().items()}
    both |= {f"generator.{name}": tensor for name, tensor in guesser.state_dict().items()}
    file = place(tmp_path / "old", ELECTRA, both, weights="joint.pt")
    refused(5, ["have the name of another", "--part"], "convert", file, tmp_path / "new")
    convert(file, tmp_path / "new", part="discriminator")
    must_be(tmp_path / "new", spotter, rtd="logits")
    file = place(tmp_path / "bert", MASKED, masked()[1], weights="a.pt")
    refused(
        2, ["no two networks", "leave part=generator out"], "convert", file, tmp_path / "x", "--part", "generator"
    )


# ------------------------------------------------------------------------------ configs, heads, files beside


def test_folders_without_a_config(tmp_path, refused, monkeypatch):
    # kills: a size guessed, one that does not fit, an error about a folder that is gone
    theirs, tensors = masked()
    file = place(tmp_path / "old", {}, tensors)
    (tmp_path / "old/config.json").unlink()
    refused(2, ["no config.json", "--size"], "convert", file, tmp_path / "new")
    words = ["no published size 'albert-bas-v2'", "did you mean 'albert-base-v2'"]
    refused(2, words, "convert", file, tmp_path / "new", "--size", "albert-bas-v2")
    monkeypatch.setitem(converting.FAMILIES["bert"].sizes, "tiny", BERT)
    monkeypatch.setitem(SIZES, "tiny", converting.FAMILIES["bert"])
    convert(file, tmp_path / "new", size="tiny")
    must_be(tmp_path / "new", theirs, mlm="logits")
    assert json.loads((tmp_path / "new/config.json").read_text())["architectures"] == ["BertForMaskedLM"]
    monkeypatch.setitem(converting.FAMILIES["bert"].sizes, "tiny", BERT | {"hidden_size": 22})
    words = ["does not hold the weights", f"{tmp_path}/old ", "is (61, 20), not (61, 22)"]
    refused(5, words, "convert", tmp_path / "old", tmp_path / "never", "--size", "tiny")


@pytest.mark.parametrize(
    "fields, code, words",
    [
        ({"model_type": "mamba"}, 4, ["'mamba'", "bert"]),
        ({"auto_map": {"AutoModel": "code.Model"}}, 4, "auto_map"),
        ({"position_embedding_type": "relative_key"}, 4, "position_embedding_type"),
        ({"hidden_size": "20"}, 4, "hidden_size"),
        ({"num_hidden_layers": 4}, 5, "no bert.encoder.layer.3"),
        ({"model_type": None}, 2, ["no model_type", "--model-type"]),
    ],
)
def test_configs_that_sijo_cannot_build(tmp_path, refused, fields, code, words):
    # kills: a folder written for a config that does not open, code of its own asked for later
    place(tmp_path / "old", MASKED | fields, masked()[1])
    refused(code, words, "convert", tmp_path / "old", tmp_path / "new")


def test_how_many_labels_an_old_config_meant(tmp_path, in_process):
    # kills: two labels for every classifier whose config is silent, a head listed that cannot be opened
    theirs = public("BertForSequenceClassification", BERT | {"num_labels": 3})
    rows = [*bert_rows(), ("output_weights", "classifier.weight"), ("output_bias", "classifier.bias")]
    place(tmp_path / "old", BERT, old_tensors(theirs, rows), config="bert_config.json")
    convert(tmp_path / "old", tmp_path / "new")
    opened = type(theirs).from_pretrained(tmp_path / "new")
    (want, _), (got, _), (ours, _) = map(numbers, (theirs, opened.eval(), sijo.load(tmp_path / "new", HEAD)))
    assert torch.equal(want.logits, got.logits) and (want.logits - ours.logits).abs().max() <= GAP
    assert sijo.load(tmp_path / "new").heads == (HEAD, "token-classification")  # both could be meant

    fields = BERT | {"model_type": "bert", "id2label": {"0": "바다", "1": "land", "2": "\x1b[2J"}}
    place(tmp_path / "named", fields, theirs.state_dict(), weights="a.pt")
    convert(tmp_path / "named", tmp_path / "kept")
    assert sijo.load(tmp_path / "kept", HEAD).labels == ("바다", "land", "\x1b[2J")


HEAD = "sequence-classification"


def test_a_span_head_by_tensorflows_names(tmp_path):
    # kills: the two rows of a span turned, or taken for two labels
    theirs = public("BertForQuestionAnswering", BERT)
    rows = [*bert_rows()[:-2], *((f"cls/squad/output_{old}", f"qa_outputs.{new}") for old, new in LEAVES)]
    place(tmp_path / "old", BERT, old_tensors(theirs, rows), config="bert_config.json")
    convert(tmp_path / "old", tmp_path / "new")
    want, keep = numbers(theirs)
    got, _ = numbers(sijo.load(tmp_path / "new", "question-answering"))
    assert (torch.stack([want.start_logits, want.end_logits], -1) - got.logits)[keep].abs().max() <= GAP


@pytest.mark.parametrize(
    "change, code, words",
    [
        ({"cls.predictions.decoder.weight": torch.zeros(VOCAB, 20)}, 4, ["output table", "of its own"]),
        (
            {"cls.predictions.transform.dense.weight": torch.zeros(20, 21)},
            5,
            ["transform.dense.weight is (20, 21)"],
        ),
        ({"classifier.weight": torch.zeros(3, 20), "classifier.bias": torch.zeros(2)}, 5, ["classifier.bias"]),
    ],
)
def test_heads_that_do_not_open(tmp_path, in_process, refused, change, code, words):
    # kills: a folder whose encoder opens and whose head, though listed, does not
    fields = BERT | {"model_type": "bert"}
    place(tmp_path / "old", fields, masked()[1] | change, weights="a.pt")
    refused(code, [f"{tmp_path}/old/a.pt", *words], "convert", tmp_path / "old/a.pt", tmp_path / "new")


def test_what_lies_beside_the_weights_goes_along(tiny_copy, tmp_path, in_process):
    # kills: a sentence encoder that forgets its pooling, a card or licence left behind, a whole folder copied
    file = tiny_copy / "model.safetensors"
    torch.save(load_file(file), file.with_name("pytorch_model.bin"))
    for name in ("README.md", "LICENSE", "special_tokens_map.json", "modeling.py", "training_args.bin"):
        (tiny_copy / name).write_text("{}")
    want = sijo.encode(tiny_copy, ["the sea and the land"])
    file.unlink()
    convert(tiny_copy, tmp_path / "new")
    assert (sijo.encode(tmp_path / "new", ["the sea and the land"]) == want).all()
    assert {path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*.*")} == {
        *("config.json", "model.safetensors", "manifest.json", "tokenizer.json", "special_tokens_map.json"),
        *("modules.json", "sentence_bert_config.json", "1_Pooling/config.json", "README.md"),
    }
    assert (tmp_path / "new/LICENSE").read_text() == "{}"


def test_published_vocabularies_go_along(tmp_path):
    # kills: vocab.json without its merges, lower case forgotten with tokenizer_config.json
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Sea", "sea"]
    place(tmp_path / "old", MASKED, aged(masked()[1]))
    (tmp_path / "old/vocab.txt").write_text("\n".join(words))
    (tmp_path / "old/tokenizer_config.json").write_text('{"do_lower_case": false}')
    convert(tmp_path / "old", tmp_path / "new")
    assert sijo.load(tmp_path / "new").tokenizer.windows(["Sea sea"]) == [[[2, 5, 6, 3]]]
    place(tmp_path / "ctrl", CTRL, public("CTRLLMHeadModel", CTRL).state_dict(), weights="a.safetensors")
    (tmp_path / "ctrl/vocab.json").write_text(json.dumps({"<unk>": 0, "sea": 1, "se@@": 2, "a": 3}))
    (tmp_path / "ctrl/merges.txt").write_text("#version: 0.2\ns e\nse a</w>\n")
    convert(tmp_path / "ctrl", tmp_path / "new-ctrl")
    assert sijo.load(tmp_path / "new-ctrl").tokenizer.windows(["sea"]) == [[[1]]]


def test_files_beside_that_cannot_be(tmp_path, refused):
    # kills: a file of the machine copied into the new folder, a length that is not looked at before it is copied
    place(tmp_path / "old", MASKED, masked()[1])
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "old/LICENSE").symlink_to(tmp_path / "secret")
    refused(4, "outside of it", "convert", tmp_path / "old", tmp_path / "new")
    (tmp_path / "old/LICENSE").unlink()
    (tmp_path / "old/README.md").touch()
    os.truncate(tmp_path / "old/README.md", converting.LARGEST + 1)  # of nothing: it takes no room
    with pytest.raises(CheckpointError, match=r"README.md is longer than"):
        convert(tmp_path / "old", tmp_path / "new")
    place(tmp_path / "old", ALBERT, public("AlbertModel", ALBERT).state_dict(), config="albert_config.json")
    for name in ("README.md", "config.json"):
        (tmp_path / "old" / name).unlink()
    (tmp_path / "old/30k-clean.model").write_bytes(b"no vocabulary")  # as ALBERT's first code called it
    refused(5, "spiece.model is not whole", "convert", tmp_path / "old", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "secret"]


# ----------------------------------------------------------------------------------------- whole or absent


def test_targets(tmp_path, refused, sijo_cli):
    # kills: a model overwritten unasked, the source lost with its pickle, a mixture of old and new
    file = place(tmp_path / "old", MASKED, masked()[1], weights="a.safetensors")
    new = tmp_path / "old/inside/new"
    assert sijo_cli("convert", file, new).code == 0  # beside the source's own files, of which none is touched
    assert sorted(path.name for path in (tmp_path / "old").iterdir()) == ["a.safetensors", "config.json", "inside"]
    refused(2, ["exists already", "another folder"], "convert", file, new)
    (new / "stale.txt").write_text("stale")
    assert sijo_cli("convert", file, new, "--overwrite").code == 0
    assert not (new / "stale.txt").exists()
    sijo.load(new, "mlm")
    for target in (tmp_path / "old", tmp_path, tmp_path / "old/../old"):
        refused(2, ["would be lost", "another folder"], "convert", file, target, "--overwrite")
    (tmp_path / "link").symlink_to(tmp_path / "old")
    refused(2, "would be lost", "convert", file, tmp_path / "link", "--overwrite")


def test_a_source_that_was_changed_since(tmp_path, refused):
    # kills: a flipped bit given a manifest of its own
    file = place(tmp_path / "old", MASKED, masked()[1])
    convert(tmp_path / "old", tmp_path / "new")
    damaged = bytearray((tmp_path / "new/model.safetensors").read_bytes())
    damaged[-7] ^= 1
    (tmp_path / "new/model.safetensors").write_bytes(damaged)
    refused(5, "SHA-256", "convert", tmp_path / "new", tmp_path / "never")
    assert file.exists()


def test_a_full_disk(tmp_path, small_disk, sijo_cli):
    # kills: half a model in place, litter on a full disk, another exit code
    file = place(tmp_path / "old", MASKED, masked()[1])
    disk = small_disk(40_000)
    ran = sijo_cli("convert", file, disk / "new")
    ran.must_say(74, "No space left")
    assert ran.out == b"" and list(disk.iterdir()) == []
