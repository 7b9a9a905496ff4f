"""Words to rows and tensors; no model."""
