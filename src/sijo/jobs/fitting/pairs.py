"""The encoder itself, drawn by pairs of texts: those that share a label come near, the others go apart.

    loss = mean over texts i, and over p in P(i), of  -log( exp(v_i v_p / t) / sum over a != i of exp(v_i v_a / t) )

over the unit vectors v of a batch: some texts of each of some labels, and each label's own sentence, which counts
as one more text of it. So a label's words stay what its texts are near to, and the head may go on beginning at
them.

What an encoder has learned from it answers too well. So how good the model is, is measured on a fifth of the
labelled texts by an encoder and a head that have not seen them; the model that is kept learns from all.

Source: Khosla et al. 2020 (arXiv:2004.11362), equation 2; that few labels make many pairs is SetFit's, Tunstall et
al. 2022 (arXiv:2209.11055), section 3.

Letters: B texts of a batch, L length, D width of a vector.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sijo.checkpoints.load import Model, load
from sijo.errors import SettingError
from sijo.inference.backends.backend import IdBatch
from sijo.inference.backends.devices import torch_device
from sijo.inference.encode import engine_of
from sijo.inference.engine import Engine, lowered
from sijo.jobs.fitting.few_labels import FewLabels
from sijo.nn.pooling import pool
from sijo.random import rng
from sijo.training.optimizers import OptimizerSettings, build_optimizer, clip, set_rate
from sijo.zeroshot.scorers.embedding import EmbeddingScorer

LONGEST = 128
"""Tokens of a text that are read while learning."""
GROUP = 2
"""Texts of a label in a batch: the fewest that make a pair."""


@dataclass(frozen=True, kw_only=True)
class ContrastiveSettings:
    """How an encoder learns from pairs."""

    batch: int = 16
    """Texts of a batch; the sentences of their labels come besides."""
    passes: int = 10
    """How often each text is read, where that is between `fewest` and `most` steps in all."""
    fewest: int = 50
    most: int = 200
    rate: float = 3e-5
    """Of AdamW, falling in a line to nothing."""
    temperature: float = 0.1
    """t."""

    def steps(self, texts: int) -> int:
        """How many batches are learned from.

        >>> [ContrastiveSettings().steps(count) for count in (16, 160, 16_000)]
        [50, 100, 200]
        """
        return min(max(self.fewest, self.passes * texts // self.batch), self.most)


def trained_on_pairs(
    model: Model,
    texts: Sequence[str],
    right_nL: np.ndarray,
    sentences: Sequence[str],
    *,
    settings: ContrastiveSettings = ContrastiveSettings(),
    seed: int = 0,
    device: str = "cpu",
    told: Callable[[int, int], None] = lambda done, of: None,
) -> Model:
    """Teach an encoder in place, and return it, ready to be read with.

    model      opened without a head
    texts      labelled ones
    right_nL   bool, which labels each has
    sentences  of each label: its name in a template
    told       how many steps of how many are done

    The same seed and threads give the same weights. Raises SettingError for an encoder whose vectors are made
    behind its network.
    """
    if model.sentence.learned_steps:
        raise SettingError(
            f"{model.source} makes its vectors by a Dense or LayerNorm module behind the pooling, which pairs do "
            "not train; leave --contrastive out, or start from an encoder without"
        )
    model.fitted_head = None  # it was fitted over other vectors
    engine = engine_of(model, device=device)
    inputs = _inputs(engine, [*texts, *sentences])
    right_nL = np.concatenate([right_nL, np.eye(len(sentences), dtype=bool)])
    model.to(torch_device(device))  # nothing is dropped out: the network learns as it will read
    optimizer = build_optimizer(OptimizerSettings(weight_decay=0.01), model)
    steps = settings.steps(len(texts))
    for step, places in enumerate(_batches(right_nL, len(texts), settings.batch, steps, seed)):
        set_rate(optimizer, settings.rate * (1 - step / steps))
        vectors_BD = _vectors(engine, [inputs[place] for place in places])
        same_BB = torch.from_numpy(right_nL[places].astype(np.float32)).to(vectors_BD.device)
        optimizer.zero_grad()
        loss = pair_loss(vectors_BD, same_BB @ same_BB.T > 0, temperature=settings.temperature)
        loss.backward()  # type: ignore[no-untyped-call]
        clip(model.parameters(), 1.0)
        optimizer.step()
        told(step + 1, steps)
    return model.cpu().eval()


def pair_loss(vectors_BD: Tensor, same_BB: Tensor, *, temperature: float) -> Tensor:
    """The loss of a batch, a scalar; 0 where no two of it share a label.

    vectors_BD  unit vectors
    same_BB     bool, which share a label

    >>> vectors = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), dim=-1)
    >>> near = pair_loss(vectors, torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool(), temperature=0.1)
    >>> far = pair_loss(vectors, torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]]).bool(), temperature=0.1)
    >>> bool(near < 0.01 < far)
    True
    """
    itself_BB = torch.eye(len(vectors_BD), dtype=torch.bool, device=vectors_BD.device)
    scores_BB = (vectors_BD @ vectors_BD.T / temperature).masked_fill(itself_BB, -torch.inf)
    positive_BB = same_BB & ~itself_BB
    logs_BB = F.log_softmax(scores_BB, dim=-1).masked_fill(~positive_BB, 0.0)
    counts_B = positive_BB.sum(-1)
    losses_B = -logs_BB.sum(-1) / counts_B.clamp(min=1)
    return losses_B.sum() / (counts_B > 0).sum().clamp(min=1)


def _inputs(engine: Engine, texts: Sequence[str]) -> list[Sequence[int]]:
    """The first tokens of each text as the engine would read it, with the prompt."""
    whole = [engine.before + text for text in texts]
    cased = [lowered(text) for text in whole] if engine.model.sentence.lowercase else whole
    return [_cut(windows[0], engine) for windows in engine.model.tokenizer.windows(cased)]


def _cut(ids: Sequence[int], engine: Engine) -> Sequence[int]:
    """An input of `LONGEST` tokens at most, with the special tokens at its end."""
    tokenizer = engine.model.tokenizer
    if len(ids) <= LONGEST:
        return ids
    behind = [token for token in ids[-2:] if token in tokenizer.special_ids]
    return [*ids[: LONGEST - len(behind)], *behind]


def _vectors(engine: Engine, inputs: Sequence[Sequence[int]]) -> Tensor:
    """The unit vector of each, (B, D), with gradients."""
    model, sentence = engine.model, engine.model.sentence
    assert isinstance(model, Model)
    device = next(model.parameters()).device
    batch = IdBatch.of(inputs, pad=model.tokenizer.pad_id)
    ids_BL = torch.from_numpy(batch.input_ids).to(device)
    keep_BL = None if batch.keep is None else torch.from_numpy(batch.keep).to(device)
    hidden_BLD = model(ids_BL, keep_BL).last_hidden_state
    skip = engine.prompt_tokens if engine.before and not sentence.include_prompt else 0
    skips = [min(skip, len(ids) - 1) for ids in inputs] if skip else ()
    pooled_BD = pool(hidden_BLD, keep_BL, sentence.pooling, skips)[:, : engine.width]
    return F.normalize(pooled_BD.float(), dim=-1)


def _batches(right_nL: np.ndarray, texts: int, size: int, steps: int, seed: int) -> Iterator[list[int]]:
    """The places of each batch: `GROUP` texts of each of some labels, and the sentences of those labels."""
    labels = right_nL.shape[1]
    by_label = [np.flatnonzero(right_nL[:texts, label]) for label in range(labels)]
    held = [label for label in range(labels) if len(by_label[label])]
    turns: list[int] = []
    orders: dict[int, list[int]] = {label: [] for label in held}
    for step in range(steps):
        draws, places = rng(seed, "pairs", step), list[int]()
        chosen: list[int] = []
        while len(chosen) < min(len(held), max(2, size // GROUP)):
            if not turns:
                turns = [held[place] for place in draws.permutation(len(held))]
            if (label := turns.pop()) not in chosen:
                chosen.append(label)
        each = max(GROUP, size // len(chosen))
        for label in chosen:
            for _ in range(min(each, len(by_label[label]))):
                if not orders[label]:
                    orders[label] = by_label[label][draws.permutation(len(by_label[label]))].tolist()
                places.append(orders[label].pop())
        yield [*dict.fromkeys(places), *(texts + label for label in chosen)]


def trained_scorer(
    scorer: EmbeddingScorer,
    some: FewLabels,
    *,
    template: str | None = None,
    settings: ContrastiveSettings = ContrastiveSettings(),
    seed: int = 0,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> EmbeddingScorer:
    """The scorer of an encoder like that of another, trained on pairs of some labelled texts.

    scorer  with the encoder to begin from, which stays as it is

    Other arguments are those of `trained_on_pairs`.
    """
    engine, source = scorer.engine, scorer.engine.model.source
    if source is None:
        raise SettingError("the encoder was made in memory and has no folder to begin from; save it first")
    labels = some.labels if template is not None else some.labels.worded(scorer.templates)
    sentences = [label.phrases(template or scorer.template)[0] for label in labels.labels]
    device, long_text, prompt = engine.backend.device, engine.long_text, engine.before
    model = trained_on_pairs(
        load(source), some.texts, some.right, sentences, settings=settings, seed=seed, device=device, told=told
    )
    return EmbeddingScorer(engine_of(model, device=device, long_text=long_text, prompt=prompt, learning=True))
