"""What makes a model fast: batches of like length under a token budget, and vectors kept between runs."""
