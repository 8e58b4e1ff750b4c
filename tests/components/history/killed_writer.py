"""Adds an event inside of a transaction, says so, and waits to be killed."""

from __future__ import annotations

import sys
import time

from evergreen import database
from evergreen.history import ledger
from evergreen.history.events import Alerted

event = Alerted(
    id="killed", model="churn", as_of=None, actor="killed", reason="it never came to its commit", decision_id="d"
)
with database.connect() as connection:
    ledger._add(connection, [event])
    print("added", flush=True)
    time.sleep(600)
sys.exit("nobody killed it")
