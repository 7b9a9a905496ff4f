"""What a config.json may say, and what is refused by name. Each test names the fault it is to catch."""

import json
import shutil

import pytest

from battery import cases
from sijo.checkpoints.describe import architecture_of
from sijo.checkpoints.load import load
from sijo.errors import RefusedError
from sijo.models import FAMILIES

SMALL = {
    "vocab_size": 31,
    "intermediate_size": 10,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "hidden_size": 12,
}
DEBERTA = SMALL | {"relative_attention": True, "position_biased_input": False, "pos_att_type": "c2p|p2c"}
BASE = {
    "bert": SMALL,
    "albert": SMALL | {"embedding_size": 8},
    "electra": SMALL | {"embedding_size": 8},
    "distilbert": {"vocab_size": 31, "dim": 12, "n_heads": 2, "n_layers": 2, "hidden_dim": 10},
    "deberta": DEBERTA,
    "deberta-v2": DEBERTA | {"max_position_embeddings": 32, "position_buckets": 8, "share_att_key": True},
    "ctrl": {"vocab_size": 31, "n_embd": 12, "n_head": 2, "n_layer": 2, "dff": 10},
    "mpnet": SMALL | {"max_position_embeddings": 32},
    "bart": {
        "vocab_size": 31,
        "d_model": 12,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 3,
        "encoder_ffn_dim": 10,
        "decoder_ffn_dim": 10,
    },
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert"), SMALL | {"max_position_embeddings": 32}),
    "modernbert": SMALL,
    "GLiClass": {"encoder_config": {"model_type": "deberta", **DEBERTA}, "class_token_index": 28},
    "sijo": dict(cases("sijo", "plain")[0].fields),
}
GONE = object()
"""A field that is taken away."""

