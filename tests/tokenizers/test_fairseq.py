"""The tokenizers of RoBERTa's kin against their own libraries, id for id. Each test names the fault it is to catch.

Ten thousand real lines with XLM-R's real vocabulary: `benchmarks/xlmr_tokenizer.py`.
"""

import json
import shutil

import pytest
import sentencepiece

import spm_files
from roberta_folders import folders, lines, public_tokenizer, references  # noqa: F401
from sijo.checkpoints.describe import describe
from sijo.errors import CheckpointError, RefusedError
from sijo.models import FAMILIES, tokenizer_style
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.tokenizers.train import train_tokenizer

pytest.importorskip("transformers")
KINDS = ["roberta", "xlm-roberta", "camembert", "klue", "mpnet"]
MODEL_TYPE = {"klue": "roberta"}
LONGEST = 1 << 20


def opened(folder, kind):
    return Tokenizer.open(folder, FAMILIES[MODEL_TYPE.get(kind, kind)], max_length=LONGEST)


def ids_of(tokenizer, texts):
    return [windows[0] for windows in tokenizer.windows(texts)]


@pytest.mark.parametrize("kind", KINDS)
def test_published_files_and_what_the_library_saves(kind, folders, lines, tmp_path):  # noqa: F811
    # kills: fairseq's numbers off by one, a prefix space too many, a file alone that is not found
    theirs = public_tokenizer(kind, folders(kind))
    theirs.save_pretrained(tmp_path / "saved")
    want = theirs(lines)["input_ids"]
    plain = [line for line in lines if "\n" not in line and line.isprintable() and line.isascii()]
    for folder in (folders(kind), tmp_path / "saved"):
        ours = opened(folder, kind)
        got = ids_of(ours, lines)
        if kind in ("roberta", "klue", "mpnet") or folder == tmp_path / "saved":
            assert [line for line, a, b in zip(lines, got, want, strict=True) if a != b] == []
        assert ids_of(ours, plain) == theirs(plain)["input_ids"] and len(plain) > 100
        names = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
        special = [getattr(theirs, f"{name}_token_id") for name in names]
        assert [ours.id(getattr(theirs, f"{name}_token")) for name in names] == special
        assert (ours.cls_id, ours.sep_id, ours.pad_id, ours.mask_id, ours.unk_id) == tuple(
            getattr(theirs, f"{name}_token_id") for name in ("cls", "sep", "pad", "mask", "unk")
        )
        assert ours.largest_id == len(theirs) - 1


@pytest.mark.parametrize("kind, begin, end, offset", [("xlm-roberta", 0, 2, 1), ("camembert", 5, 6, 4)])
def test_sentencepiece_with_fairseq_s_numbers(kind, begin, end, offset, folders, lines):  # noqa: F811
    # kills: characters that SentencePiece's map joins or drops; CamemBERT with XLM-R's numbers
    model = sentencepiece.SentencePieceProcessor(model_file=str(folders(kind) / "sentencepiece.bpe.model"))
    ours = ids_of(opened(folders(kind), kind), lines)
    other = []
    for line, got, cut in zip(lines, ours, model.encode(lines), strict=True):
        if got != [begin, *(number + offset if number else 3 for number in cut), end]:
            back = [number - offset if number != 3 else 0 for number in got[1:-1]]
            other += [] if references.equally_good(back, cut, model) else [line]
    assert other == []


@pytest.mark.parametrize("kind", KINDS)
def test_pairs(kind, folders, lines):  # noqa: F811
    # kills: one separator where there are two, and segments that the network does not have
    ours, theirs = opened(folders(kind), kind), public_tokenizer(kind, folders(kind))
    firsts = [line for line in lines[:60] if line.isprintable() and line.strip()]
    seconds = firsts[::-1]
    got = ours.pairs(firsts, seconds)
    assert [pair.input_ids for pair in got] == theirs(firsts, seconds)["input_ids"]
    assert {kind_ for pair in got for kind_ in pair.token_type_ids} == ({0, 1} if kind == "klue" else {0})


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_takes_the_space_before_it(kind, folders):  # noqa: F811
    # kills: a mask behind a token of a space, where it never stood in training
    ours = opened(folders(kind), kind)
    ids = ours.ids([f"number {ours.token(ours.mask_id)} class"])[0]
    assert ids[: ids.index(ours.mask_id)] == ours.ids(["number"])[0]


def test_prefix_space_and_offsets(folders, tmp_path):  # noqa: F811
    # kills: add_prefix_space and trim_offsets read past
    for prefix in (False, True):
        for trim in (False, True):
            folder = tmp_path / f"{prefix}-{trim}"
            shutil.copytree(folders("roberta"), folder)
            settings = {"add_prefix_space": prefix, "trim_offsets": trim}
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
            ours, theirs = opened(folder, "roberta"), public_tokenizer("roberta", folder)
            texts = ["two words  here", " a space first", ""]
            assert ids_of(ours, texts) == theirs(texts)["input_ids"]
            for text in texts:
                want = theirs(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
                assert ours.spelled([text])[0].places == want


def test_trained_here_in_their_styles(lines):  # noqa: F811
    # kills: a style without its separators, its ids or its mask
    for kind, name, size in (("bpe", "roberta", 600), ("unigram", "xlm-roberta", 500), ("wordpiece", "mpnet", 300)):
        style = tokenizer_style(kind, name)
        texts = [line for line in lines if line.isascii()]
        tokenizer, _ = train_tokenizer(texts, style, vocab_size=size)
        assert [tokenizer.id(token) for token in ("<s>", "<pad>", "</s>", style.special["unk_token"])] == [
            0,
            1,
            2,
            3,
        ]
        assert tokenizer.mask_id == tokenizer.largest_id and tokenizer.pad_id == 1
        pair = tokenizer.pairs(["a word"], ["another"])[0]
        assert pair.input_ids.count(2) == 3 and set(pair.token_type_ids) == {0}


def changed(folder, kind, **settings):
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return opened(folder, kind)


@pytest.mark.parametrize("kind", ["xlm-roberta", "camembert"])
def test_damaged_files(kind, folders, tmp_path):  # noqa: F811
    # kills: a traceback, or a tokenizer of the pieces that were there
    folder = tmp_path / "cut"
    shutil.copytree(folders(kind), folder)
    file = folder / "sentencepiece.bpe.model"
    whole = file.read_bytes()
    for end in (len(whole) // 2, len(whole) - 1, 7, 0):
        file.write_bytes(whole[:end])
        with pytest.raises((CheckpointError, RefusedError), match=r"sentencepiece\.bpe\.model"):
            opened(folder, kind)
    file.write_bytes(spm_files.SPM)
    with pytest.raises(RefusedError, match=r"begins with .*fairseq's numbers"):
        opened(folder, kind)
    with pytest.raises(RefusedError, match="PhobertTokenizer"):
        changed(folder, kind, tokenizer_class="PhobertTokenizer")


def test_merges_that_are_not_there(folders, tmp_path):  # noqa: F811
    # kills: byte pairs without merges, which would be read letter by letter
    folder = tmp_path / "cut"
    shutil.copytree(folders("roberta"), folder)
    (folder / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"merges\.txt is absent"):
        opened(folder, "roberta")


def test_a_tokenizer_of_another_model(folders, tmp_path):  # noqa: F811
    # kills: ids past the end of the table
    folder = tmp_path / "mixed"
    shutil.copytree(folders("roberta", "Model"), folder)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | {"vocab_size": 300}))
    with pytest.raises(CheckpointError, match="are of different models"):
        _ = describe(folder).tokenizer
