"""Moves a rollout by the evidence that it is given, when it is told to: `mover.py MODEL STEP [killed]`.

Killed, it stops where it has recorded the move and not committed it, says so, and waits.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from evergreen.history import ledger
from evergreen.rollout import controller
from tests.components.rollout.lives import evidence

model, step = sys.argv[1], int(sys.argv[2])
if sys.argv[3:] == ["killed"]:
    add = ledger._add

    def _add(connection: Any, added: Sequence[Any]) -> None:
        add(connection, added)
        print("recorded", flush=True)
        time.sleep(600)

    ledger._add = _add
print("ready", flush=True)
sys.stdin.readline()
print(controller.observe(model, evidence(model, step), actor=f"controller {step}").kind, flush=True)
