"""In which order labels stand in a row."""

import numpy as np

from sijo.zeroshot.labeller import ranking


def test_the_order_of_labels_is_that_of_probabilities_scores_and_places():
    # kills: equals in whatever order a fast sort leaves them; a parent raised above what its score tells
    random = np.random.default_rng(0)
    scores = random.integers(4, size=(40, 300)).astype(float)
    probabilities = np.round(scores / 2) / 300
    probabilities[20:] = random.permutation(probabilities[20:], axis=1)
    for row, order in enumerate(ranking(scores, probabilities).tolist()):
        assert order == sorted(range(300), key=lambda j, row=row: (-probabilities[row, j], -scores[row, j], j))
    apart = random.permutation(300).astype(float)[None]
    assert ranking(apart, apart).tolist() == [np.argsort(-apart[0]).tolist()]
    lifted = np.where(apart == 7, 900.0, apart)
    assert ranking(apart, lifted)[0, 0] == int(apart[0].tolist().index(7))
