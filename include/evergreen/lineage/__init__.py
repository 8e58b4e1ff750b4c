"""Where a number comes from, and what became of a file: what was written down of each partition, followed both ways."""
