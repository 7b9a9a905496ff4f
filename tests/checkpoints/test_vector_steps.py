"""Sentence encoders whole, beside sentence-transformers: what stands behind the pooling, old layouts and new.

Each test names the fault it is to catch.
"""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules.dense import Dense
from sentence_transformers.base.modules.normalize import Normalize
from sentence_transformers.base.modules.transformer import Transformer
from sentence_transformers.sentence_transformer.modules.dropout import Dropout
from sentence_transformers.sentence_transformer.modules.layer_norm import LayerNorm
from sentence_transformers.sentence_transformer.modules.pooling import Pooling
from torch import nn

import sijo
from battery import scramble
from sijo.checkpoints.contents import inspect
from sijo.checkpoints.conversion.convert import convert
from sijo.checkpoints.describe import describe
from sijo.errors import CheckpointError, RefusedError, SettingError, SijoWarning
from sijo.export.export import export
from sijo.files import jail
from sijo.inference.encode import engine_of
from sijo.inference.vector_cache import VectorCache
from sijo.jobs.open_labels import label_matching_setup
from sijo.jobs.open_labels.label_matching_settings import MatchingFiles, default_matching
from sijo.jobs.open_labels.label_matching_setup import LabelMatchingSetup
from sijo.models import tokenizer_style
from sijo.tokenizers.train import train_tokenizer
from sijo.zeroshot.scorers.open import open_scorer

WIDTH = 16
TEXTS = [
    "the sea",
    "A goal in the bank of the old town, and rain at home: 12",
    "비가 오는 날에는 바다로 간다",
    "x",
    "은행 the bank 골 goal",
    "새로운 학교에서 아이들이 노래를 부르고 the sun is out",
]
FILES = "config_sentence_transformers.json"


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """A folder with a BERT, every weight moved, and a tokenizer for English and Korean; do not change it."""
    folder = tmp_path_factory.mktemp("network")
    words = [*TEXTS, *map(str.lower, TEXTS), "Query: query: passage:"] * 3
    tokenizer, _ = train_tokenizer(words, tokenizer_style("wordpiece"), vocab_size=300, cased=True)
    tokenizer.save(folder)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
    config = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=WIDTH, max_position_embeddings=64, **sizes
    )
    scramble(transformers.BertModel(config), 0.1).save_pretrained(folder)
    return folder


def dense(inputs, outputs, activation=None, **settings):
    return Dense(inputs, outputs, activation_function=activation or nn.Tanh(), **settings)


LAYOUTS = {
    "LaBSE": ("cls", lambda: [dense(WIDTH, WIDTH), Normalize()]),
    "embeddinggemma's": (
        "mean",
        lambda: [
            dense(WIDTH, 24, nn.Identity(), bias=False),
            dense(24, 12, nn.Identity(), bias=False),
            Normalize(),
        ],
    ),
    "bge-m3": ("cls", lambda: [Normalize()]),
    "KR-SBERT": ("mean", lambda: []),
    "gelu": ("mean", lambda: [dense(WIDTH, 8, nn.GELU())]),
    "relu and a norm": ("max", lambda: [dense(WIDTH, WIDTH, nn.ReLU(), bias=False), LayerNorm(WIDTH)]),
    "poolings side by side": (("mean", "cls", "max"), lambda: [dense(3 * WIDTH, 12), Normalize()]),
    "unit length first": ("weightedmean", lambda: [Normalize(), dense(WIDTH, 7, nn.SiLU()), Dropout(0.5)]),
    "the input added": ("mean_sqrt_len_tokens", lambda: [dense(WIDTH, WIDTH, use_residual=True), Normalize()]),
    "the input mapped and added": ("lasttoken", lambda: [dense(WIDTH, 10, nn.Sigmoid(), use_residual=True)]),
    "a norm, then unit length": ("mean", lambda: [Dropout(0.1), LayerNorm(WIDTH), Normalize()]),
    "norms and maps by turns": (
        ("lasttoken", "weightedmean"),
        lambda: [LayerNorm(2 * WIDTH), dense(2 * WIDTH, 9, nn.GELU()), LayerNorm(9), dense(9, WIDTH, nn.ReLU())],
    ),
}


