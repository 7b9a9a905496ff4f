"""Vectors turned by where they stand, channel by channel.

Source: Su et al. 2021 (RoFormer), section 3.2.2: pair number m is turned by the angle place / base^(2 m / width);
the released ModernBERT pairs channel m with channel m + width / 2.
"""

import math


def turned(vector, place, base):
    """A head's query or key, each pair of channels turned by its own angle."""
    half = len(vector) // 2
    out = list(vector)
    for m in range(half):
        angle = place * base ** (-2 * m / len(vector))
        x, y = vector[m], vector[m + half]
        out[m] = x * math.cos(angle) - y * math.sin(angle)
        out[m + half] = x * math.sin(angle) + y * math.cos(angle)
    return out
