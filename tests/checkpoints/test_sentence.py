"""A sentence encoder's folder beside sentence-transformers. Each test names the fault it is to catch."""

import json
import shutil
from itertools import combinations

import numpy as np
import pytest
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules.normalize import Normalize
from sentence_transformers.base.modules.transformer import Transformer
from sentence_transformers.sentence_transformer.modules.pooling import Pooling

import sijo
from battery import scramble
from sijo.checkpoints.conversion.convert import convert
from sijo.checkpoints.describe import describe
from sijo.errors import CheckpointError, RefusedError, SettingError
from sijo.inference.encode import engine_of
from sijo.inference.vector_cache import VectorCache
from sijo.models import tokenizer_style
from sijo.tokenizers.train import train_tokenizer

MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
OLD = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "lasttoken": "lasttoken"} | {
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "weightedmean": "weightedmean_tokens",
}
TEXTS = [
    "the sea",
    "A Goal in the Bank of the Old Town, and Rain at Home",
    "rain",
    "x",
    " the sea  and the\tsun\n",
    "ΟΔΟΣ İ ẞ Straße 바다 12",
]
PROMPT = "Query: "
STYLES = {"bert": "wordpiece", "deberta": "bpe", "albert": "unigram"}
SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20, "max_position_embeddings": 48}
WIDTH = 16


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """`base(family)`: a folder with an encoder, every weight moved, and its tokenizer; do not change it."""
    made = {}

    def make(family):
        folder = tmp_path_factory.mktemp(family)
        words = [
            *TEXTS,
            *map(str.lower, TEXTS),
            "οδοσ Query: passage: the old sea of rain",
            "goal money bread bank town home sun",
        ] * 3
        tokenizer, _ = train_tokenizer(words, tokenizer_style(STYLES[family]), vocab_size=350, cased=True)
        tokenizer.save(folder)
        fields = {"vocab_size": tokenizer.vocab_size, "hidden_size": WIDTH, **SIZES}
        if family == "deberta":
            fields |= {"relative_attention": True, "pos_att_type": "c2p|p2c", "position_biased_input": False}
            fields |= {"type_vocab_size": 0}
        config = transformers.AutoConfig.for_model(family, **fields)
        scramble(transformers.AutoModel.from_config(config), 0.1).save_pretrained(folder)
        return folder

    return lambda family="bert": made.get(family) or made.setdefault(family, make(family))


@pytest.fixture
def encoder(base, tmp_path):
    """`encoder(pooling, ...)`: sentence-transformers' model and the folder that it saved."""
    count = iter(range(100))

    def make(pooling="mean", *, family="bert", include_prompt=True, more=(), transformer=None, **settings):
        network = Transformer(str(base(family)), **(transformer or {}))
        steps = [network, Pooling(WIDTH, pooling, include_prompt=include_prompt), *more]
        made, folder = SentenceTransformer(modules=steps, **settings), tmp_path / f"st{next(count)}"
        made.save(str(folder))
        return SentenceTransformer(str(folder)), folder

    return make


def old_folder(folder, pooling, *, config="sentence_bert_config.json", prompts=None, **limits):
    """The folder as releases before 5.4 wrote it."""
    steps = [("", "Transformer"), ("1_Pooling", "Pooling")]
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(steps)
    ]
    (folder / "1_Pooling").mkdir(exist_ok=True)
    fields = {"modules.json": listed, "1_Pooling/config.json": {"word_embedding_dimension": WIDTH, **pooling}}
    fields |= {config: limits}
    if prompts is not None:
        fields |= {"config_sentence_transformers.json": prompts}
    for name, content in fields.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def edit(file, **fields):
    content = json.loads(file.read_text()) | fields if file.exists() else fields
    file.write_text(json.dumps(content))


