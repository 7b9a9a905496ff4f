"""What labels cost by vectors: a thousand in place of ten, and one more on texts that were labelled before.

    python benchmarks/label_cost.py CLINC150_FOLDER [--texts 10000]

The texts are CLINC150's requests, the labels its 150 intents and words of its requests. Works take turns:

  ten, thousand   every text under 10 and under 1,000 labels, from nothing
  store           the same 10 labels with a store that is filled in the first round; then one label more

Printed: seconds of each, thousand over ten, and one label more over ten from nothing, with intervals.
"""

import re
import sys
import tempfile
from pathlib import Path

from measuring import in_turns, median_ratio

import data
import sijo


def main() -> None:
    """Time all, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("clinc", type=Path, help="the folder of train.csv.gz, val.csv.gz and test.csv.gz")
    parser.add_argument("--texts", type=int, default=10_000, help="how many (10,000)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (5)")
    args = parser.parse_args()
    rows = [row for part in ("train", "test") for row in data.clinc(args.clinc / f"{part}.csv.gz")]
    texts = data.sample(list(dict.fromkeys(row["text"] for row in rows)), args.texts, args.seed)
    intents = sorted({row["intent"].replace("_", " ") for row in rows})
    words = {word for text in texts for word in re.findall("[a-z]{4,}", text)}
    names = list(dict.fromkeys([*intents, *sorted(words)]))[:1_000]

    with tempfile.TemporaryDirectory() as place:
        model = "all-minilm-l6-v2"
        models = {count: sijo.ZeroShotClassifier(names[:count], model) for count in (10, len(names))}
        kept = sijo.ZeroShotClassifier(names[:10], model, cache=place)
        kept.predict(texts)
        added = iter(range(10, len(names)))

        def one_more() -> None:
            """The ten labels and one that no round has had."""
            kept.set_params(labels=[*names[:10], names[next(added)]])
            kept.predict(texts)

        works = {
            "ten": lambda: models[10].predict(texts),
            "thousand": lambda: models[len(names)].predict(texts),
            "one more": one_more,
        }
        wall, _ = in_turns(works, rounds=args.rounds, uncounted=1)
    figures: dict[str, object] = {name: seconds.tolist() for name, seconds in wall.items()}
    for name in ("thousand", "one more"):
        figures[f"{name} / ten"] = ratio = median_ratio(wall[name], wall["ten"], seed=args.seed)
        data.say(f"{name}: {ratio} times ten labels from nothing")
    data.report(args, {"texts": len(texts), "labels": len(names)}, figures)


if __name__ == "__main__":
    sys.exit(main())
