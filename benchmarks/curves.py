"""The loss curves of some runs in one picture, for a page.

    python benchmarks/curves.py RUN [RUN ...] --output docs/tiny.svg

One panel for each part of an objective, over the tokens that were read.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from sijo.files.json_lines import read_lines

PARTS = {
    "mlm": "masked tokens (mlm)",
    "sop": "sentence order (sop)",
    "rtd": "replaced tokens (rtd)",
    "clm": "next (clm)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    parser.add_argument("--output", type=Path, required=True, help="a .svg or .png")
    args = parser.parse_args()
    lines = {run.name: read_lines(run / "metrics.jsonl") for run in args.runs}
    mpl.rcParams["svg.hashsalt"] = "sijo"  # the same bytes for the same curves
    figure = Figure(figsize=(10, 2.9), layout="constrained")
    for axes, (part, name) in zip(figure.subplots(1, len(PARTS)), PARTS.items(), strict=True):
        for number, (run, points) in enumerate(lines.items()):
            seen = [point for point in points if part in point]
            if seen:
                tokens = [point["tokens"] / 1e6 for point in seen]
                axes.plot(tokens, [point[part] for point in seen], lw=0.9, color=f"C{number}", label=run)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("million tokens", fontsize=8)
        axes.tick_params(labelsize=7)
        if axes.lines:
            axes.legend(fontsize=6, frameon=False)
    figure.savefig(args.output, metadata={"Date": None} if args.output.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
