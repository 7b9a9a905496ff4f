"""Sources of rows, each kind in bounded memory."""
