"""Checkpoints in another form, made folders that sijo opens: pickles, TensorFlow's names."""
