"""The loops: their one wiring, and what interprets it in one process and in the docs."""
