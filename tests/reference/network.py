"""A whole network and its heads over one sequence, in plain numbers.

Weights go by sijo's names, as nested lists; an architecture and a head are read, never run.
"""

from reference.attention import attention, bias_row, plus
from reference.embeddings import embed
from reference.plain import activation, add, dot, linear, norm


def base_of(a, layer):
    """By which a layer turns queries and keys; None for not at all."""
    if a.rotary is None:
        return None
    return a.rotary.local_base if is_local(a, layer) and a.rotary.local_base else a.rotary.base


def is_local(a, layer):
    """Whether a layer reads near tokens alone."""
    return a.window is not None and a.window.pattern[layer % len(a.window.pattern)] == "local"


def below(w, prefix):
    """Each linear map under a prefix: name -> (matrix, bias or None)."""
    names = {name.rpartition(".")[0] for name in w if name.startswith(prefix)}
    return {name.removeprefix(prefix): (w.get(f"{name}.weight"), w.get(f"{name}.bias")) for name in names}


def normed(states, w, name, eps):
    return [norm(x, w[f"{name}.weight"], w.get(f"{name}.bias"), eps) for x in states]


def feed(states, a, w, block):
    """Widened, bent, narrowed; where there is a gate, the second half of what is widened times the bent first."""
    widen, narrow = (below(w, f"{block}.{name}")[""] for name in ("widen", "narrow"))
    out = []
    for x in states:
        wide = linear(x, *widen)
        inner = activation(a.activation, wide[: a.intermediate_size])
        if a.feed_forward == "gated":
            inner = [one * gate for one, gate in zip(inner, wide[a.intermediate_size :], strict=True)]
        out.append(linear(inner, *narrow))
    return out


def post_norm(queries, states, a, w, block, may, table, base=None):
    """x + attention, normed; that + feed-forward, normed. BERT; DeBERTa's queries may differ from its states."""
    part = below(w, f"{block}.attention.")
    read = attention(queries, states, part, a.heads, may, table, a.distances, bias_of(a, w), base)
    middle = normed(plus(queries, read), w, f"{block}.attention_norm", a.norm.eps)
    return normed(plus(middle, feed(middle, a, w, block)), w, f"{block}.output_norm", a.norm.eps)


def pre_norm(states, a, w, block, may, table, base=None):
    """x + attention of the normed x; that + feed-forward of the normed that. CTRL; ModernBERT's first is bare."""
    bare = a.norm.first == "none" and block == "blocks.0"
    first = states if bare else normed(states, w, f"{block}.attention_norm", a.norm.eps)
    part = below(w, f"{block}.attention.")
    middle = plus(states, attention(first, first, part, a.heads, may, table, a.distances, bias_of(a, w), base))
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
        out.append(norm(summed, w["convolution.norm.weight"], w.get("convolution.norm.bias"), a.norm.eps))
    return out


def sight(a, keep, layer):
    """may[i][j]: whether token i may read token j."""
    reach = a.window.reach if is_local(a, layer) else len(keep)
    return [
        [
            real_j
            and (a.distances is None or real_i)
            and (a.reads == "both_sides" or j <= i)
            and abs(i - j) <= reach
            for j, real_j in enumerate(keep)
        ]
        for i, real_i in enumerate(keep)
    ]


def bias_of(a, w):
    """What is added to scores for query i and key j, a number a head; None for nothing."""
    if a.relative_bias is None:
        return None
    return lambda i, j: w["relative_bias.rows.weight"][bias_row(i, j, a.relative_bias)]


def distance_table(a, w):
    """The rows of the table of distances, as the layers get them."""
    if a.distances is None:
        return None
    rows = w["distances.rows.weight"]
    return rows if a.distances.norm == "none" else normed(rows, w, "distances.norm", a.norm.eps)


def shifted(ids, keep, start):
    """What a decoder reads: before each token the one to its left, and before the first the start token."""
    return [ids[i - 1] if i and keep[i - 1] else start for i in range(len(ids))]


