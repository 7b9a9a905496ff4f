"""What people hold texts in, through every call that takes texts: the same strings in order, or refused."""

import enum
import io
import itertools
import pathlib
import tempfile

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import sijo
from generation.test_generator import pair, tokenizer  # noqa: F401
from sijo.errors import SettingError, TextError
from sijo.generation.attribute import Attributor
from sijo.inference.encode import engine_of
from sijo.texts import names_in, printable, texts_in
from sijo.tokenizers.choose_text import choose_text
from sijo.zeroshot.labels import LabelSet

TEXTS = ["the sea", "시 한 수", ""]
MISSING = ["the sea", "시 한 수", None]
WHOLE = ["the sea", "시 한 수", "rain"]


class Topic(enum.StrEnum):
    """Strings that are no plain `str`."""

    SEA = "the sea"


def dataset(**columns):
    return datasets.Dataset.from_dict(columns)


HOLDERS = {
    "list": MISSING,
    "tuple": tuple(MISSING),
    "dict view": dict(enumerate(MISSING)).values(),
    "list with NaN": ["the sea", "시 한 수", float("nan")],
    "list with NA": ["the sea", "시 한 수", pd.NA],
    "list with NaT": ["the sea", "시 한 수", pd.NaT],
    "list with float32 NaN": ["the sea", "시 한 수", np.float32("nan")],
    "numpy strings": np.array(TEXTS),
    "numpy objects": np.array(MISSING, object),
    "numpy StringDType": np.array(MISSING, np.dtypes.StringDType(na_object=None)),
    "numpy masked": np.ma.masked_array(["the sea", "시 한 수", "x"], [False, False, True]),
    "numpy (n, 1)": np.array(TEXTS)[:, None],
    "numpy matrix": np.matrix([[text] for text in TEXTS]),
    "Series": pd.Series(MISSING),
    "Series of objects": pd.Series(MISSING, dtype=object, index=["readline", "nlevels", "keys"]),
    "Series of categories": pd.Series(MISSING, dtype="category", index=[9, 9, 1]),
    "Series of PyArrow": pd.Series(MISSING, dtype=pd.ArrowDtype(pa.string())),
    "Series of string": pd.Series(MISSING, dtype="string"),
    "Index": pd.Index(MISSING),
    "pandas array": pd.array(MISSING, dtype="string"),
    "DataFrame": pd.DataFrame({"column_names": MISSING}, index=[5, 4, 3]),
    "DataFrame of numbers for names": pd.DataFrame(MISSING),
    "polars Series": pl.Series(MISSING),
    "polars categories": pl.Series(MISSING, dtype=pl.Categorical),
    "polars DataFrame": pl.DataFrame({"any": MISSING}),
    "pyarrow": pa.array(MISSING),
    "pyarrow chunks": pa.chunked_array([MISSING[:1], MISSING[1:]]),
    "pyarrow dictionary": pa.array(MISSING).dictionary_encode(),
    "pyarrow Table": pa.table({"any": MISSING}),
    "pyarrow RecordBatch": pa.RecordBatch.from_pydict({"any": MISSING}),
    "Dataset": dataset(any=MISSING),
    "column of a Dataset": dataset(text=MISSING, n=[1, 2, 3])["text"],
    "column in NumPy's format": dataset(text=TEXTS, n=[1, 2, 3]).with_format("numpy")["text"],
    "column that streams": dataset(text=MISSING, n=[1, 2, 3]).to_iterable_dataset()["text"],
    "Dataset that streams": dataset(text=MISSING).to_iterable_dataset(),
}
FRAME = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"]})
REFUSED = {
    "one string": ("a", "one string"),
    "bytes": (b"a", "one string"),
    "NumPy string": (np.str_("a"), "one string"),
    "dict of lists": ({"text": ["a"]}, r'data\["text"\]'),
    "list of dicts": ([{"text": "a"}], r'row\["text"\]'),
    "list of lists": ([["a"]], r"row\[0\]"),
    "list of bytes": ([b"a"], "decode"),
    "set": ({"a"}, r"no order.*sorted"),
    "frozenset": (frozenset("a"), "no order"),
    "number": (3, "type int"),
    "None": (None, "type NoneType"),
    "bools": ([True], "text 1 is of type bool"),
    "numbers later": (["a", 3], "text 2 is of type int"),
    "numpy numbers": (np.array([1, 2]), "type int64.*astype"),
    "numpy bytes": (np.array([b"a"]), "type bytes"),
    "numpy of no dimension": (np.array("a"), r"shape \(\)"),
    "numpy of two columns": (np.array([["a", "b"]]), r"shape \(1, 2\).*\[:, 0\]"),
    "numpy of three axes": (np.array([[["a", "b"]]]), r"\[:, 0, 0\]"),
    "numpy's bytes": (np.array([b"a"]), r"text\.decode\(\)"),
    "a stream of unknown columns": (
        datasets.IterableDataset.from_generator(lambda: iter([{"text": "a"}])),
        r"does not tell its columns; .*data\['text'\]",
    ),
    "numpy records": (np.array([("a",)], [("x", "U3")]), "type void"),
    "Series of numbers": (pd.Series([1.5, None]), "type float.*astype"),
    "Series of dates": (pd.Series(pd.date_range("2020", periods=2)), "type Timestamp"),
    "DataFrame of two columns": (FRAME, r"2 columns \(text, label\).*df\['text'\]"),
    "DataFrame of none": (pd.DataFrame(index=[1, 2]), "0 columns"),
    "GroupBy": (FRAME.groupby("label")["text"], "SeriesGroupBy"),
    "MultiIndex": (pd.MultiIndex.from_tuples([("a", "b")]), "2 levels"),
    "rows of a DataFrame": (FRAME.iterrows(), "type tuple"),
    "str of a Series": (FRAME["text"].str, "StringMethods"),
    "polars DataFrame": (pl.from_pandas(FRAME), r"2 columns \(text, label\)"),
    "polars LazyFrame": (pl.from_pandas(FRAME).lazy(), r"df\.collect\(\)"),
    "polars structs": (pl.Series([{"a": 1}]), "type dict"),
    "pyarrow Table": (pa.Table.from_pandas(FRAME), "2 columns"),
    "pyarrow lists": (pa.array([["a"]]), "type list"),
    "pyarrow binary": (pa.array([b"a"]), "type bytes"),
    "Dataset": (datasets.Dataset.from_pandas(FRAME), "2 columns"),
    "DatasetDict": (datasets.DatasetDict(train=dataset(text=["a"])), r'data\["train"\]\["text"\]'),
    "sparse matrix": (scipy.sparse.csr_matrix((2, 2)), "csr_matrix"),
    "path": (pathlib.Path("texts.txt"), "read_text"),
    "file": (io.StringIO("a"), "read_text"),
    "temporary file": (tempfile.SpooledTemporaryFile(mode="w+"), "read_text"),  # noqa: SIM115
    "half a character": (["a", "\ud800"], "text 2 holds a lone surrogate"),
    "items of a dict": ({"a": "b"}.items(), "type tuple"),
}


