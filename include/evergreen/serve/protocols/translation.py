"""What a protocol's module is, and what each of them does alike with a body."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from evergreen.quoting import shown
from evergreen.serve.messages import MAX_BATCH
from evergreen.spec.schema import ModelSpec

Json = dict[str, Any]


class Asking(Protocol):
    """A request in one of the protocols, as far as it was understood."""

    @property
    def entities(self) -> Sequence[Mapping[str, Any]]:
        """As our endpoint takes them."""
        ...

    @property
    def as_of(self) -> Any:
        """The moment that it names, if it does; only in replay mode."""
        ...

    def answer(self, ours: Json) -> Json:
        """The protocol's answer, out of ours."""
        ...


class Spoken(Protocol):
    """A protocol."""

    def asked(self, body: Json, spec: ModelSpec) -> Asking:
        """What a body asks of a model.

        Raises:
            HTTPException, RequestValidationError: it is no request of the protocol.
        """
        ...

    def refused(self, status: int, why: str) -> Json:
        """The answer of a request that is refused."""
        ...


def parsed(content: bytes) -> Json:
    """The JSON object of a body.

    Raises:
        RequestValidationError: it is none, or has a key twice in one object.
    """
    try:
        body = json.loads(content, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise wrong((), "the JSON is nested too deeply") from None
    except ValueError as error:  # of JSON, or of the encoding
        raise wrong((), f"no JSON: {error}") from None
    if not isinstance(body, dict):
        raise wrong((), "expected an object")
    return body


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, count = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {shown(twice)} stands {count} times in one object")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number; send null for what is not known")


def wrong(place: tuple[str | int, ...], why: str) -> RequestValidationError:
    """422: at this place of the body there is something else than belongs there."""
    return RequestValidationError([{"type": "protocol", "loc": ("body", *place), "msg": why}])


def one_of(body: Json, names: Sequence[str]) -> str:
    """The one of the names that the body has.

    Raises:
        RequestValidationError: it has none, or several.
    """
    there = [name for name in names if name in body]
    if len(there) != 1:
        raise wrong((), f"{' and '.join(f'`{name}`' for name in there) or 'none'} of {', '.join(names)}; one is needed")
    return there[0]


def rows(stated: Any, place: str, spec: ModelSpec) -> list[Json]:
    """Entities that are stated one by one; of one field its value alone will do."""
    if not isinstance(stated, list):
        raise wrong((place,), "expected a list")
    bounded(len(stated), place)
    fields = list(spec.asking.sent)
    found: list[Json] = []
    for at, each in enumerate(stated):
        alone = len(fields) == 1 and not isinstance(each, dict)
        entity = {fields[0]: each} if alone else each
        if not isinstance(entity, dict):
            raise wrong((place, at), f"expected an object with {', '.join(fields)}")
        found.append(entity)
    return found


def columns(stated: Any, place: str, spec: ModelSpec) -> list[Json]:
    """Entities that are stated field by field; of one field its list alone will do."""
    fields = list(spec.asking.sent)
    if isinstance(stated, list) and len(fields) == 1:
        stated = {fields[0]: stated}
    if not isinstance(stated, dict) or not stated:
        raise wrong((place,), f"expected an object with a list for each of {', '.join(fields)}")
    for name, values in stated.items():
        if not isinstance(values, list):
            raise wrong((place, name), "expected a list")
    sizes = {len(values) for values in stated.values()}
    if len(sizes) != 1:
        lengths = " and ".join(map(str, sorted(sizes)[:3]))
        raise wrong((place,), f"lists of {lengths} values; all have as many as there are entities")
    bounded(sizes.pop(), place)
    return [dict(zip(stated, values, strict=True)) for values in zip(*stated.values(), strict=True)]


def bounded(count: int, place: str) -> None:
    """413 where there are more entities than a request may have."""
    if count > MAX_BATCH:
        raise HTTPException(413, f"{count:,} {place}; at most {MAX_BATCH:,} a request")


def by_name(items: Iterable[Json]) -> dict[str, list[Any]]:
    """What stands in any of the items of an answer → its value in each; None where it has none."""
    listed = list(items)
    names = dict.fromkeys(name for item in listed for name in item)
    return {name: [item.get(name) for item in listed] for name in names}
