"""How tables are named and said to be read, and several read as one."""
