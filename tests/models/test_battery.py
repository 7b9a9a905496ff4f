"""Every row of the table of families goes through the battery. Each test names the fault it is to catch.

What a single check kills is planted and seen to turn it red in `test_faults.py`.
"""

import pytest
import torch

import battery
from battery import SETTINGS, Case, cases, layouts
from sijo.models import FAMILIES

pytest.importorskip("transformers")


def every(*series):
    """The cases of all families; one that has no generator fails by itself, in its own test."""
    return [case for name in FAMILIES if name in SETTINGS for one in series for case in cases(name, one)]


def with_ids(made):
    return {"argnames": "case", "argvalues": made, "ids": [str(case).replace(", ", "-") for case in made]}


def said(model_type, field):
    """All that the battery's configs of a family say of a field, of any depth."""

    def values(fields):
        if isinstance(fields, dict):
            for name, value in fields.items():
                if name == field:
                    yield value
                yield from values(value)

    found = [case.fields for series in ("public", "plain", "lesson") for case in cases(model_type, series)]
    return {repr(value) for fields in found for value in values(fields)}


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_family_is_drawn_and_tried_with_every_head(model_type):
    # kills: a family added to the table and never tested, and a head that no config of it has
    made = cases(model_type, "public")
    every_way = {way.name for case in made for way in layouts(model_type, case.config) if way}
    assert {case.layout.name for case in made if case.layout} == every_way
    assert FAMILIES[model_type].needs or any(case.layout is None for case in made)
    assert made == cases(model_type, "public")


def test_a_family_without_a_generator_fails(monkeypatch):
    # kills: a battery that passes over a new row in silence
    monkeypatch.setitem(FAMILIES, "mamba", FAMILIES["bert"])
    with pytest.raises(AssertionError, match="mamba is a row of FAMILIES; say in"):
        cases("mamba", "public")


COVERED = {
    "bert": {"hidden_act": ["gelu", "gelu_new", "relu"], "type_vocab_size": [1, 2, 3]},
    "albert": {
        "num_hidden_groups": [1, 2, 3],
        "inner_group_num": [1, 2, 3],
        "hidden_act": ["gelu", "gelu_new", "relu"],
    },
    "distilbert": {"sinusoidal_pos_embds": [True, False], "activation": ["gelu", "gelu_new", "relu"]},
    "electra": {"summary_activation": ["gelu", "tanh", "relu"], "classifier_dropout": [None, 0.2]},
    "deberta": {"position_biased_input": [True, False], "type_vocab_size": [0, 2, 3], "legacy": [True, False]},
    "deberta-v2": {
        "position_biased_input": [True, False],
        "share_att_key": [True, False],
        "norm_rel_ebd": ["layer_norm", "none"],
        "position_buckets": [-1, 0, 4, 6, 8, 16, 32, 64, 256],
        "conv_kernel_size": [3, 5],
        "conv_groups": [1, 2, 3],
        "type_vocab_size": [0, 2, 3],
        "pos_att_type": ["c2p|p2c", ["p2c", "c2p"], "c2p", ["p2c"], [], None],
        "legacy": [True, False],
    },
    "GLiClass": {
        "model_type": ["deberta-v2", "electra", "modernbert"],
        "scorer_type": ["simple", "mlp"],
        "pooling_strategy": ["first", "last", "avg", "max"],
        "class_token_pooling": ["first", "average"],
        "extract_text_features": [True, False],
        "normalize_features": [True, False],
    },
    "ctrl": {"layer_norm_epsilon": [1e-12, 1e-7, 1e-5, 1e-2]},
    "roberta": {"pad_token_id": [0, 1, 3], "type_vocab_size": [1, 2, 3], "classifier_dropout": [None, 0.2]},
    "mpnet": {"hidden_act": ["gelu", "gelu_new", "relu"], "layer_norm_eps": [1e-12, 1e-7, 1e-5, 1e-2]},
    "modernbert": {
        "norm_bias": [True, False],
        "attention_bias": [True, False],
        "mlp_bias": [True, False],
        "classifier_bias": [True, False],
        "classifier_pooling": ["cls", "mean"],
        "global_attn_every_n_layers": [1, 2, 3],
        "local_attention": [2, 5, 8, 16, 128],
        "hidden_activation": ["gelu", "gelu_new", "relu"],
    },
    "bart": {
        "scale_embedding": [True, False],
        "decoder_layers": [1, 2, 3],
        "decoder_start_token_id": [2, 3, 5],
        "eos_token_id": [2, 7],
    },
    "sijo": {
        "reads": ["both_sides", "left"],
        "entry": ["norm", "scale"],
        "widening": [None, "after_norm", "before_norm"],
        "padding": [None, 2],
        "relative_bias": [None, {"buckets": 8, "span": 6}],
        "feed_forward": ["plain", "gated"],
        "biases": [("attention", "feed_forward", "norm"), (), ("norm",), ("attention", "feed_forward")],
        "first": ["norm", "none"],
        "local_base": [7.0, None],
        "pattern": [("local",), ("global", "local"), ("local", "global")],
    },
}


