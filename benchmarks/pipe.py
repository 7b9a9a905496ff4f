"""Whether the memory of `sijo classify -` grows with the number of rows that come through a pipe.

200,000 distinct texts of 5 to 20 words, put together from examples/requests.csv, go into the command's standard
input, and its JSON lines are read from its standard output as they come. Once in half a second its resident set is
taken (`ps`, so Linux or macOS). What counts is how much higher the highest sample stands in the last tenth of the
rows than in the second: the first tenth holds the start, in which buffers take their sizes.
"""

import itertools
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator

import memory

import data

PARTS = 10


def resident(process: int) -> float:
    """The resident set of a process in MB of a million bytes."""
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True, check=True)
    return int(told.stdout) * 1024 / 1e6


def measured(texts: Iterator[str], model: str | None, labels: str) -> tuple[list[tuple[int, float]], float]:
    """Samples of (rows answered so far, MB), and the seconds that all rows took."""
    which = () if model is None else ("--model", model)
    process = subprocess.Popen(
        [*data.SIJO, "classify", "-", "--input-format", "text", *which, "--labels", labels, "--quiet"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    rows, ended, samples, stdin = itertools.count(), threading.Event(), list[tuple[int, float]](), process.stdin
    answered = 0

    def feed() -> None:
        with stdin:
            stdin.writelines(text + "\n" for text in texts)

    def sample() -> None:
        while not ended.wait(0.5):
            samples.append((answered, resident(process.pid)))

    started = time.perf_counter()
    threads = [threading.Thread(target=work, daemon=True) for work in (feed, sample)]
    for thread in threads:
        thread.start()
    for _ in process.stdout:
        answered = next(rows) + 1
        if answered % 20_000 == 0:
            data.say(f"{answered:,} rows, {resident(process.pid):,.0f} MB")
    ended.set()
    for thread in threads:
        thread.join()
    if process.wait():
        raise SystemExit(f"sijo classify left with {process.returncode}")
    return samples, time.perf_counter() - started


def main() -> None:
    """Send the rows through, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="rows (200000)")
    parser.add_argument("--model", help="a folder, or org/name; the built-in one by default")
    args = parser.parse_args()
    texts = itertools.islice(memory.combined(data.requests(), args.seed), args.rows)
    samples, seconds = measured(texts, args.model, memory.LABELS)
    parts = [[mb for rows, mb in samples if rows * PARTS // (args.rows + 1) == part] for part in range(PARTS)]
    highest = [max(part, default=0.0) for part in parts]
    growth = highest[-1] - highest[1]
    data.say(f"second tenth {highest[1]:,.0f} MB, last tenth {highest[-1]:,.0f} MB: {growth:+,.0f} MB")
    figures = {
        "growth_mb": growth,
        "highest_mb_by_tenth": highest,
        "median_mb": statistics.median(mb for _, mb in samples),
        "samples": len(samples),
        "seconds": seconds,
    }
    data.report(args, {"rows": args.rows, "model": args.model or "built-in"}, figures)


if __name__ == "__main__":
    main()