def same(theirs, folder, texts=TEXTS, prompt=None, **options):
    """Ours and theirs are one, as they come and as directions."""
    model = sijo.load(folder)
    for normalize in (False, True):
        want = theirs.encode(texts, normalize_embeddings=normalize, **options)
        got = sijo.encode(model, texts, normalize=normalize, prompt=prompt)
        top = max(1.0, float(np.abs(want).max()))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * top)
    return got


@pytest.mark.parametrize(
    "pooling", [*MODES, *combinations(MODES, 2), MODES, MODES[::-1], ("mean", "cls", "mean")], ids=str
)
def test_every_pooling_is_that_of_sentence_transformers(pooling, encoder):
    # kills: padding in a mean, a maximum or at the end; weights from 0; modes in another order than they are listed
    theirs, folder = encoder(pooling)
    listed = [pooling] if isinstance(pooling, str) else pooling
    assert same(theirs, folder).shape == (len(TEXTS), len(listed) * WIDTH)


@pytest.mark.parametrize("family", STYLES)
@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("pooling", [*MODES, ("max", "weightedmean")], ids=str)
def test_prompts_are_put_and_pooled_as_there(pooling, include, family, encoder):
    # kills: a default prompt that is dropped, its tokens pooled where they are left out, or the special ones before
    # them; one too many of a prompt that ends in a blank; places that start anew behind it
    theirs, folder = encoder(pooling, family=family, include_prompt=include, prompts={"q": PROMPT, "p": "of: the"})
    same(theirs, folder)
    same(theirs, folder, prompt="q", prompt_name="q")
    same(theirs, folder, prompt="p", prompt_name="p")
    edit(folder / "config_sentence_transformers.json", default_prompt_name="q")
    theirs = SentenceTransformer(str(folder))
    got = same(theirs, folder)
    assert np.abs(got - sijo.encode(folder, TEXTS, prompt="")).max() > 1e-3


