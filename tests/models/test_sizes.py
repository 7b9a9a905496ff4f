"""The published sizes have the published numbers of weights. Each test names the fault it is to catch."""

import pytest
import torch

from sijo.checkpoints.load import Model, create
from sijo.models import FAMILIES, SIZES
from sijo.nn.head_specs import POOLER

SEQUENCE, TOKENS, CHOICE = "sequence-classification", "token-classification", "multiple-choice"
ALBERT = {
    # with pooler, without, pretraining, masked LM, two labels, tokens or spans, choices
    "base": (11_683_584, 11_092_992, 11_813_810, 11_221_680, 11_685_122, 11_094_530, 11_684_353),
    "large": (17_683_968, 16_634_368, 17_847_474, 16_795_824, 17_686_018, 16_636_418, 17_684_993),
    "xlarge": (58_724_864, 54_528_512, 59_021_490, 54_821_040, 58_728_962, 54_532_610, 58_726_913),
    "xxlarge": (222_595_584, 205_814_272, 223_158_450, 206_368_944, 222_603_778, 205_822_466, 222_599_681),
}
ALBERT_HEADS = ((POOLER,), (), ("mlm", "sop"), ("mlm",), (SEQUENCE,), (TOKENS,), (CHOICE,))
DISTILBERT = {
    "uncased": (66_362_880, 66_985_530, 66_955_010, 66_364_418, 66_954_241),
    "cased": (65_190_912, 65_812_036, 65_783_042, 65_192_450, 65_782_273),
    "multilingual-cased": (134_734_080, 135_445_755, 135_326_210, 134_735_618, 135_325_441),
    "german-cased": (66_808_320, 67_431_550, 67_400_450, 66_809_858, 67_399_681),
}
DEBERTA = {
    "deberta-base": (138_601_728, 139_193_858),
    "deberta-large": (405_163_008, 406_214_658),
    "deberta-xlarge": (757_804_032, 758_855_682),
    "deberta-v2-xlarge": (884_593_152, 886_957_058),
    "deberta-v2-xxlarge": (1_564_549_632, 1_566_913_538),
    "deberta-v3-xsmall": (70_682_112, 70_830_722),
    "deberta-v3-small": (141_304_320, 141_896_450),
    "deberta-v3-base": (183_831_552, 184_423_682),
    "deberta-v3-large": (434_012_160, 435_063_810),
    "mdeberta-v3-base": (278_218_752, 278_810_882),
}
MODERNBERT = {
    # without a head, masked LM, two labels: as transformers builds them
    "modernbert-base": (149_014_272, 149_655_232, 149_606_402),
    "modernbert-large": (394_781_696, 395_881_664, 395_833_346),
    "gte-modernbert-base": (149_014_272, 149_655_232, 149_606_402),
}
ELECTRA = {
    "electra-small-discriminator": (13_483_008, "rtd", 13_549_057, 13_549_314),
    "electra-small-generator": (13_483_008, "mlm", 13_546_682, None),
    "electra-base-discriminator": (108_891_648, "rtd", 109_483_009, 109_483_778),
    "electra-base-generator": (33_511_168, "mlm", 33_740_602, None),
    "electra-large-discriminator": (334_092_288, "rtd", 335_142_913, 335_143_938),
    "electra-large-generator": (50_999_552, "mlm", 51_295_290, None),
}
ROBERTA = {
    # with pooler, masked LM, two labels, choices, tokens
    "roberta-base": (124_645_632, 124_697_433, 124_647_170, 124_646_401, 124_056_578),
    "roberta-large": (355_359_744, 355_412_057, 355_361_794, 355_360_769, 354_312_194),
    "klue/roberta-small": (68_090_880, 68_124_416, 68_092_418, 68_091_649, 67_501_826),
    "klue/roberta-base": (110_618_112, 110_651_648, 110_619_650, 110_618_881, 110_029_058),
    "klue/roberta-large": (336_656_384, 336_690_432, 336_658_434, 336_657_409, 335_608_834),
    "xlm-roberta-base": (278_043_648, 278_295_186, 278_045_186, 278_044_417, 277_454_594),
    "xlm-roberta-large": (559_890_432, 560_142_482, 559_892_482, 559_891_457, 558_842_882),
    "mpnet-base": (109_486_464, 109_518_527, 109_488_002, 109_487_233, 108_897_410),
    "camembert-base": (110_621_952, 110_655_493, 110_623_490, 110_622_721, 110_032_898),
}
ROBERTA_HEADS = ((POOLER,), ("mlm",), (SEQUENCE,), (CHOICE,), (TOKENS,))

