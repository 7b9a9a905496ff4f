"""Source attribution: which control code does a text look like? (CTRL, section 5.)

Bayes' rule over the text's probability behind each code: p(code | text) is p(text | code) p(code), over the sum of
that for all codes. A text longer than the network reads at once is read in pieces, each behind the code.

Letters: C codes, L length, V tokens.
"""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from sijo.batching import by_length
from sijo.checkpoints.load import Model
from sijo.errors import SettingError, TextError, nearest
from sijo.generation.beams import code
from sijo.generation.opening import HEAD, opened_writer
from sijo.inference.backends.backend import BATCH_TOKENS
from sijo.inference.backends.torch_backend import padded, why_not_finite
from sijo.inference.language import LanguageCheck
from sijo.inference.outputs import NotFiniteError
from sijo.nn.heads import LMHead
from sijo.texts import names_in, texts_in
from sijo.tokenizers.codes import PUBLISHED, known_codes

LARGEST_EXPONENT = math.log(sys.float_info.max)
Prior = Literal["uniform", "published"]
Weighing = Literal["sum", "mean"]


@dataclass(frozen=True)
class Attribution:
    """How likely each code is for one text."""

    codes: tuple[str, ...]
    """Best first."""
    posteriors: tuple[float, ...]
    """p(code | text), in the same order; they make 1."""
    logprobs: tuple[float, ...]
    """log p(text | code), the sum over its tokens."""
    tokens: int
    """Tokens of the text."""

    @property
    def perplexities(self) -> tuple[float, ...]:
        """exp of a token's mean negative log-probability, as the released script prints it; it may be infinite."""
        means = (-value / self.tokens for value in self.logprobs)
        return tuple(math.exp(mean) if mean < LARGEST_EXPONENT else math.inf for mean in means)


class Attributor:
    """Source attribution by a causal language model: which code makes a text likeliest?

    model     a folder or org/name with an lm head, or an opened model
    codes     which codes; None for all that the model knows
    prior     how likely each is before the text is read: all alike, by the `published` shares of the released
              codes, or a number for each by name
    weighing  sum counts every token, as the equation has it, and is sure of a long text; mean counts a text
              as if it had one token

    `device` and `precision` are those of `opened_writer`.
    Raises SettingError for a code that the model does not know, for fewer than two, and for a prior that leaves
    one out.
    """

    def __init__(
        self,
        model: Model | str | Path,
        codes: Sequence[str] | None = None,
        *,
        prior: Prior | Mapping[str, float] = "uniform",
        weighing: Weighing = "sum",
        token_budget: int = BATCH_TOKENS,
        base: str | Path | None = None,
        device: str = "auto",
        precision: str = "exact",
    ) -> None:
        self.model = opened_writer(model, base=base, device=device, precision=precision)
        self.device = next(self.model.parameters()).device
        architecture, tokenizer = self.model.architecture, self.model.tokenizer
        if architecture.reads != "left" or HEAD not in self.model.head:
            raise SettingError(
                f"{self.model.source or 'this model'} gives texts no probability: it needs an lm head that reads "
                "to the left, such as a CTRL's"
            )
        self.codes = tuple(known_codes(tokenizer) if codes is None else names_in(codes, "codes", "code"))
        if len(self.codes) < 2 or len(set(self.codes)) < len(self.codes):
            raise SettingError(
                f"attribution chooses among codes, each given once, and there are {len(self.codes)}: "
                f"{', '.join(self.codes) or 'none'}; name two or more"
            )
        if weighing not in ("sum", "mean"):
            raise SettingError(f"weighing={weighing!r} is neither sum nor mean")
        self.prefixes = [code(name, tokenizer) for name in self.codes]
        self.log_prior = np.log(_prior(prior, self.codes))
        self.weighing = weighing
        self._language = LanguageCheck(self.model)
        self.token_budget = token_budget
        self.window = min(limit for limit in (architecture.places, tokenizer.max_length) if limit is not None)
        self.room = self.window - max(map(len, self.prefixes))
        if self.room < 1:
            raise SettingError(f"the codes leave no room for text in a window of {self.window} tokens")

    def attribute(self, texts: Iterable[str]) -> list[Attribution]:
        """Which code each text looks like.

        texts  in whatever `texts_in` reads

        Raises TextError for a text without tokens, NotFiniteError for one whose probability is no number.
        """
        texts = list(texts_in(texts))
        self._language.look(texts)
        ids = self.model.tokenizer.ids(texts)
        for number, tokens in enumerate(ids, 1):
            if not tokens:
                raise TextError(f"text {number} has no tokens, and looks like no code; give some words")
        attributions = []
        logprobs = self.logprobs(ids)
        if not (finite := np.isfinite(logprobs).all(-1)).all():
            raise NotFiniteError.of_model(why_not_finite(self.model), int(finite.argmin()))
        for logprobs_C, length in zip(logprobs, map(len, ids), strict=True):
            scores_C = (logprobs_C / length if self.weighing == "mean" else logprobs_C) + self.log_prior
            posteriors_C = np.exp(scores_C - np.logaddexp.reduce(scores_C))
            best = np.argsort(-posteriors_C, kind="stable")
            codes = tuple(self.codes[place] for place in best)
            ranked = tuple(posteriors_C[best].tolist()), tuple(logprobs_C[best].tolist())
            attributions.append(Attribution(codes, *ranked, length))
        return attributions

    @torch.inference_mode()
    def logprobs(self, texts: Sequence[Sequence[int]]) -> np.ndarray:
        """log p(text | code) of tokenized texts, (n, C) float64; 0 for a text without tokens."""
        pieces = [
            (text, column, (*prefix, *piece), len(prefix))
            for text, ids in enumerate(texts)
            for piece in _pieces(ids, self.room)
            for column, prefix in enumerate(self.prefixes)
        ]
        logprobs = np.zeros((len(texts), len(self.codes)))
        head: LMHead = self.model.head[HEAD]  # type: ignore[assignment]
        for batch in by_length([len(ids) for _, _, ids, _ in pieces], token_budget=self.token_budget):
            rows = [pieces[number] for number in batch]
            ids_BL, _ = padded([ids for _, _, ids, _ in rows], limit=self.window)
            ids_BL = ids_BL.to(self.device)
            states_BLD = self.model.transformer(ids_BL).last_hidden_state  # causal: padding on the right is unread
            for (text, column, ids, start), states_LD in zip(rows, states_BLD, strict=True):
                # one row at a time: V is large
                logits_LV = head.decode(states_LD[start - 1 : len(ids) - 1], self.model.transformer).float()
                loss = F.cross_entropy(logits_LV, torch.tensor(ids[start:], device=self.device), reduction="sum")
                logprobs[text, column] -= loss.item()
        return logprobs


