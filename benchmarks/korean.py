"""Whether labels in Korean want a template in Korean: an encoder that reads Korean, under English and Korean
templates.

    python benchmarks/korean.py --lists FOLDER --reviews reviews.tsv.xz [--model FOLDER]

  sections   Debian's Korean package descriptions, of twelve sections that people use, named in Korean and in
             English. FOLDER holds apt's lists with Acquire::Languages { "ko"; }
  reviews    Korean film reviews (NSMC), rating 1 or 2 against 9 or 10, as many of each

Templates are told apart on the half of the texts whose digest is even, and the best of each language is then
measured on the other half. Accuracy with Wilson's 95 % interval, and McNemar's exact test of the best Korean
template against the English default on the other half. The model is multilingual-e5-small unless told
(multilingual_e5.py).
"""

import csv
import hashlib
import lzma
import random
import subprocess
from pathlib import Path

import numpy as np
from multilingual_e5 import folder_of
from scipy.stats import binomtest

import data
from sijo.evaluation.intervals import share_interval
from sijo.inference.outputs import unit
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.templates import Template

SECTIONS = {
    "games": "게임",
    "sound": "음악과 소리",
    "graphics": "그래픽",
    "science": "과학",
    "mail": "전자우편",
    "web": "웹",
    "editors": "편집기",
    "math": "수학",
    "education": "교육",
    "database": "데이터베이스",
    "electronics": "전자공학",
    "fonts": "글꼴",
}
FEELINGS = {"negative": "부정", "positive": "긍정"}
ENGLISH = ("This is about {}.", "{}", "This text is about {}.", "This example is {}.")
KOREAN = (
    "이것은 {}에 관한 것이다.",
    "이 글은 {}에 관한 것이다.",
    "이 글은 {}{을/를} 다룬다.",
    "이 글의 주제는 {}{이다/다}.",
    "{}에 대한 글입니다.",
    "{}에 관한 글",
    "이것은 {}{이다/다}.",
)


def sections(lists: Path) -> tuple[list[str], list[str]]:
    """Korean descriptions and their sections, each text once."""

    def index(pattern: str) -> list[dict[str, str]]:
        entries = []
        for file in sorted(lists.glob(pattern)):
            command = ["/usr/lib/apt/apt-helper", "cat-file", str(file)]
            text = subprocess.run(command, check=True, capture_output=True).stdout.decode()
            for block in text.split("\n\n"):
                fields, name = dict[str, str](), ""
                for line in block.split("\n"):
                    if line[:1] == " ":
                        fields[name] += f"\n{line[1:]}"
                    elif ": " in line:
                        name, _, fields[name] = line.partition(": ")
                entries.append(fields)
        return entries

    section_of = {entry.get("Package"): entry.get("Section") for entry in index("*binary-amd64_Packages*")}
    texts: dict[str, str] = {}
    for entry in index("*Translation-ko*"):
        section = section_of.get(entry.get("Package"))
        words = entry.get("Description-ko", "").replace("\n.\n", "\n").replace("\n", " ").strip()
        if section in SECTIONS and any("가" <= letter <= "힣" for letter in words):
            texts.setdefault(words, section)
    return list(texts), list(texts.values())


def reviews(file: Path, each: int, seed: int) -> tuple[list[str], list[str]]:
    """As many reviews of each feeling."""
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    kinds: dict[str, dict[str, None]] = {"negative": {}, "positive": {}}
    for row in rows:
        rating = int(row["rating"])
        if rating <= 2 or rating >= 9:
            kinds["positive" if rating >= 9 else "negative"].setdefault(row["text"])
    chosen = [(text, kind) for kind, texts in kinds.items() for text in data.sample(list(texts), each, seed)]
    random.Random(seed).shuffle(chosen)
    return [text for text, _ in chosen], [kind for _, kind in chosen]


def main() -> None:
    """Measure every template under names in both languages, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("--lists", type=Path, required=True, help="apt's lists, with Translation-ko")
    parser.add_argument("--reviews", type=Path, required=True, help="reviews.tsv.xz of NSMC")
    parser.add_argument("--model", type=Path, help="a sentence encoder that reads Korean (multilingual-e5-small)")
    parser.add_argument("--texts", type=int, help="so many of each set, drawn at random (all; 3,000 reviews)")
    args = parser.parse_args()
    scorer = open_scorer("embedding", args.model or folder_of(args.data.expanduser()))
    sets = {
        "sections": (*sections(args.lists), SECTIONS),
        "reviews": (*reviews(args.reviews, 1_500, args.seed), FEELINGS),
    }
    figures: dict[str, object] = {}
    for name, (every, gold, names) in sets.items():
        places = data.sample(range(len(every)), args.texts, args.seed)
        texts, right = [every[i] for i in places], np.array([list(names).index(gold[i]) for i in places])
        first = np.array([hashlib.sha256(text.encode()).digest()[0] % 2 == 0 for text in texts])
        hits_of: dict[tuple[str, str], np.ndarray] = {}
        read = unit(scorer.engine.encode(texts).vectors)
        for language, own in (("English names", list(names)), ("Korean names", list(names.values()))):
            for template in (*ENGLISH, *KOREAN):
                named = unit(scorer.engine.encode([Template(template).fill(label) for label in own]).vectors)
                hits_of[language, template] = (read @ named.T).argmax(-1) == right
        rows = {}
        for (language, template), hits in hits_of.items():
            chosen, tested = hits[first], hits[~first]
            rows[f"{language}: {template}"] = {"chosen_on": float(chosen.mean()), "tested_on": float(tested.mean())}
            data.say(
                f"{name} {language} {template!r}: {chosen.mean():.3f} (n={len(chosen)}), "
                f"{share_interval(int(tested.sum()), len(tested))} (n={len(tested)})"
            )
        best = max(KOREAN, key=lambda template: hits_of["Korean names", template][first].mean())
        ours, default = hits_of["Korean names", best][~first], hits_of["Korean names", ENGLISH[0]][~first]
        won, lost = int((ours & ~default).sum()), int((~ours & default).sum())
        p = binomtest(won, won + lost).pvalue if won + lost else 1.0
        data.say(f"{name}: {best!r} against the default: {won} won, {lost} lost, p = {p:.2g}")
        figures[name] = {"templates": rows, "best": best, "won": won, "lost": lost, "p": p}
    data.report(args, {name: len(texts) for name, (texts, _, _) in sets.items()}, figures)


if __name__ == "__main__":
    main()
