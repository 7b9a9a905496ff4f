"""`sijo bench`: what it measures and shows. No test times anything."""

import json

import pytest

from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import load
from sijo.checkpoints.save import save
from sijo.inference import speed
from sijo.inference.backends import registry
from sijo.inference.backends.registry import open_backend
from sijo.nn.cost import flops_per_token


def test_the_figures_belong_together(tiny_model, monkeypatch):
    # kills: a rate of batches told as one of texts, a share of another's time, a text longer than the model reads
    asked = []

    def second_each(works, *, rounds):
        asked.append(rounds)
        for work in works:
            work()
        return [0.5, *(float(number) for number in range(1, len(works)))]

    monkeypatch.setattr(speed, "in_turns", second_each)
    described = describe(tiny_model)
    backend = open_backend(described, backend="torch")
    readings, peaks = speed.read_speeds(
        described, [backend], {"numpy": lambda: None}, shapes=((1, 16), (4, 16), (2, 500)), rounds=3
    )
    assert asked == [3] and peaks == {"numpy": 2 * 1024**3 / 0.5}
    assert [(one.batch, one.tokens) for one in readings] == [(1, 16), (4, 16), (2, 32)]
    for seconds, one in enumerate(readings, 1):
        assert one.texts_per_second == one.batch / seconds
        assert one.tokens_per_second == one.batch * one.tokens / seconds
        flops = flops_per_token(described.architecture, one.tokens, training=False, sequences=one.batch)
        assert one.gflops * 1e9 == pytest.approx(flops * one.tokens_per_second)
        assert one.peak_share == pytest.approx(flops * one.tokens_per_second / peaks["numpy"])


def test_rounds_are_taken_in_turns_and_the_first_does_not_count(monkeypatch):
    # kills: all rounds of one work before those of another, and the time to make kernels in the median
    clock, calls = [0.0], []
    monkeypatch.setattr(speed.time, "perf_counter", lambda: clock[0])

    def work(name, seconds):
        calls.append(name)
        clock[0] += seconds * (0, 100, 1, 3)[calls.count(name)]

    assert speed.in_turns([lambda: work("a", 1), lambda: work("b", 2)], rounds=2) == [2.0, 4.0]
    assert calls == ["a", "b"] * 3


def test_what_is_measured_is_what_was_asked_for(sijo_cli, tiny_copy, tmp_path, monkeypatch):
    # kills: another number of rounds than is told, and an encoder measured where a head answers
    (tiny_copy / "modules.json").unlink()
    model = load(tiny_copy, "new:sequence-classification", labels=["sea", "land"])
    asked, heads, opened = [], [], registry.open_backend
    monkeypatch.setattr(
        speed, "in_turns", lambda works, *, rounds: asked.append(rounds) or [1.0 + i for i in range(len(works))]
    )
    monkeypatch.setattr(registry, "open_backend", lambda *a, **k: heads.append(k["head"]) or opened(*a, **k))
    ran = sijo_cli("bench", save(model, tmp_path / "judge"), "--rounds", 4, "--device", "cpu")
    assert ran.code == 0 and json.loads(ran.out)["rounds"] == 4, ran.err
    assert asked == [4] and {*heads} == {"sequence-classification"}


def test_a_program_gets_json_and_a_person_a_table(sijo_cli, tiny_model):
    # kills: a record that says nothing of the machine, and a backend that is passed over in silence
    ran = sijo_cli("bench", tiny_model, "--rounds", "1", "--device", "cpu")
    assert ran.code == 0, ran.err
    record = json.loads(ran.out)
    assert {"processor", "cores", "threads", "abilities", "system"} == set(record["machine"])
    assert {"python", "sijo", "numpy"} <= set(record["versions"])
    assert all(rate > 0 for rate in record["matmul_gflops"].values())
    measured = {(one["backend"], one["precision"]) for one in record["readings"]}
    assert ("torch", "exact") in measured and {one["tokens"] for one in record["readings"]} == {16, 32}
    assert "sijo export" in record["left_out"]["onnx exact"] and "torch fp16" in record["left_out"]
    ran = sijo_cli("bench", tiny_model, "--rounds", "1", "--format", "table")
    assert ran.code == 0 and b"texts/s" in ran.out and b"Not measured" in ran.out


@pytest.mark.parametrize(
    "words, arguments", [(["rounds=0"], ("--rounds", "0")), (["no device 'gpu'"], ("--device", "gpu"))]
)
def test_what_cannot_be_is_refused(refused, tiny_model, words, arguments):
    # kills: a median of nothing
    refused(2, words, "bench", tiny_model, *arguments)
