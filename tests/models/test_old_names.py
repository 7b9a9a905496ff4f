"""Checkpoints under older, joint or partial names. Each test names the fault it is to catch."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import battery
from battery import cases
from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import load
from sijo.errors import CheckpointError, RefusedError
from sijo.models import FAMILIES

PUBLISHED = [name for name in FAMILIES if name not in ("GLiClass", "sijo")]
NEWER = ("bart", "modernbert")
"""Whose norms had other names from the first."""
TIED = {
    "bert": ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"),
    "albert": ("predictions.decoder.weight", "predictions.decoder.bias"),
    "distilbert": ("vocab_projector.weight",),
    "electra": ("generator_lm_head.weight",),
    "deberta": ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"),
    "deberta-v2": ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"),
    "ctrl": ("lm_head.weight",),
    "modernbert": ("decoder.weight",),
    **dict.fromkeys(
        ("roberta", "xlm-roberta", "camembert", "mpnet"), ("lm_head.decoder.weight", "lm_head.decoder.bias")
    ),
}


def truth_of(shelf, model_type, *heads, legacy=True):
    """A public checkpoint with the first of these heads that a family has; None for none."""
    for head in heads:
        for series in ("lesson", "public"):
            for case in cases(model_type, series):
                name = None if case.layout is None else case.layout.name
                fits = legacy or case.fields.get("legacy") is False
                if (
                    case.is_public
                    and name == head
                    and fits
                    and (case.fields.get("legacy") is not False or not legacy)
                ):
                    return shelf.truth(case)
    raise AssertionError(f"no {heads} of {model_type}")


def lm(shelf, model_type):
    return truth_of(shelf, model_type, *(("sequence-classification",) if model_type == "bart" else ("mlm", "lm")))


@pytest.fixture
def changed(tmp_path):
    """`changed(truth, change, **fields)`: a copy whose tensors went through `change`; None in fields takes away."""

    def copy(truth, change, **fields):
        folder = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(truth.folder, folder)
        tensors = change(load_file(folder / "model.safetensors"))
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
        said = json.loads((folder / "config.json").read_text()) | fields
        said = {name: value for name, value in said.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(said))
        return folder

    return copy


def same(truth, folder, unused=()):
    """The folder opens with the truth's heads, as the same model."""
    one, two = truth.open(), load(folder, head=truth.heads or None)
    assert two.unused == tuple(unused)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name]), name


def old_norms(tensors):
    names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    return {
        next((name.replace(new, old) for new, old in names.items() if name.endswith(new)), name): tensor
        for name, tensor in tensors.items()
    }


@pytest.mark.parametrize("model_type", [name for name in PUBLISHED if name not in (*NEWER, "ctrl", "distilbert")])
def test_gamma_and_beta(shelf, changed, model_type):
    # kills: norms of the first releases that are not found, or found the wrong way round
    truth = lm(shelf, model_type)
    folder = changed(truth, old_norms)
    assert any(name.endswith(".gamma") for name in load_file(folder / "model.safetensors"))
    same(truth, folder)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
@pytest.mark.parametrize("model_type", PUBLISHED)
def test_a_training_wrappers_prefix(shelf, changed, model_type, wrapper):
    # kills: a checkpoint saved from inside DataParallel, torch.compile or Lightning that is called empty
    truth = lm(shelf, model_type)
    same(truth, changed(truth, lambda tensors: {f"{wrapper}{name}": tensor for name, tensor in tensors.items()}))


@pytest.mark.parametrize("model_type", PUBLISHED)
def test_an_encoder_with_or_without_prefix(shelf, changed, model_type):
    # kills: a bare encoder that is found only with the prefix it has beside a head, or only without
    bare = truth_of(shelf, model_type, None)
    prefix = FAMILIES[model_type].prefix
    same(bare, changed(bare, lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()}))
    head = lm(shelf, model_type)
    strip = lambda tensors: {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}  # noqa: E731
    same(head, changed(head, strip))


@pytest.mark.parametrize(
    "model_type, old",
    [
        ("deberta", "bert."),
        ("deberta-v2", "bert."),
        ("electra", "discriminator.electra."),
        ("electra", "generator.electra."),
        ("electra", "discriminator."),
    ],
)
def test_older_and_joint_prefixes(shelf, changed, model_type, old):
    # kills: DeBERTa's first files, and ELECTRA's out of a joint model
    truth, prefix = truth_of(shelf, model_type, None), FAMILIES[model_type].prefix
    same(truth, changed(truth, lambda tensors: {old + name: tensor for name, tensor in tensors.items()}))
    assert prefix != old


def test_a_joint_models_head(shelf, changed):
    # kills: the head of a joint model that is left behind with its prefix
    truth = truth_of(shelf, "electra", "rtd")
    joint = changed(truth, lambda tensors: {f"discriminator.{name}": tensor for name, tensor in tensors.items()})
    same(truth, joint)


@pytest.mark.parametrize("model_type", TIED)
def test_copies_of_tied_tensors_may_be_there_or_not(shelf, changed, model_type):
    # kills: a copy reported as unused, or demanded
    truth = lm(shelf, model_type)
    theirs = truth.model.state_dict()

    def add(tensors):
        return tensors | {name: theirs[name].clone() for name in TIED[model_type]}

    with_copies = changed(truth, add)
    assert set(TIED[model_type]) <= set(load_file(with_copies / "model.safetensors"))
    same(truth, with_copies)
    assert set(load(with_copies).unused) >= set(TIED[model_type])  # the encoder alone does not need them


