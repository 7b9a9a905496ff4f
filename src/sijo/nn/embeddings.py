"""From token ids to the first hidden states.

Letters: B batch, L length, E width of the tables, D width of the hidden states.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from sijo.nn.architecture import Architecture, Learned, Sinusoidal
from sijo.nn.dropout import Dropout
from sijo.nn.norm import layer_norm


def table(rows: int, width: int) -> nn.Embedding:
    """An embedding table with nothing drawn yet: `start` in `transformer.py` does that.

    (Where torch itself draws on the meta device, it first imports its compiler: two seconds.)
    """
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))


def waves(places: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Sines and cosines of each place at width / 2 frequencies, in double precision as CTRL's were trained.

    places  integers of any shape
    width   of the vectors they are made for; an odd one has one sine more

    Returns two float64 tensors of shape (*places, width / 2).
    Source: Vaswani et al. 2017, section 3.5.

    >>> [round(float(part[1]), 4) for part in waves(torch.tensor(1), 8)]    # 1 / 10000^(2/8) = 0.1
    [0.0998, 0.995]
    """
    even = torch.arange(0, width, 2, dtype=torch.float64, device=places.device)
    angles = places[..., None] / 10_000 ** (even / width)
    return angles.sin(), angles[..., : width // 2].cos()


FIRST = 512
"""Places whose waves are kept, for texts that grow by a token."""


@lru_cache(maxsize=4)
def first_waves(width: int) -> Tensor:
    """The waves of the first places, all sines before all cosines, (FIRST, width) float64."""
    with torch.inference_mode(mode=False):
        return torch.cat(waves(torch.arange(FIRST, device="cpu"), width), dim=-1)


class Embeddings(nn.Module):
    """Token, place and segment vectors: summed, normalised or scaled, and widened where the tables are narrow.

    Source: BERT, section 3.2. Factorised tables: ALBERT, section 3.1, the map after the norm as ALBERT
    and ELECTRA released it; before the norm and without a bias as DeBERTa did.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        positions, after = a.positions, a.widening == "after_norm"
        computed = isinstance(positions, Sinusoidal) and positions.layout == "halves"
        self.tokens = table(a.vocab_size, a.embedding_size)
        self.places = table(positions.count, a.embedding_size) if positions and not computed else None
        if self.places is not None and isinstance(positions, Sinusoidal):
            self.places.weight.requires_grad_(False)
        self.segments = table(a.token_types, a.embedding_size) if a.token_types else None
        self.project = nn.Linear(a.embedding_size, a.hidden_size, bias=after) if a.widening else None
        norm = layer_norm(a, a.embedding_size if after else a.hidden_size)
        self.norm = None if a.entry == "scale" else norm
        self.dropout = Dropout(a.dropout.embeddings)

    def start(self) -> None:
        """Fill a table of waves; the other tables are drawn like all weights."""
        positions = self.architecture.positions
        if self.places is not None and isinstance(positions, Sinusoidal):
            sines, cosines = waves(torch.arange(positions.count), self.architecture.embedding_size)
            with torch.no_grad():
                self.places.weight[:, 0::2] = sines.float()
                self.places.weight[:, 1::2] = cosines.float()

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor | None, position_ids: Tensor | None, keep_BL: Tensor | None
    ) -> Tensor:
        """Returns (B, L, D).

        input_ids       (B, L) int64
        token_type_ids  (B, L) int64, or None for segment 0
        position_ids    (B, L) int64, or None for 0, 1, 2, …; see `positions`
        keep_BL         True at real tokens; a network of distances gives padding a vector of zeros
        """
        summed_BLE = self.scaled(input_ids)
        if self.architecture.positions is not None:
            summed_BLE = summed_BLE + self._places(input_ids, position_ids).to(summed_BLE.dtype)
        if self.segments is not None:
            alike = token_type_ids is None or self.architecture.token_types == 1
            rows = torch.zeros_like(input_ids) if alike else token_type_ids
            summed_BLE = summed_BLE + self.segments(rows)
        before = self.architecture.widening == "before_norm"
        if before and self.project is not None:
            summed_BLE = self.project(summed_BLE)
        if self.norm is not None:
            summed_BLE = self.norm(summed_BLE)
        if self.architecture.distances is not None and keep_BL is not None:
            summed_BLE = summed_BLE * keep_BL[..., None]
        hidden_BLD: Tensor = self.dropout(summed_BLE)
        return hidden_BLD if before or self.project is None else self.project(hidden_BLD)

    def scaled(self, input_ids: Tensor) -> Tensor:
        """The tokens' own vectors (B, L, E), multiplied where the entry says so."""
        tokens_BLE: Tensor = self.tokens(input_ids)
        a = self.architecture
        return tokens_BLE if a.entry == "norm" else tokens_BLE * math.sqrt(a.embedding_size)

    def positions(self, input_ids: Tensor) -> Tensor | None:
        """The places of tokens (B, L), where ids decide them: what is no padding is counted, and padding has -1.

        None where a token's place is its column.
        Source: fairseq, utils.make_positions, which looks at ids alone and at no mask.

        >>> from sijo.nn.architecture import Learned
        >>> tiny = Architecture(vocab_size=9, embedding_size=2, hidden_size=2, heads=1, intermediate_size=2,
        ...                     schedule=(0,), positions=Learned(count=8, padding=1))
        >>> Embeddings(tiny).positions(torch.tensor([[1, 5, 6, 1, 7]])).tolist()
        [[-1, 0, 1, -1, 2]]
        """
        positions = self.architecture.positions
        if not isinstance(positions, Learned) or positions.padding is None:
            return None
        counted = (input_ids != positions.padding).long()
        return counted.cumsum(-1) * counted - 1

    def _places(self, input_ids: Tensor, position_ids: Tensor | None) -> Tensor:
        if position_ids is None:
            position_ids = self.positions(input_ids)
        in_order = position_ids is None
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)
        if self.places is not None:
            positions = self.architecture.positions
            stored: Tensor = self.places(position_ids + (positions.first if isinstance(positions, Learned) else 0))
            return stored
        if not in_order and int(position_ids.max()) < FIRST:
            return first_waves(self.architecture.embedding_size).to(position_ids.device)[position_ids]
        return torch.cat(waves(position_ids, self.architecture.embedding_size), dim=-1)
