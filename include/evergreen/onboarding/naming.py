"""Names that a spec may have, made of those that a file has."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from evergreen.spec.columns import RESERVED_KEYS

_LONGEST = 34  # of the 40 that a name may have: features are named after columns, with what they tell
# To DuckDB they are words of its own; a column of such a name would have to be quoted in every query.
_RESERVED = """
    all analyse analyze and anti any array as asc asof asymmetric at authorization binary both by case cast check
    collate collation column concurrently constraint create cross default deferrable desc describe distinct do else
    end except false fetch for foreign freeze from full glob group having ilike in initially inner intersect into is
    isnull join lambda lateral leading left like limit natural not notnull null offset on only or order outer
    overlaps pivot pivot_longer pivot_wider placing positional primary qualify references returning right select
    semi show similar some summarize symmetric table tablesample then to trailing true union unique unpack unpivot
    using variadic verbose when where window with
"""
RESERVED_WORDS = frozenset(_RESERVED.split())
_OF_KEYS = {"id", "ids", "key", "no", "number", "code", "uuid", "index", "nr"}
_WORD = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[^\W\d]\w*")


def name_of(text: str, otherwise: str = "field") -> str:
    """A name made of any text: `MinTemp` is `min_temp`, `Ziel Wert` `ziel_wert`, `2nd` `n2nd`."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode()
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain)
    name = re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")
    if not name:
        return otherwise
    name = (name if name[0].isalpha() else f"n{name}")[:_LONGEST].rstrip("_")
    return f"{name}_value" if name in RESERVED_WORDS or name in RESERVED_KEYS else name


def names_of(texts: Iterable[str]) -> dict[str, str]:
    """Each text's name, none twice."""
    names: dict[str, str] = {}
    for text in texts:
        first = name = name_of(text)
        number = 2
        while name in names.values():
            name, number = f"{first}_{number}", number + 1
        names[text] = name
    return names


def stated_column(stated: str, names: Mapping[str, str]) -> str | None:
    """The file's name of a column that a user names as the file does, in any case, or as we do; None: there is none.

    Args:
        names: the file's name of a column → ours.
    """
    if stated in names:
        return stated
    plain = stated.strip().lower()
    return next((each for each in names if each.strip().lower() == plain or names[each] == stated), None)


def named_as_key(name: str) -> bool:
    """Whether a column is called as those are that name things."""
    return name.rpartition("_")[2] in _OF_KEYS


def named_as_birth(name: str) -> bool:
    """Whether a column is called as those are that say when somebody was born, which is not when a row happened."""
    return any(
        part.startswith(("birth", "born")) or part in ("dob", "bday", "geburtsdatum") for part in name.split("_")
    )


def renamed(expression: str, names: Mapping[str, str]) -> str:
    """An SQL expression over a file's columns, over the names made of them.

    Args:
        names: the file's name of a column → ours.
    """
    by_word = {text.lower(): name for text, name in names.items()}

    def replaced(match: re.Match[str]) -> str:
        word = match.group()
        if word.startswith("'"):
            return word
        bare = word[1:-1].replace('""', '"') if word.startswith('"') else word
        return by_word.get(bare.lower(), word)

    return _WORD.sub(replaced, expression)


def words(expression: str) -> list[str]:
    """The names in an SQL expression, in lower case, in order; texts are none."""
    return [word.strip('"').lower() for word in _WORD.findall(expression) if not word.startswith("'")]
