"""A small cross-encoder for many_labels.py: entailment of labels, taught here in a quarter of an hour of one core.

    python benchmarks/many_labels_verifier.py SETS OUT [--start FOLDER] [--requests]

No package carries a cross-encoder that is trained on entailment, so one is made: all-MiniLM-L6-v2 with a head of
two columns, on pairs as Laurer et al. 2023 (arXiv:2312.17543) make them: a text of a labelled set with the sentence
of its own label (entailment), and with two others of its set (not_entailment), one of them drawn from the five
whose names lie nearest to its own; beside them pairs of SNLI, whose neutral and contradiction count as
not_entailment.

SETS   the folder of teaching sets that `model/make.py` writes, for their English rows: topics, branches, things,
       feelings, uses, fields, works, games, intents, emotions and opinions. Those whose labels judge in
       zero_shot_sets.py (requests, nouns, packages) are left out
--requests  learn from CLINC150's training part alone instead, by intent: a verifier that knows the labels it is
       asked for, as the one a person would verify with does. Begin it from the first by --start

The rows it judges never taught it. What it is worth stands in docs/many-labels.md.
"""

import argparse
import csv
import json
import random
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from finetuning import Rows, run, snli
from many_labels_scores import labeller_of

import data
from sijo.jobs.finetune_settings import default_settings
from sijo.zeroshot.scorers.entailment import EntailmentScorer

ENGLISH = (
    *("topics.en by topic", "domains by topic", "branches by topic", "things by kind", "feelings by feeling"),
    *("uses by use", "fields by field", "works by work", "games by game", "intents.en by intent"),
    *("emotions.en by emotion", "opinions.en by opinion", "tweets by opinion"),
)
"""The sets that teach the first."""
MOST_ROWS = 2_500
"""Of a set."""
FEW_ROWS = 1_000
"""A smaller set is gone through again, with other labels beside its texts, up to four times."""
MOST_LETTERS = 200
"""Of a text."""
NEAREST = 5
"""Labels of which one that does not fit is drawn, by the names' vectors."""


def label_pairs(
    folder: Path, names: tuple[str, ...], most: int, chance: random.Random
) -> Iterator[tuple[str, str, str]]:
    """Texts with the sentence of their label, and each with those of two other labels of its set."""
    with (folder / "mixture.toml").open("rb") as file:
        mixture = {one["name"]: one for one in tomllib.load(file)["sets"]}
    for name in names:
        named = mixture[name]
        with (folder / named["file"]).open(encoding="utf-8", newline="") as lines:
            rows = [row for row in csv.DictReader(lines) if row[named["label"]] in named["names"]]
        rows = data.sample(rows, most, 0)
        texts = [row[named["text"]][:MOST_LETTERS] for row in rows]
        spoken = {label: [word for word in words if word.isascii()] for label, words in named["names"].items()}
        labels = list(spoken)
        words = {label: names[0] for label, names in spoken.items()}
        scored = labeller_of("all-minilm-l6-v2", words).scored(list(words.values()))
        order = np.concatenate([(-scores).argsort(1) for scores, _ in scored])
        near = {
            own: [labels[place] for place in places if labels[place] != own][:NEAREST]
            for own, places in zip(labels, order, strict=True)
        }
        for _ in range(min(4, -(-FEW_ROWS // len(rows)))):
            for text, row in zip(texts, rows, strict=True):
                own = row[named["label"]]
                hard = chance.choice(near[own])
                other = chance.choice([label for label in labels if label not in (own, hard)] or [hard])
                for label, says in ((own, "entailment"), (hard, "not_entailment"), (other, "not_entailment")):
                    yield text, EntailmentScorer.template.format(chance.choice(spoken[label])), says


def main() -> None:
    """Write pairs, and fine-tune on them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path("~/.cache/sijo-benchmarks")
    parser.add_argument("sets", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=cache, help=f"folder for the packages of text ({cache})")
    parser.add_argument("--start", default="all-minilm-l6-v2", help="what to go on from (all-minilm-l6-v2)")
    parser.add_argument("--requests", action="store_true", help="CLINC150's training part alone")
    parser.add_argument("--snli", type=int, default=8_000, help="pairs of SNLI beside the sets (8,000)")
    parser.add_argument("--steps", type=int, default=800, help="of 32 pairs (800)")
    args = parser.parse_args()
    chance = random.Random(0)
    rows: Rows
    if args.requests:
        rows = list(label_pairs(args.sets, ("requests by intent",), 20_000, chance))
    else:
        more = [
            (premise, hypothesis, "entailment" if says == "entailment" else "not_entailment")
            for premise, hypothesis, says in data.sample(snli(args.data)[0], args.snli, 0)
        ]
        rows = [*label_pairs(args.sets, ENGLISH, MOST_ROWS, chance), *more]
    chance.shuffle(rows)
    data.say(f"{len(rows):,} pairs")
    with TemporaryDirectory() as place:
        files = [
            data.write_csv(Path(place) / name, ("sentence1", "sentence2", "label"), part)
            for name, part in (("train.csv", rows[500:]), ("test.csv", rows[:500]))
        ]
        settings = default_settings("classification", str(args.start))
        settings = replace(
            settings,
            run=replace(settings.run, epochs=None, steps=args.steps, save_every=200),
            cutting=replace(settings.cutting, length=64),
            every=None,
        )
        print(json.dumps(run(settings, *files, args.out), default=str))


if __name__ == "__main__":
    main()
