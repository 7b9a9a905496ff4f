"""What a run writes down for those who watch it: numbers, how fast they came, and what it makes of a text.

    metrics.jsonl   every `log_every` steps the means over them. The same bytes from a run that was killed and
                    resumed as from one that was not, so nothing stands in it that a clock decides
    timings.jsonl   at the same steps: seconds so far, tokens a second, share of the machine's matmul peak
    examples.jsonl  at each checkpoint one text: what was asked, what was guessed, what was spotted

Each is only added to. A checkpoint remembers how long they were, and a resumed run cuts them back to that.
"""

import importlib.util
import json
import os
import secrets
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self

from sijo.errors import SettingError, TextError
from sijo.files.atomic import sync
from sijo.files.json_files import parse_json

if TYPE_CHECKING:
    from sijo.objectives.joint import TrainingObjective
    from sijo.objectives.posed_batch import PosedBatch
    from sijo.tokenizers.tokenizer import Tokenizer
    from sijo.training.loop import Step
    from sijo.training.settings import Settings

Tracker = Literal["none", "tensorboard", "wandb", "trackio"]
FILES = ("metrics.jsonl", "timings.jsonl", "examples.jsonl")
LATELY = 20
"""Steps over which the present speed is taken."""


class Speed(NamedTuple):
    """How fast a run is."""

    tokens_per_second: float
    """Real tokens, over all processes."""
    matmul_share: float
    """Of what the processors would do if they multiplied matrices and nothing else, from 0 to 1."""


class Journal:
    """The diary of a run.

    folder     of the run
    settings   of the run
    tokenizer  what spells the tokens of examples
    writes     False in all processes but the first: they keep no diary

    Raises SettingError where the tracker that the settings name is not installed.
    """

    def __init__(self, folder: Path, settings: "Settings", tokenizer: "Tokenizer", *, writes: bool = True) -> None:
        self.folder = folder
        self.settings = settings
        self.tokenizer = tokenizer
        self.writes = writes
        self._tracker = open_tracker(settings.run.tracker, folder, settings.to_json()) if writes else None
        self._stack = ExitStack()
        self._files: dict[str, JsonLinesFile] = {}
        self._lately: deque[tuple[int, float]] = deque(maxlen=LATELY)

    def __enter__(self) -> Self:
        if self._tracker is not None:
            self._stack.callback(self._tracker.close)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def resume(self, saved: Mapping[str, Any] | None, objective: "TrainingObjective") -> None:
        """Begin; or go on from `saved`, which `flush` gave when a checkpoint was written."""
        if not self.writes:
            return
        import torch
        from torch import distributed

        from sijo.nn.heads import Network
        from sijo.training.cost import matmul_peak

        saved = saved or {"bytes": {}, "tokens": 0, "seconds": 0.0, "sums": {}}
        self._tokens, self._seconds, self._sums = saved["tokens"], saved["seconds"], dict(saved["sums"])
        for name in FILES:
            lines = JsonLinesFile(self.folder / name, keep_bytes=saved["bytes"].get(name, 0))
            self._files[name] = self._stack.enter_context(lines)
        sync(self.folder)
        self._asked = objective.asked
        self._networks = [part for part in objective.modules() if isinstance(part, Network)]
        dtype = torch.bfloat16 if self.settings.run.precision == "bfloat16" else torch.float32
        device = next(objective.parameters()).device.type
        processes = distributed.get_world_size() if distributed.is_initialized() else 1
        self._peak = processes * matmul_peak(torch.get_num_threads(), dtype, device)

    def add(self, step: "Step") -> None:
        """Take in a step, and write a line where one is due."""
        if not self.writes:
            return
        self._step = step.number
        self._tokens += step.tokens
        self._seconds += step.seconds
        self._lately.append((step.tokens, step.seconds))
        means = {"gradient_norm": step.gradient_norm, "loss": step.loss}
        for part, loss in step.losses.items():
            means[part] = loss
            if part in step.right:
                means[f"{part}_right"] = step.right[part]
        for name, value in {"steps": 1, "tokens": step.tokens, "seconds": step.seconds, **means}.items():
            self._sums[name] = self._sums.get(name, 0) + value
        if step.number % self.settings.run.log_every:
            return
        sums, self._sums = self._sums, {}
        metrics = {"step": step.number, "samples": step.samples, "tokens": self._tokens, "lr": step.rate}
        metrics |= {name: sums[name] / sums["steps"] for name in means}
        speed = self._speed(sums["steps"], sums["tokens"], sums["seconds"])
        timing = {"step": step.number, "seconds": self._seconds, **speed._asdict()}
        self._files["metrics.jsonl"].write(metrics)
        self._files["timings.jsonl"].write(timing)
        if self._tracker is not None:
            self._tracker.log(step.number, metrics | timing)

    def example(self, objective: "TrainingObjective", question: "PosedBatch") -> None:
        """Write down what the networks make of the longest text of a batch; all processes must take part."""
        from sijo.training.examples import example

        made = example(objective, question, self.tokenizer)
        if self.writes and made is not None:
            self._files["examples.jsonl"].write({"step": self._step} | made)

    def flush(self) -> dict[str, Any]:
        """Bring all lines to the disk; returns what `resume` needs to go on from here, exact in JSON."""
        if not self.writes:
            return {}
        sizes = {name: lines.flush() for name, lines in self._files.items()}
        return {"bytes": sizes, "tokens": self._tokens, "seconds": self._seconds, "sums": dict(self._sums)}

    @property
    def speed(self) -> Speed:
        """Over the last steps, in the process that writes."""
        tokens, seconds = zip(*self._lately, strict=True)
        return self._speed(len(tokens), sum(tokens), sum(seconds))

    def _speed(self, steps: float, tokens: float, seconds: float) -> Speed:
        from sijo.training.cost import training_flops

        run, length = self.settings.run, tokens / steps / self.settings.run.batch
        flops = training_flops(
            self._networks,
            length,
            share=self._asked,
            sequences=max(1, int(run.micro_tokens / length)),
        )
        return Speed(tokens / seconds, flops * tokens / seconds / self._peak)


