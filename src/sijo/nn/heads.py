"""What a network answers: one module for each kind of question, built from a value of `head_specs.py`.

A head reads the hidden states, and where its output is a token also the table of tokens, which it
never owns.

Letters: B batch, L length, D width of the hidden states, E width of the tables, V tokens, N labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sijo.errors import SettingError, TextError
from sijo.nn.architecture import Architecture
from sijo.nn.decoder import AnyTransformer, build_transformer, single_stack
from sijo.nn.dropout import Dropout
from sijo.nn.embeddings import table
from sijo.nn.encoder_decoder import EncoderDecoder, without_end
from sijo.nn.head_specs import POOLER, ClassifierHeadSpec, HeadSpec, LMHeadSpec, OnePassHeadSpec, Reads
from sijo.nn.int8 import Int8Table
from sijo.nn.label_scoring import LabelScoring, apart, must_hide
from sijo.nn.linear import product
from sijo.nn.norm import layer_norm
from sijo.nn.pooling import pool
from sijo.nn.transformer import ACTIVATIONS, Output, start

Places = Tensor | tuple[Tensor, Tensor]
"""Some places of a batch: a mask (B, L), True at each; or the row and the column of each, (N,) int64 both."""


@dataclass(frozen=True)
class HeadInput:
    """What a network has read: all that a head may look at."""

    output: Output
    keep: Tensor | None
    """(B, L), True at real tokens; None when there is no padding."""
    transformer: AnyTransformer
    input_ids: Tensor
    """(B, L) int64, in which some heads look for marks and ends."""


class LMHead(nn.Module):
    """Logits (B, L, V): dense, activation and norm, then the table of tokens and a bias."""

    needs_layers = False
    """Whether it reads the states after every layer."""

    def __init__(self, head: LMHeadSpec, architecture: Architecture) -> None:
        super().__init__()
        a, dense = architecture, head.activation is not None
        if a.hidden_size != a.embedding_size and not (dense and not head.places):
            raise SettingError(
                f"this head needs hidden states as wide as the table of tokens, and hidden_size={a.hidden_size} "
                f"is not embedding_size={a.embedding_size}; use an activation and places=0"
            )
        self.dense = nn.Linear(a.hidden_size, a.embedding_size, bias=head.dense_bias) if dense else None
        self.norm = layer_norm(a, a.embedding_size) if dense else None
        self.bias = nn.Parameter(torch.zeros(a.vocab_size))
        self.activation = ACTIVATIONS[head.activation or "linear"]

    def forward(self, head_input: HeadInput) -> Tensor:
        """Scores of all tokens at every place."""
        return self.decode(self.states(head_input), head_input.transformer)

    def states(self, head_input: HeadInput) -> Tensor:
        """The states (B, L, D) that `decode` makes scores of, at some places or at all."""
        return head_input.output.last_hidden_state

    def at(self, head_input: HeadInput, where: Places) -> Tensor:
        """Scores of all tokens at some places alone, (N, V)."""
        return self.decode(self.states(head_input)[where], head_input.transformer)

    def decode(self, states: Tensor, transformer: AnyTransformer) -> Tensor:
        """Logits (…, V) from states (…, D)."""
        tokens = transformer.embeddings.tokens
        if isinstance(tokens, Int8Table):
            return tokens.times(self.transformed(states)) + self.bias
        return product(self.transformed(states), tokens.weight, self.bias)

    def transformed(self, states: Tensor) -> Tensor:
        """What is multiplied with the table: the states, or what the dense layer makes of them."""
        if self.dense is None or self.norm is None:
            return states
        transformed: Tensor = self.norm(self.activation(self.dense(states)))
        return transformed


class EnhancedLMHead(LMHead):
    """The same behind DeBERTa's enhanced mask decoder, where a token at last learns its absolute place.

    The last layer is run twice over the states before it: H = states[-2]; the queries are first
    H + places, then its own answer; keys and values are H both times.

    Source: DeBERTa, section 3.2; released code, `apps/models/masked_language_model.py`.
    """

    needs_layers = True

    def __init__(self, head: LMHeadSpec, architecture: Architecture) -> None:
        super().__init__(head, architecture)
        self.places = table(head.places, architecture.embedding_size)

    def states(self, head_input: HeadInput) -> Tensor:
        """What the last layer gives after its second run."""
        assert head_input.output.hidden_states is not None
        hidden_BLD = head_input.output.hidden_states[-2]
        transformer = single_stack(head_input.transformer, "its last layer cannot be run over as a mask decoder")
        last = transformer.blocks[transformer.architecture.schedule[-1]]
        seen = transformer.views(head_input.keep, hidden_BLD)[-1]
        length, limit = hidden_BLD.shape[1], len(self.places.weight)
        if length > limit:
            raise TextError(
                f"an input of {length} tokens is longer than the {limit} places this model's masked LM head "
                "knows; cut it into windows"
            )
        query_BLD = hidden_BLD + self.places.weight[:length]
        for _ in range(2):
            query_BLD = last(hidden_BLD, seen, query_BLD)
        return query_BLD


class ClassifierHead(nn.Module):
    """Logits (B, N) for a text or (B, L, N) for tokens, N gone where one score is asked for."""

    needs_layers = False

    def __init__(self, head: ClassifierHeadSpec, architecture: Architecture) -> None:
        super().__init__()
        width, vector = architecture.hidden_size, head.answers == "vector"
        self.value = head
        if head.reads == "end" and not isinstance(architecture, EncoderDecoder):
            raise SettingError('a head that reads="end" is for a network with a decoder; use "first" or "last"')
        normed = head.reads == "each_with_first"
        self.norm = layer_norm(architecture, width) if normed else None
        self.dense = nn.Linear(width, width, bias=head.dense_bias) if head.dense else None
        self.dense_norm = layer_norm(architecture, width) if head.dense_norm == "layer_norm" else nn.Identity()
        self.out = None if vector else nn.Linear(width, head.labels, bias=head.bias)
        self.dense_dropout = Dropout(head.dense_dropout)
        self.dropout = Dropout(head.dropout)
        self.activation = ACTIVATIONS[head.dense or "linear"]

    def forward(self, head_input: HeadInput) -> Tensor:
        """The scores, or the vector."""
        return self.judged(selected_states(head_input, self.value.reads))

    def at(self, head_input: HeadInput, where: Places) -> Tensor:
        """The scores at some places alone, (N, labels) or (N,), of a head that judges each token."""
        return self.judged(selected_states(head_input, self.value.reads)[where])

    def judged(self, states: Tensor) -> Tensor:
        """The scores, or the vector, of states (…, D)."""
        if self.norm is not None:
            states = self.norm(states)
        if self.dense is not None:
            states = self.dense_norm(self.activation(self.dense(self.dense_dropout(states))))
        if self.out is None:
            return states
        scores: Tensor = self.out(self.dropout(states))
        return scores.squeeze(-1) if self.value.answers == "one" else scores


def selected_states(head_input: HeadInput, which: Reads) -> Tensor:
    """The states (B, D) of each row's first token, its last real one, its last that ends a text, or the mean of all
    real ones; or (B, L, D) of all."""
    hidden_BLD = head_input.output.last_hidden_state
    if which == "first":
        return hidden_BLD[:, 0]
    if which == "end":
        return hidden_BLD[torch.arange(len(hidden_BLD), device=hidden_BLD.device), last_ends(head_input)]
    if which == "last":
        if head_input.keep is None:
            return hidden_BLD[:, -1]
        last_B = (head_input.keep * torch.arange(hidden_BLD.shape[1], device=hidden_BLD.device)).argmax(1)
        return hidden_BLD[torch.arange(len(hidden_BLD), device=hidden_BLD.device), last_B]
    if which == "mean":
        return pool(hidden_BLD, head_input.keep, "mean")
    return hidden_BLD if which == "each" else hidden_BLD + hidden_BLD[:, :1]


def last_ends(head_input: HeadInput) -> Tensor:
    """(B,) int64, the last place of each row's end token; 0 for a row of padding alone.

    Raises TextError for a text without one.
    """
    ids_BL, keep_BL = head_input.input_ids, head_input.keep
    a = head_input.transformer.architecture
    assert isinstance(a, EncoderDecoder)
    ends_BL = ids_BL == a.decoder.end
    if keep_BL is not None:
        ends_BL = ends_BL & keep_BL
    lacking_B = ~ends_BL.any(1) if keep_BL is None else ~ends_BL.any(1) & keep_BL.any(1)
    if bool(lacking_B.any()):
        raise without_end(int(lacking_B.nonzero()[0]), a.decoder.end)
    return (ends_BL * torch.arange(ids_BL.shape[1], device=ids_BL.device)).argmax(1)


class OnePassHead(LabelScoring):
    """Scores (B, N) of the labels that stand beside each text: `LabelScoring` of the last states."""

    needs_layers = False

    def forward(self, head_input: HeadInput) -> Tensor:
        """In the order of the labels; 0 where a row has fewer than another."""
        return self.scores(head_input.output.last_hidden_state, head_input.input_ids, head_input.keep)


def build_head(head: HeadSpec, architecture: Architecture) -> nn.Module:
    """The module of a head, with fresh weights."""
    module: nn.Module
    if isinstance(head, ClassifierHeadSpec):
        module = ClassifierHead(head, architecture)
    elif isinstance(head, OnePassHeadSpec):
        must_hide(head, architecture)
        module = OnePassHead(head, architecture.hidden_size)
    else:
        module = (EnhancedLMHead if head.places else LMHead)(head, architecture)
    start(module, std=architecture.initializer_range)
    if isinstance(module, OnePassHead):
        module.start()
    return module


class Network(nn.Module):
    """A Transformer and the heads over it.

    >>> from sijo.nn.architecture import Architecture, Learned
    >>> tiny = Architecture(vocab_size=99, embedding_size=16, hidden_size=16, heads=2, intermediate_size=32,
    ...                     schedule=(0,), positions=Learned(count=8))
    >>> network = Network(tiny, {"sequence-classification": ClassifierHeadSpec(labels=3)})
    >>> network(torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])).logits.shape
    torch.Size([2, 3])
    """

    def __init__(self, architecture: Architecture, heads: Mapping[str, HeadSpec] | None = None) -> None:
        super().__init__()
        self.transformer = build_transformer(architecture)
        self.head_values = dict(heads or {})
        self.head = nn.ModuleDict({name: build_head(head, architecture) for name, head in self.head_values.items()})

    @property
    def architecture(self) -> Architecture:
        """What the network is."""
        return self.transformer.architecture

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        position_ids: Tensor | None = None,
    ) -> Output:
        """As `Transformer.forward`, with what the heads answer.

        Input of three dimensions (B, C, L) is C choices a row, for a head of one label: its logits are (B, C).
        """
        if input_ids.dim() == 3:
            ids, mask, types, places = (
                None if tensor is None else tensor.flatten(0, 1)
                for tensor in (input_ids, attention_mask, token_type_ids, position_ids)
            )
            output: Output = self(ids, mask, types, output_hidden_states, places)
            if output.logits is None or output.logits.shape[1:] != (1,):
                raise SettingError(
                    "an input of three dimensions is for a multiple-choice head; load the model with it"
                )
            logits = output.logits.view(input_ids.shape[:2])
            return replace(output, logits=logits, answers=dict.fromkeys(output.answers, logits))
        head_input = self.head_input(input_ids, attention_mask, token_type_ids, output_hidden_states, position_ids)
        states = head_input.output.hidden_states if output_hidden_states else None
        return replace(self.answered(head_input), hidden_states=states)

    def answered(self, head_input: HeadInput) -> Output:
        """What was read, with what each head answers of it."""
        answers: dict[str, Tensor] = {name: head(head_input) for name, head in self.head.items()}
        pooled = answers.pop(POOLER, None)
        logits = next(iter(answers.values())) if len(answers) == 1 else None
        return replace(head_input.output, pooler_output=pooled, answers=answers, logits=logits)

    @property
    def hiding(self) -> OnePassHeadSpec | None:
        """The head that has labels hidden from each other; None where all tokens may read all."""
        heads = (head for head in self.head_values.values() if isinstance(head, OnePassHeadSpec))
        return next((head for head in heads if head.neighbours == "hidden"), None)

    def head_input(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        position_ids: Tensor | None = None,
    ) -> HeadInput:
        """What the network reads in a batch, before any head answers; arguments as of `forward`."""
        states = output_hidden_states or any(head.needs_layers for head in self.head.values())
        keep_BL = None if attention_mask is None else attention_mask.bool()
        if (hiding := self.hiding) is None:
            output = self.transformer(input_ids, attention_mask, token_type_ids, states, position_ids)
        else:
            parts, places = apart(hiding, input_ids, keep_BL)
            output = self.transformer(input_ids, attention_mask, token_type_ids, states, places, parts=parts)
        return HeadInput(output, keep_BL, self.transformer, input_ids)