BERT_LIKE = [
    ("position_embedding_type", "relative_key"),
    ("position_embedding_type", "relative_key_query"),
    ("is_decoder", True),
    ("add_cross_attention", True),
    ("hidden_act", "mish"),
    ("hidden_act", "quick_gelu"),
    ("layer_norm_eps", 0),
    ("layer_norm_eps", 1.5),
    ("hidden_dropout_prob", 1.0),
    ("vocab_size", 0),
    ("vocab_size", "31"),
    ("vocab_size", 99_999_999),
    ("num_hidden_layers", 0),
    ("num_hidden_layers", 1_001),
    ("num_hidden_layers", True),
    ("max_position_embeddings", -1),
    ("initializer_range", -1),
    ("id2label", {"0": "yes", "2": "no"}),
]
V1 = [
    ("relative_attention", False),
    ("relative_attention", GONE),
    ("talking_head", True),
    ("attention_head_size", 5),
    ("pooler_hidden_size", 13),
    ("pos_att_type", "p2p"),
    ("pos_att_type", ["c2p", "p2p"]),
    ("pos_att_type", 3),
    ("pos_att_type", [None, "p2c"]),
    ("pos_att_type", ["c2p", 1, ["p2c"], {}]),
    ("pos_att_type", {"c2p": 1}),
    ("pos_att_type", float("nan")),
    ("max_relative_positions", -2),
    ("pooler_hidden_act", "mish"),
]
REFUSED = {
    "bert": BERT_LIKE,
    "albert": [
        *BERT_LIKE,
        ("ln_type", "preln"),
        ("num_hidden_groups", 3),
        ("num_hidden_groups", 0),
        ("inner_group_num", 0),
        ("type_vocab_size", 0),
    ],
    "electra": [
        *BERT_LIKE,
        ("summary_type", "last"),
        ("summary_type", "cls_index"),
        ("summary_use_proj", False),
        ("summary_proj_to_labels", True),
        ("summary_activation", "mish"),
    ],
    "distilbert": [
        ("activation", "mish"),
        ("sinusoidal_pos_embds", "yes"),
        ("dropout", 1.0),
        ("qa_dropout", -0.1),
        ("n_layers", 0),
    ],
    "deberta": [*BERT_LIKE, *V1],
    "deberta-v2": [
        *BERT_LIKE,
        *V1,
        ("norm_rel_ebd", "batch_norm"),
        ("share_att_key", "yes"),
        ("conv_act", "mish"),
        ("conv_kernel_size", -1),
        ("position_buckets", -2),
    ],
    "ctrl": [("n_positions", 0), ("layer_norm_epsilon", 0.0), ("resid_pdrop", 1), ("n_layer", 1_001)],
    "bart": [
        ("normalize_before", True),
        ("normalize_embedding", False),
        ("add_final_layer_norm", True),
        ("static_position_embeddings", True),
        ("extra_pos_embeddings", 0),
        ("is_encoder_decoder", False),
        ("is_decoder", True),
        ("encoder_layerdrop", 0.1),
        ("decoder_layerdrop", 0.05),
        ("activation_function", "mish"),
        ("activation_dropout", 1.0),
        ("scale_embedding", "yes"),
        ("eos_token_id", [2, 3]),
        ("eos_token_id", -1),
        ("decoder_start_token_id", None),
        ("decoder_layers", 0),
        ("decoder_layers", 1_001),
        ("max_position_embeddings", 0),
    ],
    "roberta": [
        *BERT_LIKE,
        ("pad_token_id", -1),
        ("pad_token_id", None),
        ("pad_token_id", 31.0),
        ("type_vocab_size", 0),
    ],
    "xlm-roberta": BERT_LIKE,
    "mpnet": [*BERT_LIKE, ("relative_attention_num_buckets", 64), ("relative_attention_num_buckets", None)],
    "camembert": BERT_LIKE,
    "modernbert": [
        ("hidden_activation", "mish"),
        ("norm_eps", 0),
        ("norm_bias", 1),
        ("decoder_bias", False),
        ("global_rope_theta", 1.0),
        ("local_rope_theta", None),
        ("rope_parameters", {"full_attention": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}),
        ("rope_parameters", {"full_attention": {"rope_theta": 1e4, "factor": 4.0}}),
        ("rope_parameters", {"sliding_attention": {"rope_theta": 0}}),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 1e4}),
        ("rope_scaling", {"type": "linear", "factor": 2.0}),
        ("rope_theta", 10_000.0),
        ("partial_rotary_factor", 0.5),
        ("head_dim", 8),
        ("layer_types", ["full_attention", "chunked_attention"]),
        ("layer_types", ["full_attention"]),
        ("layer_types", []),
        ("local_attention", 1),
        ("local_attention", [64, 64]),
        ("global_attn_every_n_layers", 0),
        ("mlp_dropout", 1.0),
        ("classifier_pooling", "max"),
        ("classifier_activation", "mish"),
        ("max_position_embeddings", 0),
    ],
    "GLiClass": [  # and more in test_gliclass.py
        ("encoder_config", GONE),
        ("encoder_config", {"model_type": "t5"}),
        ("encoder_config", {"model_type": "bart"}),
        ("architecture_type", "bi-encoder"),
        ("scorer_type", "weighted-dot"),
        ("class_token_index", 1.5),
    ],
    "sijo": [("network", GONE), ("network", []), ("heads", {"ner": {}}), ("heads", [])],
}
TOGETHER = [
    # right one by one, but not together: what the message must say
    ("bert", {"num_attention_heads": 5}, "heads=5"),
    ("distilbert", {"n_heads": 5}, "heads=5"),
    ("ctrl", {"n_head": 5}, "heads=5"),
    ("modernbert", {"num_attention_heads": 5}, "heads=5"),
    ("modernbert", {"num_attention_heads": 4}, "pairs of a head's 3 channels"),
    ("bart", {"encoder_attention_heads": 5}, "heads=5"),
    ("bart", {"decoder_attention_heads": 5}, "heads=5"),
    ("bart", {"eos_token_id": 31}, "decoder.end=31 .* 31 tokens"),
    ("bart", {"decoder_start_token_id": 40}, "decoder.start=40"),
    ("albert", {"num_hidden_layers": 3, "num_hidden_groups": 2}, "num_hidden_layers 3 .* num_hidden_groups"),
    ("albert", {"inner_group_num": 501}, "inner_group_num 501 is more than"),
    ("roberta", {"pad_token_id": 31}, "positions.padding=31 leaves no place in a table of positions.count=32"),
    ("deberta-v2", {"conv_kernel_size": 4}, "kernel=4"),
    ("deberta-v2", {"conv_kernel_size": 3, "conv_groups": 5}, "groups=5"),
    ("deberta-v2", {"position_buckets": 70}, "span=32"),
    ("deberta-v2", {"position_buckets": 1}, "buckets=1"),
]


