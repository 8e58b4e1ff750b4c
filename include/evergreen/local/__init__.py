"""The embedded stack: everything a laptop needs to run Evergreen, started and stopped as plain processes."""
