"""Published embedders that are no encoders: refused by name, with what would do."""

DECODERS = {
    **dict.fromkeys(("gemma3_text", "gemma3", "embeddinggemma"), "a Gemma 3, as embeddinggemma has"),
    **dict.fromkeys(("gemma", "gemma2"), "a Gemma"),
    **dict.fromkeys(("qwen2", "qwen3", "qwen3_moe"), "a Qwen decoder, as Qwen3-Embedding and gte-Qwen2 have"),
    **dict.fromkeys(("mistral", "ministral"), "a Mistral decoder, as e5-mistral has"),
    **dict.fromkeys(("llama", "exaone", "exaone4"), "a decoder in the manner of Llama"),
    **dict.fromkeys(("gpt2", "gpt_neo", "gpt_neox", "gptj", "opt", "bloom", "phi", "phi3", "olmo"), "a decoder"),
    **dict.fromkeys(("t5", "mt5", "umt5"), "a T5, as sentence-t5 has"),
}
"""By `model_type`: what it is."""
SMALLER = "multilingual-e5-small, KR-SBERT, LaBSE or all-MiniLM-L6-v2"


def why_no_encoder(model_type: str) -> str | None:
    """Why a model of that type is not opened, and what would do; None for a type that is not known here.

    >>> why_no_encoder("qwen3").partition(";")[0]
    'a Qwen decoder, as Qwen3-Embedding and gte-Qwen2 have, and sijo builds encoders and CTRL'
    """
    what = DECODERS.get(model_type)
    return what and (
        f"{what}, and sijo builds encoders and CTRL; for vectors of texts choose an encoder, such as {SMALLER}, or "
        "let such a model label texts elsewhere and teach an encoder here on them"
    )