@pytest.fixture(scope="session")
def encoder(network, tmp_path_factory):
    """`encoder(name, ...)`: sentence-transformers' model of a layout and the folder it saved; do not change it."""
    made = {}

    def make(name, *, include_prompt=True, limits=(), **settings):
        key = (name, include_prompt, str(limits), str(settings))
        if key not in made:
            pooling, behind = LAYOUTS[name]
            steps = behind()
            for step in steps:
                scramble(step, 0.4)
            first = Transformer(str(network), **dict(limits))
            whole = [first, Pooling(WIDTH, pooling, include_prompt=include_prompt), *steps]
            folder = tmp_path_factory.mktemp("encoder") / "st"
            SentenceTransformer(modules=whole, device="cpu", **settings).save(str(folder))
            made[key] = SentenceTransformer(str(folder), device="cpu"), folder
        return made[key]

    return make


@pytest.fixture
def copied(encoder, tmp_path):
    """`copied(name, ...)`: a folder of a layout, to be changed."""
    return lambda name, **settings: shutil.copytree(encoder(name, **settings)[1], tmp_path / "copy")


def edit(file, **fields):
    file.write_text(json.dumps((json.loads(file.read_text()) if file.exists() else {}) | fields))


def same(theirs, folder, **options):
    want = theirs.encode(TEXTS, batch_size=4)
    scaled = describe(folder).sentence.normalized  # ours leaves a last Normalize to normalize=
    got = sijo.encode(folder, TEXTS, normalize=scaled, **options)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * max(1.0, float(np.abs(want).max())))
    unit = theirs.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(sijo.encode(folder, TEXTS, **options), unit, rtol=0, atol=1e-6)
    return want


def same_cut(theirs, folder):
    want = theirs.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(sijo.encode(folder, TEXTS), want, rtol=0, atol=1e-6)
    return want


@pytest.mark.parametrize("name", ["bge-m3", "KR-SBERT", "LaBSE", "gelu"])
@pytest.mark.parametrize("cut", [None, 5])
@pytest.mark.parametrize(("ours", "theirs"), [(None, {}), (True, {"normalize_embeddings": True})], ids=str)
@pytest.mark.filterwarnings("ignore:nothing beside the model says:sijo.SijoWarning")
def test_normalize_none_is_what_a_folder_says_and_true_a_scaling_behind_the_cut(ours, theirs, cut, name, encoder):
    # kills: None that scales a model without a Normalize, or leaves one out; a scaling once more behind the cut, or
    # of the numbers that are left alone; and one of the two taken for an opened model and not for a folder
    model, folder = encoder(name)
    want = model.encode(TEXTS, truncate_dim=cut, **theirs)
    for opened in (folder, sijo.load(folder)):
        got = sijo.encode(opened, TEXTS, ours, dimensions=cut)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * max(1.0, float(np.abs(want).max())))


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_vectors_of_sentence_transformers(name, encoder, tmp_path):
    # kills: a step left out, in another order, transposed, without its bias or with another activation; GELU by
    # tanh; a norm with another epsilon; what is added left out; and any of it lost on the way out
    theirs, folder = encoder(name)
    want = same(theirs, folder)
    model = sijo.load(folder)
    assert model.sentence.width(WIDTH) == want.shape[1]
    saved = sijo.save(model, tmp_path / "saved")
    assert describe(saved).sentence == describe(folder).sentence
    same(SentenceTransformer(str(saved), device="cpu"), saved)
    np.testing.assert_array_equal(sijo.encode(saved, TEXTS), sijo.encode(folder, TEXTS))


def test_prompts_limits_and_cuts_stand_before_the_steps(encoder, tmp_path):
    # kills: a cut before the Dense module, a prompt pooled that is left out, a similarity that is lost
    limits = {"max_seq_length": 40, "do_lower_case": True}
    theirs, folder = encoder(
        "poolings side by side",
        include_prompt=False,
        limits=tuple(limits.items()),
        prompts={"query": "Query: "},
        default_prompt_name="query",
        truncate_dim=5,
        similarity_fn_name="dot",
    )
    assert same_cut(theirs, folder).shape[1] == 5
    saved = sijo.save(sijo.load(folder), tmp_path / "saved")
    again = SentenceTransformer(str(saved), device="cpu")
    assert again.similarity_fn_name == "dot" and again.truncate_dim == 5 and again.max_seq_length == 40
    same_cut(again, saved)
    assert open_scorer("embedding", folder).caution is None  # of unit vectors both are one
    _, longer = encoder("gelu", similarity_fn_name="dot")
    assert "trained to be compared by dot" in open_scorer("embedding", longer).caution


