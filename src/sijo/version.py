"""The version of sijo, for whoever writes it down without importing what users import."""

__version__ = "0.1.0"
