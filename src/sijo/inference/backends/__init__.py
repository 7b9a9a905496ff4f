"""What computes for the engine: one class for each way to run a network."""
