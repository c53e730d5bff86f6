"""Logs of interactions: reading, generating, numbering and cutting them."""
