"""Tables of interactions: numbered, split and cut into windows, or made up."""
