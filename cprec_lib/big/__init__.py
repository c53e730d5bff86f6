"""Logs that do not fit the memory, and models that do not fit one process."""
