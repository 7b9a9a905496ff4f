"""What each part of the recipe of sijo-small is worth, at a budget of 120 steps, on sets that were left out.

    python model/ablations.py RECIPE_FOLDER [--only VARIANT ...]

Every variant learns from all sets but those of model/written and the generated ones, and is measured on the written
ones: topics, emotions, intents and opinions, in English and Korean, under labels in both languages; so nothing that
judges the model has a say in it. Macro-F1, the mean of 16 (four kinds, two languages of texts and of labels), plain
and centred by the texts (`--calibrate batch`), with 95 % intervals of texts drawn anew.

Variants, each in RECIPE_FOLDER/ablations, with a line in results.jsonl there when it is done:

  full          the recipe
  no labels     the student before it learned
  two teachers  full, and for half of the batches what all-MiniLM-L6-v2 finds of lines of English (model/lines.py)
  six layers    every other layer of the student, taught vectors of multilingual-e5-small for 150 steps before
  half way, after alone
                half of the way between the weights before and after, and all of it
  4 bits, 8 bits, auto
                full, in blocks
  no WordNet, no Debian, no CLINC150, no reviews
                full, without these sets
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))  # what the benchmarks share

import numpy as np  # noqa: E402

import data  # noqa: E402
from sijo.inference.outputs import unit  # noqa: E402
from sijo.jobs.open_labels.mixture import read_mixture  # noqa: E402
from sijo.jobs.open_labels.recast import MatchedSet, read_set  # noqa: E402
from sijo.zeroshot.labels import Label  # noqa: E402
from sijo.zeroshot.scorers.embedding import EmbeddingScorer  # noqa: E402
from sijo.zeroshot.scorers.open import open_scorer  # noqa: E402

WRITTEN = ("topics.", "emotions.", "intents.", "opinions.")
LEFT_OUT = {
    "no WordNet": ("nouns", "domains", "branches", "feelings", "things"),
    "no Debian": ("packages", "fields", "uses", "games", "works"),
    "no CLINC150": ("requests",),
    "no reviews": ("films", "products", "editorials", "tweets", "reviews"),
}
STEPS, DISTILLED = 120, 150
VARIANTS = (
    *("no labels", "full", "half way", "after alone", "two teachers", "six layers", "4 bits", "8 bits", "auto"),
    *LEFT_OUT,
)
RESAMPLES = 500


class Variants:
    """The runs, in a folder of the recipe."""

    def __init__(self, folder: Path, packages: Path) -> None:
        self.recipe, self.folder = folder, folder / "ablations"
        self.packages = packages
        self.folder.mkdir(exist_ok=True)
        self._mixtures()

    def _mixtures(self) -> None:
        """What is learned from for each variant, and what judges."""
        whole = (self.recipe / "all" / "mixture.toml").read_text(encoding="utf-8")
        whole = whole.replace('file = "', f'file = "{self.recipe / "all"}/')
        parts = {part.split('"')[1]: f"[[sets]]{part}" for part in whole.split("[[sets]]") if part.strip()}
        taught = {name: part for name, part in parts.items() if not name.startswith((*WRITTEN, "generated."))}
        judged = {name: part for name, part in parts.items() if name.startswith(WRITTEN)}
        mixtures = {"judge": judged, "full": taught} | {
            variant: {name: part for name, part in taught.items() if not name.startswith(left)}
            for variant, left in LEFT_OUT.items()
        }
        for name, sets in mixtures.items():
            (self.folder / f"{name}.toml").write_text("".join(sets.values()), encoding="utf-8")

    def sijo(self, *words: str | Path) -> None:
        """Run a command of sijo's."""
        if (code := subprocess.run([*data.SIJO, *words], check=False, stdout=subprocess.DEVNULL).returncode) != 0:
            sys.exit(f"sijo {' '.join(map(str, words))} ended with exit code {code}")

    def made(self, variant: str) -> Path:
        """The model of a variant, made where it is not there."""
        match variant:
            case "no labels":
                return self.recipe / "student"
            case "after alone":
                return self.labelled("full", self.recipe / "student") / "model"
            case "half way":
                return self.between(
                    variant, self.recipe / "student", self.labelled("full", self.recipe / "student")
                )
            case "4 bits" | "8 bits" | "auto":
                return self.in_blocks(variant.removesuffix(" bits"))
            case "six layers":
                start = self.half_as_deep()
                return self.between(variant, start, self.labelled(variant, start))
            case _:
                start = self.recipe / "student"
                return self.between(variant, start, self.labelled(variant, start))

    def labelled(self, variant: str, start: Path) -> Path:
        """The run of a variant that learned to fit labels."""
        out = self.folder / f"{variant} labels"
        mixture = variant if variant in LEFT_OUT or variant == "two teachers" else "full"
        if not (out / "model").exists():
            if variant == "two teachers":
                self._lines()
            self.sijo(
                *("finetune", "--model", start, "--task", "label-matching", "--resume", "--quiet", "--out", out),
                *("--train", self.folder / f"{mixture}.toml", "--eval", self.folder / "judge.toml"),
                *("--set", f"run.steps={STEPS}", f"run.save_every={STEPS}", "evaluation_rows=1"),
            )
        return out

    def between(self, variant: str, before: Path, run: Path) -> Path:
        """The mean of weights before and after."""
        out = self.folder / variant
        if not out.exists():
            share = "0.5" if variant == "half way" else "0.75"
            command = [sys.executable, HERE / "between.py", before, run / "model", out, "--share", share]
            subprocess.run(command, check=True)
        return out

    def _lines(self) -> None:
        """The full mixture, and behind it lines with a teacher."""
        shutil.copy(self.folder / "full.toml", self.folder / "two teachers.toml")
        command = [sys.executable, HERE / "lines.py", self.recipe / "all", self.folder / "two teachers.toml"]
        subprocess.run([*command, "--english", self.recipe / "english", "--data", self.packages], check=True)

    def half_as_deep(self) -> Path:
        """A student of six layers, taught vectors of running text, before it learns to fit labels."""
        out, text = self.folder / "six layers taught", self.recipe / "text"
        if not (out / "model").exists():
            self.sijo(
                *("distill", "sentence", "--teacher", self.packages / "multilingual-e5-small"),
                *("--tokenizer", self.recipe / "student", "--resume", "--quiet"),
                *("--corpus", text / "english.txt", text / "korean.txt", "--out", out),
                *("--set", f"run.steps={DISTILLED}", "run.epochs=null", "run.batch=32"),
                *("model.schedule=[0,1,2,3,4,5]", "teacher.prompt=query: "),
            )
        return out / "model"

    def in_blocks(self, bits: str) -> Path:
        """The full variant in blocks of so many bits."""
        out = self.folder / f"blocks {bits}"
        if not out.exists():
            full = self.made("full")
            of = ("--bits", bits, "--table-bits", bits, "--keep-anyway")
            self.sijo("export", full, "--to", "blocks", *of, "--out", out)
        return out


