"""What a sixth label costs when 2,225 articles have been labelled under five.

`sijo classify --cache FOLDER` keeps the vectors of texts, so labels that change later cost only
themselves. The BBC News articles, as a CSV file, are labelled with an empty cache under business,
entertainment, politics, sport and technology, then again with health added:

  command          wall seconds of the two whole processes: start, imports, model, reading, writing
  in_process       the same two jobs by ZeroShotClassifier in this process, the model loaded already

The second command's answers, all six probabilities, are then compared with those of a run without a
cache on some of the articles: the same labels, and probabilities within 1e-6, or the run fails.
"""

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import data
import sijo

BEFORE = tuple(data.NEWS.values())
AFTER = (*BEFORE, "health")
MODEL = "all-minilm-l6-v2"
CLOSE = 1e-6


def classify(source: Path, labels: Sequence[str], *extra: str | Path) -> Path:
    """Run the command `sijo classify` on a file, to another beside it with every label's probability."""
    output = source.with_suffix(".jsonl")
    command = ["classify", source, "--model", MODEL, "--labels", ",".join(labels), "--all-scores", "--quiet"]
    subprocess.run([*data.SIJO, *command, "-o", output, "--overwrite", *extra], check=True)
    return output


def answers(output: Path) -> list[tuple[str, dict[str, float]]]:
    """Each row's label, and the probabilities of all labels."""
    with output.open(encoding="utf-8") as lines:
        return [(row["label"], row["label_scores"]) for row in map(json.loads, lines)]


def timed(job: Callable[[Sequence[str], Path], object], cache: Path) -> tuple[float, float]:
    """Wall seconds of a job on a new cache: under the labels before, then under those after."""
    seconds = []
    for labels in (BEFORE, AFTER):
        started = time.perf_counter()
        job(labels, cache)
        seconds.append(time.perf_counter() - started)
    return seconds[0], seconds[1]


def summary(name: str, pairs: Sequence[tuple[float, float]]) -> dict[str, object]:
    """The seconds of both jobs in each repeat, and the second's share of the first."""
    firsts, seconds = map(list, zip(*pairs, strict=True))
    shares = [second / first for first, second in pairs]
    data.say(
        f"{name}: first {statistics.median(firsts):.1f} s, second {statistics.median(seconds):.1f} s, "
        f"share {statistics.median(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})"
    )
    return {
        "first_seconds": firsts,
        "second_seconds": seconds,
        "share": statistics.median(shares),
        "share_least_and_most": [min(shares), max(shares)],
    }


def main() -> None:
    """Time both ways, compare the answers, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("--articles", type=int, help="so many articles, drawn at random (all)")
    parser.add_argument("--sample", type=int, default=200, help="articles labelled again without a cache (200)")
    parser.add_argument("--repeats", type=int, default=3, help="times each pair is timed, on a new cache (3)")
    args = parser.parse_args()
    texts = data.sample(data.bbc(args.data)[0], args.articles, args.seed)
    places = data.sample(range(len(texts)), args.sample, args.seed)
    model = sijo.load(MODEL)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = data.write_csv(folder / "articles.csv", ["text"], zip(texts))

        def command(labels: Sequence[str], cache: Path) -> None:
            classify(source, labels, "--cache", cache)

        def in_process(labels: Sequence[str], cache: Path) -> None:
            sijo.ZeroShotClassifier(labels, model, cache=cache).classify(texts)

        pairs: dict[str, list[tuple[float, float]]] = {"command": [], "in_process": []}
        for number in range(args.repeats):
            pairs["command"].append(timed(command, folder / f"command-{number}"))
            pairs["in_process"].append(timed(in_process, folder / f"in-process-{number}"))
            data.say(f"{number + 1} of {args.repeats} pairs done")
        cache_bytes = sum(file.stat().st_size for file in (folder / "command-0").iterdir())
        cached = answers(source.with_suffix(".jsonl"))  # of the last command, so under six labels
        sample = data.write_csv(folder / "sample.csv", ["text"], [[texts[i]] for i in places])
        fresh = answers(classify(sample, AFTER))

    both = [(cached[i], row) for i, row in zip(places, fresh, strict=True)]
    same = all(theirs[0] == ours[0] for theirs, ours in both)
    apart = max(abs(theirs[1][label] - ours[1][label]) for theirs, ours in both for label in AFTER)
    data.say(f"with and without the cache, {len(places)} articles differ by at most {apart:.1e}")
    if not same or apart > CLOSE:
        raise SystemExit(f"the cache changed a label, or a probability by more than {CLOSE}")
    data.report(
        args,
        {"articles": len(texts), "characters": sum(map(len, texts)), "cache_bytes": cache_bytes},
        {
            **{way: summary(way, taken) for way, taken in pairs.items()},
            "compared": {"articles": len(places), "largest_difference": apart, "same_labels": same},
        },
    )


if __name__ == "__main__":
    main()
