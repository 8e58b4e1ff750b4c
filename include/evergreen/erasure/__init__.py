"""Erasing one entity, such as a person, from everything that Evergreen keeps (docs/adr/0027)."""
