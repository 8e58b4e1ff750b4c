"""The model server, and the stages that put a version on it."""
