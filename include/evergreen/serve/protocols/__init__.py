"""Other servers' words for the same question and answer: a module for each protocol, which translates and does nothing
else."""
