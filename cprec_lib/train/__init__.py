"""Training and evaluation, in one process or several, recorded in a folder."""
