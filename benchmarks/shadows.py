"""What a shadow costs the clients of its champion."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from benchmarks import shops, workload
from benchmarks.document import duration, ratios, table
from benchmarks.measure import Ratio, percentile
from benchmarks.shops import FAMILY, Shop

ROUNDS, SECONDS, CLIENTS = 4, 5.0, 8
PAUSES = {"without pause": 0.0, "each every 20 ms": 0.02}


def run() -> str:
    """The section's text."""
    os.environ["OMP_NUM_THREADS"] = "1"
    rows: list[Ratio] = []
    asked: list[tuple[str, str, str, str]] = []
    with workload.home() as here, shops.opened(here) as shop:
        number = 1
        for pace, pause in PAUSES.items():
            without: list[float] = []
            beside: list[float] = []
            before = _counted(shop)
            for _ in range(ROUNDS):
                without += _load(shop, pause)
                number += 1
                with _shadow(shop, number):
                    beside += _load(shop, pause)
                    time.sleep(1.0)  # what waits
            left_out = _counted(shop) - before
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                what = f"{name} of a request of 1, {CLIENTS} clients, {pace}"
                size = f"{ROUNDS} times {SECONDS:.0f} s, in turns"
                mine, alone = percentile(beside, share), percentile(without, share)
                rows.append(Ratio(what, size, mine, alone, "the same without a shadow", _REASON))
            done = 1 - left_out / len(beside)
            asked.append((pace, f"{len(beside):,}", duration(percentile(beside, 0.99)), f"{done:.0%}"))
    shares = table(("clients", "requests while there was a shadow", "p99", "that the shadow was asked too"), asked)
    return "\n\n".join([_PROSE.format(family=FAMILY), ratios(rows), shares])


def _load(shop: Shop, pause: float) -> list[float]:
    """Seconds of each request."""
    bodies = [shop.request([key]) for key in shop.keys[:200]]
    return shops.under_load(shop.evergreen, bodies, CLIENTS, SECONDS, pause)


@contextmanager
def _shadow(shop: Shop, number: int) -> Iterator[None]:
    """The champion's own candidate once more, as a version that is shadow while the block runs."""
    from evergreen.history import ledger
    from evergreen.history.events import Judged, Registered
    from evergreen.registry import records
    from evergreen.rollout import controller
    from evergreen.spec.rollout import ShadowRollout

    model, first = shop.spec.model, records.version(shop.spec.model, 1)
    as_of = first.as_of
    records.add_version(model, number, run_id=first.run_id, key=f"shadow-{number}", as_of=as_of)
    shared = {"model": model, "as_of": as_of, "actor": "benchmark", "reason": "a benchmark", "run_id": first.run_id}
    keyed = {**shared, "key": f"shadow-{number}", "family": FAMILY}
    gate = {"judgement": number, "gate": "better", "observed": 0.8, "bound": 0.7, "verdict": "pass", "compared_with": 1}
    ledger.append(
        Judged.model_validate({**keyed, **gate, "id": f"judged/shadow/{number}"}),
        Registered.model_validate({**keyed, "id": f"registered/{model}/{number}", "version": number}),
    )
    declared, actor = ShadowRollout(strategy="shadow"), "benchmark"
    refused = controller.open_rollout(
        declared, model, number, compared=1, as_of=as_of, actor=actor, reason="a benchmark"
    )
    rollout = ledger.standing(model).rollout
    assert refused is None and rollout is not None, refused
    _until(shop, number)
    yield
    controller.roll_back(model, rollout.id, as_of=as_of, actor=actor, reason="the end")
    _until(shop, None)


def _until(shop: Shop, number: int | None) -> None:
    """Until the server asks that version beside the champion."""
    deadline = time.monotonic() + 60
    while True:
        beside = httpx.get(f"{shop.server}/models/{shop.spec.model}").json()["beside"]
        if (beside and beside["version"]) == number:
            return
        assert time.monotonic() < deadline, f"beside the champion stands {beside}, not version {number}"
        time.sleep(0.05)


def _counted(shop: Shop) -> float:
    """Entities that no shadow was asked about, so far."""
    lines = httpx.get(f"{shop.server}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("evergreen_shadow_left_out_total "))


_PROSE = """One server, one {family} model, requests of one entity; every answer is in the prediction log before it is
sent. The shadow is the champion's own candidate once more, so that it costs as much again: its features are read, its
answers predicted and logged, after each client has its answer."""
_REASON = "the shadow's work on the same processors"