def refused(model_type, fields):
    """Read a config as `load` does; the words of the refusal."""
    with pytest.raises(RefusedError) as caught:
        config = FAMILIES[model_type].config.read(fields)
        architecture_of(config)
        _ = config.labels
        FAMILIES[model_type].layouts(config)
    return str(caught.value)


def test_every_family_has_something_to_refuse():
    # kills: a family added without a thought to what it cannot build
    assert set(REFUSED) == set(BASE) == set(FAMILIES)
    for model_type, fields in BASE.items():
        architecture_of(FAMILIES[model_type].config.read(fields))


@pytest.mark.parametrize(
    "model_type, field, value",
    [(model_type, field, value) for model_type, given in REFUSED.items() for field, value in given],
    ids=lambda value: "gone" if value is GONE else None,
)
def test_what_sijo_cannot_build_is_refused_by_name(model_type, field, value):
    # kills: a field that is read past, so that the model answers something else
    fields = {name: kept for name, kept in (BASE[model_type] | {field: value}).items() if kept is not GONE}
    assert field in refused(model_type, fields)


@pytest.mark.parametrize("model_type, changes, words", TOGETHER)
def test_fields_that_do_not_fit_together_are_refused(model_type, changes, words):
    # kills: a reshape that fails in the first forward pass, or group indices that public programs disagree about
    import re

    assert re.search(words, refused(model_type, BASE[model_type] | changes))


NETWORK = BASE["sijo"]["network"]
STRANGE = [
    ({"network": NETWORK | {"rotary": True}}, "rotary"),
    ({"network": NETWORK | {"norm": NETWORK["norm"] | {"bias": False}}}, "bias"),
    ({"network": NETWORK | {"distances": {"span": 9, "decay": 2, "kind": "disentangled"}}}, "decay"),
    ({"network": NETWORK, "heads": {"mlm": {"kind": "vocabulary", "scale": 2}}}, "scale"),
    ({"network": NETWORK | {"positions": {"kind": "rotary", "count": 9}}}, "positions"),
    ({"network": NETWORK | {"reads": "right"}}, "reads"),
    ({"network": {name: value for name, value in NETWORK.items() if name != "heads"}}, "heads"),
    ({"network": NETWORK | {"heads": NETWORK["heads"] + 1_000}}, "heads"),
    ({"network": NETWORK, "heads": {"mlm": {"kind": "sonnet"}}}, "kind"),
]


@pytest.mark.parametrize("fields, word", STRANGE, ids=[word for _, word in STRANGE])
def test_a_mix_with_what_this_sijo_does_not_know_is_refused_by_name(fields, word):
    # kills: a field of a later sijo that is dropped, so that the same weights mean another network
    assert word in refused("sijo", fields)


@pytest.mark.parametrize("value", ["x" * 10**6, [0] * 10**5])
def test_a_refusal_shows_the_beginning_of_a_long_value(value):
    # kills: a sentence of a megabyte on a terminal
    told = refused("bert", BASE["bert"] | {"hidden_act": value})
    assert "hidden_act" in told and "…" in told and len(told) < 1000


