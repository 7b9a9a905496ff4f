"""RoBERTa's kin from folders that their own library saves. Each test names the fault it is to catch.

Numbers after every layer, of all heads and lengths, are the battery's; here is what a family has of its own.
"""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import sijo
from battery import scramble
from roberta_folders import FAMILY, NLI, folders, lines, public_tokenizer  # noqa: F401
from runs import small
from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import create, load
from sijo.errors import TextError
from sijo.jobs.cut_model import with_rows_of
from sijo.jobs.student import init_from_teacher
from sijo.models import published
from sijo.nn.architecture import Learned
from sijo.nn.heads import Network
from sijo.nn.prepared import prepared

transformers = pytest.importorskip("transformers")
KINDS = ["roberta", "xlm-roberta", "camembert", "klue", "mpnet"]
TEXTS = ["The function returns a value.", "이 영화는 정말 재미있다", "a class of numbers and their sum"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_knows_its_places(kind, folders):  # noqa: F811
    # kills: two places more than there are, and a text of 65 tokens that reads past the end of the table
    described = describe(folders(kind, "ForMaskedLM"))
    assert described.architecture.places == 64 and described.architecture.positions == Learned(count=66, padding=1)
    assert described.tokenizer.max_length == 64 and described.heads == ("mlm",)
    model = load(described.folder)
    with pytest.raises(TextError, match="65 tokens is longer than the 64 places"):
        model(torch.full((1, 65), 9))
    assert torch.isfinite(model(torch.full((1, 64), 9)).last_hidden_state).all()
    long = "one more number " * 60
    assert max(map(len, described.tokenizer.windows([long])[0])) == 64
    vectors = sijo.encode(described.folder, [long, "one"])
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_and_ids_of_padding_within(side, folders):  # noqa: F811
    # kills: places by columns or by the mask, where the released code goes by ids alone
    folder = folders("roberta", "Model")
    theirs = transformers.RobertaModel.from_pretrained(folder).eval()
    ours = load(folder)
    ids = torch.tensor([[0, 9, 1, 8, 2, 7], [0, 5, 6, 7, 8, 2]])
    pad, real = torch.ones(2, 3, dtype=torch.long), torch.ones_like(ids)
    parts = [(pad, 0 * pad), (ids, real)] if side == "left" else [(ids, real), (pad, 0 * pad)]
    whole, keep = (torch.cat([part[n] for part in parts], 1) for n in (0, 1))
    with torch.inference_mode():
        want = theirs(whole, keep).last_hidden_state
        got = ours(whole, keep).last_hidden_state
        quick = prepared(ours)(whole, keep).last_hidden_state
    assert (got - want)[keep.bool()].abs().max() < 1e-5
    assert (quick - want)[keep.bool()].abs().max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turned", [False, True])
def test_entailment_is_the_public_pipeline_s(kind, turned, folders):  # noqa: F811
    # kills: labels of entailment by number, pairs with one separator, segments that a network of one lacks
    names = {2 - number: name for number, name in NLI.items()} if turned else NLI
    folder = folders(kind, "ForSequenceClassification", id2label=names, label2id={n: i for i, n in names.items()})
    tokenizer = public_tokenizer(kind, folder)
    if kind == "klue":  # whose pairs the public tokenizer gives segments that its network lacks
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    pipe = transformers.pipeline("zero-shot-classification", model=model, tokenizer=tokenizer, device="cpu")
    labels = ["numbers", "a value", "classes"]
    ours = sijo.ZeroShotClassifier(labels=labels, model=folder, scorer="entailment")
    for row, told in zip(ours.predict_proba(TEXTS), pipe(TEXTS, labels), strict=True):
        want = dict(zip(told["labels"], told["scores"], strict=True))
        assert np.abs(row - [want[label] for label in ours.classes_]).max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_cloze_and_embedding(kind, folders):  # noqa: F811
    # kills: a mask that is not the tokenizer's own; vectors of padding
    labels = ["number", "class"]
    cloze = sijo.ZeroShotClassifier(labels=labels, model=folders(kind, "ForMaskedLM"), scorer="cloze")
    rows = cloze.predict_proba(TEXTS)
    assert np.isfinite(rows).all() and np.abs(rows.sum(1) - 1).max() < 1e-6
    folder = folders(kind, "Model")
    tokenizer, theirs = public_tokenizer(kind, folder), transformers.AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = theirs(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    keep = batch["attention_mask"][..., None]
    want = torch.nn.functional.normalize((states * keep).sum(1) / keep.sum(1), dim=-1).numpy()
    assert np.abs(sijo.encode(folder, TEXTS) - want).max() < 1e-6
    near = sijo.ZeroShotClassifier(labels=labels, model=folder, scorer="embedding")
    assert np.isfinite(near.predict_proba(TEXTS)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_ours_saved_is_opened_by_transformers(kind, folders, tmp_path):  # noqa: F811
    # kills: a tokenizer, or a config, with which the public library reads something else
    folder = folders(kind, "ForSequenceClassification", num_labels=3)
    sijo.save(load(folder, head="sequence-classification"), tmp_path / "saved")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    pairs = [(text, TEXTS[0]) for text in TEXTS]
    batch = tokenizer(*zip(*pairs, strict=True), padding=True, return_tensors="pt")
    assert (
        batch["input_ids"].tolist()
        == public_tokenizer(kind, folder)(*zip(*pairs, strict=True), padding=True)["input_ids"]
    )
    model = load(folder, head="sequence-classification")
    with torch.inference_mode():
        want = theirs(batch["input_ids"], batch["attention_mask"]).logits
        for number, pair in enumerate(model.tokenizer.pairs(*zip(*pairs, strict=True))):
            got = model(torch.tensor([pair.input_ids]), None, torch.tensor([pair.token_type_ids])).logits[0]
            assert (got - want[number]).abs().max() < 1e-5


def test_a_student_begins_with_places_and_not_with_rows():
    # kills: the table of places copied row by row between networks that begin it at different rows
    config = {"vocab_size": 31, "hidden_size": 12, "num_attention_heads": 3, "intermediate_size": 14}
    architecture = published("roberta-base")[0].config.read(config | {"num_hidden_layers": 2}).architecture()
    teacher = scramble(create(replace(architecture, positions=Learned(count=12, padding=1))))
    student = Network(replace(architecture, positions=Learned(count=8), schedule=(0,)))
    init_from_teacher(student, teacher)
    ids = torch.tensor([[4, 5, 6]])
    assert torch.equal(
        student.eval().transformer.embeddings(ids, None, None, None),
        teacher.transformer.embeddings(ids, None, None, None),
    )


def test_sizes_are_saved_under_their_family(tmp_path):
    # kills: a config that leaves the row of padding out
    architecture = replace(
        published("klue/roberta-small")[1].architecture(), vocab_size=31, hidden_size=12, heads=3, embedding_size=12
    )
    sijo.save(
        create(replace(architecture, intermediate_size=14, positions=Learned(count=20, padding=3))),
        tmp_path / "new",
    )
    said = json.loads((tmp_path / "new" / "config.json").read_text())
    assert said["model_type"] == "roberta" and said["pad_token_id"] == 3 and said["max_position_embeddings"] == 20
    assert transformers.AutoModel.from_pretrained(tmp_path / "new").embeddings.padding_idx == 3


def test_it_is_pretrained_by_the_row_of_its_tokenizer_s_padding(run, tmp_path):
    # kills: places counted by another token than padding, which then has none; fewer places than the settings say
    settings = small("bert", "run.steps=2", "run.save_every=2")
    settings = replace(settings, model=replace(settings.model, positions=Learned(count=34, padding=1)))
    run("bert", tmp_path / "run", settings=settings)
    described = describe(tmp_path / "run" / "model")
    assert described.tokenizer.pad_id == 0 and described.family.model_type == "roberta"
    assert described.architecture.positions == Learned(count=33, padding=0) and described.architecture.places == 32


def test_a_cut_vocabulary_keeps_the_row_of_padding(folders):  # noqa: F811
    # kills: padding under another number than the row from which places are counted
    model = load(folders("xlm-roberta", "Model"))
    kept = sorted({*model.tokenizer.essential_ids, *model.tokenizer.ids(["number"])[0]})
    few = with_rows_of(model, model.tokenizer.only(kept))
    ids = few.tokenizer.windows(["number"])[0][0]
    whole = model.tokenizer.windows(["number"])[0][0]
    got, want = (m(torch.tensor([i])).last_hidden_state for m, i in ((few, ids), (model, whole)))
    assert (got - want).abs().max() < 1e-6


@pytest.mark.parametrize("kind", ["klue", "mpnet"])
def test_a_sentence_encoder_s_folder(kind, folders, tmp_path):  # noqa: F811
    # kills: ko-sroberta-multitask's and all-mpnet-base-v2's layouts read with another pooling, length or tokenizer
    folder = tmp_path / "encoder"
    shutil.copytree(folders(kind, "Model"), folder)
    parts = [("", "Transformer"), ("1_Pooling", "Pooling")]
    files = {
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}
            for number, (path, name) in enumerate(parts)
        ],
        "sentence_bert_config.json": {"max_seq_length": 12, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True},
    }
    (folder / "1_Pooling").mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    described = describe(folder)
    assert described.tokenizer.max_length == 12 and described.sentence.pooling == "mean"
    tokenizer = public_tokenizer(kind, folder)
    batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=12, return_tensors="pt")
    theirs, keep = transformers.AutoModel.from_pretrained(folder).eval(), batch["attention_mask"]
    with torch.inference_mode():
        states = theirs(batch["input_ids"], keep).last_hidden_state
    want = (states * keep[..., None]).sum(1) / keep.sum(1, keepdim=True)
    short = [n for n, ids in enumerate(tokenizer(TEXTS)["input_ids"]) if len(ids) <= 12]  # longer ones have windows
    got = sijo.encode(folder, TEXTS, normalize=False)
    assert short and np.abs(got - want.numpy())[short].max() < 1e-6
