"""`sijo encode` from a person's side: what comes out, what is refused, and what a killed run leaves."""

import json
import os
import random
import signal
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

import sijo
from sijo.errors import CheckpointError, SettingError, SijoWarning

TEXTS = ["the old sea", "rain and sun", "네, 바다예요 😀", "", "sea " * 40 + "sun " * 50]
ROWS = "id,text\n" + "".join(f'{number:03},"{text}"\n' for number, text in enumerate(TEXTS))


@pytest.fixture
def encode(sijo_cli, tiny_model):
    """Run it on the tiny model."""
    return lambda *arguments, stdin=b"": sijo_cli("encode", *arguments, "--model", tiny_model, stdin=stdin)


@pytest.fixture
def encoded(encode, write, tmp_path):
    """Run it on rows of a file; the vectors of the .npy that it writes."""

    def run(*arguments):
        output = tmp_path / "vectors.npy"
        ran = encode(write("in.csv", ROWS), *arguments, "-o", output, "--overwrite")
        assert ran.code == 0, ran.err
        return np.load(output)

    return run


def vectors_in(path):
    """The vectors of an output, and its other columns by name."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        assert str(table.schema.field("vector").type) == "fixed_size_list<element: float>[16]"
        columns = table.to_pydict()
    else:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
    return np.array(columns.pop("vector"), np.float32), columns


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_every_column_is_kept_and_the_vectors_are_the_librarys(encode, tiny_model, write, tmp_path, suffix):
    # kills: 007 read as 7, rows in the order of length, a vector that is not scaled or lost digits on the way
    output = tmp_path / f"out.{suffix}"
    ran = encode(write("in.csv", ROWS), "-o", output)
    assert ran.code == 0 and ran.out == b"", ran.err
    vectors, columns = vectors_in(output)
    assert columns == {"id": [f"{n:03}" for n in range(5)], "text": TEXTS}
    np.testing.assert_array_equal(vectors, sijo.encode(str(tiny_model), TEXTS))
    assert "5 rows in" in ran.err and "zeros: 1" in ran.err and "windows: 1" in ran.err


def test_an_array_alone_and_rows_on_a_pipe(encode, encoded, tiny_model):
    # kills: an array of another type or shape, a header that counts one block alone, JSON rounded to fewer digits
    want = sijo.encode(str(tiny_model), TEXTS)
    got = encoded()
    assert got.dtype == np.float32 and got.flags.c_contiguous
    np.testing.assert_array_equal(got, want)
    ran = encode("-", stdin="\n".join(TEXTS).encode())
    assert ran.code == 0, ran.err
    assert [row["text"] for row in ran.rows()] == TEXTS
    np.testing.assert_array_equal(np.array([row["vector"] for row in ran.rows()], np.float32), want)


def test_many_blocks_become_one_array(encode, tiny_model, write, tmp_path):
    # kills: an array whose header was written before all rows were there, and has one digit less
    texts = [f"the sea {'sun ' * (n % 3)}" for n in range(12_345)]
    ran = encode(write("in.txt", "\n".join(texts) + "\n"), "-o", tmp_path / "out.npy")
    assert ran.code == 0, ran.err
    got = np.load(tmp_path / "out.npy")
    assert got.shape == (12_345, 16)
    np.testing.assert_allclose(got[[0, 5000, -1]], sijo.encode(str(tiny_model), [texts[0], texts[5000], texts[-1]]))


def test_prompts_normalization_long_texts_and_a_cache(encoded, tiny_model, tiny_copy, tmp_path):
    # kills: an option that does nothing
    plain = encoded()
    np.testing.assert_array_equal(encoded("--prompt", "sun: "), sijo.encode(str(tiny_model), TEXTS, prompt="sun: "))
    raw = encoded("--no-normalize")
    np.testing.assert_array_equal(raw, sijo.encode(str(tiny_model), TEXTS, normalize=False))
    assert not np.allclose(np.linalg.norm(raw[:3], axis=1), 1)
    assert np.abs(encoded("--long-text", "truncate")[4] - plain[4]).max() > 1e-6
    for _ in range(2):
        np.testing.assert_allclose(encoded("--cache", tmp_path / "kept"), plain, atol=1e-6)
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_vectors_are_cut_and_then_scaled(encoded, tiny_model, encode):
    # kills: vectors scaled before they are cut, so that no dot product is a cosine; a cut that nobody is told of
    raw = sijo.encode(str(tiny_model), TEXTS, normalize=False)[:, :5]
    want = raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-9)
    np.testing.assert_allclose(encoded("--dimensions", "5"), want, atol=1e-6)
    np.testing.assert_allclose(encoded("--dimensions", "5", "--no-normalize"), raw, atol=1e-6)
    with pytest.warns(SijoWarning, match="Matryoshka.*first 5 of 16 numbers"):
        np.testing.assert_allclose(sijo.encode(str(tiny_model), TEXTS, dimensions=5), want, atol=1e-6)
    ran = encode("-", "--dimensions", "5", "--strict", stdin=b"the sea\n")
    assert ran.code == 3 and "Matryoshka" in ran.err


CARD = "---\ntags:\n- sentence-transformers\n- loss:MatryoshkaLoss\n---\n"


@pytest.mark.parametrize(
    "name, content",
    [
        ("README.md", CARD),
        ("config.json", '"matryoshka_dimensions": [4, 8, 16]'),
        ("config_sentence_transformers.json", '{"truncate_dim": 8}'),
    ],
)
@pytest.mark.filterwarnings("error::sijo.errors.SijoWarning")
def test_a_model_that_was_trained_to_be_cut_is_cut_without_a_word(tiny_copy, name, content):
    # kills: a warning where the model says that it may be cut, and a cut of the model's own that is passed over
    whole = sijo.encode(str(tiny_copy), TEXTS, normalize=False)
    if name == "config.json":
        content = (tiny_copy / name).read_text().rstrip().removesuffix("}") + f", {content}}}"
    (tiny_copy / name).write_text(content)
    np.testing.assert_array_equal(sijo.encode(str(tiny_copy), TEXTS, normalize=False, dimensions=4), whole[:, :4])
    width = 8 if "truncate_dim" in content else 16
    assert sijo.encode(str(tiny_copy), TEXTS).shape == (5, width)
    assert sijo.encode(str(tiny_copy), []).shape == (0, width)
    saved = tiny_copy.parent / "saved"
    sijo.save(sijo.load(tiny_copy), saved)
    assert sijo.encode(str(saved), TEXTS).shape == (5, width)


def test_a_damaged_cut_is_refused(tiny_copy):
    # kills: a stack trace, or a cut to no number at all
    for value in ("0", "-3", "true", '"8"', "2.5"):
        (tiny_copy / "config_sentence_transformers.json").write_text(f'{{"truncate_dim": {value}}}')
        with pytest.raises(CheckpointError, match="truncate_dim"):
            sijo.encode(str(tiny_copy), TEXTS)


@pytest.mark.parametrize(
    "code, words, arguments",
    [
        (2, ["out.txt", ".npy"], ("-o", "out.txt")),
        (2, ["--resume", "--output"], ("--resume",)),
        (2, ["dimensions=17", "16 numbers"], ("--dimensions", "17")),
        (2, ["dimensions=0", "1 to 16"], ("--dimensions", "0")),
        (2, ["no prompt 'qery'"], ("--prompt", "qery")),
        (2, ["no column 'body'"], ("--column", "body")),
        (2, ["precision"], ("--precision", "int4", "--backend", "torch")),
    ],
)
def test_what_cannot_be_is_refused(refused, tiny_model, write, code, words, arguments):
    # kills: a stack trace, and an hour's work before a refusal
    refused(code, words, "encode", write("in.csv", ROWS), "--model", tiny_model, *arguments)


def test_vectors_alone_are_no_output_of_labels(refused, tiny_model, write, tmp_path):
    # kills: a .npy of labels
    options = ("--labels", "sea,land", "--model", tiny_model, "-o", "out.npy")
    refused(2, ["out.npy", "must end in one of"], "classify", write("in.csv", ROWS), *options)
    with pytest.raises(SettingError, match="dimensions=99"):
        sijo.encode(str(tiny_model), TEXTS, dimensions=99)


@pytest.mark.parametrize(
    "named, more",
    [
        ("column", ("--column", "id")),
        ("prompt", ("--prompt", "sun: ")),
        ("dimensions", ("--dimensions", "4")),
        ("normalize", ("--no-normalize",)),
        ("long_text", ("--long-text", "truncate")),
        ("precision", ("--precision", "bf16")),
    ],
)
def test_a_resumed_run_with_other_settings_is_refused_by_name(
    encode, refused, tiny_model, write, tmp_path, named, more
):
    # kills: "complete already" after a setting was changed that decides the vectors
    arguments = [write("in.csv", ROWS), "-o", tmp_path / "out.npy", "--resume"]
    assert encode(*arguments).code == 0
    assert "complete already" in encode(*arguments).err
    refused(2, [f"was made with {named}: "], "encode", *arguments, "--model", tiny_model, *more)
    write("in.csv", ROWS.replace("old", "new"))
    refused(3, ["the input has changed"], "encode", *arguments, "--model", tiny_model)


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_kill_9_at_any_instant_then_resume(start, until, tiny_model, tmp_path, suffix):
    # kills: a block taken for done that is not whole, a vector lost at a border, an output that is there half
    source, chance = tmp_path / "in.txt", random.Random(3)
    words = ["the", "old", "sea", "rain", "sun", "land", "네", "😀"]
    source.write_text("".join(" ".join(chance.choices(words, k=3)) + "\n" for _ in range(9_000)), encoding="utf-8")

    def begin(output):
        return start("encode", source, "--model", tiny_model, "--output", output, "--resume")

    assert begin(tmp_path / f"want.{suffix}").wait().code == 0
    want = (tmp_path / f"want.{suffix}").read_bytes()
    output, codes = tmp_path / f"out.{suffix}", []
    run = tmp_path / f".{output.name}.sijo-run"
    for blocks in range(4):
        process = begin(output)
        until(lambda least=blocks: output.exists() or len(list(run.glob("chunk-????????"))) >= least)
        time.sleep(chance.uniform(0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        codes.append(process.wait().code)
        assert not output.exists() or output.read_bytes() == want
    assert begin(output).wait().code == 0
    assert output.read_bytes() == want
    assert codes.count(-signal.SIGKILL) >= 2
