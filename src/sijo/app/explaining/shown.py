"""What is told of each explained row: columns for programs, marked words for people, and a page."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.containers import Lines
from rich.text import Text

from sijo.app.numbers import signed
from sijo.files.atomic import whole_file
from sijo.texts import printable, shortened

if TYPE_CHECKING:
    import pyarrow as pa

    from sijo.app.report.explanations import ShownRow
    from sijo.files.tables import RowBlock
    from sijo.zeroshot.explaining.evidence import Explanation
    from sijo.zeroshot.labeller import LabelPrediction

ROWS = 64
"""Of a block: each takes as many readings as it has words."""
NAMED = 3
"""Words that a line of the printed table names with their effects."""
LEAST_SHARE, STRONG_SHARE = 0.1, 0.5
"""Of the largest effect in a text: from which on words are marked, and marked as strong."""
STYLES = {"for": "green", "against": "red"}
SHOWN = 500
"""Rows of a page, at most."""
LONGEST_RUN = 80
"""Characters of a run of several words in a column, which places tell anyway: a cell of .xlsx holds 32,767."""
UNBROKEN = "\ue000"
"""Stands for a space that ends no line: for private use, so in no text."""
DECIMALS = 4
"""Of effects, in columns."""


def explanation_columns(rows: "Sequence[LabelPrediction]") -> "dict[str, pa.Array]":
    """The columns that are added to some explained rows; null for a row without words."""
    import pyarrow as pa

    from sijo.zeroshot.explaining.evidence import Explanation

    explained = [row for row in rows if isinstance(row, Explanation)]
    word = {"word": pa.string(), "start": pa.int64(), "end": pa.int64(), "effects": pa.list_(pa.float64())}
    kind = pa.struct({"labels": pa.list_(pa.string()), "words": pa.list_(pa.struct(word)), "variants": pa.int64()})
    return {
        "why": pa.array([row.why for row in explained], pa.list_(pa.string())),
        "explanation": pa.array([_record(row) for row in explained], kind),
    }


def _record(row: "Explanation") -> dict[str, Any] | None:
    if not row.evidence:
        return None
    effects = zip(*(evidence.effects for evidence in row.evidence), strict=True)
    words = [
        {
            "word": part.text if part.words == 1 else shortened(part.text, LONGEST_RUN),
            "start": part.start,
            "end": part.end,
            "effects": [round(x, DECIMALS) for x in own],
        }
        for part, own in zip(row.parts, effects, strict=True)
    ]
    return {"labels": [one.label for one in row.evidence], "words": words, "variants": row.variants}


def counted(rows: "Sequence[LabelPrediction]") -> Counter[str]:
    """What the summary tells of explained rows."""
    from sijo.zeroshot.explaining.evidence import Explanation

    explained = [row for row in rows if isinstance(row, Explanation)]
    return Counter(
        variants=sum(row.variants for row in explained),
        in_runs=sum(not row.whole_words for row in explained),
        wordless=sum(not row.evidence for row in explained),
    )


def notes(counts: Counter[str]) -> Iterator[str]:
    """What a person should know of what was explained."""
    if counts["variants"]:
        yield f"texts read, with words left out: {counts['variants']:,}"
    if counts["in_runs"]:
        yield (
            "rows of too many words for each to be left out (--explain-limit), told by sentences or runs of words: "
            f"{counts['in_runs']:,}"
        )
    if counts["wordless"]:
        yield f"rows without words to explain: {counts['wordless']:,}"


def marked_text(row: "LabelPrediction", text: str) -> Text:
    """A text whose words are marked: green and bold for the label, red and in italics against it; underlined, if
    strong."""
    from sijo.zeroshot.explaining.evidence import Explanation

    shown, end = Text(), 0
    if isinstance(row, Explanation) and row.evidence:
        for part, strength in zip(row.parts, row.evidence[0].strengths, strict=True):
            if abs(strength) < LEAST_SHARE:
                continue
            shown.append(printable(text[end : part.start]))
            end = part.end
            style = f"bold {STYLES['for']}" if strength > 0 else f"italic {STYLES['against']}"
            shown.append(printable(part.text), f"{style} underline" if abs(strength) >= STRONG_SHARE else style)
    shown.append(printable(text[end:]))
    return shown


def named_words(row: "LabelPrediction", labels: int) -> Text:
    """The words that changed most, with what they added to a label's log-odds.

    labels  of how many of the best: a line for each, which begins with its name where there are several
    """
    from sijo.zeroshot.explaining.evidence import Explanation

    if not isinstance(row, Explanation):
        return Text("–")
    lines = []
    for evidence in row.evidence[:labels]:
        shown = Text(f"{printable(shortened(evidence.label))}: " if labels > 1 else "")
        for number, (part, effect) in enumerate(row.strongest(NAMED, evidence)):
            shown.append(", " if number else "")
            shown.append(printable(shortened(part.text)), STYLES["for" if effect > 0 else "against"])
            shown.append(f"{UNBROKEN}{signed(effect)}")
        lines.append(shown)
    return UnbrokenText().append_text(Text("\n").join(lines)) if any(lines) else Text("–")


class UnbrokenText(Text):
    """Words that stay on one line where `UNBROKEN` is between them, which is shown as a space."""

    def wrap(self, *arguments: Any, **options: Any) -> Lines:
        """The lines, which Rich would end at a no-break space too."""
        lines = super().wrap(*arguments, **options)
        for line in lines:
            line.plain = line.plain.replace(UNBROKEN, " ")
        return lines


@dataclass
class ExplainedRows:
    """The first explained rows of a run, for its page; and how many there were."""

    shown: "list[ShownRow]" = field(default_factory=list)
    """With what the page tells of each, and no more."""
    total: int = 0

    def watching(
        self, answered: "Callable[[Iterable[RowBlock]], Iterator[tuple[RowBlock, list[LabelPrediction]]]]"
    ) -> "Callable[[Iterable[RowBlock]], Iterator[tuple[RowBlock, list[LabelPrediction]]]]":
        """What gives blocks their answers, and keeps those that are shown."""
        from sijo.app.report.explanations import shown_row
        from sijo.zeroshot.explaining.evidence import Explanation

        def watched(blocks: "Iterable[RowBlock]") -> "Iterator[tuple[RowBlock, list[LabelPrediction]]]":
            for block, rows in answered(blocks):
                for number, row in enumerate(rows[: max(0, SHOWN - len(self.shown))], block.first_row + 1):
                    assert isinstance(row, Explanation)
                    self.shown.append(shown_row(number, row))  # which is short, however long its text is
                self.total += len(rows)
                yield block, rows

        return watched

    def write(self, out: Path, title: str, scorer: str, say: Callable[[str], None]) -> None:
        """Write the page, whole or not at all, and say where it is.

        scorer  what labelled the rows
        """
        from sijo.app.report.explanations import explanations_page

        page = explanations_page(self.shown, self.total, title, scorer)
        with whole_file(out) as file:
            file.write(page.encode("utf-8", "replace"))
        say(f"explanations: {out}")
