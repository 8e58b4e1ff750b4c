"""Starts model servers by forking: only this process pays the seconds that the imports take.

A line of JSON on stdin is a server to start; its process id is the answer on stdout. What runs is the server's own `main`.
"""

from __future__ import annotations

import json
import os
import signal
import sys

os.environ["OMP_NUM_THREADS"] = "1"  # as `main` does, which comes too late for what is imported here

import mlflow.sklearn  # noqa: F401
import sklearn.compose  # noqa: F401
import sklearn.linear_model
import skops.io  # noqa: F401
import uvicorn  # noqa: F401

import evergreen.serve.app
import evergreen.train.families  # noqa: F401
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
    output = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    stdin = os.open(job["stdin"], os.O_RDONLY)
    for source, target in ((stdin, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
        os.close(source)
    sys.exit(main(job["arguments"]))
