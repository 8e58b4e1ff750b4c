"""Labels: what became of what was predicted, computed by the loops of the model that learns it."""
