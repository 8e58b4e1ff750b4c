"""What a value should have been, in our own words, from an error of pydantic: its messages speak of
Python's types to people who write YAML.

Both of its versions come by: ours, and the older one inside of Great Expectations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NUMBER, _WHOLE, _TEXT, _LIST, _KEYS = "a number", "a whole number", "text", "a list", "keys with values below it"
_DAY, _MOMENT = "a day, such as 2026-01-31", "a moment, such as 2026-01-31T00:00:00Z"
_PLAIN = {
    "missing": "a value",
    "value_error.missing": "a value",
    "extra_forbidden": "a name that is known here",
    "value_error.extra": "an argument that it takes",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": _WHOLE,
    "type_error.integer": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "type_error.float": _NUMBER,
    "type_error.decimal": _NUMBER,
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "type_error.bool": "true or false",
    "value_error.strictbool": "true or false",
    "string_type": _TEXT,
    "type_error.str": _TEXT,
    "string_too_short": "some text",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "type_error.list": _LIST,
    "type_error.tuple": _LIST,
    "type_error.set": _LIST,
    "type_error.sequence": _LIST,
    "dict_type": _KEYS,
    "model_type": _KEYS,
    "dataclass_type": _KEYS,
    "model_attributes_type": _KEYS,
    "type_error.dict": _KEYS,
    "date_type": _DAY,
    "date_parsing": _DAY,
    "date_from_datetime_parsing": _DAY,
    "date_from_datetime_inexact": _DAY,
    "value_error.date": _DAY,
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "value_error.datetime": _MOMENT,
    "timezone_aware": _MOMENT,
    "none_required": "nothing",
    "type_error.none.not_allowed": "a value",
    "none.not_allowed": "a value",
}
_BOUNDS = {
    "greater_than": ("gt", "more than {}"),
    "greater_than_equal": ("ge", "{} or more"),
    "less_than": ("lt", "less than {}"),
    "less_than_equal": ("le", "{} or less"),
    "value_error.number.not_gt": ("limit_value", "more than {}"),
    "value_error.number.not_ge": ("limit_value", "{} or more"),
    "value_error.number.not_lt": ("limit_value", "less than {}"),
    "value_error.number.not_le": ("limit_value", "{} or less"),
    "too_short": ("min_length", "at least {} of them"),
    "too_long": ("max_length", "at most {} of them"),
    "value_error.list.min_items": ("limit_value", "at least {} of them"),
    "value_error.list.max_items": ("limit_value", "at most {} of them"),
    "value_error.list.unique_items": ("", "each of them once"),
    "string_too_long": ("max_length", "text of at most {} characters"),
    "string_pattern_mismatch": ("pattern", "text of the form {}"),
    "value_error.str.regex": ("pattern", "text of the form {}"),
}


def needed(problem: Mapping[str, Any]) -> str | None:
    """What is allowed instead of a value; None where the error says nothing that we have words for."""
    kind, context = problem["type"], problem.get("ctx") or {}
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return words.format(context.get(name))
    if kind == "value_error" and isinstance(context.get("error"), ValueError):
        return str(context["error"])  # raised by our own schema, in our own words
    if kind in ("enum", "literal_error"):
        return "one of " + str(context["expected"]).replace("'", "").replace(" or ", ", ")
    if kind in ("type_error.enum", "value_error.const"):
        permitted = context.get("enum_values") or context.get("permitted") or ()
        return "one of " + ", ".join(str(getattr(each, "value", each)) for each in permitted)
    return None