def decoded(a, w, ids, keep, encoded):
    """The hidden states of a decoder over one sequence, whose encoder's last states are `encoded`.

    Vaswani et al. 2017, section 3.1: x + attention to the left, normed; that + attention whose queries it makes,
    and whose keys and values the encoder's states do, normed; that + feed-forward, normed.
    """
    own = {name.removeprefix("decoder."): tensor for name, tensor in w.items() if name.startswith("decoder.")}
    tables = {f"embeddings.{name}": own[name] for name in ("places.weight", "norm.weight", "norm.bias")}
    tables |= {"embeddings.tokens.weight": w["encoder.embeddings.tokens.weight"]}
    states = [embed(a, tables, shifted(ids, keep, a.decoder.start), keep, [0] * len(ids))]
    to_left = [[real and j <= i for j, real in enumerate(keep)] for i in range(len(ids))]
    everywhere = [list(keep) for _ in ids]
    for number in a.decoder.schedule:
        block, x = f"blocks.{number}", states[-1]
        for name, read, may in (("attention", None, to_left), ("cross", encoded, everywhere)):
            part = below(own, f"{block}.{name}.")
            gathered = attention(x, x if read is None else read, part, a.decoder.heads, may)
            x = normed(plus(x, gathered), own, f"{block}.{name}_norm", a.norm.eps)
        states.append(normed(plus(x, feed(x, a, own, block)), own, f"{block}.output_norm", a.norm.eps))
    return states


def read(a, w, ids, keep, types):
    """The hidden states of one sequence: the embeddings, then after each layer; of a decoder too, behind them."""
    if hasattr(a, "decoder"):
        first = {name.removeprefix("encoder."): tensor for name, tensor in w.items()}
        encoder = stack(a, first, ids, keep, types)
        return encoder + decoded(a, w, ids, keep, encoder[-1])
    return stack(a, w, ids, keep, types)


def stack(a, w, ids, keep, types):
    """The hidden states of one stack that reads one sequence."""
    states = [embed(a, w, ids, keep, types)]
    table = distance_table(a, w)
    for layer, number in enumerate(a.schedule):
        block, may, base = f"blocks.{number}", sight(a, keep, layer), base_of(a, layer)
        if a.norm.kind == "pre":
            after = pre_norm(states[-1], a, w, block, may, table, base)
        else:
            after = post_norm(states[-1], states[-1], a, w, block, may, table, base)
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
        may = sight(a, keep, a.layers - 1)
        asking = post_norm(asking, source, a, w, block, may, distance_table(a, w), base_of(a, a.layers - 1))
    return asking


def vocabulary(head, a, w, h, states, keep):
    """Logits over the vocabulary: (dense, activation, norm,) the table of tokens and a bias."""
    out = []
    for x in enhanced(head, a, w, h, states, keep) if head.places else states[-1]:
        if head.activation is not None:
            x = activation(head.activation, linear(x, h["dense.weight"], h.get("dense.bias")))  # noqa: PLW2901
            x = norm(x, h["norm.weight"], h.get("norm.bias"), a.norm.eps)  # noqa: PLW2901
        out.append(linear(x, w["embeddings.tokens.weight"], h["bias"]))
    return out


def judgement(head, a, w, h, states, keep, ids):
    """Scores of one state or of each: (the norm of its sum with the first's,) (dense, activation,) linear."""
    last = states[-1]
    if head.reads == "first":
        read = [last[0]]
    elif head.reads == "last":
        read = [last[max((i for i, real in enumerate(keep) if real), default=0)]]
    elif head.reads == "mean":
        real = [x for x, there in zip(last, keep, strict=True) if there]
        read = [[sum(channel) / len(real) for channel in zip(*real, strict=True)]]
    elif head.reads == "end":
        read = [last[max(i for i, real in enumerate(keep) if real and ids[i] == a.decoder.end)]]
    elif head.reads == "each_with_first":
        read = normed([add(x, last[0]) for x in last], h, "norm", a.norm.eps)
    else:
        read = last
    if head.dense:
        read = [activation(head.dense, linear(x, h["dense.weight"], h.get("dense.bias"))) for x in read]
    if head.dense_norm == "layer_norm":
        read = normed(read, h, "dense_norm", a.norm.eps)
    if head.answers != "vector":
        read = [linear(x, h["out.weight"], h.get("out.bias")) for x in read]
    if head.answers == "one":
        read = [x[0] for x in read]
    return read[0] if head.reads in ("first", "last", "end", "mean") else read


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


def answer(head, a, w, h, states, keep, ids=()):
    """What a head makes of the states; h are its own weights."""
    if head.kind == "labels":
        return labels(head, h, states, keep, ids)
    if head.kind == "vocabulary":
        return vocabulary(head, a, w, h, states, keep)
    return judgement(head, a, w, h, states, keep, ids)