BART = {  # of transformers' own classes on the meta device, the table of tokens once
    "bart-base": (139_420_416, 140_013_315, 139_421_954),
    "bart-large": (406_291_456, 407_344_131, 406_293_506),
    "bart-large-mnli": (406_291_456, 407_344_131, 406_293_506),
}


def table():
    """Size, heads, how many weights."""
    for size, counts in ALBERT.items():
        for version in (1, 2):
            for heads, count in zip(ALBERT_HEADS, counts, strict=True):
                yield f"albert-{size}-v{version}", heads, count
        yield f"albert-{size}-v2", ("question-answering",), counts[5]
    for size, counts in DISTILBERT.items():
        for heads, count in zip(((), ("mlm",), (SEQUENCE,), (TOKENS,), (CHOICE,)), counts, strict=True):
            yield f"distilbert-base-{size}", heads, count
        yield f"distilbert-base-{size}", ("question-answering",), counts[3]
    published = ((DEBERTA, ((), (SEQUENCE,))), (MODERNBERT, ((), ("mlm",), (SEQUENCE,))), (ROBERTA, ROBERTA_HEADS))
    for sizes, every in published:
        for size, counts in sizes.items():
            for heads, count in zip(every, counts, strict=True):
                yield size, heads, count
    for size, (bare, head, with_head, labelled) in ELECTRA.items():
        yield from ((size, (), bare), (size, (head,), with_head))
        if labelled:
            yield size, (SEQUENCE,), labelled
    yield "bert-base-uncased", (POOLER,), 109_482_240
    yield "bert-base-uncased", ("mlm",), 109_514_298
    yield "bert-base-cased", (POOLER,), 108_310_272
    yield "bert-base-multilingual-cased", (POOLER,), 177_853_440
    of_bart = ((), (SEQUENCE,), ("question-answering",))
    yield from ((size, of_bart[n], count) for size, counts in BART.items() for n, count in enumerate(counts))
    yield "ctrl", (), 1_637_718_016
    yield "ctrl", ("lm",), 1_637_964_550
    yield "ctrl", (SEQUENCE,), 1_637_720_576
    yield "ctrl-36-layers", ("lm",), 1_307_426_566


def weights(family, fields, heads=()):
    """How many numbers a network has, counted on the meta device."""
    layouts = {layout.name: layout for layout in FAMILIES[family].layouts(FAMILIES[family].config.read(fields))}
    with torch.device("meta"):
        model = Model(FAMILIES[family], fields, {head: layouts[head] for head in heads})
    return sum(weight.numel() for weight in model.parameters())


def test_every_published_size_has_its_published_number_of_weights():
    # kills: a width, depth, table or bias that is not the published one; a tied table counted twice; sharing undone
    counted = {}
    for size, heads, count in table():
        family = SIZES[size]
        counted[size, heads] = (weights(family.model_type, dict(family.sizes[size]), heads), count)
    assert {what: pair for what, pair in counted.items() if pair[0] != pair[1]} == {}
    generators = {f"deberta-v3-{size}-generator" for size in ("xsmall", "small", "base", "large")}
    rest = (
        {"bert-large-uncased", "bert-large-cased"} | generators | {*FAMILIES["GLiClass"].sizes}
    )  # test_gliclass.py
    assert {size for size, _ in counted} == SIZES.keys() - rest


