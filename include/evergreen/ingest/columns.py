"""The columns that a batch has, against those that its source declares."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from evergreen.ingest import limits
from evergreen.ingest.origin import Origin
from evergreen.quoting import shown
from evergreen.spec.dataset import Source


def as_declared(names: Sequence[str], source: Source, origin: Origin) -> None:
    """The names of a table's columns are the declared ones and no others.

    Raises:
        BatchUnreadable: they are not.
    """
    counts = Counter(names)
    missing = [name for name in source.columns if name not in counts]
    unexpected = [name for name in counts if name not in source.columns]
    twice = sorted(name for name, count in counts.items() if count > 1)
    if missing or unexpected or twice:
        wrong = {"missing": missing, "unexpected": [*map(shown, unexpected)], "twice": [*map(shown, twice)]}
        differences = "; ".join(f"{kind}: {_listed(each)}" for kind, each in wrong.items() if each)
        alike = [f"{shown(name)} reads like {_plain(name)}" for name in unexpected if _plain(name) in missing]
        raise origin.unreadable(
            f"columns {differences}" + (f" ({_listed(alike)})" if alike else ""), f"columns {', '.join(source.columns)}"
        )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - limits.NAMES
    return ", ".join(names[: limits.NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _plain(name: str) -> str:
    """What a reader takes a name for: without what cannot be seen, and in lower case."""
    return "".join(one for one in unicodedata.normalize("NFKC", name) if one.isalnum() or one == "_").lower()
