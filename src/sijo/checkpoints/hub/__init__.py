"""Models of the Hugging Face Hub: what travels, and what a person is told when it does not."""
