"""`sijo evaluate`: rows whose labels are known in, every way of labelling them measured, results out."""
