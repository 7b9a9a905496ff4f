"""How good answers are: metrics, intervals, tables and plots; nothing here has heard of a network."""
