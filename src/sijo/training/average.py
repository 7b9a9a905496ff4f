"""A moving average of a model's weights, which is often the better model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sijo.errors import SettingError
from sijo.training.optimizers import fill, local, whole


class Average:
    """The exponential moving average of a model's weights.

    average = d · average + (1 - d) · weights, with d = min(decay, (1 + n) / (10 + n)) after n updates, so
    that the random start soon loses its weight: at a plain 0.999 it would still be 37 % of the average after
    1,000 updates. Kept in float32, or wider where the weights are, and cut into shards as they are. What
    needs no gradient is left out, and a weight that two modules share is there once.

    model  whose weights; the average begins with them
    decay  how much of the average outlives an update, between 0 and 1

    >>> model = nn.Linear(1, 1, bias=False)
    >>> model.weight.data.fill_(0.0)
    tensor([[0.]])
    >>> average = Average(model, decay=0.999)
    >>> model.weight.data.fill_(1.0)
    tensor([[1.]])
    >>> average.update(model)
    >>> with average.swapped_into(model):
    ...     model.weight.item()
    0.8999999761581421
    >>> model.weight.item()
    1.0
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise SettingError(f"an average needs a decay between 0 and 1, such as 0.999; {decay} is none")
        self.decay = decay
        self.updates = torch.tensor(0)
        self.weights = {
            name: weight.detach().to(torch.promote_types(weight.dtype, torch.float32), copy=True)
            for name, weight in model.named_parameters()
            if weight.requires_grad
        }

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights as they are now."""
        made = int(self.updates)
        decay = min(self.decay, (1 + made) / (10 + made))
        for name, weight in self._weights(model).items():
            mean = local(self.weights[name])
            mean.lerp_(weight.to(mean.dtype), 1 - decay)
        self.updates += 1

    @contextmanager
    def swapped_into(self, model: nn.Module) -> Iterator[None]:
        """The model with the average for its weights within a `with`; after it with its own again, to the bit."""
        weights = self._weights(model)
        kept = {name: weight.clone() for name, weight in weights.items()}
        try:
            for name, weight in weights.items():
                weight.copy_(local(self.weights[name]))
            yield
        finally:
            for name, weight in weights.items():
                weight.copy_(kept[name])

    def tensors(self) -> dict[str, Tensor]:
        """The average as whole tensors by the names of the weights, and as `updates` how many it has seen.

        Over shards every process must call it, and each gets all.
        """
        return {name: whole(tensor) for name, tensor in self._all().items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave, to the bit; the model may be cut otherwise.

        Raises CheckpointError when a tensor is missing, has no place, or is of another shape or dtype.
        """
        fill(self._all(), tensors, "average of the weights")

    def _all(self) -> dict[str, Tensor]:
        return {"updates": self.updates} | self.weights

    def _weights(self, model: nn.Module) -> dict[str, Tensor]:
        """What this process holds of the weights that are averaged."""
        return {name: local(weight.detach()) for name, weight in model.named_parameters() if name in self.weights}
