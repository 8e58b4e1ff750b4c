"""Whether a registered version comes out again from what is pinned, and what moved if not."""
