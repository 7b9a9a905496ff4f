"""An exported file beside the network it was made of: the largest gap, the decisions that are the same, the speed.

Letters: B batch, L length, D width of a vector, N labels.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from sijo.batching import by_length, padded_length
from sijo.checkpoints.load import Model
from sijo.errors import SettingError
from sijo.evaluation.intervals import Interval, share_interval
from sijo.inference.vector_steps import after_steps
from sijo.nn.pooling import pool

if TYPE_CHECKING:
    import onnxruntime

Feed = dict[str, np.ndarray]
ROUNDS = 3
BATCH_TOKENS = 2048
TIMED = 4
"""Batches on which speed is measured."""
TOPICS = (
    *("business", "sport", "politics", "technology", "entertainment", "science", "health", "food", "travel"),
    *("weather", "music", "family", "history", "crime", "school", "money"),
)
"""What an encoder of sentences chooses among, by the nearest vector."""


@dataclass(frozen=True)
class Comparison:
    """What an exported file answers beside the network it was made of, on the same inputs."""

    texts: int
    """How many texts, or pairs."""
    tokens: int
    """Their tokens."""
    gap: float
    """The largest difference of a number in vectors or logits."""
    largest: float
    """The largest of those numbers by size."""
    decisions: int
    """How often something was chosen."""
    agreement: Interval
    """In what share of them the same was chosen, with its 95 % interval (Wilson)."""
    speed: float
    """How many times as fast as torch in float32 on this machine, median of rounds by turns."""


def open_session(file: Path, threads: int) -> "onnxruntime.InferenceSession":
    """An exported file in onnxruntime, on the processor; SettingError where that is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise SettingError(
            "an exported file is compared with its original by onnxruntime, which is not installed: "
            "pip install onnxruntime"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def compare(
    model: Model, head: str | None, session: "onnxruntime.InferenceSession", texts: Sequence[str]
) -> Comparison:
    """Compare an opened file with its model on texts.

    Of an encoder alone vectors are compared, and as a decision which of `TOPICS` is the nearest; of a head that
    judges texts its logits and the highest of them, for pairs of a text and a hypothesis where it was trained on
    entailment; of one that judges tokens the highest at each token.
    """
    inputs, batches, feeds = batched(model, head, [*texts, *(TOPICS if head is None else ())])
    name = "sentence_embedding" if head is None else "logits"
    known = {entry.name for entry in session.get_inputs()}
    works: list[Callable[[Feed], np.ndarray]] = [
        lambda feed: _by_torch(model, head, feed),
        lambda feed: np.asarray(session.run([name], {key: feed[key] for key in known})[0]),
    ]
    each = head == "token-classification"
    want, have = (_in_order([work(feed) for feed in feeds], batches, feeds, each=each) for work in works)
    timed = feeds[:: -(-len(feeds) // TIMED)]  # from the longest to the shortest
    seconds: list[list[float]] = [[], []]
    for number in range(ROUNDS):
        for who in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            for feed in timed:
                works[who](feed)
            seconds[who].append(time.perf_counter() - started)
    gap = float(np.abs(want - have).max())
    same = _decided(want, head) == _decided(have, head)
    return Comparison(
        texts=len(inputs) - (len(TOPICS) if head is None else 0),
        tokens=sum(len(ids) for ids, _ in inputs),
        gap=gap if np.isfinite(have).all() else float("inf"),
        largest=float(np.abs(want).max()),
        decisions=len(same),
        agreement=share_interval(int(same.sum()), len(same)),
        speed=statistics.median(seconds[0]) / statistics.median(seconds[1]),
    )


def batched(
    model: Model, head: str | None, texts: Sequence[str]
) -> tuple[list[tuple[list[int], list[int]]], list[list[int]], list[Feed]]:
    """The inputs that are made of texts, their numbers in batches, and each batch as arrays."""
    inputs = _inputs(model, head, texts)
    batches = list(by_length([len(ids) for ids, _ in inputs], token_budget=BATCH_TOKENS))
    return inputs, batches, [_feed(model, [inputs[i] for i in batch]) for batch in batches]


def _inputs(model: Model, head: str | None, texts: Sequence[str]) -> list[tuple[list[int], list[int]]]:
    """The token ids and token type ids of each input."""
    tokenizer = model.tokenizer
    if head == "sequence-classification" and any(label.casefold().startswith("entail") for label in model.labels):
        firsts = [text for text in texts for _ in TOPICS[:2]]
        seconds = [
            f"This text is about {TOPICS[(i + j) % len(TOPICS)]}." for i in range(len(texts)) for j in range(2)
        ]
        return [(list(pair.input_ids), list(pair.token_type_ids)) for pair in tokenizer.pairs(firsts, seconds)]
    return [(windows[0], [0] * len(windows[0])) for windows in tokenizer.windows(texts) if windows and windows[0]]


def _feed(model: Model, rows: Sequence[tuple[list[int], list[int]]]) -> Feed:
    limit = model.architecture.places
    width = padded_length(max(len(ids) for ids, _ in rows))
    width = width if limit is None else min(width, limit)
    feed = {
        name: np.zeros((len(rows), width), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")
    }
    for row, (ids, types) in enumerate(rows):
        feed["input_ids"][row, : len(ids)] = ids
        feed["attention_mask"][row, : len(ids)] = 1
        feed["token_type_ids"][row, : len(ids)] = types
    return feed


@torch.inference_mode()
def _by_torch(model: Model, head: str | None, feed: Feed) -> np.ndarray:
    ids, mask, types = (torch.from_numpy(feed[n]) for n in ("input_ids", "attention_mask", "token_type_ids"))
    output = model(ids, mask, types)
    if head is not None:
        return np.asarray(output.answers[head])
    vector = pool(output.last_hidden_state, mask, model.sentence.pooling)
    return after_steps(np.asarray(vector), model.sentence.steps)


def _in_order(
    got: Sequence[np.ndarray], batches: Sequence[Sequence[int]], feeds: Sequence[Feed], *, each: bool
) -> np.ndarray:
    """The answers in the order of the inputs; of tokens all real ones, one after another."""
    rows: dict[int, np.ndarray] = {}
    for answer, batch, feed in zip(got, batches, feeds, strict=True):
        for place, number in enumerate(batch):
            rows[number] = answer[place][feed["attention_mask"][place] > 0] if each else answer[place : place + 1]
    return np.concatenate([rows[number] for number in sorted(rows)])


def _decided(answers: np.ndarray, head: str | None) -> np.ndarray:
    """What is chosen by each answer."""
    if head is None:
        with np.errstate(invalid="ignore"):
            unit = answers / np.maximum(np.linalg.norm(answers, axis=-1, keepdims=True), 1e-12)
        answers = unit[: -len(TOPICS)] @ unit[-len(TOPICS) :].T
    if answers.shape[-1] == 1:
        return np.asarray(answers[..., 0] > 0)
    return np.asarray(answers.argmax(-1))
