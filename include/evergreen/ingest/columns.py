"""The columns that a batch has, against those that its source declares."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence

from evergreen.ingest import limits
from evergreen.ingest.origin import Origin
from evergreen.quoting import shown
from evergreen.spec.dataset import Source
from evergreen.spec.keyed import NAME


def as_declared(
    names: Sequence[str], source: Source, origin: Origin, *, may_miss: Collection[str] = ()
) -> dict[str, str]:
    """The names of a table's columns are those under which the declared ones arrive, and no others.

    Args:
        may_miss: declared columns that need not be there.

    Returns:
        Name that arrives → declared column, of those that are there, in the table's order.

    Raises:
        BatchUnreadable: they are not.
    """
    counts, arriving = Counter(names), source.arriving
    missing = [arrives for arrives, name in arriving.items() if arrives not in counts]
    unexpected = [name for name in counts if name not in arriving]
    twice = sorted(name for name, count in counts.items() if count > 1)
    if unexpected or twice or any(arriving[arrives] not in may_miss for arrives in missing):
        wrong = {
            "missing": [*map(_plainly, missing)],
            "unexpected": [*map(shown, unexpected)],
            "twice": [*map(shown, twice)],
        }
        differences = "; ".join(f"{kind}: {_listed(each)}" for kind, each in wrong.items() if each)
        likely = {_plain(arrives): arrives for arrives in missing}
        alike = {name: likely[_plain(name)] for name in unexpected if _plain(name) in likely}
        reads = [f"{shown(name)} reads like {_plainly(arrives)}" for name, arrives in alike.items()]
        declare = [f"`from: {json.dumps(name)}` of {arriving[arrives]}" for name, arrives in alike.items()]
        raise origin.unreadable(
            f"columns {differences}" + (f" ({_listed(reads)})" if reads else ""),
            f"columns {', '.join(map(_plainly, arriving))}",
            **({"declare": _listed(declare)} if declare else {}),
        )
    return {name: arriving[name] for name in names}


def _plainly(name: str) -> str:
    """A declared name, as a message shows it."""
    return name if re.fullmatch(NAME, name) else shown(name)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - limits.NAMES
    return ", ".join(names[: limits.NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _plain(name: str) -> str:
    """What a reader takes a name for: without what cannot be seen or only parts it, and in lower case."""
    return "".join(one for one in unicodedata.normalize("NFKC", name) if one.isalnum()).lower()
