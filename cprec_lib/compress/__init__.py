"""Ways to make a model small, raced at equal bytes."""
