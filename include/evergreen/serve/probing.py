"""A version in a server process of its own, which ends with this one: does it load, does it answer as in training?"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import httpx

from evergreen.addresses import free_port
from evergreen.errors import ModelUnloadable, ServiceUnavailable
from evergreen.registry import artifacts, records
from evergreen.registry.contents import Sample
from evergreen.spec.problem import Answer

PATIENCE = 180.0  # seconds to load: a cold start on a busy machine
TOLERANCE = 1e-6  # between the answers of two processes: the order of additions may differ


def probe(model: str, number: int, run_id: str) -> tuple[int, float]:
    """Compare a fresh server's answers with those that training stored; returns rows and the largest difference.

    Raises:
        ModelUnloadable: it does not load, or answers differently.
        ServiceUnavailable: what it loads from does not answer, or the machine is too busy to start it.
    """
    rows = artifacts.load(records.candidate(run_id), Sample).rows
    doing = f"probing version {number} of {model} in a fresh server"
    with _server(doing, model, number) as url:
        features = [row.features for row in rows]
        try:
            response = httpx.post(f"{url}/models/{model}/probe", json={"features": features}, timeout=60)
        except httpx.TransportError as error:  # a closed connection: the version ended its own server
            kind = _unavailable if isinstance(error, httpx.TimeoutException) else _unloadable
            raise kind(doing, f"{type(error).__name__}: {error}", "predictions within 60 s") from error
        if response.status_code != httpx.codes.OK:
            raise _unloadable(doing, f"{response.status_code}: {response.text[:1000]}", "predictions")
    answers = response.json()["predictions"]
    difference = max(_apart(answer, row.prediction) for answer, row in zip(answers, rows, strict=True))
    if not difference <= TOLERANCE:
        raise _unloadable(
            doing,
            f"predictions up to {difference:.3g} from those of training",
            f"at most {TOLERANCE:g}, on {len(rows)} rows",
        )
    return len(rows), difference


def _apart(answer: Answer, stored: Answer) -> float:
    """The difference of two answers; of several classes the greatest. Not the same classes: infinite."""
    if isinstance(answer, dict) and isinstance(stored, dict):
        same = answer.keys() == stored.keys()
        return max(abs(answer[name] - stored[name]) for name in answer) if same else math.inf
    return math.inf if isinstance(answer, dict) or isinstance(stored, dict) else abs(answer - stored)


@contextmanager
def _server(doing: str, model: str, number: int) -> Iterator[str]:
    """The URL of a server that has loaded the version; it is gone after the block."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "evergreen.serve",
        "--port",
        str(port),
        "--model",
        f"{model}={number}",
        "--until-stdin-closes",
    ]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(doing, process, url, output)
            yield url
        finally:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


def _wait(doing: str, process: subprocess.Popen[bytes], url: str, output: IO[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        if process.poll() is not None:
            observed = f"the process ended with status {process.returncode}\n{_tail(output)}"
            kind = _unavailable if process.returncode == os.EX_TEMPFAIL else _unloadable
            raise kind(doing, observed, "a server that answers")
        with suppress(httpx.TransportError):  # it does not listen yet
            if httpx.get(f"{url}/readyz", timeout=5).status_code == httpx.codes.OK:
                return
        if time.monotonic() > deadline:
            raise _unavailable(doing, f"not ready within {PATIENCE:.0f} s\n{_tail(output)}", "a server that answers")
        time.sleep(0.1)


def _tail(output: IO[bytes]) -> str:
    output.seek(0)
    return "\n".join(output.read().decode(errors="replace").splitlines()[-15:])


def _unloadable(doing: str, observed: str, expected: str) -> ModelUnloadable:
    return ModelUnloadable(
        doing,
        found=observed,
        expected=expected,
        next_step="the champion serves on; look at the version's artifacts in MLflow, then train again",
    )


def _unavailable(doing: str, observed: str, expected: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        doing,
        found=observed,
        expected=expected,
        next_step=(
            "the champion serves on, and the task is tried again; if that fails too, look at MLflow and at what else "
            "runs here"
        ),
    )
