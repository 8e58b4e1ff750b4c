"""The model server's HTTP interface: one process, every model of the models folder; or one version, to probe it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Lifespan

from evergreen.database.connections import OWN
from evergreen.features.online_copy import OnlineCopy
from evergreen.serve import documentation, refusals
from evergreen.serve.data import Data
from evergreen.serve.following import Following, name
from evergreen.serve.hosts import Hosts
from evergreen.serve.hot import Hot
from evergreen.serve.keyring import Keyring
from evergreen.serve.metrics import Metrics
from evergreen.serve.middleware import Exchange
from evergreen.serve.models import Models
from evergreen.serve.pulse import Pulse
from evergreen.serve.routes import docs, health, predict, probe, protocols
from evergreen.serve.routes import models as listing
from evergreen.serve.short_way import ShortWay
from evergreen.serve.space import Space
from evergreen.serve.state import FEATURES, ServingState, State
from evergreen.settings import settings


def create_probe_app(models: Models, hosts: Hosts) -> FastAPI:
    """Answers from given features and logs nothing: the check of a version before it may take traffic.

    `models` are loaded.
    """
    app = _app(State(models, Metrics(models)), hosts)
    app.include_router(probe.router)
    return app


def create_serving_app(models: Models, hosts: Hosts, port: int | None = None, *, keys_needed: bool = False) -> ASGIApp:
    """Answers clients; a replica that follows the ledger."""
    keys = Keyring(keys_needed)
    space, data, following = Space(), Data(lambda: tuple(models.slots)), Following(models, name(port), keys)
    metrics, pulse = Metrics(models, space, data, following), Pulse((OWN, FEATURES))
    copy = OnlineCopy(
        settings().feature_copy, lambda: models.tables(all_of_them=True), lambda: FEATURES in pulse.silent()
    )
    models.read_by(copy.rows)
    server = ServingState(models, metrics, space, pulse, data, following, keys, copy)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=models.start, name="first versions", daemon=True).start()
        await run_in_threadpool(space.start)
        data.start()
        server.following.start()
        server.guards.start()
        server.copy.start()
        server.unlogged.start()
        server.commits.start()
        yield
        models.stop()
        server.commits.stop()
        await run_in_threadpool(server.close)

    app = _app(server, hosts, lifespan, Middleware(ShortWay, route=predict.route(), server=server))
    app.include_router(predict.router)
    app.include_router(protocols.router)
    documentation.install(app, models, predict.PATH)
    return Hot(app, server, hosts)


def _app(server: State, hosts: Hosts, lifespan: Lifespan[FastAPI] | None = None, *within: Middleware) -> FastAPI:
    exchange = Middleware(Exchange, metrics=server.metrics, hosts=hosts)
    app = FastAPI(
        title="Evergreen model server", lifespan=lifespan, docs_url=None, redoc_url=None, middleware=[exchange, *within]
    )
    app.state.server = server
    refusals.install(app)
    app.include_router(health.router)
    app.include_router(listing.router)
    app.include_router(docs.router)
    return app
