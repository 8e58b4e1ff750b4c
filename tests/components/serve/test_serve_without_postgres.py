"""Postgres away for a while: a replica goes on with the features that it copied, and keeps its predictions on disk."""

from __future__ import annotations

import time

import pytest

from .cable import Cable
from .conftest import ServedModel, at, customer, until
from .test_serve_load import sending
from .test_serve_replicas import replica


def test_while_postgres_is_away_no_request_fails_and_every_answer_is_in_the_log_afterwards(alone: ServedModel) -> None:
    own = Cable(alone.settings.database_url("evergreen"))
    features = Cable(alone.settings.database_url("feast"))
    server = replica(alone, DATABASE_EVERGREEN=own.url, DATABASE_FEAST=features.url)
    server.wait()
    alone.graphs = True
    alone.champion(3)
    expected = alone.answers(1)
    until(lambda: server.metric("evergreen_feature_copy_bytes") > 0, "the features are copied", 20)
    with sending(alone, server.url) as clients:
        clients.more(60)
        for cable in (own, features):
            cable.cut()
        cut = time.monotonic()
        until(lambda: time.monotonic() > cut + 15, "Postgres was away for a while", 30)
        during = [answer for answer in clients.answered if answer["sent"] > cut + 5]
        assert len(during) > 100, "it answers on"
        ready = server.get("/readyz")
        assert ready.status_code == 200
        assert any("this server's own copy" in line for line in ready.json()["warnings"]), ready.text
        for cable in (own, features):
            cable.mend()
        until(lambda: not server.get("/readyz").json()["warnings"], "all is well again", 30)
        clients.more(60)
    assert clients.failed == []
    for answer in clients.answered:
        for item in answer["predictions"]:
            right = expected[int(item["customer_id"].removeprefix("c-"))]
            assert item["prediction"] == pytest.approx(right, abs=1e-12), "made from the same features"
            assert item["features_at"] == at(0).isoformat()
    # What was answered while the last of it was shipped may wait a moment more.
    until(
        lambda: {answer["request_id"] for answer in clients.answered} <= {key for key, _ in alone.logged()}, "all", 30
    )
    clients.assert_all_logged()


def test_features_that_do_not_fit_are_not_copied_and_then_there_is_no_answer_without_the_store(
    alone: ServedModel,
) -> None:
    features = Cable(alone.settings.database_url("feast"))
    server = replica(alone, DATABASE_FEAST=features.url, FEATURE_COPY_MB="0")
    server.wait()
    alone.champion(3)
    features.cut()
    server.wait(503)
    assert server.predict(alone.name, entity={"customer_id": customer(1)}).status_code == 503