def test_refusals_reach_the_one_who_loads(shelf, tmp_path):
    # kills: a check that load goes round, and a refusal after weights were read
    truth = shelf.truth(next(case for case in cases("deberta-v2", "lesson") if case.is_public))
    folder = tmp_path / "changed"
    shutil.copytree(truth.folder, folder)
    said = json.loads((folder / "config.json").read_text())
    for changes, word in (
        ({"talking_head": True}, "talking_head"),
        ({"relative_attention": False}, "relative_att"),
    ):
        (folder / "config.json").write_text(json.dumps(said | changes))
        with pytest.raises(RefusedError, match=word):
            load(folder)


# ---------------------------------------------------------------------- fields of the published configs

LABELLING = "names of labels, or how to count a loss"
TOKENS = "ids for the tokenizer; padding is told by the attention mask"
CACHE = "a cache changes no number"
CHUNKS = "the same numbers in another order of work"
DEAD = "dead in the published code"
OLD = "how old versions of programs returned things"
BY_TENSORS = "told by the tensors in the file"
ELSEWHERE = "of microsoft's own head, which transformers does not read either"
COMMON = {
    "model_type": "the row of the table of families",
    "pad_token_id": TOKENS,
    "bos_token_id": TOKENS,
    "eos_token_id": TOKENS,
    "problem_type": LABELLING,
    "use_cache": CACHE,
    "chunk_size_feed_forward": CHUNKS,
    "output_past": OLD,
    "torchscript": OLD,
}
LISTED = {
    "albert": """vocab_size embedding_size hidden_size num_hidden_layers num_hidden_groups inner_group_num
        num_attention_heads intermediate_size hidden_act hidden_dropout_prob attention_probs_dropout_prob
        classifier_dropout_prob max_position_embeddings type_vocab_size initializer_range layer_norm_eps
        position_embedding_type pad_token_id bos_token_id eos_token_id tie_word_embeddings chunk_size_feed_forward
        num_labels id2label label2id problem_type down_scale_factor gap_size net_structure_type num_memory_blocks
        layers_to_keep output_past ln_type model_type""",
    "electra": """vocab_size embedding_size hidden_size num_hidden_layers num_attention_heads intermediate_size
        hidden_act hidden_dropout_prob attention_probs_dropout_prob max_position_embeddings type_vocab_size
        initializer_range layer_norm_eps summary_type summary_use_proj summary_activation summary_last_dropout
        pad_token_id position_embedding_type use_cache is_decoder add_cross_attention classifier_dropout
        tie_word_embeddings model_type""",
    "distilbert": """model_type vocab_size max_position_embeddings sinusoidal_pos_embds n_layers n_heads dim
        hidden_dim dropout attention_dropout activation initializer_range qa_dropout seq_classif_dropout
        pad_token_id hidden_size num_attention_heads num_hidden_layers tie_weights_ output_past""",
    "deberta": """vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act
        hidden_dropout_prob attention_probs_dropout_prob max_position_embeddings type_vocab_size initializer_range
        layer_norm_eps relative_attention max_relative_positions pad_token_id position_biased_input pos_att_type
        pooler_dropout pooler_hidden_act pooler_hidden_size legacy attention_head_size embedding_size cls_dropout
        talking_head pooling padding_idx""",
    "deberta-v2": """position_buckets norm_rel_ebd share_att_key conv_kernel_size conv_act conv_groups""",
    "modernbert": """vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads
        hidden_activation
        max_position_embeddings initializer_range initializer_cutoff_factor norm_eps norm_bias pad_token_id
        eos_token_id bos_token_id cls_token_id sep_token_id attention_bias attention_dropout layer_types
        rope_parameters local_attention embedding_dropout mlp_bias mlp_dropout decoder_bias
        classifier_pooling classifier_dropout classifier_bias classifier_activation deterministic_flash_attn
        sparse_prediction sparse_pred_ignore_index tie_word_embeddings global_rope_theta local_rope_theta
        global_attn_every_n_layers reference_compile repad_logits_with_grad position_embedding_type
        layer_norm_eps gradient_checkpointing model_type""",
    "ctrl": """vocab_size n_positions n_ctx n_embd dff n_layer n_head resid_pdrop embd_pdrop attn_pdrop
        layer_norm_epsilon initializer_range use_cache hidden_size num_attention_heads num_hidden_layers
        max_position_embeddings summary_type summary_use_proj summary_activation summary_proj_to_labels
        summary_first_dropout num_labels from_tf output_past torchscript pruned_heads""",
    "bart": """_num_labels activation_dropout activation_function add_bias_logits add_final_layer_norm architectures
        attention_dropout bos_token_id classif_dropout classifier_dropout d_model decoder_attention_heads
        decoder_ffn_dim decoder_layerdrop decoder_layers decoder_start_token_id dropout early_stopping
        encoder_attention_heads encoder_ffn_dim encoder_layerdrop encoder_layers eos_token_id forced_bos_token_id
        forced_eos_token_id gradient_checkpointing id2label init_std is_encoder_decoder label2id length_penalty
        max_position_embeddings min_length max_length model_type no_repeat_ngram_size normalize_before
        normalize_embedding num_beams num_hidden_layers output_past pad_token_id prefix scale_embedding
        static_position_embeddings extra_pos_embeddings task_specific_params transformers_version use_cache
        vocab_size torch_dtype""",
    "roberta": """vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act
        hidden_dropout_prob attention_probs_dropout_prob max_position_embeddings type_vocab_size initializer_range
        layer_norm_eps pad_token_id bos_token_id eos_token_id position_embedding_type use_cache classifier_dropout
        is_decoder add_cross_attention tie_word_embeddings output_past gradient_checkpointing tokenizer_class""",
    "mpnet": """vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act
        hidden_dropout_prob attention_probs_dropout_prob max_position_embeddings initializer_range layer_norm_eps
        relative_attention_num_buckets pad_token_id bos_token_id eos_token_id tie_word_embeddings""",
}
UNREAD = {
    "albert": dict.fromkeys(
        ("down_scale_factor", "gap_size", "net_structure_type", "num_memory_blocks", "layers_to_keep"), DEAD
    ),
    "distilbert": {"tie_weights_": "told by tie_word_embeddings and the tensors"},
    "bart": {
        **dict.fromkeys(
            (
                *("early_stopping", "forced_bos_token_id", "forced_eos_token_id", "length_penalty", "min_length"),
                *("max_length", "no_repeat_ngram_size", "num_beams", "prefix", "task_specific_params"),
                "add_bias_logits",
            ),
            "how text is written with it",
        ),
        "_num_labels": "id2label tells",
        "architectures": "which heads are there is told by the tensors",
        "gradient_checkpointing": CHUNKS,
        "transformers_version": OLD,
        "torch_dtype": BY_TENSORS,
    },
    "roberta": {"gradient_checkpointing": CHUNKS, "tokenizer_class": "what the folder's tokenizer says decides"},
    "deberta": {"legacy": BY_TENSORS, "pooling": ELSEWHERE, "padding_idx": TOKENS},
    "modernbert": {
        "initializer_cutoff_factor": "where fresh weights are cut off; sijo draws BERT's",
        "sparse_prediction": LABELLING,
        "sparse_pred_ignore_index": LABELLING,
        "deterministic_flash_attn": CHUNKS,
        "reference_compile": CHUNKS,
        "gradient_checkpointing": CHUNKS,
        "repad_logits_with_grad": OLD,
        "cls_token_id": TOKENS,
        "sep_token_id": TOKENS,
        "position_embedding_type": DEAD,
        "layer_norm_eps": DEAD,
    },
    "ctrl": {
        "n_ctx": DEAD,
        "attn_pdrop": DEAD,
        "from_tf": OLD,
        "pruned_heads": "weights of another shape would be refused",
        **{
            f"summary_{name}": "CTRL has no such head"
            for name in ("type", "use_proj", "activation", "proj_to_labels", "first_dropout")
        },
    },
}


