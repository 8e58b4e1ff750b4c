"""Starts model servers by forking: only this process pays the seconds that the imports take.

A line of JSON on stdin is a server to start; its process id is the answer on stdout.
What runs is the server's own `main`; how long it pauses between two looks is the job's to say.
"""

from __future__ import annotations

import json
import os
import signal
import sys

os.environ["OMP_NUM_THREADS"] = "1"  # as `main` does, which comes too late for what is imported here

import mlflow.sklearn  # noqa: F401 - loaded before the process is forked
import skops.io  # noqa: F401 - loaded before the process is forked
import uvicorn  # noqa: F401 - loaded before the process is forked

from evergreen.serve import models, slot
from evergreen.serve.__main__ import main

signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a server that ended is gone at once
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.update(job["environment"])
    models.LOOK_SECONDS, slot.RELOAD_SECONDS = job["look"], job["reload"]
    os.dup2(os.open(job["stdin"], os.O_RDONLY), 0)
    os.dup2(os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(1, 2)
    sys.exit(main(job["arguments"]))
