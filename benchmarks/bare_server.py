"""The yardstick of the model server: a bare ASGI handler with the same model call, the same read of the store and the
same group commit, and nothing else: no check of the request but its decoding, no keys, limits, metrics or bounds.

`python -m benchmarks.bare_server PORT MODEL`, in the environment of a server of the stack.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import uvicorn

from evergreen.features.online_copy import OnlineCopy
from evergreen.registry import artifacts
from evergreen.serve.commits import Commits
from evergreen.serve.loaded import load
from evergreen.serve.predictions import Prediction, PredictionLog
from evergreen.settings import settings


def main() -> None:
    """Serve until the process ends."""
    port, model = int(sys.argv[1]), sys.argv[2]
    loaded = load(model, 1, artifacts.read)
    tables, spec = loaded.online.tables, loaded.spec
    copy = OnlineCopy(settings().feature_copy, lambda: tables, lambda: False)
    copy.start()
    while not copy.has(tables):
        time.sleep(0.01)
    commits = Commits(PredictionLog())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            commits.start()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return
        if scope["path"] == "/ping":
            await _send(send, b"{}")
            return
        asked = json.loads((await receive())["body"])
        entities = asked.get("entities") or [asked["entity"]]
        known = loaded.online.read(entities, copy.held)
        answers = loaded.predict([each["features"] for each in known]).tolist()
        request, now = token_hex(16), datetime.now(UTC)
        rows = [
            Prediction(
                model, 1, request, at, spec.entity.text(entity), now, each["features_at"], each["features"], answer
            )
            for at, (entity, each, answer) in enumerate(zip(entities, known, answers, strict=True))
        ]
        await commits.append(rows)
        await _send(send, json.dumps({"request_id": request, "predictions": answers}).encode())

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


async def _send(send: Any, content: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


if __name__ == "__main__":
    main()
