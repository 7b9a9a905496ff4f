"""Fuzzing of every kind of file that sijo reads: `make fuzz`, or a part of it by hand.

    python tests/fuzz/run.py [TARGET ...] [--seconds 540] [--seed N]
    python tests/fuzz/run.py --replay TARGET FILE
    python tests/fuzz/run.py --corpus

Each target has an equal share of the time. A finding is kept in `runs/fuzz`, as small as hypothesis could make it,
with the command that shows it again; any ends with exit code 1. What was mended goes into `corpus/TARGET`, named by
its fault: `--corpus` runs all of that, and `make test` runs `--corpus`.
"""

import argparse
import gc
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

from fuzz.process import Runner, fork, rehearsed  # noqa: E402
from fuzz.seeds import make  # noqa: E402
from fuzz.targets import TARGETS  # noqa: E402

CORPUS = HERE / "corpus"
FINDINGS = Path("runs/fuzz")
FILES_A_ROUND = 150
MOST_SHRINKING = 20
"""Seconds for which a finding is made smaller."""


class FaultFoundError(AssertionError):
    """A file over which a command did what none may."""


class Fuzzed:
    """What came of one target: files tried, how the commands ended, and the findings by their fault."""

    def __init__(self, target, runner, wholes):
        self.target, self.runner, self.wholes = target, runner, wholes
        self.tried, self.codes, self.findings = 0, Counter(), {}
        self._shrinking, self._end = None, 0.0

    def run(self, seconds, seed):
        """Try files for so long, by rounds of hypothesis."""
        self._end = time.monotonic() + seconds
        for content in self.wholes:
            self.try_one(content)
        while time.monotonic() < self._end:
            strategy, self._shrinking = self.target.spoil(self.wholes), None
            settings = hypothesis.settings(
                max_examples=FILES_A_ROUND,
                deadline=None,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
            )

            @hypothesis.seed(seed)
            @settings
            @hypothesis.given(strategy)
            def attempt(content):
                self._attempt(content)

            with suppress(FaultFoundError, hypothesis.errors.Flaky):
                attempt()
            seed += 1

    def _attempt(self, content):
        """One file for hypothesis: a fault seen for the first time is raised, and made smaller for a while."""
        now = time.monotonic()
        if now > self._end or (self._shrinking is not None and now > self._shrinking[1]):
            return
        fault = self.try_one(content)
        if fault is None:
            return
        if self._shrinking is None and len(self.findings[fault]) == 1 and not fault.startswith("hang"):
            self._shrinking = fault, now + MOST_SHRINKING
        if self._shrinking is not None and self._shrinking[0] == fault:
            raise FaultFoundError(fault)

    def try_one(self, content):
        """Run the commands on a file; the fault of the first that has one."""
        self.tried += 1
        verdicts = self.runner.verdicts(self.target, content)
        self.codes.update(verdict.code for verdict in verdicts)
        for verdict in verdicts:
            if verdict.fault is not None:
                files = self.findings.setdefault(verdict.fault, [])
                if not files or len(content) < len(files[-1]):
                    keep(self.target, verdict, content, new=not files)
                files.append(content)
                return verdict.fault
        return None


def keep(target, verdict, content, *, new):
    """Write a finding and its story, over a larger one; a new one is told."""
    FINDINGS.mkdir(parents=True, exist_ok=True)
    stem = f"{target.name}-{re.sub('[^A-Za-z0-9]+', '-', verdict.fault).strip('-')[:100]}"
    file = FINDINGS / f"{stem}.{target.file.rpartition('.')[2]}"
    file.write_bytes(content)
    (FINDINGS / f"{stem}.story").write_text(verdict.story, errors="backslashreplace")
    if new:
        print(
            f"FOUND {target.name}: {verdict.fault}\n  {sys.executable} {__file__} --replay {target.name} {file}",
            flush=True,
        )


