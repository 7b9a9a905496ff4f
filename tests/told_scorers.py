"""A scorer that says what it is told to: of texts and labels by name, and nothing of what it is not asked."""

import numpy as np

from sijo.inference.outputs import ReadCounts
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.open import open_scorer


class ToldScorer(EmbeddingScorer):
    """Scores (texts, labels) out of a table by the number that a text is; NaN for labels that are not asked for.

    table  (n, L) by the names in order
    beside  what each label that stands before another adds to it, for a scorer that reads labels beside each other
    """

    name = "told"

    def __init__(self, table, names, *, beside=0.0):
        super().__init__(open_scorer("embedding", None).engine)
        self.table, self.beside = np.asarray(table, float), beside
        self.places = {name: place for place, name in enumerate(names)}
        self.reads_others = bool(beside)
        self.asked, self.requests = 0, []

    def score(self, request):
        """See `Scorer.score`; a text without words has no tokens."""
        columns = [self.places[label.name] for label in request.labels]
        rows = [int(text or 0) for text in request.texts]
        wanted = request.wanted
        self.asked += int(wanted.sum())
        self.requests.append(wanted.shape)
        scores = self.table[np.ix_(rows, columns)] + self.beside * (wanted.cumsum(1) - 1)
        tokens = np.array([len(text) for text in request.texts])
        none = np.zeros(len(rows), np.int64)
        return np.where(wanted, scores, np.nan), ReadCounts(tokens, none + 1, none > 0)
