"""From a few labels: the commands that fit a classifier, and that tell what to label next."""
