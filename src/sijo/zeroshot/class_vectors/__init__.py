"""Classes as vectors, of descriptions or attributes: what labelled classes tell of others."""
