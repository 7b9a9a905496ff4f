"""The settings that were published beside a vocabulary, and how a published file is read.

A setting of tokenizer_config.json that changes ids has its effect or is refused by name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sijo.errors import RefusedError, warn
from sijo.files.paths import FolderFile, present
from sijo.tokenizers import bounds
from sijo.tokenizers.native import intact
from tokenizers import Tokenizer, normalizers, pre_tokenizers

ONLY: dict[str, tuple[object, ...]] = {
    "add_bos_token": (False,),
    "add_eos_token": (False,),
    "do_basic_tokenize": (True,),
    "errors": ("replace",),
    "never_split": (None, []),
    "split_by_punct": (False,),
    "split_special_tokens": (False,),
    "subword_tokenizer_type": ("wordpiece",),
    "vocab_type": ("spm",),
    "word_tokenizer_type": ("basic",),
}
"""Settings with one value that is known here; any other is refused."""
SAMPLING = ("enable_sampling", "nbest_size", "alpha")
"""Of `sp_model_kwargs`: a text is cut at random, as is of use in training alone."""
CLASSES = (
    *("Bert", "DistilBert", "Electra", "Albert", "Deberta", "DebertaV2", "CTRL", "PreTrained"),
    *("Roberta", "XLMRoberta", "Camembert", "MPNet", "Bart"),
)

FOLDING = {
    "do_lower_case": ("lowercase", True),
    "strip_accents": ("strip_accents", None),
    "tokenize_chinese_chars": ("handle_chinese_chars", True),
}
"""What transformers' tokenizers of WordPiece set whatever a tokenizer.json says, what the library calls it, and
what it is where nothing says so."""
WORDPIECE = ("Bert", "DistilBert", "Electra", "MPNet")
BYTE_PAIRS = ("Roberta", "Bart", "Deberta")
UNIGRAM = {"do_lower_case": ("Albert", "DebertaV2"), "add_prefix_space": ("Albert", "XLMRoberta", "Camembert")}
"""Settings that tokenizers of unigram models go by there."""
CLASS_OF = {
    "bert": "Bert",
    "distilbert": "Bert",
    "electra": "Bert",
    "mpnet": "MPNet",
    "roberta": "Roberta",
    "bart": "Roberta",
    "deberta": "Deberta",
    "albert": "Albert",
    "deberta-v2": "DebertaV2",
    "xlm-roberta": "XLMRoberta",
    "camembert": "Camembert",
}
"""The tokenizers that transformers takes for models whose tokenizer_config.json names none. For ModernBERT it goes
by tokenizer.json alone, whatever is named."""


@dataclass(frozen=True)
class PublishedSettings:
    """What tokenizer_config.json and special_tokens_map.json say, with the names of special tokens."""

    file: Path
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "PublishedSettings":
        """Those of a folder; none where the files are absent."""
        fields: dict[str, Any] = {}
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            if found := present(folder, name):
                fields |= read_fields(found)
        file = folder / "tokenizer_config.json"
        if "auto_map" in fields:
            raise RefusedError(
                f"{file} asks to run code of its own (auto_map); sijo never does. Choose another model"
            )
        if fields.get("truncation_side") == "left":
            warn(f"{file} says that long texts lose their beginning (truncation_side); sijo cuts their end")
        return cls(file, fields)

    def over(self, defaults: Mapping[str, Any]) -> "PublishedSettings":
        """The same, with these fields where it has none."""
        return replace(self, fields={**defaults, **self.fields})

    def flag(self, name: str, default: bool | None, *, allowed: tuple[bool | None, ...] = (True, False)) -> Any:
        """The value of a setting, or its default; RefusedError when it has no effect here."""
        value = self.fields.get(name, default)
        if value is not default and not any(value is known for known in allowed):
            raise RefusedError(
                f"{self.file} sets {name} to {value!r:.60}, and sijo knows {' or '.join(map(str, allowed))}; "
                "bring a tokenizer.json, or choose another model"
            )
        return value

    def check(self) -> None:
        """Refuse by name what would cut texts in a way that is not known here."""
        for name, known in ONLY.items():
            if name in self.fields and self.fields[name] not in known:
                raise RefusedError(
                    f"{self.file} sets {name} to {self.fields[name]!r:.60}, which sijo does not do; "
                    "bring a tokenizer.json, or choose another model"
                )
        options = self.fields.get("sp_model_kwargs") or {}
        if not isinstance(options, dict) or not options.keys() <= {*SAMPLING}:
            raise RefusedError(
                f"{self.file} sets sp_model_kwargs to {options!r:.60}, which sijo does not do; "
                "bring a tokenizer.json, or choose another model"
            )
        if options.get("enable_sampling"):
            warn("the tokenizer's enable_sampling, which is for training, is turned off")
        kind = str(self.fields.get("tokenizer_class") or "PreTrainedTokenizer")
        if self.kind not in (None, *CLASSES) and kind != "TokenizersBackend":
            raise RefusedError(
                f"{self.file} names the tokenizer {kind:.60}, which sijo does not know; bring a tokenizer.json"
            )

    @property
    def kind(self) -> str | None:
        """What the tokenizer's class in transformers begins with, such as Bert; None where none is named."""
        named = self.fields.get("tokenizer_class")
        return str(named).removesuffix("Fast").removesuffix("Tokenizer") if named else None

    def put_upon(self, inner: Tokenizer, model_type: str) -> None:
        """Change a tokenizer.json's tokenizer as transformers does where tokenizer_config.json says other things.

        There a class with settings of its own goes by them, and by their defaults, whatever tokenizer.json says. A
        warning names each that makes a difference; of a unigram model one that is not followed.
        """
        kind = self.kind or CLASS_OF.get(model_type)
        if model_type == "modernbert" or kind is None:
            return
        if kind in WORDPIECE and isinstance(inner.normalizer, normalizers.BertNormalizer):
            folding = inner.normalizer
            for name, (attribute, default) in FOLDING.items():
                self._put(folding, name, attribute, default)
            inner.normalizer = folding
        elif kind in BYTE_PAIRS and isinstance(inner.pre_tokenizer, pre_tokenizers.ByteLevel):
            letters = inner.pre_tokenizer
            self._put(letters, "add_prefix_space", "add_prefix_space", default=False)
            inner.pre_tokenizer = letters
        does = {
            "do_lower_case": '"Lowercase"' in _written(inner.normalizer),
            "add_prefix_space": '"never"' not in _written(inner.pre_tokenizer),
        }
        for name, kinds in UNIGRAM.items():
            value = self.fields.get(name)
            if kind in kinds and type(value) is bool and value != does[name]:
                warn(
                    f"{self.file} sets {name} to {value} and tokenizer.json does otherwise; sijo goes by "
                    "tokenizer.json, and transformers by the other. Mend the one that is wrong"
                )

    def _put(self, part: Any, name: str, attribute: str, default: bool | None) -> None:
        """Give a part of a tokenizer the value of a setting; the default only where a class is named."""
        now = getattr(part, attribute)
        value = self.fields.get(name, default if self.kind else now)
        if value is now or not (isinstance(value, bool) or (value is None and default is None)):
            return
        setattr(part, attribute, value)
        says = f"sets {name} to {value}" if name in self.fields else f"leaves {name} at {value}"
        warn(
            f"{self.file} {says} and tokenizer.json says {now}; texts are cut as transformers cuts them, by the "
            "first. Mend the one that is wrong"
        )

    def name(self, role: str) -> str | None:
        """The text of a special token, such as "[MASK]" for `mask_token`."""
        value = self.fields.get(role)
        value = value.get("content") if isinstance(value, dict) else value
        return value if isinstance(value, str) and value else None


def _written(part: Any) -> str:
    """A part of a tokenizer as in tokenizer.json."""
    return "" if part is None else json.dumps(json.loads(part.__getstate__()))


def read_fields(file: FolderFile) -> dict[str, Any]:
    """The fields of a strict JSON object; CheckpointError when it is damaged or something else."""
    with intact(file):
        return bounds.json_object(file.read_bytes(bounds.LARGEST))


def read_lines(file: FolderFile) -> list[str]:
    """The lines of a file, as "\\n" and "\\r\\n" end them and no other character does."""
    content = file.read_bytes(bounds.LARGEST)
    if content.count(b"\n") > bounds.MOST_TOKENS:
        raise bounds.BeyondBoundsError(f"has more than {bounds.MOST_TOKENS:,} lines")
    return content.decode().replace("\r\n", "\n").removesuffix("\n").split("\n")