@pytest.mark.parametrize("model_type", COVERED)
def test_the_draws_leave_nothing_out(model_type):
    # kills: a value of a field that no config of the battery has, after a change of the generator
    for field, values in COVERED[model_type].items():
        assert {repr(value) for value in values} <= said(model_type, field), field


def test_there_are_enough_cases():
    # kills: a battery that shrinks; the lengths and paddings promised; tables narrower, wider and as wide
    made = every("public")
    assert len([case for case in made if case.is_public]) >= 80 and len(made) >= 120
    assert {case.length for case in made} >= {1, 2, 3, 5, 9, 17, 40, 64, 101, 130, 257, 513, 600}
    assert {case.padding for case in made} == {"right", "left", "none"}
    for model_type in ("albert", "electra", "deberta", "deberta-v2", "sijo"):
        widths = [case.config.architecture() for case in made if case.model_type == model_type]
        signs = {(a.embedding_size > a.hidden_size) - (a.embedding_size < a.hidden_size) for a in widths}
        assert signs == {-1, 0, 1}, model_type
    past = [case for case in made if case.model_type.startswith("deberta") and case.length > 512 and case.is_public]
    assert any(case.config.architecture().places is None for case in past)
    assert any(
        case.config.architecture().distances.span < case.length and case.is_public
        for case in made
        if case.model_type.startswith("deberta")
    )


@pytest.mark.parametrize(**with_ids(every("public", "plain")))
def test_parity(shelf, case: Case):
    # kills: any part, order, name or config field that makes another number, at the layer where it does
    battery.check_parity(shelf.truth(case))


@pytest.mark.parametrize(**with_ids(every("lesson")))
def test_learning(shelf, case: Case):
    # kills: a weight left out of the graph, detached or used once where it is used twice; a pad that learns
    truth = shelf.truth(case)
    if case.is_public:
        battery.check_gradients(truth)
    battery.check_every_weight_learns(truth)


@pytest.mark.parametrize(**with_ids(every("lesson")))
def test_padding_and_order_do_not_matter(shelf, case: Case):
    # kills: padding that is read, counted or turned into NaN; rows of a batch that see each other
    battery.check_padding(shelf.truth(case))
    battery.check_order(shelf.truth(case))


@pytest.mark.parametrize(**with_ids(every("lesson")))
def test_round_trip(shelf, case: Case, tmp_path):
    # kills: a tensor lost, renamed, transposed or cast on the way out, and a config that says something else
    battery.check_round_trip(shelf.truth(case), tmp_path / "saved")
    battery.check_names(shelf.truth(case))


@pytest.mark.parametrize(**with_ids([cases(name, "plain")[0] for name in FAMILIES if name in SETTINGS]))
def test_meta(case: Case):
    # kills: a part that draws numbers or asks for memory while it is built on the meta device
    battery.check_meta(case)


def test_what_cannot_learn_and_why(shelf):
    # kills: an excuse that spreads to weights that could well learn
    excused = {}
    for case in every("lesson"):
        for name, reason in battery.without_gradient(shelf.truth(case)).items():
            excused.setdefault(reason, set()).add(name.rpartition("blocks.")[2].lstrip("0123456789."))
    assert {reason: sorted(names) for reason, names in excused.items()} == {
        "softmax is blind to what all keys share": ["attention.key.bias", "cross.key.bias"],
        "softmax is blind to what all distances share": ["attention.distances.key.bias"],
        "waves are stored, not trained": ["transformer.embeddings.places.weight"],
        "every choice has the same": ["head.multiple-choice.out.bias"],
        "only scores of unit vectors are multiplied by it": ["head.one-pass.scale"],
        "no term reads the table of distances": excused_table(excused),
        **({LATER: sorted(excused[LATER])} if LATER in excused else {}),
        **({ALONE: sorted(excused[ALONE])} if ALONE in excused else {}),
    }


