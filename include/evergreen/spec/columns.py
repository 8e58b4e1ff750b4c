"""The columns that Evergreen gives to tables beside those that a spec declares; no
spec may give one of its own such a name."""

from __future__ import annotations

EVENT = "event_timestamp"  # when a row's prediction would have been made, or was asked for
KNOWN_AT = "known_at"  # when a row became available
PARTITION = "partition"  # the day that a row belongs to, which the tables are parted by
PREDICTION = "prediction"
# of several classes; a name that no spec can declare, since a feature may be called `probabilities`
PROBABILITIES = "_probabilities"
ADDED = (EVENT, KNOWN_AT, PARTITION)  # to tables that are made of sources
RESERVED = (*ADDED, PREDICTION)
