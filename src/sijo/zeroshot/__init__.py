"""Labels for text, with no training on the labels: scorers, the classifier, and how well it did."""
