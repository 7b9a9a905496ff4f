"""What the codes of a tiny CTRL do: sources told apart, and reviews written under one star and five.

    python model/ctrl_measure.py FOLDER [--output ctrl.json]

FOLDER is ctrl.py's, with what it kept apart. With Wilson's 95 % intervals:

  attribution  passages of 40 to 80 words of each kind of English, and whole reviews of each rating: the share whose
               likeliest of all codes is the right one, by code and together; of reviews also the share whose
               likeliest code is off by one star at most, and the share of one and two, four and five stars whose
               likelier side is the right one. By chance: one in as many as there are codes
  obedience    reviews written under Stars-1 and Stars-5 (temperature 1, top-p 0.9, no penalty): the share that a
               classifier calls negative, beside the share of real ones as long. It is a logistic regression of one
               to three letters by TF-IDF, taught by the texts that the model has learned from
"""

import random
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))  # passages are cut as domains.py cuts them

from domains import as_many_of_each, cut  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import Pipeline, make_pipeline  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

import data  # noqa: E402
import sijo  # noqa: E402
from sijo.evaluation.intervals import share_interval  # noqa: E402
from sijo.generation.attribute import Attributor  # noqa: E402

WRITTEN = 24
"""Tokens of a review that is written: about as many as a real one has."""
Rows = list[tuple[str, str]]
"""Codes and texts."""


def documents(file: Path) -> list[str]:
    """The documents that ctrl.py has written into a file."""
    return file.read_text(encoding="utf-8").strip().split("\n\n")


def share(right: Sequence[bool] | np.ndarray) -> dict[str, float | int | None]:
    """A share with its interval, and of how many."""
    return share_interval(int(np.sum(right)), len(right)).to_dict() | {"n": len(right)}


def attribution(model: sijo.Model, rows: Rows, stars: Sequence[str]) -> dict[str, object]:
    """How often the likeliest code is the right one.

    stars  the codes of reviews, from the fewest stars to the most; empty where there are none
    """
    gold = np.array([code for code, _ in rows])
    attributions = Attributor(model).attribute([text for _, text in rows])
    best = np.array([ranked.codes[0] for ranked in attributions])
    review = np.isin(gold, stars)
    figures: dict[str, object] = {
        "codes": len(attributions[0].codes),
        "all": share(best == gold),
        "english": share((best == gold)[~review]),
        "by code": {str(code): share((best == gold)[gold == code]) for code in dict.fromkeys(gold)},
        "language": share(np.isin(best, stars) == review),
    }
    if stars:
        place = {code: number for number, code in enumerate(stars)}
        near = [abs(place[a] - place.get(b, 99)) <= 1 for a, b in zip(gold[review], best[review], strict=True)]
        figures |= {"reviews": share((best == gold)[review]), "reviews, off by one star at most": share(near)}
        low, high = stars[: len(stars) // 2], stars[-(len(stars) // 2) :]
        sides = []
        for ranked, code in zip(attributions, gold, strict=True):
            if code in low or code in high:
                posterior = dict(zip(ranked.codes, ranked.logprobs, strict=True))
                less, more = (np.logaddexp.reduce([posterior[name] for name in side]) for side in (low, high))
                sides.append((more > less) == (code in high))
        figures["reviews, the right side"] = share(sides)
    return figures


def judge_of(folder: Path, low: str, high: str) -> Pipeline:
    """A classifier of the reviews that were learned from under two codes."""
    rows = [(code, text) for code in (low, high) for text in documents(folder / "texts" / f"{code}.txt")]
    features = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=3, sublinear_tf=True, dtype=np.float32)
    judge = make_pipeline(features, LogisticRegression(C=10.0, max_iter=100, tol=1e-3))
    with threadpool_limits(1):
        return judge.fit([text for _, text in rows], [code for code, _ in rows])


def obedience(model: sijo.Model, folder: Path, ends: tuple[str, str], texts: int, seed: int) -> dict[str, object]:
    """The share of reviews called negative: written under the fewest stars and under the most, and real ones."""
    judge = judge_of(folder, *ends)
    figures: dict[str, object] = {}
    for place, code in enumerate(ends):
        written = sijo.generate(
            model,
            [""] * texts,
            control_code=code,
            max_new_tokens=WRITTEN,
            temperature=1.0,
            top_p=0.9,
            penalty=1.0,
            seed=seed + place * texts,
        )
        real = documents(folder / "held-out" / f"{code}.txt")
        real = [model.tokenizer.decode(ids[:WRITTEN]) for ids in model.tokenizer.ids(real)]
        figures[code] = {
            "written, called negative": share(judge.predict(written) == ends[0]),
            "real, called negative": share(judge.predict(real) == ends[0]),
            "examples": written[:5],
        }
    return figures


def main() -> None:
    """Measure, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("folder", type=Path, help="what ctrl.py has made")
    parser.add_argument("--texts", type=int, default=200, help="of each code, asked about and written (200)")
    args = parser.parse_args()
    codes = sorted(file.stem for file in (args.folder / "held-out").glob("*.txt"))
    ratings = tomllib.loads((HERE / "ctrl.toml").read_text(encoding="utf-8"))["ratings"]
    stars = [code for code in ratings if code in codes]
    held_out = [(code, text) for code in codes for text in documents(args.folder / "held-out" / f"{code}.txt")]
    rng = random.Random(args.seed)
    rows = list(cut([row for row in held_out if row[0] not in stars], rng))
    rows = as_many_of_each(rows, args.texts * (len(codes) - len(stars)), rng)
    of_reviews = [row for row in held_out if row[0] in stars]
    rows += as_many_of_each(of_reviews, args.texts * len(stars), rng) if stars else []
    model = sijo.load(args.folder / "run" / "model", head="lm")
    figures: dict[str, object] = {"attribution": attribution(model, rows, stars)}
    data.say(f"attribution: {figures['attribution']}")
    if stars:
        figures["obedience"] = obedience(model, args.folder, (stars[0], stars[-1]), args.texts, args.seed)
        data.say(f"obedience: {figures['obedience']}")
    data.report(args, {"texts": len(rows), "codes": len(codes)}, figures)


if __name__ == "__main__":
    main()