@pytest.mark.parametrize("old", ["names", "folder"])
def test_old_forms_are_read_as_new_ones(old, copied, encoder, tmp_path):
    # kills: a module known by its newest name alone, and a network that is looked for in the root alone
    folder = copied("LaBSE")
    steps = json.loads((folder / "modules.json").read_text())
    for step in steps:
        step["type"] = f"sentence_transformers.models.{step['type'].rpartition('.')[2]}"
    if old == "folder":
        steps[0]["path"] = "0_Transformer"
        (folder / "0_Transformer").mkdir()
        for path in [*folder.iterdir()]:
            if path.is_file() and path.name not in ("modules.json", FILES, "README.md"):
                path.rename(folder / "0_Transformer" / path.name)
    (folder / "modules.json").write_text(json.dumps(steps))
    theirs = SentenceTransformer(str(folder), device="cpu")
    want = same(theirs, folder)
    np.testing.assert_allclose(want, encoder("LaBSE")[0].encode(TEXTS), atol=1e-6)
    assert inspect(folder)[0]["would_not_load"] == {}
    for again in (sijo.save(sijo.load(folder), tmp_path / "saved"), convert(folder, tmp_path / "converted")):
        assert (again / "config.json").exists()
        same(SentenceTransformer(str(again), device="cpu"), again)


def test_a_pickled_module_is_refused_and_converted(copied, tmp_path):
    # kills: a pickle opened by `load`, or a module lost by `convert`
    folder = copied("LaBSE")
    dense = SentenceTransformer(str(folder), device="cpu")[2]
    (folder / "2_Dense/model.safetensors").unlink()
    torch.save(dense.state_dict(), folder / "2_Dense/pytorch_model.bin")
    torch.save({"weight": torch.zeros(1)}, folder / "colbert_linear.pt")
    with pytest.raises(RefusedError, match="sijo convert"):
        sijo.load(folder)
    try:
        jail.landlock_version()
    except RefusedError:
        pytest.skip("no jail here")
    told = []
    again = convert(folder, tmp_path / "new", tell=told.append)
    assert any("colbert_linear.pt" in sentence for sentence in told)
    same(SentenceTransformer(str(folder), device="cpu"), again)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(RefusedError, match=r"only as pytorch_model\.bin"):
        sijo.load(folder)


def test_onnx_files_hold_the_steps(copied, encoder):
    # kills: a file whose sentence_embedding is the pooled vector, or whose vectors pass the steps twice
    folder = copied("norms and maps by turns")
    want = encoder("norms and maps by turns")[0].encode(TEXTS)
    exported = export(folder, texts=TEXTS)
    assert exported.comparison.gap < 1e-5
    got = sijo.encode(folder, TEXTS, normalize=False, backend="onnx")
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)
    alone = folder / "model.safetensors"
    alone.unlink()
    np.testing.assert_allclose(sijo.encode(folder, TEXTS, normalize=False), want, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["the input mapped and added", "unit length first", "LaBSE"])
def test_a_graph_of_the_steps_is_what_numpy_computes(name, encoder):
    # kills: an operator of the graph that is another function
    import onnxruntime

    from sijo.export.graph import GraphBuilder
    from sijo.export.vector_steps import add_steps
    from sijo.inference.vector_steps import after_steps

    steps = describe(encoder(name)[1]).sentence.steps
    graph = GraphBuilder()
    vector = add_steps(graph, steps, graph.input("pooled", np.float32, ["batch", WIDTH]))
    graph.output("vector", vector, np.float32, ["batch", None])
    pooled = np.random.default_rng(0).normal(0, 2, (5, WIDTH)).astype(np.float32)
    session = onnxruntime.InferenceSession(graph.model("steps").SerializeToString())
    np.testing.assert_allclose(session.run(None, {"pooled": pooled})[0], after_steps(pooled, steps), atol=1e-5)


