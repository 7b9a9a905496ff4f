"""What sijo-small carries beside its weights: temperature and none score, and vectors of texts as its background.

    python model/finish.py MODEL_FOLDER SETS_FOLDER TEXT_FOLDER

Both are of what was kept apart of the sets that taught it (SETS_FOLDER/held-out), and of running text:

  calibration  each text under its own label and nine others of its set, by the first name of each, in every
               language that the set has names in; sets of fewer than ten labels are left out
  errors       how many follow from two wordings that disagree, of sets of 60 rows or more
  background   256 texts of each language, half of them of the sets

The folder's manifest is of before: model/card.py, which comes last, writes it anew.
"""

import json
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))  # what the benchmarks share

import numpy as np  # noqa: E402

import data  # noqa: E402
from sijo.inference.vector_cache import VectorCache  # noqa: E402
from sijo.jobs.open_labels.mixture import read_mixture  # noqa: E402
from sijo.jobs.open_labels.recast import MatchedSet, read_set  # noqa: E402
from sijo.zeroshot.calibrating.background import write_background  # noqa: E402
from sijo.zeroshot.calibrating.label_free import disagreement  # noqa: E402
from sijo.zeroshot.calibrating.methods import made_by  # noqa: E402
from sijo.zeroshot.calibrating.samples import Sample, wordings  # noqa: E402
from sijo.zeroshot.calibration import Calibration, write_calibration  # noqa: E402
from sijo.zeroshot.labeller import LabelChoice, Labeller  # noqa: E402
from sijo.zeroshot.labels import Label, LabelSet  # noqa: E402
from sijo.zeroshot.scorers.embedding import EmbeddingScorer  # noqa: E402
from sijo.zeroshot.scorers.open import open_scorer  # noqa: E402
from sijo.zeroshot.scorers.scorer import ScoreRequest  # noqa: E402

CHOICES, ROWS = 10, 400
"""Labels of a question, and rows of a set at most."""
FEWEST, LEAST = 60, 0.01
"""Rows of a set whose errors are counted, at least; and the least share that is told apart from none."""
BACKGROUND = 256
"""Texts of a language."""


def questions(scorer: EmbeddingScorer, held: MatchedSet, seed: int) -> Iterator[np.ndarray]:
    """Scores (n, 10) of texts with their own label, in column 0, and nine others; for each language of names."""
    rows = data.sample(held.rows, ROWS, seed)
    texts, names = [row.texts[0] for row in rows], list(held.labels.names)
    own = np.array([names.index(row.label) for row in rows])
    draw = np.random.default_rng(seed)
    others = np.array([draw.choice(len(names) - 1, CHOICES - 1, replace=False) + 1 for _ in rows])
    columns = np.column_stack([own, (own[:, None] + others) % len(names)])
    for language in held.languages:
        labels = [Label(said[0]) for said in held.names_in(language)]
        scores, _ = scorer.score(ScoreRequest(texts, labels, held.plain_template(language)))
        yield np.take_along_axis(scores, columns, axis=1)


def errors(scorer: EmbeddingScorer, sets: list[MatchedSet], seed: int) -> tuple[float, float]:
    """a and b of the share of errors a d^b, where two wordings of labels disagree about a share d of texts.

    Each set and language of its labels is calibrated without labels, as `--calibrate auto` does it; one line
    through the logarithms of both shares.
    """
    shares = []
    for one in (one for one in sets if len(one.rows) >= FEWEST):
        rows, codes = data.sample(one.rows, ROWS, seed), list(one.labels.names)
        for language in one.languages:
            names = LabelSet.of([said[0] for said in one.names_in(language)])
            labeller = Labeller(scorer, LabelChoice(), names)
            sample = Sample.of(labeller, [row.texts[0] for row in rows])
            gold = np.array([codes.index(row.label) for row in rows])[sample.kept]
            worded = (sample.scores, labeller.own.labels), (sample.others[0], wordings(labeller)[0])
            fitting = np.ones(len(gold), bool)
            moved = [
                made_by(labeller, "refine", labels, sample, scores, fitting, "equal").moved
                for scores, labels in worded
            ]
            apart = (disagreement(sample.scores, sample.others[0]) + disagreement(*moved)) / 2
            shares.append((max(apart, LEAST), max(float((moved[0].argmax(1) != gold).mean()), LEAST)))
    power, scale = np.polyfit(*np.log(np.array(shares)).T, 1)
    return float(np.exp(scale)), float(np.clip(power, 0.1, 1.0))


def background(sets: list[MatchedSet], text: Path, seed: int) -> list[str]:
    """Texts of both languages, half of the sets and half running."""
    drawn = []
    taught = [row.texts[0] for one in sets for row in data.sample(one.rows, ROWS // 4, seed)]
    for language in ("english", "korean"):
        running = (text / f"{language}.txt").read_text(encoding="utf-8").splitlines()
        of_sets = sorted({words for words in taught if is_korean(words) == (language == "korean")})
        drawn += data.sample(of_sets, BACKGROUND // 2, seed)
        drawn += data.sample(running, BACKGROUND - min(len(of_sets), BACKGROUND // 2), seed)
    random.Random(seed).shuffle(drawn)
    return drawn


def shrink(folder: Path) -> None:
    """Leave out what tells of the way and not of the model, and 0.8 MB of indentation in the list of tokens."""
    (folder / "report.json").unlink(missing_ok=True)
    shutil.rmtree(folder / "onnx", ignore_errors=True)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def is_korean(text: str) -> bool:
    """Whether there is any Hangul in it."""
    return any("가" <= letter <= "힣" for letter in text)


def main() -> None:
    """Fit, and put what was fitted into the folder."""
    parser = data.parser(__doc__)
    parser.add_argument("model", type=Path, help="the folder that gets them")
    parser.add_argument("sets", type=Path, help="what model/sets.py wrote")
    parser.add_argument("text", type=Path, help="what model/text.py wrote")
    args = parser.parse_args()
    scorer = open_scorer("embedding", args.model)
    assert isinstance(scorer, EmbeddingScorer)
    sets = [read_set(entry) for entry in read_mixture(args.sets / "held-out" / "mixture.toml")]
    large = [one for one in sets if len(one.labels.names) >= CHOICES]
    with TemporaryDirectory() as kept:  # each text is asked about in two languages and wordings, and read once
        scorer.engine.store = VectorCache(Path(kept), fingerprint="all")
        scores = np.concatenate([part for one in large for part in questions(scorer, one, args.seed)])
        scale, power = errors(scorer, sets, args.seed)
        scorer.engine.store = None
    origin = (
        f"{len(scores):,} questions with {CHOICES} labels each, of texts held out of {len(large)} sets that taught "
        "it (model/finish.py)"
    )
    fitted = Calibration.fit(scores, np.zeros(len(scores), int), origin=origin)
    fitted = replace(fitted, error_scale=scale, error_power=power)
    vectors = scorer.engine.encode(background(sets, args.text, args.seed)).vectors
    write_calibration(args.model, fitted)
    write_background(args.model, vectors)
    shrink(args.model)
    data.say(
        f"temperature {fitted.temperature:.4f}, none {fitted.none_score:.4f}, errors {scale:.2f} d^{power:.2f}"
    )


if __name__ == "__main__":
    main()
