"""The calls of transformers' pipelines, answered here: the same arguments in, the same plain values out."""
