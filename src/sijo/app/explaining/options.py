"""Whether `sijo classify` explains, how thoroughly, and where that goes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import Parameter

from sijo.errors import SettingError

if TYPE_CHECKING:
    from sijo.zeroshot.explaining.evidence import Explanation
    from sijo.zeroshot.labeller import Labeller


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """Whether rows are explained, and where that is shown."""

    explain: bool = False
    """Tell which words carried each decision: adds why, those that spoke for the label, and explanation, what each
    word added to each of the best labels. A row is then read once more for each of its words."""
    explain_limit: int = 128
    """With --explain: readings of a row, at most. Of a row of more words, sentences are left out, then the words of
    those that matter."""
    explain_report: Path | None = None
    """An .html to write, with the words of up to 500 rows marked, label by label; explains unasked."""

    @property
    def explains(self) -> bool:
        """Whether rows are explained."""
        return self.explain or self.explain_report is not None

    def check_explaining(self, *, resume: bool) -> None:
        """Raise SettingError for a limit or a page that cannot be, before a model is opened."""
        from sijo.zeroshot.explaining.occlusion import check_limit

        check_limit(self.explain_limit)
        out = self.explain_report
        if out is None:
            return
        if out.suffix.lower() not in (".html", ".htm"):
            raise SettingError(f"--explain-report {out} must end in .html, for that is what is written")
        if not out.parent.is_dir():
            raise SettingError(f"--explain-report {out} cannot be written: there is no folder {out.parent}")
        if resume:
            raise SettingError(
                "--explain-report shows the rows of one run from its start, and --resume leaves out those that are "
                "done; leave one of them out"
            )

    def explained(
        self, labeller: "Labeller", texts: Sequence[str], labels: Iterable[Any] | None, top_k: int | None
    ) -> "list[Explanation]":
        """The answers for some texts, and why."""
        from sijo.zeroshot.explaining.occlusion import TOP_K, explain

        return list(explain(labeller, texts, labels, top_k=top_k or TOP_K, limit=self.explain_limit))