def fuzz(names, seconds, seed, folder, seeds):
    """Every target in turn; 1 where there are findings."""
    print(f"seed {seed}; the same again: --seed {seed}", flush=True)
    print(f"{'target':20}{'files':>8}{'exit 0':>8}{'2':>7}{'3':>7}{'4':>7}{'5':>7}{'findings':>10}", flush=True)
    started, tried, findings = time.monotonic(), 0, 0
    targets = [TARGETS[name] for name in names if TARGETS[name].wholes(seeds)]
    for number, target in enumerate(targets):
        left = seconds - (time.monotonic() - started)
        runner = Runner(folder, seeds)
        fuzzed = Fuzzed(target, runner, target.wholes(seeds))
        fuzzed.run(left / (len(targets) - number), seed)
        runner.close()
        counts = "".join(f"{fuzzed.codes[code]:7}" for code in (2, 3, 4, 5))
        print(f"{target.name:20}{fuzzed.tried:8}{fuzzed.codes[0]:8}{counts}{len(fuzzed.findings):10}", flush=True)
        tried, findings = tried + fuzzed.tried, findings + len(fuzzed.findings)
    print(f"{tried:,} files in {time.monotonic() - started:.0f} s; {findings} findings")
    return 1 if findings else 0


def replay(target, file, folder, seeds):
    """One file again, with all that the commands said; 1 where one did what it may not."""
    runner = Runner(folder, seeds)
    verdicts = runner.verdicts(TARGETS[target], file.read_bytes())
    runner.close()
    for verdict in verdicts:
        print(verdict.story, f"fault: {verdict.fault}", sep="\n")
    return 1 if any(verdict.fault for verdict in verdicts) else 0


def corpus(folder, seeds):
    """Every file that once showed a fault; 1 where one does again."""
    again = 0
    for place in sorted(CORPUS.iterdir()):
        runner = Runner(folder, seeds)
        for file in sorted(place.iterdir()):
            verdicts = runner.verdicts(TARGETS[place.name], file.read_bytes())
            faults = [verdict for verdict in verdicts if verdict.fault is not None]
            again += bool(faults)
            print(
                f"{place.name}/{file.name}:",
                *(verdict.code for verdict in verdicts),
                *(f"{v.fault}\n{v.story}" for v in faults),
            )
        runner.close()
    return 1 if again else 0


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="TARGET")
    options.add_argument("--seconds", type=float, default=540)
    options.add_argument("--seed", type=int, default=None)
    options.add_argument("--replay", nargs=2, metavar=("TARGET", "FILE"))
    options.add_argument("--corpus", action="store_true")
    given = options.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as place:
        folder, seeds = Path(place).resolve() / "work", Path(place).resolve() / "seeds"
        folder.mkdir()
        seeds.mkdir()
        ours, theirs = fork.Pipe()
        names = given.replay[:1] if given.replay else given.targets or list(TARGETS)
        if given.corpus:
            names = sorted(place.name for place in CORPUS.iterdir())
        maker = fork.Process(target=quietly, args=(theirs, names, folder, seeds))
        maker.start()
        theirs.close()
        try:
            modules = ours.recv()
        except EOFError:
            sys.exit(f"the seeds could not be made:\n{(folder / 'made').read_text()[-3000:]}")
        maker.join()
        for name in modules:  # once, before any fork
            with suppress(Exception):
                import_module(name)
        gc.freeze()  # a process that looks through all of torch for garbage would copy it
        if given.replay:
            sys.exit(replay(given.replay[0], Path(given.replay[1]), folder, seeds))
        if given.corpus:
            sys.exit(corpus(folder, seeds))
        seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
        sys.exit(fuzz(names, given.seconds, seed, folder, seeds))


def quietly(pipe, names, folder, seeds):
    """Make the seeds and run what there is on them once, without what is printed on the way; gives the modules."""
    handle = os.open(folder / "made", os.O_WRONLY | os.O_CREAT)
    for number in (1, 2):
        os.dup2(handle, number)
    make(seeds)
    pipe.send(rehearsed([TARGETS[name] for name in names], folder, seeds))


if __name__ == "__main__":
    main()
