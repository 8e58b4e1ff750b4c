"""Specs of small models, for tests that are about something else than the spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from evergreen.spec.schema import ModelSpec

TINY: dict[str, Any] = {
    "model": "tiny",
    "description": "a test",
    "owner": {"name": "team", "email": "team@example.org"},
    "first_day": date(2026, 1, 1),
    "schedule": {"train": "0 1 * * *"},
    "entity": {"name": "customer", "key": "customer_id"},
    "sources": {
        "events": {
            "path": "e",
            "event_time": "at",
            "keys": ("id",),
            "columns": {"id": "string", "at": "timestamp", "customer_id": "string"},
        }
    },
    "features": {"spend": {"sources": ("events",), "look_back": "3d", "features": {"spent": "float"}}},
    "label": {"name": "churned", "horizon": "2d", "sources": ("events",)},
    "split": {"window": "30d", "evaluation": "3d", "minimum_rows": 1},
    "families": {"logistic_regression": {}},
    "search": {"trials": 1},
    "gates": {"minimum_rows": 1, "floor": {"roc_auc": 0.5}},
    "monitoring": {"minimum_rows": 1, "cooldown": "1d"},
}

# As its model.yaml says it.
SHOP: dict[str, Any] = {
    "model": "shop",
    "description": "A shop.",
    "owner": {"name": "shop", "email": "shop@example.com"},
    "first_day": "2026-01-01",
    "schedule": {"train": "0 0 * * 1"},
    "entity": {"name": "guest", "key": "guest_id"},
    "sources": {
        "visits": {
            "path": "shop/visits/{partition}.csv",
            "event_time": "at",
            "keys": ["visit_id"],
            "columns": {
                "visit_id": "string",
                "guest_id": "string",
                "at": "timestamp",
                "spent": "float",
                "kind": "string",
            },
        }
    },
    "features": {
        "habits": {"sources": ["visits"], "look_back": "7d", "features": {"visits_7d": "int", "kind": "category"}}
    },
    "label": {"name": "returns", "horizon": "2d", "sources": ["visits"]},
    "split": {"window": "10d", "evaluation": "2d", "minimum_rows": 20},
    "families": {"logistic_regression": {}},
    "search": {"trials": 2},
    "gates": {"minimum_rows": 40, "floor": {"roc_auc": 0.5}},
    "monitoring": {"minimum_rows": 10, "cooldown": "3d"},
}


def tiny(**sections: Any) -> ModelSpec:
    """The model `tiny`, with these of its sections in place of its own."""
    return ModelSpec.model_validate(TINY | sections)


def write_shop(
    folder: Path,
    declared: Mapping[str, Any],
    contracts: Mapping[str, Sequence[Mapping[str, Any]]],
    habits: str = "select 1",
    label: str = "select 1",
) -> Path:
    """The folder of the model `shop`; returns it.

    Args:
        declared: `SHOP`, or what is made of it.
        contracts: table → the expectations of its contract.
        habits, label: the queries.
    """
    for below in ("contracts", "features"):
        (folder / below).mkdir(parents=True)
    (folder / "model.yaml").write_text(yaml.safe_dump(dict(declared), sort_keys=False))
    (folder / "features" / "habits.sql").write_text(habits)
    (folder / "label.sql").write_text(label)
    for table, expectations in contracts.items():
        (folder / "contracts" / f"{table}.yaml").write_text(yaml.safe_dump({"expectations": list(expectations)}))
    return folder
