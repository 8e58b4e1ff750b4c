"""`make demo`: the closed loop on real components, told from an empty folder to its end, and read back."""
