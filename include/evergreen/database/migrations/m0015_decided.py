"""The class that was answered, beside the prediction."""

from __future__ import annotations

STATEMENTS = "alter table predictions add column decided text"
