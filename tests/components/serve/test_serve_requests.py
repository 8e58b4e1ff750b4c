from __future__ import annotations

import httpx

from .conftest import Shop, customer


def test_smoke(shop: Shop) -> None:
    server = shop.serve()
    r = shop.registered(3)
    from evergreen.serve import stages

    run = shop.run(3)
    p = stages.probe(run, r)
    print(p)
    print(stages.deploy(run, p))
    print(server.predict(shop.name, entity={"customer_id": customer(1)}).text)
    print(
        server.predict(
            shop.name, entities=[{"customer_id": customer(1)}, {"customer_id": "zz"}], as_of="2026-01-03T00:00:00Z"
        ).text
    )
    print(server.predict(shop.name, entity={"customer_id": 5}).text)
    print(httpx.get(server.url + "/metrics").text)
    print(shop.logged(), shop.events(), shop.aliases(), run.links)
    print(server.log.read_text())
    assert 0