LATER = "the mask decoder reads what comes before the last layer, here the first"
ALONE = "the first token reads itself alone, whatever the scores"


def excused_table(excused):
    names = sorted(excused["no term reads the table of distances"])
    table = "transformer.distances."
    assert set(names) <= {f"{table}rows.weight", f"{table}norm.weight", f"{table}norm.bias"}
    return names


@pytest.mark.parametrize("model_type", ["deberta", "deberta-v2"])
def test_beyond_the_span_transformers_reads_a_row_nobody_trained(shelf, model_type):
    # kills: the sound rule given up for parity; and the battery's own mending of the reference, if it hid more
    def fits(case):
        a = case.config.architecture()
        single = case.layout is None or case.layout.name != "multiple-choice"
        unused = battery.first_row_unused(case)
        return case.is_public and single and unused and a.distances.terms and a.distances.span < case.length

    case = next(filter(fits, cases(model_type, "public")))
    ours, theirs = shelf.truth(case).open(), case.public()  # theirs with a row 0 of its own
    batch, given = case.batch(), battery.public_batch(case)
    span = case.config.architecture().distances.span
    rows = next(weight for name, weight in theirs.named_parameters() if name.endswith("rel_embeddings.weight"))
    with torch.inference_mode():
        want = theirs(**given, output_hidden_states=True).hidden_states
        got = ours(*batch.values(), output_hidden_states=True).hidden_states
        ours.transformer.distances.rows.weight.copy_(rows)
        again = ours(*batch.values(), output_hidden_states=True).hidden_states
        short = ours(batch["input_ids"][:, :span], output_hidden_states=True).hidden_states
        within = theirs(given["input_ids"][:, :span], output_hidden_states=True).hidden_states
    keep = torch.ones_like(batch["input_ids"]) if batch["attention_mask"] is None else batch["attention_mask"]
    assert (got[1] - want[1])[keep.bool()].abs().max().item() > 1e-3
    assert all(torch.equal(a, b) for a, b in zip(got, again, strict=True))  # ours never looks at row 0
    assert max((a - b).abs().max().item() for a, b in zip(short, within, strict=True)) < 1e-4


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("model_type", FAMILIES)
def test_half_precision_files_round_trip_bit_for_bit(shelf, tmp_path, model_type, dtype):
    # kills: a dtype that is ignored, or cast to float32 on the way out; numbers in half precision that are none
    from sijo.checkpoints.load import load
    from sijo.checkpoints.save import save

    truth = shelf.truth(next(case for case in cases(model_type, "lesson") if case.layout is not None))
    half = truth.open(dtype=dtype)
    save(half, tmp_path / "half", shard_bytes=3_000)
    assert len(list((tmp_path / "half").glob("model-*.safetensors"))) > 1
    again = load(tmp_path / "half", head=truth.heads, dtype=dtype)
    assert {tensor.dtype for tensor in battery.tensors_of(tmp_path / "half").values()} == {getattr(torch, dtype)}
    for name, tensor in half.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    with torch.inference_mode():
        one, two = (model(*truth.case.batch().values()) for model in (half, again))
        full = truth.open()(*truth.case.batch().values())
    assert torch.equal(one.last_hidden_state, two.last_hidden_state)
    for head, answer in full.answers.items():
        assert torch.isfinite(one.answers[head]).all()
        assert (one.answers[head].float() - answer).abs().max() < 0.3 * answer.abs().max() + 0.1


@pytest.mark.parametrize("model_type", FAMILIES)
def test_shards_hold_the_same_bits(shelf, tmp_path, model_type):
    # kills: a shard that is left out of the index, or holds a tensor twice
    from sijo.checkpoints.load import load
    from sijo.checkpoints.save import save

    truth = shelf.truth(next(case for case in cases(model_type, "lesson") if case.layout is not None))
    ours = truth.open()
    save(ours, tmp_path / "shards", shard_bytes=4_000)
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 2
    again = load(tmp_path / "shards", head=truth.heads)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    if truth.case.is_public:
        told = type(truth.model).from_pretrained(tmp_path / "shards", output_loading_info=True)[1]
        assert not any(told.values())
