"""Public benchmarks, where the Hub can be reached: MTEB's classification tasks, and BTZSC.

    pip install "mteb>=2.26" && python benchmarks/public.py mteb --languages eng kor --out runs/mteb.jsonl
    python benchmarks/public.py btzsc --out runs/btzsc.jsonl

**Not run: the machine that sijo was made on reaches no Hub.** What is tested (tests/test_public_benchmarks.py) is
that the code runs, on data of the same form. No figure of either stands anywhere in this repository.

- MTEB (Muennighoff et al. 2023, arXiv:2210.07316) is run by its own package, as it is run for anybody: a logistic
  regression on the vectors of 8 to 16 texts a label, ten times; accuracy, or what the task names.
- BTZSC (Aarab 2026, arXiv:2603.11991): 22 English sets of which no label may be trained on. A row of its file is a
  text beside one hypothesis; those of a text follow each other. Hypotheses are given as they are, in place of
  labels; macro-F1 and accuracy are over a set's labels, with 95 % intervals over its texts. The benchmark's own
  package (0.1.2) counts a set's labels by where the first row's mark comes again, and takes the first text's
  hypotheses for all texts; here each text's are read, and rows that are no whole groups are refused.

Every set is written to --out when it is done; the same command goes on where it was stopped. The built-in model has
learned from CLINC150 and Naver's film reviews, among others (docs/model.md): tasks made of them say nothing.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sijo
from sijo.evaluation.intervals import intervals
from sijo.evaluation.metrics import classified

BTZSC = "btzsc/btzsc"
SETS = {
    "sentiment": "amazonpolarity imdb appreviews yelpreviews rottentomatoes financialphrasebank",
    "emotion": "emotiondair empathetic",
    "intent": "banking77 biasframes_intent massive",
    "topic": (
        "agnews yahootopics trueteacher manifesto capsotu biasframes_offensive biasframes_sex "
        "wikitoxic_toxicaggregated wikitoxic_obscene wikitoxic_threat wikitoxic_insult"
    ),
}
"""The sets of BTZSC by task, as its paper groups them."""


class ZeroShotSet(NamedTuple):
    """Texts, the labels of all of them, and which is right."""

    texts: list[str]
    labels: list[str]
    right: list[int]


def grouped(rows: Any) -> ZeroShotSet:
    """The texts of BTZSC's pairs.

    rows  columns text, hypothesis and labels (1 where the hypothesis is the text's): those of a text follow each
          other, in any order of hypotheses

    Raises ValueError for rows that are not so.
    """
    texts, hypotheses, fits = (list(rows[name]) for name in ("text", "hypothesis", "labels"))
    labels = list(dict.fromkeys(hypotheses))
    count = len(labels)
    if count < 2 or len(texts) % count:
        raise ValueError(f"{len(texts):,} rows are no groups of {count} hypotheses")
    right = []
    for begin in range(0, len(texts), count):
        group = slice(begin, begin + count)
        whole = len({*texts[group]}) == 1 and {*hypotheses[group]} == {*labels}
        if not whole or fits[group].count(1) != 1:
            raise ValueError(f"rows {begin:,} to {begin + count - 1:,} are not one text with one right hypothesis")
        right.append(labels.index(hypotheses[begin + fits[group].index(1)]))
    return ZeroShotSet(texts[::count], labels, right)


def btzsc_set(name: str) -> ZeroShotSet:
    """A set of BTZSC, from the Hub or its cache."""
    from datasets import load_dataset

    return grouped(load_dataset(BTZSC, name=name, split="test"))


def measured(model: str | None, data: ZeroShotSet, *, most: int | None, seed: int = 0) -> dict[str, Any]:
    """How well a model labels a set, with 95 % intervals over its texts.

    most  how many texts are read, from the first; None for all
    """
    texts, right = data.texts[:most], data.right[:most]
    classifier = sijo.ZeroShotClassifier(data.labels, model, hypothesis_template="{}")
    place = {label: number for number, label in enumerate(data.labels)}
    told = [place[label] for label in classifier.fit().predict(texts)]
    metrics = classified(np.array(right), np.array(told), len(data.labels))
    found = {name: interval.to_dict() for name, interval in intervals(metrics, len(texts), seed=seed).items()}
    return {"texts": len(texts), "labels": len(data.labels)} | found


def run_btzsc(model: str | None, out: Path, sets: Sequence[str], most: int | None) -> Iterator[dict[str, Any]]:
    """Measure what `out` does not hold yet."""
    done = {row["set"] for row in read(out)}
    for task, names in SETS.items():
        for name in names.split():
            if name in sets and name not in done:
                yield {"set": name, "task": task, "model": model} | measured(model, btzsc_set(name), most=most)


def run_mteb(
    model: str | None, out: Path, languages: Sequence[str], tasks: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Run MTEB's classification tasks that `out` does not hold yet, by its own package."""
    import mteb

    done = {row["set"] for row in read(out)}
    wanted = mteb.get_tasks(tasks=list(tasks) or None, task_types=["Classification"], languages=list(languages))
    for task in wanted:
        if task.metadata.name not in done:
            yield by_mteb(model, task)


def by_mteb(model: str | None, task: Any) -> dict[str, Any]:
    """What MTEB says of a model on one of its tasks."""
    import mteb
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ModelMeta

    class Encoder(AbsEncoder):
        """sijo, as MTEB calls what it measures."""

        mteb_model_meta = ModelMeta.create_empty({"name": f"sijo/{Path(model or 'sijo-small').name}"})

        def encode(self, inputs: Any, **_: Any) -> Any:
            """A vector for each text of its batches."""
            return sijo.encode(model, [text for batch in inputs for text in batch["text"]])

    told = mteb.evaluate(Encoder(), [task], cache=None, overwrite_strategy="always")
    return {
        "set": task.metadata.name,
        "model": model,
        "score": told[0].get_score(),
        "measure": task.metadata.main_score,
    }


def read(out: Path) -> list[dict[str, Any]]:
    """What was measured before."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def main() -> None:
    """Measure, a line of JSON for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=["mteb", "btzsc"])
    parser.add_argument("--model", help="a folder or org/name; by default the built-in one")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=[], help="names of some; all by default")
    parser.add_argument("--languages", nargs="+", default=["eng"], help="of MTEB's tasks, such as kor")
    parser.add_argument("--most", type=int, help="texts of each set of BTZSC; all by default, which are 290,000")
    given = parser.parse_args()
    every = [name for names in SETS.values() for name in names.split()]
    if given.benchmark == "btzsc":
        rows = run_btzsc(given.model, given.out, given.sets or every, given.most)
    else:
        rows = run_mteb(given.model, given.out, given.languages, given.sets)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for row in rows:
        with given.out.open("a", encoding="utf-8") as file:
            print(json.dumps(row, ensure_ascii=False), file=file)
        print(json.dumps(row, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
