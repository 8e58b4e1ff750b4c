"""Runs `train.stages.refit` in a process of its own, as a task does:
`python refit_alone.py <pickled (run, judged)>`."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

if __name__ == "__main__":
    from evergreen.train import stages

    run, judged = pickle.loads(Path(sys.argv[1]).read_bytes())
    stages.refit(run, judged)
