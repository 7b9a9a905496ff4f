"""The commands that train: what to read and where to write is read here, and one job does the rest."""
