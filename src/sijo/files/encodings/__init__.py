"""Text in other encodings than UTF-8: told apart, and read as if it were UTF-8."""
