"""From the entities that a request names to its answer and the rows of the
prediction log: what a lane's thread does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from evergreen.features.online_rows import Known, Rows
from evergreen.quoting import shown
from evergreen.runtime.encoding import Values
from evergreen.serve.loaded import Loaded
from evergreen.serve.predictions import ROWS_A_PIECE, Prediction
from evergreen.spec import ago
from evergreen.spec.dataset import Freshness
from evergreen.spec.keyed import Keyed
from evergreen.spec.problem import Answer
from evergreen.spec.schema import ModelSpec
from evergreen.status.rules import age_text, is_stale

_JSON = msgspec.json.Encoder().encode
_LONGEST = 500  # characters of why a version failed


@dataclass(frozen=True)
class Made:
    """An answer, not yet logged."""

    content: bytes  # of the response; empty: `joined` or `with_items` is still to make it
    items: Sequence[Mapping[str, Any]]  # of the response, one for each entity
    rows: list[Prediction]
    unknown: list[str]  # what is said of each entity without features
    refused: list[str]  # what is said of each entity whose features are too old to predict with
    stale: Mapping[str, int]  # view → entities whose features of it were older than its bound
    unseen: Mapping[str, int]  # feature → values that the version was not trained with
    failed: Sequence[Prediction] = ()  # what the version beside the champion failed in, for the log


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, or a part of one: which version is asked about which entities, by which id, as of when."""

    loaded: Loaded
    entities: Sequence[Mapping[str, Any]]
    request_id: str
    as_of: datetime
    role: str = "champion"
    rollout: str | None = None  # that is open
    share: int | None = None  # of its version, per cent
    places: Sequence[int] | None = None  # of the entities in the request; None: these are all
    explain: bool = False  # its items get more, and `with_items` writes them

    def part(self, places: Sequence[int]) -> Asked:
        """Of a whole request the entities at some places; at all of them, itself."""
        if len(places) == len(self.entities):
            return self
        return replace(self, entities=[self.entities[at] for at in places], places=places)

    @property
    def at(self) -> Sequence[int]:
        """The place of each entity in the request."""
        return range(len(self.entities)) if self.places is None else self.places


def answer_together(requests: Sequence[Asked]) -> list[Made | Exception]:
    """What `answer` makes of each request, or raises: their features are read in one round trip for each version."""
    answers: dict[int, Made | Exception] = {}
    versions = {id(asked.loaded): asked.loaded for asked in requests}
    for loaded in versions.values():
        its = [at for at, asked in enumerate(requests) if asked.loaded is loaded]
        started = time.perf_counter()
        try:
            stored = loaded.online.known([entity for at in its for entity in requests[at].entities])
        except Exception as error:  # noqa: BLE001  whatever it is, it is of this version alone
            answers.update(dict.fromkeys(its, error))
            continue
        reading = (time.perf_counter() - started) / len(its)
        start = 0
        for at in its:
            end = start + len(requests[at].entities)
            try:
                answers[at] = _made(requests[at], stored.part(start, end), reading)
            except Exception as error:  # noqa: BLE001  whatever it is, it is of this request alone
                answers[at] = error
            start = end
    return [answers[at] for at in range(len(requests))]


def answer(asked: Asked, read: Rows | None = None, send: Callable[[Sequence[Prediction]], None] | None = None) -> Made:
    """The answer to a request.

    Args:
        read: reads the rows of the online store; None: as its version does.
        send: takes the rows of the log as they are made: all predictions are there by then, and may be answered.

    Raises:
        ValueError: the version answers with what is no prediction.
    """
    started = time.perf_counter()
    known = asked.loaded.online.known(asked.entities, read)
    return _made(asked, known, time.perf_counter() - started, send)


def joined(ours: tuple[Asked, Made], others: tuple[Asked, Made]) -> Made:
    """The answer to a request that was answered in two parts, in the order of its entities; of the second one each says
    by which version, if that is another one."""
    (asked, made), (beside, theirs) = ours, others
    other = beside.loaded is not asked.loaded
    told = {"version": beside.loaded.version.number, "role": beside.role} if other else {}
    by_place = dict(zip(asked.at, made.items, strict=True))
    by_place |= {at: {**item, **told} for at, item in zip(beside.at, theirs.items, strict=True)}
    items = [by_place[at] for at in sorted(by_place)]
    return Made(
        b"" if asked.explain else _content(asked, items),
        items,
        made.rows + theirs.rows,
        made.unknown + theirs.unknown,
        made.refused + theirs.refused,
        Counter(made.stale) + Counter(theirs.stale),
        Counter(made.unseen) + Counter(theirs.unseen),
    )


