"""From a log, read from anywhere or made up, to a table of interactions."""
