"""LoRA adapters beside peft, which merges them its own way. Each test names the fault it is to catch."""

import itertools
import json
import re
import shutil

import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import sijo
from battery import scramble
from sijo.checkpoints.adapters import CONFIG, TENSORS, adapter_in
from sijo.checkpoints.describe import describe
from sijo.checkpoints.lora.patterns import Pattern
from sijo.errors import CheckpointError, RefusedError, SettingError, SijoWarning
from sijo.inference.encode import engine_of

TINY = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20}
TINY |= {"max_position_embeddings": 32}
APART = {
    "relative_attention": True,
    "pos_att_type": "c2p|p2c",
    "position_biased_input": False,
    "type_vocab_size": 0,
}
SIZES = {
    "bert": TINY,
    "distilbert": {"dim": 12, "n_layers": 2, "n_heads": 3, "hidden_dim": 20, "max_position_embeddings": 32},
    "electra": TINY | {"embedding_size": 8},
    "albert": TINY | {"embedding_size": 8},
    "deberta": TINY | APART,
    "deberta-v2": TINY | APART | {"position_buckets": 4, "share_att_key": True, "norm_rel_ebd": "layer_norm"},
    "ctrl": {"n_embd": 12, "n_layer": 2, "n_head": 3, "dff": 20, "n_positions": 32},
}
ATTENTION = {
    "bert": ["query", "value"],
    "distilbert": ["q_lin", "v_lin"],
    "electra": ["query", "value"],
    "albert": ["query", "value"],
    "deberta": ["in_proj", "pos_proj", "pos_q_proj"],
    "deberta-v2": ["query_proj", "value_proj"],
    "ctrl": ["Wq", "Wv"],
}
CLASSES = {
    "SEQ_CLS": ("AutoModelForSequenceClassification", "sequence-classification"),
    "TOKEN_CLS": ("AutoModelForTokenClassification", "token-classification"),
    "FEATURE_EXTRACTION": ("AutoModel", None),
    "CAUSAL_LM": ("AutoModelForCausalLM", "lm"),
    "QUESTION_ANS": ("AutoModelForQuestionAnswering", "question-answering"),
    "MLM": ("AutoModelForMaskedLM", "mlm"),
}
WORDS = 40


class Made:
    """A base model's folder, an adapter's, and what peft makes of both."""

    def __init__(self, place, family="bert", task="SEQ_CLS", *, columns=3, fields=None, **lora):
        cls, self.head = CLASSES[task]
        config = transformers.AutoConfig.for_model(family, vocab_size=WORDS, **(SIZES[family] | (fields or {})))
        if task.endswith("CLS"):
            config.num_labels = columns
        self.base, self.folder = place / "base", place / "adapter"
        base = scramble(getattr(transformers, cls).from_config(config), 0.2)
        base.save_pretrained(self.base)
        lora = {"r": 3, "lora_alpha": 7, "target_modules": ATTENTION[family]} | lora
        adapted = peft.get_peft_model(base, peft.LoraConfig(task_type=None if task == "MLM" else task, **lora))
        chance = torch.Generator().manual_seed(3)
        with torch.no_grad():  # of those that are trained: at birth B is 0, and an adapter that is lost looks right
            for weight in adapted.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn(weight.shape, generator=chance) * 0.3)
        adapted.save_pretrained(self.folder)
        again = getattr(transformers, cls).from_pretrained(self.base)
        self.merged = peft.PeftModel.from_pretrained(again, self.folder).merge_and_unload().eval()

    def beside(self):
        """Both in one folder."""
        for name in (CONFIG, TENSORS):
            shutil.copy(self.folder / name, self.base)
        return self.base


def batch(family="bert"):
    ids = torch.randint(5, WORDS, (2, 9), generator=torch.Generator().manual_seed(1))
    return ids, None if family == "ctrl" else torch.arange(9) < torch.tensor([[9], [6]])


