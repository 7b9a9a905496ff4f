"""ModernBERT's parts beyond the battery: tokenizers, zero-shot, reading to the left, sharing, export.

Each test names the fault it is to catch.
"""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

import sijo
import tokenizers
from battery import scramble
from reference.network import sight
from sijo.checkpoints.load import create, load
from sijo.checkpoints.save import save
from sijo.errors import SettingError
from sijo.models import tokenizer_style
from sijo.nn.architecture import Architecture, Disentangled, DropoutRates, PreNorm, Rotary, Window
from sijo.nn.cache import Cache
from sijo.nn.heads import Network
from sijo.nn.window import far, local_attention
from sijo.tokenizers.train import train_tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

transformers = pytest.importorskip("transformers")
PARTS = {
    "rotary": Rotary(count=64, base=90.0, local_base=9.0),
    "window": Window(reach=2, pattern=("global", "local")),
    "feed_forward": "gated",
    "biases": (),
}
TINY = Architecture(
    vocab_size=50,
    embedding_size=16,
    hidden_size=16,
    heads=2,
    intermediate_size=20,
    schedule=(0, 1, 2),
    norm=PreNorm(eps=1e-5, final_eps=1e-5, first="none"),
    dropout=DropoutRates(embeddings=0, attention=0, attention_output=0, hidden=0),
    **PARTS,
)
ROLES = {f"{role}_token": f"[{role.upper()}]" for role in ("unk", "cls", "sep", "pad", "mask")}
TEXTS = [
    "the sun and the sea",
    "old money in the bank",
    "a game of ball",
    "rain",
    "Ünïcode, 한국어 and 1,234",
    "née",
    "",
]


def corpus(lines=300):
    chance = random.Random(0)
    words = [
        "the",
        "sun",
        "and",
        "sea",
        "old",
        "money",
        "in",
        "bank",
        "a",
        "game",
        "text",
        "about",
        "한국",
        "바다",
        "née",
    ]
    return [" ".join(chance.choices(words, k=8)) for _ in range(lines)]


