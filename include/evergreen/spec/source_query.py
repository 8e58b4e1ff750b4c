"""The query of a source that has a connection: what can be seen of its text, without the database that will refuse it.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from evergreen.spec.mistakes import Mistake, nearest

# Comments, texts and quoted names. One that does not end goes to the end: each
# character is looked at once, whatever is written.
_COMMENTS = ("--", "/*", "#")
STANDARD = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|(?<!\w)[eE]'[^'\\]*(?:(?:''|\\.)[^'\\]*)*(?:'|\Z)|'[^']*(?:''[^']*)*(?:'|\Z)"""
    r"""|"[^"]*(?:""[^"]*)*(?:"|\Z)|`[^`]*(?:`|\Z)|(?<![\w$])\$(\w*)\$.*?(?:\$\1\$|\Z)""",
    re.DOTALL,
)
# MySQL's own: a backslash in a text takes the next character with it, # begins a comment, and -- only before a blank.
# What stands in /*! */ is run.
MYSQL = re.compile(
    r"""#[^\n]*|--(?=\s|\Z)[^\n]*|/\*(?!M?!).*?(?:\*/|\Z)|'[^'\\]*(?:(?:''|\\.)[^'\\]*)*(?:'|\Z)"""
    r"""|"[^"\\]*(?:(?:""|\\.)[^"\\]*)*(?:"|\Z)|`[^`]*(?:`|\Z)""",
    re.DOTALL,
)
_PER_CENT = re.compile(r"%(%|\(\w*\)s)?")
_WRITES = re.compile(
    r"\bas\s+(?:(?:not\s+)?materialized\s+)?\(\s*(insert|update|delete|merge)\b|\b(into)\b|\b(for\s+(?:no\s+key\s+update|update|key\s+share|share))\b"
)
# What a read-only transaction does not stop, or what acts outside of it.
_ACTS = re.compile(
    r"\b(nextval|setval|set_config|pg_(?:terminate|cancel)_backend|pg_sleep\w*|pg_read_\w+|pg_ls_\w+|pg_stat_file|pg_file_\w+|lo_\w+|dblink\w*"
    r"|pg_(?:try_)?advisory_\w+|pg_notify|pg_reload_conf|pg_rotate_logfile|pg_switch_wal|pg_promote|pg_create_\w+|pg_drop_\w+|pg_logical_\w+"
    r"|(?:query|cursor)_to_xml\w*|pg_log_\w+|pg_stat_reset\w*"
    # MySQL's, and SQLite's
    r"|(?:get|release)_lock|release_all_locks|sleep|benchmark|load_file|load_extension|sys_\w+)\s*\("
)


def mistakes(file: str, query: str, *, whole: bool = False) -> Iterator[Mistake]:
    """What is wrong with a query as every adapter reads it: one SELECT, bounded by the interval unless it is of a
    whole table, every other % doubled.

    What stands in comments, texts and quoted names is no parameter.
    """
    each_reading = [_used(query, opaque) for opaque in (STANDARD, MYSQL)]  # whose database it is nobody knows yet
    used = [one for one in each_reading[0] if one in each_reading[1]]
    for bound in ("start", "end"):
        if whole and f"({bound})s" in used:
            allowed = "a query of the whole table, which is the same whenever it is asked"
            yield Mistake(file, "", f"%({bound})s", allowed, f"remove %({bound})s, or the source's refresh")
        if not whole and not any(f"({bound})s" in one for one in each_reading):
            there = f"%({bound})s" in query
            yield Mistake(
                file,
                "",
                f"no %({bound})s" + (" but in a comment, a text or a quoted name" if there else ""),
                "a query from %(start)s to %(end)s, the interval's bounds",
                ("no quotes around it, and " if there else "")
                + "compare the time with both: at >= %(start)s AND at < %(end)s",
            )
    for other in dict.fromkeys(used):
        if other == "":
            yield Mistake(file, "", "a single %", "%(start)s, %(end)s, and %% for a per cent sign", "write %%")
        elif other not in ("%", "(start)s", "(end)s"):
            fix = nearest(other[1:-2], ("start", "end"), "use %(start)s and %(end)s")
            yield Mistake(file, "", f"the unknown parameter %{other}", "%(start)s or %(end)s", fix)
    yield from writes(query, file)


def writes(query: str, file: str = "") -> Iterator[Mistake]:
    """What can be seen in a query of more than one SELECT that only reads."""
    yield from _no_select(file, STANDARD.sub(_bare, query).lower().strip().removesuffix(";").strip())


def parts(query: str, opaque: re.Pattern[str] = STANDARD) -> Iterator[tuple[bool, str]]:
    """A query in pieces, each with whether it is SQL that acts: no comment, no text, no quoted name.

    Args:
        opaque: how the database writes those: `STANDARD` or `MYSQL`.
    """
    end = 0
    for each in opaque.finditer(query):
        yield True, query[end : each.start()]
        yield False, each[0]
        end = each.end()
    yield True, query[end:]


def doubled(query: str) -> str:
    """A query as a database takes it, as the file of a source has it: every per cent sign doubled but that of a
    parameter."""
    return "".join(
        re.sub(r"%(?!\(\w*\)s)", "%%", text) if acts else text.replace("%", "%%") for acts, text in parts(query)
    )


def _used(query: str, opaque: re.Pattern[str]) -> list[str]:
    """What follows each per cent sign: of comments none counts, of texts and names no parameter."""
    found: list[str] = []
    for acts, text in parts(query, opaque):
        if acts or not text.startswith(_COMMENTS):
            found += [each[1] or "" for each in _PER_CENT.finditer(text) if acts or not (each[1] or "").startswith("(")]
    return found


def _no_select(file: str, bare: str) -> Iterator[Mistake]:
    only = "one SELECT that only reads"
    if ";" in bare:
        yield Mistake(file, "", "more than one statement", only, "keep the SELECT")
    first = re.match(r"[(\s]*(\w*)", bare)
    if first is not None and first[1] not in ("select", "with", "values", "table"):
        yield Mistake(
            file,
            "",
            f"a statement that begins with {first[1].upper() or bare[:1] or 'nothing'}",
            only,
            "write a SELECT",
        )
    for keyword in dict.fromkeys(" ".join(next(filter(None, each)).split()) for each in _WRITES.findall(bare)):
        yield Mistake(file, "", keyword.upper(), only, f"remove {keyword.upper()}")
    for name in dict.fromkeys(_ACTS.findall(bare)):
        yield Mistake(file, "", f"{name}(), which does more than read", only, f"remove {name}()")


def _bare(part: re.Match[str]) -> str:
    """Nothing of a comment, no content of a text or of a quoted name; but a
    function's name is seen through its quotes."""
    if part[0].startswith(('"', "`")):
        name = part[0].strip('"`')
        return name if _ACTS.fullmatch(f"{name}(") else "quoted"
    return "''" if part[0][0] in "eE'$" else " "
