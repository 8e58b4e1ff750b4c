"""What happened in a model's life: one ledger of typed events, and every
question about history as a projection of it."""
