"""How much more memory `sijo classify` takes for a long table than for a short one.

Two CSV files, 5,000 and 100,000 rows of distinct short texts (5 to 20 words, put together from TREC
questions and the requests in examples/requests.csv), are each labelled by the command with all-MiniLM-L6-v2, to a
Parquet file and again to a pipe. What counts is the largest resident set of the child process (`os.wait4`, so
Linux or macOS), in MB of a million bytes, and how much it grows from the short table to the long one.
"""

import itertools
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import data

MODEL = "all-minilm-l6-v2"
LABELS = "travel,money,health,science,history,sport"
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of one ru_maxrss


def combined(sources: Sequence[str], seed: int) -> Iterator[str]:
    """Texts without end and without repeats: the first 5 to 20 words of sources in a row, drawn at random."""
    rng = random.Random(seed)
    seen = set()
    while True:
        count, words = rng.randint(5, 20), []
        while len(words) < count:
            words += rng.choice(sources).split()
        text = " ".join(words[:count])
        if text not in seen:
            seen.add(text)
            yield text


def peak(source: Path, *extra: str | Path) -> tuple[float, float, int]:
    """Largest resident set in MB of one `sijo classify`, its wall seconds, and the lines it printed."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [*data.SIJO, "classify", source, "--model", MODEL, "--labels", LABELS, "--quiet", *extra],
        stdout=subprocess.PIPE,
    )
    with process.stdout:
        lines = sum(1 for _ in process.stdout)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"sijo classify left with {process.returncode}")
    return usage.ru_maxrss * UNIT / 1e6, time.perf_counter() - started, lines


def main() -> None:
    """Run the command on both tables in both ways, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument(
        "--rows",
        type=int,
        nargs=2,
        default=[5_000, 100_000],
        metavar=("FEW", "MANY"),
        help="rows of the two tables (5000 100000)",
    )
    parser.add_argument("--repeats", type=int, default=3, help="times each is run; medians count (3)")
    args = parser.parse_args()
    sources = [*data.trec(args.data)[0], *data.requests()]

    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rows in args.rows:
            texts = itertools.islice(combined(sources, args.seed), rows)
            data.write_csv(folder / f"{rows}.csv", ["text"], zip(texts))
        for way in ("parquet", "pipe"):
            peaks: dict[int, list[float]] = {rows: [] for rows in args.rows}
            taken: dict[int, list[float]] = {rows: [] for rows in args.rows}
            for _, rows in itertools.product(range(args.repeats), args.rows):
                extra = () if way == "pipe" else ("-o", folder / "labelled.parquet", "--overwrite")
                megabytes, seconds, lines = peak(folder / f"{rows}.csv", *extra)
                assert lines == (rows if way == "pipe" else 0), f"{lines} lines printed for {rows} rows"
                peaks[rows].append(megabytes)
                taken[rows].append(seconds)
                data.say(f"{way}, {rows:,} rows: {megabytes:,.0f} MB, {seconds:.1f} s")
            few, many = (statistics.median(peaks[rows]) for rows in args.rows)
            data.say(f"{way}: {few:,.0f} MB, then {many:,.0f} MB: {many - few:+,.0f} MB")
            figures[way] = {
                "peak_mb": {str(rows): peaks[rows] for rows in args.rows},
                "growth_mb": many - few,
                "seconds": {str(rows): taken[rows] for rows in args.rows},
            }
    words = [len(text.split()) for text in itertools.islice(combined(sources, args.seed), max(args.rows))]
    data.report(args, {"rows": args.rows, "words_mean": statistics.mean(words)}, figures)


if __name__ == "__main__":
    main()
