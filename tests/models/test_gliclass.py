"""GLiClass beside the public package: rows unpadded, every weight moved, both ways; and what is refused by name.

The 48 made-up configurations are the battery's; here they are held to 1e-5 in double precision, over every family.
"""

import json

import pytest
import torch

import battery
from sijo.checkpoints.load import create, load
from sijo.checkpoints.save import save
from sijo.errors import CheckpointError, RefusedError, SettingError
from sijo.models import FAMILIES, published
from sijo.nn.head_specs import OPEN_LABELS, OnePassHeadSpec
from sijo.nn.heads import Network
from sijo.nn.prepared import prepared

pytest.importorskip("gliclass")
ENCODERS = {
    "bert": {},
    "albert": {"embedding_size": 8},
    "electra": {"embedding_size": 8},
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "position_biased_input": False,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "type_vocab_size": 0,
    },
}
SIZES = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
FIELDS = {"class_token_index": 58, "text_token_index": 59, "vocab_size": 61, "encoder_model": "made up"}
IDS = torch.tensor([[2, 58, 7, 58, 8, 9, 58, 10, 59, 11, 12, 7, 3], [2, 58, 9, 58, 8, 7, 58, 5, 59, 8, 8, 6, 3]])


def peer(encoder="deberta-v2", **fields):
    from gliclass import GLiClassModel, GLiClassModelConfig

    inner = {"model_type": encoder, **SIZES, **ENCODERS[encoder]}
    return battery.scramble(GLiClassModel(GLiClassModelConfig(encoder_config=inner, **FIELDS, **fields)))


def answers(model, ids=IDS):
    with torch.inference_mode():
        return model(ids, attention_mask=torch.ones_like(ids), max_num_classes=3).logits


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    "fields", [{"pooling_strategy": "avg"}, {"scorer_type": "mlp", "normalize_features": True}]
)
def test_the_same_numbers_there_and_back(tmp_path, encoder, fields):
    # kills: a prefix or name of a family's own that is not found below the head's, a vector not scaled, a scale
    # left out, a config that says something else when it is saved
    from gliclass import GLiClassModel

    theirs = peer(encoder, **fields).double()
    theirs.save_pretrained(tmp_path / "theirs")
    want = answers(theirs)
    ours = load(tmp_path / "theirs", OPEN_LABELS)
    assert ours.unused == ()
    got = ours.double()(IDS).logits
    assert (got - want).abs().max() <= 1e-5
    save(load(tmp_path / "theirs", OPEN_LABELS), tmp_path / "ours")
    again = GLiClassModel.from_pretrained(tmp_path / "ours").eval().double()
    assert (answers(again) - want).abs().max() <= 1e-5
    assert json.loads((tmp_path / "ours/config.json").read_text())["architectures"] == ["GLiClassModel"]


def test_a_fresh_one_of_ours_is_one_of_theirs(tmp_path):
    # kills: fields written from our own value of a head that the package reads otherwise, or cannot open
    from gliclass import GLiClassModel

    architecture = FAMILIES["deberta-v2"].config.read(SIZES | ENCODERS["deberta-v2"]).architecture()
    head = OnePassHeadSpec(label_mark=58, text_mark=59, inner=24, label="average", text="max", scorer="mlp")
    fields = FAMILIES["GLiClass"].fields(architecture, {OPEN_LABELS: head})
    config = FAMILIES["GLiClass"].config.read(fields)
    assert config.head() == head and config.architecture() == architecture
    model = create(architecture, "mlm")
    model.head_values = {OPEN_LABELS: head}
    model.head = Network(architecture, {OPEN_LABELS: head}).head
    battery.scramble(model)
    save(model, tmp_path / "ours")
    theirs = GLiClassModel.from_pretrained(tmp_path / "ours").eval()
    assert (answers(theirs) - model(IDS).logits).abs().max() <= 1e-4
    alone = load(tmp_path / "ours")  # its encoder is no GLiClass
    save(alone, tmp_path / "alone")
    assert json.loads((tmp_path / "alone/config.json").read_text())["model_type"] == "deberta-v2"
    assert torch.equal(load(tmp_path / "alone")(IDS).last_hidden_state, alone(IDS).last_hidden_state)