def peers_tokenizer(folder):
    """As ModernBERT's was published: OLMo's pairs of bytes, NFC, and five special tokens behind them."""
    inner = tokenizers.Tokenizer(models.BPE())
    inner.normalizer = normalizers.NFC()
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator(corpus(), trainer)
    special = (tokenizers.AddedToken(name, lstrip=name == "[MASK]", normalized=False) for name in ROLES.values())
    inner.add_special_tokens(list(special))
    ends = [(name, inner.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    inner.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", ends)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, **ROLES, model_max_length=64, model_input_names=["input_ids", "attention_mask"]
    )
    fast.save_pretrained(folder)
    return fast


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """`folders(kind, **config)`: a folder of this class, as transformers saves it with every weight moved."""
    made = {}

    def folders(kind, **config):
        if (kind, *config.items()) not in made:
            folder = tmp_path_factory.mktemp("modernbert") / kind
            fast = peers_tokenizer(folder)
            names = {"pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "bos": "[CLS]", "eos": "[SEP]"}
            ids = {f"{role}_token_id": fast.convert_tokens_to_ids(name) for role, name in names.items()}
            sizes = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 4, "intermediate_size": 20}
            settings = transformers.ModernBertConfig(
                vocab_size=len(fast), max_position_embeddings=64, local_attention=8, **sizes, **ids, **config
            )
            scramble(getattr(transformers, kind)(settings), size=0.2).save_pretrained(folder)
            made[kind, *config.items()] = folder
        return made[kind, *config.items()]

    return folders


# ---------------------------------------------------------------------- tokenizers


def test_the_peer_s_tokenizer_gives_the_same_ids(folders):
    # kills: segments handed to a model that has none; a mask that keeps the space before it; NFC left out; pairs
    folder = folders("ModernBertModel")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = load(folder).tokenizer
    texts = [*TEXTS, *corpus(40), "the [MASK] and the   [MASK] .", "née née", " two  spaces "]
    for text in texts:
        assert ours.windows([text])[0][0] == theirs(text, truncation=True)["input_ids"], text
    pair = ours.pairs(["the sun"], ["old money"])[0]
    assert list(pair.input_ids) == theirs("the sun", "old money")["input_ids"] and not any(pair.token_type_ids)
    assert (ours.mask_id, ours.cls_id, ours.pad_id) == (
        theirs.mask_token_id,
        theirs.cls_token_id,
        theirs.pad_token_id,
    )


def test_a_tokenizer_trained_here_is_opened_by_the_peer(tmp_path):
    # kills: special tokens at other ids than the published ones, in front, and ids that the peer reads otherwise
    ours, _ = train_tokenizer(corpus(), tokenizer_style("bpe", "modernbert"), vocab_size=380, max_length=64)
    names = [ours.token(number) for number in range(ours.vocab_size - 5, ours.vocab_size)]
    assert names == ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    architecture = replace(TINY, vocab_size=ours.vocab_size)
    folder = save(create(architecture, ["mlm"], tokenizer=ours), tmp_path / "model")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    for text in [*TEXTS, *corpus(40), "the [MASK]"]:
        assert ours.windows([text])[0][0] == theirs(text)["input_ids"], text
    assert "token_type_ids" not in theirs("the sun")
    assert type(transformers.AutoModelForMaskedLM.from_pretrained(folder)).__name__ == "ModernBertForMaskedLM"


# ---------------------------------------------------------------------- zero-shot, from a folder of the peer's


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_entailment_is_the_peer_s_pipeline(folders, pooling):
    # kills: a head that pools otherwise, the wrong column, a premise behind its hypothesis
    folder = folders("ModernBertForSequenceClassification", classifier_pooling=pooling)
    config = json.loads((folder / "config.json").read_text())
    labels = {"id2label": {"0": "entailment", "1": "other"}, "label2id": {"entailment": 0, "other": 1}}
    (folder / "config.json").write_text(json.dumps(config | labels))
    names, template = ["sea", "money", "sport"], "This text is about {}."
    pipe = transformers.pipeline("zero-shot-classification", model=str(folder), device=-1)
    ours = sijo.ZeroShotClassifier(names, model=folder, hypothesis_template=template)
    scores = ours.predict_proba(TEXTS[:5])
    for text, row in zip(TEXTS[:5], scores, strict=True):
        told = pipe(text, names, hypothesis_template=template)
        want = dict(zip(told["labels"], told["scores"], strict=True))
        assert max(abs(want[name] - score) for name, score in zip(ours.classes_, row, strict=True)) < 1e-5


def test_cloze_and_embedding_from_a_folder_of_the_peer_s(folders):
    # kills: a scorer that finds no head or no mask token; padding in a mean
    cloze = sijo.ZeroShotClassifier(["sea", "money"], model=folders("ModernBertForMaskedLM"), scorer="cloze")
    alone = np.concatenate([cloze.predict_proba([text]) for text in TEXTS[:4]])
    assert np.abs(cloze.predict_proba(TEXTS[:4]) - alone).max() < 1e-5 and np.isfinite(alone).all()
    folder = folders("ModernBertModel")
    embedding = sijo.ZeroShotClassifier(["sea", "money"], model=folder, scorer="embedding")
    assert np.isfinite(embedding.predict_proba(TEXTS[:4])).all()
    model = transformers.AutoModel.from_pretrained(folder).eval()
    batch = transformers.AutoTokenizer.from_pretrained(folder)(TEXTS[:-1], padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    want = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))
    assert np.abs(sijo.encode(folder, TEXTS[:-1], normalize=True) - want.numpy()).max() < 1e-5


# ---------------------------------------------------------------------- parts, one by one and shared


def test_a_window_reads_its_ends_and_no_further():
    # kills: a window of reach - 1 or reach + 1, or one to the left alone
    a = replace(TINY, window=Window(reach=2, pattern=("local",)), schedule=(0,), norm=PreNorm())
    model, ids = scramble(Network(a)), torch.arange(1, 12)[None]
    with torch.inference_mode():
        before = model(ids).last_hidden_state
        for j in range(11):
            other = ids.clone()
            other[0, j] = 40
            moved = (model(other).last_hidden_state - before)[0].abs().amax(-1) > 1e-6
            assert moved.tolist() == [row[j] for row in sight(a, [True] * 11, 0)]


@pytest.mark.parametrize("length", [1, 3, 127, 128, 129, 300, 513])
def test_blocks_of_near_tokens_are_the_masked_whole(length):
    # kills: a block's first or last queries that miss keys of the next one
    chance = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, length, 4, generator=chance)
    places_1L = torch.arange(length)[None]
    near = ~far(places_1L, places_1L, 64)
    want = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=near, scale=1.0)
    assert (local_attention(q, k, v, 64) - want).abs().max() < 1e-5