def test_what_the_documents_say_of_parts():
    # kills: a size whose parts differ though their sum is right
    paper = {"embedding_size": 128, "hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 256}
    assert weights("electra", paper) == 4_580_928 and weights("electra", paper, ("mlm",)) == 4_620_026
    chinese = {"vocab_size": 21_128, "hidden_act": "gelu"}
    for hidden, layers, count in ((312, 4, 4_080_520), (384, 6, 4_742_272), (768, 12, 10_547_968)):
        size = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 12}
        assert weights("albert", chinese | size | {"intermediate_size": 4 * hidden}, (POOLER,)) == count
    for size, per_layer in (("deberta-large", 14_693_376), ("deberta-v2-xlarge", 28_331_520)):
        family = SIZES[size]
        shallow = family.sizes[size] | {"num_hidden_layers": 2}
        deeper = family.sizes[size] | {"num_hidden_layers": 3}
        assert weights(family.model_type, deeper) - weights(family.model_type, shallow) == per_layer


def test_tiny_sizes_of_the_documents():
    # kills: a closed form that holds at one width alone, and groups or inner layers that are counted as layers
    albert = {
        "vocab_size": 100,
        "embedding_size": 8,
        "hidden_size": 16,
        "num_attention_heads": 4,
        "intermediate_size": 32,
        "num_hidden_layers": 4,
        "max_position_embeddings": 32,
    }
    for heads, count in (((POOLER,), 3_728), (("mlm", "sop"), 4_014), (("mlm",), 3_708)):
        assert weights("albert", albert, heads) == count
    for groups, inner, count in ((2, 1, 5_952), (1, 2, 5_952), (2, 2, 10_400)):
        assert (
            weights("albert", albert | {"num_hidden_groups": groups, "inner_group_num": inner}, (POOLER,)) == count
        )
    assert weights("albert", albert | {"num_hidden_layers": 8}, (POOLER,)) == 3_728
    distilbert = {"vocab_size": 100, "max_position_embeddings": 32, "dim": 16, "hidden_dim": 32, "n_heads": 4}
    assert weights("distilbert", distilbert | {"n_layers": 2}) == 6_592
    assert weights("distilbert", distilbert | {"n_layers": 2}, ("mlm",)) == 6_996
    ctrl = {"vocab_size": 50, "n_embd": 16, "dff": 32, "n_layer": 2, "n_head": 4}
    assert weights("ctrl", ctrl, ("lm",)) == 5_330


def test_groups_take_turns_in_whole_numbers():
    # kills: a group index by floating point, which differs between public programs
    for layers, groups, want in ((12, 3, [0] * 4 + [1] * 4 + [2] * 4), (18, 9, sorted([*range(9)] * 2))):
        fields = {"num_hidden_layers": layers, "num_hidden_groups": groups}
        assert list(FAMILIES["albert"].config.read(fields).architecture().schedule) == want


def test_heads_and_widths_of_published_sizes():
    # kills: heads by the rule of 64 where xlarge has 16 of 128, and v1 with the other gelu than its config says
    for size, heads in (("base", 12), ("large", 16), ("xlarge", 16), ("xxlarge", 64)):
        for version, activation in ((1, "gelu"), (2, "gelu_new")):
            a = create_config(f"albert-{size}-v{version}")
            assert (a.heads, a.activation, a.embedding_size) == (heads, activation, 128)
            dropped = version == 1 and size != "xxlarge"
            assert (a.dropout.hidden, a.dropout.attention) == ((0.1, 0.1) if dropped else (0.0, 0.0))
    small = create_config("electra-small-discriminator")
    assert (small.widening, small.embedding_size, small.hidden_size) == ("after_norm", 128, 256)
    assert create_config("electra-base-discriminator").widening is None
    assert create_config("deberta-v3-base").distances.rows == 512
    assert create_config("deberta-base").distances.rows == 1024
    assert create_config("ctrl").places == 50_000


def create_config(size):
    return SIZES[size].config.read(SIZES[size].sizes[size]).architecture()


def test_state_dicts_have_as_many_tensors_as_published():
    # kills: a tensor of ours without a published one, or two for one
    with torch.device("meta"):
        ctrl = create("ctrl", "lm")
        distilbert = create("distilbert-base-uncased", "mlm")
    assert len(ctrl.state_dict()) == 16 * 48 + 4
    assert len(distilbert.state_dict()) == 105  # 106 published, of which vocab_projector.weight repeats another


def test_an_unknown_size_names_the_nearest():
    # kills: a stack trace for a slip of the pen
    from sijo.errors import SettingError

    with pytest.raises(SettingError, match="albert-base-v2"):
        create("albert-base-v3")
