"""What networks in training make of a text, for people to look at: guesses, and what was spotted."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from sijo.objectives.joint import Joint, TrainingObjective, head_input
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.rtd import ReplacedTokenDetection
from sijo.tokenizers.tokenizer import Tokenizer


def example(objective: TrainingObjective, question: PosedBatch, tokenizer: Tokenizer) -> dict[str, Any] | None:
    """What is made of the longest text of a posed batch, without dropout; None where no token is asked for.

    Under FSDP every process must call it, since none has all weights.

    Returns lists as long as the text: `text`, the tokens as they are read; `asked`, True where a token
    was asked for; `truth`; `guess`, None where nothing was asked; and for rtd `replaced` and `spotted`,
    the probability that a token was. Under clm a token is asked for at the place before it.
    """
    lengths = question.lengths
    row = question.rows([lengths.index(max(lengths))]).to(next(objective.parameters()).device)
    learning = objective.training
    with ExitStack() as stack:
        stack.callback(objective.train, learning)
        objective.eval()
        if hasattr(objective, "unshard"):
            sharded: Any = objective
            sharded.unshard()
            stack.callback(sharded.reshard)
        stack.enter_context(torch.no_grad())
        made = None
        if isinstance(objective, ReplacedTokenDetection):
            made = _replaced(objective, row)
        elif isinstance(objective, Joint):
            made = _guessed(objective, row)
    if made is not None:
        for name in ("text", "truth", "guess"):
            made[name] = [None if number is None else tokenizer.token(number) or "?" for number in made[name]]
    return made


def _replaced(objective: ReplacedTokenDetection, question: PosedBatch) -> dict[str, Any]:
    head: Any = objective.generator.head["mlm"]
    logits = objective.masked.logits(head, head_input(objective.generator, question, head), question)
    shown = objective.put_in(question, logits)
    spotted = objective.scores(replace(question, input_ids=shown)).sigmoid()[0].tolist()
    text, truth, asked = _row(shown, question), _row(question.truth, question), _row(question.asked, question)
    return {
        "objective": "rtd",
        "text": text,
        "asked": asked,
        "truth": truth,
        "guess": [token if there else None for token, there in zip(text, asked, strict=True)],
        "replaced": [one != other for one, other in zip(text, truth, strict=True)],
        "spotted": [round(probability, 4) for probability in spotted[: len(text)]],
    }


def _guessed(objective: Joint, question: PosedBatch) -> dict[str, Any] | None:
    part = next((one for one in objective.objectives if one.part in ("mlm", "clm")), None)
    if part is None:
        return None
    head: Any = objective.network.head[part.head]
    seen = head_input(objective.network, question, head)
    logits = head.decode(head.states(seen)[question.asked], seen.transformer)
    guesses = question.truth.new_full(question.truth.shape, -1)
    guesses[question.asked] = logits.argmax(-1)
    text, truth, asked = (_row(of, question) for of in (question.input_ids, question.truth, question.asked))
    guess = [number if there else None for number, there in zip(_row(guesses, question), asked, strict=True)]
    if part.part == "clm":  # each answer is shown where the token stands that it is about
        last = len(text) + asked[-1]
        text, asked, guess = [text[0], *truth][:last], [False, *asked][:last], [None, *guess][:last]
        truth = text
    return {"objective": part.part, "text": text, "asked": asked, "truth": truth, "guess": guess}


def _row(of: torch.Tensor, question: PosedBatch) -> Sequence[Any]:
    """What stands at the real tokens of the one text."""
    return list(of[0, : question.lengths[0]].tolist())
