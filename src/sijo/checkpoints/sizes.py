"""What to mend where weights are of other sizes than config.json says, known by which of them are."""

from collections.abc import Mapping

Shape = tuple[int, ...]
FIELD_OF = {
    "embeddings.tokens.weight": "vocab_size",
    "head.mlm.bias": "vocab_size",
    "head.lm.bias": "vocab_size",
    ".places.weight": "the number of positions (max_position_embeddings)",
    "embeddings.segments.weight": "type_vocab_size",
    "classification.out.weight": "the number of labels (id2label, num_labels)",
    "classification.out.bias": "the number of labels (id2label, num_labels)",
}
"""How our names of tensors end whose rows a field of config.json counts, and that field."""


def mend_sizes(shapes: Mapping[str, tuple[Shape, Shape]]) -> str:
    """The end of a sentence on tensors of another shape: what is wrong, and what would do.

    shapes  of each tensor, by our name, the shape in the file and the one that config.json asks for

    >>> mend_sizes({"head.sequence-classification.out.bias": ((3,), (2,))})
    'they differ in the number of labels (id2label, num_labels) alone, 3 in the weights: mend config.json'
    >>> mend_sizes({"transformer.blocks.0.attention.out.weight": ((3, 4), (4, 4))})
    'copy the folder again'
    """
    counts = {
        next((field for end, field in FIELD_OF.items() if name.endswith(end)), None): there[0]
        for name, (there, _) in shapes.items()
        if there
    }
    if None in counts or any(there[1:] != asked[1:] for there, asked in shapes.values()):
        return "copy the folder again"
    told = " and ".join(f"{field} alone, {rows:,} in the weights" for field, rows in counts.items())
    return f"they differ in {told}: mend config.json"
