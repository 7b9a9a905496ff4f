"""How well a label fits a text: a class for each kind of head, and their registry."""
