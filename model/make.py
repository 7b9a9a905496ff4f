"""sijo-small from nothing: packages, teachers, text, student, labels, blocks, card. What is done is not done again.

    python model/make.py FOLDER --clinc CLINC150_FOLDER --nsmc reviews.tsv.xz [--until STAGE]

Every stage is a command that can be run by hand; its output is in FOLDER, and FOLDER/stages.jsonl tells how long it
took. A stage that was killed begins again, training where its last checkpoint is. FOLDER/sijo-small is the model.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = HERE.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # what the benchmarks share

import data  # noqa: E402

TOKENS = 24_000
"""Of the vocabulary: all that are of Hangul, and what English text uses most."""
STEPS = 1_000
"""Of learning to fit labels, 32 texts each."""

Command = list[str | Path]


@dataclass(frozen=True)
class Stage:
    """A step of the recipe."""

    name: str
    what: str
    """What it does, for a person."""
    commands: list[Command]
    makes: Path | None = None
    """What is deleted before it begins again, where its commands would not begin over it."""


def stages(folder: Path, packages: Path, clinc: Path, nsmc: Path, steps: int) -> list[Stage]:
    """The recipe."""
    python: Command = [sys.executable]
    sijo: Command = [*data.SIJO]
    kept: Command = ["--data", packages]
    labelled: Command = ["--clinc", clinc, "--nsmc", nsmc, *kept]
    teacher, text, sets = packages / "multilingual-e5-small", folder / "text", folder / "sets"
    student, labels, between, boxed = (folder / name for name in ("student", "labels", "between", "sijo-small"))
    return [
        Stage("teachers", "the models it is made from", [[*python, HERE / "teachers.py", *kept]]),
        Stage(
            "text",
            "running text in two languages",
            [
                [*python, BENCHMARKS / "english.py", folder / "english", *kept],
                [*python, HERE / "text.py", text, "--english", folder / "english", "--nsmc", nsmc, *kept],
            ],
        ),
        Stage(
            "student",
            f"{TOKENS:,} of the teacher's 250,002 tokens",
            [
                [
                    *(*sijo, "tokenizer", "cut", "--model", teacher, "--vocab-size", str(TOKENS)),
                    *("--script", "hangul", "--with-model", "--overwrite", "--quiet", "--out", student),
                    *(text / "english.txt", text / "korean.txt"),
                ]
            ],
        ),
        Stage(
            "generated",
            "texts that a small model writes",
            [[*python, HERE / "generated.py", folder / "written", *kept]],
        ),
        Stage(
            "sets",
            "the labelled sets that teach, without what judges",
            [
                [*python, HERE / "sets.py", folder / "all", "--generated", folder / "written", *labelled],
                [*python, HERE / "duplicates.py", folder / "all", sets, *labelled],
            ],
        ),
        Stage(
            "labels",
            f"{steps:,} steps of fitting labels",
            [
                [
                    *(
                        *sijo,
                        "finetune",
                        "--model",
                        student,
                        "--task",
                        "label-matching",
                        "--resume",
                        "--out",
                        labels,
                    ),
                    *("--train", sets / "mixture.toml", "--eval", sets / "held-out" / "mixture.toml"),
                    *("--set", f"run.steps={steps}", "evaluation_rows=100"),
                ]
            ],
        ),
        Stage(
            "between",
            "weights three quarters of the way from before to after",
            [[*python, HERE / "between.py", student, labels / "model", between]],
            between,
        ),
        Stage(
            "boxed",
            "blocks of 4 and 8 bits, a network for ONNX, calibration and background",
            [
                [*sijo, "export", between, "--to", "blocks", "--keep-anyway", "--out", boxed],
                [*python, HERE / "finish.py", boxed, sets, text],
            ],
            boxed,
        ),
        Stage("card", "its card, and the manifest of it all", [[*python, HERE / "card.py", folder]]),
    ]


def main() -> None:
    """Do what is not done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path("~/.cache/sijo-benchmarks")
    parser.add_argument("--data", type=Path, default=cache, help=f"folder for the packages ({cache})")
    parser.add_argument("folder", type=Path, help="where everything goes, 3 GB")
    parser.add_argument("--clinc", type=Path, required=True, help="the folder of CLINC150's train and test .csv.gz")
    parser.add_argument("--nsmc", type=Path, required=True, help="NSMC's reviews, .tsv.xz")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of learning to fit labels ({STEPS:,})")
    parser.add_argument("--until", help="the last stage to do")
    args = parser.parse_args()
    folder, packages = args.folder.expanduser().resolve(), args.data.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    clinc, nsmc = args.clinc.expanduser().resolve(), args.nsmc.expanduser().resolve()
    for file in (clinc / "train.csv.gz", clinc / "test.csv.gz", nsmc):
        if not file.is_file():
            parser.error(f"there is no file {file}; docs/model.md says where CLINC150 and NSMC are from")
    recipe = stages(folder, packages, clinc, nsmc, args.steps)
    if args.until not in (None, *(stage.name for stage in recipe)):
        parser.error(f"--until {args.until} is none of {', '.join(stage.name for stage in recipe)}")
    log = folder / "stages.jsonl"
    done = {json.loads(line)["stage"] for line in log.read_text().splitlines()} if log.exists() else set()
    for stage in recipe:
        if stage.name not in done:
            data.say(f"== {stage.name}: {stage.what}")
            begun = time.time()
            if stage.makes is not None:
                shutil.rmtree(stage.makes, ignore_errors=True)
            for command in stage.commands:
                if (code := subprocess.run(command, check=False).returncode) != 0:
                    sys.exit(f"{stage.name} ended with exit code {code}; the same command goes on from here")
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"stage": stage.name, "seconds": round(time.time() - begun)}) + "\n")
        if stage.name == args.until:
            break


if __name__ == "__main__":
    main()
