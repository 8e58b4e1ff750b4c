"""The contract of a training set: it follows from the spec, so nobody writes it."""

from __future__ import annotations

from datetime import datetime

from evergreen.spec.columns import EVENT
from evergreen.spec.contract import Contract
from evergreen.spec.schema import ModelSpec

USUAL = 0.5  # a feature that more rows lack than this is worth a look; a legitimate gap may be greater

_ENOUGH_ROWS = "expect_table_row_count_to_be_between"
_EVERY_CLASS = "expect_column_unique_value_count_to_be_between"
EVIDENCE = (_ENOUGH_ROWS, _EVERY_CLASS)  # types whose failure says that there is not enough to learn from


def contract(spec: ModelSpec, as_of: datetime) -> Contract:
    """What holds for every training set of a model as of a moment.

    All columns are there; the label is not always the same, has a value of its kind, and was mature at `as_of`; a key
    stands once per cutoff; there are at least `split.minimum_rows` rows; no feature is missing from every row.
    """
    keys, label, features = [*spec.entity.columns], spec.label.name, list(spec.feature_types)
    non_null = "expect_column_proportion_of_non_null_values_to_be_between"
    columns = [*spec.keys, EVENT, label, *features]
    mature = spec.calendar.earlier(as_of, spec.label.horizon).isoformat()
    values = spec.problem.values
    in_set: dict[str, object] = {"type": "expect_column_values_to_be_in_set", "column": label}
    classes = [] if values is None else [{**in_set, "value_set": list(values)}]
    expectations: tuple[dict[str, object], ...] = (
        {"type": "expect_table_columns_to_match_set", "column_set": columns, "exact_match": False},
        {"type": _ENOUGH_ROWS, "min_value": spec.split.minimum_rows},
        {"type": _EVERY_CLASS, "column": label, "min_value": spec.problem.fewest_labels},
        {"type": "expect_column_values_to_not_be_null", "column": label},
        *classes,
        {"type": "expect_column_values_to_be_between", "column": EVENT, "max_value": mature},
        {"type": "expect_compound_columns_to_be_unique", "column_list": [*keys, EVENT]},
        *({"type": non_null, "column": name, "min_value": 0, "strict_min": True} for name in features),
        *({"type": non_null, "column": name, "min_value": 1 - USUAL, "severity": "warning"} for name in features),
    )
    return Contract.model_validate({"expectations": expectations})
