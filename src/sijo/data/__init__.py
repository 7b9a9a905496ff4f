"""Text and labelled rows as inputs of a network, by functions of a seed and a sample's number."""
