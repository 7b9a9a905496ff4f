"""Folders in Hugging Face layout: found, read safely, made into a model."""