def with_items(asked: Asked, made: Made, items: Sequence[Mapping[str, Any]]) -> Made:
    """The same answer to a request, with other items."""
    return replace(made, items=items, content=_content(asked, items))


def failures(asked: Asked, of: Loaded, why: Exception | str, seconds: float) -> list[Prediction]:
    """The rows of a request, or a part of one, in which a version failed.

    Args:
        of: the version in whose words the request is.
    """
    failed = why if isinstance(why, str) else f"{type(why).__name__}: {why}"[:_LONGEST]
    return [
        Prediction(
            asked.loaded.spec.model,
            asked.loaded.version.number,
            asked.request_id,
            at,
            named,
            asked.as_of,
            None,
            {},
            None,
            role=asked.role,
            rollout=asked.rollout,
            share=asked.share,
            seconds=seconds,
            failed=failed,
        )
        for at, named in zip(asked.at, of.spec.entity.texts(asked.entities), strict=True)
    ]


def _made(
    asked: Asked, known: Known, reading: float, send: Callable[[Sequence[Prediction]], None] | None = None
) -> Made:
    """One item for each entity, in their order. Of an entity that neither the online store nor the request itself tells
    anything about there is no prediction; nor of one whose features are older than a view allows that refuses then.

    Args:
        reading: seconds that the features took.
    """
    started = time.perf_counter()
    loaded, entities, as_of = asked.loaded, asked.entities, asked.as_of
    spec, about, problem = loaded.spec, loaded.spec.entity, loaded.problem
    inputs, dated, bounds = loaded.inputs, loaded.dated, loaded.bounds
    stale = _ages(loaded, known, as_of) if bounds else {}
    refused = {
        at: f"{_named(about, entities[at])}: {_refusal(bounds, views)}"
        for at, views in stale.items()
        if _of(bounds, views, "refuse")
    }
    answered = [at for at, moment in enumerate(known.features_at) if at not in refused and (moment or inputs)]
    values = Values(known.names, known.values)
    if len(answered) < len(entities):
        values = Values(known.names, [known.values[at] for at in answered])
    adapted: list[dict[str, Any]] | None = None  # their features, where they are not just what the store has
    if stale or inputs or dated:
        adapted = values.named()
        for at, of_entity in zip(answered, adapted, strict=True):
            if at in stale:
                of_entity.update(_nulls(spec, bounds, stale[at]))
            for name in inputs:
                of_entity[name] = entities[at][name]
            for name, kind in dated.items():
                of_entity[name] = ago.of_value(kind, of_entity[name], as_of, spec.calendar.zone)
    predictions = loaded.predict(values if adapted is None else adapted) if answered else None
    if predictions is not None and not problem.is_answer(predictions, len(answered)):
        raise ValueError(f"version {loaded.version.number} answered with what is not {problem.answered}")
    seconds = reading + time.perf_counter() - started
    answers = [] if predictions is None else problem.answers(predictions)
    decided = None if predictions is None else problem.classes_of(predictions)
    rows: list[Prediction] = []
    of_class = [None] * len(answered) if decided is None else [str(each) for each in decided]
    texts = about.texts(entities)
    for start in range(0, len(answered), ROWS_A_PIECE):
        end = start + ROWS_A_PIECE
        features = values.named(start, end) if adapted is None else adapted[start:end]
        given = zip(answered[start:end], features, answers[start:end], of_class[start:end], strict=True)
        piece = _rows(asked, known, given, texts, seconds)
        if send is not None:
            send(piece)
        rows += piece
    items = _items(asked, known, dict(zip(answered, answers, strict=True)), decided)
    for at, views in stale.items():
        if at not in refused:
            items[at]["stale"] = list(views)
    unknown = []
    if len(answered) < len(items):
        for at in sorted({*range(len(items))}.difference(answered)):
            error = refused.get(at, "")
            if not error:
                error = f"unknown {_named(about, entities[at])}: the online store has no features of it"
                unknown.append(error)
            items[at]["error"] = error
    return Made(
        _content(asked, items) if asked.places is None and not asked.explain else b"",
        items,
        rows,
        unknown,
        list(refused.values()),
        Counter(view for views in stale.values() for view in views) if stale else {},
        _unseen(
            {
                name: (values.column(name) if adapted is None else [row[name] for row in adapted], seen)
                for name, seen in loaded.categories.items()
            }
        ),
    )


