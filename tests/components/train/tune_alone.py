"""Runs `train.stages.tune` in a process of its own, as a task does:
`python tune_alone.py <pickled (run, data, family)>`."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

if __name__ == "__main__":
    from evergreen.train import stages

    run, data, family = pickle.loads(Path(sys.argv[1]).read_bytes())
    stages.tune(run, data, family)