@pytest.mark.parametrize("model_type", LISTED)
def test_every_published_field_is_read_or_changes_no_number(model_type):
    # kills: a field of a published config that nobody thought about
    config = FAMILIES[model_type].config
    read = set(config.model_fields) | set(config.aliases)
    common = {name: why for name, why in COMMON.items() if name not in {"pad_token_id", "eos_token_id"} & read}
    excused = common | UNREAD.get(model_type, {})
    listed = LISTED[model_type].split()
    assert [name for name in listed if name not in read and name not in excused] == []
    assert not set(excused) & set(config.model_fields)


ALIASES = [
    (
        "bart",
        {
            "hidden_size": "d_model",
            "num_attention_heads": "encoder_attention_heads",
            "num_hidden_layers": "encoder_layers",
        },
    ),
    ("distilbert", {"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"}),
    (
        "ctrl",
        {
            "hidden_size": "n_embd",
            "num_attention_heads": "n_head",
            "num_hidden_layers": "n_layer",
            "max_position_embeddings": "n_positions",
        },
    ),
]


@pytest.mark.parametrize("model_type, aliases", ALIASES)
def test_aliases_mean_the_field_they_stand_for(model_type, aliases):
    # kills: heads that are read past under their other name: the shapes fit, and every number is wrong
    config = FAMILIES[model_type].config
    plain = BASE[model_type] | {own: BASE[model_type].get(own, 40) for own in aliases.values()}
    by_alias = {name: value for name, value in plain.items() if name not in aliases.values()}
    by_alias |= {other: plain[own] for other, own in aliases.items()}
    assert config.read(by_alias).architecture() == config.read(plain).architecture()
    both = plain | dict.fromkeys(aliases, 1)
    assert config.read(both).architecture() == config.read(plain).architecture()


