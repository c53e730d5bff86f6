"""Experiments, their records, and the verdicts on the claims."""
