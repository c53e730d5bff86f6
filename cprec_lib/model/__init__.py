"""The model: its parts, its search for the top k, and what it costs."""
