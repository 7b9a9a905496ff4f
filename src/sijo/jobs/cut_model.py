"""A model for a tokenizer that was cut from its own: the rows of the tokens that stayed, and everything else.

A unigram model of 250,000 pieces has a table of 96 million numbers beside 21 million of layers (E5 small); in two
languages a tenth of the rows does.
"""

from pathlib import Path

from sijo.checkpoints.card import Card, Metric, known_licence
from sijo.checkpoints.load import Model
from sijo.checkpoints.locate import BUILT_IN, is_built_in, locate
from sijo.checkpoints.save import save_into
from sijo.errors import SettingError
from sijo.jobs.new_token_rows import with_table
from sijo.nn.architecture import Learned
from sijo.nn.encoder_decoder import EncoderDecoder
from sijo.tokenizers.prune import PruneReport
from sijo.tokenizers.tokenizer import Tokenizer


def with_rows_of(model: Model, tokenizer: Tokenizer) -> Model:
    """A model with the rows that another tokenizer's tokens have in its table, in their order, and no others.

    What it makes of a text that both tokenizers cut into the same tokens stays as it was. Fields of its config that
    name a token by its id, such as pad_token_id, name it by its new one; of a token that is gone there is none.

    model      with a tokenizer of its own; its other tensors are not copied
    tokenizer  cut from that one (`prune_tokenizer`): each of its tokens is one there

    Raises SettingError for a tokenizer with a token that the model does not know.

    >>> from sijo.checkpoints.load import load
    >>> whole = load("all-minilm-l6-v2")
    >>> few = with_rows_of(whole, whole.tokenizer.only(sorted(whole.tokenizer.essential_ids)))
    >>> few.architecture.vocab_size, few.config["pad_token_id"], len(few.transformer.embeddings.tokens.weight)
    (5, 0, 5)
    """
    names = [tokenizer.token(number) for number in range(tokenizer.largest_id + 1)]
    ids = [None if name is None else model.tokenizer.id(name) for name in names]
    kept = [number for number in ids if number is not None and number < model.architecture.vocab_size]
    if len(kept) < len(names):
        raise SettingError(
            f"{len(names) - len(kept)} of the tokenizer's {len(names)} tokens have no row in the model's table; "
            "use one that was cut from the model's own: sijo tokenizer cut"
        )
    places = {number: place for place, number in enumerate(kept)}
    positions = model.architecture.positions
    padding = positions.padding if isinstance(positions, Learned) else None
    if padding is not None and places.get(padding) != padding:
        raise SettingError(
            f"the model counts places from the row of its padding, token {padding}, which the tokenizer numbers "
            f"{places.get(padding)}; keep all tokens before it"
        )
    a = model.architecture
    own = {a.decoder.start, a.decoder.end} if isinstance(a, EncoderDecoder) else set()
    if moved := {number for number in own if places.get(number) != number}:
        raise SettingError(
            f"the model's decoder starts with, or ends at, token {min(moved)}, which the tokenizer numbers "
            f"{places.get(min(moved))}; keep all tokens before it"
        )
    few = with_table(model, tokenizer, len(kept), lambda old: old[kept])
    if model.fitted_head is not None and model.network_digest() == model.fitted_head[1]:
        few.fitted_head = model.fitted_head[0], few.network_digest()  # a kept text's vector is what it was
    for name in [name for name in few.config if name.endswith("_token_id")]:
        number = few.config.pop(name)
        if isinstance(number, int) and number in places:
            few.config[name] = places[number]
    return few


def save_cut(model: Model, tokenizer: Tokenizer, report: PruneReport, folder: Path, *, name: str | None) -> None:
    """Write a model for a tokenizer that was cut from its own, with a card, into a folder that is being written.

    name  what the model was opened by; None for the built-in one
    """
    share = Metric("texts cut as before", report.texts_unchanged, None, None, report.texts)
    chooses = any(head.endswith("classification") for head in model.head_values)
    called = BUILT_IN if name is None or is_built_in(name) else name
    card = Card(
        title=f"{Path(called).name}, {report.vocab_size:,} of its {report.vocab_size_before:,} tokens",
        task="sentence-similarity" if model.sentence.trained else None,
        base_model=called,
        labels=model.labels if chooses else (),
        metrics=[share],
        measured_on="the text whose tokens stayed",
        base_licence=known_licence(locate(name)),
        tags=("cut vocabulary",),
    )
    save_into(with_rows_of(model, tokenizer), folder, card=card)