def test_int8_and_bf16_leave_the_steps_in_float32(encoder):
    # kills: a precision that is refused, or vectors without the steps
    _, folder = encoder("LaBSE")
    exact = sijo.encode(folder, TEXTS)
    for precision in ("int8", "bf16"):
        got = sijo.encode(folder, TEXTS, precision=precision)
        assert got.shape == exact.shape and (got * exact).sum(1).min() > 0.98


def test_windows_are_averaged_before_the_steps_and_no_tokens_give_zeros(encoder):
    # kills: a bias that makes a vector of an empty text; steps on each window of a long one
    _, folder = encoder("LaBSE")
    engine = engine_of(sijo.load(folder))
    encoded = engine.encode(["", "the sea " * 80])
    assert not encoded.vectors[0].any() and encoded.windows[1] > 1
    plain = sijo.load(folder)
    plain.sentence = sijo.load(folder).sentence.__class__(pooling="cls", trained=True)
    pooled = engine_of(plain).encode(["the sea " * 80]).vectors[0]
    step = engine.model.sentence.steps[0]
    want = np.tanh(step.tensors["linear.weight"] @ pooled + step.tensors["linear.bias"])
    np.testing.assert_allclose(encoded.vectors[1], want, atol=1e-6)


def test_a_text_has_one_vector_whatever_stands_beside_it(encoder):
    # kills: a product of many rows whose sums are in another order than those of one
    from sijo.inference.vector_steps import after_steps

    steps = describe(encoder("LaBSE")[1]).sentence.steps
    pooled = np.random.default_rng(0).normal(0, 1, (37, WIDTH)).astype(np.float32)
    whole = after_steps(pooled, steps)
    np.testing.assert_array_equal(np.concatenate([after_steps(pooled[i : i + 1], steps) for i in range(37)]), whole)


def test_a_store_is_of_all_modules(copied, tmp_path):
    # kills: vectors kept under the key of the network alone, taken for those behind another Dense module
    from safetensors.numpy import load_file, save_file

    folder = copied("gelu")
    model = sijo.load(folder)
    before = engine_of(model)
    before.store = VectorCache(tmp_path / "kept", fingerprint=before.fingerprint)
    first = before.encode(TEXTS).vectors
    np.testing.assert_array_equal(engine_of(sijo.load(folder), store=before.store).encode(TEXTS).vectors, first)
    file = folder / "2_Dense/model.safetensors"
    tensors = load_file(file)
    tensors["linear.bias"] = tensors["linear.bias"] + np.float32(1)
    save_file(tensors, file)
    for opened in (engine_of(folder, backend="torch"), engine_of(sijo.load(folder))):
        assert opened.fingerprint != before.fingerprint and not np.allclose(opened.encode(TEXTS).vectors, first)


def test_a_cut_follows_what_the_model_says(copied):
    # kills: a length that the model was not trained for, passed over in silence
    folder = copied("gelu")
    edit(folder / "config.json", matryoshka_dims=[8, 4])
    assert sijo.encode(folder, TEXTS[:1], dimensions=4).shape == (1, 4)
    with pytest.warns(SijoWarning, match="to 8, 4 numbers"):
        sijo.encode(folder, TEXTS[:1], dimensions=5)
    with pytest.raises(SettingError, match="8 numbers"):
        sijo.encode(folder, TEXTS[:1], dimensions=9)


def test_commands_tell_of_the_steps(encoder, sijo_cli, tmp_path):
    # kills: a command that labels by the pooled vectors, and a folder whose Dense nobody is told of
    theirs, folder = encoder("LaBSE")
    ran = sijo_cli("inspect", folder, "--format", "table")
    assert b"cls pooling, then Dense from 16 to 16 (Tanh), then Normalize" in ran.out
    told = json.loads(sijo_cli("inspect", folder, "--format", "json").out)["sentence_encoder"]
    assert told["normalized"] and [step["kind"] for step in told["steps"]] == ["Dense", "Normalize"]
    labels = ["sea", "bank"]
    both = theirs.encode([TEXTS[0], *(f"This is about {label}." for label in labels)])
    want = np.exp(both[1:] @ both[0]) / np.exp(both[1:] @ both[0]).sum()
    classifier = sijo.ZeroShotClassifier(labels, model=folder, temperature=1.0)
    np.testing.assert_allclose(classifier.predict_proba(TEXTS[:1])[0], want, atol=1e-5)


