"""Hundreds of labels at a fair price: scorers that are made of other scorers."""
