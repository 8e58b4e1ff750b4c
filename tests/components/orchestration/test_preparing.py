"""What the process that tasks are forked from prepares: nothing of it is made again in a task, or lost by a fork."""

from __future__ import annotations

import json
import subprocess
import sys

from evergreen.settings import PROJECT

# Prepares as the scheduler does, and then asks as a task would: `made` counts what had to be made anew.
PREPARE = """
import json, os, socket
connected = []
connect = socket.socket.connect
socket.socket.connect = lambda self, address: (connected.append(str(address)), connect(self, address))
import duckdb, deltalake
from evergreen.handovers.handover import _mark, Handover
from evergreen.orchestration import preparing
from evergreen.settings import settings
from evergreen.spec import files, kept, query
from evergreen.spec.runner import Query
threads = lambda: len(os.listdir("/proc/self/task"))
before = threads()
preparing.prepare()
after = threads()

def kinds(kind):
    return [kind, *(each for below in kind.__subclasses__() for each in kinds(below))]

waiting = [kind.__name__ for kind in kinds(Handover)[1:] if not kind.__pydantic_complete__]
hits, misses = _mark.cache_info().hits, _mark.cache_info().misses
for kind in kinds(Handover)[1:]:
    kind.mark()
marked = _mark.cache_info().misses - misses
looked, read = query._refusals.cache_info().misses, []
kept.load = lambda *folders: read.append(1)
declared = kept.declared(settings().models, settings().data)
for dataset in declared.valid_datasets:
    for view in dataset.features:
        asked = Query.of_view(dataset, view)
        assert query.refusals(files.query(dataset, asked.file), asked.sources, asked.parameters) == []
looked = query._refusals.cache_info().misses - looked
print(json.dumps({"connected": connected, "threads": after - before, "waiting": waiting, "marked": marked,
                  "read": len(read), "looked": looked, "volatile": query._volatile_functions.cache_info().currsize}))
"""


def test_a_task_makes_nothing_again_that_is_prepared() -> None:
    done = subprocess.run([sys.executable, "-c", PREPARE], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "connected": [],  # a connection would be shared by all tasks
        "threads": 0,  # no thread survives a fork, and what it holds stays held
        "waiting": [],
        "marked": 0,
        "read": 0,
        "looked": 0,
        "volatile": 1,
    }


def test_a_folder_with_mistakes_costs_the_others_nothing() -> None:
    broken = """
import pathlib, shutil, tempfile, os
from evergreen.settings import PROJECT
folder = pathlib.Path(tempfile.mkdtemp())
shutil.copytree(PROJECT / "include/models", folder / "models")
shutil.copytree(PROJECT / "include/data", folder / "data")
(folder / "data/outreach/data.yaml").write_text("not a dataset")
(folder / "models/tickets/label.sql").write_text("this is no SQL")
os.environ |= {"EVERGREEN_MODELS": str(folder / "models"), "EVERGREEN_DATA": str(folder / "data")}
"""
    done = subprocess.run(
        [sys.executable, "-c", broken + PREPARE + "\nshutil.rmtree(folder)"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1])["looked"] == 0
    assert "preparing the queries of tickets" in done.stdout
