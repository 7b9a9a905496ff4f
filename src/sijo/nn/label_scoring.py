"""How well each label fits the text that it stands beside, out of the states of both.

A token marks where each label begins, and another where the last one ends. Labels read the text and each other
in the encoder; here a vector is taken of each, and one of the text, and they are compared.

Letters: B batch, L length, N labels of the row that has most, D width of the hidden states.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sijo.errors import SettingError
from sijo.nn.architecture import Architecture
from sijo.nn.dropout import Dropout
from sijo.nn.encoder_decoder import EncoderDecoder
from sijo.nn.head_specs import OnePassHeadSpec
from sijo.nn.transformer import ACTIVATIONS

EPSILON = 1e-8
"""Added to a vector's length before it is divided by that, as in the released code."""


class LabelScoring(nn.Module):
    """Scores (B, N) of labels, from states (B, L, D) and the ids of the tokens they are of.

    head   what is read of labels and text, and how they are compared
    width  D

    Padding is never read, on either side. Source: Stepanov et al. 2025 (arXiv:2508.07662), section 2; released
    code, `gliclass` 0.1.21, `GLiClassUniEncoder`, whose poolings of the text read padding too.

    >>> scoring = LabelScoring(OnePassHeadSpec(label_mark=8, text_mark=9, inner=4), 4)
    >>> ids = torch.tensor([[8, 5, 8, 6, 9, 7], [8, 5, 9, 7, 0, 0]])
    >>> scoring.scores(torch.randn(2, 6, 4), ids, ids > 0).shape
    torch.Size([2, 2])
    """

    def __init__(self, head: OnePassHeadSpec, width: int) -> None:
        super().__init__()
        self.value = head
        self.text = Projector(head, width)
        self.label = Projector(head, width)
        self.comparison = Perceptron(width) if head.scorer == "mlp" else DotProduct()
        self.scale = nn.Parameter(torch.tensor(head.scale))
        self.offset = None if head.offset is None else nn.Parameter(torch.tensor(head.offset))
        self.dropout = Dropout(head.dropout)

    @torch.no_grad()
    def start(self) -> None:
        """Begin with the vectors as they are, so that what the encoder knows of them decides at first."""
        if not self.scale.is_meta and self.value.activation not in ("tanh", "linear"):
            self.text.start()
            self.label.load_state_dict(self.text.state_dict())

    def scores(self, hidden_BLD: Tensor, ids_BL: Tensor, keep_BL: Tensor | None) -> Tensor:
        """In the order of the labels; 0 where a row has fewer than another."""
        keep_BL = torch.ones_like(ids_BL, dtype=torch.bool) if keep_BL is None else keep_BL
        marks_BL = (ids_BL == self.value.label_mark) & keep_BL
        text_BL = keep_BL & ((ids_BL == self.value.text_mark) & keep_BL).cumsum(1).bool()
        weights_BNL = self._of_labels(marks_BL, keep_BL, text_BL).to(hidden_BLD.dtype)
        labels_BND = weights_BNL @ hidden_BLD / weights_BNL.sum(-1, keepdim=True).clamp(min=1)
        if self.value.starts == "mark":
            keep_BL = torch.where(text_BL.any(1, keepdim=True), text_BL, keep_BL)
        labels_BND, text_BD = self.label(labels_BND), self.dropout(self.text(self._of_text(hidden_BLD, keep_BL)))
        if self.value.vectors == "unit":
            labels_BND, text_BD = (
                vector / (vector.norm(dim=-1, keepdim=True) + EPSILON) for vector in (labels_BND, text_BD)
            )
        scores_BN: Tensor = self.comparison(text_BD, labels_BND)
        if self.value.vectors == "unit":
            scores_BN = scores_BN * self.scale
        if self.offset is not None:
            scores_BN = scores_BN + self.offset
        absent_BN = torch.arange(labels_BND.shape[1], device=ids_BL.device) >= marks_BL.sum(1, keepdim=True)
        return scores_BN.masked_fill(absent_BN, 0.0)

    def _of_labels(self, marks_BL: Tensor, keep_BL: Tensor, text_BL: Tensor) -> Tensor:
        """Which states each label's vector is the mean of, (B, N, L) bool."""
        own_BL = marks_BL if self.value.label == "first" else keep_BL
        if self.value.starts == "mark":  # else the last label goes on to the input's end, as released
            own_BL = own_BL & ~text_BL
        numbers_N = torch.arange(1, int(marks_BL.sum(1).max()) + 1, device=marks_BL.device)
        return own_BL[:, None] & (marks_BL.cumsum(1)[:, None] == numbers_N[:, None])

    def _of_text(self, hidden_BLD: Tensor, keep_BL: Tensor) -> Tensor:
        """One vector (B, D) of the states where `keep_BL` is True."""
        match self.value.text:
            case "avg":
                weights_BL1 = keep_BL[..., None].to(hidden_BLD.dtype)
                return (hidden_BLD * weights_BL1).sum(1) / weights_BL1.sum(1).clamp(min=1)
            case "max":
                lowest = torch.finfo(hidden_BLD.dtype).min
                return hidden_BLD.masked_fill(~keep_BL[..., None], lowest).amax(1)
        place_L = torch.arange(keep_BL.shape[1], device=keep_BL.device)
        place_B = keep_BL.int().argmax(1) if self.value.text == "first" else (keep_BL * place_L).argmax(1)
        return hidden_BLD[torch.arange(len(hidden_BLD), device=keep_BL.device), place_B]


