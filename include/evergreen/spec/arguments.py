"""What an expectation's arguments may ask of Great Expectations: to compare values, never to run something.

A `row_condition` becomes an expression of pandas, from which `@pd.io…` reaches every module and a column's own methods
write files; a reference in a JSON schema is fetched; a `$PARAMETER` is computed. A contract is no place for code. Pure.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from evergreen.spec.mistakes import one_of

_LONGEST = 1000  # characters of a condition
_NAMED = re.compile(r"`[^`\n]*`")  # a column whose name is no word
METHODS = ("between", "isin", "isna", "isnull", "notna", "notnull")
_PARTS = (
    ast.Expression,
    ast.BoolOp,
    ast.UnaryOp,
    ast.BinOp,
    ast.Compare,
    ast.Name,
    ast.Constant,
    ast.List,
    ast.Tuple,
    ast.expr_context,
    ast.boolop,
    ast.unaryop,
    ast.cmpop,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.Mod,
    ast.BitAnd,
    ast.BitOr,
)
_CONDITION = f"comparisons of columns and values with and, or, not, in, + - * / %, and the methods {one_of(METHODS)}"


def refused(arguments: Mapping[str, Any]) -> Iterator[tuple[str, object, str, str]]:
    """The argument, what was found, what is allowed and the fix, of each that asks for more than to compare."""
    condition = arguments.get("row_condition")
    if condition is not None and not (isinstance(condition, str) and _compares(condition)):
        fix = "write amount > 0 and plan.notnull(), for one, beside condition_parser: pandas"
        yield "row_condition", condition, _CONDITION, fix
    for name, value in arguments.items():
        for key, inner in _entries(value):
            if key == "$PARAMETER":
                yield name, "$PARAMETER", "the value itself", "write the value"
            elif key in ("$ref", "$dynamicRef", "$schema") and not re.match(
                r"#|https?://json-schema\.org/", str(inner)
            ):
                yield (
                    name,
                    f"{key}: {inner}",
                    "a reference within the schema, beginning with #",
                    "write it out below $defs",
                )


def cost(arguments: Mapping[str, Any]) -> int:
    """How many values of YAML the look at them is worth, beside their own: two characters of a
    condition take as long as one to parse."""
    return min(len(str(arguments.get("row_condition", ""))), _LONGEST) // 2


def _compares(condition: str) -> bool:
    named = _NAMED.findall(condition)
    if len(condition) > _LONGEST or "@" in condition or any({"'", '"'} & {*name} for name in named):
        return False  # with a quote in it, what looks like a name may be the code between two texts
    try:
        tree = ast.parse(_NAMED.sub("column", condition.strip()), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call) and not node.keywords]
    methods = {id(each) for each in called if isinstance(each, ast.Attribute) and each.attr in METHODS}
    return all(
        isinstance(node, _PARTS) or id(node) in methods or (isinstance(node, ast.Call) and id(node.func) in methods)
        for node in ast.walk(tree)
    )


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key within a value, with what it holds."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield from each.items()
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
