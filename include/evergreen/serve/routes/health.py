"""Is the process alive, is it ready, what has it counted: for load balancers and Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from evergreen.serve.state import Shared

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process lives."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(server: Shared) -> Response:
    """Every model's champion was looked for, and predictions can be made and logged; `missing` are models of which no
    version could be loaded, while others answer, `problems` what is wrong with any of them, `warnings` what stops the
    server, or will unless somebody acts."""
    ready = server.models.ready() and not server.refuses
    readiness = {
        "ready": ready,
        "missing": server.models.missing(),
        "problems": server.models.problems(),
        "warnings": server.warnings,
    }
    return JSONResponse(readiness, 200 if ready else 503)


@router.get("/metrics", include_in_schema=False)
async def metrics(server: Shared) -> Response:
    """The counters of this server."""
    return Response(generate_latest(server.metrics.registry), media_type=CONTENT_TYPE_LATEST)