@pytest.mark.parametrize("words", ["", "of: ", "the sea, ", "Old:", " "])
def test_a_prompt_may_be_written_out(words, encoder):
    # kills: words that are taken for a name, and "" for the default
    theirs, folder = encoder("mean", include_prompt=False, prompts={"q": PROMPT}, default_prompt_name="q")
    want = theirs.encode(TEXTS, prompt=words)
    np.testing.assert_allclose(sijo.encode(folder, TEXTS, normalize=False, prompt=words), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("length", [3, 5, 9, 48])
def test_length_and_case_are_read_old_and_new(length, lower, encoder, base, tmp_path):
    # kills: a limit that is passed over where it is shorter than the network's; capitals kept, or folded as no
    # tokenizer does
    limits = {"max_seq_length": length, "do_lower_case": lower}
    theirs, folder = encoder(transformer=limits)
    fitting = [
        text
        for text in TEXTS
        if sijo.load(folder).tokenizer.count(sijo.load(folder).tokenizer.windows([text])[0]) <= length - 2
    ]
    assert sijo.load(folder).tokenizer.max_length == length
    same(theirs, folder, fitting)
    old = old_folder(shutil.copytree(base(), tmp_path / "old"), {"pooling_mode_mean_tokens": True}, **limits)
    same(SentenceTransformer(str(old)), old, fitting)
    assert np.allclose(sijo.encode(old, TEXTS), sijo.encode(folder, TEXTS), atol=1e-6)


@pytest.mark.parametrize(
    "network", ["roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet", "electra"]
)
def test_the_config_of_other_networks_is_read(network, base, tmp_path):
    # kills: max length and lower case that are read from one file name alone
    name = f"sentence_{network}_config.json"
    limits = {"max_seq_length": 7, "do_lower_case": True}
    folder = old_folder(shutil.copytree(base(), tmp_path / "old"), {}, config=name, **limits)
    sentence = describe(folder).sentence
    assert (sentence.max_length, sentence.lowercase, sentence.pooling) == (7, True, "mean")
    if network != "electra":  # which it never wrote
        theirs = SentenceTransformer(str(folder))
        assert theirs.max_seq_length == 7
        same(theirs, folder, ["the SEA"])
    (folder / "sentence_bert_config.json").write_text("{}")  # says nothing: the next one counts
    assert describe(folder).sentence.max_length == 7
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    assert describe(folder).sentence.max_length == 9


@pytest.mark.parametrize("chosen", [*combinations(MODES, 1), *combinations(MODES, 2), MODES, ()], ids=str)
def test_old_switches_are_read_as_there(chosen, base, tmp_path):
    # kills: a pooling that is refused, or several in another order than sentence-transformers concatenates them
    flags = {f"pooling_mode_{OLD[mode]}": mode in chosen for mode in reversed(MODES)}
    folder = old_folder(shutil.copytree(base(), tmp_path / "old"), flags)
    same(SentenceTransformer(str(folder)), folder)


def test_new_words_go_before_old_switches(base, tmp_path):
    # kills: two answers in one file, of which the other is taken
    fields = {"pooling_mode_cls_token": True, "pooling_mode": ["max"]}
    folder = old_folder(shutil.copytree(base(), tmp_path / "old"), fields)
    assert describe(folder).sentence.pooling == "max"
    same(SentenceTransformer(str(folder)), folder)


def test_old_prompts_are_read(base, tmp_path):
    # kills: prompts that only the newest layout has; null for nothing
    prompts = {"prompts": {"query": PROMPT, "passage": None}, "default_prompt_name": "query"}
    fields = {"pooling_mode_mean_tokens": True, "include_prompt": False}
    folder = old_folder(shutil.copytree(base(), tmp_path / "old"), fields, prompts=prompts)
    theirs = SentenceTransformer(str(folder))
    same(theirs, folder)
    same(theirs, folder, prompt="passage", prompt_name="passage")


@pytest.mark.parametrize("length", [5, 20, None])
@pytest.mark.parametrize("prompt", [None, "q"])
def test_a_long_text_may_be_cut_as_there(prompt, length, encoder):
    # kills: truncate that is passed over, cuts by the network's length and not by max_seq_length, or counts the
    # prompt apart; a special token at the end that is lost; and windows that are no longer the default
    theirs, folder = encoder(transformer={"max_seq_length": length}, prompts={"q": PROMPT})
    texts = [*TEXTS, "the sea and the old town " * 40, "rain " * 100]
    want = theirs.encode(texts, normalize_embeddings=True, prompt_name=prompt)
    for model in (folder, sijo.load(folder)):
        cut = sijo.encode(model, texts, prompt=prompt, long_text="truncate")
        np.testing.assert_allclose(cut, want, rtol=0, atol=1e-6)
    assert np.abs(sijo.encode(folder, texts, prompt=prompt) - want)[-2:].max() > 1e-4
    with pytest.raises(SettingError, match="neither 'windows' nor 'truncate'"):
        sijo.encode(folder, texts, long_text="cut")


def test_a_long_text_keeps_its_windows_and_an_empty_one_is_nothing(encoder):
    # kills: a prompt that makes words of an empty text, is counted as the text's, or is left out of a later window
    _, folder = encoder(include_prompt=False, prompts={"q": PROMPT}, default_prompt_name="q")
    model = sijo.load(folder)
    encoded = engine_of(model).encode(["", "the sea", "rain " * 100])
    assert not encoded.vectors[0].any() and encoded.vectors[1:].any(1).all()
    assert encoded.tokens.tolist() == [len(ids) for ids in model.tokenizer.ids(["", "the sea", "rain " * 100])]
    windows = model.tokenizer.windows([PROMPT + "rain " * 100])[0]
    assert encoded.windows.tolist() == [1, 1, len(windows)]
    first = model.tokenizer.windows([PROMPT])[0][0]
    parts = []
    for number, ids in enumerate(windows):
        states = model(torch_ids(ids)).last_hidden_state[0].detach().numpy()
        parts.append(states[len(first) - 1 :].mean(0) if number == 0 else states.mean(0))
    want = np.average(parts, axis=0, weights=[len(ids) for ids in windows])
    np.testing.assert_allclose(encoded.vectors[2], want, rtol=0, atol=1e-5)


def torch_ids(ids):
    import torch

    return torch.tensor([list(ids)])


@pytest.mark.parametrize("pooling", ["weightedmean", ("mean", "cls"), ("cls", "mean")], ids=str)
def test_settings_are_kept_when_saved_and_converted(pooling, encoder, tmp_path):
    # kills: a setting that is read and lost on the way out: prompts, pooling, lower case, the norm at the end
    limits = {"max_seq_length": 20, "do_lower_case": True}
    theirs, folder = encoder(
        pooling,
        include_prompt=False,
        prompts={"q": PROMPT},
        default_prompt_name="q",
        more=[Normalize()],
        transformer=limits,
    )
    want = theirs.encode(TEXTS[:4])
    model = sijo.load(folder)
    for again in (sijo.save(model, tmp_path / "saved"), convert(folder, tmp_path / "converted")):
        opened = sijo.load(again)
        assert describe(again).sentence.prompt(None) == PROMPT
        np.testing.assert_allclose(sijo.encode(opened, TEXTS[:4]), want, rtol=0, atol=1e-6)
        np.testing.assert_allclose(SentenceTransformer(str(again)).encode(TEXTS[:4]), want, rtol=0, atol=1e-6)


def test_a_prompt_is_for_texts_and_labels_alike(encoder, sijo_cli, tmp_path):
    # kills: a prompt before one of the two, a command that does not take it, a record of a run without it
    theirs, folder = encoder(prompts={"q": PROMPT})
    texts, labels = ["the sea", "a goal"], ["sea", "goal"]
    for prompt, words in (("q", PROMPT), ("old: ", "old: "), ("", ""), (None, "")):
        read = theirs.encode([*texts, *(f"This is about {label}." for label in labels)], prompt=words)
        read = read / np.linalg.norm(read, axis=1, keepdims=True)
        want = read[:2] @ read[2:].T
        classifier = sijo.ZeroShotClassifier(labels, model=folder, prompt=prompt, temperature=1.0)
        odds = np.exp(want) / np.exp(want).sum(1, keepdims=True)
        np.testing.assert_allclose(classifier.predict_proba(texts), odds, atol=1e-5)
        given = [] if prompt is None else ["--prompt", prompt]
        common = ["--labels", "sea,goal", "--model", folder, "--temperature", "1", *given]
        ran = sijo_cli("classify", *common, "--all-scores", "--format", "jsonl", stdin="\n".join(texts).encode())
        rows = [json.loads(line)["label_scores"] for line in ran.out.splitlines()]
        np.testing.assert_allclose([[row[label] for label in labels] for row in rows], odds, atol=1e-5)
        data = tmp_path / "gold.csv"
        data.write_text("text,label\nthe sea,sea\na goal,goal\n")
        ran = sijo_cli("evaluate", "--data", data, *common, "--format", "json")
        assert json.loads(ran.out)["prompt"] == words


def test_two_prompts_never_meet_in_a_cache_or_a_run(encoder, sijo_cli, tmp_path):
    # kills: vectors of other words taken for these, and a run that is gone on with under another prompt
    _, folder = encoder(prompts={"q": PROMPT}, default_prompt_name="q")
    model = sijo.load(folder)
    assert len({engine_of(model, prompt=prompt).fingerprint for prompt in ("q", "old: ", "")}) == 3
    assert engine_of(model).fingerprint == engine_of(model, prompt=PROMPT).fingerprint
    vectors = [sijo.encode(model, ["the sea"], prompt=prompt) for prompt in ("q", "old: ", "")]
    for prompt, want in zip(("q", "old: ", ""), vectors, strict=True):
        engine = engine_of(model, prompt=prompt)
        engine.store = VectorCache(tmp_path / "cache", fingerprint=engine.fingerprint)
        got = engine.encode(["the sea"]).vectors
        np.testing.assert_allclose(got / np.linalg.norm(got), want, atol=1e-6)
    one = sijo.ZeroShotClassifier(["sea", "goal"], model=folder, cache=tmp_path / "kept", temperature=1.0)
    other = sijo.ZeroShotClassifier(
        ["sea", "goal"], model=folder, cache=tmp_path / "kept", temperature=1.0, prompt=""
    )
    plain = sijo.ZeroShotClassifier(["sea", "goal"], model=folder, temperature=1.0, prompt="")
    one.predict_proba(["the sea"])
    np.testing.assert_allclose(other.predict_proba(["the sea"]), plain.predict_proba(["the sea"]), atol=1e-6)

    (tmp_path / "x.csv").write_text("text\nthe sea\n")
    run = ["classify", tmp_path / "x.csv", "--labels", "sea,goal", "--model", folder, "-o", tmp_path / "y.csv"]
    assert sijo_cli(*run).code == 0
    assert sijo_cli(*run, "--prompt", "", "--overwrite").code == 0


@pytest.mark.parametrize("prompt", ["qurey", "query2", "Q", "passage", "a.b-c"])
def test_a_name_that_is_not_known_is_refused(prompt, encoder, refused):
    # kills: a name with a slip of the pen put before every text
    _, folder = encoder(prompts={"query": PROMPT})
    with pytest.raises(SettingError, match="no prompt"):
        sijo.encode(folder, ["the sea"], prompt=prompt)
    refused(
        2, "no prompt", "classify", "--labels", "sea,goal", "--model", folder, "--prompt", prompt, stdin=b"sea\n"
    )


def test_prompts_that_cannot_be(encoder, refused, tiny_model):
    # kills: a prompt that leaves no room for text, one before texts that a head reads, half a surrogate
    _, folder = encoder()
    with pytest.raises(SettingError, match="no room"):
        sijo.encode(folder, ["the sea"], prompt="rain " * 60)
    with pytest.raises(SettingError, match="surrogate"):
        sijo.encode(folder, ["the sea"], prompt="\ud83d: ")
    fresh = sijo.load(tiny_model, "new:sequence-classification", labels=["sea", "goal"])
    with pytest.raises(SettingError, match="sentence encoder"):
        sijo.ZeroShotClassifier(model=fresh, prompt="query: ").predict(["the sea"])
    assert sijo.ZeroShotClassifier(model=fresh, prompt="").predict(["the sea"])[0] in ("sea", "goal")


PROMPTS = "config_sentence_transformers.json"
DAMAGED = {
    "a list of prompts": (CheckpointError, PROMPTS, {"prompts": ["query: "]}),
    "a number": (CheckpointError, PROMPTS, {"prompts": {"query": 3}}),
    "a list of words": (CheckpointError, PROMPTS, {"prompts": {"query": ["query: "]}}),
    "half a surrogate": (CheckpointError, PROMPTS, {"prompts": {"query": "\ud83d"}}),
    "half a surrogate in a name": (CheckpointError, PROMPTS, {"prompts": {"\ud83d": "query: "}}),
    "a default that is no name": (CheckpointError, PROMPTS, {"prompts": {}, "default_prompt_name": 0}),
    "a default that is not there": (
        RefusedError,
        PROMPTS,
        {"prompts": {"query": "q: "}, "default_prompt_name": "Query"},
    ),
    "a default of none": (RefusedError, PROMPTS, {"prompts": {}, "default_prompt_name": "passage"}),
    "a pooling nobody knows": (RefusedError, "1_Pooling/config.json", {"pooling_mode": "median"}),
    "one of them": (RefusedError, "1_Pooling/config.json", {"pooling_mode": ["mean", "median"]}),
    "a list in a list": (RefusedError, "1_Pooling/config.json", {"pooling_mode": [["mean"]]}),
    "no pooling": (CheckpointError, "1_Pooling/config.json", {"pooling_mode": []}),
    "a switch nobody knows": (
        RefusedError,
        "1_Pooling/config.json",
        {"pooling_mode_median": True, "pooling_mode": None},
    ),
    "a switch that is none": (CheckpointError, "1_Pooling/config.json", {"include_prompt": "no"}),
    "lower case in words": (CheckpointError, "sentence_bert_config.json", {"do_lower_case": "yes"}),
    "a length in words": (CheckpointError, "sentence_bert_config.json", {"max_seq_length": "20"}),
    "another task": (RefusedError, "sentence_bert_config.json", {"transformer_task": "fill-mask"}),
    "other arguments": (RefusedError, "sentence_bert_config.json", {"processing_kwargs": {"text": {"padding": 1}}}),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_cannot_be_read_is_refused(kind, encoder):
    # kills: a setting that is not understood and passed over
    error, name, fields = DAMAGED[kind]
    _, folder = encoder()
    edit(folder / name, **fields)
    if fields.get("pooling_mode", "") is None:
        content = json.loads((folder / name).read_text())
        del content["pooling_mode"]
        (folder / name).write_text(json.dumps(content))
    with pytest.raises(error, match=name.replace(".", r"\.")):
        sijo.load(folder)


@pytest.mark.parametrize(
    "more", ["LSTM", "Normalize first", "two poolings", "a class of its own", "a folder of its own"]
)
def test_steps_that_would_give_other_vectors_are_refused(more, encoder):
    # kills: a trained step left out, known ones in another order, and another's class for one of that name
    _, folder = encoder(more=[Normalize()])
    file = folder / "modules.json"
    steps = json.loads(file.read_text())
    if more == "Normalize first":
        steps[1:] = steps[:0:-1]
    elif more == "LSTM":
        steps[2]["type"] = "sentence_transformers.models.LSTM"
    elif more == "two poolings":
        steps[2:] = steps[1:2]
    elif more == "a class of its own":
        steps[0]["type"] = "custom_st.Transformer"
    elif more == "a folder of its own":
        steps[0]["path"] = "0_Transformer"
    file.write_text(json.dumps(steps))
    with pytest.raises(RefusedError, match=r"modules\.json"):
        sijo.load(folder)


def test_a_cross_encoder_opens_for_its_head(base, tmp_path):
    # kills: a folder refused as a sentence encoder's that says it is none
    shutil.copytree(base(), tmp_path / "head")
    config = transformers.AutoConfig.from_pretrained(base(), num_labels=2)
    scramble(transformers.BertForSequenceClassification(config)).save_pretrained(tmp_path / "head")
    CrossEncoder(str(tmp_path / "head")).save_pretrained(str(tmp_path / "cross"))
    assert (tmp_path / "cross/modules.json").exists()
    model = sijo.load(tmp_path / "cross", "sequence-classification")
    assert not model.sentence.trained
    want = CrossEncoder(str(tmp_path / "cross")).predict([("the sea", "rain")], apply_softmax=False)
    np.testing.assert_allclose(
        engine_of(model).score_pairs(["the sea"], ["rain"]).logits, want.reshape(1, -1), atol=1e-5
    )


def test_inspect_tells_of_prompts(encoder, sijo_cli):
    # kills: a folder that puts words before each text without anybody knowing
    _, folder = encoder(("max", "mean"), prompts={"q": PROMPT}, default_prompt_name="q")
    ran = sijo_cli("inspect", folder, "--format", "json")
    sentence = json.loads(ran.out)["sentence_encoder"]
    assert sentence["pooling"] == ["max", "mean"] and sentence["prompts"]["q"] == PROMPT
    ran = sijo_cli("inspect", folder, "--format", "table")
    assert b"max beside mean pooling" in ran.out and b"'Query: ' (put before each text)" in ran.out
