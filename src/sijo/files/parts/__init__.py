"""An output in parts: a folder, here or elsewhere, of files small enough to be made again."""