@pytest.mark.parametrize("held", HOLDERS.values(), ids=HOLDERS)
def test_every_holder_gives_its_texts(held):
    # kills: a table read as its column names, NaN read as "nan", a masked value read, rows reordered by an index
    found = list(texts_in(held))
    assert found == TEXTS and {type(text) for text in found} == {str}


@pytest.mark.parametrize("held, words", REFUSED.values(), ids=REFUSED)
def test_all_else_is_refused_with_the_call_that_would_do(held, words):
    # kills: keys, lines, letters or numbers read as texts
    with pytest.raises((SettingError, TextError), match=words):
        list(texts_in(held))


@pytest.fixture(scope="module")
def model(tiny_model):
    return sijo.load(tiny_model)


def calls(model, writer):
    """Every public call that takes texts, each giving one answer a text, as something that compares."""
    judge = sijo.load(model.source, "new:sequence-classification", labels=["yes", "no"])
    zero_shot = sijo.ZeroShotClassifier(["sea", "bank"], model, none_label="none")
    attributor = Attributor(writer, ["sea", "land"])
    own = [["sea", "bank"]] * 3
    return {
        "predict": zero_shot.predict,
        "predict_proba": zero_shot.predict_proba,
        "classify": zero_shot.classify,
        "stream": lambda texts: list(zero_shot.stream(texts)),
        "own labels": lambda texts: zero_shot.classify(texts, own),
        "fit": lambda texts: zero_shot.fit(texts, ["x"] * 3) and ["fitted"] * 3,
        "encode": lambda texts: sijo.encode(model, texts),
        "Engine.encode": lambda texts: engine_of(model).encode(texts).vectors,
        "Engine.stream": lambda texts: np.concatenate([part.vectors for part in engine_of(model).stream(texts)]),
        "Engine.judge": lambda texts: engine_of(judge).judge(texts).logits,
        "Engine.score_pairs": lambda texts: engine_of(judge).score_pairs(texts, WHOLE).logits,
        "generate": lambda texts: sijo.generate(writer, texts, control_code="sea", max_new_tokens=2),
        "choose_text": lambda texts: [*choose_text(texts, characters=99, seed=0).learned, "", ""][:3],
        "attribute": lambda texts: [
            (row.codes, row.posteriors) for row in attributor.attribute(text or "the" for text in texts_in(texts))
        ],
    }


