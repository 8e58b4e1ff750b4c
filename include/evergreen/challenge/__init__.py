"""The loop of an open rollout: what both versions answered, how they compare, and the move that follows."""
