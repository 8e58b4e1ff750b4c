"""Adds events side by side with others: `writer.py NAME COUNT`; the first of each is the same for all."""

from __future__ import annotations

import sys

from evergreen.history import ledger
from evergreen.history.events import Alerted

name, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    same, own = (
        Alerted(id=id, model=f"model_{number % 3}", as_of=None, actor=name, reason="told", decision_id=id)
        for id in (f"same/{number}", f"own/{name}/{number}")
    )
    ledger.append(same, own)