def attribute(
    model: Model | str | Path | Attributor,
    text: str,
    *,
    codes: Sequence[str] | None = None,
    prior: Prior | Mapping[str, float] = "uniform",
    weighing: Weighing = "sum",
    device: str = "auto",
    precision: str = "exact",
) -> list[tuple[str, float]]:
    """Which control code a text looks like: (code, posterior), best first.

    `Attributor` explains the arguments, and reads many texts at a time.

    Raises SettingError for anything but one string.
    """
    if not isinstance(text, str):
        raise SettingError(
            f"text is of type {type(text).__name__}, and one string is judged here; "
            "Attributor(model).attribute(texts) judges many"
        )
    if not isinstance(model, Attributor):
        model = Attributor(model, codes, prior=prior, weighing=weighing, device=device, precision=precision)
    attribution = model.attribute([text])[0]
    return list(zip(attribution.codes, attribution.posteriors, strict=True))


def _pieces(ids: Sequence[int], room: int) -> list[Sequence[int]]:
    """A text in pieces of like length that fit.

    >>> [len(piece) for piece in _pieces(range(11), 5)]
    [4, 3, 4]
    """
    count = math.ceil(len(ids) / room)
    edges = [round(number * len(ids) / count) for number in range(count + 1)] if count else []
    return [ids[start:end] for start, end in pairwise(edges)]


def _prior(prior: Prior | Mapping[str, float], codes: Sequence[str]) -> np.ndarray:
    """How likely each code is before the text is read, relative to the others, (C,) float64."""
    if prior == "uniform":
        return np.ones(len(codes))
    weights = PUBLISHED if prior == "published" else prior
    if isinstance(weights, str):
        raise SettingError(f"prior={weights!r} is neither uniform nor published; or give a number for each code")
    missing = [name for name in codes if name not in weights]
    if missing:
        raise SettingError(f"the prior says nothing of the code {missing[0]!r}{nearest(missing[0], weights)}")
    shares = np.array([float(weights[name]) for name in codes])
    if not (np.isfinite(shares).all() and (shares > 0).all()):
        raise SettingError("a prior is a number above 0 for each code; leave codes out that cannot be")
    return shares
