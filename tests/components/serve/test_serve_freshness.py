"""Features that are older than their view allows: answered with a mark, without them, or not at all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from evergreen.spec.dataset import Freshness

from .conftest import ServedModel, at, customer, put_online

BOUND = timedelta(days=2)


def with_freshness(served: ServedModel, beyond: Any) -> ServedModel:
    """A model whose version serves by a spec that bounds one view."""
    view = served.spec.features["activity"]
    bounded = view.model_copy(update={"freshness": Freshness(bound=BOUND, beyond=beyond)})
    served.spec = served.spec.model_copy(update={"features": served.spec.features | {"activity": bounded}})
    served.champion(3)
    return served


def ask(served: ServedModel, day: int, *numbers: int) -> httpx.Response:
    entities = [{"customer_id": customer(number)} for number in numbers]
    asked: dict[str, Any] = {"entity": entities[0]} if len(entities) == 1 else {"entities": entities}
    return served.server.predict(served.name, as_of=at(day).isoformat(), **asked)


def stale(served: ServedModel) -> float:
    return served.server.metric(f'evergreen_stale_features_total{{model="{served.name}",view="activity"}}')


@pytest.mark.parametrize("beyond", ["answer", "nulls", "refuse"])
def test_up_to_the_bound_the_features_are_as_good_as_new(served: ServedModel, beyond: str) -> None:
    with_freshness(served, beyond)
    response = ask(served, 2, 1)
    assert response.status_code == 200, response.text
    (item,) = response.json()["predictions"]
    assert item["prediction"] == pytest.approx(served.answers(1)[1], abs=1e-12) and "stale" not in item
    assert stale(served) == 0


@pytest.mark.parametrize("beyond", ["answer", "nulls"])
def test_beyond_the_bound_the_answer_names_the_view_and_leaves_its_features_out_where_it_says_so(
    served: ServedModel, beyond: str
) -> None:
    with_freshness(served, beyond)
    response = ask(served, 3, 1)
    assert response.status_code == 200, response.text
    (item,) = response.json()["predictions"]
    assert item["stale"] == ["activity"]
    logged = served.logged()[response.json()["request_id"], 0]
    ours = {logged.features[name] is None for name in served.spec.features["activity"].features}
    others = {logged.features[name] is None for name in served.spec.features["account"].features}
    assert (ours, others) == ({beyond == "nulls"}, {False})
    same = item["prediction"] == pytest.approx(served.answers(1)[1], abs=1e-12)
    assert same == (beyond == "answer"), "a prediction is made from what the log says"
    assert stale(served) == 1


def test_beyond_the_bound_only_the_entities_whose_own_features_are_old_are_refused(served: ServedModel) -> None:
    with_freshness(served, "refuse")
    put_online(served.spec, 2, [customer(2)])
    response = ask(served, 3, 1, 2)
    assert response.status_code == 200, response.text
    refused, answered = response.json()["predictions"]
    assert refused["prediction"] is None
    assert refused["error"] == f"customer_id {customer(1)!r}: features too old to predict with: activity (3d old)"
    assert answered["prediction"] is not None and "stale" not in answered
    alone = ask(served, 3, 1)
    assert (alone.status_code, alone.json()["detail"]) == (503, refused["error"])
    assert [row.entity for row in served.logged().values()] == [customer(2)], "what is refused is not logged"
    assert stale(served) == 2
