"""Rows for control codes that a trained model does not know, and how to train these rows alone.

A code of one's own is one token more (`tokenizers/codes.py`): a row more in the table of tokens, and a number more
in the bias of a head that answers in tokens. Everything else stays as it was, to the bit.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sijo.checkpoints.load import Model
from sijo.nn.embeddings import Embeddings
from sijo.nn.heads import LMHead
from sijo.tokenizers.tokenizer import Tokenizer


def new_token_ids(known: Tokenizer, tokenizer: Tokenizer) -> range:
    """The ids that a tokenizer has behind all of another's; none where it is not that one with more at its end.

    >>> from sijo.checkpoints.locate import locate
    >>> words = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=256)
    >>> new_token_ids(words, words.with_specials(["<sea>", "<land>"])), new_token_ids(words, words)
    (range(30522, 30524), range(30522, 30522))
    """
    first = known.largest_id + 1
    same = all(known.token(number) == tokenizer.token(number) for number in range(first))
    return range(first, tokenizer.largest_id + 1) if same else range(0)


@torch.no_grad()
def with_new_rows(model: Model, tokenizer: Tokenizer) -> Model:
    """A model that knows the tokens which another tokenizer has behind those of its own.

    Each new row begins as the mean of all rows, and its bias as the mean bias. Its share of any softmax is then at
    most 1 / V of what all have (the geometric mean of V numbers is no greater than the arithmetic one), so the
    model's outputs for a text are nearly what they were.

    model      with a tokenizer of its own; its other tensors are not copied
    tokenizer  that one with more at its end (`new_token_ids`)
    """
    rows = new_token_ids(model.tokenizer, tokenizer)
    size = max(model.architecture.vocab_size, rows.stop)

    def grown(old: Tensor) -> Tensor:
        new = torch.cat([old, old.new_empty(size - len(old), *old.shape[1:])])
        new[rows.start : rows.stop] = old[: rows.start].mean(0)
        return new

    return with_table(model, tokenizer, size, grown)


def with_table(model: Model, tokenizer: Tokenizer, size: int, change: Callable[[Tensor], Tensor]) -> Model:
    """A model for another tokenizer, with its other tensors as they are, not copied.

    size    rows of the table
    change  makes of what has a row or a number for each token what it is to be: the table (V, E), biases (V,)
    """
    before = model.family.config.fields(model.architecture, model.head_values)
    after = model.family.config.fields(replace(model.architecture, vocab_size=size), model.head_values)
    with torch.device("meta"):
        changed = Model(
            model.family,
            model.config | {name: value for name, value in after.items() if value != before[name]},
            model.layouts,
            heads=model.heads,
            tokenizer=tokenizer,
            sentence=model.sentence,
        )
    tensors = model.state_dict()
    biases = [f"head.{name}.bias" for name, head in model.head.items() if isinstance(head, LMHead)]
    tables = [name for name in tensors if name.endswith("embeddings.tokens.weight")]
    for name in (*tables, *biases):
        tensors[name] = change(tensors[name])
    changed.load_state_dict(tensors, assign=True)
    return changed.eval()


class SplitRows(nn.Module):
    """A tensor (V, …) in two: all of it, frozen, and some neighbouring rows in its place, which are trained."""

    def __init__(self, rows: range) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, whole: Tensor, trained: Tensor) -> Tensor:
        """The tensor with the rows as they are now."""
        return torch.cat([whole[: self.rows.start], trained, whole[self.rows.stop :]])

    def right_inverse(self, whole: Tensor) -> tuple[Tensor, Tensor]:
        """The two parts."""
        return whole, whole[self.rows.start : self.rows.stop].clone()


def train_only_rows(part: nn.Module, rows: range) -> None:
    """Freeze all parameters except these rows of the table of tokens: none else is updated, decayed or averaged.

    Where outputs are read with that table, they change as outputs too. A head's bias stays.
    """
    part.requires_grad_(False)
    for module in list(part.modules()):
        if isinstance(module, Embeddings):
            parametrize.register_parametrization(module.tokens, "weight", SplitRows(rows))
            _, trained = module.tokens.parameters()
            trained.requires_grad_(True)


def merge_rows(part: nn.Module) -> None:
    """Undo `train_only_rows`: tensors are whole again, with their rows as they are now."""
    for module in list(part.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
