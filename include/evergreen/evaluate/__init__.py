"""How good a candidate is, and whether that is good enough."""
