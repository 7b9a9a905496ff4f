"""A folder of parts: which inputs it is made of, which parts stand, and at the end a manifest of all.

    part-00003-00012.parquet   part 12 of input 3, both counted from 0: in order of names, rows are in order of
    inputs _manifest.json             written last: settings, inputs and parts, each with its rows and digest
    _sijo/settings.json        what decides the answers; a resumed run must have the same
    _sijo/input-00003.json     what input 3 holds, and which of its parts stand

What begins with _ is passed over by readers of such folders. One process alone writes here, each file whole or not
at all, a part before the record of it: so a part is there once or not yet, whatever becomes of those who make
parts, and one that two of them made is taken once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from sijo.errors import CheckpointError, SettingError, SijoError, TextError, warn
from sijo.files.json_files import parse_json, sayable
from sijo.files.parts.place import place_of
from sijo.files.parts.plan import FileAsked, MadePart, PartAsked, PartFormat, PlannedInput
from sijo.files.resumable import differences, must_agree
from sijo.files.row_writers import key_types
from sijo.files.urls import shown, stamp
from sijo.version import __version__

STATE, MANIFEST, PART = "_sijo", "_manifest.json", "part-"
SETTINGS = f"{STATE}/settings.json"
MANIFEST_FORMAT = 1


@dataclass
class PartedInput:
    """An input, and which of its parts stand."""

    file: str
    plan: PlannedInput | None = None
    """None until it is read."""
    done: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Of each part that stands: bytes, sha256 and counts."""

    @property
    def whole(self) -> bool:
        """Whether all its parts stand."""
        return self.plan is not None and len(self.done) == len(self.plan.rows)


