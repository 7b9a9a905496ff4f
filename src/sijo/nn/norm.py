"""The LayerNorms of a network."""

from torch import nn

from sijo.nn.architecture import Architecture, PreNorm


def layer_norm(architecture: Architecture, width: int, eps: float | None = None) -> nn.LayerNorm:
    """One over so many channels; `eps` is added to the variance, None for that of the layers."""
    return nn.LayerNorm(width, eps=eps or architecture.norm.eps, bias="norm" in architecture.biases)


def attention_norm(architecture: Architecture, block: int) -> nn.Module:
    """The one of a block's attention; nothing where the architecture has none there."""
    bare = block == 0 and isinstance(architecture.norm, PreNorm) and architecture.norm.first == "none"
    return nn.Identity() if bare else layer_norm(architecture, architecture.hidden_size)
