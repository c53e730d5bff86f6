"""Read a log from a file, a folder or a registered source into a table."""