class JsonLinesFile:
    """A file of JSON objects, one a line, that is only added to.

    file        made if it is not there
    keep_bytes  what is left of it from an earlier run; half a line at the end of that is dropped too

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     file = Path(place) / "metrics.jsonl"
    ...     for keep in (0, 14, 20):
    ...         with JsonLinesFile(file, keep_bytes=keep) as lines:
    ...             lines.write({"loss": 0.5 + keep})
    ...     read_lines(file)
    [{'loss': 0.5}, {'loss': 20.5}]
    """

    def __init__(self, file: Path, *, keep_bytes: int) -> None:
        self._out = file.open("ab")
        self._out.truncate(file.read_bytes()[:keep_bytes].rfind(b"\n") + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._out.close()

    def write(self, fields: Mapping[str, Any]) -> None:
        """Add a line, for a reader to see at once; a float stands there with every digit that it has."""
        self._out.write(json.dumps(fields, ensure_ascii=False).encode() + b"\n")
        self._out.flush()

    def flush(self) -> int:
        """Bring it to the disk; returns its length in bytes."""
        os.fsync(self._out.fileno())
        return os.fstat(self._out.fileno()).st_size


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The objects in a file of JSON lines, none where there is no file; half a line at its end is left out.

    Raises TextError for a damaged line anywhere else.
    """
    if not file.is_file():
        return []
    whole, _, _ = file.read_bytes().rpartition(b"\n")
    found = []
    for number, line in enumerate(whole.split(b"\n") if whole else (), 1):
        try:
            fields = parse_json(line)
            if not isinstance(fields, dict):
                raise ValueError("it is not an object")
        except ValueError as error:
            raise TextError(f"line {number} of {file} is damaged ({error}); remove that line") from None
        found.append(fields)
    return found


class Tracking(Protocol):
    """Where metrics go besides the diary."""

    def log(self, step: int, fields: Mapping[str, float]) -> None:
        """Send the numbers of a step."""

    def close(self) -> None:
        """Send what is left."""


class TensorBoard:
    """Curves in RUN/tensorboard, for `tensorboard --logdir`."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def log(self, step: int, fields: Mapping[str, float]) -> None:
        for name, value in fields.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Hosted:
    """A run of wandb or of trackio, which answer to the same calls.

    Its identity stands in RUN/tracker-id, so that a resumed run goes on with the same curves there, and
    two runs in folders of one name stay two.
    """

    def __init__(self, package: str, folder: Path, settings: Mapping[str, Any]) -> None:
        self._module = importlib.import_module(package)
        kept = folder / "tracker-id"
        if not kept.is_file():
            kept.write_text(secrets.token_hex(4))
        number, name = kept.read_text(), folder.resolve().name
        about = {"name": name, "id": number, "dir": str(folder)}
        if package == "trackio":  # knows runs by their names
            about = {"name": f"{name}-{number}"}
        self._call("init", project="sijo", config=dict(settings), resume="allow", **about)

    def log(self, step: int, fields: Mapping[str, float]) -> None:
        self._call("log", {name: value for name, value in fields.items() if name != "step"}, step=step)

    def close(self) -> None:
        self._call("finish")

    def _call(self, name: str, /, *arguments: object, **named: object) -> None:
        with redirect_stdout(sys.stderr):  # standard output is for results
            getattr(self._module, name)(*arguments, **named)


def open_tracker(name: Tracker, folder: Path, settings: Mapping[str, Any]) -> Tracking | None:
    """Where metrics are sent besides; None for "none". Raises as `check_tracker` does."""
    check_tracker(name)
    match name:
        case "none":
            return None
        case "tensorboard":
            return TensorBoard(folder, settings)
        case _:
            return Hosted(name, folder, settings)


def check_tracker(name: Tracker) -> None:
    """Raises SettingError where a tracker is not installed, before hours are spent on a corpus.

    >>> check_tracker("none")
    """
    if name != "none" and importlib.util.find_spec(name) is None:
        raise SettingError(
            f'run.tracker="{name}" needs the package {name}, which is not installed: pip install {name}; or leave '
            'it at "none": metrics.jsonl is written in any case'
        )