@pytest.mark.parametrize("pooling", ["first", "last", "avg", "max"])
@pytest.mark.parametrize("label", ["first", "average"])
def test_padding_on_either_side_is_not_read(pooling, label):
    # kills: the public package's poolings, which read padding; a mark in the padding counted as a label
    a = FAMILIES["deberta-v2"].config.read(SIZES | ENCODERS["deberta-v2"]).architecture()
    head = OnePassHeadSpec(label_mark=58, text_mark=59, inner=9, label=label, text=pooling)
    network = battery.scramble(Network(a, {OPEN_LABELS: head})).double()
    with torch.inference_mode():
        want = network(IDS).logits
        for left in (True, False):
            padding = torch.full((2, 4), 58)
            keep = torch.ones_like(IDS), torch.zeros_like(padding)
            ids = torch.cat([padding, IDS] if left else [IDS, padding], 1)
            keep = torch.cat(keep[::-1] if left else keep, 1)
            assert (network(ids, keep).logits - want).abs().max() < 1e-9
    network.float()
    assert (prepared(network)(ids, keep).logits - want).abs().max() < 1e-3


def test_a_row_with_fewer_labels_has_zeros():
    # kills: the score of a label that is not there, which the package makes of a projected row of zeros
    a = FAMILIES["deberta-v2"].config.read(SIZES | ENCODERS["deberta-v2"]).architecture()
    network = battery.scramble(Network(a, {OPEN_LABELS: OnePassHeadSpec(label_mark=58, text_mark=59, inner=9)}))
    ids = IDS.clone()
    ids[1, 3] = 4
    scores = network(ids).logits
    assert scores.shape == (2, 3) and scores[1, 2] == 0 and (scores[1, :2] != 0).all()


@pytest.mark.parametrize(
    "field, value",
    [
        ("architecture_type", "bi-encoder"),
        ("scorer_type", "weighted-dot"),
        ("scorer_type", "hopfield"),
        ("pooling_strategy", "rms"),
        ("class_token_pooling", "max"),
        ("embed_class_token", False),
        ("squeeze_layers", True),
        ("use_lstm", True),
        ("use_segment_embeddings", True),
        ("encoder_layer_id", 2),
        ("use_calibrator", True),
        ("label_model_name", "a/b"),
        ("half_the_labels", True),
    ],
)
def test_what_no_checkpoint_is_known_to_have_is_refused_by_name(field, value):
    # kills: a setting that is passed over in silence, so that answers are of another model
    fields = {"encoder_config": {"model_type": "deberta-v2", **SIZES, **ENCODERS["deberta-v2"]}}
    read = FAMILIES["GLiClass"].config.read
    assert read(fields).head().order == "text_first"
    with pytest.raises(RefusedError, match=field):
        read(fields | {field: value})


@pytest.mark.parametrize(
    "change, why",
    [
        ({"encoder_config": {"model_type": "t5"}}, "'t5'; sijo opens a GLiClass over bert"),
        ({"encoder_config": None}, "encoder_config"),
        ({"extract_text_features": True, "pooling_strategy": "avg"}, "rows of zeros"),
        ({"scorer_type": "mlp", "hidden_size": 23}, "hidden_size is 23; its scorer needs 24"),
    ],
)
def test_what_cannot_be_is_refused(change, why):
    # kills: an encoder that nobody knows opened as another, and a pooling that would divide by other numbers
    fields = {"encoder_config": {"model_type": "deberta-v2", **SIZES, **ENCODERS["deberta-v2"]}}
    with pytest.raises(RefusedError, match=why):
        FAMILIES["GLiClass"].config.read(fields | change)


def test_the_published_sizes_have_the_published_numbers_of_parameters():
    # kills: a table, a head or an encoder of another size. Published on the model's page: 187 M and 439 M
    for name, millions in {"gliclass-base-v3.0": 187, "gliclass-large-v3.0": 439}.items():
        family, config = published(name)
        with torch.device("meta"):
            network = Network(config.architecture(), {OPEN_LABELS: config.head()})
        assert family.model_type == "GLiClass"
        assert round(sum(weight.numel() for weight in network.parameters()) / 1e6) == millions


def test_no_other_head_and_no_other_family(tmp_path):
    # kills: a GLiClass saved without what makes it one
    architecture = FAMILIES["bert"].config.read(SIZES).architecture()
    for heads in ({}, {"mlm": battery.LMHeadSpec()}):
        with pytest.raises(SettingError, match="with the head one-pass, and no other"):
            FAMILIES["GLiClass"].fields(architecture, heads)
    for own in ({"neighbours": "hidden"}, {"offset": 0.0}):  # what no GLiClass has is a mix
        head = OnePassHeadSpec(label_mark=58, text_mark=59, inner=9, starts="mark", **own)
        with pytest.raises(SettingError, match="with the head one-pass, and no other"):
            FAMILIES["GLiClass"].fields(architecture, {OPEN_LABELS: head})
    peer().save_pretrained(tmp_path / "theirs")
    with pytest.raises(SettingError, match="it holds: one-pass"):
        load(tmp_path / "theirs", "sequence-classification")
    (tmp_path / "theirs/model.safetensors").unlink()
    with pytest.raises(CheckpointError):
        load(tmp_path / "theirs", OPEN_LABELS)