def check(made, model, family="bert"):
    """Every layer and the answers are those of peft's merged model, and not the base model's."""
    ids, keep = batch(family)
    real = torch.ones_like(ids).bool() if keep is None else keep
    given = {} if keep is None else {"attention_mask": keep.long()}
    with torch.inference_mode():
        want = made.merged(ids, **given, output_hidden_states=True)
        got = model(ids, keep, output_hidden_states=True)
    for a, b in zip(want.hidden_states, got.hidden_states, strict=True):
        assert (a - b)[real].abs().max() < 1e-5
    if made.head == "question-answering":
        theirs = torch.stack([want.start_logits, want.end_logits], -1)
    else:
        theirs = want.get("logits")
    if made.head:
        gap = (theirs - got.answers[made.head]).abs()
        assert (gap[real] if gap.dim() == 3 else gap).max() < 1e-5
    return got


@pytest.mark.parametrize("task", ["SEQ_CLS", "TOKEN_CLS", "FEATURE_EXTRACTION", "QUESTION_ANS"])
@pytest.mark.parametrize("family", [name for name in SIZES if name != "ctrl"])
def test_answers_are_those_of_peft(family, task, tmp_path):
    # kills: an adapter that is passed over, added twice, or to another matrix; a head of the base's that stays
    made = Made(tmp_path, family, task)
    alone = sijo.load(made.folder, made.head, base=made.base)
    check(made, alone, family)
    before = sijo.load(made.base, made.head)
    ids, keep = batch()
    assert (before(ids, keep).last_hidden_state - alone(ids, keep).last_hidden_state).abs().max() > 1e-2
    check(made, sijo.load(made.beside(), made.head), family)


@pytest.mark.parametrize("task", ["SEQ_CLS", "MLM"])
@pytest.mark.parametrize("family", ["bert", "electra", "albert", "distilbert"])
def test_all_biases_of_every_head_are_those_of_peft(family, task, tmp_path):
    # kills: a refusal of what peft writes twice, a head's biases by the adapter's own name, and the bias of words
    # that is published by two names
    made = Made(tmp_path, family, task, bias="all")
    check(made, sijo.load(made.folder, made.head, base=made.base), family)


def test_ctrl_writes_as_with_peft(tmp_path):
    # kills: a network that writes and is read without its adapter
    made = Made(tmp_path, "ctrl", "CAUSAL_LM")
    check(made, sijo.load(made.folder, "lm", base=made.base), "ctrl")


def test_a_table_that_is_published_twice_stays_one(tmp_path):
    # kills: a table that the adapter changed beside its old copy, which a head then cannot read by
    config = transformers.BertConfig(vocab_size=WORDS, **TINY)
    scramble(transformers.BertForMaskedLM(config), 0.2).save_pretrained(tmp_path / "base")
    tensors = load_file(tmp_path / "base/model.safetensors")
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    save_file(tensors, tmp_path / "base/model.safetensors", metadata={"format": "pt"})
    base = transformers.BertForMaskedLM.from_pretrained(tmp_path / "base")
    lora = peft.LoraConfig(r=2, target_modules=["word_embeddings", "query"], lora_alpha=5)
    adapted = peft.get_peft_model(base, lora)
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=chance) * 0.3)
    adapted.save_pretrained(tmp_path / "adapter")
    want = adapted.merge_and_unload().eval()
    ids, keep = batch()
    with torch.inference_mode():
        got = sijo.load(tmp_path / "adapter", "mlm", base=tmp_path / "base")(ids, keep).logits
        gap = (got - want(ids, attention_mask=keep.long()).logits)[keep].abs().max()
    assert gap < 1e-5


