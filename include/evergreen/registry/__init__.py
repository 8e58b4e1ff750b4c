"""Versions that passed their gates: which one serves, which may replace it, and who decided what."""