@pytest.mark.usefixtures("one_thread")
def test_a_student_learns_vectors_behind_modules_and_has_none(encoder, sijo_cli, tmp_path, monkeypatch):
    # kills: a student that inherits its teacher's Dense, or learns the vectors before it
    _, folder = encoder("LaBSE")
    corpus, out = tmp_path / "texts.txt", tmp_path / "run"
    corpus.write_text("\n\n".join(f"{text} {number}" for number in range(8) for text in TEXTS))
    few = ("run.epochs=null", "run.steps=2", "run.batch=4", "data.length=16")
    ran = sijo_cli("distill", "--teacher", folder, "--corpus", corpus, "-o", out, "-q", "--set", *few)
    assert ran.code == 0, ran.err
    sentence = describe(out / "model").sentence
    assert sentence.trained and sentence.normalized and not sentence.learned_steps
    monkeypatch.setattr(label_matching_setup, "sets_of", lambda settings, files: ([], []))
    files = MatchingFiles(train=str(corpus), evaluation=str(corpus))
    with pytest.raises(SettingError, match="Dense or LayerNorm"):
        LabelMatchingSetup(default_matching(folder), files)


def damaged(folder, kind):
    config, steps = folder / "2_Dense/config.json", json.loads((folder / "modules.json").read_text())
    match kind:
        case "a setting nobody knows":
            edit(config, gate=True)
        case "of tokens":
            edit(config, module_input_name="token_embeddings")
        case "an activation of another's":
            edit(config, activation_function="mine.Swoosh")
        case "an activation nobody knows":
            edit(config, activation_function="torch.nn.modules.activation.Hardtanh")
        case "another width":
            edit(config, in_features=15)
        case "no weights":
            (folder / "2_Dense/model.safetensors").unlink()
        case "cut short":
            file = folder / "2_Dense/model.safetensors"
            file.write_bytes(file.read_bytes()[:-9])
        case "a module nobody knows":
            steps[2]["type"] = "sentence_transformers.models.LSTM"
        case "two networks":
            steps.append(steps[0] | {"path": "4_Transformer"})
        case "a map before the pooling":
            steps[1:3] = steps[2:0:-1]
        case "a folder elsewhere":
            steps[0]["path"] = "../other"
        case "many vectors a text":
            edit(folder / FILES, model_type="MultiVectorEncoder", similarity_fn_name="maxsim")
    (folder / "modules.json").write_text(json.dumps(steps))


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("a setting nobody knows", RefusedError, "gate=True"),
        ("of tokens", RefusedError, "token_embeddings"),
        ("an activation of another's", RefusedError, "mine.Swoosh"),
        ("an activation nobody knows", RefusedError, "Hardtanh"),
        ("another width", CheckpointError, "2_Dense"),
        ("no weights", CheckpointError, "no model.safetensors"),
        ("cut short", CheckpointError, "damaged"),
        ("a module nobody knows", RefusedError, "LSTM"),
        ("two networks", RefusedError, "Transformer"),
        ("a map before the pooling", RefusedError, "steps"),
        ("a folder elsewhere", RefusedError, "other"),
        ("many vectors a text", RefusedError, "MultiVectorEncoder"),
    ],
)
def test_what_would_give_other_vectors_is_refused(kind, error, words, copied):
    # kills: a module that is not understood and passed over
    folder = copied("LaBSE")
    damaged(folder, kind)
    with pytest.raises(error, match=words):
        sijo.load(folder)


@pytest.mark.parametrize("kind", ["gemma3_text", "qwen3", "mistral", "llama", "t5"])
def test_a_decoder_is_refused_by_name(kind, copied):
    # kills: an embedder that is no encoder, refused without a word of what would do
    folder = copied("KR-SBERT")
    edit(folder / "config.json", model_type=kind)
    with pytest.raises(RefusedError, match=f"(?s){kind}.*choose an encoder, such as multilingual-e5-small"):
        sijo.load(folder)