WAYS = {
    "a rank for each": {"rank_pattern": {"query": 2, "layer.1.attention.self.value": 5}, "use_rslora": True},
    "alphas": {"alpha_pattern": {r".*\.0\..*query": 2, "value": 20}},
    "patterns with a place": {"rank_pattern": {"^bert.encoder.layer.0.attention.self.query": 1}},
    "rank-stabilised": {"use_rslora": True, "r": 5},
    "a pattern": {"target_modules": r".*\.layer\.\d+\.attention\.self\.(query|key)"},
    "a pattern of layers": {"target_modules": r"(?:.*?\.)?layer\.[01]\..*dense"},
    "every linear map": {"target_modules": "all-linear", "task": "FEATURE_EXTRACTION"},
    "but some": {"target_modules": ["query", "key", "value"], "exclude_modules": ["key"]},
    "but a pattern": {"target_modules": ["query", "dense"], "exclude_modules": r".*(output|pooler).*"},
    "a layer": {"layers_to_transform": 1},
    "layers": {"layers_to_transform": [0], "layers_pattern": "layer"},
    "layers by another name": {"layers_to_transform": [1], "layers_pattern": ["block", "layer"]},
    "biases of them": {"bias": "lora_only"},
    "all biases": {"bias": "all"},
    "a bias of their own": {"lora_bias": True},
    "tables": {"target_modules": ["word_embeddings", "query", "position_embeddings"]},
    "tokens": {"trainable_token_indices": [3, 17, 5]},
    "tokens of a table": {"trainable_token_indices": {"token_type_embeddings": [1], "word_embeddings": [9]}},
    "modules whole": {"modules_to_save": ["pooler", "layer.1.output"]},
    "one by its whole name": {"target_modules": ["bert.encoder.layer.0.attention.self.query"]},
    "turned round": {"fan_in_fan_out": True},
    "drawn otherwise": {"init_lora_weights": "gaussian"},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_adapting_is_that_of_peft(way, tmp_path):
    # kills: alpha / r for alpha / sqrt(r), one rank for all, a layer too many; biases, tables, tokens and modules
    # that are kept whole and lost
    made = Made(tmp_path, **({"task": "SEQ_CLS"} | WAYS[way]))
    check(made, sijo.load(made.folder, made.head, base=made.base))
    folder = made.beside()
    check(made, sijo.load(folder, made.head))
    assert not sijo.load(folder, made.head).unused


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_merged_in_float32(dtype, tmp_path):
    # kills: a sum that is rounded before it is made
    made = Made(tmp_path)
    exact = sijo.load(made.folder, made.head, base=made.base)
    half = sijo.load(made.folder, made.head, base=made.base, dtype=dtype)
    for name, weight in exact.state_dict().items():
        assert torch.equal(weight.to(half.state_dict()[name].dtype), half.state_dict()[name]), name


def test_a_head_that_only_the_adapter_has(tmp_path):
    # kills: a head that is lost with its base model's lack of one; names of columns that belong to another head
    made = Made(tmp_path, columns=5)
    bare = tmp_path / "bare"
    transformers.BertModel.from_pretrained(made.base).save_pretrained(bare)
    config = json.loads((bare / "config.json").read_text()) | {"id2label": {"0": "no", "1": "yes"}}
    (bare / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "label2id"}))
    described = describe(made.folder, base=bare)
    assert described.heads == ("sequence-classification",)
    assert described.labels == tuple(f"LABEL_{i}" for i in range(5))
    made.merged.bert.pooler.load_state_dict(transformers.BertModel.from_pretrained(bare).pooler.state_dict())
    check(made, sijo.load(made.folder, made.head, base=bare))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An adapter of query and value; do not change its folders."""
    return Made(tmp_path_factory.mktemp("made"))


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the adapter's folder that a test may spoil."""
    return shutil.copytree(made.folder, tmp_path / "copy")


def edit(folder, **fields):
    file = folder / CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def change(folder, change):
    tensors = load_file(folder / TENSORS)
    change(tensors)
    save_file(tensors, folder / TENSORS)


A = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight"
B = A.replace("lora_A", "lora_B")


def moved(tensors, old, new):
    """The same matrices under another module's name too."""
    tensors.update({name.replace(old, new): tensors[name].clone() for name in (A, B)})


