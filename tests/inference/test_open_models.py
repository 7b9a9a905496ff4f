"""Models that stay open in a process: opened once, anew where a file was changed, by each process for itself."""

import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import sijo
from conftest import tiny_weights
from onnx_networks import write_onnx
from sijo.errors import SijoError, SijoWarning
from sijo.files import manifest
from sijo.inference import encode as encoding
from sijo.inference import open_models
from sijo.inference.threads import tell_tokenizers

LABELS = ["sea", "rain", "bank"]
TEXTS = ["the old sea", "rain and sun", "money in the bank"]


@pytest.fixture(autouse=True)
def at_rest(monkeypatch):
    """Files that a test has just written are as good as old ones."""
    monkeypatch.setattr(manifest, "UNSETTLED_NS", 0)


@pytest.fixture
def openings(monkeypatch):
    """Of each network that was opened, the head and the precision."""
    told, inner = [], encoding.open_backend

    def counted(described, **how):
        told.append((how["head"], how["precision"]))
        return inner(described, **how)

    monkeypatch.setattr(encoding, "open_backend", counted)
    return told


def classifier(folder, **settings):
    return sijo.ZeroShotClassifier(LABELS, str(folder), **settings)


DOORS = {
    "a classifier": lambda folder: classifier(folder).predict(TEXTS),
    "a clone": lambda folder: clone(classifier(folder)).fit(TEXTS).predict_proba(TEXTS),
    "a copy that was pickled": lambda folder: pickle.loads(pickle.dumps(classifier(folder))).classify(TEXTS),
    "other labels and words": lambda folder: classifier(folder, hypothesis_template="on {}").predict(TEXTS),
    "vectors": lambda folder: sijo.encode(folder, TEXTS),
    "vectors with a prompt": lambda folder: sijo.encode(str(folder), TEXTS, prompt="old "),
    "another writing of its path": lambda folder: sijo.encode(folder / "1_Pooling" / "..", TEXTS),
    "a cross-validation": lambda folder: cross_val_score(classifier(folder), TEXTS * 2, LABELS * 2, cv=2),
    "a pipeline": lambda folder: (
        make_pipeline(FunctionTransformer(list), classifier(folder)).fit(TEXTS, LABELS).predict(TEXTS)
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_folder_is_opened_once(tiny_copy, openings, door):
    # kills: a network that each clone, each copy and each call opens for itself
    first = sijo.encode(tiny_copy, TEXTS)
    for _ in range(2):
        DOORS[door](tiny_copy)
    assert np.array_equal(sijo.encode(tiny_copy, TEXTS), first) and len(openings) == 1


def test_what_is_of_one_caller_stays_with_it(tiny_copy, openings, tmp_path):
    # kills: prompts, dimensions, caches and calibrations that are those of whoever came before
    plain = sijo.encode(tiny_copy, TEXTS)
    kept = classifier(tiny_copy, cache=tmp_path / "cache", long_text="truncate")
    kept.predict(TEXTS)
    with pytest.warns(SijoWarning, match="Matryoshka"):
        assert sijo.encode(tiny_copy, TEXTS, dimensions=8).shape == (3, 8)
    assert not np.allclose(sijo.encode(tiny_copy, TEXTS, prompt="old "), plain)
    assert np.array_equal(sijo.encode(tiny_copy, TEXTS), plain)
    other = classifier(tiny_copy)
    assert other._scorer().engine.store is None and other._scorer().engine.long_text == "windows"
    assert kept._scorer().engine.store is not None and len(openings) == 1


OTHERWISE = {
    "precision": {"precision": "int8"},
    "backend": {"backend": "onnx"},
    "threads": {"threads": 2},
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_what_decides_the_network_is_told_apart(tiny_copy, openings, what):
    # kills: an answer of another precision, backend or number of threads than was asked for
    write_onnx(tiny_copy, tiny_weights())
    ways = ({"backend": "torch"}, {"backend": "torch"} | OTHERWISE[what])
    for way in (*ways, *ways):
        sijo.encode(tiny_copy, TEXTS, **way)
    assert len(openings) == 2


def test_threads_of_the_environment_are_told_apart(tiny_copy, openings, monkeypatch):
    # kills: a session that goes on with the threads of before
    for number in ("1", "2", "1"):
        monkeypatch.setenv("OMP_NUM_THREADS", number)
        sijo.encode(tiny_copy, TEXTS)
    assert len(openings) == 2


def touched(folder):
    weights = folder / "model.safetensors"
    os.utime(weights, ns=(time.time_ns(), time.time_ns()))


def rewritten_in_place(folder):
    weights, when = folder / "model.safetensors", (folder / "model.safetensors").stat()
    content = bytearray(weights.read_bytes())
    content[-4:] = b"\0\0\0\0"
    weights.write_bytes(content)
    os.utime(weights, ns=(when.st_atime_ns, when.st_mtime_ns))  # as `cp -p` and archives do


def replaced(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "fresh").write_bytes(whole[:-4] + b"\0\0\0\0")
    (folder / "fresh").replace(folder / "model.safetensors")


def pooled_otherwise(folder):
    file = folder / "1_Pooling" / "config.json"
    file.write_text(file.read_text().replace("mean", "none").replace("_cls_token", "_cls_tokens"))


def given_onnx(folder):
    write_onnx(folder, tiny_weights())


@pytest.mark.parametrize("change", [touched, rewritten_in_place, replaced, pooled_otherwise, given_onnx])
def test_a_folder_that_was_changed_is_another_model(tiny_copy, openings, change):
    # kills: answers of files that are not there any more
    clf = classifier(tiny_copy)
    clf.predict(TEXTS)
    change(tiny_copy)
    with suppress(SijoError):  # a change may have left no model
        sijo.encode(tiny_copy, TEXTS)
    with suppress(SijoError):
        clone(clf).predict(TEXTS)
    assert len(openings) >= 2


def test_damage_is_found_by_the_next_caller(tiny_copy):
    # kills: a damaged folder that answers because it was whole once
    folder = tiny_copy.with_name("sealed")
    sijo.save(sijo.load(tiny_copy), folder)
    sijo.encode(folder, TEXTS)
    rewritten_in_place(folder)
    with pytest.raises(SijoError, match="SHA-256"):
        sijo.encode(folder, TEXTS)


def test_files_that_may_still_change_are_not_kept(tiny_copy, openings, monkeypatch):
    # kills: two writings within one tick of the file system's clock, of which the second is never seen
    monkeypatch.setattr(manifest, "UNSETTLED_NS", 10**12)
    for _ in range(2):
        sijo.encode(tiny_copy, TEXTS)
    assert len(openings) == 2


def test_few_stay_open_and_none_when_closed(tiny_copy, openings, monkeypatch):
    # kills: a process that holds every model it has seen; one that is held after it was let go of
    monkeypatch.setattr(open_models.OPEN_MODELS, "most", 2)
    for threads in (1, 2, 3, 2, 3, 1):
        sijo.encode(tiny_copy, TEXTS, threads=threads)
    assert len(openings) == 4 and len(open_models.OPEN_MODELS._open) == 2
    sijo.close_models()
    assert not open_models.OPEN_MODELS._open
    sijo.encode(tiny_copy, TEXTS)
    assert len(openings) == 5


def test_the_one_that_was_asked_for_last_stays_open(tiny_copy, openings, monkeypatch):
    # kills: a network closed because it was opened first, though all ask for it
    monkeypatch.setattr(open_models.OPEN_MODELS, "most", 2)
    for threads in (1, 2, 1, 3, 1):
        sijo.encode(tiny_copy, TEXTS, threads=threads)
    assert len(openings) == 3


def test_one_whose_files_change_while_it_is_opened_is_not_kept(tiny_copy, monkeypatch):
    # kills: half an old and half a new file, kept as what the folder holds
    inner = encoding.open_backend

    def disturbed(described, **how):
        opened = inner(described, **how)
        touched(tiny_copy)
        return opened

    monkeypatch.setattr(encoding, "open_backend", disturbed)
    sijo.encode(tiny_copy, TEXTS)
    assert not open_models.OPEN_MODELS._open


def test_threads_that_ask_together_share_one(tiny_copy, openings):
    # kills: a network that is opened once a thread, scores of another thread's texts
    want, together = sijo.encode(tiny_copy, TEXTS), threading.Barrier(4)
    sijo.close_models()

    def ask(number):
        together.wait()
        return sijo.encode(tiny_copy, TEXTS[number % 3 :])

    with ThreadPoolExecutor(4) as pool:
        for number, vectors in enumerate(pool.map(ask, range(4))):
            np.testing.assert_allclose(vectors, want[number % 3 :], atol=1e-6)
    assert len(openings) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_process_that_was_forked_opens_its_own(tiny_copy, openings):
    # kills: threads that stayed in the parent and are waited for, a lock that nobody will ever open
    write_onnx(tiny_copy, tiny_weights())
    clf = classifier(tiny_copy)
    sijo.encode(tiny_copy, TEXTS, threads=2)  # nobody holds this one, whose threads a child has not
    before, opened = clf.predict_proba(TEXTS), len(openings)
    held, over = threading.Event(), threading.Event()

    def hold():  # as a thread does that opens another model
        with open_models.OPEN_MODELS._lock:
            held.set()
            over.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(BaseException):
            same = np.array_equal(clf.predict_proba(TEXTS), before)
            code = 0 if same and len(openings) == opened + 1 else 2
        os._exit(code)
    over.set()
    holder.join()
    until = time.monotonic() + 30
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
        time.sleep(0.02)
    if ended == (0, 0):
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended[1]) == 0 and ended[0] == child
    assert np.array_equal(clf.predict_proba(TEXTS), before)


COUNTED = """
import os
from sijo.files import manifest
from sijo.inference import encode
from sijo.inference.threads import thread_count

manifest.UNSETTLED_NS = 0
opened, inner = [], encode.open_backend

def counting(*arguments, **how):
    opened.append(how)
    return inner(*arguments, **how)

encode.open_backend = counting

def score(classifier, texts, labels):
    share = classifier.score(texts, labels)
    with open(os.path.join(os.environ["COUNTED"], str(os.getpid())), "w") as file:
        file.write(f"{len(opened)} {thread_count()} {os.environ['RAYON_NUM_THREADS']}")
    return share
"""


def test_each_process_of_a_search_opens_the_model_once(tiny_copy, tmp_path, monkeypatch):
    # kills: a network opened for every fold of every setting; processes with a thread for each core, cutting texts
    # and computing, that wait for each other
    loky = pytest.importorskip("joblib.externals.loky")
    (tmp_path / "counted.py").write_text(COUNTED)
    (tmp_path / "counts").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COUNTED", str(tmp_path / "counts"))
    for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    write_onnx(tiny_copy, tiny_weights())  # of which the processes need no torch
    import counted

    monkeypatch.setattr(encoding, "open_backend", counted.inner)
    grid = {"hypothesis_template": ["{}", "on {}", "of {}"], "temperature": [None, 0.1]}
    loky.get_reusable_executor().shutdown(wait=True)
    try:
        search = GridSearchCV(classifier(tiny_copy), grid, cv=3, n_jobs=2, scoring=counted.score, refit=False)
        search.fit(TEXTS * 4, LABELS * 4)
    finally:
        loky.get_reusable_executor().shutdown(wait=True)
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()
    told = {file.name: file.read_text().split() for file in (tmp_path / "counts").iterdir()}
    share = str(max(1, loky.cpu_count() // 2))
    assert 1 <= len(told) <= 2 and str(os.getpid()) not in told
    assert all(words == ["1", share, share] for words in told.values()), told


def test_tokenizers_hear_of_the_number_that_all_others_read(monkeypatch):
    # kills: texts cut by a thread for each core, in each of several processes that share them
    for name, asked, want in (("1", None, "1"), ("2,1", None, "2"), ("1", "3", "3"), (None, None, None)):
        for variable, value in (("OMP_NUM_THREADS", name), ("RAYON_NUM_THREADS", asked)):
            monkeypatch.delenv(variable, raising=False) if value is None else monkeypatch.setenv(variable, value)
        tell_tokenizers()
        assert os.environ.get("RAYON_NUM_THREADS") == want