def _items(
    asked: Asked, known: Known, answers: Mapping[int, Answer], decided: Sequence[int] | Sequence[str] | None
) -> list[dict[str, Any]]:
    """The items of a response, without what is said of some entities alone.

    Args:
        answers: by the entity's place among those asked about.
        decided: the class of each answer.
    """
    keys, texts = [*asked.loaded.spec.entity.columns], dict[datetime | None, str | None]()
    classes = None if decided is None else iter(decided)
    items = []
    for at, (entity, moment) in enumerate(zip(asked.entities, known.features_at, strict=True)):
        item: dict[str, Any] = {name: entity[name] for name in keys}
        if at not in answers:
            item["prediction"] = item["features_at"] = None
        else:
            item["prediction"] = answers[at]
            if classes is not None:
                item["class"] = next(classes)
            if moment not in texts:  # many are of one moment
                texts[moment] = None if moment is None else moment.isoformat()
            item["features_at"] = texts[moment]
        items.append(item)
    return items


def _rows(
    asked: Asked,
    known: Known,
    answered: Iterable[tuple[int, dict[str, Any], Answer, str | None]],
    texts: Sequence[str],
    seconds: float,
) -> list[Prediction]:
    """Rows of the prediction log.

    Args:
        answered: place of the entity among those asked about, its features, the answer, and the class decided on.
        texts: the keys of the entities.
    """
    loaded, request_id, as_of, moments = asked.loaded, asked.request_id, asked.as_of, known.features_at
    model, version, by_class = loaded.spec.model, loaded.version.number, loaded.problem.by_class
    role, rollout, share, places = asked.role, asked.rollout, asked.share, asked.at
    return [
        Prediction(
            model,
            version,
            request_id,
            places[at],
            texts[at],
            as_of,
            moments[at],
            features,
            None if by_class else score,  # type: ignore[arg-type]  # of such a label a number
            None,
            score if by_class else None,  # type: ignore[arg-type]  # of such a label class → probability
            of_class,
            role,
            rollout,
            share,
            seconds,
        )
        for at, features, score, of_class in answered
    ]


def _ages(loaded: Loaded, known: Known, as_of: datetime) -> dict[int, dict[str, timedelta]]:
    """Of the entities with stale features, by their place, the views, each with the age."""
    views, bounds = [*loaded.spec.features], loaded.bounds
    ages = (_stale(bounds, dict(zip(views, at, strict=True)), as_of) for at in zip(*known.views_at, strict=True))
    return {at: stale for at, stale in enumerate(ages) if stale}


def _content(asked: Asked, items: Sequence[Mapping[str, Any]]) -> bytes:
    content = {
        "request_id": asked.request_id,
        "model": asked.loaded.spec.model,
        "version": asked.loaded.version.number,
        "as_of": asked.as_of.isoformat(),
        "predictions": items,
    }
    if asked.role != "champion":
        content["role"] = asked.role
    return _JSON(content)


def _named(about: Keyed, entity: Mapping[str, Any]) -> str:
    """An entity as messages name it, by each of its keys."""
    return ", ".join(f"{name} {shown(entity[name])}" for name in about.columns)


def _stale(
    bounds: Mapping[str, Freshness], views_at: Mapping[str, datetime | None], as_of: datetime
) -> dict[str, timedelta]:
    """The views whose features of an entity are older than their bound at the moment of the prediction, each with
    their age. A view that has none of the entity is no matter of age."""
    ages = {view: as_of - at for view in bounds if (at := views_at[view]) is not None}
    return {view: age for view, age in ages.items() if is_stale(bounds[view], age)}


def _of(bounds: Mapping[str, Freshness], stale: Iterable[str], beyond: str) -> list[str]:
    """Those of the stale views whose spec says this of older features."""
    return [view for view in stale if bounds[view].beyond == beyond]


def _nulls(spec: ModelSpec, bounds: Mapping[str, Freshness], stale: Iterable[str]) -> dict[str, None]:
    """The features that are left out, since they are too old."""
    return {name: None for view in _of(bounds, stale, "nulls") for name in spec.features[view].features}


def _refusal(bounds: Mapping[str, Freshness], stale: Mapping[str, timedelta]) -> str:
    """Why there is no prediction."""
    old = ", ".join(f"{view} ({age_text(stale[view])} old)" for view in _of(bounds, stale, "refuse"))
    return f"features too old to predict with: {old}"


def _unseen(categories: Mapping[str, tuple[Sequence[str | None], frozenset[str]]]) -> Mapping[str, int]:
    """Category → how many of its values, given first, the version was not trained with, which are given then."""
    found: dict[str, int] = {}
    for name, (values, seen) in categories.items():
        if not {*values} <= seen and (count := sum(value is not None and value not in seen for value in values)):
            found[name] = count
    return found
