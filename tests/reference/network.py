"""A whole network and its heads over one sequence, in plain numbers.

Weights go by sijo's names, as nested lists; an architecture and a head are read, never run.
"""

from reference.attention import attention, plus
from reference.embeddings import embed
from reference.plain import activation, add, dot, linear, norm


def below(w, prefix):
    """Each linear map under a prefix: name -> (matrix, bias or None)."""
    names = {name.rpartition(".")[0] for name in w if name.startswith(prefix)}
    return {name.removeprefix(prefix): (w.get(f"{name}.weight"), w.get(f"{name}.bias")) for name in names}


def normed(states, w, name, eps):
    return [norm(x, w[f"{name}.weight"], w[f"{name}.bias"], eps) for x in states]


def feed(states, a, w, block):
    widen, narrow = (below(w, f"{block}.{name}")[""] for name in ("widen", "narrow"))
    return [linear(activation(a.activation, linear(x, *widen)), *narrow) for x in states]


def post_norm(queries, states, a, w, block, may, table):
    """x + attention, normed; that + feed-forward, normed. BERT; DeBERTa's queries may differ from its states."""
    part = below(w, f"{block}.attention.")
    read = attention(queries, states, part, a.heads, may, table, a.distances)
    middle = normed(plus(queries, read), w, f"{block}.attention_norm", a.norm.eps)
    return normed(plus(middle, feed(middle, a, w, block)), w, f"{block}.output_norm", a.norm.eps)


def pre_norm(states, a, w, block, may, table):
    """x + attention of the normed x; that + feed-forward of the normed that. CTRL."""
    first = normed(states, w, f"{block}.attention_norm", a.norm.eps)
    part = below(w, f"{block}.attention.")
    middle = plus(states, attention(first, first, part, a.heads, may, table, a.distances))
    return plus(middle, feed(normed(middle, w, f"{block}.output_norm", a.norm.eps), a, w, block))


def convolved(embedded, first, keep, a, w):
    """The released DeBERTa-v2's: over the embeddings, bent, added to the first layer, normed, masked."""
    matrix, bias = w["convolution.mix.weight"], w["convolution.mix.bias"]
    choice, width, reach = a.convolution, a.hidden_size, a.convolution.kernel // 2
    per_group = width // choice.groups
    out = []
    for t, real in enumerate(keep):
        if not real:
            out.append([0.0] * width)
            continue
        mixed = []
        for channel in range(width):
            first_in = channel // per_group * per_group
            total = bias[channel]
            for step in range(-reach, reach + 1):
                if 0 <= t + step < len(keep) and keep[t + step]:
                    seen = embedded[t + step][first_in : first_in + per_group]
                    total += dot([taps[step + reach] for taps in matrix[channel]], seen)
            mixed.append(total)
        summed = add(first[t], activation(choice.activation, mixed))
        out.append(norm(summed, w["convolution.norm.weight"], w["convolution.norm.bias"], a.norm.eps))
    return out


def sight(a, keep):
    """may[i][j]: whether token i may read token j."""
    return [
        [
            real_j and (a.distances is None or real_i) and (a.reads == "both_sides" or j <= i)
            for j, real_j in enumerate(keep)
        ]
        for i, real_i in enumerate(keep)
    ]


def distance_table(a, w):
    """The rows of the table of distances, as the layers get them."""
    if a.distances is None:
        return None
    rows = w["distances.rows.weight"]
    return rows if a.distances.norm == "none" else normed(rows, w, "distances.norm", a.norm.eps)


def read(a, w, ids, keep, types):
    """The hidden states of one sequence: the embeddings, then after each layer."""
    states = [embed(a, w, ids, keep, types)]
    may, table = sight(a, keep), distance_table(a, w)
    for layer, number in enumerate(a.schedule):
        block = f"blocks.{number}"
        if a.norm.kind == "pre":
            after = pre_norm(states[-1], a, w, block, may, table)
        else:
            after = post_norm(states[-1], states[-1], a, w, block, may, table)
        if layer == 0 and a.convolution is not None:
            after = convolved(states[0], after, keep, a, w)
        states.append(after)
    if a.norm.kind == "pre":
        states[-1] = normed(states[-1], w, "final_norm", a.norm.final_eps)
    return states


