"""Attention of one sequence on itself, with and without distances, pair by pair.

Sources: Vaswani et al. 2017, section 3.2; He et al. 2020 (DeBERTa), section 3.1, as the released weights
have it: both terms look up the distance i - j from key to query.
"""

import math

from reference.plain import add, dot, linear, shares
from reference.rotary import turned


def bucket(distance, buckets, span):
    """The bucket of a signed distance, by whole numbers alone.

    Beyond mid = buckets // 2 it is mid + ceil(log(r / mid) / log((span - 1) / mid) * (mid - 1)): the least
    k for which (r / mid)^(mid - 1) <= ((span - 1) / mid)^k. First, nothing is further than span - 1.
    """
    r, mid = min(abs(distance), span - 1), buckets // 2
    if not buckets or r <= mid:
        return int(math.copysign(r, distance))
    k = 0
    while r ** (mid - 1) * mid**k > (span - 1) ** k * mid ** (mid - 1):
        k += 1
    return int(math.copysign(mid + k, distance))


def row(i, j, apart):
    """The row of the table of distances for query i and key j: the middle one where they are the same token.

    Without buckets, and trained on inputs longer than the span, a key that stands too far to the right has row 0:
    disentangled_attention.py adds the span to i - j and then limits the sum to the rows there are.
    """
    if not apart.buckets and (apart.longest or 0) > apart.span:
        return min(max(i - j + apart.span, 0), 2 * apart.span - 1)
    return bucket(i - j, apart.buckets, apart.span) + (apart.buckets or apart.span)


def heads_of(vector, heads):
    """A vector cut into equal parts, one a head."""
    size = len(vector) // heads
    return [vector[h * size : (h + 1) * size] for h in range(heads)]


def bias_row(i, j, choice):
    """T5's bucket of query i and key j, by whole numbers alone: keys behind the query have the second half.

    Distances below near = buckets / 4 have a row each; beyond, row near + k begins at the least r for which
    (r / near)^(half - near) >= (span / near)^k, and the last row has all the rest.
    """
    half, near, r = choice.buckets // 2, choice.buckets // 4, abs(i - j)
    row = r
    if r >= near:
        k = 0
        while k < half - near and r ** (half - near) * near ** (k + 1) >= choice.span ** (k + 1) * near ** (
            half - near
        ):
            k += 1
        row = min(near + k, half - 1)
    return row + (half if j > i else 0)


def attention(queries, states, part, heads, may, table=None, apart=None, bias=None, base=None):
    """What each query reads from the states, through the output map.

    queries  the vectors that ask
    states   the vectors that are read
    part     name -> (matrix, bias or None): query, key, value, out; with distances of their own also
             distances.query and distances.key
    may      may[i][j]: whether query i may read state j
    table    the rows of the table of distances, ready for the projections; None for plain attention
    apart    the choice of distances: span, longest, buckets, terms
    bias     bias(i, j): what is added to the score of each head; None for nothing
    base     by which queries and keys are turned; None for not at all
    """
    q, k, v = (
        [heads_of(linear(x, *part[name]), heads) for x in given]
        for name, given in (("query", queries), ("key", states), ("value", states))
    )
    if base is not None:
        q, k = ([[turned(x, at, base) for x in token] for at, token in enumerate(given)] for given in (q, k))
    terms = apart.terms if apart else ()
    if terms:
        needed = {row(i, j, apart) for i in range(len(queries)) for j in range(len(states))}
        key, query = (part.get(f"distances.{name}", part[name]) for name in ("key", "query"))
        place_key, place_query = (
            {at: heads_of(linear(table[at], *of), heads) for at in needed} if term in terms else None
            for term, of in (("c2p", key), ("p2c", query))
        )
    out = []
    for i in range(len(queries)):
        read = []
        for h in range(heads):
            scores = []
            for j in range(len(states)):
                score = dot(q[i][h], k[j][h])
                if terms:
                    at = row(i, j, apart)
                if "c2p" in terms:
                    score += dot(q[i][h], place_key[at][h])
                if "p2c" in terms:
                    score += dot(place_query[at][h], k[j][h])
                score /= math.sqrt(len(q[i][h]) * (1 + len(terms)))
                scores.append(score + (bias(i, j)[h] if bias else 0.0))
            share = shares(scores, may[i])
            read += [math.fsum(share[j] * v[j][h][c] for j in range(len(states))) for c in range(len(v[0][h]))]
        out.append(linear(read, *part["out"]))
    return out


def plus(states, more):
    """Two sequences of vectors, added."""
    return [add(a, b) for a, b in zip(states, more, strict=True)]