def test_dropout_of_heads_is_the_configs():
    # kills: the encoder's share where a head has its own
    def head(model_type, name, **fields):
        config = FAMILIES[model_type].config.read(BASE[model_type] | fields)
        layout = next(layout for layout in FAMILIES[model_type].layouts(config) if layout.name == name)
        return layout.head(config)

    text, tokens = "sequence-classification", "token-classification"
    assert head("bert", text, hidden_dropout_prob=0.3).dropout == 0.3
    assert head("bert", text, hidden_dropout_prob=0.3, classifier_dropout=0.2).dropout == 0.2
    assert head("electra", tokens, classifier_dropout=0.2).dropout == 0.2
    assert head("electra", "multiple-choice", summary_last_dropout=0.4).dropout == 0.4
    assert head("albert", text, classifier_dropout_prob=0.4).dropout == 0.4
    assert head("distilbert", text, seq_classif_dropout=0.4).dropout == 0.4
    assert head("distilbert", "question-answering", qa_dropout=0.4).dropout == 0.4
    assert head("distilbert", tokens, dropout=0.4).dropout == 0.4
    drops = head("bart", text, classifier_dropout=0.4)
    assert (drops.dropout, drops.dense_dropout) == (0.4, 0.4)
    assert head("roberta", text, classifier_dropout=0.4).dropout == 0.4
    assert head("roberta", text, classifier_dropout=0.4).dense_dropout == 0.4
    assert head("mpnet", text, classifier_dropout=0.4, hidden_dropout_prob=0.3).dense_dropout == 0.3
    assert head("roberta", "multiple-choice", classifier_dropout=0.4, hidden_dropout_prob=0.3).dropout == 0.3
    assert head("deberta", text, cls_dropout=0.4).dropout == 0.4
    assert head("deberta", text, hidden_dropout_prob=0.3).dropout == 0.3
    assert head("deberta", text, pooler_dropout=0.4).dense_dropout == 0.4
    assert head("modernbert", text, classifier_dropout=0.4, mlp_dropout=0.1).dropout == 0.4
    assert head("modernbert", "question-answering", classifier_dropout=0.4).dropout == 0.4


