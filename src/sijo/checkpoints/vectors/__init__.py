"""What a sentence encoder's folder holds beside its network: the steps behind the pooling."""
