"""Data Docs and drift reports as pages: what a page may do (policy), where it lies (pages), who serves it (server)."""
