"""Tensors to tensors: an architecture is a value, a Transformer is made of parts. No files, no text, no loss."""
