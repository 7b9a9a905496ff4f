"""From a few labels: a head over sentence vectors, and which texts to label next."""