def measured(model: Path, sets: list[MatchedSet], seed: int) -> dict[str, object]:
    """Macro-F1 of a model on each set and language of labels, plain and centred; and the mean with its interval."""
    scorer = open_scorer("embedding", model)
    assert isinstance(scorer, EmbeddingScorer)
    draw = np.random.default_rng(seed)
    values: dict[str, dict[str, float]] = {"plain": {}, "centred": {}}
    means: dict[str, np.ndarray] = {way: np.zeros(RESAMPLES) for way in values}
    cells = [(one, language) for one in sets for language in one.languages]
    vectors = {one.name: unit(scorer.engine.encode([row.texts[0] for row in one.rows]).vectors) for one in sets}
    for one, language in cells:
        names = list(one.labels.names)
        gold = np.array([names.index(row.label) for row in one.rows])
        labels = [Label(own[0]) for own in one.names_in(language)]
        scores = scorer.nearness(vectors[one.name], labels, one.plain_template(language))
        drawn = draw.integers(len(gold), size=(RESAMPLES, len(gold)))
        for way, given in (("plain", scores.argmax(1)), ("centred", (scores - scores.mean(0)).argmax(1))):
            values[way][f"{one.name.partition(' ')[0]} ({language})"] = macro_f1(gold, given, len(names))
            means[way] += [macro_f1(gold[rows], given[rows], len(names)) for rows in drawn]
    return {
        way: {
            "mean": float(np.mean([*own.values()])),
            "interval": (np.quantile(means[way], (0.025, 0.975)) / len(cells)).tolist(),
            "sets": own,
        }
        for way, own in values.items()
    }


def macro_f1(gold: np.ndarray, given: np.ndarray, labels: int) -> float:
    """The mean over labels that occur."""
    both = np.bincount(gold[gold == given], minlength=labels)
    of = np.bincount(gold, minlength=labels) + np.bincount(given, minlength=labels)
    return float((2 * both[of > 0] / of[of > 0]).mean())


def main() -> None:
    """Make what is not made, measure what is not measured, and print a table."""
    parser = data.parser(__doc__)
    parser.add_argument("folder", type=Path, help="that of the recipe, which has been run")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=VARIANTS, help="variants (all)")
    args = parser.parse_args()
    variants = Variants(args.folder.resolve(), args.data.expanduser().resolve())
    results = variants.folder / "results.jsonl"
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    done = {line["variant"]: line for line in map(json.loads, lines)}
    sets = [read_set(entry) for entry in read_mixture(variants.folder / "judge.toml")]
    for variant in (variant for variant in args.only if variant not in done):
        begun = time.time()
        model = variants.made(variant)
        done[variant] = {
            "variant": variant,
            "seconds": round(time.time() - begun),
            **measured(model, sets, args.seed),
        }
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(done[variant], ensure_ascii=False) + "\n")
    print("| variant | minutes | plain | centred |\n| --- | ---: | ---: | ---: |")
    for variant in (variant for variant in VARIANTS if variant in done):
        line = done[variant]
        cells = [
            f"{line[way]['mean']:.3f} [{line[way]['interval'][0]:.3f}, {line[way]['interval'][1]:.3f}]"
            for way in ("plain", "centred")
        ]
        print(f"| {variant} | {line['seconds'] / 60:.0f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
