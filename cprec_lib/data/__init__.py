"""From a table of interactions to the windows that a model reads."""