DAMAGED = {
    "an A that is gone": lambda t: t.pop(A),
    "a B that is gone": lambda t: t.pop(B),
    "both gone": lambda t: (t.pop(A), t.pop(B)),
    "another rank": lambda t: t.update({A: t[A][:2].clone(), B: t[B][:, :2].clone()}),
    "A turned round": lambda t: t.update({A: t[A].T.contiguous()}),
    "another width": lambda t: t.update({B: t[B][:7].clone()}),
    "a layer too many": lambda t: moved(t, "layer.0", "layer.7"),
    "a module nobody asked for": lambda t: moved(t, "query", "key"),
    "a module that is not there": lambda t: moved(t, "self.query", "query"),
    "a weight nobody asked for": lambda t: t.update({A.replace("lora_A.weight", "weight"): torch.zeros(12, 12)}),
    "a head that is gone": lambda t: [t.pop(name) for name in list(t) if "classifier" in name],
    "a head of another width": lambda t: t.update({"base_model.model.classifier.weight": torch.zeros(3, 11)}),
    "twice": lambda t: t.update({A.removeprefix("base_model.model."): t[A].clone()}),
    "nothing": lambda t: t.clear(),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_tensors_that_do_not_fit_are_errors(kind, made, copy):
    # kills: a part of an adapter that is left out in silence, or forced into a matrix
    change(copy, DAMAGED[kind])
    with pytest.raises(CheckpointError):
        sijo.load(copy, made.head, base=made.base)


REFUSED = {
    "DoRA": ({"use_dora": True}, "use_dora"),
    "IA3": ({"peft_type": "IA3"}, "IA3"),
    "prefix": ({"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING"),
    "prompt": ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING"),
    "LoHa": ({"peft_type": "LOHA"}, "LOHA"),
    "VeRA": ({"peft_type": "VERA"}, "VERA"),
    "OFT": ({"peft_type": "OFT"}, "OFT"),
    "AdaLoRA": ({"peft_type": "ADALORA"}, "ADALORA"),
    "of no kind": ({"peft_type": None}, "None"),
    "of tomorrow": ({"use_bdlora": {"target_modules_bd_a": []}, "use_qalora": True}, "use_"),
    "a field of tomorrow": ({"entangled": 0.5}, "entangled"),
    "layers twice": ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication"),
    "parameters": ({"target_parameters": ["experts.gate_up_proj"]}, "target_parameters"),
    "tokens that switch it on": ({"alora_invocation_tokens": [3]}, "alora_invocation_tokens"),
    "PiSSA": ({"init_lora_weights": "pissa"}, "pissa"),
    "LoftQ": ({"init_lora_weights": "loftq"}, "loftq"),
    "OLoRA": ({"init_lora_weights": "olora"}, "olora"),
    "a pattern that looks ahead": ({"target_modules": "(?=.*query).*"}, "pattern"),
    "a pattern that looks back": ({"target_modules": r"(.*)\1"}, "pattern"),
    "a pattern of counts": ({"rank_pattern": {"query{1,9}": 3}}, "pattern"),
    "a long pattern": ({"target_modules": "a?" * 2000}, "characters"),
    "a deep pattern": ({"target_modules": "(" * 300 + ")" * 300}, "pattern"),
    "a bracket left open": ({"target_modules": "(query"}, "pattern"),
    "another library's": ({"config": {"reduction_factor": 16}}, "library adapters"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_merged_is_refused_by_name(kind, made, copy, refused):
    # kills: numbers of another method read as plain LoRA, or left out; a pattern of a stranger's that is run
    fields, word = REFUSED[kind]
    edit(copy, **fields)
    with pytest.raises(RefusedError, match=word):
        sijo.load(copy, made.head, base=made.base)
    refused(4, word, "classify", "--model", copy, "--base", made.base, stdin=b"the sea\n")


WRONG = {
    "a rank of none": {"r": 0},
    "a rank in words": {"r": "3"},
    "half a rank": {"r": 2.5},
    "a rank past all": {"r": 10**12},
    "an alpha in words": {"lora_alpha": "16"},
    "targets that are numbers": {"target_modules": [1, 2]},
    "no targets": {"target_modules": None, "modules_to_save": None},
    "bias of another kind": {"bias": "some"},
    "a rank in a list": {"rank_pattern": ["query"]},
    "tokens below 0": {"trainable_token_indices": [-1]},
    "a base that is a number": {"base_model_name_or_path": 3},
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_configuration_that_cannot_be_is_an_error(kind, made, copy):
    # kills: a default in place of what was not understood
    edit(copy, **WRONG[kind])
    with pytest.raises(CheckpointError, match="copy it again"):
        sijo.load(copy, made.head, base=made.base)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"LORA"', b"\xff"])
def test_damaged_json_is_an_error(content, made, copy):
    # kills: an adapter that is passed over because its configuration cannot be read
    (copy / CONFIG).write_bytes(content)
    with pytest.raises(CheckpointError, match=CONFIG):
        sijo.load(copy, made.head, base=made.base)


PATHS = [
    "/etc",
    "../base",
    "base/../../base",
    "~/base",
    "file:///etc",
    "./base",
    "models/base/x",
    "a b/c",
    "base",
    "C:\\x",
    "\ud83d/x",
    "../",
    "",
]


@pytest.mark.parametrize("name", PATHS)
def test_a_path_in_the_file_is_never_followed(name, made, copy, monkeypatch):
    # kills: a base model of the file's choosing, from anywhere on the machine
    shutil.copytree(made.base, copy.parent / "base")
    monkeypatch.chdir(copy.parent)
    edit(copy, base_model_name_or_path=name)
    with pytest.raises((RefusedError, SettingError), match="--base"):
        sijo.load(copy, made.head)
    assert sijo.load(copy, made.head, base="base")


def test_a_name_on_the_hub_is_looked_for_there_alone(made, copy, monkeypatch, tmp_path):
    # kills: a folder that is called as a name on the Hub, taken for it; a path of two parts that is asked for from
    # the Hub, as whoever's repository; an error that does not say who named it, or how to name a folder
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shutil.copytree(made.base, tmp_path / "org/name")
    monkeypatch.chdir(tmp_path)
    edit(copy, base_model_name_or_path="org/name", revision="v2")
    for where in (tmp_path, copy):  # beside where one is, or beside the adapter
        monkeypatch.chdir(where)
        with pytest.raises(RefusedError, match=rf"{CONFIG} names its base model 'org/name', and there is.*--base"):
            sijo.load(copy, made.head)
    (tmp_path / "org/name").rename(tmp_path / "other")
    with pytest.raises(SettingError, match=rf"{CONFIG} names its.*'org/name'.*not in the Hub's cache.*--base"):
        sijo.load(copy, made.head)
    repo = tmp_path / "hub/models--org--name"
    commit = "0123456789abcdef" * 2 + "01234567"
    shutil.copytree(made.base, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs/v2").write_text(commit)
    check(made, sijo.load(copy, made.head))
    edit(copy, revision="v3")
    with pytest.raises(SettingError, match="not in the Hub's cache"):
        sijo.load(copy, made.head)


def test_what_lies_about_is_never_passed_over(made, copy, tmp_path):
    # kills: half an adapter beside weights, a pickle, another library's, adapters one floor down
    whole = shutil.copytree(made.base, tmp_path / "whole")
    shutil.copy(made.folder / TENSORS, whole)
    with pytest.raises(CheckpointError, match=CONFIG):
        sijo.load(whole)
    (whole / TENSORS).rename(whole / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=CONFIG):
        sijo.load(whole)
    shutil.copy(made.folder / CONFIG, whole)
    with pytest.raises(RefusedError, match="pickle"):
        sijo.load(whole)
    (whole / "adapter_model.bin").unlink()
    with pytest.raises(CheckpointError, match="no adapter_model"):
        sijo.load(whole)
    (whole / CONFIG).unlink()
    for name in ("pytorch_adapter.bin", "head_config.json"):
        (whole / name).write_text("{}")
        with pytest.raises(RefusedError, match="library adapters"):
            sijo.load(whole)
        (whole / name).unlink()
    shutil.copytree(made.folder, whole / "late")
    with pytest.warns(SijoWarning, match="holds adapters in late"):
        sijo.load(whole)
    check(made, sijo.load(whole / "late", made.head, base=whole))


def test_a_base_that_cannot_be(made, copy, tmp_path):
    # kills: base= that is passed over, an adapter upon an adapter, a sum with quantized weights
    with pytest.raises(SettingError, match="holds none"):
        sijo.load(made.base, base=made.base)
    with pytest.raises(SettingError, match="holds an adapter and not the model"):
        edit(copy, base_model_name_or_path=None)
        sijo.load(copy)
    both = shutil.copytree(made.base, tmp_path / "both")
    for name in (CONFIG, TENSORS):
        shutil.copy(made.folder / name, both)
    with pytest.raises(SettingError, match="leave it out"):
        sijo.load(both, base=made.base)
    with pytest.raises(RefusedError, match="adapter too"):
        sijo.load(copy, base=both)
    small = shutil.copytree(made.base, tmp_path / "small")
    fields = json.loads((small / "config.json").read_text()) | {"quantization_config": {"load_in_4bit": True}}
    (small / "config.json").write_text(json.dumps(fields))
    with pytest.raises(RefusedError, match="quantized"):
        sijo.load(copy, base=small)
    other = Made(tmp_path / "other", fields={"hidden_size": 24})
    with pytest.raises(CheckpointError, match="another model"):
        sijo.load(copy, base=other.base)


def test_two_adapters_have_two_fingerprints(made, copy):
    # kills: vectors and runs of the base model, or of another adapter, taken for this one's
    def fingerprint(folder, base):
        return sijo.load(folder, made.head, base=base).fingerprint

    change(copy, lambda tensors: tensors.update({B: tensors[B] * 2}))
    three = {fingerprint(made.base, None), fingerprint(made.folder, made.base), fingerprint(copy, made.base)}
    assert len(three) == 3
    before = fingerprint(copy, made.base)
    edit(copy, lora_alpha=8)
    assert fingerprint(copy, made.base) != before
    assert fingerprint(made.folder, made.base) in three


@pytest.fixture(scope="module")
def reader(tiny_model, tmp_path_factory):
    """An adapter for a model that has a tokenizer: three columns, with names."""
    place = tmp_path_factory.mktemp("reader")
    words = len(json.loads((tiny_model / "tokenizer.json").read_text())["model"]["vocab"])
    config = transformers.BertConfig(vocab_size=words, **TINY, id2label={0: "sea", 1: "land", 2: "sky"})
    scramble(transformers.BertForSequenceClassification(config), 0.2).save_pretrained(place / "base")
    shutil.copy(tiny_model / "tokenizer.json", place / "base")
    base = transformers.BertForSequenceClassification.from_pretrained(place / "base")
    adapted = peft.get_peft_model(
        base, peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    )
    scramble(adapted, 0.4).save_pretrained(place / "adapter")
    return place


def test_commands_take_the_base(reader, sijo_cli, tmp_path):
    # kills: a command that reads the base model alone, or cannot be told of it
    model = sijo.load(reader / "adapter", "sequence-classification", base=reader / "base")
    texts = ["the sea", "a late goal", "old bread"]
    logits = engine_of(model).judge(texts).logits
    want = [model.labels[i] for i in logits.argmax(1)]
    base = sijo.load(reader / "base", "sequence-classification")
    assert np.abs(engine_of(base).judge(texts).logits - logits).max() > 1e-2

    given = ["--model", reader / "adapter", "--base", reader / "base"]
    ran = sijo_cli("classify", *given, "--format", "jsonl", stdin="\n".join(texts).encode())
    assert [json.loads(line)["label"] for line in ran.out.splitlines()] == want
    (tmp_path / "gold.csv").write_text(
        "text,label\n" + "".join(f"{t},{w}\n" for t, w in zip(texts, want, strict=True))
    )
    ran = sijo_cli("evaluate", "--data", tmp_path / "gold.csv", *given, "--format", "json")
    assert json.loads(ran.out)["accuracy"]["value"] == 1
    classifier = sijo.ZeroShotClassifier(model=reader / "adapter", base=reader / "base")
    assert classifier.predict(texts).tolist() == want
    assert (
        sijo.ZeroShotClassifier(model=sijo.load(reader / "adapter", base=reader / "base")).predict(texts).tolist()
        == want
    )
    vectors = sijo.encode(reader / "adapter", texts, base=reader / "base")
    np.testing.assert_allclose(vectors, sijo.encode(model, texts), atol=1e-6)

    ran = sijo_cli("inspect", reader / "adapter", "--base", reader / "base", "--format", "json")
    told = json.loads(ran.out)
    assert told["adapter"] == {"rank": 2, "alpha": 8, "targets": ["query", "value"], "base": str(reader / "base")}
    ran = sijo_cli("inspect", reader / "adapter", "--base", reader / "base", "--format", "table")
    assert b"LoRA of rank 2" in ran.out

    assert sijo_cli("convert", reader / "adapter", tmp_path / "whole", "--base", reader / "base").code == 0
    whole = sijo.load(tmp_path / "whole", "sequence-classification")
    assert adapter_in(tmp_path / "whole") is None and whole.labels == model.labels
    np.testing.assert_allclose(engine_of(whole).judge(texts).logits, logits, atol=1e-6)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "whole")
    ids = torch.tensor(whole.tokenizer.windows(texts[:1])[0])
    np.testing.assert_allclose(theirs.eval()(ids).logits.detach().numpy(), logits[:1], atol=1e-5)


def test_a_sentence_encoder_may_have_one(tmp_path, tiny_model):
    # kills: an adapter of a sentence encoder that is passed over, as every folder of steps with one is
    sentence = pytest.importorskip("sentence_transformers")
    place = shutil.copytree(tiny_model, tmp_path / "base")
    made = sentence.SentenceTransformer(str(place))
    made.add_adapter(peft.LoraConfig(task_type="FEATURE_EXTRACTION", r=2, target_modules=["query", "value"]))
    chance = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "lora_" in name:
                weight.add_(torch.randn(weight.shape, generator=chance) * 0.3)
    made.save(str(tmp_path / "adapted"))
    want = made.encode(["the sea", "a late goal"])
    got = sijo.encode(tmp_path / "adapted", ["the sea", "a late goal"], base=place)
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert sijo.load(tmp_path / "adapted", base=place).sentence.trained


PATTERNS = [r".*\.(query|value)", r"(?:.*?\.)?layer\.[01]\.x+y?", r"^a.b$", "a|b|", r"(a|ab)(c|bcd)*", "a*", ""]
PATTERNS += [r"\d+[a-f-]*\w", "(a*)*b", r"x\.y\-z"]


@pytest.mark.parametrize("words", PATTERNS)
def test_patterns_match_as_regular_expressions(words):
    # kills: an adapter's pattern that means something else here than in peft
    texts = ["", "a", "b", "ab", "abc", "abcd", "abcdbcd", "axb", "a.b", "12a", "3f-x", "9", "x.y-z", "aaab", "aaa"]
    texts += ["a.query", "query", "e.layer.0.value", "layer.1.xxy", "m.layer.0.x", "layer.2.x", "q.layer.1.y"]
    texts += ["".join(letters) for letters in itertools.product("ab1.", repeat=4)]
    pattern = Pattern(words)
    assert [text for text in texts if pattern.matches(text)] == [
        text for text in texts if re.fullmatch(words, text)
    ]


def test_no_pattern_takes_long():
    # kills: a pattern that a hostile folder makes the process hang with
    for words in ("(a*)*b", "(a|a)*b", "(a|aa)+b", ".*" * 900 + "b", "(" * 15 + "a*" + ")*" * 15 + "b"):
        assert not Pattern(words).matches("a" * 120)
