"""Reads of files in the background, past the system's cache."""
