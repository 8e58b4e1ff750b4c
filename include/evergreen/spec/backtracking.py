"""Whether a regular expression can be made to run without end: pandas tries them by
backtracking, on text that upstream writes.

For each repeat of a pattern a text is made that reaches it, repeats what it takes and then breaks off; a process of its
own tries the pattern on them and is ended when that takes long. `(a+)+$` takes 2^n steps on n letters,
`([a-z]+-)*[a-z]+` n.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from re import _constants as kind  # type: ignore[attr-defined]  # the parser of `re` has no public name
from re import _parser as parser  # type: ignore[attr-defined]  # the parser of `re` has no public name
from typing import Any

_TIMES = 32  # a repeat is repeated
_SECONDS = 2  # of computing, that a pattern may take for all of them; a busy machine makes no pattern slow
_PATIENCE = 60.0  # seconds for the process to come and go
_TRY = """
import json, re, resource, sys
pattern, texts, seconds = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
for text in texts:
    re.search(pattern, text)
"""
_SAMPLES = {
    kind.CATEGORY_DIGIT: "0",
    kind.CATEGORY_SPACE: " ",
    kind.CATEGORY_WORD: "a",
    kind.CATEGORY_NOT_DIGIT: "a",
    kind.CATEGORY_NOT_SPACE: "a",
    kind.CATEGORY_NOT_WORD: "-",
}


def endless(pattern: str) -> bool:
    """Whether the pattern takes seconds on one of the texts that are made for it.

    Raises:
        re.error: it is no regular expression.
    """
    parsed = parser.parse(pattern)
    texts = [before + body * _TIMES + "\x01" for before, body in _repeats(parsed, "")]
    if not texts:
        return False
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _TRY],
        input=json.dumps([pattern, texts, _SECONDS]),
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode < 0:
        return True
    done.check_returncode()
    return False


def _repeats(items: Any, before: str) -> Iterator[tuple[str, str]]:
    """Of each repeat: a text that leads to it, and one that it takes once."""
    for op, argument in items:
        for inner in _within(op, argument):
            yield from _repeats(inner, before)
        if op in (kind.MAX_REPEAT, kind.MIN_REPEAT) and argument[1] >= _TIMES:
            yield before, _least(argument[2]) or _least(argument[2], optional=True)
        before += _least([(op, argument)])


def _within(op: Any, argument: Any) -> list[Any]:
    if op in (kind.MAX_REPEAT, kind.MIN_REPEAT):
        return [argument[2]]
    if op is kind.SUBPATTERN:
        return [argument[-1]]
    if op is kind.BRANCH:
        return list(argument[1])
    return [argument[1]] if op in (kind.ASSERT, kind.ASSERT_NOT) else []


def _least(items: Any, *, optional: bool = False) -> str:
    """A short text that the items take; with `optional`, once what may be left out."""
    sample = ""
    for op, argument in items:
        if op is kind.LITERAL:
            sample += chr(argument)
        elif op is kind.NOT_LITERAL:
            sample += "a" if argument != ord("a") else "b"
        elif op is kind.ANY:
            sample += "a"
        elif op is kind.IN:
            sample += _of_class(argument)
        elif op in (kind.MAX_REPEAT, kind.MIN_REPEAT):
            sample += _least(argument[2], optional=optional) * max(min(argument[0], _TIMES), int(optional))
        elif op in (kind.SUBPATTERN, kind.BRANCH):
            sample += _least(_within(op, argument)[0], optional=optional)
    return sample


def _of_class(members: Any) -> str:
    negated = members[0][0] is kind.NEGATE
    for op, argument in members:
        if negated:
            taken = {chr(a) for o, a in members if o is kind.LITERAL}
            return next(each for each in "a0-\x02" if each not in taken or each == "\x02")
        if op is kind.LITERAL:
            return chr(argument)
        if op is kind.RANGE:
            return chr(argument[0])
        if op is kind.CATEGORY:
            return _SAMPLES.get(argument, "a")
    return "a"
