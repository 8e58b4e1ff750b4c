"""Corrections: what a batch that was sent anew, or a row that is released, changes; and the change itself."""
