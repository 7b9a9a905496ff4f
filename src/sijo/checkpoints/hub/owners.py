"""Whose models are that old code, and people, name without their owners."""

from sijo.errors import nearest

OWNERS = {
    "albert": tuple(f"albert-{size}-v{i}" for size in ("base", "large", "xlarge", "xxlarge") for i in (1, 2)),
    "almanach": ("camembert-base",),
    "distilbert": (
        *("distilbert-base-cased", "distilbert-base-uncased", "distilbert-base-multilingual-cased"),
        *("distilbert-base-german-cased", "distilbert-base-uncased-finetuned-sst-2-english", "distilroberta-base"),
        *("distilbert-base-cased-distilled-squad", "distilbert-base-uncased-distilled-squad"),
    ),
    "FacebookAI": (
        *("roberta-base", "roberta-large", "roberta-large-mnli", "xlm-roberta-base", "xlm-roberta-large"),
        *(
            f"xlm-roberta-large-finetuned-{language}"
            for language in ("conll02-dutch", "conll02-spanish", "conll03-english", "conll03-german")
        ),
    ),
    "google-bert": (
        *("bert-base-cased", "bert-base-uncased", "bert-large-cased", "bert-large-uncased", "bert-base-chinese"),
        *("bert-base-multilingual-cased", "bert-base-multilingual-uncased", "bert-base-german-cased"),
        *("bert-base-german-dbmdz-cased", "bert-base-german-dbmdz-uncased", "bert-base-cased-finetuned-mrpc"),
        *(
            f"bert-large-{case}-whole-word-masking{tuned}"
            for case in ("cased", "uncased")
            for tuned in ("", "-finetuned-squad")
        ),
    ),
    "openai-community": ("roberta-base-openai-detector", "roberta-large-openai-detector"),
    "Salesforce": ("ctrl",),
}
"""Who now owns the models of families that sijo opens that stood on the Hub without an owner, as in old code."""
OLD_NAMES = {name: f"{owner}/{name}" for owner, names in OWNERS.items() for name in names}
"""What they are called by now."""
ALWAYS_OWNED = {
    "answerdotai": ("ModernBERT-base", "ModernBERT-large"),
    "facebook": ("bart-base", "bart-large", "bart-large-mnli"),
    "google": tuple(
        f"electra-{size}-{part}" for size in ("small", "base", "large") for part in ("discriminator", "generator")
    ),
    "microsoft": (
        *("deberta-base", "deberta-large", "deberta-xlarge", "deberta-v2-xlarge", "deberta-v2-xxlarge"),
        *("deberta-v3-xsmall", "deberta-v3-small", "deberta-v3-base", "deberta-v3-large"),
        *("mdeberta-v3-base", "mpnet-base"),
    ),
}
"""The like that never stood there by their bare names, which are hinted at by whole ones."""


def meant(name: str, *others: str) -> str:
    """A hint for a name that leads to no model: the whole or nearest one that does, also of others; or nothing.

    >>> meant("modernbert-base"), meant("zzz"), meant("sijo-smal", "sijo-small")
    ("; did you mean 'answerdotai/ModernBERT-base'?", '', "; did you mean 'sijo-small'?")
    """
    owned = {bare.casefold(): f"{owner}/{bare}" for owner, names in ALWAYS_OWNED.items() for bare in names}
    return nearest(owned.get(name.casefold(), name), (*OLD_NAMES, *owned.values(), *others))