def test_dropout_of_networks_is_the_configs():
    # kills: DistilBERT with BERT's dropout of what attention adds, CTRL with one of attention
    def dropout(model_type, **fields):
        return FAMILIES[model_type].config.read(BASE[model_type] | fields).architecture().dropout

    given = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2}
    for model_type in ("bert", "albert", "electra", "deberta", "deberta-v2"):
        assert vars(dropout(model_type, **given)) == {
            "embeddings": 0.3,
            "attention": 0.2,
            "attention_output": 0.3,
            "hidden": 0.3,
            "inner": 0.0,
        }
    of_distilbert = {"embeddings": 0.3, "attention": 0.2, "attention_output": 0.0, "hidden": 0.3, "inner": 0.0}
    assert vars(dropout("distilbert", dropout=0.3, attention_dropout=0.2)) == of_distilbert
    of_ctrl = {"embeddings": 0.2, "attention": 0.0, "attention_output": 0.3, "hidden": 0.3, "inner": 0.0}
    assert vars(dropout("ctrl", resid_pdrop=0.3, embd_pdrop=0.2)) == of_ctrl
    modern = {"embeddings": 0.1, "attention": 0.2, "attention_output": 0.2, "hidden": 0.0, "inner": 0.3}
    given = {"embedding_dropout": 0.1, "attention_dropout": 0.2, "mlp_dropout": 0.3}
    assert vars(dropout("modernbert", **given)) == modern
    of_bart = {"embeddings": 0.3, "attention": 0.2, "attention_output": 0.3, "hidden": 0.3, "inner": 0.1}
    assert vars(dropout("bart", dropout=0.3, attention_dropout=0.2, activation_dropout=0.1)) == of_bart


@pytest.mark.parametrize("layout", ["list", "string", "turned", "spaced"])
def test_terms_in_whatever_form(layout):
    # kills: terms that depend on how, or in what order, a config lists them
    said = {
        "list": ["c2p", "p2c"],
        "string": "c2p|p2c",
        "turned": "p2c|c2p",
        "spaced": " C2P | p2c ",
    }[layout]
    config = FAMILIES["deberta"].config.read(DEBERTA | {"pos_att_type": said})
    assert config.architecture().distances.terms == ("c2p", "p2c")


def test_both_forms_of_a_modernbert_mean_one_network():
    # kills: a base of global layers in local ones, layer types read one off, or the old form over the newest
    def architecture(**fields):
        return FAMILIES["modernbert"].config.read(SMALL | {"num_hidden_layers": 5} | fields).architecture()

    types = ["full_attention", "sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
    rotary = {types[n]: {"rope_type": "default", "rope_theta": base} for n, base in enumerate((9e4, 7e3))}
    old = architecture(global_rope_theta=9e4, local_rope_theta=7e3, global_attn_every_n_layers=3)
    assert old == architecture(rope_parameters=rotary, layer_types=types) and old.window.reach == 64
    assert old == architecture(
        rope_parameters=rotary, layer_types=types, global_attn_every_n_layers=2, global_rope_theta=3.0
    )
    assert [old.window.sight(layer) for layer in range(5)] == ["global", "local", "local", "global", "local"]
    assert (old.rotary.base, old.rotary.local_base) == (9e4, 7e3)
    assert architecture(rope_parameters={"sliding_attention": None}) == architecture()
    assert architecture(global_attn_every_n_layers=1).window is None
    every = architecture(layer_types=types[1:3] * 2 + types[1:2])
    assert every.window.pattern == ("local",)
    for a in (old, every, architecture(norm_bias=True, mlp_dropout=0.1, local_attention=9)):
        assert FAMILIES["modernbert"].config.read(FAMILIES["modernbert"].fields(a)).architecture() == a
