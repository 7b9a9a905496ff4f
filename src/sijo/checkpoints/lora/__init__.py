"""What a LoRA adapter is made of: patterns that name its modules, and their merging into a model."""
