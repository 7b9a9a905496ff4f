"""Learning to fit labels given in words: sets of rows in many wordings, and two ways to learn from them."""
