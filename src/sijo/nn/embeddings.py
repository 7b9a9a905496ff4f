"""From token ids to the first hidden states.

Letters: B batch, L length, E width of the tables, D width of the hidden states.
"""

import torch
from torch import Tensor, nn

from sijo.nn.architecture import Architecture


def table(rows: int, width: int) -> nn.Embedding:
    """An embedding table, started as BERT's: normal, mean 0, standard deviation 0.02.

    Nothing is drawn on the meta device: there torch would first import its compiler, two seconds of it.
    """
    weight = torch.empty(rows, width)
    if not weight.is_meta:
        nn.init.normal_(weight, std=0.02)
    return nn.Embedding(rows, width, _weight=weight)


class Embeddings(nn.Module):
    """Token, place and segment vectors, summed, normalised, and widened where the tables are narrow.

    Source: BERT, section 3.2; the projection after the norm, with a bias, as ALBERT (section 3.1,
    factorised embedding) and ELECTRA released it.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.tokens = table(a.vocab_size, a.embedding_size)
        self.places = table(a.positions.count, a.embedding_size)
        self.segments = table(a.token_types, a.embedding_size) if a.token_types else None
        self.norm = nn.LayerNorm(a.embedding_size, eps=a.norm_eps)
        self.dropout = nn.Dropout(a.dropout)
        self.project = (
            nn.Linear(a.embedding_size, a.hidden_size) if a.embedding_size != a.hidden_size else nn.Identity()
        )

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """input_ids, token_type_ids (B, L) int64, segments 0 where none are given; returns (B, L, D)."""
        summed_BLE = self.tokens(input_ids) + self.places.weight[: input_ids.shape[1]]
        if self.segments is not None:
            rows = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
            summed_BLE = summed_BLE + self.segments(rows)
        projected: Tensor = self.project(self.dropout(self.norm(summed_BLE)))
        return projected
