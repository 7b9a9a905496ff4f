"""sijo: compact language models that label text nobody trained them to label."""
