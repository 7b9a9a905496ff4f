"""Whole runs, each in one direction: prepare, build once, train, export what was built."""
