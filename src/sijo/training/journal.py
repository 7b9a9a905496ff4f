"""What a run records for people: metrics, timings, and what its networks predict for a text.

    metrics.jsonl   every `log_every` steps the means over them. The same bytes from a run that was killed and
                    resumed as from one that was not, so nothing stands in it that a clock decides
    timings.jsonl   at the same steps: seconds so far, tokens a second, share of the machine's matmul peak
    examples.jsonl  at each checkpoint one text: its targets, the predictions, the replaced tokens detected

Each is only added to, before the checkpoint of the step is written. A resumed run cuts them back to the step of the
checkpoint that it resumes from.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sijo.files.atomic import sync
from sijo.files.json_lines import RUN_FILES, JsonLinesFile
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.training.settings import Settings
from sijo.training.step import Step
from sijo.training.trackers import open_tracker


class Journal(ExitStack):
    """The lines that a run writes, until it is closed.

    folder     of the run
    settings   of the run
    tokenizer  for the tokens of examples
    step       of the checkpoint that the run resumes from, 0 at its start
    writes     False in all processes but the first: they write nothing

    Raises SettingError where the tracker that the settings name is not installed.
    """

    def __init__(
        self, folder: Path, settings: Settings, tokenizer: Tokenizer, *, step: int, writes: bool = True
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.writes = writes
        if not writes:
            return
        tracker = open_tracker(settings.run.tracker, folder, settings.to_json())
        self._track = self.enter_context(tracker)
        self._files = [self.enter_context(JsonLinesFile(folder / name, last_step=step)) for name in RUN_FILES]
        sync(folder)

    def add(self, step: Step) -> None:
        """Write the lines of a step; they are on the disk before a checkpoint of it is."""
        if not self.writes:
            return
        metrics, timings, examples = self._files
        if step.metrics is not None and step.timing is not None:
            metrics.write(step.metrics)
            timings.write(step.timing)
            if self._track is not None:
                self._track(step.number, {**step.metrics, **step.timing})
        if step.example is not None:
            examples.write({"step": step.number} | spelled(step.example, self.tokenizer))
        if step.checkpoint:
            for lines in self._files:
                lines.to_disk()


def spelled(example: Mapping[str, Any], tokenizer: Tokenizer) -> dict[str, Any]:
    """An example with the tokens of its ids."""
    return {
        name: [None if number is None else tokenizer.token(number) or "?" for number in value]
        if name in ("text", "truth", "guess")
        else value
        for name, value in example.items()
    }
