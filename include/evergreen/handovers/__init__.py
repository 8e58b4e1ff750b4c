"""What travels between the stages of a run, and nothing else does: named, frozen,
strict types, documented field by field."""
