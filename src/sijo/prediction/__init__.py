"""What fine-tuned heads answer: the task of a model, rows in, answers out."""
