"""Probabilities that can be believed: what texts, labelled or not, tell of labels, fitted once and frozen."""
