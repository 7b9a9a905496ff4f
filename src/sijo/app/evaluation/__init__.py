"""What `sijo evaluate` does: rows whose labels are known in, every way of labelling them measured, results out."""
