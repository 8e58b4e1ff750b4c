"""Versioned, partitioned tables, and the catalogue of what is published."""
