"""A job on a Ray cluster of this machine: what a killed worker costs, and how fast one and two workers are.

    python benchmarks/many_machines.py kills --rows 100000 --kills 4
    python benchmarks/many_machines.py rates --rows 10000

`kills` labels the same inputs by one process and by two workers of which one at a time is ended by `kill -9`, at
random moments; both folders of parts must be the same to the byte. `rates` tells rows/s of one process, and of one
and two workers, each of one thread, from the moment that models are opened; and when the first part came. MODEL is
a folder or org/name, the built-in model by default; FOLDER keeps what one process made.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

LABELS = "billing and payment,delivery,weather"
ENGLISH = "refund my card was charged twice parcel late rain tomorrow cancel order where is invoice storm"
KOREAN = "환불 카드 결제 배송 늦어요 내일 비 주문 취소 택배 어디 영수증 태풍"


def inputs(folder: Path, rows: int, files: int, words: int) -> list[Path]:
    """CSV files of short texts, English and Korean by turns."""
    chance = random.Random(23)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(files):
        path = folder / f"in{number}.csv"
        share = range(number * rows // files, (number + 1) * rows // files)
        texts = (" ".join(chance.choices((KOREAN if row % 4 == 0 else ENGLISH).split(), k=words)) for row in share)
        path.write_text("id,text\n" + "".join(f"{row},{text}\n" for row, text in zip(share, texts, strict=True)))
        paths.append(path)
    return paths


def command(paths: list[Path], out: Path, options: argparse.Namespace, *more: str) -> list[str]:
    model = [] if options.model is None else ["--model", options.model]
    start = [sys.executable, "-c", "from sijo.app.cli import main; main()", "classify", *map(str, paths), *model]
    return [
        *start,
        *("--labels", LABELS, "--parts", str(out), "--part-rows", str(options.part_rows), "--part-format", "jsonl"),
        *("--threads", "1", *more),
    ]


def workers(session: int) -> list[int]:
    """The processes of Ray's workers that answer rows, of this session."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(place.name)
            if (place / "cmdline").read_bytes().startswith(b"ray::RayWorker") and os.getsid(pid) == session:
                found.append(pid)
        except OSError:
            continue
    return found


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*"))}


def kills(options: argparse.Namespace) -> None:
    """Two workers, one of which is killed several times."""
    paths = inputs(options.folder / "in", options.rows, options.files, options.words)
    whole, out = options.folder / "one", options.folder / "ray"
    if not (whole / "_manifest.json").exists():
        shutil.rmtree(whole, ignore_errors=True)
        started = time.monotonic()
        subprocess.run(command(paths, whole, options), check=True)
        print(f"one process: {time.monotonic() - started:.0f} s", flush=True)
    for repeat in range(options.repeats):
        shutil.rmtree(out, ignore_errors=True)
        chance, killed = random.Random(options.seed + repeat), []
        started = time.monotonic()
        both = command(paths, out, options, "--engine", "ray", "--workers", "2")
        job = subprocess.Popen(both, start_new_session=options.own_session)
        session = job.pid if options.own_session else os.getsid(0)
        total = len(parts(whole))
        moments = sorted(chance.sample(range(1, total - 1), min(options.kills, total - 2)))
        while job.poll() is None:
            time.sleep(chance.uniform(0.005, 0.05))
            made = sum(1 for _ in out.glob("part-*"))
            if moments and made >= moments[0] and (there := workers(session)):
                os.kill(victim := chance.choice(there), signal.SIGKILL)
                killed.append((made, victim))
                moments.pop(0)
        same = parts(out) == parts(whole)
        manifest = json.loads((out / "_manifest.json").read_text()) if job.returncode == 0 else {}
        rows = sum(content.count(b"\n") for content in parts(out).values())
        print(
            f"run {repeat + 1}: code {job.returncode}, killed when so many parts were there: "
            f"{', '.join(str(made) for made, _ in killed)}; {rows:,} rows, {manifest.get('rows')} by the manifest, "
            f"{time.monotonic() - started:.0f} s, same bytes: {same}",
            flush=True,
        )
        if not same or len(killed) < 1:
            sys.exit(1)


def rates(options: argparse.Namespace) -> None:
    """Rows/s as the command tells them, which begin when the first part is asked for."""
    paths = inputs(options.folder / f"in{options.rows}", options.rows, options.files, options.words)
    ways = {
        "one process": (),
        "ray, 1 worker": ("--engine", "ray"),
        "ray, 2 workers": ("--engine", "ray", "--workers", "2"),
    }
    for name, more in ways.items():
        if options.only is not None and options.only not in name:
            continue
        out = options.folder / "rate"
        shutil.rmtree(out, ignore_errors=True)
        job = subprocess.Popen(command(paths, out, options, *more), stderr=subprocess.PIPE, text=True)
        moments: list[float] = []
        watcher = threading.Thread(target=_watch, args=(out, job, moments))
        watcher.start()
        started = time.monotonic()
        _, told = job.communicate()
        watcher.join()
        seconds = time.monotonic() - started
        print(
            f"{name}: {seconds:.1f} s in all, first part after {moments[0] - started:.1f} s; "
            f"{told.strip().splitlines()[-1]}",
            flush=True,
        )


def _watch(out: Path, job: "subprocess.Popen[str]", moments: list[float]) -> None:
    """Note when each part comes."""
    while job.poll() is None:
        made = sum(1 for _ in out.glob("part-*[0-9].*l"))
        moments.extend([time.monotonic()] * (made - len(moments)))
        time.sleep(0.05)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("what", choices=["kills", "rates"])
    asked.add_argument("--folder", type=Path, default=Path("runs/many-machines"))
    asked.add_argument("--model")
    asked.add_argument("--rows", type=int, default=10_000)
    asked.add_argument("--files", type=int, default=4)
    asked.add_argument("--words", type=int, default=8)
    asked.add_argument("--part-rows", type=int, default=1)
    asked.add_argument("--kills", type=int, default=4)
    asked.add_argument("--repeats", type=int, default=3)
    asked.add_argument("--seed", type=int, default=23)
    asked.add_argument("--only", help="of the ways of `rates`, those whose name has this")
    asked.add_argument("--own-session", action="store_true", help="let the job be its own, as by setsid")
    {"kills": kills, "rates": rates}[(given := asked.parse_args()).what](given)