def apart(head: OnePassHeadSpec, ids_BL: Tensor, keep_BL: Tensor | None) -> tuple[Tensor, Tensor]:
    """Which part of its input each token is of, 0 for the text and 1, 2, … for the labels, and where it stands:
    both (B, L) int64. Every label begins at the place behind the text, so that nothing tells how many there are.

    >>> head = OnePassHeadSpec(label_mark=8, text_mark=9, inner=4, starts="mark", neighbours="hidden")
    >>> parts, places = apart(head, torch.tensor([[2, 8, 5, 6, 8, 5, 9, 7]]), None)
    >>> parts.tolist(), places.tolist()
    ([[0, 1, 1, 1, 2, 2, 0, 0]], [[0, 3, 4, 5, 3, 4, 1, 2]])
    """
    keep_BL = torch.ones_like(ids_BL, dtype=torch.bool) if keep_BL is None else keep_BL
    marks_BL = (ids_BL == head.label_mark) & keep_BL
    behind_BL = ((ids_BL == head.text_mark) & keep_BL).cumsum(1) > 0
    parts_BL = marks_BL.cumsum(1).masked_fill(behind_BL | ~keep_BL, 0)
    text_BL = keep_BL & (parts_BL == 0)
    column_L = torch.arange(ids_BL.shape[1], device=ids_BL.device)
    begun_BL = (column_L * marks_BL).cummax(1).values
    places_BL = torch.where(text_BL, text_BL.cumsum(1) - 1, text_BL.sum(1, keepdim=True) + column_L - begun_BL)
    return parts_BL, places_BL.masked_fill(~keep_BL, 0)


def must_hide(head: OnePassHeadSpec, architecture: Architecture) -> None:
    """Raise SettingError for a head that hides labels from each other over a network in which they would meet."""
    if head.neighbours == "seen":
        return
    a = architecture
    if head.starts != "mark" or head.order != "labels_first":
        raise SettingError(
            'neighbours="hidden" is for labels_first and a text that starts at its mark, or the last label would '
            'read on; give starts="mark" and order="labels_first"'
        )
    met = "a convolution mixes a label with the next" if a.convolution else None
    met = "a network that reads to the left shows labels to the text" if a.reads == "left" else met
    met = "a decoder counts places by columns" if isinstance(a, EncoderDecoder) else met
    if met is not None:
        raise SettingError(f'neighbours="hidden" cannot be: {met}; choose another encoder, or neighbours="seen"')


class Projector(nn.Module):
    """Two dense layers, back to the width they began at."""

    def __init__(self, head: OnePassHeadSpec, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, head.inner), nn.Linear(head.inner, width)
        self.activation, self.dropout = ACTIVATIONS[head.activation], Dropout(head.dropout)

    def start(self) -> None:
        """Begin as no change: Q' (f(Q x) - f(-Q x)), and f(x) - f(-x) = x for gelu, relu and silu. Where `inner` is
        below twice the width, only so many directions are kept."""
        half = self.first.out_features // 2
        kept_QD = nn.init.orthogonal_(self.first.weight.new_empty(half, self.first.in_features))
        for weight, sided in ((self.first.weight, kept_QD), (self.second.weight.T, kept_QD)):
            weight[:half], weight[half : 2 * half], weight[2 * half :] = sided, -sided, 0

    def forward(self, states: Tensor) -> Tensor:
        projected: Tensor = self.second(self.dropout(self.activation(self.first(states))))
        return projected


class DotProduct(nn.Module):
    """Of a text (B, D) and labels (B, N, D), as (B, N)."""

    def forward(self, text_BD: Tensor, labels_BND: Tensor) -> Tensor:
        return (labels_BND @ text_BD[..., None]).squeeze(-1)


class Perceptron(nn.Module):
    """Three dense layers over text and label side by side, 256 wide whatever scorer_mlp_hidden_size says: the
    released scorer never reads that."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(2 * width, 256), nn.Linear(256, 128), nn.Linear(128, 1)

    def forward(self, text_BD: Tensor, labels_BND: Tensor) -> Tensor:
        both = torch.cat([text_BD[:, None].expand(-1, labels_BND.shape[1], -1), labels_BND], -1)
        scores_BN: Tensor = self.last(F.relu(self.second(F.relu(self.first(both)))))[..., 0]
        return scores_BN