NAMES = [
    *("predict", "predict_proba", "classify", "stream", "own labels", "fit", "encode", "Engine.encode"),
    *("Engine.stream", "Engine.judge", "Engine.score_pairs", "generate", "choose_text", "attribute"),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_call_reads_every_holder(model, pair, name):  # noqa: F811
    # kills: one door that reads a table as its column names, or gives another number of answers than texts
    call = calls(model, pair[0])[name]
    want = call(list(TEXTS))
    assert len(want) == 3
    for kind in ("DataFrame", "polars DataFrame", "Series of objects", "pyarrow", "Dataset", "numpy (n, 1)"):
        np.testing.assert_equal(call(HOLDERS[kind]), want, err_msg=kind)
    np.testing.assert_equal(call(text for text in TEXTS), want)
    one = () if name == "generate" else ("one string",)  # which is its one prompt
    for kind in ("DataFrame of two columns", "dict of lists", "numpy of two columns", "set", "file", *one):
        with pytest.raises((SettingError, TextError)):
            call(REFUSED[kind][0])


def test_a_stream_stays_lazy(model):
    # kills: an endless generator read to its end before the first row
    rows = sijo.ZeroShotClassifier(["sea", "bank"], model).stream(itertools.repeat("the sea"))
    assert next(rows).labels
    assert next(texts_in(map(str, itertools.count()))) == "0"


def test_attribute_and_settings_take_no_string_for_a_list(pair):  # noqa: F811
    # kills: codes, stop strings and banned words read letter by letter; a table for one text
    with pytest.raises(SettingError, match="one string is judged here"):
        sijo.attribute(pair[0], FRAME)
    for arguments in ({"stop": "\n\n"}, {"banned": "bad"}):
        with pytest.raises(SettingError, match="one string"):
            sijo.generate(pair[0], "the sea", **arguments)
    with pytest.raises(SettingError, match="one string"):
        sijo.attribute(pair[0], "the sea", codes="sea")


LABEL_COLUMNS = {
    "unique": pd.Series(["sea", "bank", "sea"]).unique(),
    "object": np.array(["sea", "bank"], object),
    "numpy": np.array(["sea", "bank"]),
    "Series": pd.Series(["sea", "bank"], index=[7, 7]),
    "Index": pd.Index(["sea", "bank"]),
    "categories": pd.Series(["sea", "bank"], dtype=pd.CategoricalDtype(["sea", "bank"])).cat.categories,
    "polars": pl.Series(["sea", "bank", "sea"]).unique(maintain_order=True),
    "pyarrow": pa.array(["sea", "bank"]),
    "keys": {"sea": 1, "bank": 2}.keys(),
    "generator": (name for name in ("sea", "bank")),
    "dataset": dataset(label=["sea", "bank"]).unique("label"),
}


@pytest.mark.parametrize("labels", LABEL_COLUMNS.values(), ids=LABEL_COLUMNS)
def test_labels_from_columns_become_plain_names(labels):
    # kills: NumPy's strings in a label set, which JSON and Parquet write otherwise
    names = LabelSet.of(labels).names
    assert names == ("sea", "bank") and {type(name) for name in names} == {str}


@pytest.mark.parametrize(
    "labels, words",
    [
        ({"sea", "bank"}, "no order"),
        (FRAME, "2 columns"),
        (pd.Series(["sea", None]), "a word or a phrase"),
        (pd.Series([1, 2]), "a word or a phrase"),
        (5, "type int"),
    ],
)
def test_labels_that_are_none_are_refused(labels, words):
    # kills: column names, numbers and missing values taken for labels
    with pytest.raises(SettingError, match=words):
        LabelSet.of(labels)


@pytest.mark.parametrize(
    "column",
    [
        list,
        tuple,
        np.array,
        pd.Series,
        pd.Index,
        pl.Series,
        pa.array,
        lambda y: pd.Series(y, dtype="category", index=range(10, 10 + len(y))),
        lambda y: pd.Series(y, dtype="string"),
        lambda y: pd.DataFrame({"label": y}),
        lambda y: np.array(y)[:, None],
        iter,
    ],
)
def test_y_from_columns(model, column):
    # kills: classes of NumPy's strings or of column names; a temperature fitted to an index instead of labels
    y = ["sea", "bank", "sea", "game"]
    clf = sijo.ZeroShotClassifier(None, model, temperature="fit").fit(
        pd.Series(["the sea", "money", "rain", "ball"]), column(y)
    )
    assert clf.classes_.tolist() == ["bank", "game", "sea"] and {*map(type, clf._labels().names)} == {str}
    want = sijo.ZeroShotClassifier(None, model, temperature="fit").fit(["the sea", "money", "rain", "ball"], y)
    assert clf.used_calibration == want.used_calibration


@pytest.mark.parametrize(
    "y, words",
    [
        (["sea", None], "label 2 is missing"),
        (pd.Series(["sea", np.nan]), "label 2 is missing"),
        ([1.5, 2], r"label 1 is of type float; pass strings; a column of numbers .* \.astype\(str\)"),
        ("se", "one string"),
        ({"sea": 1, "bank": 2}, "its keys"),
        (FRAME, "2 columns"),
        (["sea"], "2 texts and 1 labels"),
    ],
)
def test_y_that_is_no_labels_is_refused(model, y, words):
    # kills: a missing label that becomes the class "nan"
    with pytest.raises((SettingError, TextError), match=words):
        sijo.ZeroShotClassifier(None, model).fit(["a", "b"], y)


def test_own_labels_from_columns(model):
    # kills: a column of lists that is read as its index
    clf, sets = sijo.ZeroShotClassifier(None, model), [["sea", "bank"], ["sea", "game", "oil"]]
    want = clf.classify(["the sea", "ball"], sets)
    frame = pd.DataFrame({"labels": [np.array(own) for own in sets]}, index=[3, 1])
    for column in (frame["labels"], pa.array(sets), pl.Series(sets), dataset(labels=sets)["labels"], iter(sets)):
        assert clf.classify(["the sea", "ball"], column) == want
    for column in (["sea", "bank"], {"sea": "", "bank": ""}, [None, None], FRAME):
        with pytest.raises((SettingError, TextError)):
            clf.classify(["the sea", "ball"], column)


@pytest.mark.parametrize("dtype", [object, "string", "category", "str"])
def test_scikit_learn_with_pandas(model, dtype):
    # kills: folds that mix up rows, classes that scikit-learn cannot compare with y
    X = pd.Series(
        ["the sea", "money in the bank", "rain", "tax", "a game", "the team"] * 2,
        index=range(20, 32),
        dtype="string",
    )
    y = pd.Series(["sea", "bank", "sea", "bank", "game", "game"] * 2, index=range(20, 32), dtype=dtype)
    clf = sijo.ZeroShotClassifier(model=model, temperature=0.1)
    scores = cross_val_score(clf, X, y, cv=2)
    assert scores.tolist() == cross_val_score(clf, X.tolist(), y.tolist(), cv=2).tolist() and 0 < scores.mean() <= 1
    pipeline = make_pipeline(FunctionTransformer(lambda texts: texts.str.lower()), clf).fit(X, y)
    assert pipeline.predict(X).tolist() == clf.fit(X, y).predict(X.tolist()).tolist()
    grid = GridSearchCV(clf, {"hypothesis_template": ["{}", "it is {}"]}, cv=2).fit(X.to_frame(), y)
    assert grid.best_params_


def test_fit_gives_itself_and_changes_no_parameter(model):
    # kills: a fit that returns nothing, or writes into what the caller set
    clf = sijo.ZeroShotClassifier(["sea", "bank"], model)
    before = clf.get_params()
    assert clf.fit(["the sea"], ["sea"]) is clf and clf.get_params() == before


def test_fresh_heads_take_columns_of_labels(tiny_model):
    # kills: NumPy's strings, which JSON cannot write, in a config
    head = sijo.load(tiny_model, "new:sequence-classification", labels=np.array(["yes", "no"]))
    assert head.labels == ("yes", "no") and {*map(type, head.labels)} == {str}
    with pytest.raises(SettingError, match="no order"):
        sijo.load(tiny_model, "new:sequence-classification", labels={"yes", "no"})


def test_names_must_be_there():
    with pytest.raises(TextError, match="code 2 is missing"):
        list(names_in(["a", None], "codes", "code"))


def test_what_steers_a_terminal_is_shown_not_obeyed():
    # kills: C1 controls, which steer without ESC; bidirectional overrides; letters and emoji that are spoiled
    hostile = [
        *map(chr, range(32)),
        *map(chr, range(127, 160)),
        *"\u202a\u202e\u2066\u2069\u200e\u061c\u2028\u2029\udcff",
    ]
    for letter in hostile:
        assert not {*printable(f"a{letter}b")} & {*hostile}
    assert printable("a\x1b]0;x\x07b\x9b31m\u202e") == "a\\u001b]0;x\\u0007b\\u009b31m\\u202e"
    assert printable("a\tb\r\nc") == "a b  c" and printable("a\tb\nc\r", lines=True) == "a\tb\nc\\u000d"
    for sound in ("시조 é e\u0301 中文 עברית", "👨‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿 می‌خواهم", "🫩 [red] :smile:"):
        assert printable(sound) == sound
