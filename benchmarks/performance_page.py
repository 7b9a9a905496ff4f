"""`docs/performance.md` and its picture, of what performance.py measured."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

DOCS = Path(__file__).parents[1] / "docs"
PICTURE = "performance.svg"
KINDS = {"short": "300 short requests", "news": "60 news articles, cut at 256 tokens", "mixed": "both, mixed"}
Records = Mapping[str, Mapping[str, Any]]


def write_page(records: Records) -> None:
    """Write the page and the picture anew."""
    (DOCS / "performance.md").write_text("\n".join(_lines(records)) + "\n", encoding="utf-8")
    figure = _picture(records)
    figure.savefig(DOCS / PICTURE, metadata={"Date": None})


def times(figures: Mapping[str, Any]) -> str:
    """A ratio with its interval."""
    value, low, high = figures["ratio"]
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _lines(records: Records) -> Iterator[str]:
    yield "# Performance"
    yield ""
    yield "Written by `make bench`; do not edit it. Ratios are medians over rounds in which all take turns, with a"
    yield "95 % bootstrap interval over the rounds; more than 1 means that sijo is faster. Absolute speed is"
    yield "weather, the ratio is climate: `sijo bench` measures a machine of your own."
    yield ""
    abouts = {_about(record) for record in records.values()}
    yield from sorted(abouts)
    yield ""
    yield "## Texts to vectors, float32"
    yield ""
    yield from _table(
        ("texts", "sijo, texts/s", "sentence-transformers, texts/s", "at its best batch", "times"),
        [
            (
                words,
                *(f"{figures['texts_per_second'][who]:,.0f}" for who in ("sijo", "peer")),
                str(figures["peer_batch"]),
                times(figures),
            )
            for kind, words in KINDS.items()
            for figures in [records["vectors"]["figures"][kind]]
        ],
    )
    yield ""
    yield "## The network alone, float32"
    yield ""
    yield "all-MiniLM-L6-v2 (6 layers of width 384) reads token ids without padding, beside `transformers`."
    yield "The last column is held against a plain product of matrices in torch; matrices laid out anew pass it."
    yield ""
    yield from _table(
        ("inputs x tokens", "sijo, texts/s", "times", "of the products' speed"),
        [
            (f"{one['rows']} x {one['tokens']}", *_rates(one))
            for one in (*records["shapes"]["figures"]["length"], *records["shapes"]["figures"]["batch"])
        ],
    )
    yield ""
    yield from _table(
        ("network, drawn weights, 8 x 128 tokens", "sijo, texts/s", "times", "of the products' speed"),
        [(size, *_rates(one)) for size, one in records["sizes"]["figures"].items()],
    )
    yield ""
    yield "## Zero-shot with an entailment head, float32"
    yield ""
    yield "deberta-v3-xsmall's shape with drawn weights; 8 news texts of 350 characters; beside the pipeline of"
    yield "`transformers` with batches of 32."
    yield ""
    yield from _table(
        ("labels", "sijo, texts/s", "pipeline, texts/s", "times"),
        [
            (count, *(f"{one['texts_per_second'][who]:,.2f}" for who in ("sijo", "peer")), times(one))
            for count, one in records["labels"]["figures"].items()
        ],
    )
    yield ""
    yield f"![Texts a second by length, batch, size and number of labels]({PICTURE})"
    yield ""
    yield "## On a GPU"
    yield ""
    yield "Not run: no GPU was at hand. `python benchmarks/gpu.py --page` measures one in less than eight minutes."


def _rates(one: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{one['texts_per_second']['sijo']:,.1f}", times(one), f"{one['peak_share']:.0%}"


def _about(record: Mapping[str, Any]) -> str:
    """The machine, the versions and the rounds of a record."""
    machine, versions = record["machine"], record["versions"]
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    has = f" ({', '.join(machine['abilities'])})" if machine["abilities"] else ""
    cores = f"{machine['cores']} cores, {machine['threads']} threads"
    return f"{machine['processor']}{has}, {cores}, {machine['system']}; {record['rounds']} rounds; {named}."


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(headings) + " |"
    yield "| " + " | ".join("---" for _ in headings) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _picture(records: Records) -> Figure:
    """Four panels: by length, batch, size of the network and number of labels."""
    shapes, sizes = records["shapes"]["figures"], records["sizes"]["figures"]
    panels = (
        ("tokens of a text, 8 at a time", [one["tokens"] for one in shapes["length"]], shapes["length"]),
        ("texts at a time, of 32 tokens", [one["rows"] for one in shapes["batch"]], shapes["batch"]),
        (
            "million weights of the layers",
            [one["block_weights"] / 1e6 for one in sizes.values()],
            [*sizes.values()],
        ),
        (
            "labels, entailment head",
            [int(count) for count in records["labels"]["figures"]],
            [*records["labels"]["figures"].values()],
        ),
    )
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    for axes, (words, places, figures) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for who, colour, label in (("sijo", "tab:blue", "sijo"), ("peer", "0.55", "transformers")):
            rates = [one["texts_per_second"][who] for one in figures]
            axes.plot(places, rates, color=colour, marker="o", markersize=4, label=label)
        axes.set(xscale="log", yscale="log", xlabel=words, ylabel="texts a second")
        axes.set_xticks(places, [f"{place:,.3g}" for place in places])
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=9)
    return figure
