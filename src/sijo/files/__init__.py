"""Bytes on disk: safe paths, whole files and folders, work that can be resumed, a cache, tables in and rows out."""
