"""The columns that Evergreen gives to tables beside those that a spec declares; no
spec may give one of its own such a name."""

from __future__ import annotations

EVENT = "event_timestamp"  # when a row's prediction would have been made, or was asked for
KNOWN_AT = "known_at"  # when a row became available
PARTITION = "partition"  # the interval that a row belongs to, which the tables are parted by
BATCH_DIGEST = "batch"  # of a row in quarantine: which batch brought it
PREDICTION = "prediction"
OF_CLASS = f"{PREDICTION}."  # before the class in the name of a column, where each class has one
# of several classes; a name that no spec can declare, since a feature may be called `probabilities`
PROBABILITIES = "_probabilities"
# of a prediction, beside its features
REQUEST_ID = "request_id"
VERSION = "version"
AS_OF = "as_of"
FEATURES_AT = "features_at"
LOGGED_AT = "_logged_at"  # no spec can declare it either
LABEL = "label"  # a prediction's outcome, whatever the spec calls it
CLASS = "class"  # in an answer: what is decided on
ERROR = "error"  # in an answer: why there is no prediction
EXPLANATION = "explanation"  # in an answer: what its inputs contributed
STALE = "stale"  # in an answer: the views whose features are too old
ROLE = "role"  # in an answer: of the version beside the champion, where that answered

ADDED = (EVENT, KNOWN_AT, PARTITION, BATCH_DIGEST)  # to tables that are made of sources
RESERVED = (EVENT, KNOWN_AT, PARTITION, PREDICTION, REQUEST_ID, VERSION, AS_OF, FEATURES_AT, LABEL)
RESERVED_KEYS = (*RESERVED, CLASS, ERROR, EXPLANATION, STALE, ROLE)  # an answer holds the key beside them


def is_output(column: str) -> bool:
    """Whether a column of a model's reference rows holds predictions; no feature can have such a name."""
    return column == PREDICTION or column.startswith(OF_CLASS)


def class_of(output: str) -> str:
    """The class whose probabilities an output column holds."""
    return output.removeprefix(OF_CLASS)
