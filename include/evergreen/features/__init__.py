"""Which features and labels are due, computing them, and Feast."""