@pytest.mark.parametrize("pattern", [("global", "local"), ("local",)])
def test_the_cache_changes_no_state(pattern):
    # kills: kept keys turned by another place, or turned twice; a window that counts from the first new token
    a = replace(TINY, reads="left", window=Window(reach=2, pattern=pattern))
    model = scramble(Network(a)).double()
    ids = torch.randint(1, 50, (3, 12), generator=torch.Generator().manual_seed(1))
    for lengths in (torch.tensor([7, 3, 5]), torch.tensor([4, 4, 4])):
        first = int(lengths.max())
        keep, cache = torch.arange(first) < lengths[:, None], Cache(a, rows=3, places=12, dtype=torch.float64)
        with torch.no_grad():
            read = model.transformer.step(ids[:, :first], cache, keep)
            for row, length in enumerate(lengths.tolist()):
                want = model(ids[row : row + 1, :length]).last_hidden_state[0]
                assert (read[row, :length] - want).abs().max() < 1e-9
            for more in range(4):
                states = model.transformer.step(ids[torch.arange(3), lengths + more][:, None], cache)
                for row, length in enumerate((lengths + more).tolist()):
                    want = model(ids[row : row + 1, : length + 1]).last_hidden_state[0, -1]
                    assert (states[row, 0] - want).abs().max() < 1e-9


def test_padding_in_front_moves_nothing():
    # kills: places counted from the first column, where scores are told by how far apart two tokens stand
    model, ids = scramble(Network(TINY)).double(), torch.arange(1, 10)[None]
    padded = torch.cat([torch.full((1, 5), 7), ids], 1)
    with torch.inference_mode():
        want, got = model(ids).last_hidden_state, model(padded, torch.arange(14)[None] >= 5).last_hidden_state
        stretched = model(ids, None, None, False, torch.arange(9)[None] * 2).last_hidden_state
    assert (got[:, 5:] - want).abs().max() < 1e-9 and (stretched - want).abs().max() > 1e-3


def test_memory_for_work_and_a_few_places_change_no_number():
    # kills: blocks computed again without what they saw; the last layer at places whose turn is another's
    model, ids = scramble(Network(TINY)).double(), torch.arange(1, 21).view(2, 10)
    wanted = torch.zeros(2, 10, dtype=torch.bool)
    wanted[:, [2, 7]] = True
    gradients = []
    for recompute in (False, True):
        model.zero_grad()
        model.transformer.recompute = recompute
        states = model.transformer(ids, wanted=wanted).last_hidden_state[wanted]
        assert torch.equal(states, model.transformer(ids).last_hidden_state[wanted])
        (states**2).sum().backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"schedule": (0, 0, 0)}, r"block 0 bare, but schedule=\(0, 0, 0\)"),
        ({"distances": Disentangled(span=9)}, "in place of distances"),
        ({"hidden_size": 18, "embedding_size": 18}, "pairs of a head's 9 channels"),
        ({"biases": ("norm", "attention")}, "in this order"),
        ({"biases": ("head",)}, "must be some of attention, feed_forward, norm"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(changes, words):
    # kills: a first layer without a norm that stands further up too; heads of an odd width
    with pytest.raises(SettingError, match=words):
        replace(TINY, **changes)


NOTHING = [
    lambda: Rotary(count=9, base=1.0),
    lambda: Rotary(count=9, local_base=0.0),
    lambda: Window(reach=0),
    lambda: Window(reach=2, pattern=("global",)),
    lambda: Window(reach=2, pattern=("local", "wide")),
]


@pytest.mark.parametrize("part", NOTHING)
def test_parts_that_do_nothing_are_refused(part):
    # kills: angles that are not numbers, and a window that nobody looks through
    with pytest.raises(SettingError):
        part()


def test_the_config_written_is_read_by_the_peer(tmp_path):
    # kills: a pattern, a window or a base that transformers reads as another
    for pattern in (("global", "local", "local"), ("local", "global"), ("local",)):
        a = replace(TINY, window=Window(reach=3, pattern=pattern), schedule=(0, 1, 2, 3, 4))
        model = scramble(create(a))
        folder = save(model, tmp_path / "-".join(pattern))
        theirs = transformers.AutoModel.from_pretrained(folder).eval()
        ids = torch.arange(1, 31)[None]
        with torch.inference_mode():
            gap = (theirs(ids).last_hidden_state - model(ids).last_hidden_state).abs().max()
        assert type(theirs).__name__ == "ModernBertModel" and gap < 1e-5
