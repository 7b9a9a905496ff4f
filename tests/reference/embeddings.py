"""From token ids to the first hidden states, token by token.

Sources: BERT, section 3.2; ALBERT and ELECTRA (the map to the hidden width after the norm, with a bias) and
DeBERTa (before the norm, without) as released; Vaswani et al. 2017, section 3.5, for the waves.
"""

import math

from reference.plain import add, linear, norm


def wave(place, width, layout):
    """Sine and cosine of place / 10000^(2 · floor(c / 2) / width), for each channel c of a place.

    layout  "interleaved": channel 2c a sine, 2c + 1 its cosine (DistilBERT); "halves": all the sines, then
            all the cosines (CTRL)
    """
    by_turns = []
    for channel in range(width):
        angle = place / 10_000 ** (2 * (channel // 2) / width)
        by_turns.append(math.cos(angle) if channel % 2 else math.sin(angle))
    return by_turns if layout == "interleaved" else by_turns[0::2] + by_turns[1::2]


def embed(a, w, ids, keep, types):
    """The first hidden states of one sequence; a is the architecture, w its weights by sijo's names."""
    states, counted = [], 0
    padding = getattr(a.positions, "padding", None)
    for place, (token, real, kind) in enumerate(zip(ids, keep, types, strict=True)):
        vector = w["embeddings.tokens.weight"][token]
        if a.entry in ("scale", "scale_norm"):
            vector = [x * math.sqrt(a.embedding_size) for x in vector]
        if padding is not None:  # fairseq: places after the row of padding, for every id that is none of padding
            counted += token != padding
            row = padding if token == padding else padding + counted
            vector = add(vector, w["embeddings.places.weight"][row])
        elif "embeddings.places.weight" in w:
            vector = add(vector, w["embeddings.places.weight"][place + getattr(a, "first_place", 0)])
        elif a.positions is not None:
            vector = add(vector, wave(place, a.embedding_size, a.positions.layout))
        if a.token_types:
            vector = add(vector, w["embeddings.segments.weight"][kind if a.token_types > 1 else 0])
        if a.widening == "before_norm":
            vector = linear(vector, w["embeddings.project.weight"])
        if a.entry in ("norm", "scale_norm"):
            vector = norm(vector, w["embeddings.norm.weight"], w.get("embeddings.norm.bias"), a.norm.eps)
        if a.distances is not None and not real:
            vector = [0.0] * len(vector)
        if a.widening == "after_norm":
            vector = linear(vector, w["embeddings.project.weight"], w["embeddings.project.bias"])
        states.append(vector)
    return states
