"""What `sijo classify --explain` is asked, and what it shows."""
