"""Predictions of a label with several classes: a probability per class, in place of the one number."""

from __future__ import annotations

STATEMENTS = """
alter table predictions alter column prediction drop not null;
alter table predictions add column probabilities jsonb"""