class PartsFolder:
    """The one way to an output in parts: `planned` for each input, `write` for each part, then `finish`.

    folder     a path or a URL
    files      the inputs, in order
    settings   whatever decides the answers, as JSON can say it
    format     of the parts
    resume     go on where an earlier run with the same settings stopped, or start
    overwrite  start over; what was there of an earlier run goes first

    Raises SettingError when the folder holds other things, or another run, or is at work.
    """

    finished = False
    """A resumed run found that all was there."""

    def __init__(
        self,
        folder: str,
        files: Sequence[str],
        *,
        settings: Mapping[str, object],
        format: PartFormat,
        resume: bool,
        overwrite: bool,
    ) -> None:
        if resume and overwrite:
            raise SettingError("--resume goes on with a run and --overwrite starts it over; pass one of them")
        self.place, self.format = place_of(folder), format
        self.inputs = [PartedInput(file) for file in files]
        self._settings = json.loads(json.dumps(sayable({**settings, "inputs": [*map(shown, files)]}), default=str))
        try:
            there = self.place.sizes()
            ours = {name for name in there if name == MANIFEST or name.startswith((f"{STATE}/", PART))}
            if strange := sorted(there.keys() - ours):
                raise SettingError(
                    f"{self.place.name} holds other things, such as {strange[0]!r}; name a new folder"
                )
            if MANIFEST not in there and SETTINGS not in there and any(name.startswith(PART) for name in there):
                raise SettingError(f"{self.place.name} holds parts of something else; name a new folder")
            if ours and not (resume or overwrite):
                raise SettingError(
                    f"{self.place.name} holds the parts of a run; --resume goes on with it, --overwrite starts "
                    "over, or name another folder"
                )
            self.place.hold(STATE)
            self._begin(there, overwrite=overwrite)
        except BaseException:
            self.place.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if not self.finished and not any(one.plan for one in self.inputs):  # nothing is worth resuming
            self.place.remove(SETTINGS)
        self.place.close()

    def _begin(self, there: Mapping[str, int], *, overwrite: bool) -> None:
        if overwrite:  # the settings go first: without them, whatever else is there is litter
            for name in sorted(there, key=lambda name: (name != MANIFEST, name != SETTINGS)):
                self.place.remove(name)
        earlier = None if overwrite else self._read(MANIFEST) or self._read(SETTINGS)
        if earlier is None:
            self.place.write(SETTINGS, _json({"settings": self._settings}))
            return
        different = differences(earlier["settings"], self._settings)
        must_agree(
            f"the run in {self.place.name}", different[:1], "give it as it was, or start over with --overwrite"
        )
        if "parts" in earlier:
            for one, was in zip(self.inputs, earlier["inputs"], strict=True):
                one.plan = PlannedInput(**was)
            for part in earlier["parts"]:
                self.inputs[part["input"]].done[part["part"]] = part
        else:
            for place, one in enumerate(self.inputs):
                state = self._read(self._state(place))
                if state is not None:
                    one.plan = PlannedInput(**state["plan"])
                    one.done = {int(number): about for number, about in state["done"].items()}
        self._confirm(there)
        self.finished = MANIFEST in there and all(one.whole for one in self.inputs)

    def _confirm(self, there: Mapping[str, int]) -> None:
        """Forget the parts that are not there as they were written; refuse inputs that have changed since."""
        for place, one in enumerate(self.inputs):
            if one.plan is None:
                continue
            if stamp(one.file) != one.plan.stamp and not self._is_same(one):
                raise TextError(
                    f"{shown(one.file)} has changed since the run began; put it back, or start over by --overwrite"
                )
            for number, about in list(one.done.items()):
                name = self.part_name(place, number)
                digest = self.place.digest(name) if there.get(name) == about["bytes"] else ""
                if digest not in (None, about["sha256"]):
                    del one.done[number]

    def _is_same(self, one: PartedInput) -> bool:
        """Whether an input has the content that it had, though its system tells of it otherwise."""
        from sijo.files.output_job import content_digest
        from sijo.files.urls import fetched

        assert one.plan is not None
        with fetched(one.file) as copy:
            return content_digest(copy) == one.plan.digest

    def part_name(self, place: int, number: int) -> str:
        """What a part of an input is called."""
        return f"{PART}{place:05}-{number:05}.{self.format}"

    @property
    def kept(self) -> int:
        """Rows of all parts that stand."""
        return sum(int(one.plan.rows[number]) for one in self.inputs if one.plan for number in one.done)

    @property
    def rows(self) -> int:
        """Rows of all inputs that could be read."""
        return sum(sum(one.plan.rows) for one in self.inputs if one.plan)

    def to_plan(self) -> Iterator[FileAsked]:
        """The inputs that were not read yet."""
        for place, one in enumerate(self.inputs):
            if one.plan is None:
                yield FileAsked(place, one.file)

    def planned(self, asked: FileAsked, plan: PlannedInput) -> None:
        """Keep what an input holds."""
        self.inputs[asked.place].plan = plan
        self._keep(asked.place)

    def to_make(self) -> Iterator[PartAsked]:
        """The parts that do not stand yet, of all inputs that could be read."""
        keys = self._keys()
        for place, one in enumerate(self.inputs):
            if one.plan is None:
                continue
            first = 0
            for number, blocks in enumerate(one.plan.blocks):
                if number not in one.done:
                    yield PartAsked(place, one.file, number, first, blocks, one.plan.digest, keys)
                first += blocks

    def write(self, asked: PartAsked, made: MadePart) -> None:
        """Put a part in its place, unless it stands there already."""
        one = self.inputs[asked.place]
        if asked.number in one.done:
            return
        self.place.write(self.part_name(asked.place, asked.number), made.content)
        about = {"bytes": len(made.content), "sha256": made.digest, "counts": dict(made.counts)}
        one.done[asked.number] = about
        self._keep(asked.place)

    def finish(self) -> None:
        """Make sure that every part stands once and nothing else does, and write the manifest."""
        assert all(one.whole for one in self.inputs)
        there = self.place.sizes()
        parts = []
        for place, one in enumerate(self.inputs):
            first = 0
            for number, rows in enumerate(one.plan.rows if one.plan else ()):
                name = self.part_name(place, number)
                parts.append(
                    {"file": name, "input": place, "part": number, "first_row": first, "rows": rows}
                    | one.done[number]
                )
                if there.pop(name, None) != one.done[number]["bytes"]:
                    raise SijoError(
                        f"{name} in {self.place.name} is gone or changed since it was written; --resume mends it"
                    )
                first += rows
        if strange := [name for name in there if name.startswith(PART)]:
            raise SettingError(f"{self.place.name} holds {strange[0]}, which is no part of this run; move it away")
        manifest = {
            "format": MANIFEST_FORMAT,
            "sijo": __version__,
            "settings": self._settings,
            "rows": self.rows,
            "inputs": [asdict(one.plan) for one in self.inputs if one.plan],
            "parts": parts,
        }
        self.place.write(MANIFEST, _json(manifest))
        for name in there:
            if name.startswith(f"{STATE}/"):
                self.place.remove(name)

    def _keys(self) -> dict[str, str] | None:
        """Every key of JSON records of all inputs, with the one type that holds all its values; None for tables."""
        plans = [one.plan for one in self.inputs if one.plan is not None]
        if self.format == "jsonl" or not any(plan.holders for plan in plans):
            self._warn_of_columns(plans)
            return None
        together: dict[str, set[str]] = {}
        for plan in plans:
            for key, kinds in plan.holders.items():
                together[key] = together.get(key, {*kinds}) & {*kinds}
        return key_types(together)

    def _warn_of_columns(self, plans: Sequence[PlannedInput]) -> None:
        names = [shown(one.file) for one in self.inputs if one.plan is not None]
        for name, plan in zip(names, plans, strict=True):
            if plan.columns is not None and [*plan.columns] != [*(plans[0].columns or ())]:
                warn(f"{name} has other columns than {names[0]}, and so have its parts")
                return

    def _state(self, place: int) -> str:
        return f"{STATE}/input-{place:05}.json"

    def _keep(self, place: int) -> None:
        one = self.inputs[place]
        assert one.plan is not None
        self.place.write(self._state(place), _json({"plan": asdict(one.plan), "done": one.done}))

    def _read(self, name: str) -> dict[str, Any] | None:
        content = self.place.read(name)
        if content is None:
            return None
        try:
            fields: dict[str, Any] = parse_json(content)
        except ValueError as error:
            raise CheckpointError(
                f"{name} in {self.place.name} is damaged ({error}); start over with --overwrite"
            ) from None
        return fields


def _json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, indent=1).encode() + b"\n"
