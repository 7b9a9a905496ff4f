"""What a network is taught: an objective poses a question over a clean batch and answers with sums and counts."""
