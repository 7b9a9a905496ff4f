"""Writing: sampling rules, and the loop that writes a text token by token."""
