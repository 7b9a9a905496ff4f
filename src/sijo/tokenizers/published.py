"""A tokenizer from the files a model was published with, where no tokenizer.json lies beside them.

`vocab.txt` is WordPiece, `spm.model`, `spiece.model` and `sentencepiece.bpe.model` are SentencePiece unigram
models, `vocab.json` with `merges.txt` is byte-level BPE or CTRL's. Which of them a family of models has, and in
which style, `sijo.models` says; what cuts the text is in `pipelines.py`.
"""

from pathlib import Path

from sijo.errors import CheckpointError, RefusedError
from sijo.files.paths import FolderFile, present
from sijo.tokenizers import bounds, pipelines
from sijo.tokenizers import sentencepiece as spm
from sijo.tokenizers.native import intact
from sijo.tokenizers.published_settings import PublishedSettings, read_fields, read_lines
from sijo.tokenizers.special_tokens import add_tokens
from sijo.tokenizers.style import BERT_TOKENS, CTRL_TOKENS, TokenizerFamily, TokenizerStyle
from tokenizers import Tokenizer


def build(folder: Path, family: TokenizerFamily, settings: PublishedSettings) -> Tokenizer:
    """A tokenizer out of published files.

    Raises CheckpointError when a file is absent or damaged, and RefusedError for what it asks and
    sijo does not do.
    """
    file = next((file for name in family.vocabularies if (file := present(folder, name))), None)
    if file is None:
        names = [f"{name} with merges.txt" if name == "vocab.json" else name for name in family.vocabularies]
        raise CheckpointError(
            f"{folder} has no tokenizer.json; copy it from where the model came from. "
            f"A {family.model_type} model can also be read with {' or '.join(names)}; copy that file then"
        )
    settings.check()
    style, kind = family.vocabularies[file.name], file.path.suffix
    with intact(file):
        special = style.special
        merges = _merges(folder) if kind == ".json" else []
        word_ends = any(right.endswith(pipelines.END) for _, right in merges)
        if kind == ".json" and word_ends == style.bytes:  # the merges decide, whatever the family
            special = CTRL_TOKENS if word_ends else BERT_TOKENS
        settings = settings.over(special)
        match kind:
            case ".txt":
                tokens = read_lines(file)
                bounds.check_tokens(tokens)
                inner = pipelines.wordpiece(tokens, settings)
            case ".model":
                inner = _unigram(file, settings, style)
            case _:
                inner = (pipelines.ctrl if word_ends else pipelines.byte_level)(_ids(file), merges, settings)
        more = present(folder, "added_tokens.json")
        declared = {} if more is None else read_fields(more)
        add_tokens(inner, settings, strips_mask=style.strips_mask, between=style.between, more=declared)
    return inner


def _merges(folder: Path) -> list[tuple[str, str]]:
    """Pairs to merge, first things first. Symbols may hold any space but U+0020, so only that one parts them."""
    file = present(folder, "merges.txt")
    if file is None:
        raise CheckpointError(
            f"{folder / 'merges.txt'} is absent, and vocab.json is of no use without it; copy it too"
        )
    with intact(file):
        lines = read_lines(file)
        pairs = [line.split(" ") for line in lines[lines[0].startswith("#version") :] if line]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"{next(' '.join(pair) for pair in pairs if len(pair) != 2)!r} is not a pair")
    return [(left, right) for left, right in pairs]


def _ids(file: FolderFile) -> dict[str, int]:
    ids = read_fields(file)
    bounds.check_ids(ids)
    return ids


def _unigram(file: FolderFile, settings: PublishedSettings, style: TokenizerStyle) -> Tokenizer:
    model = spm.read_model(file.read_bytes(bounds.LARGEST))
    if style.renumbers:
        model = model.renumbered(style.first, style.last)
    texts = [text for text, _, _ in model.pieces]
    kinds = [kind for _, _, kind in model.pieces]
    if unsupported := model.unsupported():
        raise RefusedError(f"{file} has {unsupported}, which sijo does not do; choose another model")
    if len(set(texts)) < len(texts) or "" in texts or kinds.count(spm.UNKNOWN) != 1 or spm.NORMAL not in kinds:
        raise ValueError("its pieces are not each once there, with one for the unknown")
    if model.byte_fallback() and kinds.count(spm.BYTE) != 256:
        raise ValueError("it falls back on bytes but lacks some of the 256")
    settings.flag("add_prefix_space", True, allowed=(True,))
    unknown = settings.name("unk_token")
    if unknown and unknown not in texts:  # the piece "<unk>" of a DeBERTa is shown as [UNK]
        model.pieces[kinds.index(spm.UNKNOWN)] = (unknown, 0.0, spm.UNKNOWN)
    charsmap = pipelines.own_charsmap(model, file)
    return pipelines.unigram(model, settings, albert_steps=style.albert_steps, mapped=charsmap)
