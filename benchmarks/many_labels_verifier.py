"""A small cross-encoder for many_labels.py: entailment of labels, taught here in a quarter of an hour a part.

    python benchmarks/many_labels_verifier.py SETS OUT [--start FOLDER] [--requests]

No package carries a cross-encoder that is trained on entailment, so one is made: all-MiniLM-L6-v2 cut off after
four layers, with a head of two columns, on pairs as Laurer et al. 2023 (arXiv:2312.17543) make them: a text of a
labelled set with the sentence of its own label (entailment) and with that of another label of the set
(not_entailment); beside them pairs of SNLI, whose neutral and contradiction count as not_entailment.

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

from finetuning import Rows, run, snli

import data
import sijo
from sijo.checkpoints.load import create
from sijo.checkpoints.locate import locate
from sijo.jobs.finetune_settings import default_settings
from sijo.jobs.student import init_from_teacher
from sijo.zeroshot.scorers.entailment import EntailmentScorer

ENGLISH = (
    *("topics.en by topic", "domains by topic", "branches by topic", "things by kind", "feelings by feeling"),
    *("uses by use", "fields by field", "works by work", "games by game", "intents.en by intent"),
    *("emotions.en by emotion", "opinions.en by opinion", "tweets by opinion"),
)
"""The sets that teach the first."""
LAYERS = 4
MOST_ROWS = 2_500
"""Of a set."""


def label_pairs(
    folder: Path, names: tuple[str, ...], most: int, chance: random.Random
) -> Iterator[tuple[str, str, str]]:
    """Texts with the sentence of their label, and each with that of another label of its set."""
    with (folder / "mixture.toml").open("rb") as file:
        mixture = {one["name"]: one for one in tomllib.load(file)["sets"]}
    for name in names:
        named = mixture[name]
        with (folder / named["file"]).open(encoding="utf-8", newline="") as lines:
            rows = [row for row in csv.DictReader(lines) if row[named["label"]] in named["names"]]
        spoken = {label: [word for word in words if word.isascii()] for label, words in named["names"].items()}
        for row in data.sample(rows, most, 0):
            own = row[named["label"]]
            other = chance.choice([label for label in spoken if label != own])
            for label, says in ((own, "entailment"), (other, "not_entailment")):
                yield row[named["text"]][:400], EntailmentScorer.template.format(chance.choice(spoken[label])), says


def main() -> None:
    """Write pairs, and fine-tune on them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path("~/.cache/sijo-benchmarks")
    parser.add_argument("sets", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=cache, help=f"folder for the packages of text ({cache})")
    parser.add_argument("--start", type=Path, help="a folder to go on from; MiniLM cut off by default")
    parser.add_argument("--requests", action="store_true", help="CLINC150's training part alone")
    parser.add_argument("--snli", type=int, default=12_000, help="pairs of SNLI beside the sets (12,000)")
    parser.add_argument("--minutes", type=float, default=13, help="of training (13)")
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
        start = args.start
        if start is None:
            teacher = sijo.load(locate("all-minilm-l6-v2"))
            cut = create(replace(teacher.architecture, schedule=tuple(range(LAYERS))), tokenizer=teacher.tokenizer)
            init_from_teacher(cut, teacher, range(LAYERS))
            start = sijo.save(cut, Path(place) / "start")
        files = [
            data.write_csv(Path(place) / name, ("sentence1", "sentence2", "label"), part)
            for name, part in (("train.csv", rows[500:]), ("test.csv", rows[:500]))
        ]
        settings = default_settings("classification", str(start))
        settings = replace(
            settings,
            run=replace(settings.run, epochs=None, max_time=60 * args.minutes),
            cutting=replace(settings.cutting, length=96),
            every=None,
        )
        print(json.dumps(run(settings, *files, args.out), default=str))


if __name__ == "__main__":
    main()
