"""Does an encoder that learned to judge all labels in one pass judge labels that it never saw?

A tiny DeBERTa with fresh weights learns from made-up sets. A label is two words, and its texts hold two others
among filler: what each word of labels is called in texts has to be learned. It is then asked of labels that put
known words together as none did that it learned from, beside others that share a word with them.

    python benchmarks/one_pass_unseen.py [STEPS]

Prints one JSON object for each layout, labels seen by each other and hidden, and for each choice of the fresh head
made otherwise: accuracy before anything is learned, on labels it learned from and on unseen ones (320 texts each)
with its 95 % interval, chance, the gap that the order of the labels makes, and seconds.
"""

import json
import sys
import time
from dataclasses import replace

import numpy as np
import torch

from sijo.checkpoints.load import Model
from sijo.data.label_questions import LabelQuestions, LabelWords, QuestionSettings, RecastSet
from sijo.evaluation.intervals import share_interval
from sijo.jobs.open_labels.one_pass_setup import fresh_head
from sijo.models import FAMILIES
from sijo.models.family import Layout
from sijo.nn.architecture import Architecture, Disentangled
from sijo.nn.head_specs import OPEN_LABELS
from sijo.nn.transformer import start
from sijo.objectives.one_pass import OnePass
from sijo.objectives.posed_batch import unposed
from sijo.random import rng
from sijo.tokenizers.label_prompt import MARKS, LabelPrompt, mark_ids
from sijo.tokenizers.tokenizer import Tokenizer

PARTS, FILLER, CHOICES = 12, 40, 4


def tokenizer_of(words: list[str]) -> Tokenizer:
    """A token for each word, and the marks."""
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    from tokenizers import Tokenizer as Native

    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    native = Native(WordLevel(vocabulary, unk_token="[UNK]"))
    native.pre_tokenizer = Whitespace()
    native.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return Tokenizer(native, max_length=64).with_specials(MARKS)


def model_of(tokenizer: Tokenizer, neighbours: str, changes: dict[str, str], width: int = 64) -> Model:
    """A fresh DeBERTa with the head."""
    a = Architecture(
        vocab_size=tokenizer.vocab_size,
        embedding_size=width,
        hidden_size=width,
        heads=4,
        intermediate_size=2 * width,
        schedule=(0,),
        initializer_range=0.1,  # so that words are told apart from the start
        distances=Disentangled(span=64, buckets=16, terms=("c2p", "p2c"), projections="shared"),
    )
    head = replace(fresh_head(mark_ids(tokenizer), width, neighbours), **changes)
    fields = FAMILIES["sijo"].fields(a, {OPEN_LABELS: head})
    torch.manual_seed(0)
    return Model(
        FAMILIES["sijo"], fields, {OPEN_LABELS: Layout(OPEN_LABELS, lambda _: head, {})}, tokenizer=tokenizer
    )


def made_set(labels: list[str], filler: list[str], number: int) -> RecastSet:
    """Texts of five words, two of them the label's, in small letters."""
    random, texts, own = rng(0, "set", number), [], []
    for text in range(8 * len(labels)):
        place = text % len(labels)
        words = [filler[i] for i in random.integers(len(filler), size=3)]
        for word in labels[place].lower().split():
            words.insert(int(random.integers(len(words) + 1)), word)
        texts.append(" ".join(words))
        own.append(place)
    near = np.array([[other for other in range(len(labels)) if other != place] for place in range(len(labels))])
    words = {"en": tuple(LabelWords(((label,),)) for label in labels)}
    return RecastSet(f"set {number}", 1.0, tuple(texts), tuple(own), words, near)


def learned(
    steps: int, neighbours: str, *, loss: str = "list", apart: bool = False, **head: str
) -> dict[str, object]:
    """A model of a layout after so many steps, and how often it is right.

    apart  whether the projectors begin apart, as other weights do
    head   what else of the head is to be otherwise
    """
    parts, filler = range(PARTS), [f"w{place}" for place in range(FILLER)]
    pairs = [f"A{one} B{other}" for one in parts for other in parts]
    pairs = [pairs[place] for place in rng(0, "pairs").permutation(len(pairs))]
    seen, unseen = pairs[:100], sorted(pairs[100:140])  # in that order neighbours share a word
    tokenizer = tokenizer_of([*filler, *(f"{kind}{place}" for kind in "aAbB" for place in parts)])
    model = model_of(tokenizer, neighbours, head)
    if apart:
        start(model.head, std=0.1)
    sets = [made_set(seen[start : start + 10], filler, start) for start in range(0, len(seen), 10)]
    questions = QuestionSettings(fewest=CHOICES, most=CHOICES, near=0.0, descriptions=0.0, length=24)
    data = LabelQuestions(sets, tokenizer, questions)
    objective = OnePass(model, tokenizer, length=64, loss=loss)
    objective.balance([objective.pose(unposed(data.batch(0, 32, seed=0)), 0)])
    objective.train()
    before = accuracy(model, unseen, filler)[0]
    rates = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    begun, losses = time.perf_counter(), list[float]()
    for step in range(steps):
        for group in rates.param_groups:
            group["lr"] = 4e-3 * min(1, (step + 1) / 50) * (1 - step / steps)
        posed = objective.pose(unposed(data.batch(32 * step, 32, seed=0)), 0)
        tally = objective(posed)["labels"]
        rates.zero_grad()
        (tally.total / tally.count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rates.step()
        losses.append(tally.total.item() / tally.count)
    seconds = time.perf_counter() - begun
    model.eval()
    right, moved = accuracy(model, unseen, filler)
    interval = share_interval(round(right * 320), 320)
    return {
        "neighbours": neighbours,
        **{"loss": loss, "apart": apart, **head},
        "before": before,
        "seen": accuracy(model, seen[:40], filler)[0],
        "unseen": right,
        "interval": [round(edge, 3) for edge in (interval.low, interval.high)],
        "turned_round": moved,
        "chance": 1 / CHOICES,
        "first_losses": round(float(np.mean(losses[:20])), 4),
        "last_losses": round(float(np.mean(losses[-20:])), 4),
        "steps": steps,
        "seconds": round(seconds, 1),
    }


@torch.inference_mode()
def accuracy(model: Model, labels: list[str], filler: list[str]) -> tuple[float, float]:
    """How often the right one of four labels has the most, and how far its logit moves when the list is turned
    round, on average."""
    right, moved = [], []
    for first in range(0, len(labels), CHOICES):
        names = labels[first : first + CHOICES]
        one = made_set(names, filler, 1_000 + first)
        scores = []
        for order in (names, names[::-1]):
            inputs = LabelPrompt(model.tokenizer, order).inputs(one.texts)
            scores.append(model(torch.tensor([read.framed.ids for read in inputs])).logits)
        right.append((scores[0].argmax(1) == torch.tensor(one.labels)).float().mean().item())
        moved.append((scores[0] - scores[1].flip(1)).abs().mean().item())
    return round(float(np.mean(right)), 4), round(float(np.mean(moved)), 4)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    for change in (
        {},
        {"loss": "each"},
        {"apart": True},
        {"starts": "input"},
        {"text": "first"},
        {"label": "first"},
    ):
        print(json.dumps(learned(count, "seen", **change)), flush=True)
    print(json.dumps(learned(count, "hidden")))
