"""A run killed again and again, beside one that was not: do they leave the same bytes?

    python benchmarks/kills.py --kills 200

`sijo pretrain` is killed with SIGKILL at random instants and resumed each time, until it has been killed so often
and is done: of four kills one comes within seconds of the start, two come once the run has got further than the
last one did, and one comes while a checkpoint is being written. A run that ends before enough kills is
begun again. Then the weights, the optimizer's memory, the moving average and metrics.jsonl are compared with those
of an undisturbed run, by SHA-256. Threads are pinned to one, since sums depend on their number.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import data

SMALL = (
    "run.steps=240",
    "run.save_every=4",
    "run.batch=8",
    "run.average=0.9",
    "data.length=32",
    "model.dropout.hidden=0.1",
    *(f"{network}.{size}" for network in ("model", "generator") for size in ("heads=2", "intermediate_size=64")),
)


def digest(out: Path) -> str:
    """The SHA-256 of all that must be the same in every run."""
    last = max((out / "checkpoints").glob("step-????????"))
    files = [*sorted(last.glob("*.safetensors")), out / "metrics.jsonl"]
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def steps(out: Path) -> set[str]:
    """The names of the checkpoints that are whole."""
    return {place.name for place in out.glob("checkpoints/step-????????")}


def writes(out: Path) -> bool:
    """Whether a checkpoint is being written."""
    return any(out.glob("checkpoints/.step-*.part"))


def wait(process: subprocess.Popen[bytes], out: Path, kind: int, rng: random.Random) -> None:
    """Until the moment to kill: 0 for any, 1 and 2 for one after some progress, 3 for one within a save."""
    before, until = steps(out), time.monotonic() + rng.uniform(0, 7)
    if kind:
        while process.poll() is None and steps(out) <= before:
            time.sleep(0.001)
        until = time.monotonic() + rng.uniform(0, 2)
    while process.poll() is None and (time.monotonic() < until if kind < 3 else not writes(out)):
        time.sleep(0.001)
    if kind == 3:
        time.sleep(rng.uniform(0, 0.02))


def main() -> None:
    parser = data.parser(__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many (200)")
    args = parser.parse_args()
    rng, place = random.Random(args.seed), Path(tempfile.mkdtemp())
    source = place / "requests.txt"
    source.write_text("\n\n".join(data.requests()), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def begin(out: Path, *more: str | Path) -> subprocess.Popen[bytes]:
        settings = ("--set", *SMALL, "tokenizer.vocab_size=500", f"run.seed={args.seed}")
        command = (*data.SIJO, "pretrain", "electra-tiny", "--resume", "--quiet", "--out", out, *settings, *more)
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    whole, out = place / "whole", place / "run"
    assert begin(whole, "--corpus", source).wait() == 0
    prepared = ("--corpus", whole / "corpus", "--tokenizer", whole / "tokenizer")
    want, killed, saving, wrong, runs = digest(whole), 0, 0, 0, 0
    started = time.perf_counter()
    while True:
        process = begin(out, *prepared)
        if killed < args.kills:
            wait(process, out, killed % 4, rng)
            during = writes(out)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                killed, saving = killed + 1, saving + during
        process.wait()
        if process.returncode == 0:
            runs, wrong = runs + 1, wrong + (digest(out) != want)
            shutil.rmtree(out)
            if killed >= args.kills:
                break
        elif process.returncode != -signal.SIGKILL:
            raise SystemExit(f"the run failed with exit code {process.returncode}")
        if killed and killed % 20 == 0:
            data.say(f"{killed} kills, {saving} of them in a save, {runs} runs done, {wrong} with other bytes")
    shutil.rmtree(place)
    data.report(
        args,
        {"kills": killed, "in_a_save": saving, "runs": runs},
        {"runs_with_other_bytes": wrong, "seconds": time.perf_counter() - started},
    )


if __name__ == "__main__":
    main()
