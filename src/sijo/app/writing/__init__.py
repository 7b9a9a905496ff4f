"""`sijo generate` and `sijo attribute`: text under control codes, and whose it is."""
