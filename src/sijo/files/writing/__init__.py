"""How values look in a file that is written: as text, and in the cells of a sheet."""