def enhanced(head, a, w, h, states, keep):
    """DeBERTa's enhanced mask decoder: the last layer twice over the states before it.

    First those states plus places ask, then the answer to that; keys and values are the same both times.
    """
    block, source = f"blocks.{a.schedule[-1]}", states[-2]
    asking = plus(source, h["places.weight"][: len(source)])
    for _ in range(2):
        asking = post_norm(asking, source, a, w, block, sight(a, keep), distance_table(a, w))
    return asking


def vocabulary(head, a, w, h, states, keep):
    """Logits over the vocabulary: (dense, activation, norm,) the table of tokens and a bias."""
    out = []
    for x in enhanced(head, a, w, h, states, keep) if head.places else states[-1]:
        if head.activation is not None:
            x = activation(head.activation, linear(x, h["dense.weight"], h["dense.bias"]))  # noqa: PLW2901
            x = norm(x, h["norm.weight"], h["norm.bias"], a.norm.eps)  # noqa: PLW2901
        out.append(linear(x, w["embeddings.tokens.weight"], h["bias"]))
    return out


def judgement(head, a, w, h, states, keep):
    """Scores of one state or of each: (the norm of its sum with the first's,) (dense, activation,) linear."""
    last = states[-1]
    if head.reads == "first":
        read = [last[0]]
    elif head.reads == "last":
        read = [last[max((i for i, real in enumerate(keep) if real), default=0)]]
    elif head.reads == "each_with_first":
        read = normed([add(x, last[0]) for x in last], h, "norm", a.norm.eps)
    else:
        read = last
    if head.dense:
        read = [activation(head.dense, linear(x, h["dense.weight"], h["dense.bias"])) for x in read]
    if head.answers != "vector":
        read = [linear(x, h["out.weight"], h.get("out.bias")) for x in read]
    if head.answers == "one":
        read = [x[0] for x in read]
    return read[0] if head.reads in ("first", "last") else read


def projected(x, head, h, which):
    first = linear(x, h[f"{which}.first.weight"], h[f"{which}.first.bias"])
    out = linear(activation(head.activation, first), h[f"{which}.second.weight"], h[f"{which}.second.bias"])
    return out if head.vectors == "plain" else [v / (sum(u * u for u in out) ** 0.5 + 1e-8) for v in out]


def mean(states):
    return [sum(column) / len(states) for column in zip(*states, strict=True)]


def labels(head, h, states, keep, ids):
    """A score for each label: of its vector and the text's, each through two layers."""
    last = states[-1]
    real = [i for i, kept in enumerate(keep) if kept]
    text = [i for i in real if head.text_mark in [ids[j] for j in real if j <= i]]
    starts = [i for i in real if ids[i] == head.label_mark]
    read = text if head.starts == "mark" and text else real
    if head.text == "avg":
        one = mean([last[i] for i in read])
    elif head.text == "max":
        one = [max(column) for column in zip(*(last[i] for i in read), strict=True)]
    else:
        one = last[(read or [0])[0 if head.text == "first" else -1]]
    one = projected(one, head, h, "text")
    scores = []
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=False):
        span = [start] if head.label == "first" else [i for i in real if start <= i < end]
        span = [i for i in span if head.starts == "input" or i not in text]
        label = projected(mean([last[i] for i in span]), head, h, "label")
        if head.scorer == "simple":
            score = dot(one, label)
        else:
            score = one + label
            for layer in ("first", "second", "last"):
                score = linear(score, h[f"comparison.{layer}.weight"], h[f"comparison.{layer}.bias"])
                score = score if layer == "last" else [max(0.0, v) for v in score]
            score = score[0]
        scores.append(score * h["scale"] if head.vectors == "unit" else score)
    return scores


def answer(head, a, w, h, states, keep, ids=None):
    """What a head makes of the states; h are its own weights."""
    if head.kind == "labels":
        return labels(head, h, states, keep, ids)
    return (vocabulary if head.kind == "vocabulary" else judgement)(head, a, w, h, states, keep)