@pytest.mark.parametrize("model_type", TIED)
def test_only_the_copy_is_there(shelf, changed, model_type):
    # kills: a tied table that is looked for under one of its names only
    truth = lm(shelf, model_type)
    theirs = truth.model.state_dict()
    copy = TIED[model_type][-1]

    def swap(tensors):
        original = next(
            name
            for name, tensor in tensors.items()
            if tensor.shape == theirs[copy].shape and torch.equal(tensor, theirs[copy])
        )
        return {name: tensor for name, tensor in tensors.items() if name != original} | {copy: theirs[copy].clone()}

    folder = changed(truth, swap)
    same(truth, folder)
    assert describe(folder).heads == describe(truth.folder).heads


@pytest.mark.parametrize("model_type", TIED)
def test_an_output_table_of_its_own_is_refused(shelf, changed, model_type):
    # kills: outputs read with another table than the checkpoint's, in silence
    truth = lm(shelf, model_type)
    theirs = truth.model.state_dict()
    copy = TIED[model_type][0]
    other = changed(truth, lambda tensors: tensors | {copy: theirs[copy] + 1})
    with pytest.raises(RefusedError, match=f"{copy} of its own"):
        load(other, head=truth.heads)
    assert load(other).unused  # the encoder alone opens
    absent = changed(truth, lambda tensors: tensors, tie_word_embeddings=False)
    with pytest.raises(RefusedError, match="of its own"):
        load(absent, head=truth.heads)
    equal = changed(truth, lambda tensors: tensors | {copy: theirs[copy].clone()}, tie_word_embeddings=False)
    same(truth, equal)


@pytest.mark.parametrize("model_type", PUBLISHED)
def test_counting_buffers_are_no_weights(shelf, changed, model_type):
    # kills: the numbers 0, 1, 2, … of old files reported as unused, and anything else kept quiet
    truth = lm(shelf, model_type)
    family = FAMILIES[model_type]

    def add(tensors):
        return tensors | {family.prefix + name: torch.arange(9)[None] for name in family.left_behind}

    same(truth, changed(truth, add))
    stray = {f"{family.prefix}stray": torch.zeros(2), "nsp.weight": torch.zeros(2)}
    folder = changed(truth, lambda tensors: tensors | stray)
    same(truth, folder, unused=sorted(map(family.full_name, stray)))


@pytest.mark.parametrize("model_type", ["deberta", "deberta-v2"])
def test_places_make_a_masked_lm_head_the_mask_decoder(shelf, changed, model_type):
    # kills: the mask decoder taken for a head that reads the last layer, and the other way round
    plain = truth_of(shelf, model_type, "mlm", legacy=False)
    assert any(name.startswith("lm_predictions") for name in battery.tensors_of(plain.folder))
    assert plain.open().head_values["mlm"].places == 0
    a = plain.open().architecture
    said = json.loads((plain.folder / "config.json").read_text())
    places = said["max_position_embeddings"]
    name = "deberta.embeddings.position_embeddings.weight"
    table = torch.randn(places, a.embedding_size, generator=torch.Generator().manual_seed(0))
    told = changed(plain, lambda tensors: tensors | {name: table}, position_biased_input=False)
    opened = load(told, head="mlm")
    assert opened.head_values["mlm"].places == places and torch.equal(opened.head["mlm"].places.weight, table)
    assert load(told).unused[0].startswith("deberta.embeddings.position_embeddings")


def test_rows_of_in_proj_go_by_heads(shelf):
    # kills: the first third taken for all queries
    truth = truth_of(shelf, "deberta", None)
    model, theirs = truth.open(), battery.tensors_of(truth.folder)
    heads, width = model.architecture.heads, model.architecture.hidden_size
    fused = theirs["encoder.layer.0.attention.self.in_proj.weight"]
    part = width // heads
    for number, name in enumerate(("query", "key", "value")):
        ours = getattr(model.transformer.blocks[0].attention, name).weight
        for head in range(heads):
            start = (3 * head + number) * part
            assert torch.equal(ours[head * part : (head + 1) * part], fused[start : start + part])


def test_a_name_that_comes_twice_is_refused(shelf, changed):
    # kills: one of two tensors chosen by the order in the file
    truth = lm(shelf, "bert")
    name = "bert.embeddings.word_embeddings.weight"
    folder = changed(truth, lambda tensors: tensors | {f"module.{name}": tensors[name] + 1})
    with pytest.raises(CheckpointError, match="twice"):
        load(folder)


@pytest.mark.parametrize("model_type", PUBLISHED)
def test_what_is_absent_and_what_is_left_are_both_named(shelf, changed, model_type):
    # kills: a message with one half of a misspelt name, and fresh weights where the file has none
    truth = lm(shelf, model_type)
    vectors = [name for name in battery.tensors_of(truth.folder) if name.endswith(("bias", "norm.weight"))]
    bias = next(name for name in vectors if "ayer" in name)  # or, of a network without biases, a norm

    def misspelt(tensors):
        return {name.replace(bias, bias.upper()): tensor for name, tensor in tensors.items()}

    with pytest.raises(CheckpointError) as caught:
        load(changed(truth, misspelt), head=truth.heads)
    assert f"no {bias}" in str(caught.value) and "not used" in str(caught.value)

    def cut(tensors):
        return {name: tensor[:-1] if name == bias else tensor for name, tensor in tensors.items()}

    with pytest.raises(CheckpointError, match="another shape"):
        load(changed(truth, cut), head=truth.heads)


def test_a_config_that_does_not_say_which_class_it_is(shelf, changed):
    # kills: a classifier for texts taken for one of tokens in silence, and heads that depend on `architectures`
    for head, both in (("sequence-classification", False), ("token-classification", True)):
        truth = truth_of(shelf, "distilbert", head)
        silent = changed(truth, lambda tensors: tensors, architectures=None)
        assert head in describe(silent).heads
        assert ("token-classification" in describe(silent).heads) and (
            both or "sequence-classification" in describe(silent).heads
        )
        same(truth, silent)
