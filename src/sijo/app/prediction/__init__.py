"""`sijo predict`, and what a run of it or of `sijo classify` would be."""
